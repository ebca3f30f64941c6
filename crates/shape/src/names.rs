//! Names and strings in texts: which need quotes, and how these are read and written.

use std::fmt::{self, Write};

/// Words that CEL keeps for itself everywhere.
const KEYWORDS: &[&str] = &["false", "in", "null", "true"];

/// Words that CEL keeps for itself where a name stands alone; behind a point they are names.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

/// True if a name may stand as it is behind a point.
fn is_selector(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !KEYWORDS.contains(&name)
}

/// True if CEL allows the name between backticks.
fn is_quotable(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/ ".contains(&byte);
    !name.is_empty() && name.bytes().all(is_allowed)
}

pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Writes a name that nothing stands before.
pub(crate) fn write_first(name: &str, out: &mut impl Write) -> fmt::Result {
    match is_selector(name) && !is_reserved(name) {
        true => out.write_str(name),
        false => write_quoted(name, out),
    }
}

/// Writes a name and what connects it to the one before. `index`: whether it may be `["name"]`.
pub(crate) fn write_next(name: &str, index: bool, out: &mut impl Write) -> fmt::Result {
    if is_selector(name) {
        write!(out, ".{name}")
    } else if index && !is_quotable(name) {
        out.write_char('[')?;
        write_string(name, out)?;
        out.write_char(']')
    } else {
        out.write_char('.')?;
        write_quoted(name, out)
    }
}

/// Writes a name between backticks. One in the name is written twice.
fn write_quoted(name: &str, out: &mut impl Write) -> fmt::Result {
    write!(out, "`{}`", name.replace('`', "``"))
}

/// Reads a name between backticks: the name, and the bytes that it takes. `None` if the second
/// backtick is missing.
pub(crate) fn read_quoted(text: &str) -> Option<(Box<str>, usize)> {
    let mut name = String::new();
    let mut at = 1;
    loop {
        let end = at + text.get(at..)?.find('`')?;
        name.push_str(&text[at..end]);
        if !text[end + 1..].starts_with('`') {
            return Some((name.into(), end + 1));
        }
        name.push('`');
        at = end + 2;
    }
}

/// Writes a string as a literal of CEL.
pub(crate) fn write_string(string: &str, out: &mut impl Write) -> fmt::Result {
    out.write_char('"')?;
    for c in string.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

/// Characters that end a name in selections and orders, unless it is in backticks.
const ENDS: &[char] = &[',', '.', '(', ')', '[', ']', '{', '}', '"', '\'', '`', ':'];

/// Reads a name of a selection or an order: in backticks, or all characters up to one that means
/// something. `None` if there is none.
pub(crate) fn read_plain(text: &str) -> Option<(Box<str>, usize)> {
    if text.starts_with('`') {
        return read_quoted(text);
    }
    let is_end = |c: char| ENDS.contains(&c) || c.is_whitespace() || c.is_control();
    let end = text.find(is_end).unwrap_or(text.len());
    let name = &text[..end];
    // Those at the beginning are signs: of a descending order, and of a path.
    (!name.is_empty() && !name.starts_with(['-', '/'])).then(|| (name.into(), end))
}
