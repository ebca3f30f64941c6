//! Pages of other origins, and which of them may use the API.

use http::{HeaderMap, header};

use super::host::{Host, NameError, never_a_host};
use crate::problem::{Kind, Problem};

/// Header in which browsers tell where a request comes from, in relation to where it goes. No page
/// can set it.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Origins whose pages may use the API from a browser.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Cors {
    /// Only pages that the same origin served.
    #[default]
    None,
    /// Also pages of loopback origins, whatever their port: those of other programs that are
    /// developed or run on this machine.
    Loopback,
    /// Pages of any origin. It lets any page that a person has open read and write.
    Any,
    /// Pages of these origins, such as `https://app.example.org`.
    Origins(Vec<String>),
}

impl Cors {
    /// An origin as browsers write it, from one that means the same: `HTTPS://A.example:443` is
    /// `https://a.example`.
    pub fn origin(text: &str) -> Result<String, NameError> {
        let wrong = |why| NameError {
            text: text.to_owned(),
            what: "an origin, such as https://a.example",
            why,
        };
        let (scheme, rest) = text.split_once("://").ok_or(wrong("it begins with no scheme"))?;
        let scheme = scheme.to_ascii_lowercase();
        if let Some(why) = never_a_host(rest) {
            return Err(wrong(why));
        }
        let usual_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            // An application's own scheme: the application decides what follows.
            _ if scheme.is_empty()
                || rest.is_empty()
                || rest.contains(['/', '@', '?', '#', ' ']) =>
            {
                return Err(wrong("a host follows the scheme, perhaps a port, and nothing else"));
            }
            _ => return Ok(format!("{scheme}://{rest}")),
        };
        let host = Host::parse(rest)
            .ok_or(wrong("a host follows the scheme, perhaps a port, and nothing else"))?;
        let port = host.port.filter(|port| *port != usual_port);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(format!("{scheme}://{}{port}", host.canonical_name()))
    }

    /// True if pages of an origin may use the API although it is not the server's own.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        match self {
            Cors::None => false,
            Cors::Loopback => Origin::parse(origin).is_some_and(|origin| origin.host.is_loopback()),
            Cors::Any => true,
            Cors::Origins(origins) => origins.iter().any(|known| known == origin),
        }
    }
}

/// The page that sent a request.
pub(super) enum Page<'a> {
    /// None that could do harm: the server's own, one that may use the API, or no page at all.
    Friend,
    /// One that may not use the API: its origin, if the browser tells.
    Stranger(Option<&'a str>),
}

impl<'a> Page<'a> {
    /// The page, by what the browser says.
    ///
    /// `Sec-Fetch-Site: same-origin` is the browser's own comparison, of the address that the
    /// person sees: it holds through proxies that change `Host`. `same-site` is another origin: a
    /// sister domain, or another port of this machine. Browsers leave the field out when they speak
    /// to other machines without TLS, and differ in what they put there for a WebSocket. Then
    /// `Origin`, which comes with each request that is not a plain `GET`, is compared with `Host`.
    pub(super) fn of(
        cors: &Cors,
        headers: &'a HeaderMap,
        host: Option<Host<'_>>,
        is_handshake: bool,
    ) -> Result<Page<'a>, Problem> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (origin, another) = (origins.next(), origins.next());
        if another.is_some() {
            return Err(Problem::new(Kind::BadHeader, "a request has at most one Origin"));
        }
        let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
        if headers.contains_key(SEC_FETCH_SITE) && sites.all(|site| site == "same-origin") {
            return Ok(Page::Friend);
        }
        // `none` is a person, who typed an address or opened a bookmark.
        let is_elsewhere = headers.get(SEC_FETCH_SITE).is_some_and(|site| site != "none");
        let origin = origin.map(|origin| origin.to_str().unwrap_or_default());
        let is_friend = match origin {
            _ if *cors == Cors::Any => true,
            None => !is_elsewhere,
            Some(origin) if cors.allows(origin) => true,
            Some(_) if is_elsewhere && !is_handshake => false,
            Some(origin) => {
                Origin::parse(origin).zip(host).is_some_and(|(origin, host)| origin.is_of(host))
            }
        };
        Ok(if is_friend { Page::Friend } else { Page::Stranger(origin) })
    }
}

