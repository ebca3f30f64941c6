//! Very many links on one session: the memory of each, and the age of updates on arrival.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{Measure, settings};
use crate::args::{self, Transport};
use crate::figures::{Metric, Sample};
use crate::load::{Load, Reading};
use crate::pace::steadily;
use crate::subject::{Setup, Subject};
use fastrand::Rng;

static BYTES: Metric = Metric {
    name: "bytes_per_link",
    label: "server memory per link beside the state, bytes",
    digits: 0,
};
static STATE: Metric = Metric {
    name: "state_bytes_per_resource",
    label: "memory of the state per resource, bytes",
    digits: 0,
};
static WATCHES: Metric =
    Metric { name: "watches_per_s", label: "links opened, served and synced/s", digits: 0 };
static ALONE_P50: Metric =
    Metric { name: "age_alone_p50_ms", label: "age with one link, p50, ms", digits: 3 };
static ALONE_P99: Metric =
    Metric { name: "age_alone_p99_ms", label: "age with one link, p99, ms", digits: 3 };
static AMONG_P50: Metric =
    Metric { name: "age_among_p50_ms", label: "age among all links, p50, ms", digits: 3 };
static AMONG_P99: Metric =
    Metric { name: "age_among_p99_ms", label: "age among all links, p99, ms", digits: 3 };
static UPDATES: Metric = Metric { name: "updates_per_s", label: "updates/s", digits: 0 };

/// The content of resources before they are updated.
const FIRST: &str = "\"0123456789abcdef\"";
const PAYLOAD: u32 = 64;
/// Time until the memory that only opening needs has been given back.
const SETTLE: Duration = Duration::from_secs(1);
/// The server's default limit.
const LINKS: u32 = 100_000;

pub(crate) struct Mux<'a>(pub(crate) &'a args::Mux);

/// Cases: a server set up to show its memory is not as fast as it could be, so ages have a case of
/// their own.
pub(crate) enum Case {
    Memory,
    Speed,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Case::Memory => "memory of links on one session",
            Case::Speed => "links on one session",
        })
    }
}

impl Mux<'_> {
    fn memory(&self, load: &mut Load, subject: &Subject, empty: Option<u64>) -> Result<Sample> {
        let per_link = |before: Option<u64>, now: Option<u64>| {
            Some((now? as f64 - before? as f64) / f64::from(self.0.links))
        };
        let filled = subject.own_bytes();
        self.open(load, self.0.links)?;
        load.rest(SETTLE)?;
        let mut sample = Sample::default();
        sample.add(&STATE, per_link(empty, filled));
        sample.add(&BYTES, per_link(filled, subject.own_bytes()));
        Ok(sample)
    }

    fn speed(&self, load: &mut Load) -> Result<Sample> {
        self.open(load, 1)?;
        let mut alone = self.update(load, 1)?;
        load.cut();
        load.rest(SETTLE)?;
        let took = self.open(load, self.0.links)?;
        let published = load.published();
        let mut among = self.update(load, self.0.links)?;
        let updates = (load.published() - published) as f64;
        let mut sample = Sample::default();
        sample.add(&WATCHES, f64::from(self.0.links) / took.as_secs_f64());
        sample.add(&UPDATES, updates / self.0.seconds.as_secs_f64());
        sample.add_percentiles([&ALONE_P50, &ALONE_P99], &mut alone);
        sample.add_percentiles([&AMONG_P50, &AMONG_P99], &mut among);
        Ok(sample)
    }

    /// Opens a session with so many links. Returns the time from connecting until every link is
    /// synced.
    fn open(&self, load: &mut Load, links: u32) -> Result<Duration> {
        let began = Instant::now();
        load.add_reader(&Reading::of(Transport::Ws, 0..links))?;
        let all = |load: &Load| {
            let reader = load.reader(0);
            reader.frames() >= u64::from(links) && reader.answers() > 0 && reader.is_synced()
        };
        load.wait("every link is synced", all, |_| {})?;
        Ok(began.elapsed())
    }

    /// Updates values at random for a while, and returns their ages.
    fn update(&self, load: &mut Load, among: u32) -> Result<Vec<u32>> {
        let mut random = Rng::with_seed(1);
        let mut ages_us = Vec::new();
        let publish =
            |load: &mut Load| load.publish(random.usize(0..among as usize) as u32).map(drop);
        let take = |delivery: crate::load::Delivery| ages_us.push(delivery.age.as_micros() as u32);
        steadily(load, self.0.rate, self.0.seconds, publish, || {}, take)?;
        load.wait("all writes are answered", |load| load.unanswered() == 0, |_| {})?;
        Ok(ages_us)
    }
}

impl Measure for Mux<'_> {
    type Case = Case;

    const NAME: &'static str = "mux";

    fn cases(&self) -> Vec<Case> {
        vec![Case::Memory, Case::Speed]
    }

    fn settings(&self) -> Map<String, Value> {
        settings([
            ("links", json!(self.0.links)),
            ("rate", json!(self.0.rate)),
            ("seconds", json!(self.0.seconds.as_secs_f64())),
            ("runs", json!(self.0.local.runs.runs)),
        ])
    }

    fn setup(&self, case: &Case) -> Setup {
        let more =
            (self.0.links > LINKS).then(|| ("links_per_connection", u64::from(self.0.links)));
        let counts_memory = matches!(case, Case::Memory);
        Setup { limits: more.into_iter().collect(), counts_memory, ..Setup::default() }
    }

    fn connections(&self) -> usize {
        2
    }

    fn measure(&self, case: &Case, subject: &Subject) -> Result<Sample> {
        let empty = subject.own_bytes();
        let mut load = Load::new(subject, PAYLOAD)?;
        load.fill(self.0.links, FIRST)?;
        load.rest(SETTLE)?;
        match case {
            Case::Memory => self.memory(&mut load, subject, empty),
            Case::Speed => self.speed(&mut load),
        }
    }
}
