//! Negotiation: the representation, query parameters, preferences and conditions of a request.

use halfping_engine::{Condition, Limits, States};
use http::{HeaderMap, HeaderName, header};
use percent_encoding::percent_decode_str;

use crate::hint::{nearest, shorten};
use crate::problem::{Kind, Problem};
use crate::shape::{PARAMETERS, Parameter, Shape, Wrong, flag};
use crate::tag::{self, Given};
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

/// The hint where a condition may have been cut.
const AMPERSANDS: &str = "'&&' in a URL is written %26%26";

/// The query parameters.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) shape: Shape,
    pub(super) watch: bool,
    pub(super) envelope: bool,
    pub(super) paths: Vec<String>,
    /// A parameter that shapes what is read.
    pub(super) of_shape: Option<&'static str>,
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
    pub(super) fn parse(
        query: Option<&str>,
        limits: &Limits,
        target: Target,
    ) -> Result<Query, Problem> {
        let mut parsed = Query::default();
        let Some(query) = query else { return Ok(parsed) };
        let known = target.parameters();
        let mut seen: Vec<&str> = Vec::new();
        let mut parts = query.split('&').peekable();
        // True if the part before is a condition, which may have been cut at an `&`.
        let mut is_after_condition = false;
        while let Some(part) = parts.next() {
            if part.is_empty() {
                if is_after_condition && parts.peek().is_some() {
                    let detail = "'where' ends at the first '&' of '&&'";
                    return Err(Problem::new(Kind::BadView, detail).hint(AMPERSANDS));
                }
                continue;
            }
            let (name, value) = decoded(part)?;
            let found = known.iter().copied().find(|known| *known == name);
            let read = match found {
                None => Err(unknown(&name, &known)),
                Some(name) if name != "path" && seen.contains(&name) => {
                    let detail = format!("the parameter '{name}' is given twice");
                    Err(Problem::new(Kind::BadParameter, detail))
                }
                Some(name) => {
                    seen.push(name);
                    parsed.set(name, &value, limits)
                }
            };
            let is_condition = found == Some("where");
            let may_be_cut = match is_condition {
                true => parts.peek().is_some_and(|next| !is_parameter(next, &known)),
                false => is_after_condition && !is_parameter(part, &known),
            };
            read.map_err(|problem| if may_be_cut { problem.also(AMPERSANDS) } else { problem })?;
            is_after_condition = is_condition;
        }
        Ok(parsed)
    }

    fn set(&mut self, name: &'static str, value: &str, limits: &Limits) -> Result<(), Problem> {
        let bad = |is: &str| {
            let detail = format!("'{name}' is {is}, not {:?}", shorten(value));
            Problem::new(Kind::BadParameter, detail)
        };
        let flag = || flag(value, true).ok_or_else(|| bad("true or false"));
        match (name, Parameter::named(name)) {
            (_, Some(parameter)) => {
                self.of_shape = Some(name);
                if !parameter.of_plain {
                    self.of_streams = Some(name);
                }
                parameter.set(&mut self.shape, value, limits).map_err(|wrong| match wrong {
                    Wrong::Value => bad(parameter.is),
                    Wrong::View(problem) => problem,
                })?;
            }
            ("watch", _) => self.watch = flag()?,
            ("envelope", _) => {
                self.of_streams = Some(name);
                self.envelope = flag()?;
            }
            _ => self.paths.push(value.to_owned()),
        }
        Ok(())
    }
}

/// Tells whether a part of a query can be a parameter, rather than the rest of a condition that was
/// cut at an `&`: `b`, `line=="U4"`, or `depth==1`.
fn is_parameter(part: &str, known: &[&str]) -> bool {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    known.contains(&name) && !value.starts_with('=')
}

/// The name and the value of a parameter. Bytes that are no text are refused: a reader would be
/// shown something else than it asked for.
fn decoded(part: &str) -> Result<(String, String), Problem> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    let text = |encoded: &str| {
        let bytes: Vec<u8> = percent_decode_str(&encoded.replace('+', " ")).collect();
        String::from_utf8(bytes).map_err(|_| {
            let detail = format!("the parameter '{}' is not UTF-8", shorten(name));
            Problem::new(Kind::BadParameter, detail)
                .hint("each character is percent-encoded as its bytes of UTF-8: an ü is %C3%BC")
        })
    };
    Ok((text(name)?, text(value)?))
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
pub(super) fn since(headers: &HeaderMap, query: &Query) -> Option<Given> {
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
        judge: None,
    })
}

