//! The findings of a measurement, as a table and as JSON.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::ages::Ages;
use super::tally::Tally;
use crate::args::Bench;
use crate::report::Failure;
use crate::target::Target;

const GIB: f64 = (1u64 << 30) as f64;
/// The least memory that a reader can take: its task, its socket and its link. A server that grows
/// by less had memory left from earlier.
const READER_BYTES_MIN: f64 = 1000.0;
/// The fewest readers whose memory is told without a note. A server takes memory in large pieces:
/// it grows by too much for a few readers.
const MEASURED_READERS_MIN: u32 = 1000;
/// The share of the requested writes below which the writer counts as too slow.
const WRITES_SHARE_MIN: f64 = 0.9;

/// All findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// True if the server was started for this measurement.
    pub(super) is_own: bool,
    /// True if there is a value to be removed.
    pub(super) is_written: bool,
    /// Objects that were made above the value, the outermost first.
    pub(super) made: Vec<String>,
    /// Readers that were open.
    pub(super) readers: u32,
    /// True if the server shows its metrics.
    pub(super) has_metrics: bool,
    /// Growth of the server's memory for each idle reader. `None`: the server does not tell.
    pub(super) growth_bytes: Option<f64>,
    /// True if others wrote or connected while it grew.
    pub(super) is_shared: bool,
    pub(super) load: Option<Load>,
    pub(super) is_interrupted: bool,
    /// The request that the server refused.
    pub(super) refused: Option<Failure>,
}

/// The metrics of the server that this command uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metrics {
    connections: f64,
    commits: Option<f64>,
    resident_bytes: Option<f64>,
    cpu_s: Option<f64>,
}

impl Metrics {
    /// Reads the text of `/_metrics`; `None` if it is something else.
    pub(super) fn read(text: &str) -> Option<Metrics> {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line?.trim().parse::<f64>().ok()
        };
        Some(Metrics {
            connections: value("halfping_connections")?,
            commits: value("halfping_commits_total"),
            resident_bytes: value("process_resident_memory_bytes"),
            cpu_s: value("process_cpu_seconds_total"),
        })
    }

    /// Growth of memory since then, in bytes.
    pub(super) fn growth_since(&self, before: &Metrics) -> Option<f64> {
        Some(self.resident_bytes? - before.resident_bytes?)
    }

    /// True if others wrote, or opened connections, while so many readers were opened.
    pub(super) fn are_shared_since(&self, before: &Metrics, readers: u32) -> bool {
        self.commits != before.commits || self.connections > before.connections + f64::from(readers)
    }
}

/// The results of writing.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) began: Instant,
    pub(super) writes: u64,
    /// Duration of writing; not known before the end.
    pub(super) took: Option<Duration>,
    cpu_before_s: Option<f64>,
    cpu_s: Option<f64>,
    ages: Ages,
    cuts: u64,
}

impl Load {
    pub(super) fn begin(metrics: Option<&Metrics>, tally: &Tally) -> Load {
        // Ages of earlier deliveries do not count.
        tally.take_ages();
        let cpu_before_s = metrics.and_then(|metrics| metrics.cpu_s);
        let (ages, cuts) = (Ages::default(), 0);
        Load { began: Instant::now(), writes: 0, took: None, cpu_before_s, cpu_s: None, ages, cuts }
    }

    pub(super) fn end(&mut self, tally: &Tally, metrics: Option<&Metrics>) {
        self.took.get_or_insert_with(|| self.began.elapsed());
        (self.ages, self.cuts) = (tally.take_ages(), tally.cuts());
        let now_s = metrics.and_then(|metrics| metrics.cpu_s);
        // The system counts in hundredths of a second: less than one is not known.
        let used_s = self.cpu_before_s.zip(now_s).map(|(before, now)| now - before);
        self.cpu_s = used_s.filter(|used| *used > 0.0);
    }

    fn a_second(&self, count: u64) -> f64 {
        count as f64 / self.took.unwrap_or_default().as_secs_f64().max(f64::EPSILON)
    }

    /// Processor time of the server for one delivered update.
    fn delivery_us(&self) -> Option<f64> {
        let deliveries = Some(self.ages.total()).filter(|count| *count > 0)?;
        Some(self.cpu_s? / deliveries as f64 * 1e6)
    }

    /// Deliveries a second that one core can make.
    fn deliveries_per_core(&self) -> Option<f64> {
        Some(1e6 / self.delivery_us()?)
    }
}

