//! Figures: medians, ratios, and their output.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::subject::Kind;

/// A measured quantity.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metric {
    /// Its name in JSON; the unit comes last.
    pub(super) name: &'static str,
    /// Its label in the table.
    pub(super) label: &'static str,
    /// Digits after the point in the table.
    pub(super) digits: usize,
}

/// Metrics that several scenarios share.
pub(super) static AGE_P50: Metric =
    Metric { name: "age_p50_ms", label: "age on arrival, p50, ms", digits: 3 };
pub(super) static AGE_P99: Metric =
    Metric { name: "age_p99_ms", label: "age on arrival, p99, ms", digits: 3 };
pub(super) static SERVER_CORES: Metric =
    Metric { name: "server_cores", label: "cores used by the server", digits: 2 };
pub(super) static GENERATOR_CORES: Metric =
    Metric { name: "load_cores", label: "cores used by the load", digits: 2 };

/// One measurement: all figures that the system could supply.
#[derive(Debug, Default)]
pub(super) struct Sample(Vec<(&'static Metric, f64)>);

impl Sample {
    pub(super) fn add(&mut self, metric: &'static Metric, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into().filter(|value| value.is_finite()) {
            self.0.push((metric, value));
        }
    }

    /// Adds the median and the 99th percentile of some times, in milliseconds. Sorts them.
    pub(super) fn add_percentiles(
        &mut self,
        [p50, p99]: [&'static Metric; 2],
        times_us: &mut [u32],
    ) {
        for (metric, share) in [(p50, 0.5), (p99, 0.99)] {
            self.add(metric, percentile(times_us, share).map(|us| us / 1000.0));
        }
    }
}

/// The figures of one case, of all runs.
pub(super) struct CaseFigures {
    name: String,
    /// Rows in the order in which they were first measured.
    rows: Vec<Row>,
}

struct Row {
    metric: &'static Metric,
    halfping: Vec<f64>,
    floor: Vec<f64>,
}

impl CaseFigures {
    pub(super) fn new(name: String) -> CaseFigures {
        CaseFigures { name, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, kind: Kind, sample: Sample) {
        for (metric, value) in sample.0 {
            let place =
                self.rows.iter().position(|row| row.metric == metric).unwrap_or_else(|| {
                    self.rows.push(Row { metric, halfping: Vec::new(), floor: Vec::new() });
                    self.rows.len() - 1
                });
            let row = &mut self.rows[place];
            match kind {
                Kind::Halfping => row.halfping.push(value),
                Kind::Floor => row.floor.push(value),
            }
        }
    }
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        let (halfping, floor) = (median(&self.halfping)?, median(&self.floor)?);
        // A quantity that is too small to be measured may come out negative.
        (floor > 0.0 && halfping >= 0.0).then_some(halfping / floor)
    }
}

/// The report of a scenario.
pub(super) struct Report {
    scenario: &'static str,
    settings: Map<String, Value>,
    pub(super) cases: Vec<CaseFigures>,
}

impl Report {
    pub(super) fn new(scenario: &'static str, settings: Map<String, Value>) -> Report {
        Report { scenario, settings, cases: Vec::new() }
    }

    pub(super) fn print(&self, out: &mut impl Write, as_json: bool) -> io::Result<()> {
        if as_json {
            return writeln!(out, "{}", self.json());
        }
        let settings: Vec<String> =
            self.settings.iter().map(|(name, value)| setting(name, value)).collect();
        writeln!(out, "{}: {}", self.scenario, settings.join(", "))?;
        for case in &self.cases {
            writeln!(out, "\n{:<44}{:>14}{:>14}{:>8}", case.name, "halfping", "floor", "ratio")?;
            for row in &case.rows {
                let digits = row.metric.digits;
                let shown = |values| {
                    median(values).map_or_else(|| "-".to_owned(), |value| grouped(value, digits))
                };
                let ratio =
                    row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
                let (halfping, floor) = (shown(&row.halfping), shown(&row.floor));
                writeln!(out, "  {:<42}{halfping:>14}{floor:>14}{ratio:>8}", row.metric.label)?;
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let cases = self.cases.iter().map(|case| {
            let figures: Map<String, Value> = case
                .rows
                .iter()
                .map(|row| {
                    let figure = json!({
                        "halfping": median(&row.halfping),
                        "floor": median(&row.floor),
                        "ratio": row.ratio(),
                        "runs": { "halfping": row.halfping, "floor": row.floor },
                    });
                    (row.metric.name.to_owned(), figure)
                })
                .collect();
            json!({ "case": case.name, "figures": figures })
        });
        json!({
            "scenario": self.scenario,
            "settings": self.settings,
            "cases": cases.collect::<Vec<Value>>(),
        })
    }
}

/// A setting in readable form.
fn setting(name: &str, value: &Value) -> String {
    let name = name.replace('_', " ");
    match value {
        Value::String(text) => format!("{name} {text}"),
        Value::Null => format!("no {name}"),
        value => format!("{name} {value}"),
    }
}

/// The median; of an even number of values, the mean of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[middle - 1] + upper) / 2.0 })
}

/// The value below which a share of all values lies. Sorts them.
pub(super) fn percentile(values: &mut [u32], share: f64) -> Option<f64> {
    values.sort_unstable();
    let place = (values.len() as f64 * share) as usize;
    values.get(place.min(values.len().saturating_sub(1))).map(|value| f64::from(*value))
}

/// Formats a number with its thousands apart.
fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let whole = text.find('.').unwrap_or(text.len());
    let mut out = String::new();
    for (place, c) in text.char_indices() {
        let left = whole.saturating_sub(place);
        if place > 0 && left > 0 && left % 3 == 0 && !out.ends_with('-') {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    static SPEED: Metric = Metric { name: "speed_mps", label: "speed, m/s", digits: 1 };

    #[test]
    fn numbers_are_grouped_before_the_point() {
        for (value, digits, text) in [
            (0.0, 0, "0"),
            (-1234567.0, 0, "-1,234,567"),
            (-123.0, 0, "-123"),
            (1234.5678, 3, "1,234.568"),
        ] {
            assert_eq!(grouped(value, digits), text);
        }
    }

    #[test]
    fn the_middle_counts() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(percentile(&mut [5, 1, 3], 0.5), Some(3.0));
        assert_eq!(percentile(&mut [5, 1, 3], 0.99), Some(5.0));
        assert_eq!(percentile(&mut [], 0.5), None);
    }

    #[test]
    fn a_report_has_both_and_their_ratio() {
        let mut case = CaseFigures::new("case".to_owned());
        for (kind, value) in [(Kind::Floor, 10.0), (Kind::Halfping, 12.0), (Kind::Halfping, 2000.0)]
        {
            let mut sample = Sample::default();
            sample.add(&SPEED, value);
            sample.add(&SPEED, None);
            case.add(kind, sample);
        }
        let mut report = Report::new("test", Map::new());
        report.cases.push(case);
        let mut out = Vec::new();
        report.print(&mut out, false).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("1,006.0") && text.contains("10.0") && text.contains("100.60"),
            "{text}"
        );
        assert_eq!(
            report.json()["cases"][0]["figures"]["speed_mps"]["runs"],
            json!({ "halfping": [12.0, 2000.0], "floor": [10.0] })
        );
    }
}