/// Sealed cursors in `If-Match` or `If-None-Match`. Those of states are open by now (see
/// `identity.rs`); these are of what a client was shown.
pub(super) fn shown(headers: &HeaderMap, name: &HeaderName) -> Vec<Given> {
    let fields = headers.get_all(name).iter().filter_map(|tags| tags.to_str().ok());
    let tags = fields.flat_map(|tags| tags.split(','));
    let given = tags.filter_map(|tag| tag::cursor(tag.trim()));
    given.filter(|given| given.open().is_none()).collect()
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
            cursors.extend(tag::cursor(tag).and_then(Given::open));
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
    use halfping_engine::Path;

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
        let problem =
            Query::parse(Some("dept=1"), &Limits::default(), Target::Resource).unwrap_err();
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
            let problem =
                Query::parse(Some(query), &Limits::default(), Target::Resource).unwrap_err();
            assert_eq!(problem.kind(), Kind::BadParameter, "{query}");
        }
        let query = Some("watch&rate=0.5&delta=false&since=x");
        let query = Query::parse(query, &Limits::default(), Target::Resource).unwrap();
        assert!(query.watch && query.shape.whole && query.shape.since.is_none());
        assert_eq!(query.shape.watch(Path::ROOT).unwrap().interval_ms, 2000);
    }

    #[test]
    fn a_condition_that_is_cut_at_an_ampersand_is_told_how_to_write_it() {
        // PROTOCOL Q9
        for (query, name, is_hinted) in [
            (r#"where=speed>50&&line=="U4""#, "bad-view", true),
            ("where=a&&depth=1", "bad-view", true),
            ("where=a&&", "bad-view", true),
            (r#"where=a & line=="U4""#, "unknown-parameter", true),
            ("where=(a&b)", "bad-view", true),
            ("where=(a&&b)", "bad-view", true),
            ("where=(a&depth==1)", "bad-view", true),
            ("where=a&depth==1", "bad-parameter", true),
            ("where=a&depth=x", "bad-parameter", false),
            ("where=a&limit=ten", "bad-parameter", false),
            ("where=a=1&depth=1", "bad-view", false),
            ("where=a*2>1&depth=1", "bad-view", false),
            ("where=(a", "bad-view", false),
            ("depth=1&dept=1", "unknown-parameter", false),
            ("where=a&depth=1&dept=1", "unknown-parameter", false),
        ] {
            let problem = Query::parse(Some(query), &Limits::default(), Target::Resource);
            let problem = problem.unwrap_err();
            let json = String::from_utf8(problem.to_json()).unwrap();
            assert_eq!(problem.kind().name(), name, "{query}: {json}");
            assert_eq!(json.contains("%26%26"), is_hinted, "{query}: {json}");
        }
        for query in
            ["where=a%26%26b", "where=a&", "where=a&depth=1", "&&where=a", "depth=1&&watch"]
        {
            let query = Query::parse(Some(query), &Limits::default(), Target::Resource);
            assert!(query.is_ok(), "{query:?}");
        }
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
            let problem = Query::parse(Some(query), &Limits::default(), target).unwrap_err();
            assert_eq!(problem.kind(), Kind::UnknownParameter, "{target:?} {query}");
        }
    }

    #[test]
    fn a_query_that_is_not_text_is_refused_by_the_parameters_name() {
        // PROTOCOL R6
        for (query, names) in [
            ("where=line%20==%20'U%FF'", "'where' is not UTF-8"),
            ("depth=1&select=%C3", "'select' is not UTF-8"),
            ("watch&since=%ED%A0%80", "'since' is not UTF-8"),
            ("de%FFpth=1", "'de%FFpth' is not UTF-8"),
        ] {
            let problem = Query::parse(Some(query), &Limits::default(), Target::Resource);
            let problem = problem.unwrap_err();
            assert_eq!(problem.kind(), Kind::BadParameter, "{query}");
            assert!(problem.detail().contains(names), "{query}: {}", problem.detail());
        }
        let query = Some("where=line+==+'%C3%BC%EF%BF%BD%2B'&de%70th=1");
        let query = Query::parse(query, &Limits::default(), Target::Resource).unwrap();
        let mut expect = Shape::default();
        expect.filter("line == '\u{fc}\u{fffd}+'", &Limits::default()).unwrap();
        Parameter::named("depth").unwrap().set(&mut expect, "1", &Limits::default()).ok().unwrap();
        assert_eq!(query.shape, expect);
    }
}
