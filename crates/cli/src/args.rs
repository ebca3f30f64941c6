//! The grammar of the command line. The module `commands` carries it out.

mod rules;
mod view;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, Resettable, TypedValueParser};
use clap::{Args as Group, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use self::rules::{CheckRules, Rules, RulesCommand, TryRules};
pub(crate) use self::view::{Form, View};
use crate::config::{Asked, alone};
use crate::log::Log;
use crate::report::{Blame, Failure};
use crate::target::Target;

const ABOUT: &str =
    "Put state in at a URL; whoever reads that URL can keep the GET open and be told what changes.";

const AFTER_HELP: &str = "\
Try it:
  halfping demo                                      a made-up city of moving vehicles
  halfping watch localhost:7070/vehicles/bus-017     in a second terminal

Exit codes:
  0  done (also when the reader of the output went away)
  1  the server refused (4xx); with `halfping rules`, the rules are not sound, or refuse
  2  the command line is wrong
  3  the server could not be reached, failed (5xx), or is no Halfping server; or the address to listen on is taken
  4  something here is wrong: a file, a configuration, a value that is not JSON

Data goes to stdout, everything else to stderr. URLs without a scheme get http://.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "halfping", version, about = ABOUT, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Reads the command line of this process; environment variables fill in what it leaves out. An
    /// empty variable counts as unset, because some environments cannot unset one.
    pub(crate) fn read() -> Args {
        let command = Args::command().mut_subcommands(|command| {
            command.mut_args(|arg| match arg.get_env().and_then(std::env::var_os) {
                Some(value) if value.is_empty() => arg.env(Resettable::Reset),
                _ => arg,
            })
        });
        Args::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Serve),
    Demo(Demo),
    Get(Get),
    Put(Put),
    Merge(Merge),
    Delete(Delete),
    Watch(Watch),
    Replay(Replay),
    Check(Check),
    Backup(Backup),
    Restore(Restore),
    Rules(Rules),
    Bench(Bench),
}

/// Serve an API
///
/// Options win over environment variables, and those over the configuration file. An empty variable
/// counts as unset.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping serve
  halfping serve --listen 0.0.0.0:8080 --config /etc/halfping.toml --log-format json
  halfping serve --memory
  halfping serve --config halfping.toml
  halfping serve --port 7071
  halfping serve --read-only --cors https://app.example.org
  halfping serve --listen 0.0.0.0:8080 --open     # everybody may write
  halfping serve --limit body_bytes=1MB --limit connections=100

