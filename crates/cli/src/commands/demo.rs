//! `halfping demo`: a city of moving vehicles.

use std::pin::pin;
use std::time::Duration;

use halfping::{Api, Commit, Cors, Options};
use tokio::time::{MissedTickBehavior, interval};

use crate::args::{Demo, LogFormat};
use crate::commands::serve::{announce, bind, probe, run};
use crate::config::console;
use crate::fleet::{Fleet, TICKS_PER_SECOND};
use crate::log;
use crate::report::{Blame, Failure, tell};
use crate::{stop, storage};

/// How much of the city's life has passed before it is shown: a minute.
const WARM_UP_TICKS: usize = 60 * TICKS_PER_SECOND;

pub(crate) async fn demo(args: Demo) -> Result<(), Failure> {
    log::start(&args.log);
    let mut fleet = Fleet::new(args.vehicles as usize, args.seed);
    // At first everything stands. By the time anybody looks, the city is awake.
    for _ in 0..WARM_UP_TICKS {
        fleet.tick();
    }
    probe(args.listen)?;
    let console = console(args.console.console, args.listen);
    let options = Options { cors: Cors::Any, console, ..Options::default() };
    let mut stop = pin!(stop::requested());
    let api = tokio::select! {
        opened = storage::open(&args.storage, None, options) => opened?,
        () = &mut stop => return Ok(()),
    };
    let server = bind(args.listen, api.clone()).await?;
    populate(&api, &fleet).await?;
    let url = announce(&server, args.log.log_format);
    if args.log.log_format == LogFormat::Text {
        let bus = format!("{url}/vehicles/{}", fleet.example());
        tell(format_args!(
            "
A city of {} vehicles. In other terminals:

one bus, as it moves:
  curl -N '{bus}?watch'

the fleet in numbers, once a second:
  curl -N '{url}/fleet?watch&rate=1'

write something, and see it arrive in the first:
  curl -X PUT --json '\"lost umbrella\"' '{bus}/note'
",
            args.vehicles
        ));
    }
    tokio::select! {
        outcome = run(server, &api, stop) => outcome,
        failure = drive(&api, &mut fleet) => Err(failure),
    }
}

async fn populate(api: &Api, fleet: &Fleet) -> Result<(), Failure> {
    let city = fleet.all().fold(Commit::new().put("/fleet", &fleet.summary()), |commit, (id, telemetry)| {
        // What visitors have written into a vehicle stays there.
        commit.merge(&format!("/vehicles/{id}"), &telemetry)
    });
    api.commit(city).await.map_err(failed)?;
    Ok(())
}

/// Lets the city live, for ever.
async fn drive(api: &Api, fleet: &mut Fleet) -> Failure {
    let mut ticks = interval(Duration::from_secs(1) / TICKS_PER_SECOND as u32);
    // After a pause (a laptop that slept) the city goes on from where it was, and does not race to catch up.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for tick in 1.. {
        ticks.tick().await;
        // Merges, so that what a visitor writes into a vehicle stays there.
        let mut commit = fleet.tick().into_iter().fold(Commit::new(), |commit, (id, telemetry)| {
            commit.merge(&format!("/vehicles/{id}"), &telemetry)
        });
        if tick % TICKS_PER_SECOND == 0 {
            commit = commit.put("/fleet", &fleet.summary());
        }
        match api.commit(commit).await {
            // The disk may have room again, or the store is being closed.
            Ok(_) | Err(halfping::Error::Storage(_)) => {}
            Err(error) => return failed(error),
        }
    }
    unreachable!("time does not end")
}

fn failed(error: halfping::Error) -> Failure {
    Failure::new(Blame::Peer, format!("the city cannot be written: {error}"))
}
