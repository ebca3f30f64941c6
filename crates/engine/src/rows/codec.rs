//! The bytes of everything that is kept on disk: numbers in LEB128, texts with their length before
//! them.
//!
//! `docs/on-disk-format.md` states the format. Reading trusts nothing: a store is a file, and files
//! get damaged.

use thiserror::Error;

use crate::cursor::Revision;
use crate::tree::key::escape_breaks;
use crate::tree::text::Text;

/// Bytes that this engine did not write, or not in this version.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{0}")]
pub struct Corrupt(pub String);

pub(crate) fn corrupt<T>(what: &str) -> Result<T, Corrupt> {
    Err(Corrupt(what.to_owned()))
}

pub(crate) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes a revision as its distance from a later one: most are close, and take one byte.
pub(crate) fn put_revision(revision: Revision, before: Revision, out: &mut Vec<u8>) {
    debug_assert!(revision <= before, "{revision:?} is not before {before:?}");
    put_number(if revision == Revision::NONE { 0 } else { before.0 - revision.0 + 1 }, out);
}

pub(crate) struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Corrupt> {
        let Some((first, rest)) = self.bytes.split_first() else {
            return corrupt("it ends too early");
        };
        self.bytes = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Corrupt> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        corrupt("a number is too large")
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let len = self.number()?;
        let Some((bytes, rest)) =
            usize::try_from(len).ok().and_then(|len| self.bytes.split_at_checked(len))
        else {
            return corrupt("it ends too early");
        };
        self.bytes = rest;
        Ok(bytes)
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, Corrupt> {
        std::str::from_utf8(self.bytes()?).or(corrupt("a text is not UTF-8"))
    }

    pub(crate) fn text(&mut self) -> Result<Text, Corrupt> {
        let text = self.str()?;
        // A store of an older version may have such characters without escapes.
        let text = escape_breaks(text);
        if text.is_empty() { corrupt("a value is empty") } else { Ok(Text::new(&text)) }
    }

    /// A revision as a whole number. One so large that counting could overflow is corrupt.
    pub(crate) fn whole_revision(&mut self) -> Result<Revision, Corrupt> {
        match self.number()? {
            number if number < 1 << 63 => Ok(Revision(number)),
            _ => corrupt("a revision is too large"),
        }
    }

    pub(crate) fn revision(&mut self, before: Revision) -> Result<Revision, Corrupt> {
        match self.number()? {
            0 => Ok(Revision::NONE),
            distance if distance <= before.0 => Ok(Revision(before.0 - distance + 1)),
            _ => corrupt("a revision is from before the first"),
        }
    }

    /// A count of the things that follow, each of which takes a byte at least.
    pub(crate) fn count(&mut self) -> Result<usize, Corrupt> {
        match self.number()? {
            count if count <= self.bytes.len() as u64 => Ok(count as usize),
            _ => corrupt("it ends too early"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_their_bytes() {
        for number in [0, 1, 127, 128, 300, 1 << 35, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(number, &mut bytes);
            let mut input = Input::new(&bytes);
            assert_eq!((input.number(), input.is_empty()), (Ok(number), true));
        }
        for bytes in [
            &[0x80][..],
            &[0xff; 10],
            &[0xff; 11],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02],
        ] {
            assert!(Input::new(bytes).number().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn revisions_survive_as_distances() {
        for (revision, before) in [(0, 0), (0, 9), (1, 1), (9, 9), (3, 1 << 40)] {
            let mut bytes = Vec::new();
            put_revision(Revision(revision), Revision(before), &mut bytes);
            assert_eq!(Input::new(&bytes).revision(Revision(before)), Ok(Revision(revision)));
        }
    }
}
