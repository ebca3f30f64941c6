//! A server under a steady mixture of everything, for long: checks that nothing of it grows.

mod actors;
mod plot;
mod trend;

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow};
use serde_json::{Map, Value, json};

use self::actors::Actors;
use self::plot::Curve;
use self::trend::{Trend, Verdict};
use crate::args::{self, Transport};
use crate::figures::percentile;
use crate::load::{Load, Reading};
use crate::open_files;
use crate::pace::steadily;
use crate::plain::Plain;
use crate::progress::Progress;
use crate::subject::{Kind, Setup, Subject};

/// Updates a second of the value whose age is measured.
const PROBE_RATE: u32 = 50;
const PAYLOAD: u32 = 64;
/// Time between two checks for a request to stop.
const TURN: Duration = Duration::from_secs(1);
/// Time within which several signals are one request: `timeout` signals a process and its group.
const ONE_REQUEST: Duration = Duration::from_millis(500);
const FILES: u64 = 256;
/// The part of a run that is not judged, because the server has not settled.
const WARM_UP: f64 = 1.0 / 3.0;
const MIB: f64 = (1 << 20) as f64;

/// A quantity that is sampled.
struct Quantity {
    /// Its name in the CSV file; the unit comes last.
    name: &'static str,
    title: &'static str,
    digits: usize,
    /// A change over the judged time that does not matter.
    slack: f64,
}

const fn quantity(name: &'static str, title: &'static str, digits: usize, slack: f64) -> Quantity {
    Quantity { name, title, digits, slack }
}

static QUANTITIES: [Quantity; 13] = [
    quantity("resident_mib", "resident memory, MiB", 1, 2.0),
    quantity("anonymous_mib", "memory of its own, MiB", 1, 2.0),
    quantity("open_files", "open files", 0, 8.0),
    quantity("threads", "threads", 0, 1.0),
    quantity("age_p50_ms", "put to delivery, p50, ms", 3, 0.2),
    quantity("age_p99_ms", "put to delivery, p99, ms", 2, 2.0),
    quantity("sessions", "sessions and streams", 0, 8.0),
    quantity("links", "links", 0, 50.0),
    quantity("places", "places with links", 0, 50.0),
    quantity("tombstones", "tombstones", 0, 200.0),
    quantity("names", "member names", 0, 200.0),
    quantity("tree_mib", "tree as JSON, MiB", 2, 0.1),
    quantity("writes_per_s", "writes a second", 0, 20.0),
];
/// Sampled only if state is kept in files.
static DISK: Quantity = quantity("disk_mib", "data directory, MiB", 1, 16.0);

/// A sample: minutes since the start, and a value for each quantity, in order; NaN for what the
/// system does not report.
struct Moment {
    minutes: f64,
    values: Vec<f64>,
}

