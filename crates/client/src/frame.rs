//! Wire formats: frames, cursors, problem documents.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// One line of a stream: a change that leads to the state named by `rev`.
///
/// Serialises to the line it came from (N1), member for member, with the value digit for digit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Frame {
    /// The path on a stream of many (M1), spelled as it was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The meaning of `value`.
    pub kind: Kind,
    /// The cursor of the state after this frame. `None`: more of the same change follows, and the
    /// reader's state is incomplete until it has come (S5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<Cursor>,
    /// Commit time of the newest change in the frame, in milliseconds since 1970, UTC (S10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t: Option<u64>,
    /// The value or the patch, as JSON text. Always present with [`Kind::Snapshot`],
    /// [`Kind::Merge`] and [`Kind::Patch`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub value: Option<Box<RawValue>>,
    /// The problem. Always present with [`Kind::Error`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Box<Problem>>,
    /// On a stream of many: every path now shows the state at `rev` (M2).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub synced: bool,
}

/// Kind of a frame (S2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The whole value.
    Snapshot,
    /// An RFC 7396 merge patch.
    Merge,
    /// RFC 6902 operations.
    Patch,
    /// Nothing is at the path at present.
    Gone,
    /// The reader has everything up to the cursor.
    Synced,
    /// A problem document.
    Error,
}

/// Opaque text that names a state, to resume from or to compare with (C2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// The text, as it is written in `since=`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the cursor from the value of an `ETag` header, where it is in quotes.
    pub(crate) fn from_etag(etag: &str) -> Cursor {
        Cursor(etag.trim_start_matches("W/").trim_matches('"').to_owned())
    }
}

impl From<&str> for Cursor {
    fn from(text: &str) -> Cursor {
        Cursor(text.to_owned())
    }
}

impl From<String> for Cursor {
    fn from(text: String) -> Cursor {
        Cursor(text)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Problem document (RFC 9457): the server's reason for a refusal (X1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Problem {
    /// `urn:halfping:problem:NAME`, stable; see [`Problem::name`].
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The kind of problem in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The HTTP status that goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Details of this occurrence, and its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Advice on what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The setting that caused the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The value of that setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// In a stream: whether it ends here (S11).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<bool>,
}

impl Problem {
    /// The last part of the problem's `type`, such as `not-found`.
    pub fn name(&self) -> Option<&str> {
        self.kind.as_deref().and_then(|kind| kind.strip_prefix("urn:halfping:problem:"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name().or(self.title.as_deref()).unwrap_or("unnamed problem");
        match &self.detail {
            Some(detail) => write!(f, "{name}: {detail}"),
            None => f.write_str(name),
        }
    }
}

// `null` is a value (V3). Serde would read `"value":null` as `None`, which means absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_written_as_it_was_read() {
        for line in [
            r#"{"kind":"snapshot","rev":"e.1","t":5,"value":{"n":1.00e2,"big":123456789012345678901}}"#,
            r#"{"kind":"snapshot","rev":"e.1","t":5,"value":null}"#,
            r#"{"path":"/a%2Fb","kind":"merge","rev":"e.2","t":5,"value":{"b":null},"synced":true}"#,
            r#"{"kind":"merge","value":{"part":1}}"#,
            r#"{"kind":"gone","rev":"e.3","t":7}"#,
            r#"{"kind":"error","problem":{"type":"urn:halfping:problem:internal","ends":true}}"#,
        ] {
            let frame: Frame = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&frame).unwrap(), line);
        }
    }

    #[test]
    fn a_problem_is_said_in_one_line() {
        let problem = |json: &str| serde_json::from_str::<Problem>(json).unwrap().to_string();
        assert_eq!(
            problem(r#"{"type":"urn:halfping:problem:bad-path","detail":"empty segment"}"#),
            "bad-path: empty segment"
        );
        assert_eq!(problem(r#"{"type":"about:blank","title":"Bad Gateway"}"#), "Bad Gateway");
        assert_eq!(problem("{}"), "unnamed problem");
    }

    #[test]
    fn an_etag_is_a_cursor_in_quotes() {
        assert_eq!(Cursor::from_etag("\"e.12\"").as_str(), "e.12");
        assert_eq!(Cursor::from_etag("W/\"e.12\"").as_str(), "e.12");
    }
}
