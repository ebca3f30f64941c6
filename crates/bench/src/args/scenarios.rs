//! The grammar of each scenario.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, ValueEnum};

use super::{Local, Runs, Transport, anywhere, minutes, payload, rate, seconds};

/// One value, many readers
///
/// Each reader has a connection of its own, and all read the same resource. In lock step the next
/// value is published when all of them have the last; free-running, as fast as the server takes
/// them.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping-bench fanout
  halfping-bench fanout --readers 200 --payload 1000 --mode lock-step
  halfping-bench fanout --transport sse --url localhost:7070")]
pub(crate) struct Fanout {
    /// Number of readers
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub(crate) readers: u32,

    /// Length of the value; may be given several times
    #[arg(long, value_name = "BYTES", default_values_t = [200, 1000], value_parser = payload())]
    pub(crate) payload: Vec<u32>,

    /// Modes of publishing [default: both]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Pace>,

    /// Duration of each measurement
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Writes that may be unanswered when free-running
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) window: u32,

    /// Transport of the readers
    #[arg(long, value_name = "TRANSPORT", default_value = "ws")]
    pub(crate) transport: Transport,

    /// Readers look through a view that shows the value: the first ten of its collection
    #[arg(long)]
    pub(crate) view: bool,

    #[command(flatten)]
    pub(crate) local: Local,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pace {
    LockStep,
    FreeRunning,
}

/// From a PUT to its delivery, with nothing else to do
///
/// Values are PUT on a connection that is kept open, and one reader receives them. The floor passes
/// the same bytes on from one socket to the other. The fewer values a second, the less of the
/// server is in the processor's caches when the next one comes.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping-bench latency
  halfping-bench latency --rate 50 --seconds 20
  halfping-bench latency --seconds 30 --transport sse")]
pub(crate) struct Latency {
    /// Values a second, about: the time between two is random, so that nothing falls into step
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rate: u32,

    /// Duration of each measurement
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Length of the value
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = payload())]
    pub(crate) payload: u32,

    /// Transport of the reader
    #[arg(long, value_name = "TRANSPORT", default_value = "ws")]
    pub(crate) transport: Transport,

    #[command(flatten)]
    pub(crate) local: Local,
}

/// Connections on which nothing happens
///
/// Shows the memory of the server process for each. The kernel's memory for them is not counted.
/// Each connection reads a small resource of its own.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping-bench idle
  halfping-bench idle --connections 2000 --transport sse
  halfping-bench idle --one-resource")]
pub(crate) struct Idle {
    /// Number of connections
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=27_000))]
    pub(crate) connections: u32,

    /// Transports of the connections [default: both]
    #[arg(long, value_name = "TRANSPORT")]
    pub(crate) transport: Option<Transport>,

    /// All connections read the same resource
    #[arg(long)]
    pub(crate) one_resource: bool,

    #[command(flatten)]
    pub(crate) local: Local,
}

/// Very many links on one session
///
/// Each link reads a resource of its own. Shows what a link takes of the server's memory beside the
/// state, how fast links are opened, and how old updates of random resources are when they arrive,
/// beside the same with one link.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping-bench mux
  halfping-bench mux --links 10000 --rate 5000")]
pub(crate) struct Mux {
    /// Number of links
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) links: u32,

    /// Updates a second
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = rate())]
    pub(crate) rate: u32,

    /// Duration of the updates
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = seconds)]
    pub(crate) seconds: Duration,

    #[command(flatten)]
    pub(crate) local: Local,
}

/// A reader that stops reading, and goes on
///
/// One value is updated at a steady rate. A reader with a receive buffer of 64 KiB stops reading
/// for a while; another one keeps up. Shows how many bytes the first has to read before it has the
/// newest value, and that the other is not affected.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping-bench stall
  halfping-bench stall --credit 16384
  halfping-bench stall --seconds 60 --transport sse")]
pub(crate) struct Stall {
    /// Updates a second
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = rate())]
    pub(crate) rate: u32,

    /// Duration of the pause; before that, both read for half as long
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Length of the value
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = payload())]
    pub(crate) payload: u32,

    /// Transport of the readers
    #[arg(long, value_name = "TRANSPORT", default_value = "ws")]
    pub(crate) transport: Transport,

    /// Bytes that the server may have sent to a session without an acknowledgement (the floor has
    /// no such limit)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) credit: Option<u32>,

    #[command(flatten)]
    pub(crate) local: Local,
}

