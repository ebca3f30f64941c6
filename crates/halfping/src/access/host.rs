//! The names under which a server is asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{Request, Version, header};

use crate::problem::{Kind, Problem};

/// Names under which a server may be asked for: requests for others are refused (PROTOCOL O10).
///
/// A page of another site can make a name of its own lead to this machine (DNS rebinding). Its
/// browser then takes the two for one origin, and only `Host` shows that they are not.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Hosts {
    /// Loopback names and addresses where a [`Server`](crate::Server) listens on a loopback
    /// address; any elsewhere, and for a [router](crate::Api::router) that is mounted in another
    /// server.
    #[default]
    ByAddress,
    /// Any name.
    Any,
    /// These names, without ports, and loopback names and addresses: those lead nowhere but to this
    /// machine.
    Named(Vec<String>),
}

/// A text that names no host, or no origin, that a request could ever have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not {what}: {why}")]
pub struct NameError {
    pub(super) text: String,
    pub(super) what: &'static str,
    pub(super) why: &'static str,
}

/// The reason why no browser could ever mean this host, if there is one that can be told.
pub(super) fn never_a_host(text: &str) -> Option<&'static str> {
    let name = text.split(':').next().unwrap_or_default().trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number =
        last.starts_with("0x") || !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    if text.contains('*') {
        Some("there are no patterns; name each that is meant")
    } else if !text.is_ascii() {
        Some("browsers write such names in ASCII, beginning with xn--")
    } else if is_number && name.parse::<Ipv4Addr>().is_err() {
        Some("browsers write an IPv4 address with four numbers")
    } else {
        None
    }
}

impl Hosts {
    /// A name as requests are compared with it, from one that means the same: without a port, an
    /// IPv6 address in brackets.
    pub fn name(text: &str) -> Result<String, NameError> {
        let what = "the name of a host, such as app.example.org";
        let wrong = |why| NameError { text: text.to_owned(), what, why };
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(format!("[{address}]"));
        }
        if text.contains('/') {
            return Err(wrong("a host has no scheme and no path"));
        }
        if let Some(why) = never_a_host(text) {
            return Err(wrong(why));
        }
        match Host::parse(text) {
            Some(host) if host.name.len() == text.len() => Ok(host.canonical_name()),
            Some(_) => Err(wrong("leave out the port: any is meant")),
            None => Err(wrong("it is neither a name nor an address")),
        }
    }

    pub(super) fn check(&self, host: Host<'_>) -> Result<(), Problem> {
        let is_known = match self {
            Hosts::ByAddress | Hosts::Any => true,
            Hosts::Named(names) => {
                host.is_loopback() || names.iter().any(|name| host.is_named(name))
            }
        };
        if is_known {
            return Ok(());
        }
        let name = host.name;
        let problem = Problem::new(
            Kind::MisdirectedRequest,
            format!("this server does not go by the name {name}"),
        );
        Err(problem.hint(format!(
            "if it should: --allowed-host {name} (HALFPING_ALLOWED_HOSTS), allowed_hosts in the configuration, or Options::hosts in a \
             program; a proxy in front passes on the name that it was asked by"
        )))
    }
}

/// A host and perhaps a port, as in `Host`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host<'a> {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    name: &'a str,
    address: Option<IpAddr>,
    pub(super) port: Option<u16>,
}

