//! Access to the server's own state, and to pages about it.

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

use super::host::Host;
use super::origin::Origin;
use crate::problem::{Kind, Problem};

/// Clients that may read the server's own state, `/_server` (PROTOCOL O5 to O8): addresses and
/// paths of everybody who is connected are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Console {
    /// Nobody. Nothing is kept for it either.
    #[default]
    Off,
    /// Clients that ask for this machine by one of its names for itself: `localhost`,
    /// `127.0.0.0/8`, `[::1]`. For a server that listens on such an address. A page of another site
    /// may not, not even if it makes a name of its own lead here (DNS rebinding). Behind a proxy on
    /// the same machine, clients that the proxy lets in may be taken for local ones.
    Loopback,
    /// Everybody who may read anything.
    On,
}

impl Console {
    /// True if it is open for a request with these headers to this target. Check this also before a
    /// page is served that shows it.
    pub fn is_open_for(self, headers: &HeaderMap, target: &Uri) -> bool {
        match self {
            Console::Off => false,
            Console::On => true,
            Console::Loopback => {
                let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
                let mut names =
                    host.into_iter().chain(target.authority().map(Authority::as_str)).peekable();
                names.peek().is_some()
                    && names.all(|name| Host::parse(name).is_some_and(Host::is_localhost))
                    && comes_from_loopback(headers)
            }
        }
    }

    /// The same for a request whose `Host` and target name one host, if they name any.
    pub(super) fn is_open_at(self, host: Option<Host<'_>>, headers: &HeaderMap) -> bool {
        match self {
            Console::Off => false,
            Console::On => true,
            Console::Loopback => {
                host.is_some_and(Host::is_localhost) && comes_from_loopback(headers)
            }
        }
    }

    /// The problem for a client that may not see it: nothing is there, and what would have to
    /// change.
    pub(super) fn closed(self) -> Problem {
        let problem = Problem::new(
            Kind::NotFound,
            "the server does not show its own state, nor the console, here",
        );
        problem.hint(match self {
            Console::Loopback => {
                "it shows them to requests for localhost only, and not to pages of other sites; `halfping serve --console on` shows them to everybody who may \
                 read"
            }
            _ => "`halfping serve --console on` shows them, or [console] enabled = true; in a program, Options::console",
        })
    }
}

/// True if no page sent a request, or one that this machine serves.
fn comes_from_loopback(headers: &HeaderMap) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = Origin::parse(origin.to_str().unwrap_or_default());
        origin.is_some_and(|origin| origin.host.is_localhost())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_a_page_from_elsewhere_closes_what_is_open_to_loopback() {
        let open = |console: Console, target: &str, fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            console.is_open_for(&headers, &target.parse().unwrap())
        };
        use Console::{Loopback, Off, On};
        assert!(open(Loopback, "/_server", &[("host", "localhost:7070")]));
        assert!(open(Loopback, "http://127.0.0.1:7070/_server", &[]), "HTTP/2");
        assert!(!open(Loopback, "http://evil.example/_server", &[("host", "localhost")]));
        assert!(!open(Loopback, "/_server", &[]), "HTTP/1.0 without a word of it");
        assert!(!open(Loopback, "/_server", &[("host", "evil.example:7070")]));
        let page =
            |origin| open(Loopback, "/_server", &[("host", "localhost:7070"), ("origin", origin)]);
        assert!(page("http://localhost:7070") && page("http://127.0.0.1:5173"));
        assert!(!page("https://evil.example") && !page("null"));
        assert!(open(On, "/_server", &[("host", "evil.example")]));
        assert!(!open(Off, "/_server", &[("host", "localhost")]));
    }
}
