//! What a request asks for: representation, query parameters, preferences, conditions.

use std::borrow::Cow;

use halfping_engine::{Condition, Cursor, Path, Priority, States, Watch};
use http::{HeaderMap, HeaderName, header};

use crate::problem::{Kind, Problem};
use crate::tag;
use crate::transports::{Format, interval_ms};

/// How a resource is to be represented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Representation {
    Json,
    Stream(Format),
}

/// Picks the representation that `Accept` likes best; of those that it likes equally, the one it names first (RFC 9110, section 12.5.1).
pub(super) fn accept(headers: &HeaderMap) -> Result<Representation, Problem> {
    let mut best: Option<(f32, Representation)> = None;
    let mut refused = Vec::new();
    let ranges = ranges(headers)?;
    for (name, quality) in &ranges {
        let representation = match name.as_str() {
            "*/*" | "application/*" | "application/json" => Representation::Json,
            "text/event-stream" | "text/*" => Representation::Stream(Format::Sse),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                Representation::Stream(Format::Ndjson)
            }
            _ => continue,
        };
        if *quality == 0.0 && !name.contains('*') {
            refused.push(representation);
        }
        if *quality > 0.0 && best.is_none_or(|(q, _)| *quality > q) {
            best = Some((*quality, representation));
        }
    }
    match best {
        Some((_, representation)) if !refused.contains(&representation) => Ok(representation),
        None if ranges.is_empty() => Ok(Representation::Json),
        _ => Err(Problem::new(Kind::NotAcceptable, "Accept names nothing that can be had here")
            .hint("application/json, text/event-stream or application/x-ndjson")),
    }
}

/// What `Accept` names, in small letters and in its order, with how much it is liked.
fn ranges(headers: &HeaderMap) -> Result<Vec<(String, f32)>, Problem> {
    let mut ranges = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        for range in text(&header::ACCEPT, value)?.split(',').map(str::trim).filter(|r| !r.is_empty()) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|p| p.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
            ranges.push((name, quality.unwrap_or(0.0)));
        }
    }
    Ok(ranges)
}

/// Whether `Accept` likes the older text format of metrics better than OpenMetrics (PROTOCOL O2).
pub(super) fn prefers_plain_metrics(headers: &HeaderMap) -> Result<bool, Problem> {
    let ranges = ranges(headers)?;
    // The most specific name counts.
    let liked = |names: &[&str]| {
        let quality = |name: &&str| ranges.iter().find(|(range, _)| range == name).map(|(_, q)| *q);
        names.iter().find_map(quality).unwrap_or(0.0)
    };
    let plain = liked(&["text/plain", "text/*", "*/*"]);
    Ok(plain > liked(&["application/openmetrics-text", "application/*", "*/*"]))
}

/// The query parameters.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) depth: Option<u32>,
    pub(super) watch: bool,
    pub(super) since: Option<String>,
    pub(super) rate: Option<f64>,
    pub(super) priority: Priority,
    pub(super) whole: bool,
    pub(super) envelope: bool,
    pub(super) paths: Vec<String>,
    /// A parameter that only streams have.
    pub(super) of_streams: Option<&'static str>,
}

/// Parameters of a resource, of `/_streams`, and of a session.
pub(super) const OF_ONE: &[&str] = &["depth", "watch", "since", "rate", "delta", "envelope"];
pub(super) const OF_MANY: &[&str] = &["path", "depth", "watch", "since", "rate", "delta"];
pub(super) const OF_SESSION: &[&str] = &["watch", "depth", "since", "rate", "delta", "priority"];

impl Query {
    pub(super) fn parse(query: Option<&str>, known: &[&'static str]) -> Result<Query, Problem> {
        let mut parsed = Query::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let Some(name) = known.iter().copied().find(|k| *k == name) else {
                return Err(unknown(&name, known));
            };
            if name != "path" && seen.contains(&name) {
                return Err(Problem::new(
                    Kind::BadParameter,
                    format!("the parameter '{name}' is given twice"),
                ));
            }
            seen.push(name);
            parsed.set(name, value)?;
        }
        Ok(parsed)
    }

    fn set(&mut self, name: &'static str, value: Cow<'_, str>) -> Result<(), Problem> {
        let bad = |wanted: &str| {
            Problem::new(Kind::BadParameter, format!("'{name}' is {wanted}, not {:?}", shorten(&value)))
        };
        let flag = |when_empty: bool| match &*value {
            "" => Ok(when_empty),
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(bad("true or false")),
        };
        match name {
            "depth" => self.depth = Some(value.parse().map_err(|_| bad("a number of levels"))?),
            "watch" => self.watch = flag(true)?,
            "path" => self.paths.push(value.into_owned()),
            _ => {
                self.of_streams = Some(name);
                match name {
                    "since" => self.since = Some(value.into_owned()),
                    "delta" => self.whole = !flag(true)?,
                    "envelope" => self.envelope = flag(true)?,
                    "priority" => {
                        let level = value.parse().ok().and_then(Priority::new);
                        self.priority = level.ok_or_else(|| bad("a number from 0 to 3"))?;
                    }
                    _ => {
                        let rate = value.parse::<f64>().ok().filter(|rate| *rate > 0.0 && rate.is_finite());
                        self.rate = Some(rate.ok_or_else(|| bad("a positive number of updates a second"))?);
                    }
                }
            }
        }
        Ok(())
    }

    /// The least time between two frames of a link.
    pub(super) fn interval_ms(&self) -> u64 {
        self.rate.map_or(0, interval_ms)
    }

    /// The link that it describes.
    pub(super) fn watch(&self, path: Path, since: Option<Cursor>) -> Watch {
        Watch {
            path,
            since,
            depth: self.depth.unwrap_or(u32::MAX),
            whole: self.whole,
            interval_ms: self.interval_ms(),
            priority: self.priority,
        }
    }
}

