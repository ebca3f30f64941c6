//! The grammar of attacks, and of the load by members that come and go.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, ValueEnum};

use super::{rate, seconds};

/// Attacks on a server, and their effect on other clients
///
/// One attack at a time runs against a server of its own. Meanwhile a session watches a value that
/// is updated, and another client makes plain reads and writes. Shows the age of updates at the
/// session before and during the attack, the time of reads and writes, the growth of the server's
/// memory beside the bound that its limits give, and whether everything is as before afterwards.
/// Attackers run with the lowest priority, since real ones have machines of their own. The floor is
/// measured after the attack, while other threads use as much of the processors as server and
/// attackers did: what the machine itself makes of so much work. Slow
/// requests are made by slowhttptest, if it is installed. With --server, another binary is
/// measured, or several by turns.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping-bench attack
  halfping-bench attack --list
  halfping-bench attack --only large-bodies,depth-bombs --seconds 5
  halfping-bench attack --server before/halfping --server after/halfping --json")]
pub(crate) struct AttackBench {
    /// Names of the attacks, with commas between them [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// Print the names of all attacks, and a line about each
    #[arg(long)]
    pub(crate) list: bool,

    /// The program whose server is attacked; may be given several times [default: the `halfping`
    /// beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Vec<PathBuf>,

    /// Duration of each attack; before it, the server is measured without one for half as long
    #[arg(long, value_name = "SECONDS", default_value = "8", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Updates a second of the value that the session watches
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = rate())]
    pub(crate) rate: u32,

    /// Directory in which durable writes get one of their own, which is removed afterwards
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// A large object in which members come and go
///
/// Some members stay, others come and go at a steady rate. A stream and a session read the object
/// over a slow link: shows when they are synced, and how far behind they are at most afterwards.
/// `halfping backup` writes it to a file: shows how much longer that takes than while nothing
/// changes. The link is made as by `halfping-bench shaped`.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  sudo halfping-bench queue
  sudo halfping-bench queue --only session --link 256
  halfping-bench queue --only backup --server before/halfping --server after/halfping")]
pub(crate) struct Queue {
    /// Readers, with commas between them [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<QueueReader>,

    /// The program that is measured; may be given several times [default: the `halfping` beside
    /// this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Vec<PathBuf>,

    /// Members of 1 kB that stay
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) members: u32,

    /// Small members that come each second; as many go
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = rate())]
    pub(crate) churn: u32,

    /// Capacity of the link, kbit/s
    #[arg(long, value_name = "KBITS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    pub(crate) link: u32,

    /// Duration of the measurement after readers are synced
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Members of 1 kB that stay while a backup is made
    #[arg(long, value_name = "N", default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) backup_members: u32,

    /// Small members that come each second meanwhile
    #[arg(long, value_name = "N", default_value_t = 2500, value_parser = rate())]
    pub(crate) backup_churn: u32,

    /// The longest time to wait for a reader or a backup
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) patience: Duration,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,

    /// This process is in the reader's namespace already
    #[arg(long, hide = true)]
    pub(crate) inside: bool,
}

impl Queue {
    pub(crate) fn wants(&self, reader: QueueReader) -> bool {
        self.only.is_empty() || self.only.contains(&reader)
    }

    /// True if a reader needs the slow link. Backups do not.
    pub(crate) fn needs_link(&self) -> bool {
        self.wants(QueueReader::Stream) || self.wants(QueueReader::Session)
    }
}

/// Readers of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueueReader {
    /// A stream of NDJSON
    Stream,
    /// A WebSocket session with one link
    Session,
    /// `halfping backup`
    Backup,
}
