//! The framing of WebSockets (RFC 6455): as much as the load and the floor need, and nothing
//! expensive.

/// The handshake's key is always the RFC's own example, and so the answer is always the same.
pub(super) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
pub(super) const SUBPROTOCOL: &str = "halfping.v1";

pub(super) const TEXT: u8 = 1;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// The mask of all frames. Masks keep scripts from forging what proxies see; there is no script
/// here, so one mask suffices.
const MASK: [u8; 4] = *b"half";

/// A frame without its payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) opcode: u8,
    /// True if the frame is neither a fragment nor an extension's.
    pub(super) is_plain: bool,
    mask: Option<[u8; 4]>,
    /// Position of the payload.
    pub(super) payload_at: usize,
    /// End of the frame.
    pub(super) end: usize,
}

/// The head of the frame at the start of `bytes`, if the frame is complete.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, at) = match second & 0x7F {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let is_masked = second & 0x80 != 0;
    let mask = if is_masked { Some(bytes.get(at..at + 4)?.try_into().ok()?) } else { None };
    let payload_at = if is_masked { at + 4 } else { at };
    let end = payload_at.saturating_add(length);
    let head = Head { opcode: first & 0x0F, is_plain: first & 0xF0 == 0x80, mask, payload_at, end };
    (end <= bytes.len()).then_some(head)
}

impl Head {
    /// Unmasks the payload.
    pub(super) fn unmasked<'a>(&self, bytes: &'a mut [u8]) -> &'a [u8] {
        let payload = &mut bytes[self.payload_at..self.end];
        if let Some(mask) = self.mask {
            apply(mask, payload);
        }
        payload
    }
}

fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for chunk in payload.chunks_mut(4) {
        for (byte, mask) in chunk.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

/// Appends a frame as servers send them.
pub(super) fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends a frame as clients send them.
pub(super) fn push_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_head(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    apply(MASK, &mut out[start..]);
}

fn push_head(out: &mut Vec<u8>, opcode: u8, length: usize, mask_bit: u8) {
    out.push(0x80 | opcode);
    match length {
        0..126 => out.push(mask_bit | length as u8),
        126..0x1_0000 => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_read_again_however_long() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_001] {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            for framed in [push, push_masked] {
                let mut bytes = Vec::new();
                framed(&mut bytes, TEXT, &payload);
                for cut in
                    [0, 1, 2, 5, bytes.len() - 1].into_iter().filter(|cut| *cut < bytes.len())
                {
                    assert!(head(&bytes[..cut]).is_none(), "{length}, cut at {cut}");
                }
                bytes.extend_from_slice(b"next");
                let head = head(&bytes).unwrap();
                assert!(
                    head.is_plain && head.opcode == TEXT && head.end + 4 == bytes.len(),
                    "{head:?}"
                );
                assert_eq!(head.unmasked(&mut bytes), payload, "{length}");
            }
        }
    }

    #[test]
    fn the_rfc_s_own_examples_are_read() {
        let mut masked = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
        let masked_head = head(&masked).unwrap();
        assert_eq!(masked_head.unmasked(&mut masked), b"Hello");
        let fragment = head(&[0x01, 0x03, 0x48, 0x65, 0x6C]).unwrap();
        assert!(!fragment.is_plain);
        let ping = head(&[0x89, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F]).unwrap();
        assert_eq!((ping.opcode, ping.payload_at, ping.end), (PING, 2, 7));
    }
}
