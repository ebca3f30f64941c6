//! The time from a PUT to its delivery by an idle server.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{Measure, settings};
use crate::args;
use crate::figures::{AGE_P50, AGE_P99, Metric, Sample};
use crate::load::{Load, Reading};
use crate::subject::Subject;
use fastrand::Rng;

static VALUES: Metric = Metric { name: "values", label: "values", digits: 0 };
static CPU: Metric =
    Metric { name: "cpu_us_per_value", label: "server CPU per value, µs", digits: 0 };
static USER_CPU: Metric =
    Metric { name: "user_cpu_us_per_value", label: "  of which in user space", digits: 0 };

/// Pause before the next value, in hundredths of its mean.
const PAUSE_PERCENT: Range<u32> = 60..140;
/// Values before those that count.
const WARM_UP: u64 = 100;

pub(crate) struct Latency<'a>(pub(crate) &'a args::Latency);

/// The only case.
pub(crate) struct Case {
    payload: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, PUT to delivery", self.payload)
    }
}

impl Measure for Latency<'_> {
    type Case = Case;

    const NAME: &'static str = "latency";

    fn cases(&self) -> Vec<Case> {
        vec![Case { payload: self.0.payload }]
    }

    fn settings(&self) -> Map<String, Value> {
        settings([
            ("transport", json!(self.0.transport.to_string())),
            ("rate", json!(self.0.rate)),
            ("seconds", json!(self.0.seconds.as_secs_f64())),
            ("runs", json!(self.0.local.runs.runs)),
        ])
    }

    fn connections(&self) -> usize {
        2
    }

    fn measure(&self, case: &Case, subject: &Subject) -> Result<Sample> {
        let mut load = Load::new(subject, case.payload)?;
        load.publish_first(1)?;
        load.add_reader(&Reading::of(self.0.transport, 0..1))?;
        load.wait("the reader has the first value", Load::all_have_it, |_| {})?;

        let mean = Duration::from_secs(1) / self.0.rate;
        let mut random = Rng::with_seed(1);
        let mut ages_us = Vec::new();
        let (mut cpu, mut began) = (subject.cpu(), Instant::now());
        while began.elapsed() < self.0.seconds {
            let number = load.publish(0)?;
            let age = Cell::new(None);
            let has_it = |load: &Load| age.get().is_some() && load.unanswered() == 0;
            load.wait("the value arrives", has_it, |delivery| age.set(Some(delivery.age)))?;
            ages_us.extend(age.get().map(|age: Duration| age.as_micros() as u32));
            if number == WARM_UP {
                ages_us.clear();
                (cpu, began) = (subject.cpu(), Instant::now());
            }
            load.rest(mean / 100 * random.u32(PAUSE_PERCENT))?;
        }
        let cpu = cpu.zip(subject.cpu()).map(|(before, now)| now.since(before));
        let values = ages_us.len() as f64;
        let mut sample = Sample::default();
        sample.add_percentiles([&AGE_P50, &AGE_P99], &mut ages_us);
        sample.add(&VALUES, values);
        sample.add(&CPU, cpu.map(|cpu| cpu.total_s() / values * 1e6));
        sample.add(&USER_CPU, cpu.map(|cpu| cpu.user_s / values * 1e6));
        Ok(sample)
    }
}
