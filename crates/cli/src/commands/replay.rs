//! `halfping replay`: writes a recording into a server at its own pace.
//!
//! One thread reads the file, one task waits for each update's time, and up to [`CONNECTIONS`]
//! tasks write, each on a connection of its own. A path always goes to the same task, which waits
//! for each acknowledgement: so the writes to a path keep their order.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use halfping_client::{Client, RequestError};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until};

use crate::args::{Replay, Speed};
use crate::recording::{Recording, Update};
use crate::report::{Blame, Failure, tell};
use crate::target::Target;

/// Writes under way at once.
const CONNECTIONS: usize = 8;
/// Updates that are read before their time.
const READ_AHEAD_MAX: usize = 1024;
/// Due updates that wait for one connection.
const WAITING_MAX: usize = 64;
/// Attempts at a server that is busy (429, 503) before that is an error.
const TRIES_MAX: u32 = 5;
/// Time to wait when a busy server names none.
const BUSY_WAIT: Duration = Duration::from_secs(1);
/// Time between two updates of the progress bar.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn replay(args: Replay) -> Result<(), Failure> {
    if args.again && args.file == Path::new("-") {
        return Err(
            Failure::new(Blame::Usage, "--loop cannot start stdin again").hint("give it a file")
        );
    }
    if args.to.path.contains(['?', '#']) {
        return Err(Failure::new(
            Blame::Usage,
            format!("paths cannot follow the query of {}", args.to),
        ));
    }
    let client = args.to.client()?;
    let tally = Arc::new(Tally::default());
    let mut connections = JoinSet::new();
    let mut queues = Vec::new();
    for _ in 0..CONNECTIONS {
        let (queue, due) = channel(WAITING_MAX);
        queues.push(queue);
        connections.spawn(write(client.clone(), args.to.clone(), due, Arc::clone(&tally)));
    }
    let (read, updates) = channel(READ_AHEAD_MAX);
    let first = Recording::open(&args.file)?;
    let file = args.file.clone();
    let reader = tokio::task::spawn_blocking(move || read_all(first, &file, args.again, &read));

    let progress = progress(&args.file);
    let began = Instant::now();
    let mut pace = std::pin::pin!(pace(updates, queues, args.speed));
    let mut paced = false;
    let mut shown = Shown::default();
    let mut ticks = interval(SHOWN_EVERY);
    let outcome = loop {
        tokio::select! {
            () = &mut pace, if !paced => paced = true,
            // All queues are closed once the pacing is over, and each connection ends when its own
            // is empty.
            ended = connections.join_next() => match ended {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(failure))) => break Err(failure),
                Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
                None => break reader.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())),
            },
            _ = ticks.tick() => shown.update(&progress, &tally, args.speed),
            _ = tokio::signal::ctrl_c() => break Ok(()),
        }
    };
    progress.finish_and_clear();
    summarise(&tally, began.elapsed(), args.speed);
    outcome
}

/// An update whose time has come.
struct Due {
    update: Update,
    /// The time at which it was due; `None` if there is no schedule.
    at: Option<Instant>,
}

/// The work done so far.
#[derive(Default)]
struct Tally {
    written: AtomicU64,
    /// Position in the file of the last written update.
    read_bytes: AtomicU64,
    /// Time between the last update's due time and its acknowledgement.
    lag_us: AtomicU64,
    lag_us_max: AtomicU64,
}

/// Reads the file, repeatedly if asked to. Ends early when the receiver is gone.
pub(crate) fn read_all(
    first: Recording,
    file: &Path,
    again: bool,
    read: &Sender<(u64, Update)>,
) -> Result<(), Failure> {
    let mut recording = first;
    for pass in 0.. {
        let mut empty = true;
        for update in recording {
            let update = update.map_err(|failure| failure.at(file.display()))?;
            empty = false;
            if read.blocking_send((pass, update)).is_err() {
                return Ok(());
            }
        }
        if empty {
            return Err(Failure::new(
                Blame::Input,
                format!("{}: nothing to replay", file.display()),
            ));
        }
        if !again {
            break;
        }
        recording = Recording::open(file)?;
    }
    Ok(())
}

