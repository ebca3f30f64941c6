//! Errors as clients see them: one table of problems, and the RFC 9457 document of each.

use axum::response::{IntoResponse, Response};
use halfping_engine::{JsonError, JsonErrorKind, PatchError, PathError, Refusal, escape_breaks};
use halfping_journal::{Fault, FaultKind};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// Prefix of `type`.
const TYPE: &str = "urn:halfping:problem:";
/// Seconds that clients are told to wait when they are turned away.
pub(crate) const RETRY_AFTER_SECONDS: u64 = 1;

/// An error for a client, with its reason. Boxed, since it is in the `Err` of most functions here
/// and is rarely there.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Document>);

#[derive(Clone, Debug, Serialize)]
struct Document {
    #[serde(skip)]
    kind: Kind,
    #[serde(rename = "type")]
    uri: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<usize>,
    #[serde(skip)]
    headers: Vec<(http::HeaderName, HeaderValue)>,
}

/// Makes the enum and its table of one list.
macro_rules! kinds {
    ($($kind:ident $name:literal $status:literal $title:literal;)*) => {
        /// Every problem. `PROTOCOL.md`, section 7, lists the same.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Kind {
            $(#[doc = $title] $kind,)*
        }

        impl Kind {
            #[cfg(test)]
            const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// The last part of its `type`.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }

            /// The status of the answer that carries it.
            fn status(self) -> u16 {
                match self { $(Kind::$kind => $status,)* }
            }

            fn title(self) -> &'static str {
                match self { $(Kind::$kind => $title,)* }
            }
        }
    };
}

