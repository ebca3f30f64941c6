//! Time and memory that opening a large store takes: `cargo run --release -p halfping-journal
//! --example reopen -- DIR [RESOURCES]`.
//!
//! It is filled by a process that is not given the time to close it, and opened by others: after
//! that, and once more after it was closed. Beside it, the time to read the same file.

use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use halfping_engine::{
    Action, Condition, Json, Limits, Path as Place, Regions, Submitted, Timestamp, Write,
};
use halfping_journal::{FILE, Opened, Store, open};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const PER_COMMIT: usize = 1000;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fill", directory, resources] => fill(Path::new(directory), resources.parse()?),
        ["open", directory, what] => measure(Path::new(directory), what),
        [directory, rest @ ..] => {
            let resources = rest.first().unwrap_or(&"1000000");
            let run = |words: &[&str]| Command::new(env::current_exe()?).args(words).status();
            fs::create_dir_all(directory)?;
            run(&["fill", directory, resources])?;
            run(&["open", directory, "after a crash"])?;
            run(&["open", directory, "after a clean end"])?;
            Ok(())
        }
        [] => Err("it needs a directory".into()),
    }
}

fn store(directory: &Path) -> Result<Opened<Store>> {
    let store = Store::open(directory, 1)?;
    Ok(open(store, Limits::default(), Regions::default(), Timestamp(0), &mut |_| {})?)
}

fn fill(directory: &Path, resources: usize) -> Result<()> {
    let began = Instant::now();
    let limits = Limits::default();
    let mut opened = store(directory)?;
    opened.committer.start(&mut opened.engine)?;
    let mut text = 0;
    for first in (0..resources).step_by(PER_COMMIT) {
        let writes: Result<Vec<Write>> = (first..resources.min(first + PER_COMMIT))
            .map(|i| {
                let body = format!(
                    r#"{{"line":"{}","status":"moving","position":{{"lat":47.{i:06},"lon":8.{i:06}}},"speed":{}}}"#,
                    i % 40,
                    i % 25
                );
                text += body.len();
                let path = Place::parse(&format!("/vehicles/bus-{i:07}"), &limits)?;
                let action = Action::Put(Json::parse(body.as_bytes(), &limits)?);
                Ok(Write { path, action, condition: Condition::default() })
            })
            .collect();
        if opened.engine.submit(&writes?, Timestamp(first as u64)) != Submitted::Waits {
            return Err("a write was refused".into());
        }
        let Some(transaction) = opened.committer.begin(&mut opened.engine) else { continue };
        let outcome = opened.committer.write(&transaction);
        for settled in opened.committer.end(&mut opened.engine, &transaction, outcome)? {
            settled?;
        }
    }
    println!(
        "{resources} resources, {text} bytes of JSON, written in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    // As if the power had gone.
    std::process::abort();
}

fn measure(directory: &Path, what: &str) -> Result<()> {
    let file = directory.join(FILE);
    let size = fs::metadata(&file)?.len();
    forget_cache();
    let began = Instant::now();
    let mut bytes = vec![0; 1 << 20];
    let mut reader = fs::File::open(&file)?;
    while reader.read(&mut bytes)? > 0 {}
    let read = began.elapsed();
    forget_cache();
    let before = memory();
    let began = Instant::now();
    let mut opened = store(directory)?;
    let took = began.elapsed();
    println!(
        "{what}: {} rows and {} commits after them opened in {:.2} s, {} MB of memory; the file of {} MB is read in {:.2} s",
        opened.rows,
        opened.replayed,
        took.as_secs_f64(),
        (memory() - before) / 1_000_000,
        size / 1_000_000,
        read.as_secs_f64()
    );
    opened.committer.start(&mut opened.engine)?;
    Ok(())
}

/// Has the system forget what it knows of files, where we may ask for that.
fn forget_cache() {
    let _ = fs::write("/proc/sys/vm/drop_caches", "3");
}

fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0)
        * 1024
}
