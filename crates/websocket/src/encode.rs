//! Frames of a server: not masked, never fragmented.

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::deflate;

/// The header of a payload from 126 to 65,535 bytes, the most common one here.
const USUAL_HEADER: usize = 4;
/// Bytes from which messages are compressed: a shorter one takes one packet either way.
const COMPRESS_FROM: usize = 256;
/// Bytes up to which messages are compressed. RFC 7692, section 6, leaves the choice to the sender.
/// Compressing this many bytes of JSON takes 1.5 ms, for which all others on the thread wait.
const COMPRESS_TO: usize = 128 << 10;
/// Bytes of the payload of a ping, pong or close (RFC 6455, section 5.5).
pub(crate) const CONTROL_BYTES_MAX: usize = 125;

/// Appends a message to `out`; `fill` writes its payload. It is compressed if that makes it shorter
/// and does not take long.
pub(crate) fn message(
    out: &mut Vec<u8>,
    kind: Data,
    compress: bool,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    let body = start + USUAL_HEADER;
    out.resize(body, 0);
    fill(out);
    let compressed = compress && (COMPRESS_FROM..=COMPRESS_TO).contains(&(out.len() - body)) && {
        let mut shorter = Vec::new();
        let is_shorter = deflate::compress(&out[body..], &mut shorter);
        if is_shorter {
            out.truncate(body);
            out.extend_from_slice(&shorter);
        }
        is_shorter
    };
    let len = out.len() - body;
    let opcode = OpCode::Data(kind);
    match u16::try_from(len) {
        Ok(short) if len > CONTROL_BYTES_MAX => {
            let [high, low] = short.to_be_bytes();
            out[start..body].copy_from_slice(&[first_byte(opcode, compressed), 126, high, low]);
        }
        // The payload was written behind room for the usual header; another header moves it.
        _ => drop(out.splice(start..body, header(opcode, compressed, len))),
    }
}

/// A text message as a frame of its own, to be sent on many sockets.
pub fn encode_text(compress: bool, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, Data::Text, compress, fill);
    out
}

/// Appends a ping, pong or close.
pub(crate) fn control(out: &mut Vec<u8>, kind: Control, payload: &[u8]) {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    out.extend(header(OpCode::Control(kind), false, payload.len()));
    out.extend_from_slice(payload);
}

/// Appends a close with its code and reason, which is cut to fit.
pub(crate) fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mut end = reason.len().min(CONTROL_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    control(out, Control::Close, &payload);
}

/// The first byte of a frame that is no fragment. `rsv1`: its payload is compressed.
fn first_byte(opcode: OpCode, rsv1: bool) -> u8 {
    0x80 | (u8::from(rsv1) << 6) | u8::from(opcode)
}

fn header(opcode: OpCode, rsv1: bool, len: usize) -> impl Iterator<Item = u8> {
    let header = FrameHeader { is_final: true, rsv1, rsv2: false, rsv3: false, opcode, mask: None };
    let mut bytes = [0; 14];
    let mut rest = &mut bytes[..];
    // There is room for the longest header.
    let _ = header.format(len as u64, &mut rest);
    let used = 14 - rest.len();
    bytes.into_iter().take(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_fit_their_payloads() {
        for (len, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = b"before".to_vec();
            message(&mut out, Data::Text, false, |out| out.extend(std::iter::repeat_n(b'x', len)));
            assert_eq!(&out[6..6 + header.len()], header);
            assert_eq!(out.len(), 6 + header.len() + len);
        }
    }

    #[test]
    fn what_would_take_long_to_compress_goes_as_it_is() {
        let encoded = |len| encode_text(true, |out| out.extend(std::iter::repeat_n(b'x', len)));
        for (len, is_compressed) in [
            (COMPRESS_FROM - 1, false),
            (COMPRESS_FROM, true),
            (COMPRESS_TO, true),
            (COMPRESS_TO + 1, false),
            (4 << 20, false),
        ] {
            let frame = encoded(len);
            assert_eq!(frame[0], if is_compressed { 0xc1 } else { 0x81 }, "{len}");
            assert_eq!(frame.len() > len, !is_compressed, "{len}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        let mut out = Vec::new();
        close(&mut out, 4000, &"ä".repeat(100));
        assert_eq!(out.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }
}
