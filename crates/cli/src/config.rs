//! The configuration file.

mod auth;
mod hints;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use halfping::{
    Auth, AuthConfig, Console, Cors, Forward, Hosts, Limits, NamedView, NamedViewError, NamedViews,
    Options, Pattern,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, de};
use toml::de::{DeTable, DeValue};

pub(crate) use self::auth::key_files;
pub(crate) use self::hints::nearest;
use self::hints::{
    at_setting, is_limit, meant_host, meant_origin, sections_are_tables, unknown_name, unreadable,
    with_meant,
};
use crate::report::{Blame, Failure};
use crate::units;

/// The address of a port that is given alone.
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Settings of access from the command line. Settings that it leaves out come from the file.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    /// Allowed origins; `*` for any, `none` for none.
    pub(crate) cors: &'a [String],
    /// Allowed host names; `*` for any.
    pub(crate) hosts: &'a [String],
    pub(crate) console: Option<bool>,
    pub(crate) read_only: bool,
    /// True if everybody may write who reaches the server from elsewhere.
    pub(crate) open: bool,
}

/// The content of a configuration file. Settings that it leaves out keep their defaults.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Address to listen on.
    #[serde(deserialize_with = "listen")]
    pub(crate) listen: Option<SocketAddr>,
    /// Directory of the state.
    pub(crate) data: Option<PathBuf>,
    /// Allowed host names. `None`: see [`Hosts::ByAddress`].
    allowed_hosts: Option<Vec<String>>,
    /// True if nothing can be written through HTTP.
    read_only: bool,
    /// True if everybody may write, from wherever they reach the server.
    open: bool,
    /// Regions of paths with another way of storage.
    regions: RegionsSection,
    /// All limits.
    pub(crate) limits: Limits,
    /// Web pages that may read and write. `None`: see [`cors`].
    cors: Option<CorsSection>,
    /// Access to the console.
    console: ConsoleSection,
    /// Views with URLs of their own.
    view: Vec<NamedView>,
    /// Settings of who is told apart.
    auth: Option<AuthConfig>,
    /// Rules of who may do what. They are read from the text, so that errors have their places.
    rule: Vec<IgnoredAny>,
    /// Both, as the server has them.
    #[serde(skip)]
    made: Auth,
    /// The text of all.
    #[serde(skip)]
    text: String,
    /// The time before it was read.
    #[serde(skip)]
    read_at: Option<SystemTime>,
}

