//! A survey of a recording before it is played: the place of its things, their usual interval, and
//! its busiest time.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::recording::{Recording, Update};
use crate::report::{Blame, Failure};

/// A thing that is silent for so many times its usual interval is gone.
const INTERVALS_UNTIL_GONE: f64 = 5.0;
/// The highest speed that is chosen without being asked for.
const SPEED_MAX: f64 = 60.0;
/// Length of the pieces of time that are compared to find the busiest one.
const PIECE_MS: f64 = 600_000.0;
/// One position in so many may be far off on each side; the map leaves it out.
const OUTLIERS: usize = 500;

/// A recording, as a whole.
#[derive(Debug, PartialEq)]
pub(crate) struct Survey {
    /// The path that most of its resources are beneath.
    pub(crate) collection: String,
    pub(crate) paths: Vec<String>,
    /// Usual time between two reports of a thing, in recorded milliseconds.
    pub(crate) interval_ms: f64,
    /// The recorded time at which the busiest piece begins.
    pub(crate) busiest_ms: f64,
    pub(crate) bounds: Option<Bounds>,
}

/// The part of the world that a map shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Bounds {
    pub(crate) south: f64,
    pub(crate) west: f64,
    pub(crate) north: f64,
    pub(crate) east: f64,
}

/// A position by any of the names that recordings have for it.
#[derive(Deserialize)]
struct Placed {
    #[serde(alias = "lat")]
    latitude: Option<f64>,
    #[serde(alias = "lon", alias = "lng")]
    longitude: Option<f64>,
    position: Option<Box<Placed>>,
}

impl Survey {
    /// Reads a recording to its end.
    pub(crate) fn of(file: &Path) -> Result<Survey, Failure> {
        let recording = Recording::open(file)?;
        Survey::from_updates(recording).map_err(|failure| failure.at(file.display()))?.ok_or_else(
            || Failure::new(Blame::Input, format!("{}: nothing to play", file.display())),
        )
    }

    /// `None` if there are no updates.
    fn from_updates(
        updates: impl Iterator<Item = Result<Update, Failure>>,
    ) -> Result<Option<Survey>, Failure> {
        let mut last_ms: HashMap<String, f64> = HashMap::new();
        let mut pieces: HashMap<i64, usize> = HashMap::new();
        let (mut intervals, mut north, mut east) = (Vec::new(), Vec::new(), Vec::new());
        for update in updates {
            let Update { t_ms, path, value, .. } = update?;
            *pieces.entry((t_ms / PIECE_MS) as i64).or_default() += 1;
            if let Some((latitude, longitude)) = position(value.get()) {
                north.push(latitude);
                east.push(longitude);
            }
            if let Some(before) = last_ms.insert(path, t_ms)
                && t_ms > before
            {
                intervals.push(t_ms - before);
            }
        }
        let mut paths: Vec<String> = last_ms.into_keys().collect();
        paths.sort();
        let mut collections: HashMap<&str, usize> = HashMap::new();
        for path in &paths {
            *collections.entry(parent(path)).or_default() += 1;
        }
        let Some((collection, _)) =
            collections.into_iter().max_by_key(|(path, count)| (*count, *path))
        else {
            return Ok(None);
        };
        let busiest = pieces.into_iter().max_by_key(|(piece, count)| (*count, -*piece));
        intervals.sort_by(f64::total_cmp);
        Ok(Some(Survey {
            collection: collection.to_owned(),
            interval_ms: intervals.get(intervals.len() / 2).copied().unwrap_or(1000.0),
            busiest_ms: busiest.map_or(0.0, |(piece, _)| piece as f64 * PIECE_MS),
            bounds: bounds(north, east),
            paths,
        }))
    }

    /// The speed at which each thing reports about once a second.
    pub(crate) fn speed(&self) -> f64 {
        (self.interval_ms / 1000.0).clamp(1.0, SPEED_MAX)
    }

    /// The silence after which a thing is gone, in recorded milliseconds.
    pub(crate) fn gone_ms(&self) -> f64 {
        self.interval_ms * INTERVALS_UNTIL_GONE
    }

    /// The title: the collection's last name, as `Aircraft`.
    pub(crate) fn title(&self) -> String {
        let name = self.collection.rsplit('/').next().unwrap_or_default();
        let mut letters = name.chars();
        letters.next().map_or_else(
            || "Recording".to_owned(),
            |first| first.to_uppercase().chain(letters).collect(),
        )
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn position(value: &str) -> Option<(f64, f64)> {
    let placed: Placed = serde_json::from_str(value).ok()?;
    let placed = placed.position.map_or_else(
        || Some((placed.latitude, placed.longitude)),
        |inner| Some((inner.latitude, inner.longitude)),
    );
    let (latitude, longitude) = placed?;
    Some((latitude?, longitude?))
}

fn bounds(mut north: Vec<f64>, mut east: Vec<f64>) -> Option<Bounds> {
    north.sort_by(f64::total_cmp);
    east.sort_by(f64::total_cmp);
    let off = north.len() / OUTLIERS;
    let ends = |sorted: &[f64]| Some((*sorted.get(off)?, *sorted.get(sorted.len() - 1 - off)?));
    let ((south, north), (west, east)) = (ends(&north)?, ends(&east)?);
    Some(Bounds { south, west, north, east })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(lines: &str) -> Option<Survey> {
        let updates = lines.lines().map(|line| Ok(serde_json::from_str(line).unwrap()));
        Survey::from_updates(updates).unwrap()
    }

    #[test]
    fn a_recording_is_known_before_it_is_played() {
        let mut lines = String::new();
        for n in 0..10_000 {
            let t_ms = n * 10_000;
            let (north, east) = (46.0 + f64::from(n) / 10_000.0, 7.5);
            lines += &format!(
                "{{\"t\":{t_ms},\"path\":\"/air/a{}\",\"value\":{{\"lat\":{north},\"lon\":{east}}}}}\n",
                n % 2
            );
            if (5000..5060).contains(&n) {
                lines += &format!(
                    "{{\"t\":{t_ms},\"path\":\"/note\",\"value\":{{\"position\":{{\"latitude\":0,\"longitude\":0}}}}}}\n"
                );
            }
        }
        let survey = survey(&lines).unwrap();
        assert_eq!((survey.collection.as_str(), survey.paths.len()), ("/air", 3));
        assert_eq!(survey.title(), "Air");
        assert_eq!(
            (survey.interval_ms, survey.speed(), survey.gone_ms()),
            (20_000.0, 20.0, 100_000.0)
        );
        assert!((survey.busiest_ms - 50_000_000.0).abs() <= PIECE_MS, "{survey:?}");
        let bounds = survey.bounds.unwrap();
        assert!(bounds.north > 46.9 && bounds.east == 7.5, "{bounds:?}");
    }

    #[test]
    fn what_has_no_position_can_be_played_as_well() {
        let survey = survey("{\"t\":1,\"path\":\"/a\",\"value\":7}").unwrap();
        assert_eq!((survey.collection.as_str(), survey.bounds), ("", None));
        assert_eq!((survey.title().as_str(), survey.speed()), ("Recording", 1.0));
        assert_eq!(self::survey(""), None);
    }
}
