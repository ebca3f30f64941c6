//! Access: the rights of a request's sender. One value, made once for each request.
//!
//! There are three ways into the tree: to read, to follow and to write. Each takes only what an
//! [`Access`] has allowed (see `allowed.rs`), so nothing has to be checked anywhere else.

mod allowed;
mod console;
mod host;
mod named;
mod origin;

use std::net::SocketAddr;
use std::sync::Arc;

use halfping_engine::{Path, Watch};
use http::{Method, Request, header};

use crate::problem::{Kind, Problem};
use crate::shape::{Extent, Shape};

pub(crate) use allowed::{Allowed, Follower, Writable};
pub use console::Console;
use host::Host;
pub use host::{Hosts, NameError};
pub use named::{NamedView, NamedViewError, NamedViews};
pub use origin::Cors;
use origin::Page;

/// Rules for the requests that a listener lets in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) cors: Cors,
    pub(crate) console: Console,
    pub(crate) hosts: Hosts,
    pub(crate) read_only: bool,
    pub(crate) views: NamedViews,
}

impl Rules {
    /// The rules with origins and names as they are compared. One that could never match is logged.
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

    /// The rules for a listener at an address.
    pub(crate) fn at(&self, address: SocketAddr) -> Rules {
        let hosts = match &self.hosts {
            Hosts::ByAddress if host::is_loopback(address.ip()) => Hosts::Named(Vec::new()),
            hosts => hosts.clone(),
        };
        Rules { hosts, ..self.clone() }
    }
}

/// The rights of a request's sender. Cheap to clone, and small: every session has one.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// The page of another origin that sent it, if it was one and may not use the API.
    stranger: Option<Arc<String>>,
    read_only: bool,
    sees_own: bool,
    console: Console,
    views: NamedViews,
    /// True for the program that has the API, which may do all that the engine can.
    is_program: bool,
}

impl Access {
    /// The access of a request. Refuses one that is not for this server, or does not say for which.
    /// `/_health` is for all.
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
            sees_own: rules.console.is_open_at(host, headers),
            console: rules.console,
            views: rules.views.clone(),
            is_program: false,
        })
    }

    /// The access of the program that has the API.
    pub(crate) fn of_program(views: NamedViews) -> Access {
        let (stranger, console) = (None, Console::default());
        Access { stranger, read_only: false, sees_own: true, console, views, is_program: true }
    }

    /// A path to read at, and the part to read there. A name of the server's own that is not there
    /// gets just that for an answer (PROTOCOL P4).
    pub(crate) fn read(
        &self,
        path: Path,
        shape: &Shape,
    ) -> Result<(Allowed<Path>, Extent), Problem> {
        let (path, shape) = self.views.resolve(path, shape)?;
        match own_name(&path) {
            _ if self.is_program => {}
            Some(OWN) => self.may_see_console()?,
            Some(_) => {
                let detail = format!("there is nothing of the server's own to read at {path}");
                let problem = Problem::new(Kind::NotFound, detail);
                return Err(problem
                    .hint("it has /_server; /_health and /_metrics are read with a plain GET"));
            }
            None => {}
        }
        Ok((Allowed::new(path), shape.extent()?))
    }

    /// The right to follow. A page that is not let in could not read what it gets, but it could
    /// have many streams open.
    pub(crate) fn follow(&self) -> Result<Follower, Problem> {
        self.is_no_stranger("follow anything here")?;
        Ok(Follower::new(self.clone()))
    }

    /// A link to be opened.
    fn watch(&self, path: Path, shape: &Shape) -> Result<Allowed<Watch>, Problem> {
        let (path, shape) = self.views.resolve(path, shape)?;
        match own_name(&path) {
            _ if self.is_program => {}
            Some(OWN) => self.may_see_console()?,
            Some(_) => return Err(reserved(&path)),
            None => {}
        }
        Ok(Allowed::new(shape.watch(path)?))
    }

    /// A path to write at.
    pub(crate) fn write(&self, path: Path) -> Result<Writable, Problem> {
        self.writable(path, |_| Ok(()))
    }

    /// A path to make something new beneath.
    pub(crate) fn create(&self, path: Path) -> Result<Writable, Problem> {
        self.writable(path, is_no_streams)
    }

    fn writable(
        &self,
        path: Path,
        check: fn(&Path) -> Result<(), Problem>,
    ) -> Result<Writable, Problem> {
        self.is_no_stranger("write here")?;
        check(&path)?;
        if self.read_only {
            return Err(Problem::new(Kind::ReadOnly, "nothing can be written here")
                .hint("this server is read-only; ask whoever runs it"));
        }
        self.views.may_write(&path)?;
        match own_name(&path) {
            Some(_) if !self.is_program => Err(reserved(&path)),
            _ => Ok(Writable::new(path)),
        }
    }

    /// True if a path is only read: nobody may write there.
    pub(crate) fn is_only_read(&self, path: &Path) -> bool {
        self.read_only || self.views.may_write(path).is_err()
    }

    /// Checks that the server's own state, and pages about it, may be seen.
    pub(crate) fn may_see_console(&self) -> Result<(), Problem> {
        if self.sees_own { Ok(()) } else { Err(self.console.closed()) }
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

/// True if a request asks for the server's health, which load balancers do by its address (PROTOCOL
/// O15).
fn asks_for_health<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().path() == "/_health"
}

/// The name at the root beneath which the server's own state is read.
pub(crate) const OWN: &str = "_server";

/// True if a path leads to the server's own state.
pub(crate) fn is_own(path: &Path) -> bool {
    own_name(path) == Some(OWN)
}

