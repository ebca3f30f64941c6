//! Attacks, one after the other, while others go about their work: what these notice of it, what the server takes for it, and whether it
//! has all of that back afterwards.

mod attackers;
mod kinds;
mod neighbour;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use halfping::Limits;
use serde_json::{Value, json};

use self::attackers::{Attackers, Tally};
use self::neighbour::Neighbour;
use super::figures::percentile;
use super::load::{Load, Reading};
use super::pace::steadily;
use super::plain::Plain;
use super::subject::{Kind, Setup, Subject};
use super::{Progress, raise_open_files};
use crate::args::{self, Attack, Transport};
use crate::report::{Blame, Failure};

/// Length of the value that the undisturbed session watches.
const PAYLOAD: u32 = 64;
/// Until what only starting takes is over.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long it may take after an attack until nothing of it is open.
const AFTER: Duration = Duration::from_secs(45);
/// Between two looks at that.
const LOOK: Duration = Duration::from_millis(250);
/// Until memory has been given back.
const SETTLE: Duration = Duration::from_secs(2);
/// How much older what arrives may be during an attack.
const AGE_RATIO_MAX: f64 = 2.0;
/// Connections of ours beside those of the attack.
const FILES: u64 = 256;
/// What is to be as it was.
const GAUGES: [&str; 3] = ["halfping_connections", "halfping_sessions", "halfping_links"];

/// What came of one attack.
struct Outcome {
    attack: Attack,
    /// Ages at the session before and during, then times of plain requests.
    ages: [Times; 2],
    requests: [Times; 2],
    failed: u64,
    cores: [Option<f64>; 2],
    memory: Scene,
    /// What the allocator of a server as it is by default keeps afterwards, for what may come.
    kept: Option<f64>,
    bound: (u64, &'static str),
    /// How long it took until nothing of the attack was open.
    back: Option<Duration>,
    panics: usize,
    tally: Tally,
}

/// The same against one server.
struct Scene {
    ages: [Times; 2],
    requests: [Times; 2],
    failed: u64,
    cores: [Option<f64>; 2],
    base: Option<u64>,
    /// Bytes by which memory was larger than before: at most, and afterwards.
    peak: Option<f64>,
    after: Option<f64>,
    back: Option<Duration>,
    panics: usize,
    tally: Tally,
}

#[derive(Clone, Copy)]
struct Times {
    p50_ms: f64,
    p99_ms: f64,
}

impl Times {
    fn of(times_us: &mut [u32]) -> Times {
        let mut at = |share| percentile(times_us, share).map_or(f64::NAN, |us| us / 1000.0);
        Times { p50_ms: at(0.5), p99_ms: at(0.99) }
    }