impl Findings {
    /// Memory of the server for each idle reader, if it can be true.
    fn reader_bytes(&self) -> Option<f64> {
        self.growth_bytes.filter(|bytes| *bytes >= READER_BYTES_MIN)
    }

    /// Remarks on the figures.
    fn notes(&self, args: &Bench) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_interrupted {
            notes.push("stopped early: these are the figures up to then".to_owned());
        } else if self.readers < args.readers {
            notes.push(format!("of {} readers, {} are measured", args.readers, self.readers));
        }
        // An interrupt may come before the metrics were read.
        let was_idle = self.readers > 0 && (self.load.is_some() || !self.is_interrupted);
        match self.growth_bytes {
            _ if !was_idle || self.reader_bytes().is_some() => {}
            _ if !self.has_metrics => {
                notes.push("the server does not show /_metrics: no memory and CPU time".to_owned());
            }
            None => notes.push("the server does not tell its memory".to_owned()),
            Some(bytes) => notes.push(format!(
                "the server's memory grew by {bytes:.0} bytes for each reader, which cannot be \
                 all: some was left from earlier; use more --readers, or a fresh server"
            )),
        }
        if self.reader_bytes().is_some() && self.is_shared {
            notes.push(
                "others used the server meanwhile: the memory is theirs too, not that of a reader"
                    .to_owned(),
            );
        }
        if self.reader_bytes().is_some() && self.readers < MEASURED_READERS_MIN {
            notes.push(format!(
                "a server takes memory in large pieces: what a reader takes shows with --readers \
                 {MEASURED_READERS_MIN} or more, not with {}",
                self.readers
            ));
        }
        if let Some(load) = &self.load {
            if self.has_metrics && load.cpu_s.is_none() {
                notes.push("the CPU time is too short: try more --readers or --seconds".to_owned());
            }
            if load.cuts > 0 {
                notes.push(format!("{} streams were cut and came back", load.cuts));
            }
            let writes_per_s = load.a_second(load.writes);
            if !self.is_interrupted && writes_per_s < args.rate * WRITES_SHARE_MIN {
                notes.push(format!(
                    "{writes_per_s:.1} writes a second, not {}: each waits for the one before",
                    args.rate
                ));
            }
        }
        notes
    }

    pub(super) fn print(&self, args: &Bench, at: &Target, out: &mut impl Write) -> io::Result<()> {
        let own = if self.is_own { " (its own server, in memory)" } else { "" };
        writeln!(out, "{}{own}: {} bytes, {} writes a second\n", at.base, args.payload, args.rate)?;
        let mut row = |name: &str, value: Option<String>| {
            writeln!(out, "{name:<42}{:>16}", value.unwrap_or_else(|| "-".to_owned()))
        };
        row("readers", Some(format!("{} of {}", self.readers, args.readers)))?;
        row("server memory per idle reader, bytes", self.reader_bytes().map(grouped))?;
        let a_gib = self.reader_bytes().map(|bytes| grouped(GIB / bytes));
        row("  1 GiB carries about, idle readers", a_gib)?;
        if let Some(load) = &self.load {
            let ms = |ms: Option<f64>| ms.map(|ms| format!("{ms:.2}"));
            row("writes", Some(grouped(load.writes as f64)))?;
            row("writes a second", Some(format!("{:.1}", load.a_second(load.writes))))?;
            row("deliveries a second", Some(grouped(load.a_second(load.ages.total()))))?;
            row("age on delivery, p50, ms", ms(load.ages.percentile_ms(0.5)))?;
            row("age on delivery, p99, ms", ms(load.ages.percentile_ms(0.99)))?;
            row("age on delivery, max, ms", ms(load.ages.max_ms()))?;
            let cpu = load.delivery_us().map(|us| format!("{us:.2}"));
            row("server CPU time per delivered update, µs", cpu)?;
            row("  one core carries about, deliveries/s", load.deliveries_per_core().map(grouped))?;
        }
        let notes = self.notes(args);
        if !notes.is_empty() {
            writeln!(out)?;
        }
        notes.iter().try_for_each(|note| writeln!(out, "{note}"))
    }

    pub(super) fn json(&self, args: &Bench, at: &Target) -> Value {
        let load = self.load.as_ref();
        json!({
            "url": at.base,
            "is_own_server": self.is_own,
            "payload_bytes": args.payload,
            "readers_asked": args.readers,
            "readers": self.readers,
            "memory_bytes_per_reader": self.reader_bytes(),
            "writes": load.map(|load| load.writes),
            "writes_per_s": load.map(|load| load.a_second(load.writes)),
            "deliveries": load.map(|load| load.ages.total()),
            "deliveries_per_s": load.map(|load| load.a_second(load.ages.total())),
            "age_p50_ms": load.and_then(|load| load.ages.percentile_ms(0.5)),
            "age_p99_ms": load.and_then(|load| load.ages.percentile_ms(0.99)),
            "age_max_ms": load.and_then(|load| load.ages.max_ms()),
            "server_cpu_us_per_delivery": load.and_then(Load::delivery_us),
            "deliveries_per_s_per_core": load.and_then(Load::deliveries_per_core),
            "is_interrupted": self.is_interrupted,
            "notes": self.notes(args),
        })
    }
}