A configuration file may hold:
  listen = \"127.0.0.1:7070\"
  data = \"/var/lib/halfping\"
  allowed_hosts = [\"api.example.org\"]  # or [\"*\"]; without it: loopback names on a loopback address, any elsewhere
  read_only = true
  open = false                          # true: without rules, everybody may write who reaches it from elsewhere
  [regions]
  ephemeral = [\"/vehicles/*/position\"] # kept in memory only: not there any more after a restart
  [limits]                              # a refusal names the one it met
  body_bytes = \"1MB\"
  [cors]
  origins = [\"https://example.org\"]   # or [\"*\"]; without it: loopback origins on a loopback address, none elsewhere
  [[view]]                              # a view with a URL of its own; one section for each
  path = \"/fastest\"
  from = \"/vehicles\"
  order = \"-speed\"
  limit = 20
  [console]
  enabled = false                       # without it: on a loopback address, for requests to localhost")]
pub(crate) struct Serve {
    /// Address to listen on [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDRESS|PORT", env = "HALFPING_LISTEN", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,

    /// Listen on this port of the same address
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,

    #[command(flatten)]
    pub(crate) storage: Storage,

    /// Read settings from this file (TOML)
    #[arg(long, value_name = "FILE", env = "HALFPING_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) access: Access,

    /// Let everybody write who reaches the server, also from other machines. Without this, and
    /// without rules, a server that listens elsewhere than on a loopback address refuses writes
    #[arg(long, env = "HALFPING_OPEN", value_parser = switch)]
    pub(crate) open: bool,

    /// Set a limit, as in the configuration file's [limits]; wins over it. Sizes and times may have
    /// units (5MB, 64KiB, 30s). Can be given many times
    #[arg(long, value_name = "NAME=VALUE", value_parser = limit)]
    pub(crate) limit: Vec<(String, String)>,

    #[command(flatten)]
    pub(crate) log: Log,

    /// End when stdin ends, so that the server does not outlive the process that started it
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}

fn origin(text: &str) -> Result<String, String> {
    if text == "none" { Ok(text.to_owned()) } else { crate::config::origin(text) }
}

/// Splits a limit into name and value. The configuration checks the name.
fn limit(text: &str) -> Result<(String, String), &'static str> {
    let halves = text.split_once('=');
    let (name, value) = halves.ok_or("a limit is NAME=VALUE, such as body_bytes=1000000")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Parses a switch; accepts the usual words for on and off.
fn switch(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "t" | "yes" | "y" | "1" => Ok(true),
        "off" | "false" | "f" | "no" | "n" | "0" => Ok(false),
        _ => Err("expected on or off"),
    }
}

/// Serve a made-up city of moving vehicles, to look at and to try things on
///
/// A few hundred buses and trams move along streets and stop at stops. Each is a resource,
/// `/vehicles/ID`; `/fleet` sums them up. /demo/vehicles is the number of vehicles: write another
/// number there, and the fleet grows or shrinks. The page at /_demo/ shows all of it.
#[derive(Debug, Group)]
#[command(mut_arg("data", |data| data.help(DEMO_DATA)))]
#[command(after_help = "\
Examples:
  halfping demo --open
  halfping demo --memory
  halfping demo --vehicles 2000 --seed 7
  halfping demo --data-file aircraft.ndjson.gz --memory")]
pub(crate) struct Demo {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS|PORT", env = "HALFPING_LISTEN", default_value = "127.0.0.1:7070", value_parser = address)]
    pub(crate) listen: SocketAddr,

    /// Listen on this port of the same address
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,

    /// Number of vehicles
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) vehicles: u32,

    /// Seed of the city: the same number makes the same city
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Instead of the city, play this recording again and again, as `halfping replay` reads it; it
    /// begins at its busiest time
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vehicles", "seed"])]
    pub(crate) data_file: Option<PathBuf>,

    /// Speed, as a multiple of the recorded one [default: each thing reports about once a second]
    #[arg(long, value_name = "N", requires = "data_file", value_parser = times)]
    pub(crate) speed: Option<f64>,

    /// Source of the recording, for the page to credit
    #[arg(long, value_name = "TEXT", requires = "data_file")]
    pub(crate) credit: Option<String>,

    /// Open the page in a browser
    #[arg(long)]
    pub(crate) open: bool,

    /// Let everybody write who reaches the demo, also from other machines; what `serve` calls
    /// --open. Without this, a demo that listens elsewhere than on a loopback address refuses writes
    #[arg(long, env = "HALFPING_OPEN", value_parser = switch)]
    pub(crate) open_to_all: bool,

    #[command(flatten)]
    pub(crate) storage: Storage,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) log: Log,
}

/// Help of the demo's `--data`, with its own default (`commands::demo::data`).
#[cfg(not(windows))]
const DEMO_DATA: &str = "Keep state in this directory: what was acknowledged is there again after a crash \
    [env: HALFPING_DATA] [default: $XDG_STATE_HOME/halfping/demo, without that variable \
    ~/.local/state/halfping/demo]";
#[cfg(windows)]
const DEMO_DATA: &str = "Keep state in this directory: what was acknowledged is there again after a crash \
    [env: HALFPING_DATA] [default: %LOCALAPPDATA%\\halfping\\demo]";

/// Access to the server: the origins and hosts that it allows, writing, and the console.
#[derive(Debug, Group)]
pub(crate) struct Access {
    /// Let pages of this origin read and write, of `any`, or of `none`; can be given many times
    /// [default: on a loopback address, pages of loopback origins; elsewhere none]
    #[arg(long, value_name = "ORIGIN", env = "HALFPING_CORS", value_delimiter = ',', value_parser = origin)]
    pub(crate) cors: Vec<String>,

    /// Answer requests for this host, or for `any`, as Host names it; can be given many times
    /// [default: on a loopback address, loopback names; elsewhere any]
    #[arg(long, value_name = "NAME", env = "HALFPING_ALLOWED_HOSTS", value_delimiter = ',', value_parser = crate::config::host)]
    pub(crate) allowed_host: Vec<String>,

    /// Refuse all writes through HTTP: clients read what is in the store, or what the demo does
    #[arg(long, env = "HALFPING_READ_ONLY", value_parser = switch)]
    pub(crate) read_only: bool,

    /// Show at /_server what the server is doing and for whom [default: on a loopback address, to
    /// requests for localhost; elsewhere off]
    #[arg(long, value_name = "on|off", env = "HALFPING_CONSOLE", value_parser = switch)]
    pub(crate) console: Option<bool>,
}

