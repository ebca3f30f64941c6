//! Cursors as clients have them and send them back: bare, or as the `ETag` that reached them.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use halfping_engine::{Cursor, Epoch};

/// Codings that proxies compress with, as they append them to an `ETag`.
const CODINGS: &[&str] = &["gzip", "br", "zstd", "deflate"];
/// Separators of a tag and its coding: of Apache, Caddy and most others; of Jetty; of old Apaches.
const SEPARATORS: &[&str] = &["--", "-", ";"];
/// Characters of a block. A number of so many digits is no revision, so no text means both kinds
/// of cursors.
const BLOCK_CHARACTERS: usize = 22;

/// A cursor as a client has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Given {
    /// The cursor itself.
    Open(Cursor),
    /// That of a client who may not see all: a block that only the server can read (PROTOCOL I27).
    Sealed(Epoch, [u8; 16]),
}

impl Given {
    fn parse(text: &str) -> Option<Given> {
        let (epoch, block) = text.split_once('.')?;
        if block.len() != BLOCK_CHARACTERS {
            return Cursor::parse(text).map(Given::Open);
        }
        let block = BASE64_URL_SAFE_NO_PAD.decode(block).ok()?;
        Some(Given::Sealed(Epoch::parse(epoch)?, block.try_into().ok()?))
    }

    /// The cursor, if it is one that everybody can read.
    pub(crate) fn open(self) -> Option<Cursor> {
        match self {
            Given::Open(cursor) => Some(cursor),
            Given::Sealed(..) => None,
        }
    }

    /// A number that differs from those of all other cursors that are told of the same frame.
    pub(crate) fn key(self) -> u128 {
        match self {
            Given::Open(cursor) => u128::from(cursor.revision.0) << 33,
            Given::Sealed(_, block) => u128::from_be_bytes(block),
        }
    }

    /// Appends its text.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self {
            Given::Open(cursor) => cursor.write(out),
            Given::Sealed(..) => out.extend_from_slice(self.to_string().as_bytes()),
        }
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::Open(cursor) => cursor.fmt(f),
            Given::Sealed(epoch, block) => {
                write!(f, "{epoch}.{}", BASE64_URL_SAFE_NO_PAD.encode(block))
            }
        }
    }
}

/// Reads a cursor, with or without quotes, `W/` and the suffix of a proxy that compresses (PROTOCOL
/// C6). `None` for any other text.
pub(crate) fn cursor(text: &str) -> Option<Given> {
    let text = text.strip_prefix("W/").unwrap_or(text);
    let inside = |text: &'_ str| -> Option<usize> {
        (text.len() >= 2 && text.starts_with('"') && text.ends_with('"')).then(|| text.len() - 1)
    };
    match inside(text) {
        Some(end) => Given::parse(without_coding(&text[1..end])),
        None => {
            let text = without_coding(text);
            Given::parse(inside(text).map_or(text, |end| &text[1..end]))
        }
    }
}

fn without_coding(tag: &str) -> &str {
    let before = CODINGS.iter().find_map(|coding| tag.strip_suffix(coding));
    let bare =
        before.and_then(|tag| SEPARATORS.iter().find_map(|separator| tag.strip_suffix(separator)));
    bare.unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proxies_add_to_a_tag_is_ignored_and_nothing_else() {
        // PROTOCOL C6
        let bare = "deadbeef0042.17";
        let known = Cursor::parse(bare).map(Given::Open);
        assert!(known.is_some());
        for text in [
            "deadbeef0042.17",
            "\"deadbeef0042.17\"",
            "W/\"deadbeef0042.17\"",
            "\"deadbeef0042.17-gzip\"",
            "W/\"deadbeef0042.17-gzip\"",
            "\"deadbeef0042.17--gzip\"",
            "\"deadbeef0042.17;gzip\"",
            "\"deadbeef0042.17-br\"",
            "\"deadbeef0042.17-zstd\"",
            "\"deadbeef0042.17\"-gzip",
            "deadbeef0042.17-gzip",
        ] {
            assert_eq!(cursor(text), known, "{text}");
        }
        for text in [
            "",
            "W/",
            "\"",
            "\"\"",
            "-gzip",
            "\"deadbeef0042.17",
            "w/\"deadbeef0042.17\"",
            "\"deadbeef0042.17gzip\"",
            "\"deadbeef0042.17---gzip\"",
            "\"deadbeef0042.17-gzip-gzip\"",
            "\"deadbeef0042.17-gzip\"-gzip",
            "\"deadbeef0042.17-GZIP\"",
            "\"deadbeef0042.17-1\"",
            "\"deadbeef0042.17_gzip\"",
            "\"deadbeef0042.17 \"",
        ] {
            assert_eq!(cursor(text), None, "{text}");
        }
    }

    #[test]
    fn a_sealed_cursor_survives_its_text_and_has_one_only() {
        // PROTOCOL I27
        for block in [[0; 16], [0xff; 16], *b"0123456789abcdef"] {
            let given = Given::Sealed(Epoch::from_random(0xdead_beef_0042), block);
            let text = given.to_string();
            assert_eq!(text.len(), 12 + 1 + BLOCK_CHARACTERS);
            let mut written = Vec::new();
            given.write(&mut written);
            assert_eq!(written, text.as_bytes());
            for text in [&text, &format!("\"{text}\""), &format!("W/\"{text}--gzip\"")] {
                assert_eq!(cursor(text), Some(given), "{text}");
            }
        }
        for text in [
            "deadbeef0042.AAAAAAAAAAAAAAAAAAAAAB", // bits beyond the last byte
            "deadbeef0042.AAAAAAAAAAAAAAAAAAAAA",
            "deadbeef0042.AAAAAAAAAAAAAAAAAAAAAAA",
            "deadbeef0042.AAAAAAAAAAAAAAAAAAAAA=",
            "deadbeef0042.AAAAAAAAAAAAAAAAAAAA+A",
            "deadbeef004.AAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(cursor(text), None, "{text}");
        }
    }
}