/// Formats a number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    #[test]
    fn metrics_are_read_in_either_format() {
        let text = "# TYPE halfping_connections gauge\nhalfping_connections 3\n\
                    process_cpu_seconds_total 1.25\nprocess_resident_memory_bytes 4096\n";
        let metrics = Metrics::read(text).unwrap();
        assert_eq!((metrics.cpu_s, metrics.resident_bytes), (Some(1.25), Some(4096.0)));
        assert_eq!((metrics.connections, metrics.commits), (3.0, None));
        assert!(Metrics::read("<html>halfping_connections</html>").is_none());
    }

    #[test]
    fn a_figure_that_cannot_be_true_is_left_out_and_noted() {
        let args = Args::parse_from(["halfping", "bench"]);
        let Command::Bench(args) = args.command else { panic!() };
        let load = Load {
            began: Instant::now(),
            writes: 60,
            took: Some(Duration::from_secs(10)),
            cpu_before_s: None,
            cpu_s: Some(1.0),
            ages: Ages::default(),
            cuts: 0,
        };
        let findings = |growth_bytes| {
            let (readers, has_metrics) = (1000, true);
            Findings { readers, has_metrics, growth_bytes, ..Findings::default() }
        };
        for (growth, figure, says) in [
            (Some(1500.0), Some(1500.0), None),
            (Some(23.0), None, Some("grew by 23 bytes for each reader")),
            (Some(-40.0), None, Some("grew by -40 bytes for each reader")),
            (None, None, Some("does not tell its memory")),
        ] {
            let found = findings(growth);
            let notes = found.notes(&args).join("; ");
            assert_eq!(found.reader_bytes(), figure, "{growth:?}");
            let is_noted = says.map_or(notes.is_empty(), |says| notes.contains(says));
            assert!(is_noted, "{growth:?}: {notes}");
        }
        let slow = Findings { load: Some(load), ..findings(Some(1500.0)) };
        assert!(slow.notes(&args).join("; ").starts_with("6.0 writes a second, not 10"));
        let few = Findings { readers: 12, ..findings(Some(1500.0)) };
        assert_eq!(few.notes(&args)[0], "of 1000 readers, 12 are measured");
    }

    #[test]
    fn memory_of_few_readers_or_of_a_server_that_others_use_has_a_note() {
        let notes = |readers: u32, is_shared, growth_bytes| {
            let args = ["halfping", "bench", "--readers", &readers.to_string()];
            let Command::Bench(args) = Args::parse_from(args).command else { panic!() };
            let has_metrics = true;
            let found =
                Findings { readers, is_shared, growth_bytes, has_metrics, ..Findings::default() };
            found.notes(&args).join("; ")
        };
        assert_eq!(notes(1000, false, Some(4000.0)), "");
        assert!(notes(999, false, Some(4000.0)).ends_with("--readers 1000 or more, not with 999"));
        assert!(notes(1000, true, Some(4000.0)).starts_with("others used the server meanwhile"));
        // The figure that is left out needs no second remark.
        assert_eq!(notes(10, true, None), "the server does not tell its memory");
    }

    #[test]
    fn a_server_that_others_use_is_told_by_its_commits_or_connections() {
        let metrics = |connections, commits| {
            let (resident_bytes, cpu_s) = (None, None);
            Metrics { connections, commits: Some(commits), resident_bytes, cpu_s }
        };
        let before = metrics(100.0, 7.0);
        for (connections, commits, is_shared) in
            [(1000.0, 7.0, false), (1000.0, 8.0, true), (1001.0, 7.0, true), (101.0, 7.0, false)]
        {
            let after = metrics(connections, commits);
            assert_eq!(after.are_shared_since(&before, 900), is_shared, "{after:?}");
        }
    }

    #[test]
    fn thousands_stand_apart() {
        let shown = [0.4, 999.0, 1000.0, 1_234_567.0].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
