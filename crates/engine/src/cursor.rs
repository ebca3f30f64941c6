//! Revisions, epochs and the cursors that carry both to clients and back.

use std::fmt;

/// The number of a commit. The sequence is the store's own: every commit takes the next.
///
/// Zero is before everything: a reader that "has revision zero" has nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision before everything.
    pub const NONE: Revision = Revision(0);

    /// A revision that is never reached.
    pub(crate) const NEVER: Revision = Revision(u64::MAX);

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }

    /// The revision before this one.
    pub(crate) fn previous(self) -> Revision {
        Revision(self.0.saturating_sub(1))
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// One unbroken history. A wiped or restored store begins a new one, so that its revisions are
/// never mistaken for the old ones (the idea is Centrifugo's).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Epoch(u64);

impl Epoch {
    const BITS: u32 = 48;

    /// An epoch from random bits; 48 of them are used.
    pub fn from_random(bits: u64) -> Epoch {
        Epoch(bits & ((1 << Self::BITS) - 1))
    }

    /// Reads an epoch's text.
    pub fn parse(text: &str) -> Option<Epoch> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let is_one = text.len() == Self::BITS as usize / 4 && text.bytes().all(is_hex);
        is_one.then(|| u64::from_str_radix(text, 16).ok().map(Epoch))?
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

/// The name of a state, which a client returns to resume. Its text is `{epoch}.{revision}`
/// (PROTOCOL C2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The history that the revision belongs to.
    pub epoch: Epoch,
    /// The revision of the state in that history.
    pub revision: Revision,
}

impl Cursor {
    /// Reads a cursor's text; `None` for anything that this server could not have written.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (epoch, revision) = text.split_once('.')?;
        // `u64::from_str` would also take a sign and leading zeros: two texts for one state.
        if !revision.bytes().all(|b| b.is_ascii_digit()) || revision.starts_with('0') {
            return None;
        }
        Some(Cursor { epoch: Epoch::parse(epoch)?, revision: Revision(revision.parse().ok()?) })
    }
}

impl Cursor {
    /// Appends the cursor's text. Every message has one: it goes without the formatter.
    pub fn write(self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let nibbles = (0..Epoch::BITS / 4).rev().map(|place| self.epoch.0 >> (4 * place));
        out.extend(nibbles.map(|nibble| DIGITS[nibble as usize % 16]));
        out.push(b'.');
        write_decimal(self.revision.0, out);
    }
}

/// Appends a number in decimal digits.
pub fn write_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    while number > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.revision.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = Cursor { epoch: Epoch::from_random(0xdead_beef_0042), revision: Revision(17) };
        assert_eq!(cursor.to_string(), "deadbeef0042.17");
        assert_eq!(Cursor::parse("deadbeef0042.17"), Some(cursor));
        for (epoch, revision) in [(0, 1), (0xdead_beef_0042, 10), (u64::MAX, u64::MAX)] {
            let cursor = Cursor { epoch: Epoch::from_random(epoch), revision: Revision(revision) };
            let mut written = Vec::new();
            cursor.write(&mut written);
            assert_eq!(written, cursor.to_string().into_bytes());
        }
        let mut zero = Vec::new();
        write_decimal(0, &mut zero);
        assert_eq!(zero, b"0");
    }

    #[test]
    fn what_the_server_never_wrote_is_no_cursor() {
        for text in [
            "",
            ".",
            "deadbeef0042",
            "deadbeef0042.",
            "deadbeef0042.0",
            "deadbeef0042.017",
            "deadbeef0042.+1",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
        for text in [
            "DEADBEEF0042.1",
            "deadbeef0042.99999999999999999999",
            "deadbeef004.1",
            "deadbeef0042.1 ",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
