//! `halfping-bench`: measurements and attacks of the `halfping` server on this machine.
//!
//! It starts the server that was built beside it, or another one, in a process of its own, and
//! loads it over 127.0.0.1. [`scenarios`] compare it with a floor; attacks, the queue and the soak
//! have no floor, and print their own reports. The load runs in loops of its own: the cost of an
//! async runtime would be in the figures.

mod args;
mod attack;
mod churn;
mod figures;
mod floor;
mod follow;
mod link;
mod load;
mod message;
mod open_files;
mod pace;
mod plain;
mod process;
mod program;
mod progress;
mod queue;
mod scenarios;
mod soak;
mod stamp;
mod subject;
mod ws;

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use anyhow::{Error, Result};
use clap::Parser;

use crate::args::{Args, Scenario};
use crate::scenarios::{drive, local};

/// The server's allocator, so that its cost is the same on both sides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Args::parse().scenario) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has closed it.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn run(scenario: Scenario) -> Result<()> {
    match scenario {
        Scenario::Fanout(args) => local(&scenarios::Fanout(&args), &args.local),
        Scenario::Latency(args) => local(&scenarios::Latency(&args), &args.local),
        Scenario::Idle(args) => local(&scenarios::Idle(&args), &args.local),
        Scenario::Mux(args) => local(&scenarios::Mux(&args), &args.local),
        Scenario::Stall(args) => local(&scenarios::Stall(&args), &args.local),
        Scenario::Resume(args) => local(&scenarios::Resume(&args), &args.local),
        Scenario::Ingest(args) => local(&scenarios::Ingest(&args), &args.local),
        Scenario::Shaped(args) if args.needs_link() && !args.inside => Err(link::enter("--inside")),
        Scenario::Shaped(args) => drive(&scenarios::Shaped(&args), &args.runs, args.url),
        Scenario::Attack(args) => attack::attack(&args),
        Scenario::Queue(args) if args.needs_link() && !args.inside => Err(link::enter("--inside")),
        Scenario::Queue(args) => queue::queue(&args),
        Scenario::Soak(args) => soak::soak(&args),
        Scenario::FloorServer(args) => floor::serve(&args),
    }
}
