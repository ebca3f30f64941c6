//! Very many links on one session: what each takes, and how old updates are when they arrive among so many.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::figures::{Metric, Sample};
use super::load::{Load, Reading};
use super::pace::steadily;
use super::subject::{Setup, Subject};
use super::{Measure, settings};
use crate::args::{self, Transport};
use crate::random::Random;
use crate::report::Failure;

static BYTES: Metric =
    Metric { name: "bytes_per_link", label: "server memory per link beside the state, bytes", digits: 0 };
static STATE: Metric =
    Metric { name: "state_bytes_per_resource", label: "memory of the state per resource, bytes", digits: 0 };
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

/// What resources hold before they are updated.
const FIRST: &str = "\"0123456789abcdef\"";
const PAYLOAD: u32 = 64;
/// Until what only opening takes has been given back.
const SETTLE: Duration = Duration::from_secs(1);
/// What a server allows by default.
const LINKS: u32 = 100_000;

pub(super) struct Mux<'a>(pub(super) &'a args::Mux);

/// There is but one.
pub(super) struct Case {
    links: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} links on one session", self.links)
    }
}

impl Mux<'_> {
    /// Updates values at random for a while, and takes their ages.
    fn update(&self, load: &mut Load, among: u32) -> Result<Vec<u32>, Failure> {
        let mut random = Random::new(1);
        let mut ages_us = Vec::new();
        let publish = |load: &mut Load| load.publish(random.whole(0, among as usize) as u32).map(drop);
        let take = |delivery: super::load::Delivery| ages_us.push(delivery.age.as_micros() as u32);
        steadily(load, self.0.rate, self.0.seconds, publish, || {}, take)?;
        load.wait("all writes are answered", |load| load.unanswered() == 0, |_| {})?;
        Ok(ages_us)
    }
}

impl Measure for Mux<'_> {
    type Case = Case;

    const NAME: &'static str = "mux";

    fn cases(&self) -> Vec<Case> {
        vec![Case { links: self.0.links }]
    }

    fn settings(&self) -> Map<String, Value> {
        settings([
            ("rate", json!(self.0.rate)),
            ("seconds", json!(self.0.seconds.as_secs_f64())),
            ("runs", json!(self.0.local.runs.runs)),
        ])
    }

    fn setup(&self, case: &Case) -> Setup {
        let more = (case.links > LINKS).then(|| ("links_per_connection", u64::from(case.links)));
        Setup { limits: more.into_iter().collect(), counts_memory: true, ..Setup::default() }
    }

    fn connections(&self) -> usize {
        2
    }

    fn measure(&self, case: &Case, subject: &Subject) -> Result<Sample, Failure> {
        let empty = subject.own_bytes();
        let mut load = Load::new(subject, PAYLOAD)?;
        load.fill(case.links, FIRST)?;
        load.rest(SETTLE)?;
        let growth = |before: Option<u64>| {
            let bytes = subject.own_bytes()? as f64 - before? as f64;
            Some(bytes / f64::from(case.links))
        };
        let state = growth(empty);

        load.add_reader(&Reading::of(Transport::Ws, 0..1))?;
        load.wait("one link is synced", |load| load.reader(0).is_synced(), |_| {})?;
        let mut alone = self.update(&mut load, 1)?;
        load.cut();
        load.rest(SETTLE)?;

        let before = subject.own_bytes();
        load.add_reader(&Reading::of(Transport::Ws, 0..case.links))?;
        let began = Instant::now();
        let all = |load: &Load| {
            let reader = load.reader(0);
            reader.frames() >= u64::from(case.links) && reader.answers() > 0 && reader.is_synced()
        };
        load.wait("every link is synced", all, |_| {})?;
        let took = began.elapsed();
        load.rest(SETTLE)?;
        let bytes = growth(before);
        let published = load.published();
        let mut among = self.update(&mut load, case.links)?;
        let updates = (load.published() - published) as f64;

        let mut sample = Sample::default();
        sample.add(&STATE, state);
        sample.add(&BYTES, bytes);
        sample.add(&WATCHES, f64::from(case.links) / took.as_secs_f64());
        sample.add(&UPDATES, updates / self.0.seconds.as_secs_f64());
        sample.add_percentiles([&ALONE_P50, &ALONE_P99], &mut alone);
        sample.add_percentiles([&AMONG_P50, &AMONG_P99], &mut among);
        Ok(sample)
    }
}