    fn json(self) -> Value {
        json!({ "p50_ms": self.p50_ms, "p99_ms": self.p99_ms })
    }
}

pub(super) fn attack(args: &args::AttackBench) -> Result<(), Failure> {
    let limits = Limits::default();
    let wanted: Vec<Attack> = match args.attack.as_slice() {
        [] => {
            Attack::ALL.into_iter().filter(|attack| attack.slowhttptest().is_none() || have_tool()).collect()
        }
        some => some.to_vec(),
    };
    if !have_tool() {
        let hint = "on Debian: apt install slowhttptest";
        if wanted.iter().any(|attack| attack.slowhttptest().is_some()) {
            return Err(Failure::new(Blame::Input, "cannot run `slowhttptest`").hint(hint));
        }
        if args.attack.is_empty() {
            eprintln!("left out: slow-headers, slow-body and slow-read, which need slowhttptest ({hint})");
        }
    }
    raise_open_files(kinds::SILENT_CONNECTIONS + FILES)?;
    let progress = Progress::new();
    let mut outcomes = Vec::new();
    for attack in wanted {
        let outcome = measure(args, attack, &limits, &progress);
        outcomes.push(outcome.map_err(|failure| failure.at(attack.name()))?);
    }
    progress.end();
    let mut out = io::stdout().lock();
    if args.json {
        let attacks: Vec<Value> = outcomes.iter().map(Outcome::json).collect();
        let settings = json!({ "rate": args.rate, "seconds": args.seconds.as_secs_f64() });
        writeln!(out, "{}", json!({ "scenario": "attack", "settings": settings, "attacks": attacks }))?;
    } else {
        table(&outcomes, args, &mut out)?;
    }
    Ok(())
}

fn have_tool() -> bool {
    std::process::Command::new("slowhttptest").arg("-h").output().is_ok()
}

/// Measures an attack twice: a server whose memory is looked at is not as fast as it could be.
fn measure(
    args: &args::AttackBench,
    attack: Attack,
    limits: &Limits,
    progress: &Progress,
) -> Result<Outcome, Failure> {
    let speed = Scene::play(args, attack, limits, false, progress)?;
    let memory = Scene::play(args, attack, limits, true, progress)?;
    Ok(Outcome {
        attack,
        bound: attack.bound(limits),
        back: speed.back.zip(memory.back).map(|(one, other)| one.max(other)),
        panics: speed.panics + memory.panics,
        failed: speed.failed + memory.failed,
        kept: speed.after,
        memory,
        ages: speed.ages,
        requests: speed.requests,
        cores: speed.cores,
        tally: speed.tally,
    })
}

impl Scene {
    fn play(
        args: &args::AttackBench,
        attack: Attack,
        limits: &Limits,
        counts_memory: bool,
        progress: &Progress,
    ) -> Result<Scene, Failure> {
        let broken =
            |error: io::Error| Failure::new(Blame::Peer, format!("the server does not answer: {error}"));
        let what = if counts_memory { "memory" } else { "speed" };
        let say = |when: &str| progress.say(format!("attack, {}: {what}, {when}", attack.name()));
        say("before");
        let subject = Subject::start(Kind::Halfping, &Setup { counts_memory, ..Setup::default() })?;
        let links = limits.links_per_connection as u32;
        let mut plain = Plain::new(subject.address);
        attackers::prepare(attack, links, &mut plain).map_err(broken)?;
        let mut load = Load::new(&subject, PAYLOAD)?;
        load.publish_first(1)?;
        load.add_reader(&Reading::of(Transport::Ws, 0..1))?;
        load.wait("the session has the first value", Load::all_have_it, |_| {})?;
        let neighbour = Neighbour::start(subject.address);
        let watch = |load: &mut Load, time: Duration| {
            let (began, cpu) = (Instant::now(), subject.cpu());
            let mut ages_us = watch(load, args.rate, time)?;
            let used = cpu.zip(subject.cpu()).map(|(before, now)| now.since(before).total_s());
            let mut done = neighbour.take();
            let cores = used.map(|used| used / began.elapsed().as_secs_f64());
            Ok::<_, Failure>((Times::of(&mut ages_us), Times::of(&mut done.times_us), done.failed, cores))
        };
        watch(&mut load, WARM_UP)?;

        let time = if counts_memory { args.seconds / 2 } else { args.seconds };
        let before = watch(&mut load, if counts_memory { WARM_UP } else { time / 2 })?;
        let gauges = |plain: &mut Plain| {
            let metrics = plain.metrics();
            GAUGES.map(|name| metrics.as_ref().map_or(f64::NAN, |metrics| metrics.value(name)))
        };
        let open = gauges(&mut plain);
        let base = subject.resident_bytes();
        subject.forget_peak();

        say("during");
        let attackers = Attackers::start(attack, subject.address, links, limits.body_bytes)?;
        let during = watch(&mut load, time)?;
        let peak = subject.peak_bytes();
        let tally = attackers.end();

        say("after");
        let began = Instant::now();
        let mut back = None;
        while back.is_none() && began.elapsed() < AFTER {
            let now = gauges(&mut plain);
            back = now.iter().zip(open).all(|(now, before)| *now <= before).then(|| began.elapsed());
            load.rest(LOOK)?;
        }
        load.rest(SETTLE)?;
        let growth = |now: Option<u64>| Some(now? as f64 - base? as f64);
        Ok(Scene {
            ages: [before.0, during.0],
            requests: [before.1, during.1],
            failed: during.2,
            cores: [before.3, during.3],
            base,
            peak: growth(peak),
            after: growth(subject.resident_bytes()),
            back,
            panics: subject.said("panicked"),
            tally,
        })
    }
}

/// Updates the value for a while, and returns how old each version was when the session had it, or a newer one in its place.
fn watch(load: &mut Load, rate: u32, time: Duration) -> Result<Vec<u32>, Failure> {
    let mut ages_us = Vec::new();
    let mut take = |delivery: super::load::Delivery| {
        // A version that was never sent was superseded by this one, and waited longer.
        for missed in 0..delivery.number - delivery.before {
            let waited = Duration::from_secs(1) * missed as u32 / rate;
            ages_us.push((delivery.age + waited).as_micros() as u32);
        }
    };
    steadily(load, rate, time, |load| load.publish(0).map(drop), || {}, &mut take)?;
    load.wait("the session has the last value", Load::all_have_it, &mut take)?;
    load.wait("all writes are answered", |load| load.unanswered() == 0, |_| {})?;
    Ok(ages_us)
}

impl Outcome {
    fn ratio(&self) -> f64 {
        self.ages[1].p99_ms / self.ages[0].p99_ms
    }

