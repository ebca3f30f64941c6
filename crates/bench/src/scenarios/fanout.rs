//! One value and many readers: the cost of a delivery.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::{Measure, settings};
use crate::args::{self, Pace};
use crate::figures::{AGE_P50, AGE_P99, GENERATOR_CORES, Metric, SERVER_CORES, Sample};
use crate::load::{Delivery, Load, Reading};
use crate::process::Cpu;
use crate::subject::{Kind, Subject};

static DELIVERIES: Metric = Metric { name: "deliveries_per_s", label: "deliveries/s", digits: 0 };
static CPU: Metric =
    Metric { name: "cpu_s_per_million", label: "server CPU, s per million deliveries", digits: 2 };
static USER_CPU: Metric =
    Metric { name: "user_cpu_s_per_million", label: "  of which in user space", digits: 2 };
static PER_CPU: Metric = Metric {
    name: "deliveries_per_cpu_s",
    label: "deliveries per CPU second of the server",
    digits: 0,
};
static ROUND_P50: Metric =
    Metric { name: "round_p50_ms", label: "until all have a value, p50, ms", digits: 2 };
static ROUND_P99: Metric =
    Metric { name: "round_p99_ms", label: "until all have a value, p99, ms", digits: 2 };
static UPDATES: Metric = Metric { name: "updates_per_s", label: "updates accepted/s", digits: 0 };
static BROUGHT: Metric =
    Metric { name: "updates_brought_per_s", label: "updates brought to readers/s", digits: 0 };
static BROUGHT_CPU: Metric = Metric {
    name: "cpu_s_per_million_brought",
    label: "server CPU, s per million updates brought",
    digits: 3,
};
/// The part of a measurement's time that passes before it begins (one eighth).
const WARM_UP: u32 = 8;

pub(crate) struct Fanout<'a>(pub(crate) &'a args::Fanout);

pub(crate) struct Case {
    payload: u32,
    pace: Pace,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pace = match self.pace {
            Pace::LockStep => "in lock step",
            Pace::FreeRunning => "free-running",
        };
        write!(f, "{} bytes, {pace}", self.payload)
    }
}

impl Measure for Fanout<'_> {
    type Case = Case;

    const NAME: &'static str = "fanout";

    fn cases(&self) -> Vec<Case> {
        let paces = match self.0.mode {
            Some(pace) => vec![pace],
            None => vec![Pace::LockStep, Pace::FreeRunning],
        };
        let case = |payload: &u32| {
            let payload = *payload;
            paces.iter().map(move |pace| Case { payload, pace: *pace }).collect::<Vec<Case>>()
        };
        self.0.payload.iter().flat_map(case).collect()
    }

    fn settings(&self) -> Map<String, Value> {
        settings([
            ("readers", json!(self.0.readers)),
            ("seconds", json!(self.0.seconds.as_secs_f64())),
            ("window", json!(self.0.window)),
            ("transport", json!(self.0.transport.to_string())),
            ("view", json!(self.0.view)),
            ("runs", json!(self.0.local.runs.runs)),
        ])
    }

    fn connections(&self) -> usize {
        self.0.readers as usize + 1
    }

    fn measure(&self, case: &Case, subject: &Subject) -> Result<Sample> {
        let mut load = Load::new(subject, case.payload)?;
        load.publish_first(1)?;
        for _ in 0..self.0.readers {
            let reading = Reading::of(self.0.transport, 0..1);
            // The floor sends each value to all its readers, however they ask.
            let is_view = self.0.view && subject.kind == Kind::Halfping;
            load.add_reader(&Reading { is_view, ..reading })?;
        }
        load.wait("every reader has the first value", Load::all_have_it, |_| {})?;
        self.publish(case.pace, &mut load, self.0.seconds / WARM_UP)?;

        let before = (subject.cpu(), Cpu::of(std::process::id()));
        let counted = self.publish(case.pace, &mut load, self.0.seconds)?;
        let used = |before: Option<Cpu>, now: Option<Cpu>| Some(now?.since(before?));
        let server = used(before.0, subject.cpu());
        let generator = used(before.1, Cpu::of(std::process::id()));
        // Readers that are behind must still receive the last value.
        load.wait("every reader has the last value", Load::all_have_it, |_| {})?;
        if counted.deliveries == 0 {
            bail!(
                "no delivery in the time of a measurement: use a longer --seconds, or fewer --readers"
            );
        }
        Ok(counted.sample(case.pace, server, generator))
    }
}

impl Fanout<'_> {
    /// Publishes for a while.
    fn publish(&self, pace: Pace, load: &mut Load, time: Duration) -> Result<Counted> {
        let mut counted = Counted::default();
        let start = Instant::now();
        let published = load.published();
        match pace {
            Pace::LockStep => {
                while start.elapsed() < time {
                    let began = Instant::now();
                    let number = load.publish(0)?;
                    let missing = Cell::new(self.0.readers);
                    let take = |delivery: Delivery| {
                        if delivery.number == number {
                            missing.set(missing.get() - 1);
                        }
                        counted.take(delivery);
                    };
                    load.wait("every reader has the newest value", |_| missing.get() == 0, take)?;
                    counted.rounds_us.push(began.elapsed().as_micros() as u32);
                }
            }
            Pace::FreeRunning => {
                while start.elapsed() < time {
                    while load.unanswered() < u64::from(self.0.window) {
                        load.publish(0)?;
                    }
                    let left = time.saturating_sub(start.elapsed());
                    load.turn(left, |delivery| counted.take(delivery))?;
                }
            }
        }
        counted.took = start.elapsed();
        counted.updates = load.published() - published;
        Ok(counted)
    }
}

/// Counts while values are published.
#[derive(Default)]
struct Counted {
    took: Duration,
    deliveries: u64,
    updates: u64,
    /// Updates brought to readers, in sum: a frame may stand for several.
    brought: u64,
    rounds_us: Vec<u32>,
    ages_us: Vec<u32>,
}

impl Counted {
    fn take(&mut self, delivery: Delivery) {
        self.deliveries += 1;
        self.brought += delivery.number.saturating_sub(delivery.before);
        self.ages_us.push(delivery.age.as_micros() as u32);
    }

    fn sample(mut self, pace: Pace, server: Option<Cpu>, generator: Option<Cpu>) -> Sample {
        let seconds = self.took.as_secs_f64();
        let (deliveries, brought) = (self.deliveries as f64, self.brought as f64);
        let total_s = server.map(Cpu::total_s);
        let mut sample = Sample::default();
        sample.add(&DELIVERIES, deliveries / seconds);
        sample.add(&CPU, total_s.map(|cpu_s| cpu_s / deliveries * 1e6));
        sample.add(&USER_CPU, server.map(|cpu| cpu.user_s / deliveries * 1e6));
        sample.add(&PER_CPU, total_s.map(|cpu_s| deliveries / cpu_s));
        match pace {
            Pace::LockStep => {
                sample.add_percentiles([&ROUND_P50, &ROUND_P99], &mut self.rounds_us);
            }
            Pace::FreeRunning => {
                sample.add(&UPDATES, self.updates as f64 / seconds);
                sample.add(&BROUGHT, brought / seconds);
                sample.add(&BROUGHT_CPU, total_s.map(|cpu_s| cpu_s / brought * 1e6));
            }
        }
        sample.add_percentiles([&AGE_P50, &AGE_P99], &mut self.ages_us);
        sample.add(&SERVER_CORES, total_s.map(|cpu_s| cpu_s / seconds));
        sample.add(&GENERATOR_CORES, generator.map(|cpu| cpu.total_s() / seconds));
        sample
    }
}
