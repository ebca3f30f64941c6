//! A recording that is played again and again, with its values at its own paths.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use halfping::{Api, Commit};
use serde::Serialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc::channel;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Description, failed, may_go_on};
use crate::commands::replay::read_all;
use crate::playback::Survey;
use crate::recording::{Recording, Update};
use crate::report::Failure;

/// Updates that are read before their time.
const READ_AHEAD_MAX: usize = 1024;
/// Updates in one commit.
const COMMIT_MAX: usize = 1000;
/// The longest silence that is played; the rest of a recorded silence is left out.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// The largest delay that is caught up. After a longer one (a laptop that slept), the recording
/// goes on from where it is.
const LATE_MAX: Duration = Duration::from_secs(2);
/// Time between two writes of `/fleet`, and between two searches for things that have gone.
const SUMMARY_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Player {
    file: PathBuf,
    survey: Survey,
    speed: f64,
    credit: Option<String>,
    /// Things that are there now, with the recorded time of their last report.
    heard_ms: HashMap<String, f64>,
    /// The recorded time.
    now_ms: f64,
    updates: u64,
}

/// The value of `/fleet`.
#[derive(Serialize)]
struct FleetValue {
    vehicles: usize,
    updates: u64,
    recorded_ms: f64,
}

impl Player {
    pub(super) async fn new(
        file: &Path,
        speed: Option<f64>,
        credit: Option<String>,
    ) -> Result<Player, Failure> {
        let at = file.to_owned();
        let survey = spawn_blocking(move || Survey::of(&at)).await;
        let survey =
            survey.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        let speed = speed.unwrap_or_else(|| survey.speed());
        let (heard_ms, file) = (HashMap::new(), file.to_owned());
        Ok(Player { file, now_ms: survey.busiest_ms, survey, speed, credit, heard_ms, updates: 0 })
    }

    pub(super) async fn populate(&mut self, api: &Api) -> Result<(), Failure> {
        // Paths that an earlier run may have left in this store.
        let left: Vec<String> = self.survey.paths.clone();
        may_go_on(api.commit(without(api, Commit::new(), left)).await)?;
        let commit =
            Commit::new().put("/fleet", &self.fleet_value()).put("/demo", &self.description());
        api.commit(commit).await.map_err(failed)?;
        Ok(())
    }

    pub(super) fn invitation(&self, url: &str) -> String {
        let Survey { paths, collection, .. } = &self.survey;
        let speed = self.speed;
        let file = self.file.display();
        format!(
            "{file}, {speed} times as fast as it was recorded, again and again. In other terminals:

all that moves, as it moves:
  curl -N '{url}{collection}?watch'

how many there are, and what time it was:
  curl -N '{url}/fleet?watch'

({} resources come and go, such as {collection}/{})
",
            paths.len(),
            paths.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default()
        )
    }

    pub(super) async fn drive(&mut self, api: &Api) -> Failure {
        match self.play(api).await {
            Err(failure) => failure,
            Ok(()) => unreachable!("a recording is played for ever"),
        }
    }

