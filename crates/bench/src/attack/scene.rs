//! One attack against one server: measurements before, during and after it.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::elsewhere::Elsewhere;
use super::ground::{Attackers, Tally};
use super::neighbour::Neighbour;
use super::scenario::{Bound, Scenario};
use super::terms::Terms;
use crate::args::{self, Transport};
use crate::figures::percentile;
use crate::load::{Delivery, Load, Reading};
use crate::pace::steadily;
use crate::plain::Plain;
use crate::process::Cpu;
use crate::progress::Progress;
use crate::subject::{Kind, Setup, Subject};

/// Length of the value that the undisturbed session watches.
const PAYLOAD: u32 = 64;
/// Time until the effects of starting are over.
const WARM_UP: Duration = Duration::from_secs(1);
/// Time after an attack within which the server must close everything of it.
pub(super) const AFTER: Duration = Duration::from_secs(45);
/// Time between two checks of that.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Time until memory has been given back.
const SETTLE: Duration = Duration::from_secs(1);
/// Gauges that must return to their values from before the attack.
const GAUGES: [&str; 3] = ["halfping_connections", "halfping_sessions", "halfping_links"];

pub(super) struct Scene {
    pub(super) before: Quality,
    pub(super) during: Quality,
    /// The quality beside work of the same size that leaves the server alone.
    pub(super) floor: Quality,
    /// The thing that was waited for in vain, if the server served nobody for too long to be
    /// measured.
    pub(super) stuck: Option<String>,
    pub(super) lived: bool,
    pub(super) base: Option<u64>,
    /// Growth of memory in bytes: at most, and afterwards.
    pub(super) peak: Option<f64>,
    pub(super) after: Option<f64>,
    pub(super) bound: Bound,
    /// Time until nothing of the attack was open.
    pub(super) back: Option<Duration>,
    pub(super) panics: usize,
    pub(super) tally: Tally,
}

/// The service that other clients get.
#[derive(Default)]
pub(super) struct Quality {
    /// Ages of updates at a session.
    pub(super) ages: Times,
    pub(super) reads: Times,
    pub(super) writes: Times,
    pub(super) failed: u64,
    /// Cores that the server uses.
    pub(super) cores: Option<f64>,
    /// Cores that this program uses, attackers included.
    own_cores: Option<f64>,
}

#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

impl Quality {
    /// Cores that the server and this program use beyond those that they used before.
    fn more_cores_than(&self, before: &Quality) -> [f64; 2] {
        let more = |now: Option<f64>, before: Option<f64>| {
            now.zip(before).map_or(0.0, |(now, before)| (now - before).max(0.0))
        };
        [more(self.cores, before.cores), more(self.own_cores, before.own_cores)]
    }
}

impl Default for Times {
    fn default() -> Times {
        Times { p50_ms: f64::NAN, p99_ms: f64::NAN }
    }
}

impl Times {
    pub(super) fn of(times_us: &mut [u32]) -> Times {
        let mut at = |share| percentile(times_us, share).map_or(f64::NAN, |us| us / 1000.0);
        Times { p50_ms: at(0.5), p99_ms: at(0.99) }
    }

    /// True if the 99th percentile is within this bound; false if nothing was measured.
    pub(super) fn is_within(self, most_ms: f64) -> bool {
        self.p99_ms <= most_ms
    }

    pub(super) fn json(self) -> Value {
        json!({ "p50_ms": self.p50_ms, "p99_ms": self.p99_ms })
    }
}

