//! Negotiation: the representation, query parameters, preferences and conditions of a request.

use std::borrow::Cow;

use halfping_engine::{Condition, Cursor, Path, States, Watch};
use http::{HeaderMap, HeaderName, header};

use crate::hint::{nearest, shorten};
use crate::problem::{Kind, Problem};
use crate::shape::{PARAMETERS, Parameter, Shape, flag};
use crate::tag;
use crate::transports::Format;

/// Representation of a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Representation {
    Json,
    Stream(Format),
}

/// Picks the representation that `Accept` likes best; of those that it likes equally, the one it
/// names first (RFC 9110, section 12.5.1).
pub(super) fn accept(headers: &HeaderMap) -> Result<Representation, Problem> {
    let mut best: Option<(f32, Representation)> = None;
    let mut refused = Vec::new();
    let ranges = ranges(headers)?;
    for (name, quality) in &ranges {
        let representation = match name.as_str() {
            "*/*" | "application/*" | "application/json" => Representation::Json,
            range => match Format::accepted_by(range) {
                Some(format) => Representation::Stream(format),
                None => continue,
            },
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

/// Types that `Accept` names, in small letters and in its order, each with its weight.
fn ranges(headers: &HeaderMap) -> Result<Vec<(String, f32)>, Problem> {
    let mut ranges = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        for range in
            text(&header::ACCEPT, value)?.split(',').map(str::trim).filter(|r| !r.is_empty())
        {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality =
                parts.find_map(|p| p.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
            ranges.push((name, quality.unwrap_or(0.0)));
        }
    }
    Ok(ranges)
}

/// Tells whether `Accept` prefers the older text format of metrics to OpenMetrics (PROTOCOL O2).
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
    pub(super) shape: Shape,
    pub(super) watch: bool,
    pub(super) envelope: bool,
    pub(super) paths: Vec<String>,
    /// A parameter that only streams have.
    pub(super) of_streams: Option<&'static str>,
}

/// The kind of request that a query belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Resource,
    /// `/_streams`.
    Many,
    Session,
    /// Something that takes no parameters.
    Nothing,
}

impl Target {
    /// The parameters that it takes: its own, and those of a shape.
    fn parameters(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Target::Resource => &["watch", "envelope"],
            Target::Many => &["path", "watch"],
            Target::Session => &["watch"],
            Target::Nothing => return Vec::new(),
        };
        let fits = |parameter: &&Parameter| !parameter.of_sessions || self == Target::Session;
        let of_shape = PARAMETERS.iter().filter(fits).map(|parameter| parameter.name);
        own.iter().copied().chain(of_shape).collect()
    }
}

impl Query {
    pub(super) fn parse(query: Option<&str>, target: Target) -> Result<Query, Problem> {
        let mut parsed = Query::default();
        let known = target.parameters();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let Some(name) = known.iter().copied().find(|known| *known == name) else {
                return Err(unknown(&name, &known));
            };
            if name != "path" && seen.contains(&name) {
                let detail = format!("the parameter '{name}' is given twice");
                return Err(Problem::new(Kind::BadParameter, detail));
            }
            seen.push(name);
            parsed.set(name, value)?;
        }
        Ok(parsed)
    }

    fn set(&mut self, name: &'static str, value: Cow<'_, str>) -> Result<(), Problem> {
        let bad = |is: &str| {
            let detail = format!("'{name}' is {is}, not {:?}", shorten(&value));
            Problem::new(Kind::BadParameter, detail)
        };
        let flag = || flag(&value, true).ok_or_else(|| bad("true or false"));
        match (name, Parameter::named(name)) {
            (_, Some(parameter)) => {
                if !parameter.of_plain {
                    self.of_streams = Some(name);
                }
                parameter.set(&mut self.shape, &value).ok_or_else(|| bad(parameter.is))?;
            }
            ("watch", _) => self.watch = flag()?,
            ("envelope", _) => {
                self.of_streams = Some(name);
                self.envelope = flag()?;
            }
            _ => self.paths.push(value.into_owned()),
        }
        Ok(())
    }

    /// The link that it describes, for a reader that has the state `since`.
    pub(super) fn watch(&self, path: Path, since: Option<Cursor>) -> Watch {
        let mut shape = self.shape;
        shape.since = since;
        shape.watch(path)
    }
}

fn unknown(name: &str, known: &[&'static str]) -> Problem {
    let detail = format!("there is no parameter '{}'", shorten(name));
    let problem = Problem::new(Kind::UnknownParameter, detail);
    match nearest(name, known) {
        Some(near) => problem.hint(format!("did you mean '{near}'?")),
        _ if known.is_empty() => problem.hint("there are none here"),
        _ => problem.hint(format!("known are {}", known.join(", "))),
    }
}

/// The cursor to resume from: `Last-Event-ID`, else `since`.
pub(super) fn since(headers: &HeaderMap, query: &Query) -> Option<Cursor> {
    let header = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    match header.filter(|header| !header.is_empty()) {
        Some(header) => tag::cursor(header),
        None => query.shape.since,
    }
}

/// `Prefer: wait=N` (RFC 7240), in seconds. A value that cannot be read is ignored, as section 2 of
/// it asks: a preference is no demand.
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
    // A number that is too large to count is a long time as well.
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

/// The condition of `If-Match` and `If-None-Match`.
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
            // Foreign tags match nothing.
            cursors.extend(tag::cursor(tag));
        }
    }
    Ok(Some(States::These(cursors)))
}

fn text<'a>(name: &HeaderName, value: &'a http::HeaderValue) -> Result<&'a str, Problem> {
    value
        .to_str()
        .map_err(|_| Problem::new(Kind::BadHeader, format!("the header {name} is not ASCII text")))
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
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Some(Representation::Json),
            ),
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
        for field in
            ["wait=5", "wait = 5", "WAIT=5", "wait=\"5\"", " wait\t=\t5 ; x=\";,\"", "a, wait=5"]
        {
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
        let problem = Query::parse(Some("dept=1"), Target::Resource).unwrap_err();
        assert!(String::from_utf8(problem.to_json()).unwrap().contains("did you mean 'depth'?"));
        for query in [
            "depth=x",
            "depth=-1",
            "rate=0",
            "rate=-1",
            "rate=NaN",
            "delta=maybe",
            "depth=1&depth=2",
        ] {
            let problem = Query::parse(Some(query), Target::Resource).unwrap_err();
            assert_eq!(problem.kind(), Kind::BadParameter, "{query}");
        }
        let query =
            Query::parse(Some("watch&rate=0.5&delta=false&since=x"), Target::Resource).unwrap();
        assert!(query.watch && query.shape.whole && query.shape.since.is_none());
        assert_eq!(query.watch(Path::default(), None).interval_ms, 2000);
    }

    #[test]
    fn a_parameter_is_taken_only_where_it_has_a_meaning() {
        for (target, query) in [
            (Target::Resource, "priority=1"),
            (Target::Resource, "path=/a"),
            (Target::Many, "envelope"),
            (Target::Session, "envelope"),
            (Target::Nothing, "depth=1"),
        ] {
            let problem = Query::parse(Some(query), target).unwrap_err();
            assert_eq!(problem.kind(), Kind::UnknownParameter, "{target:?} {query}");
        }
    }
}
