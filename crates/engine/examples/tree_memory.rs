//! Memory of a tree, compared with the length of its JSON text.
//!
//! `cargo run --release -p halfping-engine --example tree_memory -- RECORDING.ndjson.gz`
//!
//! A recording has one JSON object a line:
//! `{"t":1533099600000,"path":"/aircraft/4067f2","value":{…}}`. All of it is committed. Then the
//! engine's live heap is measured: bytes requested from the allocator, and the growth of the
//! process (which includes the allocator's overhead).

use std::alloc::System;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use cap::Cap;
use flate2::read::MultiGzDecoder;
use halfping_engine::{Action, Condition, Engine, Epoch, Json, Limits, Path, Timestamp, Write};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Counts live bytes: those requested, without the allocator's rounding.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

#[derive(Deserialize)]
struct Update<'a> {
    t: f64,
    path: &'a str,
    #[serde(borrow)]
    value: &'a RawValue,
}

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: tree_memory RECORDING.ndjson.gz …");
        return ExitCode::from(2);
    }
    for file in files {
        if let Err(error) = measure(&file) {
            eprintln!("{file}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn measure(file: &str) -> Result<(), Box<dyn std::error::Error>> {
    // Times of commits are kept apart from the tree, in a table of bounded size: a tree without
    // them shows the size of each.
    let timeless = Filled::with(file, |_| Timestamp(0))?;
    let timed = Filled::with(file, |update| Timestamp(update.t as u64))?;
    let stats = timeless.engine.stats();
    let row = |name: &str, bytes: usize| {
        println!("{name:<22} {bytes:>10} bytes {:>6.2} x", bytes as f64 / stats.tree_bytes as f64);
    };
    println!(
        "{} updates; {} names, {} tombstones",
        stats.revision.0 - 1,
        stats.names,
        stats.tombstones
    );
    row("tree as JSON text", stats.tree_bytes);
    row("live heap of the tree", timeless.heap);
    row("growth of the process", timeless.resident);
    row("times of commits", timed.heap.saturating_sub(timeless.heap));
    Ok(())
}

/// An engine with a recording, committed line by line.
struct Filled {
    engine: Engine,
    /// Live bytes of the heap.
    heap: usize,
    /// Growth of the process; 0 where the system does not tell.
    resident: usize,
}

impl Filled {
    fn with(
        file: &str,
        time: impl Fn(&Update<'_>) -> Timestamp,
    ) -> Result<Filled, Box<dyn std::error::Error>> {
        let mut lines = BufReader::new(MultiGzDecoder::new(File::open(file)?));
        let mut line = String::new();
        lines.read_line(&mut line)?;
        line.reserve(1 << 16);
        let (heap, resident) = (ALLOCATOR.allocated(), resident_bytes());
        let room = line.capacity();
        let limits = Limits::default();
        let mut engine = Engine::new(limits.clone(), Epoch::from_random(1), Timestamp(0));
        while !line.is_empty() {
            let update: Update<'_> = serde_json::from_str(&line)?;
            let write = Write {
                path: Path::parse(update.path, &limits)?,
                action: Action::Put(Json::parse(update.value.get().as_bytes(), &limits)?),
                condition: Condition::default(),
            };
            engine.commit(&[write], time(&update))?;
            line.clear();
            lines.read_line(&mut line)?;
        }
        let heap = ALLOCATOR.allocated() + room - heap - line.capacity();
        let resident = resident_bytes().saturating_sub(resident);
        Ok(Filled { engine, heap, resident })
    }
}

/// The resident memory of this process, in bytes.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}
