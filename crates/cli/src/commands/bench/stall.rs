//! A reader that stops reading and goes on: how much it has to read before it has the newest value, and what the stall costs
//! everybody else.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::Measure;
use super::figures::{Metric, Sample, percentile};
use super::load::{Delivery, Load};
use super::subject::Subject;
use crate::args;
use crate::report::Failure;

static BYTES: Metric = Metric { name: "bytes_to_newest", label: "bytes until the newest value", digits: 0 };
static FRAMES: Metric = Metric { name: "stale_frames", label: "stale frames among them", digits: 0 };
static FRESH: Metric =
    Metric { name: "to_newest_ms", label: "from reading on until the newest value, ms", digits: 2 };
static GROWTH: Metric =
    Metric { name: "rss_growth_kib", label: "server memory during the stall, growth, KiB", digits: 0 };
static BEFORE_P50: Metric =
    Metric { name: "age_before_p50_ms", label: "age at another reader before, p50, ms", digits: 3 };
static BEFORE_P99: Metric =
    Metric { name: "age_before_p99_ms", label: "age at another reader before, p99, ms", digits: 3 };
static DURING_P50: Metric =
    Metric { name: "age_during_p50_ms", label: "age at another reader during, p50, ms", digits: 3 };
static DURING_P99: Metric =
    Metric { name: "age_during_p99_ms", label: "age at another reader during, p99, ms", digits: 3 };
static RATE: Metric = Metric { name: "updates_per_s", label: "updates/s during the stall", digits: 0 };

/// The stalled reader's `SO_RCVBUF` (of which Linux makes twice as much).
const RECEIVE_BUFFER: usize = 64 << 10;
/// How often the server's memory is looked at.
const LOOK: Duration = Duration::from_millis(250);

pub(super) struct Stall<'a> {
    args: &'a args::Stall,
}

/// There is but one.
pub(super) struct Case {
    payload: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, 64 KiB receive buffer", self.payload)
    }
}

impl<'a> Stall<'a> {
    pub(super) fn new(args: &'a args::Stall) -> Stall<'a> {
        Stall { args }
    }

    /// Updates the value at its rate for a while, and takes the ages at the reader that keeps up.
    fn publish(
        &self,
        load: &mut Load,
        healthy: usize,
        time: Duration,
        mut look: impl FnMut(),
    ) -> Result<Vec<u32>, Failure> {
        let metronome = Metronome::start(load, self.args.rate);
        let mut ages_us = Vec::new();
        let start = Instant::now();
        let (mut done, mut looked) = (0, Duration::ZERO);
        loop {
            let now = start.elapsed();
            if now >= time {
                break;
            }
            let due = (now.as_secs_f64() * f64::from(self.args.rate)) as u64;
            while done < due {
                load.publish()?;
                done += 1;
            }
            if now >= looked {
                looked = now + LOOK;
                look();
            }
            load.turn(time - now, |delivery| {
                if delivery.reader == healthy {
                    ages_us.push(delivery.age.as_micros() as u32);
                }
            })?;
        }
        drop(metronome);
        Ok(ages_us)
    }
}

impl Measure for Stall<'_> {
    type Case = Case;

    const NAME: &'static str = "stall";

    fn cases(&self) -> Vec<Case> {
        vec![Case { payload: self.args.payload as usize }]
    }

    fn settings(&self) -> Map<String, Value> {
        let settings = [
            ("rate", json!(self.args.rate)),
            ("seconds", json!(self.args.seconds.as_secs_f64())),
            ("runs", json!(self.args.runs.runs)),
        ];
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn connections(&self) -> usize {
        3
    }

    fn measure(&self, case: &Case, subject: &Subject) -> Result<Sample, Failure> {
        let mut load = Load::new(subject.address, case.payload)?;
        let healthy = load.add_reader(None)?;
        let stalled = load.add_reader(Some(RECEIVE_BUFFER))?;
        load.wait("both readers have the first value", Load::all_have_it, |_| {})?;

        let mut before = self.publish(&mut load, healthy, self.args.seconds / 2, || {})?;
        load.wait("both readers have everything", Load::all_have_it, |_| {})?;

        let resident = subject.resident_bytes();
        let mut resident_max = resident;
        load.pause(stalled)?;
        let (published, began) = (load.published(), Instant::now());
        let mut during = self.publish(&mut load, healthy, self.args.seconds, || {
            resident_max = resident_max.max(subject.resident_bytes());
        })?;
        let rate = (load.published() - published) as f64 / began.elapsed().as_secs_f64();
        let healthy_has_it = |load: &Load| load.reader(healthy).newest == load.published();
        load.wait("the other reader has the last value", healthy_has_it, |_| {})?;
        load.wait("all writes are answered", |load| load.unanswered() == 0, |_| {})?;

        // Nothing is published any more: the newest value must come all the same.
        let (bytes, frames) = (load.reader(stalled).bytes, load.reader(stalled).frames);
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
        sample.add(&FRAMES, (load.reader(stalled).frames - frames).saturating_sub(1) as f64);
        sample.add(&FRESH, fresh.get().as_secs_f64() * 1000.0);
        let growth = resident_max.zip(resident).map(|(now, before)| now as f64 - before as f64);
        sample.add(&GROWTH, growth.map(|bytes| bytes / 1024.0));
        let in_ms = |us: Option<f64>| us.map(|us| us / 1000.0);
        sample.add(&BEFORE_P50, in_ms(percentile(&mut before, 0.5)));
        sample.add(&BEFORE_P99, in_ms(percentile(&mut before, 0.99)));
        sample.add(&DURING_P50, in_ms(percentile(&mut during, 0.5)));
        sample.add(&DURING_P99, in_ms(percentile(&mut during, 0.99)));
        sample.add(&RATE, rate);
        Ok(sample)
    }
}

/// Ends the load's waiting whenever the next update is due: the system's own wait for sockets counts in milliseconds.
struct Metronome(Arc<AtomicBool>);

impl Metronome {
    fn start(load: &Load, rate: u32) -> Metronome {
        let alarm = load.alarm();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        thread::spawn(move || {
            let start = Instant::now();
            for beat in 1.. {
                let at = Duration::from_secs(1) * beat / rate;
                thread::sleep(at.saturating_sub(start.elapsed()));
                if stopped.load(Ordering::Relaxed) || alarm.wake().is_err() {
                    break;
                }
            }
        });
        Metronome(stop)
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