    fn verdict(&self) -> String {
        let mut short = Vec::new();
        if self.ratio() > AGE_RATIO_MAX {
            short.push("older".to_owned());
        }
        if self.memory.peak.is_some_and(|growth| growth > self.bound.0 as f64) {
            short.push("larger".to_owned());
        }
        if self.back.is_none() {
            short.push("something stays open".to_owned());
        }
        if self.panics > 0 {
            short.push(format!("{} panics", self.panics));
        }
        if self.failed > 0 {
            short.push(format!("{} plain requests failed", self.failed));
        }
        if short.is_empty() { "ok".to_owned() } else { short.join(", ") }
    }

    fn json(&self) -> Value {
        json!({
            "attack": self.attack.name(),
            "age": {
                "before": self.ages[0].json(), "during": self.ages[1].json(),
                "p50_ratio": self.ages[1].p50_ms / self.ages[0].p50_ms, "p99_ratio": self.ratio(),
            },
            "requests": {
                "before": self.requests[0].json(), "during": self.requests[1].json(), "failed": self.failed,
            },
            "server_cores": { "before": self.cores[0], "during": self.cores[1] },
            "memory": {
                "before_bytes": self.memory.base, "growth_bytes": self.memory.peak,
                "bound_bytes": self.bound.0, "bound": self.bound.1,
                "left_bytes": self.memory.after, "left_by_default_bytes": self.kept,
            },
            "back_after_ms": self.back.map(|back| back.as_millis() as u64),
            "panics": self.panics,
            "answers": self.tally,
            "verdict": self.verdict(),
        })
    }
}

fn table(outcomes: &[Outcome], args: &args::AttackBench, out: &mut impl Write) -> io::Result<()> {
    let (rate, seconds) = (args.rate, args.seconds.as_secs_f64());
    writeln!(
        out,
        "attack: rate {rate}, seconds {seconds}; ages and plain requests p99 in ms, memory in MiB\n"
    )?;
    writeln!(
        out,
        "{:<18}{:>7}{:>8}{:>7}{:>8}{:>8}{:>7}{:>8}{:>8}{:>7}{:>8}{:>7}{:>7}{:>7}  verdict",
        "",
        "p50",
        "during",
        "ratio",
        "p99",
        "during",
        "ratio",
        "request",
        "during",
        "cores",
        "growth",
        "bound",
        "left",
        "kept"
    )?;
    for outcome in outcomes {
        let mib = |bytes: Option<f64>| {
            bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes / (1 << 20) as f64))
        };
        writeln!(
            out,
            "{:<18}{:>7.2}{:>8.2}{:>7.2}{:>8.2}{:>8.2}{:>7.2}{:>8.2}{:>8.2}{:>7}{:>8}{:>7}{:>7}{:>7}  {}",
            outcome.attack.name(),
            outcome.ages[0].p50_ms,
            outcome.ages[1].p50_ms,
            outcome.ages[1].p50_ms / outcome.ages[0].p50_ms,
            outcome.ages[0].p99_ms,
            outcome.ages[1].p99_ms,
            outcome.ratio(),
            outcome.requests[0].p99_ms,
            outcome.requests[1].p99_ms,
            outcome.cores[1].map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2}")),
            mib(outcome.memory.peak),
            mib(Some(outcome.bound.0 as f64)),
            mib(outcome.memory.after),
            mib(outcome.kept),
            outcome.verdict(),
        )?;
    }
    writeln!(out)?;
    for Outcome { attack, bound, back, tally, .. } in outcomes {
        let tally: Vec<String> = tally.iter().map(|(what, count)| format!("{what} x {count}")).collect();
        let back = back.map_or_else(
            || format!("not back after {} s", AFTER.as_secs()),
            |back| format!("all closed after {:.1} s", back.as_secs_f64()),
        );
        writeln!(out, "{}: bound {} + 8 MiB; {back}; {}", attack.name(), bound.1, tally.join(", "))?;
    }
    Ok(())
}
