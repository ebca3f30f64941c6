//! A large object in which members come and go: checks that slow readers and backups reach its end.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Error, Result, anyhow};
use serde_json::{Value, json};

use crate::args::{self, QueueReader};
use crate::churn::{self, Churn};
use crate::follow::{By, Follower};
use crate::plain::Plain;
use crate::program;
use crate::progress::Progress;
use crate::subject::{Kind, Setup, Subject};

const QUEUE: &str = "/queue";
/// The largest allowed time: a reader's in relation to that of its bytes, a backup's to that in
/// quiet.
const READER_RATIO_MAX: f64 = 2.0;
const BACKUP_RATIO_MAX: f64 = 3.0;
/// Bytes that are read at once.
const READ_BYTES: usize = 16 << 10;
/// Time until members come and go at their rate; readers start after it.
const WARM_UP: Duration = Duration::from_secs(2);
/// Time between two checks of a backup.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The result of one reader of one server.
struct Outcome {
    server: Option<PathBuf>,
    reader: QueueReader,
    /// The least time. For a stream or a session, the time of its bytes on the link; for a backup,
    /// its time in quiet.
    least_s: f64,
    /// `None`: not within the time limit.
    done_s: Option<f64>,
    /// The largest delay of the reader after it was synced.
    behind_s: Option<f64>,
    /// Members that came a second, in fact.
    come_per_s: f64,
}

