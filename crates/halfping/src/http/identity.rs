//! Headers that tell who asked, and tickets for URLs.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use halfping_credentials::{Secret, TICKET_SECONDS};
use halfping_engine::{Json, Limits, Path};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};

use super::Answer;
use super::write::read_json;
use crate::access::Access;
use crate::auth::{Auth, Rights, no_claims};
use crate::connection::Connection;
use crate::hub::Shared;
use crate::problem::{Kind, Problem};
use crate::tag;

/// Names whom an answer is for, so that a client notices that it is taken for nobody.
const SUBJECT: HeaderName = HeaderName::from_static("halfping-subject");
/// Characters of a name that are percent-encoded there: all that are not visible ASCII, and `%`.
const HIDDEN: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The part of an answer that depends on who asked.
pub(super) struct Told {
    subject: Option<HeaderValue>,
    /// The sender, if cursors are sealed for it.
    partial: Option<Access>,
    /// The fields of a request by which its sender is known; `None` where nobody is told apart.
    vary: Option<HeaderValue>,
}

impl Told {
    pub(super) fn of(auth: &Auth, access: Option<&Access>) -> Told {
        let subject = access.and_then(|access| access.rights()?.subject());
        let subject = subject.and_then(|subject| {
            HeaderValue::from_str(&utf8_percent_encode(subject, HIDDEN).to_string()).ok()
        });
        let partial = access.filter(|access| access.is_partial()).cloned();
        Told { subject, partial, vary: auth.vary() }
    }

    pub(super) fn tell(self, headers: &mut HeaderMap) {
        let Some(vary) = self.vary else { return };
        headers.append(header::VARY, vary);
        if let Some(subject) = self.subject {
            headers.insert(SUBJECT, subject);
        }
        if let (Some(sender), Some(tag)) = (self.partial, headers.get(header::ETAG)) {
            let sealed = sender.give_tag(tag);
            sealed.map(|tag| headers.insert(header::ETAG, tag));
        }
        if headers.get(header::CACHE_CONTROL) == Some(&NO_CACHE) {
            headers.insert(header::CACHE_CONTROL, PRIVATE);
        }
    }
}

/// Opens the cursors in the conditions of a client for whom cursors are sealed. One that came with
/// other rights is left out: what others may read of the same state is something else.
pub(super) fn open_cursors(access: Option<&Access>, headers: &mut HeaderMap) {
    let Some(sender) = access.filter(|access| access.is_partial()) else { return };
    for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
        let fields = headers.get_all(&name).iter().filter_map(|tags| tags.to_str().ok());
        let fields: Vec<&str> = fields.flat_map(|tags| tags.split(',')).map(str::trim).collect();
        if fields.is_empty() {
            continue;
        }
        let opened = |tag: &&str| match tag::cursor(tag) {
            Some(given) => match sender.take(given) {
                Some(cursor) => Some(format!("\"{cursor}\"")),
                // It may be of what the client was shown.
                None => given.open().is_none().then(|| tag.to_string()),
            },
            None => Some(tag.to_string()),
        };
        let opened: Vec<String> = fields.iter().filter_map(opened).collect();
        let none = HeaderValue::from_static("\"\"");
        let opened = HeaderValue::from_str(&opened.join(",")).ok();
        headers.insert(name, opened.filter(|tags| !tags.is_empty()).unwrap_or(none));
    }
}

/// What is made at a path beneath `/_auth`, if anything is.
pub(super) fn made_at(path: &Path) -> Option<Made> {
    match path.segments() {
        [auth, name] if &**auth == "_auth" => match &**name {
            "ticket" => Some(Made::Ticket),
            "look" => Some(Made::Look),
            _ => None,
        },
        _ => None,
    }
}

/// A credential that the server makes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// One for the URL of a stream or session.
    Ticket,
    /// One to look as somebody else.
    Look,
}

/// Makes a ticket for the URL of a stream or session: all that an `EventSource` can send.
pub(super) fn ticket(access: &Access) -> Answer {
    let ticket = told_apart(access)?.ticket()?;
    Ok(made("ticket", &ticket, TICKET_SECONDS * 1000))
}

/// Makes a token to look as somebody with the claims in the body.
pub(super) async fn look(
    shared: &Arc<Shared>,
    access: &Access,
    connection: &Connection,
    request: &Parts,
    body: &mut Body,
) -> Answer {
    let rights = told_apart(access)?;
    // Nobody else's body is read.
    rights.may_look()?;
    let (claims, _room) = read_json(shared, connection, request, body, claims).await?;
    let (token, lasts) = rights.look(claims?)?;
    Ok(made("token", &token, u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX)))
}

fn claims(bytes: &[u8], limits: &Limits) -> Result<Map<String, Value>, Problem> {
    Json::parse(bytes, limits)?;
    serde_json::from_slice(bytes).map_err(|_| no_claims("claims are a JSON object"))
}

/// The rights of a client that is told apart, and may follow.
fn told_apart(access: &Access) -> Result<&Rights, Problem> {
    access.follow()?;
    access.is_not_by_query()?;
    access.rights().ok_or_else(|| Problem::new(Kind::NotFound, "nobody is told apart here"))
}

fn made(name: &str, secret: &Secret, expires_ms: u64) -> Response {
    let json = format!("{{\"{name}\":\"{}\",\"expires_ms\":{expires_ms}}}", secret.reveal());
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, json).into_response()
}
