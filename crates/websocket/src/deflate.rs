//! `permessage-deflate` (RFC 7692) without context takeover: messages are independent, so the
//! compressors belong to the thread and not to the connection.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::violation::Violation;

/// The bytes that a sender leaves out at the end of each message, and a receiver puts back (RFC
/// 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Output is made in pieces of at least this size.
const PIECE: usize = 4 << 10;
/// Level of compression: fast, as messages are small and must not wait.
const LEVEL: u32 = 3;

thread_local! {
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), false));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Appends the compressed message to `out`. False, with `out` as it was, when it would not be
/// shorter.
pub(crate) fn compress(message: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    // Room for one byte less than the message, and the tail that is removed: output that does not
    // fit is not shorter.
    out.reserve(message.len() + TAIL.len());
    let shorter = COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let flushed = compress.compress_vec(message, out, FlushCompress::Sync);
        flushed.is_ok() && compress.total_in() == message.len() as u64 && out.ends_with(&TAIL)
    }) && out.len() - start - TAIL.len() < message.len();
    out.truncate(if shorter { out.len() - TAIL.len() } else { start });
    shorter
}

/// Decompresses a message of not more than `max` bytes.
pub(crate) fn decompress(compressed: &[u8], max: usize) -> Result<Vec<u8>, Violation> {
    DECOMPRESS.with_borrow_mut(|decompress| {
        decompress.reset(false);
        let mut message = Vec::new();
        for mut part in [compressed, &TAIL] {
            loop {
                message.reserve(PIECE.max(part.len()));
                let before = (decompress.total_in(), message.len());
                let status = decompress.decompress_vec(part, &mut message, FlushDecompress::Sync);
                let status = status.map_err(|_| Violation::Deflate)?;
                part = &part[(decompress.total_in() - before.0) as usize..];
                if message.len() > max {
                    return Err(Violation::TooLong(max));
                }
                if status == Status::StreamEnd {
                    return Ok(message);
                }
                // Spare room in the output means that there is no more to come.
                if part.is_empty() && message.len() < message.capacity() {
                    break;
                }
                if decompress.total_in() == before.0 && message.len() == before.1 {
                    return Err(Violation::Deflate);
                }
            }
        }
        Ok(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_comes_back() {
        for len in [1, 10, 200, 5_000, 300_000] {
            let message: Vec<u8> = (0..len).map(|i| b"abcabdabe"[i % 9]).collect();
            let mut compressed = Vec::new();
            if compress(&message, &mut compressed) {
                assert!(compressed.len() < message.len());
                assert_eq!(decompress(&compressed, len).unwrap(), message);
                assert_eq!(decompress(&compressed, len - 1), Err(Violation::TooLong(len - 1)));
            } else {
                assert!(len < 200 && compressed.is_empty());
            }
        }
    }

    #[test]
    fn noise_stays_as_it_is() {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let message: Vec<u8> = (0..10_000).map(|_| noise()).collect();
        let mut out = b"before".to_vec();
        assert!(!compress(&message, &mut out));
        assert_eq!(out, b"before");
    }

    #[test]
    fn a_few_bytes_cannot_become_many() {
        let mut bomb = Vec::new();
        assert!(compress(&vec![0; 10_000_000], &mut bomb));
        assert!(bomb.len() < 50_000);
        assert_eq!(decompress(&bomb, 100_000), Err(Violation::TooLong(100_000)));
    }

    #[test]
    fn what_is_not_deflate_is_refused() {
        assert_eq!(decompress(&[0xff; 40], 1000), Err(Violation::Deflate));
    }
}