kinds! {
    BadPath "bad-path" 400 "The path is not one";
    BadJson "bad-json" 400 "This is not JSON";
    DuplicateMember "duplicate-member" 400 "A member name occurs twice";
    BadBody "bad-body" 400 "The body could not be read";
    BadPatch "bad-patch" 400 "The body is not a patch";
    BadParameter "bad-parameter" 400 "A query parameter has no usable value";
    UnknownParameter "unknown-parameter" 400 "A query parameter is not known";
    NotAStream "not-a-stream" 400 "The parameter shapes a stream, and this is none";
    BadView "bad-view" 400 "The view cannot be understood";
    BadHeader "bad-header" 400 "A header has no usable value";
    BadCommand "bad-command" 400 "The command cannot be understood";
    UnknownCommand "unknown-command" 400 "The command is not known";
    Unauthorized "unauthorized" 401 "Who this is has to be shown";
    TokenExpired "token-expired" 401 "The token has expired";
    Revoked "revoked" 401 "The token has been revoked";
    Forbidden "forbidden" 403 "This identity may not do this";
    ReservedPath "reserved-path" 403 "The name is the server's own";
    ForbiddenOrigin "forbidden-origin" 403 "Pages of this origin may not do this";
    NotOpen "not-open" 403 "Nobody said who may write here";
    NotFound "not-found" 404 "There is nothing here";
    UnknownLink "unknown-link" 404 "The session has no such link";
    MethodNotAllowed "method-not-allowed" 405 "The method is not allowed here";
    ReadOnly "read-only" 405 "Nothing can be written here";
    NotAcceptable "not-acceptable" 406 "There is no such representation";
    BodyTimeout "body-timeout" 408 "The body did not arrive in time";
    LinkInUse "link-in-use" 409 "The session has a link of that number already";
    NotAnObject "not-an-object" 409 "A value without members is in the way";
    PatchFailed "patch-failed" 409 "The patch could not be applied";
    PreconditionFailed "precondition-failed" 412 "The resource is in another state";
    BodyTooLarge "body-too-large" 413 "The body is too large";
    TooDeep "too-deep" 413 "The value is nested too deep";
    TooManyMembers "too-many-members" 413 "An object has too many members";
    KeyTooLong "key-too-long" 413 "A member name is too long";
    ValueTooLarge "value-too-large" 413 "The value is too large";
    PathTooDeep "path-too-deep" 414 "The path has too many segments";
    PathTooLong "path-too-long" 414 "The request target is too long";
    UnsupportedMediaType "unsupported-media-type" 415 "The body is of a type that cannot be used here";
    MisdirectedRequest "misdirected-request" 421 "The request is for another server";
    NumberOutOfRange "number-out-of-range" 422 "A number is out of range";
    WebsocketVersion "websocket-version" 426 "The WebSocket handshake is of another version";
    WriteRate "write-rate" 429 "Too many writes";
    CommandRate "command-rate" 429 "Too many commands";
    TooManyLinks "too-many-links" 429 "Too many links";
    TooManyViews "too-many-views" 429 "Too many views";
    TooManyTickets "too-many-tickets" 429 "Too many tickets";
    Internal "internal" 500 "An error of the server's own";
    UnsupportedTransferCoding "unsupported-transfer-coding" 501 "The body is in a transfer coding that cannot be read here";
    TreeFull "tree-full" 507 "The tree has no room left";
    StorageFull "storage-full" 507 "The disk has no room left";
    StorageFailed "storage-failed" 503 "Nothing can be made durable";
    Draining "draining" 503 "The server is about to stop";
    IdentityUnavailable "identity-unavailable" 503 "Who this is cannot be found out now";
    BuffersFull "buffers-full" 503 "Too much is held for clients that do not take it";
    TooManyConnections "too-many-connections" 503 "The server has too many connections";
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        let problem = Problem(Box::new(Document {
            kind,
            uri: format!("{TYPE}{}", kind.name()),
            title: kind.title(),
            status: kind.status(),
            detail: detail.into(),
            hint: None,
            limit: None,
            max: None,
            headers: Vec::new(),
        }));
        match kind.status() {
            // RFC 9110, section 11.6.1.
            401 => problem.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            429 | 503 => problem.retry(),
            _ if kind == Kind::StorageFull => problem.retry(),
            _ => problem,
        }
    }

    fn retry(self) -> Problem {
        self.header(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS))
    }

    pub(crate) fn limit(
        kind: Kind,
        limit: &'static str,
        max: usize,
        detail: impl Into<String>,
    ) -> Problem {
        let mut problem = Problem::new(kind, format!("{}: at most {max}", detail.into()));
        (problem.0.limit, problem.0.max) = (Some(limit), Some(max));
        problem
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds a hint to the one that it has.
    pub(crate) fn also(self, hint: &str) -> Problem {
        let hint = match &self.0.hint {
            Some(before) => format!("{before}; {hint}"),
            None => hint.to_owned(),
        };
        self.hint(hint)
    }

    /// The fault.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The fault and its remedy, for a program or a person.
    pub(crate) fn in_words(&self) -> String {
        match &self.0.hint {
            Some(hint) => format!("{} ({hint})", self.0.detail),
            None => self.0.detail.clone(),
        }
    }

    pub(crate) fn header(mut self, name: http::HeaderName, value: HeaderValue) -> Problem {
        self.0.headers.push((name, value));
        self
    }

    /// Has another challenge as `WWW-Authenticate`.
    pub(crate) fn challenge(mut self, challenge: HeaderValue) -> Problem {
        self.0.headers.retain(|(name, _)| *name != header::WWW_AUTHENTICATE);
        self.header(header::WWW_AUTHENTICATE, challenge)
    }

    /// The state that the resource is in instead, in quotes.
    pub(crate) fn etag(&self) -> Option<&str> {
        let etag = self.0.headers.iter().find(|(name, _)| *name == header::ETAG);
        etag.and_then(|(_, cursor)| cursor.to_str().ok())
    }

    /// Gives the state that the resource is in another name, if it has another.
    pub(crate) fn with_tag(
        mut self,
        other: impl Fn(&HeaderValue) -> Option<HeaderValue>,
    ) -> Problem {
        let tags = self.0.headers.iter_mut().filter(|(name, _)| *name == header::ETAG);
        for (_, tag) in tags {
            if let Some(other) = other(tag) {
                *tag = other;
            }
        }
        self
    }

    /// Adds the element of an array that it is about.
    pub(crate) fn in_element(mut self, place: usize) -> Problem {
        self.0.detail = format!("element {place} of the array: {}", self.0.detail);
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The limit that was reached, if one was.
    pub(crate) fn limit_name(&self) -> Option<&'static str> {
        self.0.limit
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let json = serde_json::to_string(&self.0).unwrap_or_default();
        // It is sent in lines as well (PROTOCOL V6), and repeats what clients sent.
        escape_breaks(&json).into_owned().into_bytes()
    }

    /// The JSON that an `error` frame carries (PROTOCOL S11).
    pub(crate) fn to_json_in_stream(&self, ends: bool) -> Vec<u8> {
        let mut json = self.to_json();
        json.pop();
        json.extend_from_slice(format!(",\"ends\":{ends}}}").as_bytes());
        json
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let content_type = HeaderValue::from_static("application/problem+json");
        let mut response =
            (status, [(header::CONTENT_TYPE, content_type)], self.to_json()).into_response();
        response.headers_mut().extend(self.0.headers);
        response
    }
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Problem {
        let detail = error.to_string();
        match error {
            PathError::TooDeep(max) => {
                Problem::limit(Kind::PathTooDeep, "path_depth", max, "too many segments")
            }
            PathError::KeyTooLong(place, max) => Problem::limit(
                Kind::KeyTooLong,
                "key_bytes",
                max,
                format!("too many bytes of segment {place}"),
            ),
            PathError::Empty(_) => Problem::new(Kind::BadPath, detail).hint("write each '/' once"),
            PathError::Query(_) => Problem::new(Kind::BadPath, detail).hint(
                "in a name they are %3F and %23; what shapes a link or a request stands beside its path",
            ),
            PathError::Escape(_) => Problem::new(Kind::BadPath, detail).hint("a '%' itself is written %25"),
            _ => Problem::new(Kind::BadPath, detail),
        }
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Problem {
        let at = format!("line {} column {}", error.line, error.column);
        let detail = error.to_string();
        match error.kind {
            JsonErrorKind::Duplicate(_) => Problem::new(Kind::DuplicateMember, detail),
            JsonErrorKind::NumberRange => Problem::new(Kind::NumberOutOfRange, detail).hint(
                "numbers must fit IEEE 754 double precision; others can be written as strings",
            ),
            JsonErrorKind::TooDeep(max) => Problem::limit(
                Kind::TooDeep,
                "json_depth",
                max,
                format!("too many levels of nesting, at {at}"),
            ),
            JsonErrorKind::TooManyMembers(max) => Problem::limit(
                Kind::TooManyMembers,
                "members_per_object",
                max,
                format!("too many members of one object, at {at}"),
            ),
            JsonErrorKind::KeyTooLong(max) => Problem::limit(
                Kind::KeyTooLong,
                "key_bytes",
                max,
                format!("too many bytes of a member name, at {at}"),
            ),
            _ => Problem::new(Kind::BadJson, detail),
        }
    }
}

impl From<PatchError> for Problem {
    fn from(error: PatchError) -> Problem {
        match error {
            PatchError::Json(error) => error.into(),
            PatchError::Limit { index, limit, max } => {
                let (name, what) = match limit {
                    "key_bytes" => (Kind::KeyTooLong, "bytes of a name"),
                    _ => (Kind::PathTooDeep, "names"),
                };
                let detail =
                    format!("too many {what} of a pointer in operation {index} of the patch");
                Problem::limit(name, limit, max, detail)
            }
            error => Problem::new(Kind::BadPatch, error.to_string()),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let detail = refusal.to_string();
        match refusal {
            Refusal::NotFound(_) => Problem::new(Kind::NotFound, detail),
            Refusal::NotAnObject { .. } => Problem::new(Kind::NotAnObject, detail)
                .hint("PUT an object there first, or PATCH the value that holds it"),
            Refusal::Root { .. } => Problem::new(Kind::NotAnObject, detail),
            Refusal::Reserved(_) => Problem::new(Kind::ReservedPath, detail),
            Refusal::Precondition(_) => Problem::new(Kind::PreconditionFailed, detail)
                .hint("read it again, and send the change with its new cursor (ETag, rev)"),
            Refusal::Forbidden(_) => Problem::new(Kind::Forbidden, detail),
            Refusal::PatchFailed { .. } => Problem::new(Kind::PatchFailed, detail),
            Refusal::Limit { limit, max, what } => {
                let name = match limit {
                    "json_depth" | "tree_depth" => Kind::TooDeep,
                    "members_per_object" | "members_per_commit" | "judged_values" => {
                        Kind::TooManyMembers
                    }
                    "tree_bytes" => Kind::TreeFull,
                    "views" | "unindexed_lenses" | "view_rows" => Kind::TooManyViews,
                    _ => Kind::ValueTooLarge,
                };
                let problem = Problem::limit(name, limit, max, what);
                match limit {
                    "value_bytes" => problem
                        .hint("read a part of it, cut it with ?depth=, or watch it with deltas"),
                    "whole_frame_bytes" => {
                        problem.hint("take deltas (leave out delta=false), or cut it with depth")
                    }
                    "view_rows" => {
                        problem.hint("ask for fewer members with a condition, or watch all of them")
                    }
                    _ => problem,
                }
            }
            _ => Problem::new(Kind::Internal, detail),
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        let name =
            if fault.kind == FaultKind::Full { Kind::StorageFull } else { Kind::StorageFailed };
        Problem::new(name, format!("the write could not be made durable: {}", fault.what))
            .hint("it was not done as far as anybody was told; try again later. Reading goes on")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_one_in_the_protocol() {
        let protocol = include_str!("../../../PROTOCOL.md");
        let rows = protocol.lines().filter(|l| l.starts_with("| `"));
        let mut listed: Vec<(String, u16)> = Vec::new();
        for row in rows {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            for name in cells[1].split(", ") {
                listed.push((name.trim_matches('`').to_owned(), cells[2].parse().unwrap()));
            }
        }
        let mut ours: Vec<(String, u16)> =
            Kind::ALL.iter().map(|kind| (kind.name().to_owned(), kind.status())).collect();
        listed.sort();
        ours.sort();
        assert_eq!(listed, ours);
    }

    #[test]
    fn the_typescript_client_knows_all_names() {
        let types = include_str!("../../../clients/typescript/src/errors.ts");
        let is_known = |name: &str| types.contains(&format!("  | '{name}'\n"));
        let unknown: Vec<&str> =
            Kind::ALL.iter().map(|kind| kind.name()).filter(|name| !is_known(name)).collect();
        assert_eq!(unknown, [""; 0]);
    }
}