pub(super) fn queue(args: &args::Queue) -> Result<()> {
    let servers: Vec<Option<PathBuf>> = match args.server.as_slice() {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    let progress = Progress::new();
    let (mut outcomes, mut failure) = (Vec::new(), None);
    for reader in [QueueReader::Stream, QueueReader::Session, QueueReader::Backup] {
        for server in servers.iter().filter(|_| args.wants(reader)) {
            progress.say(format!("queue, {}", name(reader, server.as_deref())));
            let outcome = match reader {
                QueueReader::Stream => follow(args, server.as_ref(), reader, By::Stream),
                QueueReader::Session => follow(args, server.as_ref(), reader, By::Session),
                QueueReader::Backup => back_up(args, server.as_ref()),
            };
            match outcome {
                Ok(outcome) => outcomes.push(outcome),
                // One reader that fails does not stop the others.
                Err(why) => failure = Some(why.context(name(reader, server.as_deref()))),
            }
        }
    }
    progress.end();
    print(args, &outcomes, &mut io::stdout().lock())?;
    failure.map_or(Ok(()), Err)
}

fn name(reader: QueueReader, server: Option<&Path>) -> String {
    let reader = match reader {
        QueueReader::Stream => "stream",
        QueueReader::Session => "session",
        QueueReader::Backup => "backup",
    };
    server.map_or_else(|| reader.to_owned(), |server| format!("{reader}, {}", server.display()))
}

fn broken(error: io::Error) -> Error {
    anyhow!("a connection to the server that is measured failed: {error}")
}

/// Follows the queue over the slow link.
fn follow(
    args: &args::Queue,
    server: Option<&PathBuf>,
    reader: QueueReader,
    by: By,
) -> Result<Outcome> {
    let link_kbits = Some(args.link);
    let subject = Subject::start(
        Kind::Halfping,
        &Setup { program: server.cloned(), link_kbits, ..Setup::default() },
    )?;
    let mut plain = Plain::new(subject.address);
    churn::fill(&mut plain, QUEUE, args.members).map_err(broken)?;
    let churn = Churn::start(subject.address, QUEUE, args.churn);
    thread::sleep(WARM_UP);
    let bytes = plain.get(QUEUE).map_err(broken)?.body.len();
    let least_s = bytes as f64 * 8.0 / f64::from(args.link) / 1000.0;
    let (come, began) = (churn.come(), Instant::now());

    let mut follower = Follower::open(subject.readers_address, QUEUE, by, None).map_err(broken)?;
    let (mut done, mut held, mut behind_s) = (None, None, None);
    // Age of the state that the reader holds.
    let age_s = |held: Option<u64>| Some(now_ms().saturating_sub(held?) as f64 / 1000.0);
    loop {
        let over = match done {
            None => began.elapsed() >= args.patience,
            Some(done) => began.elapsed() >= done + args.seconds,
        };
        if over {
            break;
        }
        let seen = follower.read_once(READ_BYTES).map_err(broken)?;
        if seen.ended {
            return Err(anyhow!("the server ended what was read"));
        }
        if seen.synced && done.is_none() {
            done = Some(began.elapsed());
        }
        // The reader is furthest behind just before a newer state is complete.
        if done.is_some() {
            behind_s = age_s(held).into_iter().chain(behind_s).reduce(f64::max);
        }
        held = seen.whole_at.or(held);
    }
    let come_per_s = (churn.come() - come) as f64 / began.elapsed().as_secs_f64();
    let done_s = done.map(|done| done.as_secs_f64());
    Ok(Outcome { server: server.cloned(), reader, least_s, done_s, behind_s, come_per_s })
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Makes a backup while nothing changes, and one while members come and go.
fn back_up(args: &args::Queue, server: Option<&PathBuf>) -> Result<Outcome> {
    // In a namespace of its own, this process reaches a server only over a link.
    let link_kbits = args.inside.then_some(args.link);
    let setup = Setup { program: server.cloned(), link_kbits, ..Setup::default() };
    let subject = Subject::start(Kind::Halfping, &setup)?;
    let mut plain = Plain::new(subject.address);
    churn::fill(&mut plain, QUEUE, args.backup_members).map_err(broken)?;
    let slow = || anyhow!("a backup while nothing changes takes too long");
    let quiet = Backup::start(server, &subject)?.wait(args.patience)?.ok_or_else(slow)?;

    let churn = Churn::start(subject.address, QUEUE, args.backup_churn);
    thread::sleep(WARM_UP);
    let (come, began) = (churn.come(), Instant::now());
    let done = Backup::start(server, &subject)?.wait(args.patience)?;
    Ok(Outcome {
        server: server.cloned(),
        reader: QueueReader::Backup,
        least_s: quiet.as_secs_f64(),
        done_s: done.map(|done| done.as_secs_f64()),
        behind_s: None,
        come_per_s: (churn.come() - come) as f64 / began.elapsed().as_secs_f64(),
    })
}

/// A process of `halfping backup`, which is ended when this is dropped.
struct Backup {
    child: Child,
    began: Instant,
}

impl Backup {
    fn start(program: Option<&PathBuf>, subject: &Subject) -> Result<Backup> {
        let cannot = |error: io::Error| anyhow!("cannot run a backup: {error}");
        let mut command = Command::new(program::server(program.map(PathBuf::as_path))?);
        command.arg("backup").arg(format!("http://{}", subject.address)).arg("-");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        Ok(Backup { child: command.spawn().map_err(cannot)?, began })
    }

    /// Its duration, if it ends in that time.
    fn wait(mut self, patience: Duration) -> Result<Option<Duration>> {
        while self.began.elapsed() < patience {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(Some(self.began.elapsed())),
                Some(status) => {
                    return Err(anyhow!("a backup ended with {status}"));
                }
                None => thread::sleep(CHECK_INTERVAL),
            }
        }
        Ok(None)
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Outcome {
    fn ratio_max(&self) -> f64 {
        if self.reader == QueueReader::Backup { BACKUP_RATIO_MAX } else { READER_RATIO_MAX }
    }

    fn is_ok(&self) -> bool {
        let most = self.ratio_max() * self.least_s;
        let is_in_time = self.done_s.is_some_and(|done| done <= most);
        is_in_time && self.behind_s.is_none_or(|behind| behind <= most)
    }
}

fn print(args: &args::Queue, outcomes: &[Outcome], out: &mut impl Write) -> io::Result<()> {
    if args.json {
        let readers: Vec<Value> = outcomes
            .iter()
            .map(|outcome| {
                json!({
                    "reader": name(outcome.reader, None), "server": outcome.server,
                    "least_s": outcome.least_s, "done_s": outcome.done_s, "behind_s": outcome.behind_s,
                    "ratio": outcome.done_s.map(|done| done / outcome.least_s),
                    "ratio_max": outcome.ratio_max(), "come_per_s": outcome.come_per_s,
                    "is_ok": outcome.is_ok(),
                })
            })
            .collect();
        let settings = json!({
            "members": args.members, "churn": args.churn, "link_kbits": args.link,
            "backup_members": args.backup_members, "backup_churn": args.backup_churn,
            "seconds": args.seconds.as_secs_f64(), "patience_s": args.patience.as_secs_f64(),
        });
        return writeln!(
            out,
            "{}",
            json!({ "scenario": "queue", "settings": settings, "readers": readers })
        );
    }
    writeln!(
        out,
        "queue: members {}, churn {}/s, link {} kbit/s; backup members {}, churn {}/s; seconds\n",
        args.members, args.churn, args.link, args.backup_members, args.backup_churn
    )?;
    writeln!(
        out,
        "{:>8}{:>8}{:>7}{:>6}{:>8}{:>8}  verdict",
        "least", "done", "ratio", "goal", "behind", "come/s"
    )?;
    for outcome in outcomes {
        let or_dash = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
        };
        writeln!(
            out,
            "{:>8.1}{:>8}{:>7}{:>6.0}{:>8}{:>8.0}  {}: {}",
            outcome.least_s,
            or_dash(outcome.done_s),
            or_dash(outcome.done_s.map(|done| done / outcome.least_s)),
            outcome.ratio_max(),
            or_dash(outcome.behind_s),
            outcome.come_per_s,
            name(outcome.reader, outcome.server.as_deref()),
            match outcome.done_s {
                None => "not done",
                Some(_) if outcome.is_ok() => "ok",
                Some(_) => "too slow",
            }
        )?;
    }
    Ok(())
}
