//! `halfping bench`: measures how much a server carries, to size one.
//!
//! Readers watch one value, and it is written at a steady rate. Memory and processor time are those
//! that the server reports at `/_metrics`.

mod ages;
mod findings;
mod own;
mod readers;
mod tally;

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use halfping_client::{Client, Reading, RequestError, WatchOptions, Written};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::Mutex;
use tokio::time::{Instant, interval, sleep, timeout_at};

use self::findings::{Findings, Load, Metrics};
use self::own::OwnServer;
use self::readers::Readers;
use self::tally::Tally;
use crate::args::Bench;
use crate::open_files::{self, SPARE_FILES};
use crate::report::{Blame, Failure, tell};
use crate::stop;
use crate::target::Target;

/// The share of the readers that is opened first (one in ten). The memory that a server takes only
/// once, for its first readers, is not counted.
const WARM_UP: u32 = 10;
/// Time until the memory of the server has settled.
const SETTLE: Duration = Duration::from_secs(1);
/// Time that readers have to receive the last value.
const STRAGGLERS: Duration = Duration::from_secs(2);
/// Time between two checks of that.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

pub(crate) async fn bench(args: Bench) -> Result<(), Failure> {
    // A server that is started here needs its connections, and files beside them.
    let connections = u64::from(args.readers) + SPARE_FILES;
    raise_open_files(connections + SPARE_FILES)?;
    let (own, target) = match &args.url {
        Some(url) => (None, url.clone()),
        None => {
            let own = OwnServer::start(connections)?;
            let target = own.url.parse().map_err(|why: String| Failure::new(Blame::Peer, why))?;
            (Some(own), target)
        }
    };
    if target.path.contains(['?', '#']) {
        let why = format!("paths cannot follow the query of {target}");
        return Err(Failure::new(Blame::Usage, why));
    }
    let run = Run::new(&args, target)?;
    let mut findings = Findings { is_own: own.is_some(), ..Findings::default() };
    let mut readers = Readers::new(Arc::clone(&run.tally));
    let measured = tokio::select! {
        // Before anything is written, the process has to notice signals.
        biased;
        () = stop::asked() => {
            findings.is_interrupted = true;
            Ok(())
        }
        measured = run.measure(&mut findings, &mut readers) => measured,
    };
    run.progress.finish_and_clear();
    findings.readers = readers.count();
    let was_asked = findings.is_interrupted;
    let is_left = findings.is_written && own.is_none();
    tokio::select! {
        () = run.end(&mut findings, readers) => {}
        () = asked_twice(was_asked) => {
            if is_left {
                run.tell_left(&findings.made, "stopped before it was removed");
            }
            stop::at_once();
        }
    }
    measured?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", findings.json(&args, &run.target))?;
    } else {
        findings.print(&args, &run.target, &mut out)?;
    }
    findings.refused.map_or(Ok(()), Err)
}

/// Resolves when the process is asked to stop and then again; `was_asked`: it was asked already.
async fn asked_twice(was_asked: bool) {
    if !was_asked {
        stop::asked().await;
    }
    stop::again().await;
}

fn raise_open_files(needed: u64) -> Result<(), Failure> {
    match open_files::raise(needed).filter(|allowed| *allowed < needed) {
        None => Ok(()),
        Some(allowed) => Err(Failure::new(
            Blame::Input,
            format!("this needs {needed} open files, and the system allows {allowed}"),
        )
        .hint(format!("raise it (`ulimit -Hn {needed}`, as root), or give fewer --readers"))),
    }
}

/// One measurement and its server.
struct Run<'a> {
    args: &'a Bench,
    /// The value that is written and read.
    target: Target,
    client: Client,
    tally: Arc<Tally>,
    progress: ProgressBar,
    /// Held during a write: what removes the value waits for it.
    writing: Arc<Mutex<()>>,
}

impl<'a> Run<'a> {
    fn new(args: &'a Bench, at: Target) -> Result<Run<'a>, Failure> {
        // A name that nobody else uses.
        let name = RandomState::new().hash_one(std::process::id());
        let target = Target { path: format!("{}/bench-{name:016x}", at.place()), base: at.base };
        let bar = ProgressBar::new(1);
        let template = "{elapsed_precise} [{bar:30}] {percent:>3}%  {msg}";
        let progress = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        };
        Ok(Run {
            args,
            client: target.client()?,
            target,
            tally: Arc::default(),
            progress,
            writing: Arc::default(),
        })
    }

    async fn measure(&self, findings: &mut Findings, readers: &mut Readers) -> Result<(), Failure> {
        let number = self.tally.write();
        findings.made = self.absent_ancestors().await;
        // It counts as written too if an interrupt comes before the answer.
        findings.is_written = true;
        let written = self.put(number).await;
        findings.is_written = written.is_ok();
        match written {
            Ok(_) => {}
            // Without the right to write, the memory of readers can still be measured.
            Err(RequestError::Refused(no)) if no.problem.name().is_some() => {
                findings.refused = Some(Failure::refused(&self.target, &no));
            }
            Err(RequestError::Refused(no)) => {
                return Err(Failure::refused(&self.target, &no).hint("is it a Halfping server?"));
            }
            Err(error) => return Err(Failure::request(&self.target, error)),
        }
        self.open(findings, readers).await?;
        if findings.is_written && readers.count() > 0 {
            self.load(findings, readers.count()).await;
        }
        Ok(())
    }

