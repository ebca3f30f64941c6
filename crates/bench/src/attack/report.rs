//! The results of the attacks, as a table and as JSON, and their verdict.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::scenario::Scenario;
use super::scene::{AFTER, Scene, Times};
use crate::args;
use crate::progress::Progress;

/// The largest 99th percentile of the other clients' times during an attack: this, or a multiple of
/// that without an attack, whichever is more.
const P99_MS_MAX: f64 = 5.0;
const P99_RATIO_MAX: f64 = 2.0;

/// The result of one attack.
pub(super) struct Outcome {
    scenario: &'static Scenario,
    server: Option<PathBuf>,
    speed: Scene,
    memory: Scene,
    /// Times that single clients waited for.
    times: Vec<(&'static str, usize, Times)>,
}

impl Outcome {
    /// Measures an attack twice: a server set up to show its memory is not as fast as it could be.
    pub(super) fn measure(
        args: &args::AttackBench,
        scenario: &'static Scenario,
        server: Option<&PathBuf>,
        progress: &Progress,
    ) -> Result<Outcome> {
        let mut speed = Scene::play(args, scenario, server, false, progress)?;
        let memory = Scene::play(args, scenario, server, true, progress)?;
        let times = std::mem::take(&mut speed.tally.times_us).into_iter();
        let times =
            times.map(|(what, mut times)| (what, times.len(), Times::of(&mut times))).collect();
        Ok(Outcome { scenario, server: server.cloned(), speed, memory, times })
    }

    fn scenes(&self) -> [&Scene; 2] {
        [&self.speed, &self.memory]
    }

    fn back(&self) -> Option<Duration> {
        self.speed.back.zip(self.memory.back).map(|(one, other)| one.max(other))
    }

    fn panics(&self) -> usize {
        self.scenes().iter().map(|scene| scene.panics).sum()
    }

    fn failed(&self) -> u64 {
        self.scenes().iter().map(|scene| scene.during.failed).sum()
    }

    fn lived(&self) -> bool {
        self.scenes().iter().all(|scene| scene.lived)
    }

    fn age_ratio(&self) -> f64 {
        self.speed.during.ages.p99_ms / self.speed.before.ages.p99_ms
    }

    /// The figures that are not as they should be.
    fn shortfalls(&self) -> Vec<String> {
        let mut short = Vec::new();
        if !self.lived() {
            short.push("the server died".to_owned());
        }
        let Scene { before, during, floor, .. } = &self.speed;
        for (what, before, during, floor) in [
            ("ages", before.ages, during.ages, floor.ages),
            ("reads", before.reads, during.reads, floor.reads),
            ("writes", before.writes, during.writes, floor.writes),
        ] {
            let most = (P99_RATIO_MAX * before.p99_ms).max(P99_MS_MAX);
            if !during.is_within(most) {
                short.push(format!("{what} {:.1} ms (floor {:.1})", during.p99_ms, floor.p99_ms));
            }
        }
        for (what, _, times) in &self.times {
            if !times.is_within(P99_MS_MAX) {
                short.push(format!("{what} {:.1} ms", times.p99_ms));
            }
        }
        if self.speed.stuck.is_some() {
            short.push("stuck".to_owned());
        }
        if self.memory.peak.is_some_and(|growth| growth > self.memory.bound.0 as f64) {
            short.push("larger".to_owned());
        }
        if self.back().is_none() {
            short.push("something stays open".to_owned());
        }
        if self.panics() > 0 {
            short.push(format!("{} panics", self.panics()));
        }
        if self.failed() > 0 {
            short.push(format!("{} plain requests failed", self.failed()));
        }
        short.extend(self.speed.tally.faults.keys().cloned());
        short
    }

    fn verdict(&self) -> String {
        let short = self.shortfalls();
        if short.is_empty() { "ok".to_owned() } else { short.join(", ") }
    }

