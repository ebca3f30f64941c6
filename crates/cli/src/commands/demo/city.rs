//! The made-up city: ten commits a second, and as many vehicles as `/demo/vehicles` says.

use std::collections::BTreeMap;
use std::time::Duration;

use halfping::{Api, Commit, Watch};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::operators::{Operator, of_vehicle};
use super::{Description, failed, may_go_on};
use crate::fleet::{Fleet, Streets, Summary, TICKS_PER_SECOND, Telemetry};
use crate::playback::Bounds;
use crate::report::Failure;

/// Ticks before the city is shown: one minute.
const WARM_UP_TICKS: usize = 60 * TICKS_PER_SECOND;
/// The largest number of vehicles that can be wished, unless the command line asks for more.
const WISHED_MAX: usize = 20_000;
/// Vehicles that appear or go at once.
const STEP: usize = 500;

const SIZE: &str = "/demo/vehicles";

pub(super) struct City {
    fleet: Fleet,
    at_first: usize,
    wished: usize,
    wished_max: usize,
    updates: u64,
    operators: Vec<Operator>,
}

/// The first value of a vehicle. What it reports later leaves out whose it is: somebody may have
/// handed it over.
#[derive(Serialize)]
struct Appears<'a> {
    #[serde(flatten)]
    telemetry: &'a Telemetry,
    operator: &'static str,
}

/// The value of `/fleet`.
#[derive(Serialize)]
struct FleetValue {
    #[serde(flatten)]
    summary: Summary,
    updates: u64,
}

impl City {
    pub(super) fn new(vehicles: usize, seed: u64, operators: Vec<Operator>) -> City {
        let mut fleet = Fleet::new(vehicles, seed);
        // At first all vehicles stand still. After the warm-up they move.
        for _ in 0..WARM_UP_TICKS {
            fleet.tick();
        }
        City {
            fleet,
            at_first: vehicles,
            wished: vehicles,
            wished_max: WISHED_MAX.max(vehicles),
            updates: 0,
            operators,
        }
    }

    pub(super) async fn populate(&mut self, api: &Api) -> Result<(), Failure> {
        self.updates = self.fleet.len() as u64;
        let commit =
            Commit::new().put("/fleet", &self.fleet_value()).put("/demo", &self.description());
        let mut city = self.fleet.all().fold(commit, |commit, (id, telemetry)| {
            // Members that visitors wrote into a vehicle stay there.
            appear(commit, id, &telemetry)
        });
        // Vehicles that the store kept from a larger city.
        let known: BTreeMap<String, IgnoredAny> = match api.get("/vehicles") {
            Ok(Some(known)) => known,
            _ => BTreeMap::new(),
        };
        let ours: BTreeMap<&str, _> = self.fleet.all().collect();
        for id in
            known.keys().filter(|id| Fleet::could_be_named(id) && !ours.contains_key(id.as_str()))
        {
            city = city.delete(&format!("/vehicles/{id}"));
        }
        api.commit(city).await.map_err(failed)?;
        Ok(())
    }

    pub(super) fn invitation(&self, url: &str) -> String {
        let bus = format!("{url}/vehicles/{}", self.fleet.example());
        format!(
            "A city of {} vehicles. In other terminals:

one bus, as it moves:
  curl -N '{bus}?watch'

the fleet in numbers, once a second:
  curl -N '{url}/fleet?watch&rate=1'

write something, and see it arrive in the first:
  curl -X PUT --json '\"lost umbrella\"' '{bus}/note'

a larger fleet:
  curl -X PUT --json 2000 '{url}{SIZE}'
{}",
            self.wished,
            self.operators.first().map(|one| one.invitation(url)).unwrap_or_default()
        )
    }

    pub(super) async fn drive(&mut self, api: &Api) -> Failure {
        match self.live(api).await {
            Err(failure) => failure,
            Ok(()) => unreachable!("time does not end"),
        }
    }