/// The first name of a path, if it is one of the server's own.
pub(crate) fn own_name(path: &Path) -> Option<&str> {
    path.segments().first().map(|name| &**name).filter(|name| name.starts_with('_'))
}

/// Refuses `_streams` beneath another path: a client that posts there wants to read (PROTOCOL P9).
fn is_no_streams(path: &Path) -> Result<(), Problem> {
    if path.segments().last().is_none_or(|name| &**name != "_streams") {
        return Ok(());
    }
    let detail = format!("nothing is posted to {path}: only the root of the API has _streams");
    Err(Problem::new(Kind::ReservedPath, detail)
        .hint("the API begins at another path: give the client the URL of its root"))
}

fn reserved(path: &Path) -> Problem {
    Problem::new(Kind::ReservedPath, format!("{path} is the server's own"))
}

#[cfg(test)]
mod tests {
    use halfping_engine::Limits;

    use super::*;

    fn names(problem: Result<(), Problem>) -> &'static str {
        problem.map_or_else(|problem| problem.kind().name(), |()| "allowed")
    }

    #[test]
    fn names_of_the_server_are_neither_read_nor_followed_nor_written() {
        let client = Access { is_program: false, ..Access::of_program(NamedViews::default()) };
        let access = Access { sees_own: false, ..client.clone() };
        let follower = access.follow().unwrap();
        for (text, read, followed, written, created) in [
            ("/", "allowed", "allowed", "allowed", "allowed"),
            ("/a/_b", "allowed", "allowed", "allowed", "allowed"),
            ("/_x", "not-found", "reserved-path", "reserved-path", "reserved-path"),
            ("/_streams", "not-found", "reserved-path", "reserved-path", "reserved-path"),
            ("/a/_streams", "allowed", "allowed", "allowed", "reserved-path"),
            ("/_server", "not-found", "not-found", "reserved-path", "reserved-path"),
            ("/_server/a", "not-found", "not-found", "reserved-path", "reserved-path"),
        ] {
            let path = Path::parse(text, &Limits::default()).unwrap();
            let all = Shape::default();
            assert_eq!(names(access.read(path.clone(), &all).map(drop)), read, "read {text}");
            let watch = follower.watch(path.clone(), &all);
            assert_eq!(names(watch.map(drop)), followed, "follow {text}");
            assert_eq!(names(access.write(path.clone()).map(drop)), written, "write {text}");
            assert_eq!(names(access.create(path).map(drop)), created, "create beneath {text}");
        }
        let path = Path::parse("/_server", &Limits::default()).unwrap();
        assert!(client.read(path, &Shape::default()).is_ok(), "it is let in");
    }

    #[test]
    fn strangers_may_read_only_and_nobody_writes_where_all_is_read_only() {
        let path = Path::parse("/a", &Limits::default()).unwrap();
        let stranger = Some(Arc::new("http://evil.example".to_owned()));
        let client = Access { is_program: false, ..Access::of_program(NamedViews::default()) };
        let stranger = Access { stranger, ..client.clone() };
        let read = stranger.read(path.clone(), &Shape::default());
        assert_eq!(names(read.map(drop)), "allowed");
        assert_eq!(names(stranger.follow().map(drop)), "forbidden-origin");
        assert_eq!(names(stranger.write(path.clone()).map(drop)), "forbidden-origin");
        assert_eq!(names(stranger.create(path.clone()).map(drop)), "forbidden-origin");
        let streams = Path::parse("/a/_streams", &Limits::default()).unwrap();
        assert_eq!(names(stranger.create(streams.clone()).map(drop)), "forbidden-origin");

        let read_only = Access { read_only: true, ..client };
        assert_eq!(names(read_only.follow().map(drop)), "allowed");
        assert_eq!(names(read_only.write(path.clone()).map(drop)), "read-only");
        assert_eq!(names(read_only.create(path).map(drop)), "read-only");
        assert_eq!(names(read_only.create(streams).map(drop)), "reserved-path");
    }

    #[test]
    fn what_a_view_is_of_is_checked_and_nothing_is_written_to_a_view() {
        // PROTOCOL Q16
        let path = |text: &str| Path::parse(text, &Limits::default()).unwrap();
        let view = |path: &str, from: &str| NamedView {
            path: path.to_owned(),
            from: from.to_owned(),
            ..NamedView::default()
        };
        let views = [view("/own", "/_server/sessions"), view("/top", "/v")];
        let program = Access::of_program(NamedViews::new(&views, &Limits::default()).unwrap());
        let client = Access { is_program: false, sees_own: false, ..program.clone() };
        let all = Shape::default();
        assert_eq!(names(client.read(path("/own"), &all).map(drop)), "not-found");
        let follower = client.follow().unwrap();
        assert_eq!(names(follower.watch(path("/own"), &all).map(drop)), "not-found");
        assert_eq!(program.read(path("/own"), &all).unwrap().0.to_string(), "/_server/sessions");
        for access in [client, program] {
            assert_eq!(access.read(path("/top"), &all).unwrap().0.to_string(), "/v");
            for text in ["/top", "/top/a"] {
                assert_eq!(names(access.write(path(text)).map(drop)), "read-only");
                assert_eq!(names(access.create(path(text)).map(drop)), "read-only");
                assert!(access.is_only_read(&path(text)));
            }
            let beneath = access.read(path("/top/a/b"), &all).unwrap_err();
            assert!(String::from_utf8(beneath.to_json()).unwrap().contains("read /v/a/b"));
            assert!(!access.is_only_read(&path("/")));
        }
    }
}
