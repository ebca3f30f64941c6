//! Headers that tell who asked, and tickets for URLs.

use axum::body::Body;
use axum::response::IntoResponse;
use halfping_credentials::TICKET_SECONDS;
use halfping_engine::Path;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::Answer;
use crate::access::Access;
use crate::auth::Auth;
use crate::problem::{Kind, Problem};

/// Names whom an answer is for, so that a client notices that it is taken for nobody.
const SUBJECT: HeaderName = HeaderName::from_static("halfping-subject");
/// Characters of a name that are percent-encoded there: all that are not visible ASCII, and `%`.
const HIDDEN: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The part of an answer that depends on who asked.
pub(super) struct Told {
    subject: Option<HeaderValue>,
    /// The mark of what the sender may read, where rules decide.
    mark: Option<u64>,
    /// The fields of a request by which its sender is known; `None` where nobody is told apart.
    vary: Option<&'static str>,
}

impl Told {
    pub(super) fn of(auth: &Auth, access: Option<&Access>) -> Told {
        let subject = access.and_then(|access| access.rights()?.subject());
        let subject = subject.and_then(|subject| {
            HeaderValue::from_str(&utf8_percent_encode(subject, HIDDEN).to_string()).ok()
        });
        let vary = match auth.has_cookie() {
            _ if !auth.is_on() => None,
            true => Some("Authorization, Cookie"),
            false => Some("Authorization"),
        };
        let mark = access.and_then(|access| access.rights()?.mark());
        Told { subject, mark, vary }
    }

    pub(super) fn tell(self, headers: &mut HeaderMap) {
        let Some(vary) = self.vary else { return };
        headers.append(header::VARY, HeaderValue::from_static(vary));
        if let Some(subject) = self.subject {
            headers.insert(SUBJECT, subject);
        }
        if let (Some(mark), Some(tag)) = (self.mark, headers.get(header::ETAG)) {
            let bare = tag.to_str().ok().and_then(|tag| tag.strip_suffix('"'));
            let marked = bare.and_then(|tag| format!("{tag}+{mark:016x}\"").parse().ok());
            marked.map(|tag: HeaderValue| headers.insert(header::ETAG, tag));
        }
        if headers.get(header::CACHE_CONTROL) == Some(&NO_CACHE) {
            headers.insert(header::CACHE_CONTROL, PRIVATE);
        }
    }
}

/// Leaves of the states that a client says it has those that were told to somebody who may read the
/// same. What others may read of the same state is something else.
pub(super) fn keep_marked(access: Option<&Access>, headers: &mut HeaderMap) {
    let Some(mark) = access.and_then(|access| access.rights()?.mark()) else { return };
    let mark = format!("+{mark:016x}");
    let tags = headers.get_all(header::IF_NONE_MATCH).iter();
    let tags = tags.filter_map(|tags| tags.to_str().ok()).flat_map(|tags| tags.split(','));
    let kept: Vec<&str> = tags.filter(|tag| tag.trim() == "*" || tag.contains(&mark)).collect();
    let kept = if kept.is_empty() { "\"\"".to_owned() } else { kept.join(",") };
    if headers.contains_key(header::IF_NONE_MATCH) {
        let kept = HeaderValue::from_str(&kept);
        headers.insert(header::IF_NONE_MATCH, kept.unwrap_or(HeaderValue::from_static("\"\"")));
    }
}

/// Checks that a page about the server's own state may be shown to whoever is told apart. Where
/// nobody is, whoever serves the page decides.
pub(super) fn may_see_page(access: Access, request: &Request<Body>) -> Result<Access, Problem> {
    let path = request.uri().path();
    let name = path.get(1..).and_then(|path| path.split('/').next());
    if access.rights().is_some() && name == Some("_console") {
        access.may_see_own(&Path::ROOT.child("_console"))?;
    }
    Ok(access)
}

/// True for the path at which tickets are made.
pub(super) fn is_ticket(path: &Path) -> bool {
    matches!(path.segments(), [auth, ticket] if &**auth == "_auth" && &**ticket == "ticket")
}

/// Makes a ticket for the URL of a stream or session: all that an `EventSource` can send.
pub(super) fn ticket(access: &Access) -> Answer {
    access.follow()?;
    access.is_not_by_query()?;
    let rights = access.rights();
    let rights = rights.ok_or_else(|| Problem::new(Kind::NotFound, "nobody is told apart here"))?;
    let ticket = rights.ticket()?;
    let json =
        format!("{{\"ticket\":\"{}\",\"expires_ms\":{}}}", ticket.reveal(), TICKET_SECONDS * 1000);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::OK, headers, json).into_response())
}
