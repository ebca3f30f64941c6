//! The stamp that the load writes into a value: its number, and its time of writing.

use std::time::Duration;

use memchr::memchr;

/// Hexadecimal digits of each of the two numbers.
const DIGITS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Number of the value among those of one resource, from 1.
    pub(super) number: u64,
    /// Time on the load's own clock.
    pub(super) at: Duration,
}

impl Stamp {
    /// Appends a JSON string of `length` bytes, quotes included.
    pub(super) fn push_value(self, out: &mut Vec<u8>, length: usize) {
        let digits = format!("\"{:0DIGITS$x}{:0DIGITS$x}", self.number, self.at.as_nanos() as u64);
        out.extend_from_slice(digits.as_bytes());
        out.resize(out.len() + length.saturating_sub(digits.len() + 1), b'x');
        out.push(b'"');
    }

    /// Finds the stamp in a body: a text, or an object whose first member is one.
    pub(super) fn find(body: &[u8]) -> Option<Stamp> {
        let text = match body.first()? {
            b'{' => &body[memchr(b':', body)? + 1..],
            _ => body,
        };
        Stamp::read(text.strip_prefix(b"\"")?)
    }

    /// Reads the stamp at the start of such a string, without the quote.
    pub(super) fn read(text: &[u8]) -> Option<Stamp> {
        let number = |from: usize| {
            let digits = text.get(from..from + DIGITS)?;
            digits.iter().try_fold(0u64, |number, digit| {
                Some(number << 4 | u64::from(char::from(*digit).to_digit(16)?))
            })
        };
        Some(Stamp { number: number(0)?, at: Duration::from_nanos(number(DIGITS)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { number: 0xAB_CDEF, at: Duration::from_nanos(1 << 60) };
        let mut value = Vec::new();
        stamp.push_value(&mut value, 64);
        assert_eq!(value.len(), 64);
        assert_eq!((value[0], value[63]), (b'"', b'"'));
        assert_eq!(Stamp::read(&value[1..]), Some(stamp));
        assert_eq!(Stamp::read(b"12"), None);
        assert_eq!(Stamp::find(&value), Some(stamp));
        assert_eq!(Stamp::find(&[b"{\"a\":", &value[..], b"}"].concat()), Some(stamp));
        assert_eq!((Stamp::find(b"{\"a\":1}"), Stamp::find(b"")), (None, None));
        assert_eq!(Stamp::read(&[b'g'; 2 * DIGITS]), None);
    }
}
