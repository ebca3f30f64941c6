//! Connections on which nothing happens: the memory of each.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{Measure, settings};
use crate::args::{self, Transport};
use crate::figures::{Metric, Sample};
use crate::load::{Load, Reader, Reading};
use crate::subject::{Setup, Subject};

static BYTES: Metric = Metric {
    name: "bytes_per_connection",
    label: "server memory per connection, bytes",
    digits: 0,
};
static OPENED: Metric = Metric { name: "opened_per_s", label: "opened and synced/s", digits: 0 };

/// Connections that are opened before memory is measured, so that costs paid once are not counted.
/// None is closed: others would reuse its memory, and seem to need none.
const WARM_UP: u32 = 500;
/// Connections that are opened at a time: the system's queue of unaccepted ones is short.
const BATCH: usize = 100;
/// Time until the memory that only opening needs has been given back.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) struct Idle<'a>(pub(crate) &'a args::Idle);

pub(crate) struct Case(Transport);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Transport::Ws => "idle WebSocket sessions, one link each",
            Transport::Sse => "idle event streams",
        })
    }
}

impl Idle<'_> {
    /// Opens connections, and waits until each has its first state.
    fn open(&self, load: &mut Load, transport: Transport, numbers: Range<u32>) -> Result<()> {
        for number in numbers.clone() {
            let value = if self.0.one_resource { 0 } else { number };
            load.add_reader(&Reading::of(transport, value..value + 1))?;
            if load.readers().len().is_multiple_of(BATCH) || number + 1 == numbers.end {
                let first = load.readers().len().saturating_sub(BATCH);
                let synced = |load: &Load| load.readers()[first..].iter().all(Reader::is_synced);
                load.wait("every connection has its first state", synced, |_| {})?;
            }
        }
        Ok(())
    }
}

impl Measure for Idle<'_> {
    type Case = Case;

    const NAME: &'static str = "idle";

    fn cases(&self) -> Vec<Case> {
        let both = vec![Case(Transport::Ws), Case(Transport::Sse)];
        self.0.transport.map_or(both, |transport| vec![Case(transport)])
    }

    fn settings(&self) -> Map<String, Value> {
        settings([
            ("connections", json!(self.0.connections)),
            ("one_resource", json!(self.0.one_resource)),
            ("runs", json!(self.0.local.runs.runs)),
        ])
    }

    fn setup(&self, _: &Case) -> Setup {
        Setup { counts_memory: true, ..Setup::default() }
    }

    fn connections(&self) -> usize {
        (self.0.connections + WARM_UP) as usize + 1
    }

    fn measure(&self, case: &Case, subject: &Subject) -> Result<Sample> {
        let mut load = Load::new(subject, 64)?;
        load.fill(WARM_UP + self.0.connections, "0")?;
        self.open(&mut load, case.0, 0..WARM_UP)?;
        load.rest(SETTLE)?;

        let (before, began) = (subject.own_bytes(), Instant::now());
        self.open(&mut load, case.0, WARM_UP..WARM_UP + self.0.connections)?;
        let took = began.elapsed();
        load.rest(SETTLE)?;
        let connections = f64::from(self.0.connections);
        let growth =
            before.zip(subject.own_bytes()).map(|(before, now)| now as f64 - before as f64);
        let mut sample = Sample::default();
        sample.add(&BYTES, growth.map(|bytes| bytes / connections));
        sample.add(&OPENED, connections / took.as_secs_f64());
        Ok(sample)
    }
}