impl Scene {
    pub(super) fn play(
        args: &args::AttackBench,
        scenario: &'static Scenario,
        server: Option<&PathBuf>,
        counts_memory: bool,
        progress: &Progress,
    ) -> Result<Scene> {
        let broken = |error: io::Error| anyhow!("the server does not answer: {error}");
        let what = if counts_memory { "memory" } else { "speed" };
        let whose = server.map(|path| format!(" of {}", path.display())).unwrap_or_default();
        let say =
            |when: &str| progress.say(format!("attack, {}: {what}{whose}, {when}", scenario.name));
        say("before");
        let mut subject = Subject::start(
            Kind::Halfping,
            &Setup {
                program: server.cloned(),
                limits: scenario.limits.to_vec(),
                counts_memory,
                durable_in: scenario.is_durable.then(|| args.directory.clone()),
                ..Setup::default()
            },
        )?;
        let mut plain = Plain::new(subject.address);
        let terms = Terms::ask(&mut plain).map_err(broken)?;
        (scenario.prepare)(&mut plain, &terms).map_err(broken)?;
        let mut load = Load::new(&subject, PAYLOAD)?;
        load.publish_first(1)?;
        load.add_reader(&Reading::of(Transport::Ws, 0..1))?;
        load.wait("the session has the first value", Load::all_have_it, |_| {})?;
        let neighbour = Neighbour::start(subject.address);
        let watch = |subject: &Subject, load: &mut Load, time: Duration| {
            let own = || Cpu::of(std::process::id());
            let (began, cpu, own_cpu) = (Instant::now(), subject.cpu(), own());
            let mut ages_us = Vec::new();
            let watched = watch(load, args.rate, time, &mut ages_us);
            let cores = |before: Option<Cpu>, now: Option<Cpu>| {
                Some(now?.since(before?).total_s() / began.elapsed().as_secs_f64())
            };
            let (cores, own_cores) = (cores(cpu, subject.cpu()), cores(own_cpu, own()));
            let mut done = neighbour.take();
            let quality = Quality {
                ages: Times::of(&mut ages_us),
                reads: Times::of(&mut done.reads_us),
                writes: Times::of(&mut done.writes_us),
                failed: done.failed,
                cores,
                own_cores,
            };
            (quality, watched)
        };
        if !counts_memory {
            watch(&subject, &mut load, WARM_UP).1?;
        }

        let time = if counts_memory { args.seconds / 2 } else { args.seconds };
        let quiet = if counts_memory { WARM_UP } else { time / 2 };
        let (before, watched) = watch(&subject, &mut load, quiet);
        watched?;
        let gauges = |plain: &mut Plain| {
            let metrics = plain.metrics();
            GAUGES.map(|name| metrics.as_ref().map_or(f64::NAN, |metrics| metrics.value(name)))
        };
        let open = gauges(&mut plain);
        let base = subject.resident_bytes();
        subject.forget_peak();

        say("during");
        let attackers = Attackers::start(scenario.crew, subject.address, &terms);
        let (during, watched) = watch(&subject, &mut load, time.max(scenario.least));
        let peak = subject.peak_bytes();
        let tally = attackers.end();

        say("after");
        let began = Instant::now();
        let mut back = None;
        while back.is_none() && began.elapsed() < AFTER && subject.lives() {
            let now = gauges(&mut plain);
            back =
                now.iter().zip(open).all(|(now, before)| *now <= before).then(|| began.elapsed());
            // A load that got stuck is not waited for.
            if watched.is_err() || load.rest(CHECK_INTERVAL).is_err() {
                thread::sleep(CHECK_INTERVAL);
            }
        }
        // Only when nothing of the attack is left, and where speed is the matter.
        let mut floor = Quality::default();
        if let (false, Some(_), Ok(())) = (counts_memory, back, &watched) {
            say("beside work elsewhere");
            let _elsewhere = Elsewhere::start(during.more_cores_than(&before));
            floor = watch(&subject, &mut load, quiet).0;
        }
        drop(neighbour);
        thread::sleep(SETTLE);
        let growth = |now: Option<u64>| Some(now? as f64 - base? as f64);
        Ok(Scene {
            before,
            during,
            floor,
            stuck: watched.err().map(|failure| format!("{failure:#}")),
            lived: subject.lives(),
            base,
            peak: growth(peak),
            after: growth(subject.resident_bytes()),
            bound: scenario.bound(&terms),
            back,
            panics: subject.said("panicked"),
            tally,
        })
    }
}

/// Updates the value for a while, and notes the age of each version when the session has it or a
/// newer one.
fn watch(load: &mut Load, rate: u32, time: Duration, ages_us: &mut Vec<u32>) -> Result<()> {
    let mut take = |delivery: Delivery| {
        // A version that was never sent was superseded by this one, and waited longer.
        for missed in 0..delivery.number - delivery.before {
            let waited = Duration::from_secs(1) * missed as u32 / rate;
            ages_us.push((delivery.age + waited).as_micros() as u32);
        }
    };
    steadily(load, rate, time, |load| load.publish(0).map(drop), || {}, &mut take)?;
    load.wait("the session has the last value", Load::all_have_it, &mut take)?;
    load.wait("all writes are answered", |load| load.unanswered() == 0, |_| {})
}
