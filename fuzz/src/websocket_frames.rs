//! Frames of a WebSocket's client, as a socket receives them: in pieces, all at once, and together
//! with the handshake.
//!
//! The first byte says whether compression was agreed on and how long messages may be. The next
//! three give the lengths of the pieces (a piece of no bytes: for now, there is nothing to read).
//! The rest are the client's frames.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use flate2::read::DeflateDecoder;
use halfping_websocket::{Ended, Incoming, Socket, Violation};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const MESSAGE_BYTES_MAX: [usize; 4] = [20, 125, 1000, 100_000];
/// The bytes that a compressed message leaves out at its end (RFC 7692, section 7.2.1).
const TAIL: &[u8] = &[0, 0, 0xff, 0xff];
/// Number of times that a socket is polled again after a violation.
const ASKED_AGAIN: usize = 20;

pub fn websocket_frames(data: &[u8]) {
    let Some((&[flags, ref sizes @ ..], sent)) = data.split_first_chunk::<4>() else { return };
    let deflate = flags & 1 == 1;
    let max = MESSAGE_BYTES_MAX[usize::from(flags >> 1) % MESSAGE_BYTES_MAX.len()];
    let whole = listen(sent, &[u8::MAX], &[], deflate, max);
    assert_eq!(
        listen(sent, sizes, &[], deflate, max),
        whole,
        "PROTOCOL L13: pieces make a difference"
    );
    let (already, rest) = sent.split_at(sent.len().min(usize::from(sizes[0])));
    assert_eq!(
        listen(rest, sizes, already, deflate, max),
        whole,
        "PROTOCOL L13: a handshake makes one"
    );
    let model = model(sent, deflate, max);
    assert_eq!(whole.messages, model.messages, "PROTOCOL L12, L13: other messages than were sent");
    assert_eq!(whole.pongs, model.pongs, "RFC 6455, section 5.5.2: other pongs than pings");
    let code = whole.violation.map(Violation::code);
    match model.codes {
        [] => assert_eq!(code, None, "PROTOCOL L13: nothing is wrong with this"),
        codes => assert!(
            code.is_some_and(|code| codes.contains(&code)),
            "PROTOCOL L13: {code:?} is not of {codes:?}"
        ),
    }
}

/// The socket's results for all of a client's bytes.
#[derive(PartialEq, Debug, Default)]
struct Heard {
    messages: Vec<Incoming>,
    pongs: Vec<u8>,
    violation: Option<Violation>,
}

fn listen(bytes: &[u8], sizes: &[u8], already: &[u8], deflate: bool, max: usize) -> Heard {
    let mut cx = Context::from_waker(Waker::noop());
    let io = Pieces { bytes, sizes, reads: 0, written: Vec::new() };
    let mut socket = Socket::new(io, already, max, deflate);
    let mut heard = Heard::default();
    loop {
        let next = socket.poll_next(&mut cx);
        assert!(socket.poll_ready(&mut cx).is_ready());
        match next {
            Poll::Pending => {}
            Poll::Ready(Ok(close @ Incoming::Close(_))) => {
                heard.messages.push(close);
                break;
            }
            Poll::Ready(Ok(message)) => heard.messages.push(message),
            Poll::Ready(Err(Ended::Violation(violation))) => match heard.violation {
                None => heard.violation = Some(violation),
                Some(first) => {
                    assert_eq!(
                        violation, first,
                        "PROTOCOL L13: nothing is decoded after a violation"
                    )
                }
            },
            Poll::Ready(Err(Ended::Closed)) => break,
            Poll::Ready(Err(error)) => panic!("the pieces do not fail: {error}"),
        }
        if heard.violation.is_some() {
            for _ in 0..ASKED_AGAIN {
                let again = socket.poll_next(&mut cx);
                let Poll::Ready(Err(Ended::Violation(violation))) = again else {
                    panic!("PROTOCOL L13: something is decoded after a violation: {again:?}");
                };
                assert_eq!(Some(violation), heard.violation);
            }
            assert_eq!(socket.in_progress(), None);
            break;
        }
    }
    heard.pongs = socket.into_inner().written;
    heard
}

/// A connection on which bytes come in pieces.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: &'a [u8],
    reads: usize,
    written: Vec<u8>,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = usize::from(self.sizes[self.reads % self.sizes.len()]);
        self.reads += 1;
        if size == 0 && self.sizes.iter().any(|size| *size > 0) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (now, rest) = self.bytes.split_at(self.bytes.len().min(size.max(1)));
        out.put_slice(now);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The expected results.
#[derive(Default)]
struct Model {
    messages: Vec<Incoming>,
    pongs: Vec<u8>,
    /// The close codes that are allowed; none, if there is no violation.
    codes: &'static [u16],
}