pub(super) fn soak(args: &args::Soak) -> Result<()> {
    open_files::raise(u64::from(args.readers) * 2 + FILES)?;
    let stopped = stop_on_request()?;
    let progress = Progress::new();
    progress.say("soak: starting".to_owned());
    let setup = Setup {
        program: args.server.clone(),
        data: args.data.clone(),
        outlives_interrupts: true,
        ..Setup::default()
    };
    let subject = Subject::start(Kind::Halfping, &setup)?;
    let broken = |error: io::Error| anyhow!("the server does not answer: {error}");
    let actors = Actors::start(subject.address, args.readers, args.writes).map_err(broken)?;
    let mut plain = Plain::new(subject.address);
    let mut load = Load::new(&subject, PAYLOAD)?;
    load.publish_first(1)?;
    load.add_reader(&Reading::of(Transport::Ws, 0..1))?;

    let quantities: Vec<&Quantity> =
        QUANTITIES.iter().chain(args.data.is_some().then_some(&DISK)).collect();
    let csv = args.out.join("halfping-soak.csv");
    let mut header = "minutes".to_owned();
    quantities.iter().for_each(|quantity| header.push_str(&format!(",{}", quantity.name)));
    fs::create_dir_all(&args.out).map_err(|error| unwritable(&args.out, &error))?;
    let mut file = fs::File::create(&csv).map_err(|error| unwritable(&csv, &error))?;
    writeln!(file, "{header}").map_err(|error| unwritable(&csv, &error))?;

    let (start, mut moments) = (Instant::now(), Vec::new());
    let whole = Duration::from_secs_f64(args.minutes * 60.0);
    let mut failed = None;
    while start.elapsed() < whole && !stopped.load(Ordering::Relaxed) {
        let (mut ages_us, began) = (Vec::new(), Instant::now());
        let writes = actors.world.writes.load(Ordering::Relaxed);
        while began.elapsed() < args.every && !stopped.load(Ordering::Relaxed) {
            let turn = TURN.min(args.every.saturating_sub(began.elapsed()));
            let take =
                |delivery: crate::load::Delivery| ages_us.push(delivery.age.as_micros() as u32);
            let publish = |load: &mut Load| load.publish(0).map(drop);
            if let Err(failure) = steadily(&mut load, PROBE_RATE, turn, publish, || {}, take) {
                // The samples so far may show the reason.
                failed = Some(failure);
                stopped.store(true, Ordering::Relaxed);
            }
            progress.turn(|| progress_line(start.elapsed(), whole, moments.last()));
        }
        // A shortened interval is no whole sample.
        if began.elapsed() < args.every {
            break;
        }
        let made = actors.world.writes.load(Ordering::Relaxed) - writes;
        let made_per_s = made as f64 / began.elapsed().as_secs_f64();
        let minutes = start.elapsed().as_secs_f64() / 60.0;
        let values = look(&subject, &mut plain, &mut ages_us, made_per_s, args.data.as_deref());
        let line: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
        writeln!(file, "{minutes:.3},{}", line.join(","))
            .map_err(|error| unwritable(&csv, &error))?;
        moments.push(Moment { minutes, values });
        progress.line(|| progress_line(start.elapsed(), whole, moments.last()));
    }
    progress.end();
    let minutes = start.elapsed().as_secs_f64() / 60.0;

    let judged_from = minutes * WARM_UP;
    let judged: Vec<(&Quantity, Trend)> = quantities
        .iter()
        .enumerate()
        .map(|(place, quantity)| {
            let mut points = points(&moments, place);
            points.retain(|(at, _)| *at >= judged_from);
            (*quantity, Trend::of(&points, quantity.slack))
        })
        .collect();
    let curves: Vec<Curve> = judged
        .iter()
        .enumerate()
        .map(|(place, (quantity, trend))| Curve {
            title: quantity.title.to_owned(),
            verdict: trend.verdict.name().to_owned(),
            points: points(&moments, place),
            digits: quantity.digits,
        })
        .collect();
    let picture = args.out.join("halfping-soak.svg");
    fs::write(&picture, plot::svg(&curves, judged_from))
        .map_err(|error| unwritable(&picture, &error))?;

    let world = &actors.world;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (visits, resumes, stalls) =
        (count(&world.visits), count(&world.resumes), count(&world.stalls));
    let (writes, surprises, panics) =
        (count(&world.writes), count(&world.surprises), subject.said("panicked"));
    let mut out = io::stdout().lock();
    if args.json {
        let found: Map<String, Value> = judged
            .iter()
            .map(|(quantity, trend)| {
                let found = json!({
                    "middle": trend.middle, "slope_per_minute": trend.slope, "verdict": trend.verdict.name(),
                });
                (quantity.name.to_owned(), found)
            })
            .collect();
        let report = json!({
            "scenario": "soak", "minutes": minutes, "samples": moments.len(), "quantities": found,
            "writes": writes, "visits": visits, "resumes": resumes, "stalls": stalls,
            "surprises": surprises, "panics": panics, "csv": csv, "svg": picture,
        });
        writeln!(out, "{report}")?;
    } else {
        writeln!(
            out,
            "soak: {minutes:.1} minutes, {writes} writes, {visits} visits of readers of which {resumes} resumed, \
             {stalls} stalls, {surprises} surprises, {panics} panics\n"
        )?;
        writeln!(
            out,
            "{:<32}{:>14}{:>16}  over the last two thirds",
            "", "middle", "slope a minute"
        )?;
        for (quantity, trend) in &judged {
            let (middle, digits) = (trend.middle, quantity.digits);
            let slope_digits = digits + 3;
            writeln!(
                out,
                "{:<32}{middle:>14.digits$}{:>16.slope_digits$}  {}",
                quantity.title,
                trend.slope,
                trend.verdict.name()
            )?;
        }
        writeln!(out, "\n{}\n{}", csv.display(), picture.display())?;
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    let growing: Vec<&str> = judged
        .iter()
        .filter(|(_, trend)| trend.verdict == Verdict::Grows)
        .map(|(quantity, _)| quantity.title)
        .collect();
    if growing.is_empty() && panics == 0 {
        return Ok(());
    }
    let message = match panics {
        0 => format!("these grow: {}", growing.join("; ")),
        panics => format!("the server panicked ({panics} lines of its log say so)"),
    };
    Err(anyhow!("{message}: the curves show since when"))
}

/// A flag that is set by Ctrl-C or SIGTERM. A further request ends the process.
fn stop_on_request() -> Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    let told = stopped.clone();
    let mut first = None;
    ctrlc::set_handler(move || {
        told.store(true, Ordering::Relaxed);
        match first {
            None => eprintln!("stopping; again to stop at once"),
            Some(first) if Instant::now() < first + ONE_REQUEST => {}
            // The code that a shell reports for a process ended by Ctrl-C.
            Some(_) => std::process::exit(130),
        }
        first.get_or_insert_with(Instant::now);
    })?;
    Ok(stopped)
}

