//! Scenarios: the same load on a server and on its floor, a bare loop that does the least that one
//! could.
//!
//! A scenario is a file with a [`Measure`]: its cases, and the measurement of one case on one
//! subject. Runs, medians, progress and output are the same for all, and here.

mod fanout;
mod idle;
mod ingest;
mod latency;
mod mux;
mod resume;
mod shaped;
mod stall;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Map, Value};

pub(crate) use self::fanout::Fanout;
pub(crate) use self::idle::Idle;
pub(crate) use self::ingest::Ingest;
pub(crate) use self::latency::Latency;
pub(crate) use self::mux::Mux;
pub(crate) use self::resume::Resume;
pub(crate) use self::shaped::Shaped;
pub(crate) use self::stall::Stall;
use crate::args::{Local, Runs};
use crate::figures::{CaseFigures, Report, Sample};
use crate::open_files::{self, SPARE_FILES};
use crate::progress::Progress;
use crate::subject::{Kind, Setup, Subject};

/// Measures a scenario that stays on this machine.
pub(crate) fn local<M: Measure>(scenario: &M, local: &Local) -> Result<()> {
    drive(scenario, &local.runs, local.url)
}

/// A scenario.
pub(crate) trait Measure {
    /// One setting of it, such as a length of values.
    type Case: Display;

    const NAME: &'static str;

    fn cases(&self) -> Vec<Self::Case>;

    /// Settings that the figures depend on, to be printed with them.
    fn settings(&self) -> Map<String, Value>;

    /// Connections that are open at once.
    fn connections(&self) -> usize;

    /// The setup of the server for a case.
    fn setup(&self, _: &Self::Case) -> Setup {
        Setup::default()
    }

    /// Measures one case once. The subject was just started.
    fn measure(&self, case: &Self::Case, subject: &Subject) -> Result<Sample>;
}

/// Measures all cases of a scenario, and prints the figures.
pub(crate) fn drive<M: Measure>(scenario: &M, runs: &Runs, url: Option<SocketAddr>) -> Result<()> {
    open_files::raise(scenario.connections() as u64 + SPARE_FILES)?;
    let all = [Kind::Floor, Kind::Halfping];
    let kinds = if runs.no_floor { &all[1..] } else { &all[..] };
    let progress = Progress::new();
    let mut report = Report::new(M::NAME, scenario.settings());
    for case in scenario.cases() {
        let mut figures = CaseFigures::new(case.to_string());
        for run in 1..=runs.runs {
            // Server and floor take turns, so that other load on the machine affects both.
            for kind in kinds {
                let (name, kind_name, of) = (M::NAME, kind.name(), runs.runs);
                progress.say(format!("{name}, {case}: {kind_name}, run {run} of {of}"));
                let subject = match (kind, url) {
                    (Kind::Halfping, Some(address)) => Subject::at(address),
                    _ => Subject::start(
                        *kind,
                        &Setup { program: runs.server.clone(), ..scenario.setup(&case) },
                    )?,
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