fn unknown(name: &str, known: &[&'static str]) -> Problem {
    let problem = Problem::new(Kind::UnknownParameter, format!("there is no parameter '{}'", shorten(name)));
    match nearest(name, known) {
        Some(near) => problem.hint(format!("did you mean '{near}'?")),
        _ if known.is_empty() => problem.hint("there are none here"),
        _ => problem.hint(format!("known are {}", known.join(", "))),
    }
}

/// The known name that was probably meant.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_lowercase();
    let likeness = known.iter().map(|known| (strsim::jaro_winkler(&name, known), *known));
    let (likeness, near) = likeness.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness > 0.7).then_some(near)
}

/// A client's text as an error repeats it.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The cursor to resume from: `Last-Event-ID`, else `since`. One that cannot be read is as good as none (PROTOCOL C4).
pub(super) fn since(headers: &HeaderMap, query: &Query) -> Option<Cursor> {
    let header = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    let text = header.filter(|h| !h.is_empty()).or(query.since.as_deref())?;
    tag::cursor(text)
}

/// `Prefer: wait=N` (RFC 7240), in seconds. What cannot be read is ignored, as section 2 of it
/// asks: a preference is no demand.
pub(super) fn wait(headers: &HeaderMap) -> Option<u64> {
    let fields = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    // Only the first of a name counts.
    let mut preferences = fields.flat_map(|field| outside_quotes(field, ','));
    let word = preferences.find_map(|preference| {
        let preference = outside_quotes(preference, ';').next().unwrap_or_default();
        let (name, word) = preference.split_once('=').unwrap_or((preference, ""));
        name.trim().eq_ignore_ascii_case("wait").then(|| word.trim())
    })?;
    let quoted = word.strip_prefix('"').and_then(|word| word.strip_suffix('"'));
    let digits = quoted.unwrap_or(word);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    // More than can be counted is a long time as well.
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// The parts of a header's text between separators that are not in quotes.
fn outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |c| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => return c == separator && !is_quoted,
        }
        false
    })
}

/// `If-Match` and `If-None-Match`.
pub(super) fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    Ok(Condition {
        is: states(headers, &header::IF_MATCH)?,
        is_not: states(headers, &header::IF_NONE_MATCH)?,
    })
}

fn states(headers: &HeaderMap, name: &HeaderName) -> Result<Option<States>, Problem> {
    let mut values = headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let mut cursors = Vec::new();
    for value in values {
        for tag in text(name, value)?.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            if tag == "*" {
                return Ok(Some(States::Any));
            }
            // Foreign ones match nothing.
            cursors.extend(tag::cursor(tag));
        }
    }
    Ok(Some(States::These(cursors)))
}

fn text<'a>(name: &HeaderName, value: &'a http::HeaderValue) -> Result<&'a str, Problem> {
    value.to_str().map_err(|_| Problem::new(Kind::BadHeader, format!("the header {name} is not ASCII text")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_read_as_http_says() {
        let sse = Representation::Stream(Format::Sse);
        let ndjson = Representation::Stream(Format::Ndjson);
        for (accept_text, expected) in [
            ("*/*", Some(Representation::Json)),
            ("", Some(Representation::Json)),
            ("text/event-stream", Some(sse)),
            ("Text/Event-Stream, */*", Some(sse)),
            ("application/json;q=0.5, application/x-ndjson", Some(ndjson)),
            ("application/jsonl", Some(ndjson)),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(Representation::Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json;q=0, */*", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept_text.parse().unwrap());
            assert_eq!(accept(&headers).ok(), expected, "{accept_text}");
        }
        assert_eq!(accept(&HeaderMap::new()).ok(), Some(Representation::Json));
    }

    #[test]
    fn a_wait_that_cannot_be_read_is_ignored() {
        // PROTOCOL R4; RFC 7240, section 2
        let check = |fields: &[&str], seconds: Option<u64>| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append("prefer", field.parse().unwrap());
            }
            assert_eq!(wait(&headers), seconds, "{fields:?}");
        };
        for field in ["wait=5", "wait = 5", "WAIT=5", "wait=\"5\"", " wait\t=\t5 ; x=\";,\"", "a, wait=5"] {
            check(&[field], Some(5));
        }
        for field in [
            "",
            "wait",
            "wait=",
            "wait=-1",
            "wait=+1",
            "wait=1.5",
            "wait=1e20",
            "wait=soon",
            "waits=5",
            "a=\"x, wait=5\"",
            "a=\"x\\\", wait=5\"",
            "a; wait=5",
            "wait=x, wait=5",
        ] {
            check(&[field], None);
        }
        check(&["wait=99999999999999999999999"], Some(u64::MAX));
        check(&["respond-async", "wait=7, wait=8"], Some(7));
    }

    #[test]
    fn a_parameter_that_is_almost_known_is_named() {
        let problem = Query::parse(Some("dept=1"), OF_ONE).unwrap_err();
        assert!(String::from_utf8(problem.to_json()).unwrap().contains("did you mean 'depth'?"));
        assert_eq!(nearest("Watch", &["patch", "watch"]), Some("watch"));
        for query in
            ["depth=x", "depth=-1", "rate=0", "rate=-1", "rate=NaN", "delta=maybe", "depth=1&depth=2"]
        {
            assert_eq!(Query::parse(Some(query), OF_ONE).unwrap_err().kind(), Kind::BadParameter, "{query}");
        }
        let query = Query::parse(Some("watch&rate=0.5&delta=false&since=x"), OF_ONE).unwrap();
        assert!(
            query.watch && query.whole && query.interval_ms() == 2000 && query.since.as_deref() == Some("x")
        );
    }
}
