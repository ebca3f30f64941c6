//! Frames for people: a line for each changed thing.
//!
//! A "thing" is the outermost object that changed in more than what its members have inside them.
//! So a merge of `/vehicles` comes as a line per vehicle, and one of `/vehicles/bus-017` as one
//! line. A snapshot is one thing: taken apart, it would not tell what is no longer there. Values
//! are shown as they are written, digit for digit.

use std::borrow::Cow;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use halfping_client::{Frame, Kind};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The longest part of a value that is shown.
const VALUE_CHARS_MAX: usize = 1000;
/// Ages up to this are shown in milliseconds.
const AGE_MS_MAX: u64 = 99_999;

/// One changed thing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Thing {
    pub(crate) path: String,
    pub(crate) change: Change,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The whole value.
    Is(String),
    /// The members that changed; the others stay as they were.
    Has(String),
    Removed,
    /// Nothing is here (any more, or yet).
    Nothing,
    /// A value that came in parts: too large to show.
    Large {
        parts: usize,
        bytes: usize,
    },
}

/// The things that a frame of the resource at `path` changed. Empty for frames that change nothing.
pub(crate) fn things(path: &str, frame: &Frame) -> Vec<Thing> {
    let value = frame.value.as_deref().map_or("null", RawValue::get);
    let mut things = Vec::new();
    match frame.kind {
        Kind::Snapshot => {
            things.push(Thing { path: path.to_owned(), change: Change::Is(value.to_owned()) });
        }
        // An empty merge changes nothing: it ends a change that came in parts.
        Kind::Merge if value == "{}" => {}
        Kind::Merge => collect(path, value, &mut things),
        Kind::Patch => operations(path, value, &mut things),
        Kind::Gone => things.push(Thing { path: path.to_owned(), change: Change::Nothing }),
        Kind::Synced | Kind::Error => {}
    }
    for thing in &mut things {
        if thing.path.is_empty() {
            thing.path.push('/');
        }
    }
    things
}

/// Makes text from anywhere safe for a terminal: characters that control it are written as escapes.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, controls)
}

/// JSON for standard output. On a terminal, characters that control it are written as JSON's
/// escapes: the value stays the same. A program gets the text unchanged.
pub(crate) fn json(text: &str, to_terminal: bool) -> Cow<'_, str> {
    // Line feeds and tabs can only stand between values, where no escapes are allowed.
    if to_terminal {
        escaped(text, |c| controls(c) && c != '\n' && c != '\t')
    } else {
        Cow::Borrowed(text)
    }
}

fn escaped(text: &str, is_escaped: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let escape =
        |c: char| if is_escaped(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// True for characters that control a terminal: the controls (C0, DEL and C1, whose U+009B begins a
/// command as ESC [ does), the line and paragraph separators, and the marks that change the
/// direction of writing, so that a text reads as another.
fn controls(c: char) -> bool {
    let turns_direction = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns_direction || matches!(c, '\u{2028}' | '\u{2029}')
}

/// `12:03:44.120`, UTC.
pub(crate) fn time_of_day(t_ms: u64) -> String {
    let (s, ms) = (t_ms / 1000, t_ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// The age of a time, by this machine's clock.
pub(crate) fn age(t_ms: u64) -> String {
    let now_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    match now_ms.saturating_sub(t_ms) {
        ms @ ..=AGE_MS_MAX => format!("{ms} ms"),
        ms if ms < 2 * 3_600_000 => format!("{} min", ms / 60_000),
        ms if ms < 2 * 86_400_000 => format!("{} h", ms / 3_600_000),
        ms => format!("{} days", ms / 86_400_000),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Is(value) => write!(f, "= {}", shortened(value)),
            Change::Has(members) => write!(f, "~ {}", shortened(members)),
            Change::Removed => f.write_str("removed"),
            Change::Nothing => f.write_str("nothing is here"),
            Change::Large { parts, bytes } => write!(f, "= {bytes} bytes, in {parts} parts"),
        }
    }
}

/// Shortens a value to a few lines of a terminal: a longer one is replaced by the number of its
/// members, or else cut.
fn shortened(value: &str) -> Cow<'_, str> {
    match (value.char_indices().nth(VALUE_CHARS_MAX), members(value).len()) {
        (None, _) => printable(value),
        (Some((end, _)), 0) => {
            format!("{}… ({} bytes)", printable(&value[..end]), value.len()).into()
        }
        (Some(_), members) => format!("{members} members, {} bytes", value.len()).into(),
    }
}

/// Adds the things in a merge patch.
fn collect(path: &str, patch: &str, things: &mut Vec<Thing>) {
    let all = members(patch);
    let (removed, kept): (Vec<_>, Vec<_>) =
        all.iter().partition(|(_, member)| member.get() == "null");
    for (key, _) in &removed {
        things.push(Thing { path: child(path, key), change: Change::Removed });
    }
    if all.is_empty() {
        things.push(Thing { path: path.to_owned(), change: Change::Is(patch.to_owned()) });
    } else if kept.iter().all(|(_, member)| !members(member.get()).is_empty()) {
        for (key, member) in kept {
            collect(&child(path, key), member.get(), things);
        }
    } else {
        let kept: Vec<_> =
            kept.iter().map(|(key, member)| format!("{}:{member}", quoted(key))).collect();
        let change = Change::Has(format!("{{{}}}", kept.join(",")));
        things.push(Thing { path: path.to_owned(), change });
    }
}

/// Adds the operations of an RFC 6902 patch.
fn operations(path: &str, patch: &str, things: &mut Vec<Thing>) {
    #[derive(Deserialize)]
    struct Operation<'a> {
        path: String,
        #[serde(borrow)]
        value: Option<&'a RawValue>,
        op: String,
    }
    for operation in serde_json::from_str::<Vec<Operation<'_>>>(patch).unwrap_or_default() {
        let segments = operation.path.split('/').skip(1);
        let path = segments.fold(path.to_owned(), |path, segment| {
            child(&path, &segment.replace("~1", "/").replace("~0", "~"))
        });
        let change = match operation.op.as_str() {
            "remove" => Change::Removed,
            _ => Change::Is(operation.value.map_or("null", RawValue::get).to_owned()),
        };
        things.push(Thing { path, change });
    }
}

