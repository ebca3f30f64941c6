//! Decoder: bytes from a client to whole messages. No IO.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::deflate;
use crate::encode::CONTROL_BYTES_MAX;
use crate::violation::Violation;

/// A whole message or control frame from the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping, to be answered by a pong with the same payload.
    Ping(Vec<u8>),
    /// A pong. It shows that the client is alive.
    Pong,
    /// A close frame, to be answered with the same code. Nothing follows it.
    Close(Option<u16>),
}

/// The longest header: two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;

/// Decoder of messages. While none is in progress it holds no memory.
///
/// A violation is the end: all bytes after it are discarded and answered with the same violation.
#[derive(Debug)]
pub(crate) struct Decoder {
    rules: Rules,
    progress: Option<Box<Progress>>,
    /// The number of messages and lone control frames that have begun so far.
    begun: u32,
    /// The violation that ended decoding. It is rare, and boxed to keep a decoder small.
    violation: Option<Box<Violation>>,
}

/// Bounds on a client's frames.
#[derive(Clone, Copy, Debug)]
struct Rules {
    message_bytes_max: usize,
    compressed_allowed: bool,
    /// Messages are no longer read; they are skipped until the client's close.
    is_closing: bool,
}

/// A message or control frame in progress.
#[derive(Debug, Default)]
struct Progress {
    /// The bytes of a header that have come.
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    frame: Option<Frame>,
    /// The message that the current frames belong to.
    message: Option<Message>,
    /// The payload of a ping, pong or close: these come between the frames of a message.
    control: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    /// Bytes of payload that have not come yet.
    missing: u64,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    is_compressed: bool,
    payload: Vec<u8>,
    /// Bytes at the start of the payload that are known to be UTF-8.
    checked: usize,
}

impl Decoder {
    /// `compressed_allowed`: whether `permessage-deflate` was agreed on.
    pub(crate) fn new(message_bytes_max: usize, compressed_allowed: bool) -> Decoder {
        let rules = Rules { message_bytes_max, compressed_allowed, is_closing: false };
        Decoder { rules, progress: None, begun: 0, violation: None }
    }

    /// The number of the message or control frame in progress. A message keeps its number while
    /// control frames come between its own.
    pub(crate) fn in_progress(&self) -> Option<u32> {
        self.progress.as_ref().map(|_| self.begun)
    }

    /// Bytes of the message in progress that have come.
    pub(crate) fn in_progress_bytes(&self) -> usize {
        let message = self.progress.as_ref().and_then(|progress| progress.message.as_ref());
        message.map_or(0, |message| message.payload.len())
    }

    /// The violation that ended decoding.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.violation.as_deref().copied()
    }

    /// Skips messages from now on, without keeping or inflating them.
    pub(crate) fn listen_for_close(&mut self) {
        self.rules.is_closing = true;
        if let Some(message) = self.progress.as_mut().and_then(|progress| progress.message.as_mut())
        {
            message.payload = Vec::new();
        }
    }

    /// Takes bytes from the front of `input` until a message or control frame is whole. `None`: all
    /// bytes are taken, and more are needed. After a violation it takes all bytes and returns it
    /// again.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, Violation> {
        if self.violation.is_none() {
            self.violation = match self.try_next(input) {
                Ok(next) => return Ok(next),
                Err(violation) => Some(Box::new(violation)),
            };
            self.progress = None;
        }
        *input = &[];
        self.violation().map_or(Ok(None), Err)
    }

    fn try_next(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, Violation> {
        loop {
            if input.is_empty() {
                return Ok(None);
            }
            if self.progress.is_none() {
                self.begun = self.begun.wrapping_add(1);
            }
            let progress = self.progress.get_or_insert_default();
            let next = progress.next(self.rules, input)?;
            if progress.is_over() {
                self.progress = None;
            }
            match next {
                Some(Incoming::Text(_) | Incoming::Binary(_)) if self.rules.is_closing => {}
                next => return Ok(next),
            }
        }
    }
}