fn look(
    subject: &Subject,
    plain: &mut Plain,
    ages_us: &mut [u32],
    writes_per_s: f64,
    data: Option<&Path>,
) -> Vec<f64> {
    let metrics = plain.metrics();
    let gauge = |name: &str| metrics.as_ref().map_or(f64::NAN, |metrics| metrics.value(name));
    let mib = |bytes: Option<u64>| bytes.map_or(f64::NAN, |bytes| bytes as f64 / MIB);
    let number = |count: Option<u64>| count.map_or(f64::NAN, |count| count as f64);
    let mut age = |share| percentile(ages_us, share).map_or(f64::NAN, |us| us / 1000.0);
    let mut values = vec![
        mib(subject.resident_bytes()),
        mib(subject.own_bytes()),
        number(subject.open_files()),
        number(subject.threads()),
        age(0.5),
        age(0.99),
        gauge("halfping_sessions"),
        gauge("halfping_links"),
        gauge("halfping_watched_places"),
        gauge("halfping_tombstones"),
        gauge("halfping_member_names"),
        gauge("halfping_tree_bytes") / MIB,
        writes_per_s,
    ];
    values.extend(data.map(|data| disk_bytes(data) as f64 / MIB));
    values
}

/// Bytes of all files in and below a directory. Files that vanish meanwhile count for nothing.
fn disk_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.filter_map(|entry| {
        let about = entry.metadata().ok()?;
        Some(if about.is_dir() { disk_bytes(&entry.path()) } else { about.len() })
    });
    bytes.sum()
}

fn points(moments: &[Moment], place: usize) -> Vec<(f64, f64)> {
    let points = moments.iter().map(|moment| (moment.minutes, moment.values[place]));
    points.filter(|(_, value)| value.is_finite()).collect()
}

fn progress_line(at: Duration, whole: Duration, last: Option<&Moment>) -> String {
    let mut line = "soak: ".to_owned();
    let clock = |time: Duration| format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60);
    let _ = write!(line, "{} of {}", clock(at), clock(whole));
    if let Some(Moment { values, .. }) = last {
        let _ = write!(
            line,
            ", {:.1} MiB, {} links, {} writes/s, age p99 {:.2} ms",
            values[0], values[7] as u64, values[12] as u64, values[5]
        );
    }
    line
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    anyhow!("cannot write {}: {error}", path.display())
}