/// A session that was cut, and comes back
///
/// It reads many documents. While it is away, commits touch some of them. Shows how many bytes it
/// receives until it is synced again; the floor sends the newest change of each of these documents
/// and nothing else.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping-bench resume
  halfping-bench resume --links 1000 --commits 50000 --touched 10")]
pub(crate) struct Resume {
    /// Documents that the session reads
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) links: u32,

    /// Commits that it misses
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) commits: u32,

    /// Documents that these commits are spread over
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) touched: u32,

    #[command(flatten)]
    pub(crate) local: Local,
}

/// A slow link
///
/// Many values are updated at a steady rate, and one session reads all of them over a link that
/// cannot carry them. Shows the age of what arrives, and whether every value gets its turn. The
/// link is made of two network namespaces of Linux, which end with the processes in them; it needs
/// root, or a system that lets everybody make namespaces. With --url, the link is the one to that
/// server.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  sudo halfping-bench shaped
  sudo halfping-bench shaped --link 256 --values 50
  halfping-bench shaped --url http://192.0.2.7:7070 --no-floor")]
pub(crate) struct Shaped {
    /// Number of values
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) values: u32,

    /// Updates a second of each
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rate: u32,

    /// Length of each
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = payload())]
    pub(crate) payload: u32,

    /// Capacity of the link, kbit/s
    #[arg(long, value_name = "KBITS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    pub(crate) link: u32,

    /// Duration of each measurement, after a quarter of it to fill the buffers
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Measure a server that runs already, over the link to it; it should be yours
    #[arg(long, value_name = "URL", value_parser = anywhere)]
    pub(crate) url: Option<SocketAddr>,

    #[command(flatten)]
    pub(crate) runs: Runs,

    /// This process is in the reader's namespace already
    #[arg(long, hide = true)]
    pub(crate) inside: bool,
}

impl Shaped {
    /// True if a slow link must be made. A server that runs already has its own.
    pub(crate) fn needs_link(&self) -> bool {
        self.url.is_none()
    }
}

/// Writes, as many as are acknowledged
///
/// Each writer has a connection that is kept open, and a resource of its own. It writes the next
/// value when the last is acknowledged. The floor acknowledges and does nothing.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping-bench ingest
  halfping-bench ingest --writers 8 --payload 1000")]
pub(crate) struct Ingest {
    /// Number of writers
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) writers: u32,

    /// Length of the value
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = payload())]
    pub(crate) payload: u32,

    /// Writes are durable when they are acknowledged; the floor appends them to a file, with one
    /// sync for all that are there
    #[arg(long)]
    pub(crate) durable: bool,

    /// Directory in which durable writes get one of their own, which is removed afterwards
    #[arg(long, value_name = "DIR", default_value = ".", requires = "durable")]
    pub(crate) directory: PathBuf,

    /// Duration of each measurement
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = seconds)]
    pub(crate) seconds: Duration,

    #[command(flatten)]
    pub(crate) local: Local,
}

/// A steady mixture of everything, for long
///
/// Writers make, change and remove resources, always under new names; sessions and streams come,
/// come back with their cursor, open and end links, stall, and go. Samples memory, open files,
/// threads, links and the like, and the time from an update to its reader. Writes the samples as
/// CSV and as a picture, and says of each quantity whether it is flat over the last two thirds of
/// the time. Ctrl-C ends the run with the samples so far. It fails if something grows.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping-bench soak
  halfping-bench soak --minutes 480 --every 60 --out results
  halfping-bench soak --minutes 5 --writes 2000 --readers 200")]
pub(crate) struct Soak {
    /// The program whose server is measured [default: the `halfping` beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Option<PathBuf>,

    /// Duration in minutes
    #[arg(long, value_name = "N", default_value = "30", value_parser = minutes)]
    pub(crate) minutes: f64,

    /// Writes a second
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = rate())]
    pub(crate) writes: u32,

    /// Sessions and streams at a time
    #[arg(long, value_name = "N", default_value_t = 36, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) readers: u32,

    /// Seconds between two samples
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) every: Duration,

    /// Have the server keep its state in this directory, and sample its size [default: in memory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Directory for halfping-soak.csv and halfping-soak.svg
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