impl Access {
    /// What was asked for. `open`: that everybody may write.
    pub(crate) fn asked(&self, open: bool) -> Result<Asked<'_>, Failure> {
        let Access { cors, allowed_host: hosts, console, read_only } = self;
        let contradicts = [
            ("--cors", alone(cors, "*", "any").and_then(|()| alone(cors, "none", "none"))),
            ("--allowed-host", alone(hosts, "*", "any")),
        ];
        for (flag, checked) in contradicts {
            checked.map_err(|why| Failure::new(Blame::Usage, format!("{flag}: {why}")))?;
        }
        Ok(Asked { cors, hosts, console: *console, read_only: *read_only, open })
    }
}

/// The storage of the server's state.
#[derive(Debug, Group)]
pub(crate) struct Storage {
    /// Keep state in this directory: what was acknowledged is there again after a crash [env:
    /// HALFPING_DATA] [default: ./halfping-data]
    // Not read by clap from the environment: --memory wins over the variable.
    #[arg(long, value_name = "DIR", value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    pub(crate) data: Option<PathBuf>,

    /// Keep state in memory only: it is lost on exit
    #[arg(long, conflicts_with = "data")]
    pub(crate) memory: bool,
}

/// Print a resource's value
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping get localhost:7070/vehicles/bus-017
  halfping get --depth 1 localhost:7070
  halfping get localhost:7070/vehicles --where 'speed_mps > 12' --select route,speed_mps
  halfping get localhost:7070/vehicles --order -speed_mps --limit 5 --as list")]
pub(crate) struct Get {
    /// The resource
    pub(crate) url: Target,

    /// Cut the value N levels of objects below the resource
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<u32>,

    #[command(flatten)]
    pub(crate) view: View,
}

/// Write a resource's value, and print its new cursor
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping put localhost:7070/hello '\"world\"'
  halfping put localhost:7070/config - < config.json")]
pub(crate) struct Put {
    /// The resource
    pub(crate) url: Target,

    /// The value, as JSON; `-` reads it from stdin
    #[arg(allow_hyphen_values = true)]
    pub(crate) json: String,
}

/// Change members of a resource (RFC 7396), and print its new cursor
#[derive(Debug, Group)]
#[command(after_help = "\
Members that are null are removed, the others written. At / it is one atomic write to many resources.

Examples:
  halfping merge localhost:7070/config '{\"colour\":\"red\",\"old\":null}'")]
pub(crate) struct Merge {
    /// The resource
    pub(crate) url: Target,

    /// The changes, as JSON; `-` reads them from stdin
    #[arg(allow_hyphen_values = true)]
    pub(crate) json: String,
}

/// Remove a resource, and print the cursor of its absence
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping delete localhost:7070/hello")]
pub(crate) struct Delete {
    /// The resource
    pub(crate) url: Target,
}

/// Read all of a store, and say whether it is sound
///
/// No server may be using it.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping check ./halfping-data")]
pub(crate) struct Check {
    /// The directory of the store
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
}

/// Write the whole state of a running server to a file
///
/// The file holds a stream of the URL's resource (the root, unless the URL says otherwise) up to
/// its first `synced`, one JSON frame a line: the state at one moment, taken while the server goes
/// on. `restore` makes that resource the root of the new store, wherever it was.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping backup localhost:7070 backup.ndjson
  halfping backup localhost:7070 - | gzip > backup.ndjson.gz")]
pub(crate) struct Backup {
    /// The server
    pub(crate) url: Target,

    /// The new file; `-` for stdout. It must not exist
    pub(crate) file: PathBuf,
}

/// Make a store from a backup
///
/// The limits of the server do not matter, neither those it had nor those it will have. The store
/// begins a new history: clients that come with a cursor from before are sent the whole state. The
/// resource of which the backup was taken becomes the root: a backup of /orders has the orders at
/// /, and not at /orders.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping restore backup.ndjson ./halfping-data
  gunzip < backup.ndjson.gz | halfping restore - ./halfping-data")]
pub(crate) struct Restore {
    /// The backup; `-` reads it from stdin
    pub(crate) file: PathBuf,

    /// The directory of the new store. It must not hold a store yet
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
}

/// Print what changes, as it changes
///
/// One line for each changed thing: the commit time (UTC), how long ago that was, where, and what:
/// `=` a whole value, `~` the members of it that changed or were added, or `removed`. With --where
/// or --limit, a member that comes into the view is a `~` with all that is shown of it, and
/// `removed` means that it left the view, or the collection. A lost connection is opened again by
/// itself, and goes on from where it was; stderr says so.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping watch localhost:7070/vehicles/bus-017
  halfping watch --rate 1 --depth 2 localhost:7070/vehicles localhost:7070/fleet
  halfping watch localhost:7070/vehicles --where 'status == \"stopped\"' --select route
  halfping watch localhost:7070/vehicles --order -speed_mps --limit 5
  halfping watch --json localhost:7070/fleet | jq .value")]
