//! Bodies: JSON text in, a [`Change`] out.
//!
//! serde_json first checks the grammar of the whole body, without building anything. The rest,
//! which no parser does, is done here on text that is known to be JSON: keep numbers as written,
//! refuse duplicate names, hold the limits, and tell objects (which become nodes) from everything
//! else (which stays text).

use thiserror::Error;

use crate::limits::Limits;
use crate::tree::key::{escape_breaks, write_json_string};
use crate::tree::text::Text;
use crate::write::change::{Change, Members};

/// A body that was read: ready to be written somewhere.
#[derive(Clone, Debug)]
pub struct Json(pub(crate) Change);

/// Refusal of a body, with its place.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{kind} at line {line} column {column}")]
pub struct JsonError {
    /// The fault.
    pub kind: JsonErrorKind,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Faults of a body.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// The text is not JSON; says what the parser expected.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// The bytes are not text.
    #[error("not JSON: the bytes are not UTF-8")]
    Utf8,
    /// A string escape names half of a surrogate pair.
    #[error("a string has an unpaired surrogate")]
    Surrogate,
    /// A name occurs twice in one object.
    #[error("the member name {0:?} occurs twice in one object")]
    Duplicate(String),
    /// The number is beyond what IEEE 754 double precision can hold.
    #[error("a number is out of range")]
    NumberRange,
    /// `limits.json_depth`.
    #[error("nested more than {0} levels deep")]
    TooDeep(usize),
    /// `limits.members_per_object`.
    #[error("an object has more than {0} members")]
    TooManyMembers(usize),
    /// `limits.key_bytes`.
    #[error("a member name is longer than {0} bytes")]
    KeyTooLong(usize),
}

impl Json {
    /// An object without members.
    pub fn empty() -> Json {
        Json(Change::empty_object())
    }

    /// Reads a body.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Json, JsonError> {
        let text = std::str::from_utf8(body).map_err(|e| {
            let (line, column) = position(&body[..e.valid_up_to()]);
            JsonError { kind: JsonErrorKind::Utf8, line, column }
        })?;
        if let Err(e) = serde_json::from_str::<&serde_json::value::RawValue>(text) {
            // serde_json ends its sentence with the place, which this error gives in words of its
            // own.
            let sentence = e.to_string();
            let what = sentence.split(" at line ").next().unwrap_or(&sentence);
            let what = match what {
                "expected ident" => "expected true, false or null".to_owned(),
                "EOF while parsing a value" if text.trim().is_empty() => {
                    "there is nothing".to_owned()
                }
                what => what.replace("EOF", "the end"),
            };
            // serde_json counts columns in bytes, and from 0 at the start of a line.
            let line = text.split('\n').nth(e.line().saturating_sub(1)).unwrap_or_default();
            let (_, column) =
                position(&line.as_bytes()[..e.column().saturating_sub(1).min(line.len())]);
            return Err(JsonError { kind: JsonErrorKind::Syntax(what), line: e.line(), column });
        }
        Json::known_good(text, limits)
    }

    /// Reads text that is known to be JSON. Refuses what JSON allows and Halfping does not.
    pub(crate) fn known_good(text: &str, limits: &Limits) -> Result<Json, JsonError> {
        let mut reader = Reader { text, at: 0, depth: 0, limits };
        reader.value().map(Json).map_err(|kind| {
            let (line, column) = position(&text.as_bytes()[..reader.at]);
            JsonError { kind, line, column }
        })
    }

    /// The value as compact JSON text.
    pub fn to_text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.0.write(&mut out);
        out
    }
}

