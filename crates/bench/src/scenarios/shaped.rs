//! A slow link: the age of its deliveries, and whether every value gets its turn.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::{Measure, settings};
use crate::args::{self, Transport};
use crate::figures::{AGE_P50, AGE_P99, Metric, Sample};
use crate::load::{Delivery, Load, Reading};
use crate::pace::steadily;
use crate::subject::{Setup, Subject, UNSENT_BYTES};

static DELIVERIES: Metric = Metric { name: "deliveries_per_s", label: "deliveries/s", digits: 0 };
static BYTES: Metric = Metric { name: "kbits_per_s", label: "received, kbit/s", digits: 0 };
static LEAST: Metric = Metric {
    name: "deliveries_least",
    label: "deliveries of the value with the fewest",
    digits: 0,
};
static MEDIAN: Metric =
    Metric { name: "deliveries_median", label: "deliveries of the value in the middle", digits: 0 };
static MOST: Metric =
    Metric { name: "deliveries_most", label: "deliveries of the value with the most", digits: 0 };
static UPDATES: Metric = Metric { name: "updates_per_s", label: "updates/s", digits: 0 };

/// The part of a measurement's time in which the buffers fill up (a quarter).
const WARM_UP: u32 = 4;
/// Writes that may be unanswered. A server that cannot keep up must not be measured by the queue in
/// front of it.
const WINDOW: u64 = 512;

pub(crate) struct Shaped<'a>(pub(crate) &'a args::Shaped);

/// Cases: the bytes that the system may hold unsent.
pub(crate) enum Case {
    Default,
    Unbounded,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Case::Default => "as by default",
            Case::Unbounded => "unsent bytes unbounded",
        })
    }
}

impl Shaped<'_> {
    fn publish(&self, load: &mut Load, time: Duration, take: impl FnMut(Delivery)) -> Result<()> {
        let mut next = 0;
        let publish = |load: &mut Load| {
            // A skipped update shows in the figures.
            if load.unanswered() < WINDOW {
                load.publish(next)?;
            }
            next = (next + 1) % self.0.values;
            Ok(())
        };
        steadily(load, self.0.values * self.0.rate, time, publish, || {}, take)
    }
}

impl Measure for Shaped<'_> {
    type Case = Case;

    const NAME: &'static str = "shaped";

    fn cases(&self) -> Vec<Case> {
        // A server that runs already keeps its settings.
        if self.0.url.is_some() {
            vec![Case::Default]
        } else {
            vec![Case::Default, Case::Unbounded]
        }
    }

    fn settings(&self) -> Map<String, Value> {
        let mut settings = settings([
            ("values", json!(self.0.values)),
            ("rate", json!(self.0.rate)),
            ("payload", json!(self.0.payload)),
            ("seconds", json!(self.0.seconds.as_secs_f64())),
            ("runs", json!(self.0.runs.runs)),
        ]);
        if self.0.url.is_none() {
            settings.insert("link_kbits".to_owned(), json!(self.0.link));
        }
        settings
    }

    fn setup(&self, case: &Case) -> Setup {
        let limits = match case {
            Case::Default => vec![],
            Case::Unbounded => vec![(UNSENT_BYTES, u64::from(u32::MAX))],
        };
        Setup {
            limits,
            link_kbits: self.0.url.is_none().then_some(self.0.link),
            ..Setup::default()
        }
    }

    fn connections(&self) -> usize {
        2
    }

    fn measure(&self, _: &Case, subject: &Subject) -> Result<Sample> {
        let mut load = Load::new(subject, self.0.payload)?;
        load.publish_first(self.0.values)?;
        let reader = load.add_reader(&Reading::of(Transport::Ws, 0..self.0.values))?;
        load.wait("the reader has the first values", Load::all_have_it, |_| {})?;
        self.publish(&mut load, self.0.seconds / WARM_UP, |_| {})?;

        let (mut ages_us, mut shares) = (Vec::new(), vec![0u32; self.0.values as usize]);
        let (published, bytes) = (load.published(), load.reader(reader).bytes);
        self.publish(&mut load, self.0.seconds, |delivery| {
            ages_us.push(delivery.age.as_micros() as u32);
            shares[delivery.value as usize] += 1;
        })?;
        if ages_us.is_empty() {
            bail!(
                "nothing was delivered in the time of a measurement: \
                 use a longer --seconds, or a faster --link"
            );
        }
        let seconds = self.0.seconds.as_secs_f64();
        let mut sample = Sample::default();
        sample.add(&DELIVERIES, ages_us.len() as f64 / seconds);
        sample.add_percentiles([&AGE_P50, &AGE_P99], &mut ages_us);
        shares.sort_unstable();
        for (metric, at) in [(&LEAST, 0), (&MEDIAN, shares.len() / 2), (&MOST, shares.len() - 1)] {
            sample.add(metric, f64::from(shares[at]));
        }
        let received = (load.reader(reader).bytes - bytes) as f64;
        sample.add(&BYTES, received * 8.0 / 1000.0 / seconds);
        sample.add(&UPDATES, (load.published() - published) as f64 / seconds);
        Ok(sample)
    }
}