/// Hands each update to its connection when its time has come.
async fn pace(mut updates: Receiver<(u64, Update)>, queues: Vec<Sender<Due>>, speed: Speed) {
    let hash = BuildHasherDefault::<DefaultHasher>::new();
    let mut schedule: Option<(u64, Instant, f64)> = None;
    while let Some((pass, update)) = updates.recv().await {
        let at = match speed {
            Speed::Max => None,
            Speed::Times(times) => {
                let (_, start, t_ms) = match schedule {
                    Some(same) if same.0 == pass => same,
                    _ => *schedule.insert((pass, Instant::now(), update.t_ms)),
                };
                let after = Duration::try_from_secs_f64((update.t_ms - t_ms) / 1000.0 / times);
                // An update with an earlier time is due at once.
                let at = start + after.unwrap_or_default();
                sleep_until(at).await;
                Some(at)
            }
        };
        let queue = &queues[hash.hash_one(&update.path) as usize % queues.len()];
        if queue.send(Due { update, at }).await.is_err() {
            return; // The connection has failed; it says why.
        }
    }
}

/// Writes due updates, one at a time.
async fn write(
    client: Client,
    to: Target,
    mut due: Receiver<Due>,
    tally: Arc<Tally>,
) -> Result<(), Failure> {
    while let Some(Due { update, at }) = due.recv().await {
        let path = format!("{}{}", to.place(), update.path);
        let mut tries = 0;
        while let Err(error) = client.put(&path, update.value.get().to_owned()).await {
            tries += 1;
            match &error {
                RequestError::Refused(no)
                    if matches!(no.status, 429 | 503) && tries < TRIES_MAX =>
                {
                    sleep(no.retry_after.unwrap_or(BUSY_WAIT)).await;
                }
                _ => {
                    let target = Target { base: to.base.clone(), path };
                    return Err(
                        Failure::request(&target, error).at(format_args!("line {}", update.line))
                    );
                }
            }
        }
        tally.written.fetch_add(1, Ordering::Relaxed);
        tally.read_bytes.store(update.read_bytes, Ordering::Relaxed);
        if let Some(at) = at {
            let lag_us = at.elapsed().as_micros() as u64;
            tally.lag_us.store(lag_us, Ordering::Relaxed);
            tally.lag_us_max.fetch_max(lag_us, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// A progress bar if the end is known, else a spinner. Hidden if stderr is no terminal.
fn progress(file: &Path) -> ProgressBar {
    let (bar, template) = match file.metadata() {
        Ok(metadata) if metadata.is_file() => {
            (ProgressBar::new(metadata.len()), "{elapsed_precise} [{bar:30}] {percent:>3}%  {msg}")
        }
        _ => (ProgressBar::new_spinner(), "{elapsed_precise} {spinner}  {msg}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

/// The progress that was shown last, to compute the rate since then.
struct Shown {
    at: Instant,
    written: u64,
}

impl Default for Shown {
    fn default() -> Shown {
        Shown { at: Instant::now(), written: 0 }
    }
}

impl Shown {
    fn update(&mut self, progress: &ProgressBar, tally: &Tally, speed: Speed) {
        let now = Shown { at: Instant::now(), written: tally.written.load(Ordering::Relaxed) };
        let seconds = (now.at - self.at).as_secs_f64().max(f64::EPSILON);
        let rate = (now.written - self.written) as f64 / seconds;
        let lag = match speed {
            Speed::Max => String::new(),
            Speed::Times(_) => format!(", lag {}", milliseconds(&tally.lag_us)),
        };
        progress.set_position(tally.read_bytes.load(Ordering::Relaxed));
        progress.set_message(format!("{} updates, {rate:.0}/s{lag}", now.written));
        *self = now;
    }
}

fn summarise(tally: &Tally, took: Duration, speed: Speed) {
    let written = tally.written.load(Ordering::Relaxed);
    let seconds = took.as_secs_f64();
    let lag = match speed {
        Speed::Max => String::new(),
        Speed::Times(_) => format!(", at most {} behind", milliseconds(&tally.lag_us_max)),
    };
    tell(format_args!(
        "{written} updates in {seconds:.1} s ({:.0}/s){lag}",
        written as f64 / seconds
    ));
}

fn milliseconds(us: &AtomicU64) -> String {
    format!("{:.0} ms", us.load(Ordering::Relaxed) as f64 / 1000.0)
}