fn position(before: &[u8]) -> (usize, usize) {
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    // Bytes that continue a character do not make a column.
    let column = before[start..].iter().filter(|b| (**b & 0xC0) != 0x80).count() + 1;
    (line, column)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    limits: &'a Limits,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Change, JsonErrorKind> {
        self.skip_space();
        if self.peek() == b'{' {
            return self.object();
        }
        if self.peek() == b'[' {
            let mut out = Vec::new();
            self.copy(&mut out)?;
            return Ok(Change::Leaf(Text::new(&String::from_utf8(out).unwrap_or_default())));
        }
        Ok(Change::Leaf(self.scalar()?))
    }

    fn object(&mut self) -> Result<Change, JsonErrorKind> {
        let mut members = Members::default();
        self.members(|reader, name| {
            let value = reader.value()?;
            Ok(members.insert(name.into(), value).is_some())
        })?;
        Ok(Change::object(true, members))
    }

    /// Walks an object; `member` reads one value and returns whether the name had been there
    /// before.
    fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<bool, JsonErrorKind>,
    ) -> Result<(), JsonErrorKind> {
        self.enter()?;
        let mut count = 0;
        self.skip_space();
        while self.peek() != b'}' {
            if self.peek() == b',' {
                self.at += 1;
                self.skip_space();
            }
            let start = self.at;
            let name = self.string()?;
            if name.len() > self.limits.key_bytes {
                self.at = start;
                return Err(JsonErrorKind::KeyTooLong(self.limits.key_bytes));
            }
            self.skip_space();
            self.at += 1; // the colon
            if member(self, &name)? {
                self.at = start;
                return Err(JsonErrorKind::Duplicate(name.into_owned()));
            }
            count += 1;
            if count > self.limits.members_per_object {
                return Err(JsonErrorKind::TooManyMembers(self.limits.members_per_object));
            }
            self.skip_space();
        }
        self.leave();
        Ok(())
    }

    /// Copies any value, without white space and needless escapes, as arrays are kept.
    fn copy(&mut self, out: &mut Vec<u8>) -> Result<(), JsonErrorKind> {
        self.skip_space();
        match self.peek() {
            b'{' => {
                let mut names = hashbrown::HashSet::new();
                out.push(b'{');
                self.members(|reader, name| {
                    if !names.is_empty() {
                        out.push(b',');
                    }
                    write_json_string(name, out);
                    out.push(b':');
                    reader.copy(out)?;
                    Ok(!names.insert(name.to_owned()))
                })?;
                out.push(b'}');
            }
            b'[' => {
                self.enter()?;
                out.push(b'[');
                self.skip_space();
                while self.peek() != b']' {
                    if self.peek() == b',' {
                        out.push(b',');
                        self.at += 1;
                    }
                    self.copy(out)?;
                    self.skip_space();
                }
                self.leave();
                out.push(b']');
            }
            _ => out.extend_from_slice(self.scalar()?.as_bytes()),
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<(), JsonErrorKind> {
        if self.depth == self.limits.json_depth {
            return Err(JsonErrorKind::TooDeep(self.limits.json_depth));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    fn scalar(&mut self) -> Result<Text, JsonErrorKind> {
        let start = self.at;
        if self.peek() == b'"' {
            let string = self.string()?;
            let raw = &self.text[start..self.at];
            if raw.len() == string.len() + 2 {
                return Ok(Text::new(&escape_breaks(raw))); // it has no escapes
            }
            let mut out = Vec::with_capacity(raw.len());
            write_json_string(&string, &mut out);
            return Ok(Text::new(&String::from_utf8(out).unwrap_or_default()));
        }
        while !matches!(self.peek(), b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | 0) {
            self.at += 1;
        }
        let token = &self.text[start..self.at];
        // Up to 308 digits without an exponent cannot overflow.
        let may_overflow = token.len() > 308 || token.bytes().any(|b| b == b'e' || b == b'E');
        let is_number = token.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if is_number && may_overflow && !token.parse::<f64>().is_ok_and(f64::is_finite) {
            self.at = start;
            return Err(JsonErrorKind::NumberRange);
        }
        Ok(Text::new(token))
    }

    fn string(&mut self) -> Result<std::borrow::Cow<'a, str>, JsonErrorKind> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        self.at += 1;
        loop {
            match bytes[self.at] {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        self.at += 1;
        if !escaped {
            return Ok(self.text[start + 1..self.at - 1].into());
        }
        serde_json::from_str::<String>(&self.text[start..self.at]).map(Into::into).map_err(|_| {
            self.at = start;
            JsonErrorKind::Surrogate
        })
    }
}

/// The elements of an array's canonical text.
pub(crate) fn elements(array: &str) -> Vec<&str> {
    let bytes = array.as_bytes();
    let (mut found, mut start, mut depth, mut at) = (Vec::new(), 1, 0usize, 1);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 0 => depth -= 1,
            b',' | b']' if depth == 0 => {
                if at > start {
                    found.push(&array[start..at]);
                }
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Nesting of a value's text.
pub(crate) fn nesting(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut deepest, mut at) = (0usize, 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    deepest
}

/// Position of the closing quote of the string that begins at `at`.
pub(crate) fn string_end(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, JsonErrorKind> {
        let limits =
            Limits { json_depth: 4, members_per_object: 3, key_bytes: 5, ..Limits::default() };
        let json = Json::parse(text.as_bytes(), &limits).map_err(|e| e.kind)?;
        Ok(String::from_utf8(json.to_text()).unwrap())
    }

    #[test]
    fn values_come_back_compact_and_as_written() {
        for (text, back) in [
            (" null ", "null"),
            ("1.0", "1.0"),
            ("-0", "-0"),
            ("1E+2", "1E+2"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (r#" { "b" : 1 , "a" : [ 1 , { "x" : [ ] } ] } "#, r#"{"b":1,"a":[1,{"x":[]}]}"#),
            (r#""\u0041\/\n\u00e4""#, r#""A/\nä""#),
            (r#""\ud83d\ude00""#, r#""😀""#),
            (r#""\u2028\u007F\u0085""#, r#""\u2028\u007f\u0085""#),
            ("\"\u{2028}\u{7f}\u{85}\"", r#""\u2028\u007f\u0085""#),
            ("[{\"\u{2029}\":[\"\u{9f}°\"]}]", r#"[{"\u2029":["\u009f°"]}]"#),
            (r#"{"":{}}"#, r#"{"":{}}"#),
            (r#"{"\u0061":"\""}"#, r#"{"a":"\""}"#),
            ("[\"a,]\\\"\", [[]] ]", "[\"a,]\\\"\",[[]]]"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(back), "{text}");
        }
    }

    #[test]
    fn what_json_allows_and_we_do_not() {
        for (text, kind) in [
            (r#"{"a":1,"a":1}"#, JsonErrorKind::Duplicate("a".into())),
            (r#"[{"a":1,"\u0061":1}]"#, JsonErrorKind::Duplicate("a".into())),
            (r#""\ud800""#, JsonErrorKind::Surrogate),
            ("1e999", JsonErrorKind::NumberRange),
            ("[-1e999]", JsonErrorKind::NumberRange),
            ("[[[[[1]]]]]", JsonErrorKind::TooDeep(4)),
            (r#"{"a":[[[{}]]]}"#, JsonErrorKind::TooDeep(4)),
            (r#"{"a":1,"b":1,"c":1,"d":1}"#, JsonErrorKind::TooManyMembers(3)),
            (r#"{"abcdef":1}"#, JsonErrorKind::KeyTooLong(5)),
        ] {
            assert_eq!(read(text), Err(kind), "{text}");
        }
    }

    #[test]
    fn errors_say_where() {
        let place = |text: &[u8]| {
            let e = Json::parse(text, &Limits::default()).unwrap_err();
            (e.line, e.column)
        };
        assert_eq!(place(b"{\n  \"a\": 1,\n  \"a\": 2}"), (3, 3));
        assert_eq!(place("{\"ä\": 1e999}".as_bytes()), (1, 7));
        assert_eq!(place(b"[1,\n\xff]"), (2, 1));
        assert_eq!(place(b"[1,\n,2]"), (2, 1));
    }

    #[test]
    fn arrays_are_taken_apart_at_their_own_commas() {
        assert_eq!(elements("[]"), Vec::<&str>::new());
        assert_eq!(
            elements(r#"[1,"a,]\"",[2,3],{"x":[4,5]}]"#),
            ["1", r#""a,]\"""#, "[2,3]", r#"{"x":[4,5]}"#]
        );
        assert_eq!((nesting("1"), nesting("[]"), nesting(r#"[{"a":"[[["},[[]]]"#)), (0, 1, 3));
    }
}
