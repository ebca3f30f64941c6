//! `halfping`: serve a streaming API, and speak to one, from the command line.
//!
//! Grammar in `args`, one file per command in `commands`, and every error said in one place, `report`.

mod args;
mod commands;
mod config;
mod fleet;
mod log;
mod open_files;
mod playback;
mod print;
mod random;
mod recording;
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
