//! The configuration file.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use halfping::{Console, Cors, Hosts, Limits, Options, Pattern};
use serde::Deserialize;

use crate::report::{Blame, Failure};

/// What the command line says of whom the server lets in, and to what. Where it says nothing, the file's word counts.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    /// Origins; `*` for any, `none` for none.
    pub(crate) cors: &'a [String],
    /// Names that the server may be asked for by; `*` for any.
    pub(crate) hosts: &'a [String],
    pub(crate) console: Option<bool>,
    pub(crate) read_only: bool,
}

/// What a configuration file may say. What it does not say keeps its default.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where to listen.
    pub(crate) listen: Option<SocketAddr>,
    /// Where state is kept.
    pub(crate) data: Option<PathBuf>,
    /// Names that the server may be asked for by. `None`: see [`Hosts::ByAddress`].
    allowed_hosts: Option<Vec<String>>,
    /// Whether nothing can be written through HTTP.
    read_only: bool,
    /// What is kept otherwise.
    regions: RegionsSection,
    /// The bounds of everything.
    pub(crate) limits: Limits,
    /// Which web pages may read and write. `None`: see [`cors`].
    cors: Option<CorsSection>,
    /// Who may see what the server is doing.
    console: ConsoleSection,
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
    /// What a file says, if there is one, with limits of the command line in place of the file's.
    pub(crate) fn read(file: Option<&Path>, limits: &[(String, u64)]) -> Result<Config, Failure> {
        let text = match file {
            Some(file) => std::fs::read_to_string(file).map_err(|error| {
                Failure::new(Blame::Input, format!("cannot read {}: {error}", file.display()))
            })?,
            None => String::new(),
        };
        let config = parse(&text).map_err(|failure| match file {
            Some(file) => failure.at(file.display()),
            None => failure,
        })?;
        if limits.is_empty() {
            return Ok(config);
        }
        with_limits(&text, limits).map_err(|why| Failure::new(Blame::Usage, format!("--limit: {why}")))
    }

    /// What is kept in memory only.
    pub(crate) fn ephemeral(&self) -> Vec<Pattern> {
        // They were looked at when the file was read.
        self.regions.ephemeral.iter().filter_map(|text| Pattern::parse(text, &self.limits).ok()).collect()
    }

    /// Options of a server that listens at `listen`, with the command line's word first, and `read_only` if either says so.
    pub(crate) fn options(&self, asked: Asked<'_>, listen: SocketAddr) -> Options {
        let origins = match asked.cors.is_empty() {
            true => self.cors.as_ref().map(|cors| cors.origins.as_slice()),
            false => Some(asked.cors),
        };
        let names = match asked.hosts.is_empty() {
            true => self.allowed_hosts.as_deref(),
            false => Some(asked.hosts),
        };
        Options {
            limits: self.limits.clone(),
            ephemeral: self.ephemeral(),
            cors: cors(origins, listen),
            console: console(asked.console.or(self.console.enabled), listen),
            hosts: hosts(names),
            read_only: asked.read_only || self.read_only,
        }
    }
}

/// Whose pages a browser lets in. Without a word about it: on a loopback address pages of loopback origins, elsewhere nobody's.
fn cors(origins: Option<&[String]>, listen: SocketAddr) -> Cors {
    match origins {
        Some(origins) if origins.iter().any(|origin| origin == "*") => Cors::Any,
        Some([]) => Cors::None,
        Some([none]) if none == "none" => Cors::None,
        Some(origins) => Cors::Origins(origins.to_vec()),
        None if listen.ip().to_canonical().is_loopback() => Cors::Loopback,
        None => Cors::None,
    }
}

fn hosts(names: Option<&[String]>) -> Hosts {
    match names {
        Some(names) if names.iter().any(|name| name == "*") => Hosts::Any,
        Some(names) => Hosts::Named(names.to_vec()),
        None => Hosts::ByAddress,
    }
}

/// Without a word about it: on a loopback address, who asks for it by such a name; elsewhere nobody.
fn console(asked: Option<bool>, listen: SocketAddr) -> Console {
    match asked {
        Some(true) => Console::On,
        Some(false) => Console::Off,
        None if listen.ip().to_canonical().is_loopback() => Console::Loopback,
        None => Console::Off,
    }
}

