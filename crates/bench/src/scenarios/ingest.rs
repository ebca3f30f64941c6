//! Writes, as many as are acknowledged.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{Measure, settings};
use crate::args;
use crate::figures::{GENERATOR_CORES, Metric, SERVER_CORES, Sample};
use crate::load::Load;
use crate::process::Cpu;
use crate::subject::{Setup, Subject};

static WRITES: Metric = Metric { name: "writes_per_s", label: "writes acknowledged/s", digits: 0 };
static CPU: Metric =
    Metric { name: "cpu_s_per_million", label: "server CPU, s per million writes", digits: 2 };
static USER_CPU: Metric =
    Metric { name: "user_cpu_s_per_million", label: "  of which in user space", digits: 2 };
static TIME_P50: Metric =
    Metric { name: "answer_p50_ms", label: "until acknowledged, p50, ms", digits: 2 };
static TIME_P99: Metric =
    Metric { name: "answer_p99_ms", label: "until acknowledged, p99, ms", digits: 2 };

/// The part of a measurement's time that passes before it begins (one eighth).
const WARM_UP: u32 = 8;

pub(crate) struct Ingest<'a>(pub(crate) &'a args::Ingest);

/// The only case.
pub(crate) struct Case {
    payload: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.payload)
    }
}

impl Ingest<'_> {
    /// Has every writer write for a while. Returns the time of each write, in microseconds.
    fn write(&self, load: &mut Load, time: Duration) -> Result<Vec<u32>> {
        let mut times_us = Vec::new();
        let start = Instant::now();
        let mut begun: Vec<Option<Instant>> = vec![None; self.0.writers as usize];
        while start.elapsed() < time {
            for (writer, begun) in begun.iter_mut().enumerate() {
                if load.unanswered_by(writer) == 0 {
                    let now = Instant::now();
                    times_us
                        .extend(begun.replace(now).map(|begun| (now - begun).as_micros() as u32));
                    load.publish_by(writer, writer as u32)?;
                }
            }
            load.turn(time.saturating_sub(start.elapsed()), |_| {})?;
        }
        Ok(times_us)
    }
}

impl Measure for Ingest<'_> {
    type Case = Case;

    const NAME: &'static str = "ingest";

    fn cases(&self) -> Vec<Case> {
        vec![Case { payload: self.0.payload }]
    }

    fn settings(&self) -> Map<String, Value> {
        settings([
            ("writers", json!(self.0.writers)),
            ("durable", json!(self.0.durable)),
            ("seconds", json!(self.0.seconds.as_secs_f64())),
            ("runs", json!(self.0.local.runs.runs)),
        ])
    }

    fn connections(&self) -> usize {
        self.0.writers as usize
    }

    fn setup(&self, _: &Case) -> Setup {
        Setup { durable_in: self.0.durable.then(|| self.0.directory.clone()), ..Setup::default() }
    }

    fn measure(&self, case: &Case, subject: &Subject) -> Result<Sample> {
        let mut load = Load::new(subject, case.payload)?;
        for _ in 1..self.0.writers {
            load.add_writer()?;
        }
        self.write(&mut load, self.0.seconds / WARM_UP)?;
        load.wait("all writes are answered", |load| load.unanswered() == 0, |_| {})?;

        let (server, generator) = (subject.cpu(), Cpu::of(std::process::id()));
        let began = Instant::now();
        let mut times_us = self.write(&mut load, self.0.seconds)?;
        let seconds = began.elapsed().as_secs_f64();
        let used = |before: Option<Cpu>, now: Option<Cpu>| Some(now?.since(before?));
        let server = used(server, subject.cpu());
        let generator = used(generator, Cpu::of(std::process::id()));
        let writes = times_us.len() as f64;
        let mut sample = Sample::default();
        sample.add(&WRITES, writes / seconds);
        sample.add(&CPU, server.map(|cpu| cpu.total_s() / writes * 1e6));
        sample.add(&USER_CPU, server.map(|cpu| cpu.user_s / writes * 1e6));
        sample.add_percentiles([&TIME_P50, &TIME_P99], &mut times_us);
        sample.add(&SERVER_CORES, server.map(|cpu| cpu.total_s() / seconds));
        sample.add(&GENERATOR_CORES, generator.map(|cpu| cpu.total_s() / seconds));
        Ok(sample)
    }
}