impl<'a> Host<'a> {
    /// The server that a request asks for. `None` when it does not say, as HTTP/1.0 allows; no
    /// browser does that.
    pub(super) fn of<B>(request: &'a Request<B>) -> Result<Option<Host<'a>>, Problem> {
        let mut fields = request.headers().get_all(header::HOST).iter();
        let (field, another) = (fields.next(), fields.next());
        if another.is_some() || (field.is_none() && request.version() == Version::HTTP_11) {
            return Err(Problem::new(Kind::BadHeader, "a request has exactly one Host"));
        }
        let bad = |text: &str| {
            let detail = format!("{text:?} is no host: a name or an address, and perhaps a port");
            Problem::new(Kind::BadHeader, detail)
        };
        let parse = |text: &'a str| Host::parse(text).ok_or_else(|| bad(text));
        let field = field
            .map(|field| field.to_str().map_err(|_| bad("Host")).and_then(parse))
            .transpose()?;
        let target = request.uri().authority().map(|target| parse(target.as_str())).transpose()?;
        match (field, target) {
            (Some(field), Some(target)) if !field.is_same(target) => {
                Err(Problem::new(Kind::BadHeader, "Host and the request's target name two servers"))
            }
            _ => Ok(target.or(field)),
        }
    }

    pub(super) fn parse(text: &'a str) -> Option<Host<'a>> {
        let name_len = match text.strip_prefix('[') {
            Some(rest) => rest.find(']')? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (name, port) = text.split_at(name_len);
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some("") => None,
            // `parse` would take a sign.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        let host = Host { name, address: address(name), port };
        let is_name = || {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        (host.address.is_some() || is_name()).then_some(host)
    }

    /// True for the same host, and no port that differs. A port left out may be that of either
    /// scheme.
    fn is_same(self, other: Host<'_>) -> bool {
        let usual = |port: Option<u16>| port.is_none_or(|port| port == 80 || port == 443);
        let same_port = self.port == other.port
            || (self.port.is_none() || other.port.is_none())
                && usual(self.port)
                && usual(other.port);
        same_port && self.is_same_name(other)
    }

    pub(super) fn is_same_name(self, other: Host<'_>) -> bool {
        self.name.eq_ignore_ascii_case(other.name)
    }

    /// The name in small letters, or the address as it is usually written.
    pub(super) fn canonical_name(self) -> String {
        match self.address {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.name.to_ascii_lowercase(),
        }
    }

    fn is_named(self, name: &str) -> bool {
        if let (Some(ours), Some(theirs)) =
            (self.address, Host::parse(name).and_then(|host| host.address))
        {
            return ours == theirs;
        }
        let plain = |name: &'_ str| name.strip_suffix('.').unwrap_or(name).len();
        let (ours, theirs) = (&self.name[..plain(self.name)], &name[..plain(name)]);
        ours.eq_ignore_ascii_case(theirs)
    }

    /// True if it can be nothing but this machine: a loopback address, `localhost`, or a name
    /// beneath that.
    pub(super) fn is_loopback(self) -> bool {
        let name = self.name.strip_suffix('.').unwrap_or(self.name);
        let beneath = name.len().checked_sub(".localhost".len()).and_then(|at| name.get(at..));
        self.address.is_some_and(is_loopback)
            || name.eq_ignore_ascii_case("localhost")
            || beneath
                .is_some_and(|end| end.eq_ignore_ascii_case(".localhost") && name.len() > end.len())
    }

    /// True in the narrower sense of that: `localhost` itself, or a loopback address as it is
    /// usually written.
    pub(super) fn is_localhost(self) -> bool {
        self.name.eq_ignore_ascii_case("localhost")
            || self.address.is_some_and(|ip| ip.is_loopback())
    }
}

/// The address that stands in place of a name, if one does.
fn address(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => name.parse::<Ipv4Addr>().ok().map(IpAddr::from),
    }
}

/// True if an address leads to this machine alone, also for an IPv4 address as IPv6 writes it.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for (text, port) in [
            ("a", None),
            ("a:", None),
            ("A.example.:80", Some(80)),
            ("my_service-1:00080", Some(80)),
            ("xn--bcher-kva.example", None),
            ("127.0.0.1:65535", Some(65535)),
            ("[::1]", None),
            ("[FE80::1]:1", Some(1)),
        ] {
            assert_eq!(Host::parse(text).unwrap().port, port, "{text}");
        }
        for text in [
            "",
            ":80",
            "a b",
            "a,b",
            "user@a",
            "user:1@a",
            "a/b",
            "a?b",
            "a:b",
            "a:+1",
            "a:65536",
            "a:80:80",
            "a%41",
            "bücher.example",
            "::1",
            "[::1",
            "[::1]a",
            "[a]",
            "[]",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
        ] {
            assert!(Host::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn loopback_has_few_names() {
        let host = |text| Host::parse(text).unwrap();
        for ours in [
            "localhost",
            "LOCALHOST:7070",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:7070",
            "localhost:",
        ] {
            assert!(host(ours).is_loopback() && host(ours).is_localhost(), "{ours}");
        }
        for ours in ["localhost.", "a.localhost", "a.b.LOCALHOST.:1", "[::ffff:127.0.0.1]"] {
            assert!(host(ours).is_loopback() && !host(ours).is_localhost(), "{ours}");
        }
        for not_ours in [
            "localhost.example.org",
            "notlocalhost",
            ".localhost",
            "localhost..",
            "127.0.0.1.nip.io",
            "127.0.0.1.",
            "127.1",
            "2130706433",
            "0x7f.1",
            "128.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::2]",
            "[::ffff:8.8.8.8]",
        ] {
            assert!(!host(not_ours).is_loopback() && !host(not_ours).is_localhost(), "{not_ours}");
        }
    }

    #[test]
    fn names_are_refused_that_no_request_has() {
        for (text, expect) in [
            ("App.Example", "app.example"),
            ("a.example.", "a.example."),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "[::1]"),
            ("[FE80:0::1]", "[fe80::1]"),
        ] {
            assert_eq!(Hosts::name(text).as_deref().ok(), Some(expect), "{text}");
        }
        for (text, why) in [
            ("a:80", "leave out the port"),
            ("[::1]:80", "leave out the port"),
            ("https://a", "no scheme"),
            ("a/b", "no path"),
            ("*.a.example", "no patterns"),
            ("bücher.example", "xn--"),
            ("10.1", "four numbers"),
            ("", "neither"),
            ("a b", "neither"),
        ] {
            let error = Hosts::name(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_compared_without_case_port_and_last_dot() {
        let hosts = Hosts::Named(vec!["app.example".to_owned(), "10.0.0.1".to_owned()]);
        for known in ["app.example", "APP.example.:80", "10.0.0.1:7070", "localhost:1", "127.0.0.1"]
        {
            assert!(hosts.check(Host::parse(known).unwrap()).is_ok(), "{known}");
        }
        let six = Hosts::Named(vec!["[FE80:0::1]".to_owned()]);
        assert!(six.check(Host::parse("[fe80::1]:80").unwrap()).is_ok());
        for unknown in
            ["app.example.org", "xapp.example", "x.app.example", "10.0.0.2", "app.example.."]
        {
            assert!(hosts.check(Host::parse(unknown).unwrap()).is_err(), "{unknown}");
        }
    }
}