    async fn play(&mut self, api: &Api) -> Result<(), Failure> {
        let first = Recording::open(&self.file)?;
        let (read, mut updates) = channel(READ_AHEAD_MAX);
        let file = self.file.clone();
        let reader = spawn_blocking(move || read_all(first, &file, true, &read));
        // Things that reported shortly before the beginning are there when it begins.
        let begin_ms = self.survey.busiest_ms;
        let mut schedule = Schedule::new(begin_ms, self.speed);
        let (mut playing, mut due) = (0, Vec::new());
        let mut summary = Instant::now();
        while let Some((pass, update)) = updates.recv().await {
            if pass == 0 && update.t_ms < begin_ms - self.survey.gone_ms() {
                continue;
            }
            if pass != playing {
                playing = pass;
                self.write(api, &mut due).await?;
                // The end is shown for as long as everything else was.
                let interval =
                    Duration::try_from_secs_f64(self.survey.interval_ms / 1000.0 / self.speed);
                sleep(interval.unwrap_or_default().min(SILENCE_MAX)).await;
                let all: Vec<String> = self.heard_ms.drain().map(|(path, _)| path).collect();
                may_go_on(api.commit(without(api, Commit::new(), all)).await)?;
                schedule = Schedule::new(update.t_ms, self.speed);
            }
            let at = schedule.at(update.t_ms);
            if at > Instant::now() || due.len() >= COMMIT_MAX {
                self.write(api, &mut due).await?;
            }
            sleep_until(at).await;
            self.now_ms = update.t_ms;
            due.push(update);
            if summary.elapsed() >= SUMMARY_EVERY {
                summary = Instant::now();
                may_go_on(api.commit(self.summary(api)).await)?;
            }
        }
        reader.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Writes due updates as one commit.
    async fn write(&mut self, api: &Api, due: &mut Vec<Update>) -> Result<(), Failure> {
        let Some(last) = due.last() else { return Ok(()) };
        let line = last.line;
        self.updates += due.len() as u64;
        let mut commit = Commit::new().put("/demo/updates", &self.updates);
        for update in due.drain(..) {
            commit = commit.put(&update.path, &update.value);
            self.heard_ms.insert(update.path, update.t_ms);
        }
        may_go_on(api.commit(commit).await).map_err(|failure| {
            failure.at(format_args!("{}, up to line {line}", self.file.display()))
        })
    }

    /// Sums up the things that are there, and removes those silent for long.
    fn summary(&mut self, api: &Api) -> Commit {
        let (now_ms, gone_ms) = (self.now_ms, self.survey.gone_ms());
        let gone = self.heard_ms.extract_if(|_, heard_ms| *heard_ms + gone_ms < now_ms);
        let gone: Vec<String> = gone.map(|(path, _)| path).collect();
        without(api, Commit::new().put("/fleet", &self.fleet_value()), gone)
    }

    fn fleet_value(&self) -> FleetValue {
        FleetValue {
            vehicles: self.heard_ms.len(),
            updates: self.updates,
            recorded_ms: self.now_ms,
        }
    }

    fn description(&self) -> Description {
        let file = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Description {
            title: self.survey.title(),
            source: file,
            credit: self.credit.clone(),
            collection: self.survey.collection.clone(),
            vehicles: None,
            vehicles_at_first: None,
            speed: self.speed,
            interval_ms: self.survey.interval_ms / self.speed,
            bounds: self.survey.bounds,
            streets: None,
            operators: Vec::new(),
            updates: self.updates,
        }
    }
}

/// Adds deletes of those paths that exist.
fn without(api: &Api, commit: Commit, paths: Vec<String>) -> Commit {
    let there = paths.into_iter().filter(|path| matches!(api.get::<IgnoredAny>(path), Ok(Some(_))));
    there.fold(commit, |commit, path| commit.delete(&path))
}

/// Times at which recorded updates are played.
struct Schedule {
    start: Instant,
    t_ms: f64,
    speed: f64,
    /// Time of the last update before.
    last: Instant,
}

impl Schedule {
    fn new(t_ms: f64, speed: f64) -> Schedule {
        let start = Instant::now();
        Schedule { start, t_ms, speed, last: start }
    }

    fn at(&mut self, t_ms: f64) -> Instant {
        let (now, after) =
            (Instant::now(), Duration::try_from_secs_f64((t_ms - self.t_ms) / 1000.0 / self.speed));
        // The update is from before the beginning.
        let Ok(after) = after else { return now };
        let at = self.start + after;
        let kept =
            at.clamp(now.checked_sub(LATE_MAX).unwrap_or(now), self.last.max(now) + SILENCE_MAX);
        if kept != at {
            (self.start, self.t_ms) = (kept, t_ms);
        }
        self.last = kept;
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_silence_is_left_out_and_nothing_is_caught_up_with() {
        let mut schedule = Schedule::new(10_000.0, 10.0);
        let start = schedule.start;
        assert_eq!(schedule.at(20_000.0), start + Duration::from_secs(1));
        let after_silence = schedule.at(1_000_000.0);
        assert_eq!(after_silence, start + Duration::from_secs(1) + SILENCE_MAX);
        assert_eq!(schedule.at(1_010_000.0), after_silence + Duration::from_secs(1));
        assert!(schedule.at(5_000.0) <= after_silence, "what is from before is due at once");
    }
}
