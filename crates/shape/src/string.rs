//! Strings where they lie: as text, or as JSON text with its escapes.

use std::borrow::Cow;
use std::cmp::Ordering;

/// A string that nobody had to copy.
///
/// ```
/// use halfping_shape::Str;
///
/// assert_eq!(Str::json(r"a\n").to_text(), "a\n");
/// assert_eq!(Str::plain(r"a\n").to_text(), r"a\n");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Str<'t> {
    text: &'t str,
    /// True if a backslash in the text begins an escape of JSON.
    json: bool,
}

/// The most bytes of JSON text that stand for one byte: `\u0041`.
pub(crate) const JSON_BYTES_MAX: usize = 6;

impl<'t> Str<'t> {
    /// A string as it is.
    pub fn plain(text: &'t str) -> Str<'t> {
        Str { text, json: false }
    }

    /// A string as the inside of JSON text: what stands between the quotes.
    pub fn json(text: &'t str) -> Str<'t> {
        Str { text, json: true }
    }

    /// Length of the text in which it lies.
    pub(crate) fn bytes(self) -> usize {
        self.text.len()
    }

    /// The string itself, if it lies there as it is.
    fn as_plain(self) -> Option<&'t str> {
        (!self.json || !self.text.as_bytes().contains(&b'\\')).then_some(self.text)
    }

    /// The string itself.
    pub fn to_text(self) -> Cow<'t, str> {
        self.as_plain().map_or_else(|| self.chars().collect(), Cow::Borrowed)
    }

    pub(crate) fn chars(self) -> impl Iterator<Item = char> {
        let mut chars = self.text.chars();
        std::iter::from_fn(move || match chars.next()? {
            '\\' if self.json => Some(escaped(&mut chars)),
            c => Some(c),
        })
    }

    /// Compares by code points.
    pub(crate) fn compare(self, other: Str<'_>) -> Ordering {
        match (self.as_plain(), other.as_plain()) {
            (Some(one), Some(other)) => one.cmp(other),
            _ => self.chars().cmp(other.chars()),
        }
    }

    pub(crate) fn is(self, other: Str<'_>) -> bool {
        match (self.json, other.json) {
            (false, false) => self.text == other.text,
            (true, false) => json_is(self, other.text),
            (false, true) => json_is(other, self.text),
            (true, true) => self.text == other.text || self.compare(other) == Ordering::Equal,
        }
    }
}

/// True if the string that lies in JSON text is this one. A long one is not looked at for that.
fn json_is(json: Str<'_>, plain: &str) -> bool {
    let lengths = plain.len()..=plain.len().saturating_mul(JSON_BYTES_MAX);
    lengths.contains(&json.text.len())
        && match json.as_plain() {
            Some(text) => text == plain,
            None => json.chars().eq(plain.chars()),
        }
}

/// The character of an escape, of which the backslash is read. JSON text has been checked before,
/// so what cannot be read is no error, but a character that stands for it.
fn escaped(chars: &mut std::str::Chars<'_>) -> char {
    match chars.next() {
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => {
            let high = unit(chars);
            if !(0xd800..0xdc00).contains(&high) {
                return char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER);
            }
            let mut ahead = chars.clone();
            let low = match (ahead.next(), ahead.next()) {
                (Some('\\'), Some('u')) => unit(&mut ahead),
                _ => 0,
            };
            if !(0xdc00..0xe000).contains(&low) {
                return char::REPLACEMENT_CHARACTER;
            }
            *chars = ahead;
            char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                .unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        Some(c) => c,
        None => char::REPLACEMENT_CHARACTER,
    }
}

fn unit(chars: &mut std::str::Chars<'_>) -> u32 {
    let digits = chars.by_ref().take(4).map(|c| c.to_digit(16).unwrap_or(0));
    digits.fold(0, |unit, digit| unit * 16 + digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_of_json_are_read_in_place() {
        let json = r#"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é"#;
        assert_eq!(Str::json(json).to_text(), "a\"\\/\u{8}\u{c}\n\r\té😀é");
        assert_eq!(Str::plain(r"\n").to_text(), r"\n");
    }

    proptest! {
        #[test]
        fn a_string_in_json_compares_like_the_string(
            a in ".{0,6}",
            b in "[a\\\\\"\n\u{2028}]{0,3}",
        ) {
            let hard: String = a.chars().map(|c| format!("\\u{:04x}", c as u32 & 0xfff)).collect();
            let soft: String = hard.split("\\u").skip(1).map(|digits| {
                char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap()
            }).collect();
            prop_assert!(Str::json(&hard).is(Str::plain(&soft)));
            prop_assert!(Str::plain(&soft).is(Str::json(&hard)));
            for (one, other) in [(&a, &b), (&b, &a), (&a, &a)] {
                let json = |text: &str| serde_json::to_string(text).unwrap();
                let (one_json, other_json) = (json(one), json(other));
                let inside = |text: &str| text[1..text.len() - 1].to_owned();
                let (one_json, other_json) = (inside(&one_json), inside(&other_json));
                for one_str in [Str::plain(one), Str::json(&one_json)] {
                    for other_str in [Str::plain(other), Str::json(&other_json)] {
                        prop_assert_eq!(one_str.compare(other_str), one.cmp(other));
                        prop_assert_eq!(one_str.is(other_str), one == other);
                    }
                }
            }
        }
    }
}
