//! Paths: names of the tree's nodes, as in URLs.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

use crate::limits::Limits;

/// Characters that are percent-encoded in a segment: all but `pchar` of RFC 3986.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A place in the tree, whether or not anything is there. The root has no segments.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Path {
    segments: Vec<Box<str>>,
}

/// Error of a text that is not a path.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("a path begins with '/'")]
    NoSlash,
    /// Two slashes in a row.
    #[error("segment {0} of the path is empty")]
    Empty(usize),
    /// `.` or `..`, which clients and proxies resolve before they send.
    #[error("segment {0} of the path is '.' or '..'")]
    Dots(usize),
    /// U+0000.
    #[error("segment {0} of the path contains U+0000")]
    Nul(usize),
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("segment {0} of the path has a '%' that is not followed by two hexadecimal digits")]
    Escape(usize),
    /// A `?` or `#` without an escape: it would begin a query or a fragment.
    #[error("the path has a '{0}' that is not percent-encoded")]
    Query(char),
    /// Bytes that are not text.
    #[error("segment {0} of the path is not UTF-8")]
    Utf8(usize),
    /// In a pattern: a `*` that is not the whole segment.
    #[error(
        "segment {0} of the pattern has a '*' beside something else; it stands for a whole name"
    )]
    Star(usize),
    /// In a pattern: a name that is the server's own.
    #[error("names that begin with '_' at the root are the server's own")]
    Reserved,
    /// More segments than `limits.path_depth`.
    #[error("the path has more than {0} segments")]
    TooDeep(usize),
    /// A segment longer than `limits.key_bytes`.
    #[error("segment {0} of the path is longer than {1} bytes")]
    KeyTooLong(usize, usize),
}

impl Path {
    /// The whole tree.
    pub const ROOT: Path = Path { segments: Vec::new() };

    /// Reads a path as it stands in a URL: percent-encoded, one trailing slash ignored (PROTOCOL
    /// P2, P3).
    pub fn parse(text: &str, limits: &Limits) -> Result<Path, PathError> {
        let inner = text.strip_prefix('/').ok_or(PathError::NoSlash)?;
        if let Some(mark) = inner.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(PathError::Query(mark));
        }
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let mut segments = Vec::new();
        if inner.is_empty() && text.len() <= 1 {
            return Ok(Path { segments });
        }
        for (i, raw) in inner.split('/').enumerate() {
            let place = i + 1;
            let bytes = raw.as_bytes();
            let bad_escape = (0..bytes.len()).any(|at| {
                bytes[at] == b'%'
                    && !bytes
                        .get(at + 1..at + 3)
                        .is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
            });
            if bad_escape {
                return Err(PathError::Escape(place));
            }
            let segment =
                percent_decode_str(raw).decode_utf8().map_err(|_| PathError::Utf8(place))?;
            match segment.as_ref() {
                "" => return Err(PathError::Empty(place)),
                "." | ".." => return Err(PathError::Dots(place)),
                s if s.contains('\0') => return Err(PathError::Nul(place)),
                s if s.len() > limits.key_bytes => {
                    return Err(PathError::KeyTooLong(place, limits.key_bytes));
                }
                s => segments.push(s.into()),
            }
            if segments.len() > limits.path_depth {
                return Err(PathError::TooDeep(limits.path_depth));
            }
        }
        Ok(Path { segments })
    }

    /// The names to follow from the root.
    pub fn segments(&self) -> &[Box<str>] {
        &self.segments
    }

    /// True if this is the path of the whole tree.
    pub fn is_root(&self) -> bool {
        self.segments.is_empty()
    }

    /// The place of a member of this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Path {
        let mut segments = self.segments.clone();
        segments.push(name.into());
        Path { segments }
    }
}

impl fmt::Display for Path {
    /// Writes the path as in a URL; the root is `/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display(self.segments.iter().map(|name| &**name)))
    }
}

/// The path that leads through these names, as in a URL.
pub(crate) fn display<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut text = String::new();
    for name in names {
        text.push('/');
        text.extend(utf8_percent_encode(name, SEGMENT));
    }
    if text.is_empty() { "/".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Path, PathError> {
        Path::parse(text, &Limits::default())
    }

    #[test]
    fn paths_are_decoded_once_and_written_back() {
        for (text, segments, back) in [
            ("/", &[][..], "/"),
            ("/a", &["a"], "/a"),
            ("/a/b/", &["a", "b"], "/a/b"),
            ("/a%2Fb", &["a/b"], "/a%2Fb"),
            ("/%2525", &["%25"], "/%2525"),
            ("/k%C3%A4se", &["käse"], "/k%C3%A4se"),
            ("/...", &["..."], "/..."),
            ("/a:b@c~d", &["a:b@c~d"], "/a:b@c~d"),
        ] {
            let path = parse(text).unwrap();
            assert_eq!(
                path.segments().iter().map(|s| &**s).collect::<Vec<_>>(),
                segments,
                "{text}"
            );
            assert_eq!(path.to_string(), back);
        }
    }

    #[test]
    fn tricks_are_refused() {
        assert_eq!(parse("a"), Err(PathError::NoSlash));
        assert_eq!(parse(""), Err(PathError::NoSlash));
        assert_eq!(parse("//"), Err(PathError::Empty(1)));
        assert_eq!(parse("/a//b"), Err(PathError::Empty(2)));
        assert_eq!(parse("/a/../b"), Err(PathError::Dots(2)));
        assert_eq!(parse("/%2e%2E/b"), Err(PathError::Dots(1)));
        assert_eq!(parse("/a%00b"), Err(PathError::Nul(1)));
        assert_eq!(parse("/a%zz"), Err(PathError::Escape(1)));
        assert_eq!(parse("/a%2"), Err(PathError::Escape(1)));
        assert_eq!(parse("/%ff"), Err(PathError::Utf8(1)));
        assert_eq!(parse(&"/a".repeat(33)), Err(PathError::TooDeep(32)));
        assert_eq!(parse(&format!("/{}", "k".repeat(1025))), Err(PathError::KeyTooLong(1, 1024)));
    }
}
