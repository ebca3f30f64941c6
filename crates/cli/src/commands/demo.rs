//! `halfping demo`: a city of moving vehicles, or a recording that is played again and again; and the page that shows it.
//!
//! `/demo` holds what the page has to know, among it `vehicles`: how many are wished. Whoever writes another number there gets them.

mod city;
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
use self::player::Player;

/// The value of `/demo`.
#[derive(Debug, Serialize)]
struct Description {
    title: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    credit: Option<String>,
    /// The resource whose members are what moves.
    collection: String,
    /// How many are wished. A recording has as many as it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    vehicles: Option<usize>,
    /// How many that were at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    vehicles_at_first: Option<usize>,
    /// How many times faster than in the world everything moves.
    speed: f64,
    /// About how long after a thing told something it does again, in milliseconds.
    interval_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<Bounds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streets: Option<Streets>,
    /// How many values have been written so far.
    updates: u64,
}

/// Members that one commit of the demo may write: those of more vehicles than it can be asked for.
const FLEET_MEMBERS: usize = 1 << 20;

pub(crate) async fn demo(args: Demo) -> Result<(), Failure> {
    log::start(&args.log);
    let listen = at_port(args.listen, args.port);
    let mut options = Config::default().options(args.access.asked()?, listen);
    probe(listen)?;
    // A whole fleet moves in one commit.
    options.limits.members_per_commit = FLEET_MEMBERS;
    warn_of(&options, listen);
    let console = options.console;
    let mut stop = pin!(stop::requested());
    let mut life = tokio::select! {
        begun = Life::begin(&args) => begun?,
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
    life.populate(&api).await?;
    let url = announce(&server, args.log.log_format);
    if args.log.log_format == LogFormat::Text {
        tell(format_args!("\nopen {url}/_demo/\n\n{}", life.invitation(&url)));
    }
    if args.open && open::that_detached(format!("{url}/_demo/")).is_err() {
        warn!("no browser could be started here; open {url}/_demo/ in one");
    }
    tokio::select! {
        outcome = run(server, &api, stop) => outcome,
        failure = life.drive(&api) => Err(failure),
    }
}

/// Where the demo keeps its state when nobody says anything else: not in the directory where
/// somebody happens to try it.
fn data() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_user = match cfg!(windows) {
        true => named("LOCALAPPDATA"),
        false => named("XDG_STATE_HOME").or_else(|| named("HOME").map(|home| home.join(".local/state"))),
    };
    // Others may write there as well, so what it is called is this process's alone.
    let of_nobody = || std::env::temp_dir().join(format!("halfping-demo-{}", std::process::id()));
    of_user.map_or_else(of_nobody, |state| state.join("halfping/demo"))
}

/// What moves.
enum Life {
    City(Box<City>),
    Recording(Box<Player>),
}

impl Life {
    async fn begin(args: &Demo) -> Result<Life, Failure> {
        Ok(match &args.data_file {
            Some(file) => {
                Life::Recording(Box::new(Player::new(file, args.speed, args.credit.clone()).await?))
            }
            None => Life::City(Box::new(City::new(args.vehicles as usize, args.seed))),
        })
    }

    /// Writes what there is at first, and takes away what another life has left in the store.
    async fn populate(&mut self, api: &Api) -> Result<(), Failure> {
        match self {
            Life::City(city) => city.populate(api).await,
            Life::Recording(player) => player.populate(api).await,
        }
    }

    /// What to try in a terminal.
    fn invitation(&self, url: &str) -> String {
        match self {
            Life::City(city) => city.invitation(url),
            Life::Recording(player) => player.invitation(url),
        }
    }

    /// Goes on for ever.
    async fn drive(&mut self, api: &Api) -> Failure {
        match self {
            Life::City(city) => city.drive(api).await,
            Life::Recording(player) => player.drive(api).await,
        }
    }
}

fn failed(error: halfping::Error) -> Failure {
    Failure::new(Blame::Peer, format!("the demo cannot be written: {error}"))
}

/// Whether to go on after a commit: the disk may have room again, or the store is being closed.
fn may_go_on<T>(outcome: Result<T, halfping::Error>) -> Result<(), Failure> {
    match outcome {
        Ok(_) | Err(halfping::Error::Storage(_)) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
