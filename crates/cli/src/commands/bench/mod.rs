//! `halfping bench`: what a server does on this machine, beside a bare loop that does the least one could.
//!
//! A scenario is a file with a [`Measure`]: its cases, and how one case is measured against one subject. Processes, runs, medians,
//! progress and output are the same for all, and here. What has no floor to be compared with, attacks, the queue and the
//! soak, prints for itself.

mod attack;
mod churn;
mod fanout;
mod figures;
mod floor;
mod follow;
mod idle;
mod ingest;
mod latency;
mod link;
mod load;
mod message;
mod mux;
mod pace;
mod plain;
mod process;
mod queue;
mod resume;
mod shaped;
mod soak;
mod stall;
mod stamp;
mod subject;
mod ws;

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Map, Value};

use crate::args::{Bench, Local, Runs, Scenario};
use crate::open_files::{self, SPARE_FILES};
use crate::report::{Blame, Failure};
use figures::{CaseFigures, Report, Sample};
use subject::{Kind, Setup, Subject};

pub(crate) fn bench(args: Bench) -> Result<(), Failure> {
    match args.scenario {
        Scenario::Fanout(args) => local(&fanout::Fanout(&args), &args.local),
        Scenario::Latency(args) => local(&latency::Latency(&args), &args.local),
        Scenario::Idle(args) => local(&idle::Idle(&args), &args.local),
        Scenario::Mux(args) => local(&mux::Mux(&args), &args.local),
        Scenario::Stall(args) => local(&stall::Stall(&args), &args.local),
        Scenario::Resume(args) => local(&resume::Resume(&args), &args.local),
        Scenario::Shaped(args) if args.url.is_none() && !args.inside => Err(link::enter("--inside")),
        Scenario::Shaped(args) => drive(&shaped::Shaped(&args), &args.runs, args.url),
        Scenario::Ingest(args) => local(&ingest::Ingest(&args), &args.local),
        Scenario::Attack(args) => attack::attack(&args),
        Scenario::Queue(args) if !args.inside && args.needs_link() => Err(link::enter("--inside")),
        Scenario::Queue(args) => queue::queue(&args),
        Scenario::Soak(args) => soak::soak(&args),
        Scenario::FloorServer(args) => floor::serve(&args),
    }
}

fn local<M: Measure>(scenario: &M, local: &Local) -> Result<(), Failure> {
    drive(scenario, &local.runs, local.url)
}

/// A scenario.
trait Measure {
    /// One setting of it, such as a length of values.
    type Case: Display;

    const NAME: &'static str;

    fn cases(&self) -> Vec<Self::Case>;

    /// What the figures depend on, for whoever reads them later.
    fn settings(&self) -> Map<String, Value>;

    /// Connections that are open at once.
    fn connections(&self) -> usize;

    /// How the server for a case is started.
    fn setup(&self, _: &Self::Case) -> Setup {
        Setup::default()
    }

    /// Measures one case once. The subject was just started.
    fn measure(&self, case: &Self::Case, subject: &Subject) -> Result<Sample, Failure>;
}

/// Measures all cases of a scenario, and prints what came out.
fn drive<M: Measure>(scenario: &M, runs: &Runs, url: Option<SocketAddr>) -> Result<(), Failure> {
    raise_open_files(scenario.connections() as u64 + SPARE_FILES)?;
    let kinds: &[Kind] = if runs.no_floor { &[Kind::Halfping] } else { &[Kind::Floor, Kind::Halfping] };
    let progress = Progress::new();
    let mut report = Report::new(M::NAME, scenario.settings());
    for case in scenario.cases() {
        let mut figures = CaseFigures::new(case.to_string());
        for run in 1..=runs.runs {
            // By turns, so that what else the machine does meets both.
            for kind in kinds {
                progress.say(format!("{}, {case}: {}, run {run} of {}", M::NAME, kind.name(), runs.runs));
                let subject = match (kind, url) {
                    (Kind::Halfping, Some(address)) => Subject::at(address),
                    _ => Subject::start(*kind, &scenario.setup(&case))?,
                };
                figures.add(*kind, scenario.measure(&case, &subject)?);
            }
        }
        report.cases.push(figures);
    }
    progress.end();
    report.print(&mut io::stdout().lock(), runs.json)?;
    Ok(())
}

fn settings<const N: usize>(settings: [(&str, Value); N]) -> Map<String, Value> {
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Sees to it that this process, and those that it starts, may open so many files.
fn raise_open_files(needed: u64) -> Result<(), Failure> {
    match open_files::raise(needed).filter(|allowed| *allowed < needed) {
        None => Ok(()),
        Some(allowed) => Err(Failure::new(
            Blame::Input,
            format!("this needs {needed} open files, and the system allows {allowed}"),
        )
        .hint(format!("raise the limit (`ulimit -Hn {needed}`, as root), or ask for fewer connections"))),
    }
}

/// What is being done, on stderr: a line that moves on a terminal, else a line each.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new() -> Progress {
        Progress(io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner();
            // Seldom enough not to be seen in the figures.
            spinner.enable_steady_tick(Duration::from_millis(500));
            spinner
        }))
    }

    fn say(&self, what: String) {
        match &self.0 {
            Some(spinner) => spinner.set_message(what),
            None => eprintln!("{what}"),
        }
    }

    /// What changes all the time, where there is a line that moves.
    fn turn(&self, what: impl FnOnce() -> String) {
        if let Some(spinner) = &self.0 {
            spinner.set_message(what());
        }
    }

    /// The same where there is none, now and then.
    fn line(&self, what: impl FnOnce() -> String) {
        if self.0.is_none() {
            eprintln!("{}", what());
        }
    }

    fn end(&self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }
}