pub(crate) struct Watch {
    /// The resources
    #[arg(value_name = "URL", required = true)]
    pub(crate) urls: Vec<Target>,

    /// Print frames as the protocol has them, one JSON object a line; with several URLs, `url`
    /// comes first in each
    #[arg(long)]
    pub(crate) json: bool,

    /// At most N updates a second, the newest state at each
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,

    /// Cut the value N levels of objects below the resource
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<u32>,

    #[command(flatten)]
    pub(crate) view: View,

    /// Start with what changed since this cursor
    #[arg(long, value_name = "CURSOR")]
    pub(crate) since: Option<String>,
}

/// Write a recording into a server, at the pace it was recorded
///
/// A recording has one JSON object a line, in order of time:
/// `{"t":1533099600000,"path":"/aircraft/4067f2","value":{…}}`, where `t` is in milliseconds. It
/// may be compressed with gzip. Each value is PUT as it is written.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping replay --to localhost:7070 aircraft.ndjson.gz
  halfping replay --to localhost:7070 --speed max aircraft.ndjson.gz
  zcat part*.gz | halfping replay --to localhost:7070/archive --speed 60 -")]
pub(crate) struct Replay {
    /// The recording; `-` reads it from stdin
    pub(crate) file: PathBuf,

    /// The URL that the recording's paths are appended to
    #[arg(long, value_name = "URL")]
    pub(crate) to: Target,

    /// Speed, as a multiple of the recorded one; `max`: as fast as the server acknowledges
    #[arg(long, value_name = "N|max", default_value = "1", value_parser = speed)]
    pub(crate) speed: Speed,

    /// Start again at the end, for ever
    #[arg(long = "loop")]
    pub(crate) again: bool,
}

/// Measure how much a server carries, to size it
///
/// Readers open event streams of one value; then it is written at a steady rate. Shows the server's
/// memory for each idle reader, the age of updates on arrival, and the server's CPU time for each.
/// Memory and CPU time come from the server's /_metrics: they include what others do with the
/// server meanwhile. Without a URL, a server in memory is started on this machine, and ended
/// afterwards. Ctrl-C ends the measurement and prints the figures so far.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping bench
  halfping bench --readers 10000 --rate 1
  halfping bench localhost:7070 --payload 1000 --seconds 30
  halfping bench https://api.example.org/scratch --json")]
pub(crate) struct Bench {
    /// The server, and the place in which a value is written and removed again [default: a server
    /// of its own]
    pub(crate) url: Option<Target>,

    /// Number of readers
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = readers())]
    pub(crate) readers: u32,

    /// Writes a second, one after the other
    #[arg(long, value_name = "R", default_value = "10", value_parser = rate)]
    pub(crate) rate: f64,

    /// Length of the value
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = payload())]
    pub(crate) payload: u32,

    /// Duration of writing, in seconds
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

fn readers() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=60_000)
}

/// Allowed lengths of values. A value holds a number, so it has a least length.
fn payload() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(32..=32_768)
}

fn rate(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(rate) if (0.1..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("expected writes a second, from 0.1 to 1000"),
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds, from 0.1 to 3600"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    Times(f64),
    Max,
}

fn speed(text: &str) -> Result<Speed, &'static str> {
    match text.parse() {
        _ if text == "max" => Ok(Speed::Max),
        Ok(times) if f64::is_finite(times) && times > 0.0 => Ok(Speed::Times(times)),
        _ => Err("expected a positive number, or `max`"),
    }
}

fn times(text: &str) -> Result<f64, &'static str> {
    match speed(text) {
        Ok(Speed::Times(times)) => Ok(times),
        _ => Err("expected a positive number"),
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((std::net::Ipv4Addr::LOCALHOST, port).into());
    }
    let found: Vec<SocketAddr> = text
        .to_socket_addrs()
        .map_err(
            |_| "expected an address of this machine and a port, such as 127.0.0.1:7070, or a port",
        )?
        .collect();
    // A name may have addresses of both kinds. IPv4 is taken: most clients try it too.
    let first = found.iter().find(|a| a.is_ipv4()).or(found.first());
    first.copied().ok_or("the name has no address")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_speed_is_a_positive_number_or_max() {
        assert_eq!(speed("max"), Ok(Speed::Max));
        assert_eq!(speed("2.5"), Ok(Speed::Times(2.5)));
        for wrong in ["0", "-1", "inf", "NaN", "fast", ""] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
    }
}
