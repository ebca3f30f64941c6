//! The configuration file.

mod hints;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use halfping::{Console, Cors, Hosts, Limits, Options, Pattern};
use serde::{Deserialize, Deserializer, de};
use toml::de::{DeTable, DeValue};

use self::hints::{
    at_setting, bare_host, is_limit, sections_are_tables, unknown_name, unreadable, with_meant,
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
    /// Regions of paths with another way of storage.
    regions: RegionsSection,
    /// All limits.
    pub(crate) limits: Limits,
    /// Web pages that may read and write. `None`: see [`cors`].
    cors: Option<CorsSection>,
    /// Access to the console.
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
    /// Reads a file, if there is one. Limits of the command line replace those of the file.
    pub(crate) fn read(
        file: Option<&Path>,
        limits: &[(String, String)],
    ) -> Result<Config, Failure> {
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
        let config = parse(&text).map_err(at)?;
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

    /// Patterns of paths that are kept in memory only.
    pub(crate) fn ephemeral(&self) -> Vec<Pattern> {
        let patterns = self.regions.ephemeral.iter().map(|text| Pattern::parse(text, &self.limits));
        patterns.collect::<Result<_, _>>().expect("all are looked at with the limits that count")
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
    /// `read_only`, either one suffices.
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
        text => Cors::origin(text).map_err(|why| {
            let bare = bare_host(text);
            let meant = match text.split_once("://") {
                Some((scheme, _)) => format!("{scheme}://{bare}"),
                None => format!("https://{bare}"),
            };
            with_meant(&why, Cors::origin(&meant))
        }),
    }
}

/// Normalises a host without scheme and port, or `*`.
pub(crate) fn host(text: &str) -> Result<String, String> {
    match text {
        any if is_any(any) => Ok("*".to_owned()),
        text => Hosts::name(text).map_err(|why| {
            let bare = bare_host(text);
            let without_port = bare.rsplit_once(':').map_or(bare, |(name, _)| name);
            with_meant(&why, Hosts::name(bare).or_else(|_| Hosts::name(without_port)))
        }),
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

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "127.0.0.1:7070";
    const EVERYWHERE: &str = "0.0.0.0:7070";

    /// Options from a file for a server that listens at `listen`.
    #[track_caller]
    fn check(text: &str, listen: &str, expect: &str) {
        let said = match parse(text) {
            Ok(config) => {
                let options = config.options(Asked::default(), listen.parse().unwrap());
                format!(
                    "{:?} {:?} {:?} {}",
                    config.listen, options.cors, options.hosts, options.read_only
                )
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
        let names =
            text.lines().filter(|line| !line.starts_with('#') && line.contains(" = ")).count();
        let debug = format!("{:?}", Limits::default());
        assert_eq!(
            names,
            debug.matches(": ").count() + ["listen", "data", "read_only", "ephemeral"].len()
        );
        // A default that depends on the address is commented out in the example.
        for commented in ["# origins = [", "# enabled = false", "# allowed_hosts = ["] {
            assert!(text.contains(commented), "{commented}");
        }
    }

    #[test]
    fn a_file_may_be_empty_or_full() {
        check("", LOOPBACK, "None Loopback ByAddress false");
        check("", "[::ffff:127.0.0.1]:1", "None Loopback");
        check("", EVERYWHERE, "None None ByAddress false");
        check(
            "allowed_hosts = [\"a.example\", \"[::2]\"]",
            LOOPBACK,
            "Named([\"a.example\", \"[::2]\"])",
        );
        check("allowed_hosts = [\"*\"]\nread_only = true", LOOPBACK, "Loopback Any true");
        check("listen = \"127.0.0.1:80\"\n[limits]\n", EVERYWHERE, "Some(127.0.0.1:80) None");
        check("[cors]\norigins = []", LOOPBACK, "None None");
        for any in ["*", "any"] {
            check(&format!("[cors]\norigins = [\"{any}\"]"), EVERYWHERE, "None Any");
            check(&format!("allowed_hosts = [\"{any}\"]"), LOOPBACK, "Loopback Any");
        }
        check("[cors]\norigins = [\"https://a\"]", LOOPBACK, "Origins([\"https://a\"])");
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = "listen = \"127.0.0.1:80\"\n[limits]\nbody_bytes = 10\nuri_bytes = 11";
        let limits =
            [("body_bytes".to_owned(), "20".to_owned()), ("ping_ms".to_owned(), "30ms".to_owned())];
        let Config { limits, listen, .. } =
            parse(file).ok().unwrap().with_limits(&limits).ok().unwrap();
        assert_eq!((limits.body_bytes, limits.uri_bytes, limits.ping_ms), (20, 11, 30));
        assert!(listen.is_some());
        for (name, value, says) in [
            ("speed", "1", "unknown setting `speed`"),
            ("body_bytes", "0", "limits.body_bytes must be at least 1"),
        ] {
            let limits = [(name.to_owned(), value.to_owned())];
            let why = Config::default().with_limits(&limits).err().unwrap();
            assert!(why.message().contains(says), "{why:?}");
        }
    }

    #[test]
    fn a_limit_that_tightens_paths_drops_no_ephemeral_region() {
        let config =
            || parse("[regions]\nephemeral = [\"/a/*/c\", \"/much_longer\"]").ok().unwrap();
        let with =
            |name: &str, value: &str| config().with_limits(&[(name.to_owned(), value.to_owned())]);
        assert_eq!(with("path_depth", "3").ok().unwrap().ephemeral().len(), 2);
        for (name, value) in [("path_depth", "2"), ("key_bytes", "8")] {
            let why = with(name, value).err().unwrap();
            assert!(why.message().contains("regions.ephemeral: `/"), "{why:?}");
        }
        check(
            "[limits]\npath_depth = 1\n[regions]\nephemeral = [\"/a/b\"]",
            LOOPBACK,
            "`/a/b` is not a pattern",
        );
    }

    #[test]
    fn sizes_and_times_have_units_and_a_port_is_an_address() {
        let text = "listen = 7071\n[limits]\nbody_bytes = \"5MB\" # so many\ndrain_ms = \"2s\"\nlinks = \"7\"";
        let Config { limits, listen, .. } = parse(text).ok().unwrap();
        assert_eq!((limits.body_bytes, limits.drain_ms, limits.links), (5_000_000, 2000, 7));
        assert_eq!(listen, "127.0.0.1:7071".parse().ok());
        check("listen = \"7071\"", LOOPBACK, "Some(127.0.0.1:7071)");
        check("listen = 70710", LOOPBACK, "line 1 (`listen = 70710`)");
        check(
            "\n[limits]\nbody_bytes = \"5s\"",
            LOOPBACK,
            "line 3 (`body_bytes = \\\"5s\\\"`): the value of",
        );
    }

    #[test]
    fn a_section_that_is_written_as_a_value_is_told_how_it_is_written() {
        for (text, line) in [
            ("cors = [\"any\"]", "origins = [\\\"any\\\"]"),
            ("cors = \"https://a.example\"", "origins = [\\\"https://a.example\\\"]"),
            ("console = true", "enabled = true"),
            ("console = \"off\"", "enabled = false"),
            ("limits = 5", "body_bytes"),
            ("regions = []", "ephemeral"),
            ("[[cors]]\norigins = []", "origins"),
        ] {
            check(text, LOOPBACK, " is a section");
            check(text, LOOPBACK, &format!("and on the line below it {line}"));
        }
        check("\n\ncors = [\"any\"]", LOOPBACK, "line 3 (`cors = [\\\"any\\\"]`): `cors` is");
    }

    #[test]
    fn a_name_that_is_almost_known_or_in_another_section_has_a_hint() {
        check("[limits]\nbody_byte = 1", LOOPBACK, "did you mean `body_bytes`?");
        check("[limits]\nbody-bytes = 1", LOOPBACK, "did you mean `body_bytes`?");
        check("Listen = 1", LOOPBACK, "did you mean `listen`?");
        check("[cors]\norigin = []", LOOPBACK, "did you mean `origins`?");
        check("[limit]\nbody_bytes = 1", LOOPBACK, "did you mean `limits`?");
        check("body_bytes = 1", LOOPBACK, "`body_bytes` stands in [limits]");
        check("[limits]\nlisten = 1", LOOPBACK, "`listen` stands before the first [section]");
        check("[limits]\norigins = []", LOOPBACK, "`origins` stands in [cors]");
        check("port = 7171", LOOPBACK, "a port is written `listen = 7171`");
        check("memory = true", LOOPBACK, "--memory");
        check("log-format = \"json\"", LOOPBACK, "--log-format");
    }

    #[test]
    fn a_misspelt_limit_with_a_unit_is_told_its_name_and_not_its_value() {
        for value in ["\"1MB\"", "\"30s\"", "\"x\"", "1"] {
            let text = format!("[limits]\nbody_byte = {value}");
            check(&text, LOOPBACK, "unknown setting `body_byte`");
            check(&text, LOOPBACK, "did you mean `body_bytes`?");
            let limit = ("body_byte".to_owned(), value.trim_matches('"').to_owned());
            let why = Config::default().with_limits(&[limit]).err().unwrap();
            assert!(why.message().ends_with("unknown setting `body_byte`"), "{why:?}");
            assert!(format!("{why:?}").contains("did you mean `body_bytes`?"), "{why:?}");
        }
    }

    #[test]
    fn who_is_let_in_is_written_so_that_it_can_match() {
        let origins = |list: &str| format!("[cors]\norigins = [{list}]");
        let hosts = |list: &str| format!("allowed_hosts = [{list}]");
        check(&origins("\"HTTPS://X.org\", \"https://z.org:443\""), LOOPBACK, "Origins");
        for (list, says) in [
            ("\"https://*.y.org\"", "patterns"),
            ("\"*\", \"https://a\"", "stands alone"),
            ("\"none\"", "[]"),
            ("\"any\", \"https://a\"", "stands alone"),
            ("\"a.example\"", "is not an origin"),
        ] {
            check(&origins(list), LOOPBACK, says);
        }
        for (list, says) in [
            ("\"*.y.org\"", "patterns"),
            ("\"*\", \"a\"", "stands alone"),
            ("\"https://a\"", "scheme"),
            ("\"any\", \"a\"", "stands alone"),
        ] {
            check(&hosts(list), LOOPBACK, says);
        }
    }

    #[test]
    fn who_is_let_in_is_first_what_the_command_line_says() {
        let file = "allowed_hosts = [\"a\"]\n[cors]\norigins = [\"https://a\"]";
        let options = |text: &str, cors: &[&str], hosts: &[&str], read_only| {
            let owned =
                |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let asked =
                Asked { cors: &owned(cors), hosts: &owned(hosts), console: None, read_only };
            parse(text).ok().unwrap().options(asked, LOOPBACK.parse().unwrap())
        };
        let Options { cors, hosts, read_only, .. } = options(file, &["*"], &["b"], true);
        assert_eq!((cors, hosts, read_only), (Cors::Any, Hosts::Named(vec!["b".to_owned()]), true));
        let Options { cors, hosts, .. } = options(file, &[], &["*"], false);
        assert_eq!((cors, hosts), (Cors::Origins(vec!["https://a".to_owned()]), Hosts::Any));
        assert_eq!(options(file, &["none"], &[], false).cors, Cors::None);
        // Leaving out the option does not undo the file's setting.
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
        for (text, line, says) in [
            ("\n\nlisten = true", "line 3 (`listen = true`)", "`listen` is an address and a port"),
            ("[cors]\norigin = 1", "line 2 (`origin = 1`)", "unknown setting `origin`"),
            ("[limits]\nspeed = 1", "line 2 (`speed = 1`)", "unknown setting `speed`"),
            (
                "[limits]\n\nbody_bytes = 0",
                "line 3 (`body_bytes = 0`)",
                "limits.body_bytes must be at least 1",
            ),
            (
                "limits.slice_bytes = 10",
                "line 1 (`limits.slice_bytes = 10`)",
                "between 1024 and 16777216, not 10",
            ),
            ("[cors]\norigins = [\"https://a/\"]", "line 2 (", "`https://a/` is not an origin"),
            ("\nallowed_hosts = [\"a:80\"]", "line 2 (", "`a:80` is not the name of a host"),
            (
                "[regions]\nephemeral = [\"a\"]",
                "line 2 (",
                "regions.ephemeral: `a` is not a pattern",
            ),
            ("[console]\nenabled = 1", "line 2 (`enabled = 1`)", "`enabled` is true or false"),
            ("data = \"\"", "line 1 (", "data: it names no directory"),
            ("listen = ", "line 1 (`listen =`)", ""),
            ("listen = 1\nlisten = 2", "line 2 (`listen = 2`)", "duplicate key"),
            ("listen = 1\nhello", "line 2 (`hello`)", ""),
        ] {
            check(text, LOOPBACK, &line.replace('"', "\\\""));
            check(text, LOOPBACK, says);
        }
    }

    #[test]
    fn a_value_of_another_kind_is_told_what_to_write() {
        let wait = "is a number of seconds, or a time such as 30s or 5min";
        for (text, says, write) in [
            ("read_only = yes", "`read_only` is true or false, without quotes", "read_only = true"),
            ("read_only = \"no\" # as it was", "`read_only` is true or false", "read_only = false"),
            (
                "[cors]\norigins = \"https://a\"",
                "`origins` is a list of origins",
                "origins = [\"https://a\"]",
            ),
            (
                "cors.origins = 1",
                "`origins` is a list of origins",
                "origins = [\"https://app.example.org\"]",
            ),
            (
                "allowed_hosts = a.example",
                "`allowed_hosts` is a list of host names",
                "[\"api.example.org\"]",
            ),
            (
                "data = /var/lib/x",
                "`data` is a directory, as text in quotes",
                "data = \"/var/lib/x\"",
            ),
            (
                "listen = 127.0.0.1:80",
                "`listen` is an address and a port",
                "listen = \"127.0.0.1:7070\"",
            ),
            (
                "listen = \"localhost:80\"",
                "`listen` is an address and a port",
                "listen = \"127.0.0.1:7070\"",
            ),
            (
                "[limits]\nwait_seconds = 1m",
                &format!("`wait_seconds` {wait}"),
                "wait_seconds = \"30s\"",
            ),
            (
                "[limits]\nconnections = [5]",
                "`connections` is a number without a unit",
                "connections = 1000",
            ),
            (
                "[limits]\nwrites_per_second = 99999999999",
                "invalid value",
                "writes_per_second = 1000",
            ),
            ("allowed_hosts = [\"https://b.example:80/x\"]", "write \"b.example\"", ""),
            ("allowed_hosts = [\"b.example:80\"]", "write \"b.example\"", ""),
            ("[cors]\norigins = [\"b.example:81\"]", "write \"https://b.example:81\"", ""),
            ("[cors]\norigins = [\"http://b.example/app/\"]", "write \"http://b.example\"", ""),
            ("[limits]\nwait_seconds = \"soon\"", wait, ""),
            (
                "[limits]\nbuffered_bytes = 100000",
                "at most limits.buffered_bytes, 100000",
                "line 2 (`buffered_bytes = 100000`)",
            ),
            (
                "[limits]\nheads_bytes_per_connection = \"1GB\"",
                "at most limits.heads_bytes,",
                "line 2",
            ),
        ] {
            let escaped = |text: &str| text.replace('"', "\\\"");
            check(text, LOOPBACK, &escaped(says));
            check(text, LOOPBACK, &escaped(write));
        }
    }

    #[test]
    fn an_unknown_name_lists_a_few_others_at_most() {
        for (text, hint) in [
            ("[limits]\nspeed = 1", "halfping.example.toml has all of them"),
            ("[cors]\nport = 1", "known here: origins"),
            ("xyzzy = 1", "known here: listen, data,"),
        ] {
            check(text, LOOPBACK, hint);
            let Err(why) = parse(text) else { panic!("{text}") };
            assert!(!why.message().contains("expected"), "{why:?}");
        }
    }
}