/// Checks that a browser tells which page sent a request that has a cookie: any page can have one
/// sent. The page itself is checked by [`Page::of`].
pub(super) fn is_proven(headers: &HeaderMap) -> Result<(), Problem> {
    let is_ours = headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin");
    if is_ours || headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let detail = "a cookie without Origin is not enough to write, or to open a session";
    Err(Problem::new(Kind::ForbiddenOrigin, detail)
        .hint("a program sends Authorization: Bearer TOKEN instead"))
}

/// An origin of the web, which serves pages.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The default port of the scheme.
    usual_port: u16,
    pub(super) host: Host<'a>,
}

impl<'a> Origin<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Origin<'a>> {
        let (scheme, host) = text.split_once("://")?;
        let usual_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        Some(Origin { usual_port, host: Host::parse(host)? })
    }

    /// True if it is the origin of a server that is asked for as `host`. A proxy in front may speak
    /// TLS, so the scheme is the origin's own; the port has to fit it: one that `Host` leaves out
    /// is that of the scheme.
    fn is_of(self, host: Host<'_>) -> bool {
        let port = self.host.port.unwrap_or(self.usual_port);
        port == host.port.unwrap_or(self.usual_port) && self.host.is_same_name(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_servers_own_with_scheme_host_and_port() {
        let is_own = |origin, host| {
            Origin::parse(origin)
                .zip(Host::parse(host))
                .is_some_and(|(origin, host)| origin.is_of(host))
        };
        for (origin, host) in [
            ("http://a", "a"),
            ("https://a", "a"),
            ("http://a", "A:80"),
            ("https://a", "a:443"),
            ("http://a:7070", "a:7070"),
            ("https://a:8443", "a:8443"),
            ("http://[::1]:1", "[::1]:1"),
            ("http://a", "a:"),
        ] {
            assert!(is_own(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://a", "a:443"),
            ("https://a", "a:80"),
            ("http://a:443", "a"),
            ("https://a:80", "a"),
            ("http://a:443", "a:80"),
            ("http://a:7070", "a"),
            ("http://a", "a:7070"),
            ("http://b", "a"),
            ("http://a.", "a"),
            ("null", "a"),
            ("file://", "a"),
            ("capacitor://a", "a"),
            ("HTTP://a", "a"),
            ("http://a/", "a"),
            ("http://a http://b", "a"),
            ("http://x@a", "a"),
            ("", "a"),
        ] {
            assert!(!is_own(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for (text, expect) in [
            ("https://a.example", "https://a.example"),
            ("HTTPS://X.org", "https://x.org"),
            ("https://z.org:443", "https://z.org"),
            ("http://z.org:80", "http://z.org"),
            ("http://z.org:443", "http://z.org:443"),
            ("http://LOCALHOST:3000", "http://localhost:3000"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(Cors::origin(text).as_deref().ok(), Some(expect), "{text}");
        }
        for (text, why) in [
            ("https://*.y.org", "no patterns"),
            ("https://bücher.example", "xn--"),
            ("a.example", "no scheme"),
            ("null", "no scheme"),
            ("https://a/", "nothing else"),
            ("https://user@a", "nothing else"),
            ("https://", "nothing else"),
            ("https://a:99999", "nothing else"),
            ("https://127.1", "four numbers"),
        ] {
            let error = Cors::origin(text).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(why), "{error}");
        }
    }

    #[test]
    fn loopback_origins_are_pages_of_this_machine() {
        for ours in [
            "http://localhost:5173",
            "https://127.0.0.1",
            "http://[::1]:1",
            "http://app.localhost:3000",
        ] {
            assert!(Cors::Loopback.allows(ours), "{ours}");
        }
        for not_ours in [
            "null",
            "",
            "http://localhost.evil.example",
            "capacitor://localhost",
            "localhost",
            "http://192.168.0.1",
        ] {
            assert!(!Cors::Loopback.allows(not_ours), "{not_ours}");
        }
    }
}