impl Progress {
    fn is_over(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    fn next(&mut self, rules: Rules, input: &mut &[u8]) -> Result<Option<Incoming>, Violation> {
        loop {
            let Some(frame) = &mut self.frame else {
                if !self.read_header(rules, input)? {
                    return Ok(None);
                }
                continue;
            };
            let (now, rest) = input.split_at((frame.missing.min(input.len() as u64)) as usize);
            *input = rest;
            frame.missing -= now.len() as u64;
            let is_control = matches!(frame.opcode, OpCode::Control(_));
            let is_whole = frame.missing == 0;
            match &mut self.message {
                _ if is_control => unmask(now, &mut frame.mask, &mut self.control),
                Some(_) if rules.is_closing => {}
                Some(message) => {
                    unmask(now, &mut frame.mask, &mut message.payload);
                    message.check(is_whole && frame.is_final)?;
                }
                None => return Err(Violation::Protocol("a continuation of nothing")),
            }
            if !is_whole {
                return Ok(None);
            }
            let Some(Frame { opcode, is_final, .. }) = self.frame.take() else { return Ok(None) };
            match opcode {
                OpCode::Control(kind) => return self.finish_control(kind).map(Some),
                OpCode::Data(_) if is_final => return self.finish_message(rules).map(Some),
                OpCode::Data(_) => {}
            }
        }
    }

    /// False when more bytes are needed.
    fn read_header(&mut self, rules: Rules, input: &mut &[u8]) -> Result<bool, Violation> {
        while let Some((first, rest)) = input.split_first() {
            self.header[self.header_len as usize] = *first;
            self.header_len += 1;
            *input = rest;
            let mut cursor = Cursor::new(&self.header[..self.header_len as usize]);
            let parsed = FrameHeader::parse(&mut cursor);
            let parsed = parsed.map_err(|_| Violation::Protocol("an unknown kind of frame"))?;
            if let Some((header, len)) = parsed {
                self.header_len = 0;
                self.begin(rules, header, len)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn begin(&mut self, rules: Rules, header: FrameHeader, len: u64) -> Result<(), Violation> {
        let FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, mask } = header;
        let broken = |why| Err(Violation::Protocol(why));
        let Some(mask) = mask else { return broken("a frame that is not masked") };
        if rsv2 || rsv3 || (rsv1 && !rules.compressed_allowed) {
            return broken("a reserved bit that means nothing here");
        }
        match (opcode, &self.message) {
            (OpCode::Control(Control::Reserved(_)), _) | (OpCode::Data(Data::Reserved(_)), _) => {
                return broken("an unknown kind of frame");
            }
            (OpCode::Control(_), _) if !is_final || len > CONTROL_BYTES_MAX as u64 || rsv1 => {
                return broken("a ping, pong or close that is too long, fragmented or compressed");
            }
            (OpCode::Control(_), _) => self.control = Vec::new(),
            (OpCode::Data(Data::Continue), None) => return broken("a continuation of nothing"),
            (OpCode::Data(Data::Continue), Some(_)) if rsv1 => {
                return broken("a reserved bit that means nothing here");
            }
            (OpCode::Data(Data::Continue), Some(_)) => {}
            (OpCode::Data(_), Some(_)) => return broken("a message within a message"),
            (OpCode::Data(kind), None) => {
                let (is_text, is_compressed) = (kind == Data::Text, rsv1);
                self.message =
                    Some(Message { is_text, is_compressed, payload: Vec::new(), checked: 0 });
            }
        }
        if let (OpCode::Data(_), Some(message)) = (opcode, &self.message) {
            let so_far = message.payload.len() as u64;
            if len > (rules.message_bytes_max as u64).saturating_sub(so_far) {
                return Err(Violation::TooLong(rules.message_bytes_max));
            }
        }
        self.frame = Some(Frame { opcode, is_final, mask, missing: len });
        Ok(())
    }

    fn finish_message(&mut self, rules: Rules) -> Result<Incoming, Violation> {
        let Some(message) = self.message.take() else {
            return Err(Violation::Protocol("a continuation of nothing"));
        };
        let payload = match message.is_compressed && !rules.is_closing {
            true => deflate::decompress(&message.payload, rules.message_bytes_max)?,
            false => message.payload,
        };
        match message.is_text {
            true => String::from_utf8(payload).map(Incoming::Text).map_err(|_| Violation::Utf8),
            false => Ok(Incoming::Binary(payload)),
        }
    }

    fn finish_control(&mut self, kind: Control) -> Result<Incoming, Violation> {
        let payload = std::mem::take(&mut self.control);
        match kind {
            Control::Ping => Ok(Incoming::Ping(payload)),
            Control::Pong => Ok(Incoming::Pong),
            Control::Close | Control::Reserved(_) => {
                let Some((code, reason)) = payload.split_at_checked(2) else {
                    return match payload.is_empty() {
                        true => Ok(Incoming::Close(None)),
                        false => Err(Violation::Protocol("a close code of one byte")),
                    };
                };
                let code = u16::from_be_bytes([code[0], code[1]]);
                if !may_be_sent(code) {
                    return Err(Violation::Protocol("a close code that may not be sent"));
                }
                std::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
                Ok(Incoming::Close(Some(code)))
            }
        }
    }
}

/// Says whether a close frame may carry `code`: RFC 6455, section 7.4, and the codes that IANA has
/// registered since (1012 to 1014). The libraries' own lists differ about 1014, "Bad Gateway".
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

impl Message {
    /// Fails as soon as text cannot be UTF-8 any more, not only when all of it is there.
    fn check(&mut self, is_whole: bool) -> Result<(), Violation> {
        if !self.is_text || self.is_compressed {
            return Ok(());
        }
        match std::str::from_utf8(&self.payload[self.checked..]) {
            Ok(_) => self.checked = self.payload.len(),
            // A character may continue in the bytes to come.
            Err(error) if error.error_len().is_none() && !is_whole => {
                self.checked += error.valid_up_to();
            }
            Err(_) => return Err(Violation::Utf8),
        }
        Ok(())
    }
}

/// Appends masked bytes, and rotates the mask for the next ones.
fn unmask(masked: &[u8], mask: &mut [u8; 4], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(masked);
    for chunk in out[start..].chunks_mut(4) {
        for (byte, key) in chunk.iter_mut().zip(*mask) {
            *byte ^= key;
        }
    }
    mask.rotate_left(masked.len() % 4);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            len @ ..126 => out.push(0x80 | len as u8),
            len @ ..65_536 => out.extend([0x80 | 126, (len >> 8) as u8, len as u8]),
            len => {
                out.push(0x80 | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    fn decode(mut bytes: &[u8]) -> Result<Vec<Incoming>, Violation> {
        let mut decoder = Decoder::new(1 << 20, true);
        let mut all = Vec::new();
        while let Some(one) = decoder.next(&mut bytes)? {
            all.push(one);
        }
        assert!(bytes.is_empty());
        Ok(all)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A message comes out whole however it is cut into frames, and the frames into reads, and
        /// so do pings between them.
        #[test]
        fn messages_come_out_whole(
            text in "\\PC{0,300}",
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
            reads in proptest::collection::vec(1_usize..40, 1..20),
            mask: [u8; 4],
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut bytes = Vec::new();
            for (place, pair) in cuts.windows(2).enumerate() {
                let opcode = if place == 0 { 1 } else { 0 };
                let last = if place + 2 == cuts.len() { 0x80 } else { 0 };
                bytes.extend(frame(last | opcode, mask, &text.as_bytes()[pair[0]..pair[1]]));
                if last == 0 {
                    bytes.extend(frame(0x89, mask, b"?"));
                }
            }
            let mut decoder = Decoder::new(1 << 20, false);
            let (mut got, mut pings, mut place) = (None, 0, 0);
            for read in reads.iter().cycle() {
                let mut input = &bytes[place..(place + read).min(bytes.len())];
                place += input.len();
                while let Some(one) = decoder.next(&mut input).unwrap() {
                    match one {
                        Incoming::Ping(payload) => {
                            prop_assert_eq!(payload, b"?");
                            pings += 1;
                        }
                        other => got = Some(other),
                    }
                }
                if place == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(got, Some(Incoming::Text(text)));
            prop_assert_eq!(pings, cuts.len() - 2);
            prop_assert_eq!(decoder.in_progress(), None);
        }

        /// No bytes cause a panic, in whatever pieces, and a violation stays the same.
        #[test]
        fn noise_is_refused_or_waits(noise: Vec<u8>, piece in 1_usize..20) {
            let mut decoder = Decoder::new(1000, true);
            let mut violation = None;
            for mut input in noise.chunks(piece) {
                loop {
                    match decoder.next(&mut input) {
                        Ok(Some(_)) => prop_assert_eq!(violation, None),
                        Ok(None) => break prop_assert_eq!(violation, None),
                        Err(now) => break prop_assert_eq!(*violation.get_or_insert(now), now),
                    }
                }
                prop_assert!(input.is_empty());
            }
        }
    }

    #[test]
    fn what_may_not_be_sent_is_refused() {
        let mask = [1, 2, 3, 4];
        for (first, payload) in [
            (0x80, &b"x"[..]),    // a continuation of nothing
            (0x83, b""),          // an opcode that does not exist
            (0x8b, b""),          // another
            (0x09, b""),          // a ping in parts
            (0x89, &[b'x'; 126]), // a ping that is too long
            (0x91, b"x"),         // a bit that means nothing
            (0xc9, b"x"),         // a compressed ping
            (0x88, b"x"),         // a close with half a code
            (0x88, &[3, 236]),    // 1004
            (0x88, &[0, 10]),     // 10
        ] {
            assert!(
                matches!(decode(&frame(first, mask, payload)), Err(Violation::Protocol(_))),
                "{first:x}"
            );
        }
        assert!(matches!(decode(&[0x81, 1, b'x']), Err(Violation::Protocol(_))), "not masked");
        let within = [frame(0x01, mask, b"a"), frame(0x81, mask, b"b")].concat();
        assert!(matches!(decode(&within), Err(Violation::Protocol(_))));
        assert_eq!(decode(&frame(0x88, mask, &[3, 232, 0xff])), Err(Violation::Utf8));
    }

    #[test]
    fn every_registered_close_code_is_taken_and_no_other() {
        let taken: Vec<u16> = (0..=u16::MAX)
            .filter(|code| decode(&frame(0x88, [0; 4], &code.to_be_bytes())).is_ok())
            .collect();
        let registered: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(taken, registered);
    }

    #[test]
    fn after_a_violation_nothing_is_decoded() {
        for broken in [&b"\x83\x80\0\0\0\0"[..], b"\x81\x01x", b"\x81\x81\0\0\0\0\xff"] {
            let mut decoder = Decoder::new(100, true);
            let mut input = broken;
            let violation = decoder.next(&mut input).unwrap_err();
            // Single bytes: more than a header can have, then a valid message.
            for byte in [b'x'; 100].iter().chain(&frame(0x81, [0; 4], b"fine")) {
                let mut input = std::slice::from_ref(byte);
                assert_eq!(decoder.next(&mut input), Err(violation));
                assert!(input.is_empty());
                assert_eq!(decoder.in_progress(), None);
            }
        }
    }

    #[test]
    fn a_message_keeps_its_number_while_control_frames_come_between() {
        let mask = [1, 2, 3, 4];
        let mut decoder = Decoder::new(100, true);
        assert_eq!(decoder.next(&mut &frame(0x01, mask, b"a")[..]), Ok(None));
        let number = decoder.in_progress();
        assert!(number.is_some());
        for byte in
            [frame(0x8a, mask, b"pong"), frame(0x00, mask, b"b"), frame(0x89, mask, b"")].concat()
        {
            decoder.next(&mut &[byte][..]).unwrap();
            assert_eq!(decoder.in_progress(), number);
        }
        let last = decoder.next(&mut &frame(0x80, mask, b"c")[..]);
        assert_eq!(
            (last, decoder.in_progress()),
            (Ok(Some(Incoming::Text("abc".to_owned()))), None)
        );
        assert_eq!(decoder.next(&mut &b"\x89"[..]), Ok(None));
        assert!(decoder.in_progress().is_some() && decoder.in_progress() != number);
    }

    #[test]
    fn who_waits_for_the_close_keeps_no_messages() {
        let mask = [1, 2, 3, 4];
        let mut decoder = Decoder::new(1 << 20, true);
        assert_eq!(decoder.next(&mut &frame(0x01, mask, &[b'x'; 1000])[..]), Ok(None));
        decoder.listen_for_close();
        let kept = |decoder: &Decoder| {
            let message = decoder.progress.as_ref().and_then(|progress| progress.message.as_ref());
            message.map(|message| message.payload.capacity())
        };
        assert_eq!(kept(&decoder), Some(0));
        // It is not inflated either: this is not deflate.
        let rest = [
            frame(0x00, mask, &[0xff; 1000]),
            frame(0x80, mask, b"x"),
            frame(0xc1, mask, &[0xff; 40]),
            frame(0x01, mask, &[b'x'; 1000]),
        ];
        assert_eq!(decoder.next(&mut &rest.concat()[..]), Ok(None));
        assert_eq!(kept(&decoder), Some(0));
        let close = decoder.next(&mut &frame(0x88, mask, &[3, 232])[..]);
        assert_eq!(close, Ok(Some(Incoming::Close(Some(1000)))));
    }

    #[test]
    fn bad_text_is_refused_before_it_is_whole() {
        let mask = [9, 8, 7, 6];
        let half_a_letter = [frame(0x01, mask, &[0xc3]), frame(0x80, mask, &[0xa4])].concat();
        assert_eq!(decode(&half_a_letter).unwrap(), [Incoming::Text("ä".to_owned())]);
        assert_eq!(decode(&frame(0x81, mask, &[0xc3])), Err(Violation::Utf8));
        assert_eq!(decode(&frame(0x01, mask, &[0xf4, 0x90])), Err(Violation::Utf8));
    }

    #[test]
    fn a_message_that_will_be_too_long_is_refused_at_its_header() {
        let mut decoder = Decoder::new(100, false);
        let header = &frame(0x81, [0; 4], &[b'x'; 101])[..8];
        assert_eq!(decoder.next(&mut &header[..]), Err(Violation::TooLong(100)));
    }
}
