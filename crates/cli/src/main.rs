//! `halfping`: serves a streaming API, and is a client of one, on the command line.
//!
//! The grammar is in `args`, each command has a file in `commands`, and `report` prints every
//! error.

mod args;
mod commands;
mod config;
mod explain;
mod fleet;
mod forward_auth;
mod keys;
mod log;
mod open_files;
mod playback;
mod print;
mod random;
mod recording;
mod reload;
mod report;
mod stop;
mod storage;
mod target;
mod units;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match commands::run(args::Args::read().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report::say(&failure),
    }
}
