//! Who may: one value, made once for each request and asked wherever something is read, followed or written.

mod console;
mod host;
mod origin;

use std::net::SocketAddr;
use std::sync::Arc;

use halfping_engine::Path;
use http::{Method, Request, header};

use crate::problem::{Kind, Problem};

pub use console::Console;
use host::Host;
pub use host::{Hosts, NameError};
pub use origin::Cors;
use origin::Page;

/// What a listener lets in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) cors: Cors,
    pub(crate) console: Console,
    pub(crate) hosts: Hosts,
    pub(crate) read_only: bool,
}

impl Rules {
    /// The same with origins and names as they are compared. What could never match is told.
    pub(crate) fn canonical(self) -> Rules {
        let each = |texts: Vec<String>, canonical: fn(&str) -> Result<String, NameError>| {
            let one = |text: String| {
                canonical(&text).unwrap_or_else(|error| {
                    tracing::warn!("{error}: it lets nobody in");
                    text
                })
            };
            texts.into_iter().map(one).collect()
        };
        let cors = match self.cors {
            Cors::Origins(origins) => Cors::Origins(each(origins, Cors::origin)),
            cors => cors,
        };
        let hosts = match self.hosts {
            Hosts::Named(names) => Hosts::Named(each(names, Hosts::name)),
            hosts => hosts,
        };
        Rules { cors, hosts, ..self }
    }

    /// The same for a listener at an address.
    pub(crate) fn at(&self, address: SocketAddr) -> Rules {
        let hosts = match &self.hosts {
            Hosts::ByAddress if host::is_loopback(address.ip()) => Hosts::Named(Vec::new()),
            hosts => hosts.clone(),
        };
        Rules { hosts, ..self.clone() }
    }
}

/// What whoever sent a request may do. Cheap to clone, and small: every session has one.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// The page of another origin that sent it, if it was one and may not use the API.
    stranger: Option<Arc<String>>,
    read_only: bool,
    sees_own: bool,
    console: Console,
}

impl Access {
    /// Finds out, or refuses a request that is not for this server, or does not say for which. `/_health` is for all.
    pub(crate) fn of<B>(rules: &Rules, request: &Request<B>) -> Result<Access, Problem> {
        let host = Host::of(request)?;
        if let Some(host) = host.filter(|_| !asks_for_health(request)) {
            rules.hosts.check(host)?;
        }
        let headers = request.headers();
        // RFC 8441 asks by `CONNECT`. Pages cannot set headers that begin with `Sec-`.
        let is_handshake =
            *request.method() == Method::CONNECT || headers.contains_key(header::SEC_WEBSOCKET_KEY);
        let stranger = match Page::of(&rules.cors, headers, host, is_handshake)? {
            Page::Friend => None,
            Page::Stranger(origin) => Some(Arc::new(origin.unwrap_or("another origin").to_owned())),
        };
        Ok(Access {
            stranger,
            read_only: rules.read_only,
            sees_own: rules.console.is_open_for(headers, request.uri()),
            console: rules.console,
        })
    }

    /// Whether what is at a path may be seen.
    pub(crate) fn may_see(&self, path: &Path) -> Result<(), Problem> {
        if is_own(path) { self.may_see_console() } else { Ok(()) }
    }

    /// Whether the server's own state may be seen, and pages about it.
    pub(crate) fn may_see_console(&self) -> Result<(), Problem> {
        if self.sees_own { Ok(()) } else { Err(self.console.closed()) }
    }

    /// Whether something may be followed. A page that is not let in could not read what it gets, but it could have many streams open.
    pub(crate) fn may_subscribe(&self) -> Result<(), Problem> {
        self.is_no_stranger("follow anything here")
    }

    /// Whether something may be written.
    pub(crate) fn may_write(&self) -> Result<(), Problem> {
        self.is_no_stranger("write here")?;
        match self.read_only {
            false => Ok(()),
            true => Err(Problem::new(Kind::ReadOnly, "nothing can be written here")
                .hint("this server is read-only; ask whoever runs it")),
        }
    }

    /// The page of another origin that sent the request, if it was one and may not use the API.
    pub(crate) fn stranger(&self) -> Option<&str> {
        self.stranger.as_ref().map(|origin| origin.as_str())
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn is_no_stranger(&self, what: &str) -> Result<(), Problem> {
        let Some(origin) = &self.stranger else { return Ok(()) };
        Err(Problem::new(Kind::ForbiddenOrigin, format!("pages of {origin} may not {what}")).hint(
            "name the page's origin in the server's [cors] origins (--cors ORIGIN); if it is the server's own, let the proxy in front pass on \
             Host",
        ))
    }
}

/// Whether a request asks whether the server is well, which load balancers do by its address (PROTOCOL O15).
fn asks_for_health<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().path() == "/_health"
}

/// The name at the root beneath which the server's own state is read.
pub(crate) const OWN: &str = "_server";

/// Whether a path leads to the server's own state.
pub(crate) fn is_own(path: &Path) -> bool {
    path.segments().first().is_some_and(|name| &**name == OWN)
}