    pub(super) fn json(&self) -> Value {
        let Scene { before, during, floor, .. } = &self.speed;
        let times: Map<String, Value> = self
            .times
            .iter()
            .map(|(what, count, times)| {
                let times =
                    json!({ "count": count, "p50_ms": times.p50_ms, "p99_ms": times.p99_ms });
                ((*what).to_owned(), times)
            })
            .collect();
        json!({
            "attack": self.scenario.name,
            "server": self.server,
            "age": {
                "before": before.ages.json(), "during": during.ages.json(),
                "floor": floor.ages.json(),
                "p50_ratio": during.ages.p50_ms / before.ages.p50_ms, "p99_ratio": self.age_ratio(),
            },
            "reads": {
                "before": before.reads.json(), "during": during.reads.json(),
                "floor": floor.reads.json(),
            },
            "writes": {
                "before": before.writes.json(), "during": during.writes.json(),
                "floor": floor.writes.json(),
            },
            "requests_failed": self.failed(),
            "server_cores": { "before": before.cores, "during": during.cores },
            "memory": {
                "before_bytes": self.memory.base, "growth_bytes": self.memory.peak,
                "bound_bytes": self.memory.bound.0, "bound": self.memory.bound.1,
                "left_bytes": self.memory.after, "left_by_default_bytes": self.speed.after,
            },
            "back_after_ms": self.back().map(|back| back.as_millis() as u64),
            "stuck": self.speed.stuck,
            "lived": self.lived(),
            "panics": self.panics(),
            "answers": self.speed.tally.counts,
            "times": times,
            "faults": self.speed.tally.faults,
            "is_ok": self.shortfalls().is_empty(),
            "verdict": self.verdict(),
        })
    }
}

pub(super) fn table(
    outcomes: &[Outcome],
    args: &args::AttackBench,
    out: &mut impl Write,
) -> io::Result<()> {
    let (rate, seconds) = (args.rate, args.seconds.as_secs_f64());
    writeln!(
        out,
        "attack: rate {rate}, seconds {seconds}; p50 and p99 in ms before and during, and beside \
         as much work that leaves the server alone (floor): ages at a session, plain reads and \
         writes; memory in MiB\n"
    )?;
    writeln!(
        out,
        "{:<22}{:>3}{:>8}{:>9}{:>8}{:>9}{:>8}{:>8}{:>9}{:>8}{:>8}{:>9}{:>8}{:>7}{:>8}{:>7}{:>7}\
         {:>7}  verdict",
        "",
        "",
        "age p50",
        "during",
        "p99",
        "during",
        "floor",
        "reads",
        "during",
        "floor",
        "writes",
        "during",
        "floor",
        "cores",
        "growth",
        "bound",
        "left",
        "kept"
    )?;
    for outcome in outcomes {
        let mib = |bytes: Option<f64>| {
            bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes / (1 << 20) as f64))
        };
        let Scene { before, during, floor, .. } = &outcome.speed;
        writeln!(
            out,
            "{:<22}{:>3}{:>8.2}{:>9.2}{:>8.2}{:>9.2}{:>8.2}{:>8.2}{:>9.2}{:>8.2}{:>8.2}{:>9.2}\
             {:>8.2}{:>7}{:>8}{:>7}{:>7}{:>7}  {}",
            outcome.scenario.name,
            number(outcome, args),
            before.ages.p50_ms,
            during.ages.p50_ms,
            before.ages.p99_ms,
            during.ages.p99_ms,
            floor.ages.p99_ms,
            before.reads.p99_ms,
            during.reads.p99_ms,
            floor.reads.p99_ms,
            before.writes.p99_ms,
            during.writes.p99_ms,
            floor.writes.p99_ms,
            during.cores.map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2}")),
            mib(outcome.memory.peak),
            mib(Some(outcome.memory.bound.0 as f64)),
            mib(outcome.memory.after),
            mib(outcome.speed.after),
            outcome.verdict(),
        )?;
    }
    writeln!(out)?;
    for (number, server) in args.server.iter().enumerate() {
        writeln!(out, "{}: {}", number + 1, server.display())?;
    }
    for outcome in outcomes {
        let counts = outcome.speed.tally.counts.iter();
        let mut notes: Vec<String> =
            counts.map(|(what, count)| format!("{what} x {count}")).collect();
        notes.extend(outcome.times.iter().map(|(what, count, times)| {
            format!("{what} x {count}: p50 {:.2} ms, p99 {:.2} ms", times.p50_ms, times.p99_ms)
        }));
        notes.extend(outcome.speed.stuck.clone());
        let back = outcome.back().map_or_else(
            || format!("not back after {} s", AFTER.as_secs()),
            |back| format!("all closed after {:.1} s", back.as_secs_f64()),
        );
        let name = format!("{} {}", outcome.scenario.name, number(outcome, args));
        let (name, bound) = (name.trim_end(), outcome.memory.bound.1);
        writeln!(out, "{name}: bound {bound} + 8 MiB; {back}; {}", notes.join(", "))?;
    }
    Ok(())
}

/// The number of the server, if there are several.
fn number(outcome: &Outcome, args: &args::AttackBench) -> String {
    let place = args.server.iter().position(|server| Some(server) == outcome.server.as_ref());
    let several = place.filter(|_| args.server.len() > 1);
    several.map_or_else(String::new, |place| (place + 1).to_string())
}