/// Numbers of what is read again while the server runs.
pub(crate) struct Counts {
    pub(crate) rules: usize,
    pub(crate) issuers: usize,
    pub(crate) keys: usize,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RegionsSection {
    /// Patterns of paths that are kept in memory only.
    ephemeral: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConsoleSection {
    /// `None`: see [`console`].
    enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CorsSection {
    origins: Vec<String>,
}

impl Config {
    /// Reads a file, if there is one. Limits of the command line replace those of the file.
    pub(crate) fn read(
        file: Option<&Path>,
        limits: &[(String, String)],
    ) -> Result<Config, Failure> {
        let read_at = Some(SystemTime::now());
        let text = match file {
            Some(file) => std::fs::read_to_string(file).map_err(|error| {
                Failure::new(Blame::Input, format!("cannot read {}: {error}", file.display()))
            })?,
            None => String::new(),
        };
        let at = |failure: Failure| match file {
            Some(file) => failure.at(file.display()),
            None => failure,
        };
        let mut config = parse(&text).map_err(at)?;
        let directory = file.and_then(Path::parent).unwrap_or(Path::new(""));
        config.made = auth::made(config.auth.as_ref(), &text, directory).map_err(at)?;
        (config.text, config.read_at) = (text, read_at);
        if limits.is_empty() {
            return Ok(config);
        }
        config.with_limits(limits).map_err(|failure| failure.at("--limit"))
    }

    /// Replaces limits. The rest of the file must be possible with them as well.
    fn with_limits(mut self, limits: &[(String, String)]) -> Result<Config, Failure> {
        let wrong = |error: serde_json::Error| unknown_name(Blame::Usage, &error.to_string());
        let mut all = serde_json::to_value(&self.limits).map_err(wrong)?;
        for (name, text) in limits {
            all[name] = match is_limit(name) {
                true => {
                    units::amount(name, text).map_err(|why| Failure::new(Blame::Usage, why))?.into()
                }
                // The name is unknown; the reader of all limits reports it.
                false => serde_json::Value::Null,
            };
        }
        self.limits = serde_json::from_value(all).map_err(wrong)?;
        self.check(Blame::Usage)?;
        Ok(self)
    }

    /// The text that it was read from.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// A time before it was read, and the files that it names.
    pub(crate) fn read_at(&self) -> SystemTime {
        self.read_at.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    pub(crate) fn counts(&self) -> Counts {
        let auth = self.auth.as_ref();
        let issuers = auth.map_or(0, |auth| auth.issuer.len());
        let keys = auth.map_or(0, |auth| auth.key.len());
        Counts { rules: self.rule.len(), issuers, keys }
    }

    /// Patterns of paths that are kept in memory only.
    pub(crate) fn ephemeral(&self) -> Vec<Pattern> {
        let patterns = self.regions.ephemeral.iter().map(|text| Pattern::parse(text, &self.limits));
        patterns.collect::<Result<_, _>>().expect("all are looked at with the limits that count")
    }

    /// The service that is asked who sends a request, if there is one.
    pub(crate) fn forward(&self) -> Option<&Forward> {
        self.auth.as_ref()?.forward.as_ref()
    }

    fn views(&self) -> Result<NamedViews, NamedViewError> {
        NamedViews::new(&self.view, &self.limits)
    }

    /// Refuses settings that a server cannot work with, and settings without effect.
    fn check(&self, blame: Blame) -> Result<(), Failure> {
        self.limits.check().map_err(|why| Failure::new(blame, why))?;
        if self.data.as_ref().is_some_and(|data| data.as_os_str().is_empty()) {
            return Err(Failure::new(
                blame,
                "data: it names no directory; without it, that is ./halfping-data",
            ));
        }
        for text in &self.regions.ephemeral {
            Pattern::parse(text, &self.limits).map_err(|error| {
                let why = format!(
                    "regions.ephemeral: `{text}` is not a pattern such as /vehicles/*/position: {error}"
                );
                Failure::new(blame, why)
            })?;
        }
        self.views().map_err(|error| {
            let NamedViewError { place, setting, .. } = &error;
            Failure::new(blame, format!("view[{place}].{setting}: {error}"))
        })?;
        if let Some(CorsSection { origins }) = &self.cors {
            let origins = origins.iter().map(|text| origin(text)).collect::<Result<Vec<_>, _>>();
            let checked = origins.and_then(|origins| alone(&origins, "*", "*"));
            checked.map_err(|why| Failure::new(blame, format!("cors.origins: {why}")))?;
        }
        if let Some(names) = &self.allowed_hosts {
            let names = names.iter().map(|text| host(text)).collect::<Result<Vec<_>, _>>();
            let checked = names.and_then(|names| alone(&names, "*", "*"));
            checked.map_err(|why| Failure::new(blame, format!("allowed_hosts: {why}")))?;
        }
        Ok(())
    }

    /// Options of a server that listens at `listen`. The command line wins over the file; for
    /// `read_only` and `open`, either one suffices.
    pub(crate) fn options(&self, asked: Asked<'_>, listen: SocketAddr) -> Result<Options, Failure> {
        let origins = match asked.cors.is_empty() {
            true => self.cors.as_ref().map(|cors| cors.origins.as_slice()),
            false => Some(asked.cors),
        };
        let names = match asked.hosts.is_empty() {
            true => self.allowed_hosts.as_deref(),
            false => Some(asked.hosts),
        };
        let cors = cors(origins, listen);
        if self.made.has_cookie() && cors == Cors::Any {
            let why = "auth.cookie: a cookie and CORS that is open to any page do not go together";
            return Err(Failure::new(Blame::Input, why)
                .hint("name the origins whose pages may use the API: [cors] origins, or --cors"));
        }
        let is_open = asked.open || self.open;
        let options = Options {
            limits: self.limits.clone(),
            ephemeral: self.ephemeral(),
            cors,
            console: console(asked.console.or(self.console.enabled), listen),
            hosts: hosts(names),
            read_only: asked.read_only || self.read_only,
            views: self.views().expect("they are looked at with the limits that count"),
            auth: self.made.clone(),
            closed: false,
        };
        let closed = !is_open && !options.read_only && options.is_for_everybody(listen);
        Ok(Options { closed, ..options })
    }
}

/// The origins whose pages may use the server. Without a setting: loopback origins on a loopback
/// address, none elsewhere.
fn cors(origins: Option<&[String]>, listen: SocketAddr) -> Cors {
    match origins {
        Some([any]) if is_any(any) => Cors::Any,
        Some([]) => Cors::None,
        Some([none]) if none == "none" => Cors::None,
        Some(origins) => Cors::Origins(origins.to_vec()),
        None if listen.ip().to_canonical().is_loopback() => Cors::Loopback,
        None => Cors::None,
    }
}

fn hosts(names: Option<&[String]>) -> Hosts {
    match names {
        Some([any]) if is_any(any) => Hosts::Any,
        Some(names) => Hosts::Named(names.to_vec()),
        None => Hosts::ByAddress,
    }
}

/// Access to the console. Without a setting: requests for a loopback name on a loopback address,
/// nobody elsewhere.
fn console(asked: Option<bool>, listen: SocketAddr) -> Console {
    match asked {
        Some(true) => Console::On,
        Some(false) => Console::Off,
        None if listen.ip().to_canonical().is_loopback() => Console::Loopback,
        None => Console::Off,
    }
}

/// Checks a text that may hold rules, but for these.
pub(crate) fn check_beside_rules(text: &str) -> Result<(), Failure> {
    parse(text).map(|_| ())
}

fn parse(text: &str) -> Result<Config, Failure> {
    sections_are_tables(text)?;
    let text = &in_plain_numbers(text)?;
    let config: Config = toml::from_str(text).map_err(|error| unreadable(&error, text))?;
    config.check(Blame::Input).map_err(|failure| at_setting(failure, text))?;
    Ok(config)
}

/// Replaces limits with units (`"5MB"`) by plain numbers in the text.
fn in_plain_numbers(text: &str) -> Result<String, Failure> {
    let mut plain = text.to_owned();
    // The parser of the whole file reports text that is no TOML.
    let Ok(table) = DeTable::parse(text) else { return Ok(plain) };
    let limits = table.get_ref().iter().find(|(name, _)| name.get_ref() == "limits");
    let Some(DeValue::Table(limits)) = limits.map(|(_, limits)| limits.get_ref()) else {
        return Ok(plain);
    };
    let mut found = Vec::new();
    for (name, value) in limits {
        if let DeValue::String(amount) = value.get_ref()
            && is_limit(name.get_ref())
        {
            let number = units::amount(name.get_ref(), amount).map_err(|why| {
                at_line(Failure::new(Blame::Input, why), text, value.span().start)
            })?;
            found.push((value.span(), number.to_string()));
        }
    }
    // Replaced from the end, so that earlier positions stay valid.
    found.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    found.into_iter().for_each(|(span, number)| plain.replace_range(span, &number));
    Ok(plain)
}

/// Reads an address and a port, or a port of this machine alone: `"127.0.0.1:7070"`, `7070`.
fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    struct Listen;

    impl de::Visitor<'_> for Listen {
        type Value = SocketAddr;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address and a port, such as \"127.0.0.1:7070\", or a port")
        }

        fn visit_i64<E: de::Error>(self, port: i64) -> Result<SocketAddr, E> {
            let wrong = |_| E::invalid_value(de::Unexpected::Signed(port), &self);
            Ok((LOOPBACK, u16::try_from(port).map_err(wrong)?).into())
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<SocketAddr, E> {
            let port = text.parse().map(|port: u16| (LOOPBACK, port).into());
            port.or_else(|_| text.parse())
                .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_any(Listen).map(Some)
}

/// True for both words that mean any; a shell may expand `*`.
fn is_any(text: &str) -> bool {
    matches!(text, "*" | "any")
}

/// Normalises an origin to the form that browsers send (`https://app.example.org`), or `*`.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    match text {
        any if is_any(any) => Ok("*".to_owned()),
        "none" => Err("no origin at all is written [] here".to_owned()),
        text => Cors::origin(text).map_err(|why| with_meant(&why, meant_origin(text))),
    }
}

/// Normalises a host without scheme and port, or `*`.
pub(crate) fn host(text: &str) -> Result<String, String> {
    match text {
        any if is_any(any) => Ok("*".to_owned()),
        text => Hosts::name(text).map_err(|why| with_meant(&why, meant_host(text))),
    }
}

/// Refuses a word beside others if it makes them meaningless. `shown` is the word as the user
/// writes it.
pub(crate) fn alone(words: &[String], word: &str, shown: &str) -> Result<(), String> {
    match words.len() > 1 && words.iter().any(|other| other == word) {
        true => Err(format!("`{shown}` stands alone, and not beside others")),
        false => Ok(()),
    }
}

fn at_line(failure: Failure, text: &str, offset: usize) -> Failure {
    match line_at(text, offset) {
        Some((number, line)) => failure.at(format!("line {number} (`{line}`)")),
        None => failure,
    }
}

fn line_at(text: &str, offset: usize) -> Option<(usize, &str)> {
    let before = text.get(..offset)?;
    let number = before.matches('\n').count() + 1;
    Some((number, text.lines().nth(number - 1)?.trim()))
}
