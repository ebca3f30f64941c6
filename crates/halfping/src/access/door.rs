//! The door: what a request says of its sender, and whether it is for this server at all.

use std::net::IpAddr;

use halfping_credentials::Shown;
use halfping_engine::Limits;
use http::{Method, Request, header};

use super::host::Host;
use super::origin::{self, Page};
use super::{Access, Cors, Rules, Sender, open};
use crate::auth::{Auth, Begin, Found, Question};
use crate::problem::Problem;

/// A request at the door.
pub(crate) enum Door {
    /// It is let in.
    Open(Access),
    /// Somebody has to be asked who sends it.
    Waits(Box<Waits>),
}

/// A request that is let in once its sender is known.
pub(crate) struct Waits {
    access: Access,
    stranger: Option<String>,
    question: Box<Question>,
}

impl Waits {
    /// The access of the request, once somebody has said who sends it.
    pub(crate) async fn ask(self, auth: &Auth) -> Result<Access, Problem> {
        let Waits { access, stranger, question } = self;
        let rights = auth.ask(*question).await?;
        Ok(Access { sender: Sender::of(stranger.as_deref(), rights), ..access })
    }
}

impl Access {
    /// The access of a request. Refuses one that is not for this server, or does not say for which,
    /// and one with a credential that is not good. `/_health` and pages are for all. `shown`: the
    /// credential that was taken out of the request. `peer`: the address that it came from, if that
    /// is known; it may be a proxy's.
    pub(crate) fn of<B>(
        rules: &Rules,
        limits: &Limits,
        request: &Request<B>,
        shown: &Result<Option<Shown>, Problem>,
        peer: Option<IpAddr>,
    ) -> Result<Door, Problem> {
        let host = Host::of(request)?;
        if let Some(host) = host.filter(|_| !open::asks_for_health(request)) {
            rules.hosts.check(host)?;
        }
        let headers = request.headers();
        // RFC 8441 asks by `CONNECT`. Pages cannot set headers that begin with `Sec-`.
        let is_handshake =
            *request.method() == Method::CONNECT || headers.contains_key(header::SEC_WEBSOCKET_KEY);
        let is_open = open::asks_for_health(request)
            || open::asks_for_page(request)
            || *request.method() == Method::OPTIONS;
        let shown = match shown {
            _ if is_open => None,
            Ok(shown) => shown.as_ref(),
            Err(problem) => return Err(problem.clone()),
        };
        let by_cookie = matches!(shown, Some(Shown::Cookie(_)))
            || !is_open && rules.auth.asks_about_cookie(shown, headers);
        let by_browser = by_cookie || !is_open && rules.auth.asks_browser(shown, headers);
        // A browser adds a cookie to what any page sends, so only origins that are named count.
        let cors = match &rules.cors {
            Cors::Any | Cors::Loopback if by_browser => &Cors::None,
            cors => cors,
        };
        let stranger = match Page::of(cors, headers, host, is_handshake)? {
            Page::Friend => None,
            Page::Stranger(origin) => Some(origin.unwrap_or("another origin")),
        };
        if by_cookie && (is_handshake || !request.method().is_safe()) {
            origin::is_proven(headers)?;
        }
        let by_query = matches!(shown, Some(Shown::Query(_) | Shown::Ticket(_)));
        let found = match is_open {
            true => Found::Known(rules.auth.nobody()),
            false => {
                let begins = is_handshake || begins_session(request);
                let begin = if begins { Begin::Session } else { Begin::Request };
                rules.auth.find(shown, request, peer, begin, limits.auth_timeout_ms)?
            }
        };
        let access = Access {
            sender: None,
            read_only: rules.read_only,
            closed: rules.closed,
            sees_own: rules.console.is_open_at(host, headers),
            console: rules.console,
            views: rules.views.clone(),
            is_program: false,
            by_query,
        };
        Ok(match found {
            Found::Known(rights) => {
                Door::Open(Access { sender: Sender::of(stranger, rights), ..access })
            }
            Found::Unknown(question) => {
                let stranger = stranger.map(str::to_owned);
                Door::Waits(Box::new(Waits { access, stranger, question }))
            }
        })
    }
}

/// True if a request opens a session that may say later who speaks.
fn begins_session<B>(request: &Request<B>) -> bool {
    *request.method() == Method::POST && request.uri().path() == "/_streams"
}
