//! A reader that stops reading and goes on: the bytes that it has to read before it has the newest
//! value, and the cost of the stall for others.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{Measure, settings};
use crate::args;
use crate::figures::{Metric, Sample};
use crate::load::{Delivery, Load, Reading};
use crate::pace::steadily;
use crate::subject::{Setup, Subject};

static BYTES: Metric =
    Metric { name: "bytes_to_newest", label: "bytes until the newest value", digits: 0 };
static FRAMES: Metric =
    Metric { name: "stale_frames", label: "stale frames among them", digits: 0 };
static FRESH: Metric =
    Metric { name: "to_newest_ms", label: "from reading on until the newest value, ms", digits: 2 };
static GROWTH: Metric = Metric {
    name: "memory_growth_kib",
    label: "server memory during the stall, growth, KiB",
    digits: 0,
};
static BEFORE_P50: Metric =
    Metric { name: "age_before_p50_ms", label: "age at another reader before, p50, ms", digits: 3 };
static BEFORE_P99: Metric =
    Metric { name: "age_before_p99_ms", label: "age at another reader before, p99, ms", digits: 3 };
static DURING_P50: Metric =
    Metric { name: "age_during_p50_ms", label: "age at another reader during, p50, ms", digits: 3 };
static DURING_P99: Metric =
    Metric { name: "age_during_p99_ms", label: "age at another reader during, p99, ms", digits: 3 };
static RATE: Metric =
    Metric { name: "updates_per_s", label: "updates/s during the stall", digits: 0 };

/// The stalled reader's `SO_RCVBUF` (Linux doubles it).
const RECEIVE_BUFFER: usize = 64 << 10;
/// Time between two samples of the server's memory.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) struct Stall<'a>(pub(crate) &'a args::Stall);

/// The only case.
pub(crate) struct Case {
    payload: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, 64 KiB receive buffer", self.payload)
    }
}

impl Stall<'_> {
    /// Updates the value at its rate for a while, and returns the ages at the reader that keeps up.
    fn publish(
        &self,
        load: &mut Load,
        healthy: usize,
        time: Duration,
        mut look: impl FnMut(),
    ) -> Result<Vec<u32>> {
        let mut ages_us = Vec::new();
        let mut looked = Instant::now();
        let look = || {
            if looked.elapsed() >= CHECK_INTERVAL {
                looked = Instant::now();
                look();
            }
        };
        let take = |delivery: Delivery| {
            if delivery.reader == healthy {
                ages_us.push(delivery.age.as_micros() as u32);
            }
        };
        steadily(load, self.0.rate, time, |load| load.publish(0).map(drop), look, take)?;
        Ok(ages_us)
    }
}

impl Measure for Stall<'_> {
    type Case = Case;

    const NAME: &'static str = "stall";

    fn cases(&self) -> Vec<Case> {
        vec![Case { payload: self.0.payload }]
    }

    fn settings(&self) -> Map<String, Value> {
        settings([
            ("rate", json!(self.0.rate)),
            ("seconds", json!(self.0.seconds.as_secs_f64())),
            ("transport", json!(self.0.transport.to_string())),
            ("credit", json!(self.0.credit)),
            ("runs", json!(self.0.local.runs.runs)),
        ])
    }

    fn setup(&self, _: &Case) -> Setup {
        Setup { counts_memory: true, ..Setup::default() }
    }

    fn connections(&self) -> usize {
        3
    }

    fn measure(&self, case: &Case, subject: &Subject) -> Result<Sample> {
        let mut load = Load::new(subject, case.payload)?;
        load.publish_first(1)?;
        let reading = Reading { credit: self.0.credit, ..Reading::of(self.0.transport, 0..1) };
        let healthy = load.add_reader(&reading)?;
        let stalled =
            load.add_reader(&Reading { receive_buffer: Some(RECEIVE_BUFFER), ..reading })?;
        load.wait("both readers have the first value", Load::all_have_it, |_| {})?;

        let mut before = self.publish(&mut load, healthy, self.0.seconds / 2, || {})?;
        load.wait("both readers have everything", Load::all_have_it, |_| {})?;

        let held = subject.own_bytes();
        let mut held_max = held;
        load.pause(stalled)?;
        let (published, began) = (load.published(), Instant::now());
        let mut during = self.publish(&mut load, healthy, self.0.seconds, || {
            held_max = held_max.max(subject.own_bytes());
        })?;
        let rate = (load.published() - published) as f64 / began.elapsed().as_secs_f64();
        let healthy_has_it = |load: &Load| load.has_all(healthy);
        load.wait("the other reader has the last value", healthy_has_it, |_| {})?;
        load.wait("all writes are answered", |load| load.unanswered() == 0, |_| {})?;

        // Nothing is published any more: the newest value must come all the same.
        let (bytes, frames) = (load.reader(stalled).bytes, load.reader(stalled).frames());
        let began = Instant::now();
        load.resume(stalled)?;
        let fresh = Cell::new(Duration::ZERO);
        let take = |delivery: Delivery| {
            if delivery.reader == stalled {
                fresh.set(began.elapsed());
            }
        };
        load.wait("the stalled reader has the newest value", Load::all_have_it, take)?;

        let mut sample = Sample::default();
        sample.add(&BYTES, (load.reader(stalled).bytes - bytes) as f64);
        sample.add(&FRAMES, (load.reader(stalled).frames() - frames).saturating_sub(1) as f64);
        sample.add(&FRESH, fresh.get().as_secs_f64() * 1000.0);
        let growth = held_max.zip(held).map(|(now, before)| now as f64 - before as f64);
        sample.add(&GROWTH, growth.map(|bytes| bytes / 1024.0));
        sample.add_percentiles([&BEFORE_P50, &BEFORE_P99], &mut before);
        sample.add_percentiles([&DURING_P50, &DURING_P99], &mut during);
        sample.add(&RATE, rate);
        Ok(sample)
    }
}
