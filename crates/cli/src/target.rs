//! URLs as a user types them.

use std::fmt;
use std::str::FromStr;

use halfping_client::{BaseError, Client};

/// A URL, taken apart into the server's address and the path on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Scheme, host and port.
    pub(crate) base: String,
    /// Path, and query if there is one. Begins with `/`.
    pub(crate) path: String,
}

impl Target {
    /// A client for the server that the URL names. It shows the token in `HALFPING_TOKEN`, which is
    /// no option because others can read the options of a process.
    pub(crate) fn client(&self) -> Result<Client, BaseError> {
        match std::env::var("HALFPING_TOKEN") {
            Ok(token) if !token.is_empty() => Client::with_token(&self.base, token.trim()),
            _ => Client::new(&self.base),
        }
    }

    /// The path of the value: without the query, and without a slash at its end.
    pub(crate) fn place(&self) -> &str {
        self.path.split('?').next().unwrap_or_default().trim_end_matches('/')
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if host.is_empty() {
            let path = if path.starts_with('/') { path } else { "/path" };
            return Err(format!("a URL has a host too: localhost:7070{path}?"));
        }
        if !matches!(scheme, "http" | "https") {
            return Err(format!("expected http:// or https://, not {scheme}://"));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Target { base: format!("{scheme}://{host}"), path: format!("{slash}{path}") })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.base, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_completed() {
        let check = |text: &str, base: &str, path: &str| {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.base.as_str(), target.path.as_str()), (base, path));
        };
        check("localhost:7070", "http://localhost:7070", "/");
        check("localhost:7070/a/b?depth=1", "http://localhost:7070", "/a/b?depth=1");
        check("https://h?watch", "https://h", "/?watch");
        check("http://[::1]:7070/", "http://[::1]:7070", "/");
        for wrong in ["", "/a", "http:///a", "ftp://h/a"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