fn model(bytes: &[u8], deflate: bool, max: usize) -> Model {
    let mut model = Model::default();
    if let Err(codes) = model.read(bytes, deflate, max) {
        model.codes = codes;
    }
    model
}

const PROTOCOL: &[u16] = &[1002];
const BAD_DATA: &[u16] = &[1007];
const TOO_LONG: &[u16] = &[1009];

/// A message whose last frame has not come.
struct Fragments {
    is_text: bool,
    is_compressed: bool,
    payload: Vec<u8>,
}

impl Model {
    /// Reads frame by frame (RFC 6455, section 5.2), up to the end of the bytes or the client's
    /// close.
    fn read(&mut self, mut rest: &[u8], deflate: bool, max: usize) -> Result<(), &'static [u16]> {
        let mut message: Option<Fragments> = None;
        loop {
            let [first, second, ..] = *rest else { return Ok(()) };
            let (is_final, opcode, is_masked) = (first & 0x80 != 0, first & 15, second & 0x80 != 0);
            let extended = match second & 0x7f {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let header = 2 + extended + if is_masked { 4 } else { 0 };
            if rest.len() < header {
                return Ok(());
            }
            let len = match extended {
                0 => u64::from(second & 0x7f),
                _ => rest[2..2 + extended].iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
            };
            let is_compressed = first & 0x40 != 0;
            let is_wrong = match opcode {
                0 => is_compressed || message.is_none(),
                1 | 2 => (is_compressed && !deflate) || message.is_some(),
                8..=10 => is_compressed || !is_final || len > 125,
                _ => true,
            };
            if is_wrong || !is_masked || first & 0x30 != 0 {
                return Err(PROTOCOL);
            }
            if opcode < 8 {
                let message = message.get_or_insert_with(|| Fragments {
                    is_text: opcode == 1,
                    is_compressed,
                    payload: Vec::new(),
                });
                if len > (max - message.payload.len()) as u64 {
                    return Err(TOO_LONG);
                }
            }
            let mask = &rest[header - 4..header];
            let body = &rest[header..];
            let is_whole = body.len() as u64 >= len;
            let (body, after) = body.split_at(if is_whole { len as usize } else { body.len() });
            let body = body.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key);
            let Some(fragments) = message.as_mut().filter(|_| opcode < 8) else {
                if !is_whole {
                    return Ok(());
                }
                rest = after;
                if self.control(opcode, body.collect())? {
                    return Ok(());
                }
                continue;
            };
            fragments.payload.extend(body);
            let is_over = is_whole && is_final;
            if fragments.is_text && !fragments.is_compressed {
                match std::str::from_utf8(&fragments.payload) {
                    Err(error) if is_over || error.error_len().is_some() => return Err(BAD_DATA),
                    _ => {}
                }
            }
            if !is_whole {
                return Ok(());
            }
            rest = after;
            if let (true, Some(Fragments { is_text, is_compressed, payload })) =
                (is_over, message.take_if(|_| is_over))
            {
                let payload = if is_compressed { inflated(&payload, max)? } else { payload };
                self.messages.push(match is_text {
                    true => Incoming::Text(String::from_utf8(payload).map_err(|_| BAD_DATA)?),
                    false => Incoming::Binary(payload),
                });
            }
        }
    }

    /// Handles a control frame. Returns whether it was the client's close.
    fn control(&mut self, opcode: u8, payload: Vec<u8>) -> Result<bool, &'static [u16]> {
        match (opcode, payload.as_slice()) {
            (9, _) => {
                self.pongs.extend([0x8a, payload.len() as u8]);
                self.pongs.extend(payload);
            }
            (10, _) => self.messages.push(Incoming::Pong),
            (_, []) => self.messages.push(Incoming::Close(None)),
            (_, [high, low, reason @ ..]) => {
                let code = u16::from(*high) << 8 | u16::from(*low);
                // RFC 6455, section 7.4, and what IANA has registered since.
                if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                    return Err(PROTOCOL);
                }
                std::str::from_utf8(reason).map_err(|_| BAD_DATA)?;
                self.messages.push(Incoming::Close(Some(code)));
            }
            _ => return Err(PROTOCOL),
        }
        Ok(opcode == 8)
    }
}

/// Inflates a message.
fn inflated(payload: &[u8], max: usize) -> Result<Vec<u8>, &'static [u16]> {
    let mut message = Vec::new();
    let read = DeflateDecoder::new(payload.chain(TAIL)).read_to_end(&mut message);
    // An end of input is no failure: few senders mark the end of a message.
    let fails = read.is_err_and(|error| error.kind() != io::ErrorKind::UnexpectedEof);
    match (fails, message.len() > max) {
        (false, false) => Ok(message),
        (true, false) => Err(BAD_DATA),
        (false, true) => Err(TOO_LONG),
        // Either of the two may be detected first.
        (true, true) => Err(&[1007, 1009]),
    }
}