    /// Opens the readers, and measures the server's memory for them.
    async fn open(&self, findings: &mut Findings, readers: &mut Readers) -> Result<(), Failure> {
        let asked = self.args.readers;
        self.progress.set_length(u64::from(asked));
        self.progress.set_message("opening readers");
        // Readers have connections of their own: the writer keeps its connection even if the server
        // admits few.
        let client = self.target.client()?;
        let watch = || client.watch(&self.target.path, WatchOptions::default());
        let shown = |count: u32| self.progress.set_position(u64::from(count));
        readers.open(asked / WARM_UP, watch, shown).await?;
        sleep(SETTLE).await;
        let (before, open_before) = (self.metrics().await, readers.count());
        if readers.refusal().is_none() {
            readers.open(asked - readers.count(), watch, shown).await?;
            sleep(SETTLE).await;
        }
        let after = self.metrics().await;
        findings.has_metrics = after.is_some();
        if let (Some(before), Some(after)) = (before, after) {
            let opened = readers.count() - open_before;
            findings.growth_bytes = after
                .growth_since(&before)
                .map(|bytes| bytes / f64::from(opened))
                .filter(|bytes| bytes.is_finite());
            findings.is_shared = after.are_shared_since(&before, opened);
        }
        if let Some(why) = readers.refusal() {
            let message = format!("only {} of {asked} readers were let in: {why}", readers.count());
            let failure = Failure::new(Blame::Refused, message);
            let hint = "compare its `connections` and `links` in [limits] and at /_metrics";
            findings.refused.get_or_insert(failure.hint(hint));
        }
        Ok(())
    }

    /// Writes values one after the other, at the requested rate or as fast as they are
    /// acknowledged.
    async fn load(&self, findings: &mut Findings, readers: u32) {
        let load = findings.load.insert(Load::begin(self.metrics().await.as_ref(), &self.tally));
        let end = load.began + self.args.seconds;
        self.progress.set_length(self.args.seconds.as_millis() as u64);
        let mut due = interval(Duration::from_secs_f64(1.0 / self.args.rate));
        // What would be due at the end, or later, belongs to another second.
        while timeout_at(end, due.tick()).await.is_ok() && Instant::now() < end {
            let number = self.tally.write();
            if let Err(error) = self.put(number).await {
                findings.refused.get_or_insert(Failure::request(&self.target, error));
                break;
            }
            load.writes += 1;
            self.progress.set_position(load.began.elapsed().as_millis() as u64);
            self.progress.set_message(format!("{} deliveries", self.tally.deliveries()));
        }
        load.took = Some(load.began.elapsed());
        let since = Instant::now();
        while self.tally.up_to_date() < readers && since.elapsed() < STRAGGLERS {
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// Writes a value. An interrupt does not cut the request off: a server could do it after the
    /// value was removed.
    async fn put(&self, number: u64) -> Result<Written, RequestError> {
        let (client, path) = (self.client.clone(), self.target.path.clone());
        let value = self.value(number);
        let held = Arc::clone(&self.writing).lock_owned().await;
        let written = tokio::spawn(async move {
            let _held = held;
            client.put(&path, value).await
        });
        written.await.expect("no request panics")
    }

    /// A value of the requested length that holds its number.
    fn value(&self, number: u64) -> String {
        let digits = format!("\"{number:016x}");
        let filler = (self.args.payload as usize).saturating_sub(digits.len() + 1);
        format!("{digits}{}\"", "x".repeat(filler))
    }

    /// The metrics of the server; `None` if it shows none.
    async fn metrics(&self) -> Option<Metrics> {
        Metrics::read(&self.client.metrics().await.ok()?)
    }

    /// Paths above the value at which there is nothing yet, the outermost first. The first write
    /// makes an object at each of them.
    async fn absent_ancestors(&self) -> Vec<String> {
        let path = &self.target.path;
        let slashes = path.match_indices('/').skip(1);
        let mut ancestors: Vec<&str> = slashes.map(|(at, _)| &path[..at]).collect();
        while let Some(first) = ancestors.first() {
            match self.client.get(&format!("{first}?depth=0")).await {
                // Nothing is beneath it either.
                Err(RequestError::Refused(no)) if no.status == 404 => break,
                _ => ancestors.remove(0),
            };
        }
        ancestors.into_iter().map(str::to_owned).collect()
    }

    /// Reads the last figures, closes the readers, and removes what was written.
    async fn end(&self, findings: &mut Findings, readers: Readers) {
        if let Some(load) = &mut findings.load {
            load.end(&self.tally, self.metrics().await.as_ref());
        }
        drop(readers);
        if findings.is_written {
            self.tidy_up(&findings.made).await;
        }
    }

    /// Removes the value that was written, and the objects that were made for it and are empty.
    async fn tidy_up(&self, made: &[String]) {
        drop(self.writing.lock().await);
        match self.client.delete(&self.target.path).await {
            Ok(_) => {}
            Err(RequestError::Refused(no)) if no.status == 404 => {}
            Err(error) => return self.tell_left(made, error),
        }
        for path in made.iter().rev() {
            // Whoever writes there meanwhile keeps it.
            let read = self.client.get(path).await;
            let Ok(Reading { json, cursor: Some(cursor), .. }) = read else { return };
            if json != "{}" || self.client.delete_if_match(path, &cursor).await.is_err() {
                return;
            }
        }
    }

    /// Tells that the value is still there, and the command that removes it. `made`: the objects
    /// above it that were made for it.
    fn tell_left(&self, made: &[String], why: impl Display) {
        let target = &self.target;
        let within = made.first().map(|path| format!(", in {path} that was made for it"));
        tell(format_args!(
            "{target} is left there{}: {why}; `halfping delete {target}` removes it",
            within.unwrap_or_default()
        ));
    }
}
