//! A session's messages, as far as the load needs them (PROTOCOL L5, L9). Only the needed parts are
//! parsed, because the load shares the machine with the server.

use memchr::{memchr, memchr_iter, memmem};

use crate::stamp::Stamp;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A change of state.
    State { cursor: &'a [u8], synced: bool },
    /// A command was carried out.
    Answer,
    /// A command was refused, or a link ended.
    Problem,
}

pub(super) fn read(text: &[u8]) -> Message<'_> {
    if let Some(rest) = text.strip_prefix(b"{\"rev\":\"") {
        let end = memchr(b'"', rest).unwrap_or(rest.len());
        return Message::State {
            cursor: &rest[..end],
            synced: text.ends_with(b",\"synced\":true}"),
        };
    }
    let is_answer =
        text.starts_with(b"{\"ref\":") && memmem::find(text, b"\"status\":200").is_some();
    if is_answer { Message::Answer } else { Message::Problem }
}

/// The part of a message about one link.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) link: u32,
    /// The stamp in the body, if it has one.
    pub(super) stamp: Option<Stamp>,
}

/// Finds the entries of `set`. Values that the load writes have no brackets in them, so each
/// bracket begins an entry. `Err` is a link that ended.
pub(super) fn entries(text: &[u8]) -> impl Iterator<Item = Result<Entry, u32>> {
    memchr_iter(b'[', text).filter_map(|at| entry(&text[at + 1..]))
}

fn entry(text: &[u8]) -> Option<Result<Entry, u32>> {
    let mut link = 0u32;
    let mut at = 0;
    while let Some(digit) = text.get(at).filter(|byte| byte.is_ascii_digit()) {
        link = link.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'));
        at += 1;
    }
    let rest = text[at..].strip_prefix(b",\"").filter(|_| at > 0)?;
    let kind = &rest[..memchr(b'"', rest)?];
    if kind == b"error" {
        return Some(Err(link));
    }
    let body = rest[kind.len() + 1..].strip_prefix(b",").unwrap_or_default();
    Some(Ok(Entry { link, stamp: Stamp::find(body) }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let state = br#"{"rev":"a.1","t":1,"set":[[1,"snapshot",null]],"synced":true}"#;
        assert_eq!(read(state), Message::State { cursor: b"a.1", synced: true });
        assert_eq!(
            read(br#"{"rev":"a.22","t":1,"set":[[1,"gone"]]}"#),
            Message::State { cursor: b"a.22", synced: false }
        );
        assert_eq!(read(br#"{"ref":1,"status":200}"#), Message::Answer);
        for problem in [r#"{"error":{"status":200}}"#, r#"{"ref":1,"status":404}"#, "", "[]"] {
            assert_eq!(read(problem.as_bytes()), Message::Problem, "{problem}");
        }
    }

    #[test]
    fn every_entry_is_found() {
        let text = br#"{"rev":"a.1","t":1,"set":[[7,"snapshot","000000000000000a0000000000000100xx"],[12,"gone"],
            [0,"merge",{"position":"000000000000000b0000000000000200"}],[4294967295,"snapshot",0,"more"],[3,"error",{}]]}"#;
        let found: Vec<Result<Entry, u32>> = entries(text).collect();
        let stamp = |number, at| Some(Stamp { number, at: Duration::from_nanos(at) });
        let expect = [
            Ok(Entry { link: 7, stamp: stamp(10, 256) }),
            Ok(Entry { link: 12, stamp: None }),
            Ok(Entry { link: 0, stamp: stamp(11, 512) }),
            Ok(Entry { link: u32::MAX, stamp: None }),
            Err(3),
        ];
        assert_eq!(found, expect);
    }
}
