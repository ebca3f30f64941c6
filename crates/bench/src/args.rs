//! The grammar of `halfping-bench`: options that its scenarios share.

mod attack;
mod scenarios;

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

pub(crate) use self::attack::*;
pub(crate) use self::scenarios::*;

/// Measure a server on this machine
///
/// Starts the `halfping` that was built beside it and loads it over 127.0.0.1. Prints the figures
/// of the server beside those of its floor: a bare loop that writes the same bytes to the same
/// sockets, measured in the same run. Figures are medians of the runs.
#[derive(Debug, Parser)]
#[command(
    name = "halfping-bench",
    version,
    after_help = "\
Examples:
  halfping-bench fanout
  halfping-bench fanout --readers 200 --payload 1000 --mode lock-step --transport sse
  halfping-bench mux --links 10000
  halfping-bench stall --credit 16384 --json

`halfping-bench SCENARIO --help` says what each one measures."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    Fanout(Fanout),
    Latency(Latency),
    Idle(Idle),
    Mux(Mux),
    Stall(Stall),
    Resume(Resume),
    Shaped(Shaped),
    Ingest(Ingest),
    Attack(AttackBench),
    Queue(Queue),
    Soak(Soak),
    #[command(hide = true)]
    FloorServer(FloorServer),
}

/// The floor as a server, which the measurements start to compare with
#[derive(Debug, Group)]
pub(crate) struct FloorServer {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,

    /// The counterpart of the server's limit `unsent_bytes`
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 10)]
    pub(crate) unsent_bytes: u32,

    /// Append writes to a file in this directory, and answer when it is synced
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Options of all scenarios.
#[derive(Debug, Group)]
pub(crate) struct Runs {
    /// Number of runs; each figure is the median of them
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) runs: u32,

    /// The program whose server is measured [default: the `halfping` beside this program]
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    pub(crate) server: Option<PathBuf>,

    /// Leave out the floor
    #[arg(long)]
    pub(crate) no_floor: bool,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of the scenarios that stay on this machine.
#[derive(Debug, Group)]
pub(crate) struct Local {
    #[command(flatten)]
    pub(crate) runs: Runs,

    /// Measure a server that runs already, on this machine; what it uses is then unknown
    #[arg(long, value_name = "URL", value_parser = loopback)]
    pub(crate) url: Option<SocketAddr>,
}

/// Transports of readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// WebSocket sessions
    Ws,
    /// Server-sent events
    Sse,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Ws => "ws",
            Transport::Sse => "sse",
        })
    }
}

/// Allowed lengths of values. A value holds a number and a time, so it has a least length.
fn payload() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(64..=32_768)
}

/// Updates a second that one thread can make.
fn rate() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=20_000)
}

/// Parses the address of a server. Only loopback is allowed: the load must not reach other people's
/// machines.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let local = place(text)
        .and_then(|host| host.replace("localhost", "127.0.0.1").parse::<SocketAddr>().ok());
    let address = local.filter(|address| address.ip().is_loopback());
    address.ok_or_else(|| {
        "expected the URL of a server on this machine, such as localhost:7070".to_owned()
    })
}

fn anywhere(text: &str) -> Result<SocketAddr, String> {
    let wrong = || "expected the http URL of a server, such as http://192.0.2.7:7070".to_owned();
    let host = place(text).ok_or_else(wrong)?;
    let addresses =
        host.to_socket_addrs().map_err(|error| format!("cannot find {host}: {error}"))?;
    addresses.into_iter().next().ok_or_else(wrong)
}

/// Host and port of an http URL without a path. The scheme may be left out.
fn place(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let host = rest.strip_suffix('/').unwrap_or(rest);
    (scheme == "http" && !host.contains(['/', '?', '#'])).then_some(host)
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds, from 0.1 to 600"),
    }
}

fn minutes(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(minutes) if (0.05..=10_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("expected minutes, from 0.05 to 10000"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_on_this_machine_are_measured() {
        assert_eq!(loopback("localhost:7070"), Ok(([127, 0, 0, 1], 7070).into()));
        assert_eq!(loopback("http://[::1]:7070/").map(|address| address.port()), Ok(7070));
        for wrong in
            ["10.0.0.1:7070", "https://127.0.0.1:7070", "localhost:7070/below", "localhost"]
        {
            assert!(loopback(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_slow_link_may_lead_elsewhere() {
        assert_eq!(anywhere("http://10.0.0.1:7070"), Ok(([10, 0, 0, 1], 7070).into()));
        for wrong in ["https://10.0.0.1:7070", "10.0.0.1:7070/below", "10.0.0.1"] {
            assert!(anywhere(wrong).is_err(), "{wrong}");
        }
    }
}
