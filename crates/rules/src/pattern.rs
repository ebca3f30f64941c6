//! Patterns: the paths that a rule is about.

use std::fmt;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::bounds::PATTERN_DEPTH_MAX;

/// A pattern of paths, as in a URL: percent-encoded, one trailing slash ignored. `{order}` is any
/// one name, and a variable in conditions.
///
/// ```
/// use halfping_rules::Pattern;
///
/// let pattern = Pattern::parse("/orders/{order}/margin")?;
/// let bound = pattern.bind(&["orders", "77", "margin", "net"]);
/// assert_eq!(bound, Some(vec![("order", "77")]));
/// assert_eq!(pattern.bind(&["orders", "77"]), None);
/// # Ok::<(), halfping_rules::PatternError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
}

/// A level of a pattern.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Segment {
    /// This name.
    Name(Box<str>),
    /// Any name; in conditions, the variable of this name.
    Variable(Box<str>),
}

/// Error of a text that is no pattern. Levels are counted from 1.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PatternError {
    /// It does not begin with a slash.
    #[error("a path begins with '/'")]
    NoSlash,
    /// Two slashes in a row.
    #[error("segment {0} of the path is empty")]
    Empty(usize),
    /// `.` or `..`, which no URL that is sent has.
    #[error("segment {0} of the path is '.' or '..'")]
    Dots(usize),
    /// U+0000.
    #[error("segment {0} of the path contains U+0000")]
    Nul(usize),
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("segment {0} of the path has a '%' that is not followed by two hexadecimal digits")]
    Escape(usize),
    /// A `?` or `#` without an escape.
    #[error("the path has a '{0}' that is not percent-encoded")]
    Query(char),
    /// Bytes that are not text.
    #[error("segment {0} of the path is not UTF-8")]
    Utf8(usize),
    /// A `*`, which patterns of other settings have.
    #[error("segment {0} of the path is '*': write a variable, such as {{name}}")]
    Star(usize),
    /// A brace that is not around the whole segment.
    #[error(
        "segment {0} of the path has a brace beside something else; {{name}} is a whole segment"
    )]
    Brace(usize),
    /// A variable with other letters than those of names in conditions.
    #[error("segment {0} of the path: a variable has letters, digits and '_', as {{order_id}} has")]
    Variable(usize),
    /// A variable whose name means something else in conditions.
    #[error("segment {0} of the path: `{1}` means something else in conditions; name it otherwise")]
    Taken(usize, Box<str>),
    /// A variable that is there twice.
    #[error("the path has {{{0}}} twice: each variable is one name")]
    Twice(Box<str>),
    /// More segments than [`PATTERN_DEPTH_MAX`].
    #[error("the path has more than {PATTERN_DEPTH_MAX} segments")]
    TooDeep,
}

/// Words that cannot be variables: things, and words of conditions.
const TAKEN: [&str; 9] = ["claims", "me", "resource", "new", "true", "false", "null", "in", "has"];

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let inner = text.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        if let Some(mark) = inner.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(PatternError::Query(mark));
        }
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let mut segments: Vec<Segment> = Vec::new();
        if text.len() > 1 {
            for (above, raw) in inner.split('/').enumerate() {
                let segment = segment(raw, above + 1)?;
                if let Segment::Variable(name) = &segment
                    && segments.contains(&segment)
                {
                    return Err(PatternError::Twice(name.clone()));
                }
                segments.push(segment);
                if segments.len() > PATTERN_DEPTH_MAX {
                    return Err(PatternError::TooDeep);
                }
            }
        }
        Ok(Pattern { text: text.into(), segments: segments.into() })
    }

    /// Its levels, from the top.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of its variables, from the top.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::variable)
    }

    /// The variable at which it ends.
    pub(crate) fn last_variable(&self) -> Option<&str> {
        self.segments.last()?.variable()
    }

    /// The variables and their names at a path that is covered by the pattern: at the end of the
    /// pattern or beneath. `None` if it is not.
    pub fn bind<'s, S: AsRef<str>>(&'s self, path: &'s [S]) -> Option<Vec<(&'s str, &'s str)>> {
        if path.len() < self.segments.len() || !self.meets(path) {
            return None;
        }
        let bound = self.segments.iter().zip(path);
        Some(bound.filter_map(|(of, name)| Some((of.variable()?, name.as_ref()))).collect())
    }

    /// True if it covers this path, or something beneath it.
    pub(crate) fn meets<S: AsRef<str>>(&self, path: &[S]) -> bool {
        self.segments.iter().zip(path).all(|(segment, name)| match segment {
            Segment::Variable(_) => true,
            Segment::Name(literal) => **literal == *name.as_ref(),
        })
    }

    /// True if each path that another pattern covers is covered by this one.
    pub(crate) fn contains(&self, other: &[Segment]) -> bool {
        let contains = |(one, other): (&Segment, &Segment)| match one {
            Segment::Variable(_) => true,
            Segment::Name(_) => one == other,
        };
        self.segments.len() <= other.len() && self.segments.iter().zip(other).all(contains)
    }

    /// The text of its first levels.
    pub(crate) fn text_of(&self, levels: usize) -> String {
        let mut parts = self.text.split('/').skip(1).take(levels).peekable();
        match parts.peek() {
            None => "/".to_owned(),
            Some(_) => parts.fold(String::new(), |text, part| format!("{text}/{part}")),
        }
    }
}