fn parse(text: &str) -> Result<Config, Failure> {
    let config: Config = toml::from_str(text).map_err(|error| {
        let failure = Failure::new(Blame::Input, error.message().replace('\n', ", "));
        // The message alone says what is wrong with a value, not whose value it is: the line does.
        match error.span().and_then(|span| line_at(text, span.start)) {
            Some((number, line)) => failure.at(format!("line {number} (`{line}`)")),
            None => failure,
        }
    })?;
    config.limits.check().map_err(|why| Failure::new(Blame::Input, why))?;
    if config.data.as_ref().is_some_and(|data| data.as_os_str().is_empty()) {
        return Err(Failure::new(
            Blame::Input,
            "data: it names no directory; without it, that is ./halfping-data",
        ));
    }
    for text in &config.regions.ephemeral {
        Pattern::parse(text, &config.limits).map_err(|error| {
            let why =
                format!("regions.ephemeral: `{text}` is not a pattern such as /vehicles/*/position: {error}");
            Failure::new(Blame::Input, why)
        })?;
    }
    for text in config.cors.iter().flat_map(|cors| &cors.origins) {
        origin(text).map_err(|why| Failure::new(Blame::Input, format!("cors.origins: {why}")))?;
    }
    for text in config.allowed_hosts.iter().flatten() {
        host(text).map_err(|why| Failure::new(Blame::Input, format!("allowed_hosts: {why}")))?;
    }
    Ok(config)
}

fn with_limits(text: &str, limits: &[(String, u64)]) -> Result<Config, String> {
    let said = |error: toml::de::Error| error.message().replace('\n', ", ");
    let mut table: toml::Table = text.parse().map_err(said)?;
    let of_file = table.entry("limits").or_insert_with(|| toml::Table::new().into());
    for (name, value) in limits {
        let value = i64::try_from(*value).map_err(|error| format!("{name}: {error}"))?;
        of_file.as_table_mut().ok_or("[limits] is no table")?.insert(name.clone(), value.into());
    }
    let config: Config = table.try_into().map_err(said)?;
    config.limits.check()?;
    Ok(config)
}

/// An origin as browsers write it, since others would never match: scheme, host and perhaps a port, and nothing after them; or `*`.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '@', '?', '#', ' '])
    });
    match is_origin || text == "*" {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` is not an origin, such as https://example.org")),
    }
}

/// A host without scheme and port; or `*`.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match is_name || inside.is_some_and(|inside| inside.parse::<Ipv6Addr>().is_ok()) || text == "*" {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` is not the name of a host, such as app.example.org, without a port")),
    }
}