    async fn live(&mut self, api: &Api) -> Result<(), Failure> {
        let mut size: Watch<Value> = api.watch(SIZE).map_err(failed)?;
        let mut ticks = interval(Duration::from_secs(1) / TICKS_PER_SECOND as u32);
        // After a pause (a laptop that slept) the city goes on from where it was, and does not try
        // to catch up.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for tick in 1.. {
            loop {
                tokio::select! {
                    biased;
                    _ = ticks.tick() => break,
                    wish = size.next() => match wish {
                        Ok(wish) => self.set_number(api, wish).await?,
                        // The server stops.
                        Err(halfping::Error::Draining) => std::future::pending().await,
                        Err(error) => return Err(failed(error)),
                    },
                }
            }
            may_go_on(api.commit(self.tick(tick % TICKS_PER_SECOND == 0)).await)?;
        }
        Ok(())
    }

    /// The commit for a tenth of a second.
    fn tick(&mut self, is_whole_second: bool) -> Commit {
        let mut commit = Commit::new();
        let (appeared, gone) = self.fleet.resize(self.wished, STEP);
        let mut updates = appeared.len() + gone.len();
        for (id, telemetry) in appeared {
            commit = appear(commit, id, &telemetry);
        }
        if !gone.is_empty() {
            // A vehicle that somebody has removed already is no reason to fail.
            let gone: BTreeMap<String, ()> = gone.into_iter().map(|id| (id, ())).collect();
            commit = commit.merge("/vehicles", &gone);
        }
        // Merges keep the members that a visitor wrote into a vehicle.
        for (id, telemetry) in self.fleet.tick() {
            commit = commit.merge(&format!("/vehicles/{id}"), &telemetry);
            updates += 1;
        }
        self.updates += updates as u64;
        if is_whole_second {
            commit = commit.put("/fleet", &self.fleet_value());
        }
        commit.put("/demo/updates", &self.updates)
    }

    /// Applies a number of vehicles that somebody wrote.
    async fn set_number(&mut self, api: &Api, wish: Option<Value>) -> Result<(), Failure> {
        let wished = wished_number(wish.as_ref(), self.wished, self.wished_max);
        if wished != self.wished {
            info!(vehicles = wished, before = self.wished, "another number of vehicles is wished");
            self.wished = wished;
        }
        if wish == Some(Value::from(wished)) {
            return Ok(());
        }
        let found = wish.as_ref().map_or("nothing".to_owned(), Value::to_string);
        let found: String = found.chars().take(80).collect();
        warn!(
            found,
            put = wished,
            "{SIZE} is a whole number from 1 to {}; it is put right",
            self.wished_max
        );
        // The whole value is written: somebody may have replaced the object that holds the number.
        may_go_on(api.put("/demo", &self.description()).await)
    }

    fn fleet_value(&self) -> FleetValue {
        FleetValue { summary: self.fleet.summary(), updates: self.updates }
    }

    fn description(&self) -> Description {
        let streets = Streets::all();
        let (south, north, west, east) = streets.ends();
        Description {
            title: "A made-up city".to_owned(),
            source: "buses and trams that the demo makes up".to_owned(),
            credit: None,
            collection: "/vehicles".to_owned(),
            vehicles: Some(self.wished),
            vehicles_at_first: Some(self.at_first),
            speed: 1.0,
            interval_ms: 1000.0,
            bounds: Some(Bounds { south, west, north, east }),
            streets: Some(streets),
            operators: self.operators.clone(),
            updates: self.updates,
        }
    }
}

/// Adds a vehicle to a commit.
fn appear(commit: Commit, id: &str, telemetry: &Telemetry) -> Commit {
    let first = Appears { telemetry, operator: of_vehicle(id) };
    commit.merge(&format!("/vehicles/{id}"), &first)
}

/// The number of vehicles that a wish means. Anything that is no number changes nothing.
fn wished_number(wish: Option<&Value>, before: usize, max: usize) -> usize {
    match wish.and_then(Value::as_f64) {
        Some(number) => number.round().clamp(1.0, max as f64) as usize,
        None => before,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wish_is_put_right() {
        let check = |wish: Value, expect: usize| {
            assert_eq!(wished_number(Some(&wish), 300, 20_000), expect, "{wish}");
        };
        check(json!(1300), 1300);
        check(json!(0), 1);
        check(json!(-5), 1);
        check(json!(2.6), 3);
        check(json!(1e300), 20_000);
        check(json!("1300"), 300);
        check(json!({}), 300);
        assert_eq!(wished_number(None, 300, 20_000), 300);
    }
}
