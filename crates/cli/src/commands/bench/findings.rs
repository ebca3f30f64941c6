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

/// All findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// True if the server was started for this measurement.
    pub(super) is_own: bool,
    /// True if there is a value to be removed.
    pub(super) is_written: bool,
    /// Readers that were open.
    pub(super) readers: u32,
    /// True if the server shows its metrics.
    pub(super) has_metrics: bool,
    /// Memory of the server for each idle reader.
    pub(super) reader_bytes: Option<f64>,
    pub(super) load: Option<Load>,
    pub(super) is_interrupted: bool,
    /// The request that the server refused.
    pub(super) refused: Option<Failure>,
}

/// The metrics of the server that this command uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metrics {
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
        value("halfping_connections")?;
        Some(Metrics {
            resident_bytes: value("process_resident_memory_bytes"),
            cpu_s: value("process_cpu_seconds_total"),
        })
    }

    /// Growth of memory, in bytes.
    pub(super) fn growth(before: Option<&Metrics>, after: Option<&Metrics>) -> Option<f64> {
        Some(after?.resident_bytes? - before?.resident_bytes?)
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
    /// Remarks on the figures.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_interrupted {
            notes.push("stopped early: these are the figures up to then".to_owned());
        }
        // An interrupt may come before the metrics were read.
        let was_idle = self.readers > 0 && (self.load.is_some() || !self.is_interrupted);
        if was_idle && !self.has_metrics {
            notes.push("the server does not show /_metrics: memory and CPU time are not known".to_owned());
        } else if was_idle && self.reader_bytes.is_none() {
            notes.push("the memory did not grow: use more --readers".to_owned());
        }
        if let Some(load) = &self.load {
            if self.has_metrics && load.cpu_s.is_none() {
                notes.push("the CPU time is too short: try more --readers or --seconds".to_owned());
            }
            if load.cuts > 0 {
                notes.push(format!("{} streams were cut and came back", load.cuts));
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
        row("server memory per idle reader, bytes", self.reader_bytes.map(grouped))?;
        let a_gib = self.reader_bytes.map(|bytes| grouped(GIB / bytes));
        row("  1 GiB carries about, idle readers", a_gib)?;
        if let Some(load) = &self.load {
            let ms = |ms: Option<f64>| ms.map(|ms| format!("{ms:.2}"));
            row("writes a second", Some(format!("{:.1}", load.a_second(load.writes))))?;
            row("deliveries a second", Some(grouped(load.a_second(load.ages.total()))))?;
            row("age on delivery, p50, ms", ms(load.ages.percentile_ms(0.5)))?;
            row("age on delivery, p99, ms", ms(load.ages.percentile_ms(0.99)))?;
            row("age on delivery, max, ms", ms(load.ages.max_ms()))?;
            let cpu = load.delivery_us().map(|us| format!("{us:.2}"));
            row("server CPU time per delivered update, µs", cpu)?;
            row("  one core carries about, deliveries/s", load.deliveries_per_core().map(grouped))?;
        }
        let notes = self.notes();
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
            "memory_bytes_per_reader": self.reader_bytes,
            "writes_per_s": load.map(|load| load.a_second(load.writes)),
            "deliveries": load.map(|load| load.ages.total()),
            "deliveries_per_s": load.map(|load| load.a_second(load.ages.total())),
            "age_p50_ms": load.and_then(|load| load.ages.percentile_ms(0.5)),
            "age_p99_ms": load.and_then(|load| load.ages.percentile_ms(0.99)),
            "age_max_ms": load.and_then(|load| load.ages.max_ms()),
            "server_cpu_us_per_delivery": load.and_then(Load::delivery_us),
            "deliveries_per_s_per_core": load.and_then(Load::deliveries_per_core),
            "is_interrupted": self.is_interrupted,
            "notes": self.notes(),
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
    use super::*;

    #[test]
    fn metrics_are_read_in_either_format() {
        let text = "# TYPE halfping_connections gauge\nhalfping_connections 3\n\
                    process_cpu_seconds_total 1.25\nprocess_resident_memory_bytes 4096\n";
        let metrics = Metrics::read(text).unwrap();
        assert_eq!((metrics.cpu_s, metrics.resident_bytes), (Some(1.25), Some(4096.0)));
        assert!(Metrics::read("<html>halfping_connections</html>").is_none());
    }

    #[test]
    fn thousands_stand_apart() {
        let shown = [0.4, 999.0, 1000.0, 1_234_567.0].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