fn line_at(text: &str, offset: usize) -> Option<(usize, &str)> {
    let before = text.get(..offset)?;
    let number = before.matches('\n').count() + 1;
    Some((number, text.lines().nth(number - 1)?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "127.0.0.1:7070";
    const EVERYWHERE: &str = "0.0.0.0:7070";

    /// What a file leads to for a server that listens at `listen`.
    #[track_caller]
    fn check(text: &str, listen: &str, expect: &str) {
        let said = match parse(text) {
            Ok(config) => {
                let options = config.options(Asked::default(), listen.parse().unwrap());
                format!("{:?} {:?} {:?} {}", config.listen, options.cors, options.hosts, options.read_only)
            }
            Err(failure) => format!("{failure:?}"),
        };
        assert!(said.contains(expect), "{said}");
    }

    #[test]
    fn the_example_lists_every_setting_with_its_default() {
        let text = include_str!("../../../halfping.example.toml");
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!((config.limits, config.listen), (Limits::default(), LOOPBACK.parse().ok()));
        assert_eq!(config.data, Some(crate::storage::DATA.into()));
        let names = text.lines().filter(|line| !line.starts_with('#') && line.contains(" = ")).count();
        let debug = format!("{:?}", Limits::default());
        assert_eq!(names, debug.matches(": ").count() + ["listen", "data", "read_only", "ephemeral"].len());
        // What depends on where it listens stands there as it would be for another address.
        for commented in ["# origins = [", "# enabled = false", "# allowed_hosts = ["] {
            assert!(text.contains(commented), "{commented}");
        }
    }

    #[test]
    fn a_file_may_be_empty_or_full() {
        check("", LOOPBACK, "None Loopback ByAddress false");
        check("", "[::ffff:127.0.0.1]:1", "None Loopback");
        check("", EVERYWHERE, "None None ByAddress false");
        check("allowed_hosts = [\"a.example\", \"[::2]\"]", LOOPBACK, "Named([\"a.example\", \"[::2]\"])");
        check("allowed_hosts = [\"*\"]\nread_only = true", LOOPBACK, "Loopback Any true");
        check("listen = \"127.0.0.1:80\"\n[limits]\n", EVERYWHERE, "Some(127.0.0.1:80) None");
        check("[cors]\norigins = []", LOOPBACK, "None None");
        check("[cors]\norigins = [\"*\"]", EVERYWHERE, "None Any");
        check("[cors]\norigins = [\"https://a\"]", LOOPBACK, "Origins([\"https://a\"])");
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = "listen = \"127.0.0.1:80\"\n[limits]\nbody_bytes = 10\nuri_bytes = 11";
        let limits = [("body_bytes".to_owned(), 20), ("ping_ms".to_owned(), 30)];
        let Config { limits, listen, .. } = with_limits(file, &limits).ok().unwrap();
        assert_eq!((limits.body_bytes, limits.uri_bytes, limits.ping_ms), (20, 11, 30));
        assert!(listen.is_some());
        for (name, value, says) in
            [("speed", 1, "unknown field `speed`"), ("body_bytes", 0, "limits.body_bytes must be at least 1")]
        {
            let why = with_limits("", &[(name.to_owned(), value)]).err().unwrap();
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn who_is_let_in_is_first_what_the_command_line_says() {
        let file = "allowed_hosts = [\"a\"]\n[cors]\norigins = [\"https://a\"]";
        let options = |text: &str, cors: &[&str], hosts: &[&str], read_only| {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let asked = Asked { cors: &owned(cors), hosts: &owned(hosts), console: None, read_only };
            parse(text).ok().unwrap().options(asked, LOOPBACK.parse().unwrap())
        };
        let Options { cors, hosts, read_only, .. } = options(file, &["*"], &["b"], true);
        assert_eq!((cors, hosts, read_only), (Cors::Any, Hosts::Named(vec!["b".to_owned()]), true));
        let Options { cors, hosts, .. } = options(file, &[], &["*"], false);
        assert_eq!((cors, hosts), (Cors::Origins(vec!["https://a".to_owned()]), Hosts::Any));
        assert_eq!(options(file, &["none"], &[], false).cors, Cors::None);
        // The switch cannot be taken back by leaving it out.
        assert!(options("read_only = true", &[], &[], false).read_only);
    }

    #[test]
    fn the_console_is_open_on_loopback_unless_somebody_says_otherwise() {
        let console = |text: &str, asked, listen: &str| {
            let asked = Asked { console: asked, ..Asked::default() };
            parse(text).ok().unwrap().options(asked, listen.parse().unwrap()).console
        };
        let (on, off) = ("[console]\nenabled = true", "[console]\nenabled = false");
        assert_eq!(console("", None, LOOPBACK), Console::Loopback);
        assert_eq!(console("[console]", None, "[::1]:0"), Console::Loopback);
        assert_eq!(console("", None, EVERYWHERE), Console::Off);
        assert_eq!(console(on, None, EVERYWHERE), Console::On);
        assert_eq!(console(on, None, LOOPBACK), Console::On);
        assert_eq!(console(off, None, LOOPBACK), Console::Off);
        assert_eq!(console(off, Some(true), EVERYWHERE), Console::On);
        assert_eq!(console(on, Some(false), LOOPBACK), Console::Off);
    }

    #[test]
    fn a_mistake_is_found_on_its_line() {
        check("\n\nlisten = 7070", LOOPBACK, "line 3 (`listen = 7070`): invalid type: integer `7070`");
        check(
            "[cors]\norigin = 1",
            LOOPBACK,
            "line 2 (`origin = 1`): unknown field `origin`, expected `origins`",
        );
        check("[limits]\nspeed = 1", LOOPBACK, "line 2 (`speed = 1`): unknown field `speed`");
        check("[limits]\nbody_bytes = 0", LOOPBACK, "limits.body_bytes must be at least 1");
        check("[cors]\norigins = [\"https://a/\"]", LOOPBACK, "`https://a/` is not an origin");
        check("allowed_hosts = [\"a:80\"]", LOOPBACK, "`a:80` is not the name of a host");
        check("[regions]\nephemeral = [\"a\"]", LOOPBACK, "regions.ephemeral: `a` is not a pattern");
        check("[console]\nenabled = 1", LOOPBACK, "line 2 (`enabled = 1`): invalid type");
        check("listen = ", LOOPBACK, "line 1 (`listen =`)");
    }
}
