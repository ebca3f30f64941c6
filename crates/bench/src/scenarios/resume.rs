//! A session that was cut and comes back: the bytes that it receives until it is synced again.

use std::fmt;
use std::time::Instant;

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};

use super::{Measure, settings};
use crate::args::{self, Transport};
use crate::figures::{Metric, Sample};
use crate::load::{Load, Reading};
use crate::subject::Subject;

static BYTES: Metric =
    Metric { name: "bytes_to_synced", label: "bytes until synced again", digits: 0 };
static TIME: Metric =
    Metric { name: "to_synced_ms", label: "from connecting until synced, ms", digits: 1 };
static FRAMES: Metric = Metric { name: "changes", label: "changes among them", digits: 0 };
static CPU: Metric = Metric { name: "cpu_ms", label: "server CPU for it, ms", digits: 1 };
static FIRST_BYTES: Metric =
    Metric { name: "bytes_first_time", label: "bytes when it came the first time", digits: 0 };

/// A document with nine members beside the one that changes.
const DOCUMENT: &str = r#"{"position":"","route":"26","status":"stopped","speed_mps":0.0,"delay_s":35,"head_sign":"Harbour, north side","vehicle":"low floor, articulated","capacity":152,"occupancy":"few seats","depot":"east"}"#;
/// The member that a commit changes.
const MEMBER: &str = "position";
/// Bytes of that member.
const PAYLOAD: u32 = 64;
/// Writes that may be unanswered.
const WINDOW: u64 = 64;

pub(crate) struct Resume<'a>(pub(crate) &'a args::Resume);

/// The only case.
pub(crate) struct Case {
    commits: u32,
    touched: u32,
    links: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commits to {} of {}", self.commits, self.touched, self.links)
    }
}

impl Measure for Resume<'_> {
    type Case = Case;

    const NAME: &'static str = "resume";

    fn cases(&self) -> Vec<Case> {
        let args::Resume { links, commits, touched, .. } = *self.0;
        vec![Case { links, commits, touched: touched.min(links).min(commits) }]
    }

    fn settings(&self) -> Map<String, Value> {
        settings([("links", json!(self.0.links)), ("runs", json!(self.0.local.runs.runs))])
    }

    fn connections(&self) -> usize {
        2
    }

    fn measure(&self, case: &Case, subject: &Subject) -> Result<Sample> {
        let mut load = Load::new(subject, PAYLOAD)?;
        load.fill(case.links, DOCUMENT)?;
        let mut reading = Reading::of(Transport::Ws, 0..case.links);
        let first = load.add_reader(&reading)?;
        let synced = |load: &Load| load.reader(0).answers() > 0 && load.reader(0).is_synced();
        let links = u64::from(case.links);
        let all = |load: &Load| load.reader(first).frames() >= links && synced(load);
        load.wait("every document has arrived", all, |_| {})?;
        let first_bytes = load.reader(first).bytes;
        reading.since = Some(load.reader(first).cursor());
        load.cut();

        // Changes are spread over all documents.
        let step = case.links / case.touched;
        for commit in 0..case.commits {
            load.publish_member(commit % case.touched * step, MEMBER)?;
            load.wait("writes are answered", |load| load.unanswered() < WINDOW, |_| {})?;
        }
        load.wait("all writes are answered", |load| load.unanswered() == 0, |_| {})?;

        let (busy, began) = (subject.busy(), Instant::now());
        let again = load.add_reader(&reading)?;
        let touched = u64::from(case.touched);
        let all = |load: &Load| load.reader(again).frames() >= touched && synced(load);
        load.wait("what was missed has arrived", all, |_| {})?;
        let took = began.elapsed();
        if !load.has_all(again) {
            return Err(anyhow!("the session is synced, but not all of what it missed came"));
        }
        let busy = busy.zip(subject.busy()).map(|(before, now)| now.saturating_sub(before));
        let mut sample = Sample::default();
        sample.add(&BYTES, load.reader(again).bytes as f64);
        sample.add(&FRAMES, load.reader(again).frames() as f64);
        sample.add(&TIME, took.as_secs_f64() * 1000.0);
        sample.add(&CPU, busy.map(|busy| busy.as_secs_f64() * 1000.0));
        sample.add(&FIRST_BYTES, first_bytes as f64);
        Ok(sample)
    }
}