/// A member's path, spelled as in a URL as far as a person needs it.
fn child(path: &str, key: &str) -> String {
    let key = key.replace('%', "%25").replace('/', "%2F").replace('?', "%3F").replace('#', "%23");
    format!("{}/{key}", path.trim_end_matches('/'))
}

fn quoted(key: &str) -> String {
    serde_json::Value::from(key).to_string()
}

/// The members of an object, in order; none of anything else.
pub(crate) fn members(value: &str) -> Vec<(String, &RawValue)> {
    struct Members<'a>(Vec<(String, &'a RawValue)>);

    impl<'a> Deserialize<'a> for Members<'a> {
        fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Collect)
        }
    }

    struct Collect;

    impl<'a> Visitor<'a> for Collect {
        type Value = Members<'a>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Members<'a>, M::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(Members(members))
        }
    }

    serde_json::from_str::<Members<'_>>(value).map(|members| members.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are printed for a frame of the resource at `/v`.
    #[track_caller]
    fn check(kind: &str, value: &str, expect: &[&str]) {
        let frame: Frame =
            serde_json::from_str(&format!("{{\"kind\":\"{kind}\",\"value\":{value}}}")).unwrap();
        let lines: Vec<_> = things("/v", &frame)
            .iter()
            .map(|thing| format!("{} {}", thing.path, thing.change))
            .collect();
        assert_eq!(lines, expect);
    }

    #[test]
    fn a_merge_is_a_line_per_changed_thing() {
        check(
            "merge",
            r#"{"a":{"x":1.0},"b":{"y":2}}"#,
            &[r#"/v/a ~ {"x":1.0}"#, r#"/v/b ~ {"y":2}"#],
        );
        check(
            "merge",
            r#"{"speed":1e2,"at":{"lat":1}}"#,
            &[r#"/v ~ {"speed":1e2,"at":{"lat":1}}"#],
        );
        check("merge", r#"{"a":{"b":{"c":[{}]}}}"#, &[r#"/v/a/b ~ {"c":[{}]}"#]);
        check("merge", "[1]", &["/v = [1]"]);
        check("merge", "{}", &[]);
    }

    #[test]
    fn what_was_removed_is_said() {
        check("merge", r#"{"a":null,"b":{"c":null}}"#, &["/v/a removed", "/v/b/c removed"]);
        check("merge", r#"{"a":null,"b\"":1}"#, &["/v/a removed", r#"/v ~ {"b\"":1}"#]);
        check("gone", "null", &["/v nothing is here"]);
    }

    #[test]
    fn patches_are_a_line_per_operation() {
        check(
            "patch",
            r#"[{"op":"add","path":"/a~1b/c","value":null},{"op":"remove","path":"/d"},{"op":"replace","path":"","value":1}]"#,
            &["/v/a%2Fb/c = null", "/v/d removed", "/v = 1"],
        );
    }

    #[test]
    fn snapshots_are_one_line() {
        check("snapshot", r#"{"a":{"b":null}}"#, &[r#"/v = {"a":{"b":null}}"#]);
        check("snapshot", "null", &["/v = null"]);
        let members: Vec<_> = (0..99).map(|n| format!("\"{n}\":\"value\"")).collect();
        check("snapshot", &format!("{{{}}}", members.join(",")), &["/v = 99 members, 1278 bytes"]);
        let long = "x".repeat(2000);
        let cut = format!("/v = \"{}… (2002 bytes)", &long[..VALUE_CHARS_MAX - 1]);
        check("snapshot", &format!("\"{long}\""), &[&cut]);
    }

    #[test]
    fn terminals_are_safe() {
        assert_eq!(printable("a\u{9b}31m\u{7f}"), "a\\u009b31m\\u007f");
        assert_eq!(printable("grün"), "grün");
        assert_eq!(printable("a\n\tb"), "a\\u000a\\u0009b");
        // All hostile characters; below, their harmless neighbours.
        let hostile = "\u{0}\u{1b}\u{7f}\u{80}\u{9b}\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}";
        assert_eq!(printable(hostile).matches("\\u").count(), hostile.chars().count());
        let harmless =
            "\u{a0}\u{61b}\u{61d}\u{200d}\u{2010}\u{2027}\u{202f}\u{2065}\u{206a}\u{1f600}";
        assert_eq!(printable(harmless), harmless);
    }

    #[test]
    fn json_for_a_terminal_says_the_same() {
        let text = "{\"a\":\n\t\"\u{9b}31m\u{202e}\u{7f}\", \"grün\": 1.00}";
        assert_eq!(json(text, true), "{\"a\":\n\t\"\\u009b31m\\u202e\\u007f\", \"grün\": 1.00}");
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&json(text, true)), parse(text));
        assert_eq!(json(text, false), text);
    }

    #[test]
    fn times_are_told() {
        assert_eq!(time_of_day(1_732_371_044_120), "14:10:44.120");
        assert_eq!(age(u64::MAX), "0 ms");
        assert!(age(0).ends_with(" days"));
    }
}
