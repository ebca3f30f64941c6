//! The grammar of `halfping bench`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args as Group, Subcommand, ValueEnum};

use crate::target::Target;

/// Measure a server on this machine
///
/// Starts a server of its own, loads it over 127.0.0.1, and prints what it did, with its floor beside it: a bare loop
/// that writes the same bytes to the same sockets, measured in the same run. Figures are medians of the runs.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping bench fanout
  halfping bench fanout --readers 200 --payload 1000 --mode lock-step
  halfping bench stall --json")]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    Fanout(Fanout),
    Stall(Stall),
    /// The floor, as a server: what `bench` starts to compare with
    #[command(hide = true)]
    FloorServer,
}

/// What all scenarios have.
#[derive(Debug, Group)]
pub(crate) struct Runs {
    /// How often each figure is measured; the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) runs: u32,

    /// Leave out the floor
    #[arg(long)]
    pub(crate) no_floor: bool,

    /// Measure a server that runs already, on this machine; what it uses is then unknown
    #[arg(long, value_name = "URL", value_parser = loopback)]
    pub(crate) url: Option<SocketAddr>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// The load is nothing to send to other people's machines.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let target: Target = text.parse()?;
    let host = target.base.strip_prefix("http://").filter(|_| target.place().is_empty());
    let host = host.map(|host| host.replace("localhost", "127.0.0.1"));
    let address = host.and_then(|host| host.parse::<SocketAddr>().ok()).filter(|a| a.ip().is_loopback());
    address.ok_or_else(|| "expected the URL of a server on this machine, such as localhost:7070".to_owned())
}

/// One value, many readers
///
/// Readers are server-sent event streams of one resource, each on a connection of its own. In lock step the next value
/// is published when all of them have the last; free-running, as fast as the server takes them.
#[derive(Debug, Group)]
pub(crate) struct Fanout {
    /// How many readers
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub(crate) readers: u32,

    /// Length of the value; may be given several times
    #[arg(long, value_name = "BYTES", default_values_t = [200, 1000], value_parser = clap::value_parser!(u32).range(64..=32_768))]
    pub(crate) payload: Vec<u32>,

    /// How values are published [default: both]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Pace>,

    /// How long each measurement lasts
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Writes that may be unanswered when free-running
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) window: u32,

    #[command(flatten)]
    pub(crate) runs: Runs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pace {
    LockStep,
    FreeRunning,
}

/// A reader that stops reading, and goes on
///
/// One value is updated at a steady rate. A reader with a receive buffer of 64 KiB stops reading for a while; another one
/// keeps up. Shows how many bytes the first has to read before it has the newest value, and that nobody else
/// notices.
#[derive(Debug, Group)]
pub(crate) struct Stall {
    /// Updates a second
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) rate: u32,

    /// How long the reader does not read; before that, both read for half as long
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Length of the value
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(64..=32_768))]
    pub(crate) payload: u32,

    #[command(flatten)]
    pub(crate) runs: Runs,
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds, from 0.1 to 600"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_on_this_machine_are_measured() {
        assert_eq!(loopback("localhost:7070"), Ok(([127, 0, 0, 1], 7070).into()));
        assert_eq!(loopback("http://[::1]:7070/").map(|address| address.port()), Ok(7070));
        for wrong in ["10.0.0.1:7070", "https://127.0.0.1:7070", "localhost:7070/below", "localhost"] {
            assert!(loopback(wrong).is_err(), "{wrong}");
        }
    }
}