impl Segment {
    fn variable(&self) -> Option<&str> {
        match self {
            Segment::Variable(name) => Some(name),
            Segment::Name(_) => None,
        }
    }
}

/// Writes it as it was read.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn segment(raw: &str, place: usize) -> Result<Segment, PatternError> {
    if raw == "*" {
        return Err(PatternError::Star(place));
    }
    if raw.contains(['{', '}']) {
        let inner = raw.strip_prefix('{').and_then(|raw| raw.strip_suffix('}'));
        let name = inner.filter(|name| !name.contains(['{', '}']));
        return variable(name.ok_or(PatternError::Brace(place))?, place);
    }
    let bytes = raw.as_bytes();
    let is_escape = |at: usize| {
        bytes.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    };
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && !is_escape(at)) {
        return Err(PatternError::Escape(place));
    }
    let name = percent_decode_str(raw).decode_utf8().map_err(|_| PatternError::Utf8(place))?;
    match name.as_ref() {
        "" => Err(PatternError::Empty(place)),
        "." | ".." => Err(PatternError::Dots(place)),
        name if name.contains('\0') => Err(PatternError::Nul(place)),
        name => Ok(Segment::Name(name.into())),
    }
}

fn variable(name: &str, place: usize) -> Result<Segment, PatternError> {
    let mut bytes = name.bytes();
    let is_name = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match name {
        _ if !is_name => Err(PatternError::Variable(place)),
        name if TAKEN.contains(&name) => Err(PatternError::Taken(place, name.into())),
        name => Ok(Segment::Variable(name.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_read_as_a_path_with_variables() {
        let pattern = Pattern::parse("/a%2Fb/{x}/%7Bx%7D/").unwrap();
        let name = |name: &str| Segment::Name(name.into());
        assert_eq!(pattern.segments(), [name("a/b"), Segment::Variable("x".into()), name("{x}")]);
        assert!(Pattern::parse("/").unwrap().segments().is_empty());
        assert_eq!(pattern.text_of(2), "/a%2Fb/{x}");
        assert_eq!(pattern.text_of(0), "/");
    }

    #[test]
    fn a_text_that_is_no_pattern_is_refused() {
        for (text, error) in [
            ("", PatternError::NoSlash),
            ("a", PatternError::NoSlash),
            ("//", PatternError::Empty(1)),
            ("/a//b", PatternError::Empty(2)),
            ("/a/../b", PatternError::Dots(2)),
            ("/%00", PatternError::Nul(1)),
            ("/%zz", PatternError::Escape(1)),
            ("/%ff", PatternError::Utf8(1)),
            ("/a?b", PatternError::Query('?')),
            ("/a/*", PatternError::Star(2)),
            ("/a-{x}", PatternError::Brace(1)),
            ("/{x", PatternError::Brace(1)),
            ("/{}", PatternError::Variable(1)),
            ("/{a b}", PatternError::Variable(1)),
            ("/{me}", PatternError::Taken(1, "me".into())),
            ("/{a}/b/{a}", PatternError::Twice("a".into())),
            (&"/a".repeat(65), PatternError::TooDeep),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
        assert!(Pattern::parse(&"/a".repeat(64)).is_ok());
    }
}
