//! `halfping demo`: a city of moving vehicles or a recording played again and again, and the page
//! that shows it.
//!
//! `/demo` holds the settings that the page needs. One of them is `vehicles`, the wished number:
//! anybody may write another number there. Of the city, two operators see a part each
//! (`operators.rs`).

mod city;
mod operators;
mod player;

use std::path::PathBuf;
use std::pin::pin;

use halfping::{Api, Limits};
use serde::Serialize;
use tracing::warn;

use crate::args::Demo;
use crate::commands::serve::{announce, at_port, bind, probe, run, warn_of, with_pages};
use crate::config::Config;
use crate::fleet::Streets;
use crate::log;
use crate::log::LogFormat;
use crate::playback::Bounds;
use crate::report::{Blame, Failure, tell};
use crate::{open_files, stop, storage};

use self::city::City;
use self::operators::Operator;
use self::player::Player;

/// The value of `/demo`.
#[derive(Debug, Serialize)]
struct Description {
    title: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    credit: Option<String>,
    /// The resource whose members move.
    collection: String,
    /// Wished number of vehicles. A recording has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    vehicles: Option<usize>,
    /// Wished number at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    vehicles_at_first: Option<usize>,
    /// Speed, as a multiple of that in the real world.
    speed: f64,
    /// Usual time between two reports of one thing, in milliseconds.
    interval_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<Bounds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streets: Option<Streets>,
    /// Operators in whose name the page can look. A recording has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operators: Vec<Operator>,
    /// Values written so far.
    updates: u64,
}

/// Members that one commit of the demo may write: enough for the largest fleet that can be asked
/// for.
const FLEET_MEMBERS: usize = 1 << 20;

pub(crate) async fn demo(args: Demo) -> Result<(), Failure> {
    log::start(&args.log);
    let listen = at_port(args.listen, args.port);
    let mut options = Config::default().options(args.access.asked(args.open_to_all)?, listen)?;
    probe(listen)?;
    // A whole fleet moves in one commit.
    options.limits.members_per_commit = FLEET_MEMBERS;
    warn_of(&options, listen, "--open-to-all");
    let console = options.console;
    let mut operators = Vec::new();
    if args.data_file.is_none() {
        (operators, options.auth) = operators::operators()?;
        operators::make_room(&mut options.limits);
    }
    let mut stop = pin!(stop::requested());
    let mut source = tokio::select! {
        begun = Source::begin(&args, operators) => begun?,
        () = &mut stop => return Ok(()),
    };
    let data = data();
    let api = tokio::select! {
        opened = storage::open(&args.storage, Some(&data), options) => opened?,
        () = &mut stop => return Ok(()),
    };
    let server = bind(listen, api.clone()).await?;
    open_files::raise_for_connections(Limits::default().connections);
    let server = with_pages(server, console, true);
    source.populate(&api).await?;
    let url = announce(&server, args.log.log_format);
    if args.log.log_format == LogFormat::Text {
        tell(format_args!("\nopen {url}/_demo/\n\n{}", source.invitation(&url)));
    }
    if args.open && open::that_detached(format!("{url}/_demo/")).is_err() {
        warn!("no browser could be started here; open {url}/_demo/ in one");
    }
    tokio::select! {
        outcome = run(server, &api, stop) => outcome,
        failure = source.drive(&api) => Err(failure),
    }
}

/// The default directory of the demo's state. It is not the current directory, where somebody only
/// happens to try the demo.
fn data() -> PathBuf {
    let named =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_user = match cfg!(windows) {
        true => named("LOCALAPPDATA"),
        false => {
            named("XDG_STATE_HOME").or_else(|| named("HOME").map(|home| home.join(".local/state")))
        }
    };
    // Others may write to the temporary directory as well, so the name is this process's own.
    let of_nobody = || std::env::temp_dir().join(format!("halfping-demo-{}", std::process::id()));
    of_user.map_or_else(of_nobody, |state| state.join("halfping/demo"))
}

/// The source of all movement.
enum Source {
    City(Box<City>),
    Recording(Box<Player>),
}

impl Source {
    async fn begin(args: &Demo, operators: Vec<Operator>) -> Result<Source, Failure> {
        Ok(match &args.data_file {
            Some(file) => Source::Recording(Box::new(
                Player::new(file, args.speed, args.credit.clone()).await?,
            )),
            None => Source::City(Box::new(City::new(args.vehicles as usize, args.seed, operators))),
        })
    }

    /// Writes the first state, and removes what an earlier run left in the store.
    async fn populate(&mut self, api: &Api) -> Result<(), Failure> {
        match self {
            Source::City(city) => city.populate(api).await,
            Source::Recording(player) => player.populate(api).await,
        }
    }

    /// Commands to try in a terminal.
    fn invitation(&self, url: &str) -> String {
        match self {
            Source::City(city) => city.invitation(url),
            Source::Recording(player) => player.invitation(url),
        }
    }

    /// Moves everything for ever; returns only on a failure.
    async fn drive(&mut self, api: &Api) -> Failure {
        match self {
            Source::City(city) => city.drive(api).await,
            Source::Recording(player) => player.drive(api).await,
        }
    }
}

fn failed(error: halfping::Error) -> Failure {
    Failure::new(Blame::Peer, format!("the demo cannot be written: {error}"))
}

/// Turns a commit's error into a failure, except one of storage: the disk may have room again, or
/// the store is being closed.
fn may_go_on<T>(outcome: Result<T, halfping::Error>) -> Result<(), Failure> {
    match outcome {
        Ok(_) | Err(halfping::Error::Storage(_)) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
