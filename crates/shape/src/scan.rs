//! The tokens of a condition.

use crate::error::{ShapeError, ShapeErrorKind};
use crate::names::read_quoted;
use crate::number::Number;

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Token<'t> {
    /// A name or a word, such as `speed`, `has` or `true`.
    Word(&'t str),
    /// A name between backticks.
    Quoted(Box<str>),
    String(Box<str>),
    Number(Number),
    /// An integer that only fits with a minus before it: 2^63.
    OnlyNegative,
    /// An operator, a bracket, a comma or a point.
    Sign(&'static str),
    End,
}

/// Signs of conditions, longer ones before their beginnings.
const SIGNS: &[&str] =
    &["||", "&&", "==", "!=", "<=", ">=", "<", ">", "!", "-", "(", ")", "[", "]", ",", "."];

/// Signs that CEL or its neighbours have and conditions do not, and what to write instead.
const NOT_SIGNS: &[(&str, &str)] = &[
    ("=", "one `=` means nothing here: write `==`"),
    ("&", "one `&` means nothing here: write `&&` (in a URL, `%26%26`)"),
    ("|", "one `|` means nothing here: write `||`"),
    ("+", "there is no arithmetic here (in a URL, a `+` of the text is `%2B`)"),
    ("*", "there is no arithmetic here"),
    ("/", "there is no arithmetic here; a name with a `/` goes in backticks"),
    ("%", "there is no arithmetic here"),
    ("?", "there is no `?` here: write it with `&&` and `||`"),
    ("{", "there are no maps and messages here"),
];

/// Letters behind a backslash, and the characters that they stand for.
const ESCAPES: &[(char, char)] = &[
    ('\\', '\\'),
    ('?', '?'),
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('a', '\u{7}'),
    ('b', '\u{8}'),
    ('f', '\u{c}'),
    ('n', '\n'),
    ('r', '\r'),
    ('t', '\t'),
    ('v', '\u{b}'),
];

pub(crate) struct Scanner<'t> {
    pub(crate) text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    pub(crate) fn new(text: &'t str) -> Scanner<'t> {
        Scanner { text, at: 0 }
    }

    fn error(&self, at: usize, kind: ShapeErrorKind) -> ShapeError {
        ShapeError::at(self.text, at, kind)
    }

    fn bad(&self, at: usize, what: &str) -> ShapeError {
        self.error(at, ShapeErrorKind::Literal(what.to_owned()))
    }

    /// The next token, and the byte at which it begins.
    pub(crate) fn next(&mut self) -> Result<(usize, Token<'t>), ShapeError> {
        self.skip_space();
        let start = self.at;
        let rest = &self.text[start..];
        let Some(first) = rest.bytes().next() else { return Ok((start, Token::End)) };
        let is_fraction = first == b'.' && rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        let token = if first.is_ascii_digit() || is_fraction {
            self.number()?
        } else if first == b'"' || first == b'\'' {
            Token::String(self.string(false)?)
        } else if first == b'`' {
            let missing =
                || self.bad(start, "the name in backticks does not end: a backtick is missing");
            let (name, bytes) = read_quoted(rest).ok_or_else(missing)?;
            self.at += bytes;
            Token::Quoted(name)
        } else if first.is_ascii_alphabetic() || first == b'_' {
            self.word()?
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            self.at += sign.len();
            Token::Sign(sign)
        } else {
            return Err(self.unknown(start));
        };
        Ok((start, token))
    }

    /// White space and comments.
    fn skip_space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let space =
                rest.bytes().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0xc));
            self.at += space.count();
            let rest = &self.text[self.at..];
            if !rest.starts_with("//") {
                return;
            }
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }

    fn unknown(&self, at: usize) -> ShapeError {
        let rest = &self.text[at..];
        match NOT_SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            Some((_, remedy)) => self.error(at, ShapeErrorKind::Unsupported((*remedy).to_owned())),
            None => {
                let c = rest.chars().next().unwrap_or_default();
                let expected = "a name, a value or an operator; a name with other letters \
                                than a to z goes in backticks";
                let (expected, found) = (expected.to_owned(), format!("{c:?}"));
                self.error(at, ShapeErrorKind::Expected { expected, found })
            }
        }
    }

    fn word(&mut self) -> Result<Token<'t>, ShapeError> {
        let rest = &self.text[self.at..];
        let is_inside = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let word = &rest[..rest.bytes().take_while(is_inside).count()];
        if rest[word.len()..].starts_with(['"', '\'']) {
            match word {
                "r" | "R" => {
                    self.at += 1;
                    return self.string(true).map(Token::String);
                }
                "b" | "B" | "br" | "bR" | "Br" | "BR" | "rb" | "rB" | "Rb" | "RB" => {
                    let what = "there are no bytes in JSON: write a string, without the `b`";
                    return Err(self.error(self.at, ShapeErrorKind::Unsupported(what.to_owned())));
                }
                _ => {}
            }
        }
        self.at += word.len();
        Ok(Token::Word(word))
    }

    fn number(&mut self) -> Result<Token<'t>, ShapeError> {
        let start = self.at;
        let rest = &self.text[start..];
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let hex = rest
            .strip_prefix("0x")
            .map(|hex| hex.bytes().take_while(u8::is_ascii_hexdigit).count());
        if let Some(len @ 1..) = hex {
            self.at += 2 + len;
            let value = u64::from_str_radix(&rest[2..2 + len], 16).ok();
            return self.integer(start, value);
        }
        let whole = digits(rest);
        let mut len = whole;
        if let Some(fraction) =
            rest[len..].strip_prefix('.').map(digits).filter(|digits| *digits > 0)
        {
            len += 1 + fraction;
        }
        if let Some(exponent) = rest[len..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let count = digits(&exponent[sign..]);
            len += if count > 0 { 1 + sign + count } else { 0 };
        }
        self.at += len;
        if len == whole {
            return self.integer(start, rest[..len].parse().ok());
        }
        let double = rest[..len].parse().ok().filter(|double: &f64| double.is_finite());
        let number = double.ok_or_else(|| self.bad(start, "the number is out of range"))?;
        Ok(Token::Number(Number::Double(number)))
    }

    /// The integer of these digits, which may be followed by a `u`.
    fn integer(&mut self, start: usize, value: Option<u64>) -> Result<Token<'t>, ShapeError> {
        let is_unsigned = self.text[self.at..].starts_with(['u', 'U']);
        self.at += usize::from(is_unsigned);
        match value {
            Some(value) if is_unsigned => Ok(Token::Number(Number::UInt(value))),
            Some(value) if value == 1 << 63 => Ok(Token::OnlyNegative),
            Some(value) if value < 1 << 63 => Ok(Token::Number(Number::Int(value as i64))),
            Some(_) => {
                Err(self.bad(start, "the integer is out of range: write it with `u` or `.0`"))
            }
            None => Err(self.bad(start, "the integer is out of range: write it with `.0`")),
        }
    }

    fn string(&mut self, raw: bool) -> Result<Box<str>, ShapeError> {
        let start = self.at;
        let rest = &self.text[start..];
        let quote = if rest.starts_with('"') { "\"" } else { "'" };
        let triple = quote.repeat(3);
        let end = if rest.starts_with(&triple) { &*triple } else { quote };
        self.at += end.len();
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with(end) {
                self.at += end.len();
                return Ok(string.into());
            }
            let one_line = end.len() == 1;
            match rest.chars().next() {
                Some('\n' | '\r') if one_line => return Err(self.unended(start, end)),
                None => return Err(self.unended(start, end)),
                // Lines end as CEL ends them.
                Some('\r') => {
                    self.at += if rest.starts_with("\r\n") { 2 } else { 1 };
                    string.push('\n');
                }
                Some('\\') if !raw => string.push(self.escape()?),
                Some(c) => {
                    self.at += c.len_utf8();
                    string.push(c);
                }
            }
        }
    }

    fn unended(&self, start: usize, end: &str) -> ShapeError {
        self.bad(start, &format!("the string does not end: {end} is missing"))
    }

    /// The character of an escape.
    fn escape(&mut self) -> Result<char, ShapeError> {
        let start = self.at;
        let rest = &self.text[start + 1..];
        let (skip, digits, radix) = match rest.chars().next() {
            Some('x' | 'X') => (1, 2, 16),
            Some('u') => (1, 4, 16),
            Some('U') => (1, 8, 16),
            Some('0'..='3') => (0, 3, 8),
            Some(c) => {
                self.at += 1 + c.len_utf8();
                let unknown = || format!("there is no escape `\\{c}`; a backslash is `\\\\`");
                let found = ESCAPES.iter().find(|(letter, _)| *letter == c);
                return found.map(|found| found.1).ok_or_else(|| self.bad(start, &unknown()));
            }
            None => return Err(self.bad(start, "the string ends in an escape")),
        };
        let text = rest.get(skip..skip + digits);
        let is_digits = |text: &&str| text.chars().all(|c| c.is_digit(radix));
        let code = text.filter(is_digits).and_then(|text| u32::from_str_radix(text, radix).ok());
        let bad = || format!("an escape has {digits} digits here, and stands for a character");
        self.at += 1 + skip + digits;
        code.and_then(char::from_u32).ok_or_else(|| self.bad(start, &bad()))
    }
}
