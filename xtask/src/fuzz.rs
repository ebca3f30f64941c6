//! Fuzzing: runs the targets in `fuzz/`, each for a while. Inputs that crashed a target before come
//! first.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::setup::{self, Missing};
use crate::world::{World, typed};

/// Each target, and the dictionary of its words.
const TARGETS: &[(&str, &str)] = &[
    ("json_body", "json"),
    ("patch_document", "json"),
    ("path_and_cursor", "path_and_cursor"),
    ("condition", "condition"),
    ("config", "config"),
    ("rules", "rules"),
    ("writes", "json"),
    ("request", "request"),
    ("session_command", "session_command"),
    ("journal_record", "journal_record"),
    ("websocket_frames", "websocket_frames"),
];

/// New inputs that a target makes in CI, the same each time: a change is judged by what it does,
/// not by what a search finds by chance. Searching is `cargo xtask fuzz`.
pub(crate) const RUNS_IN_CI: &str = "100000";
/// Seconds after which a search of CI ends, also where fewer inputs were made.
const RUNS_SECONDS_MAX: u64 = 6;
const SECONDS: u64 = 60;
/// The longest input. It is longer than any limit on text that the targets set.
const INPUT_BYTES_MAX: usize = 2000;
/// Seconds after which an input counts as a failure.
const INPUT_SECONDS_MAX: usize = 20;

/// Arguments of `cargo xtask fuzz`.
struct Order {
    targets: Vec<&'static (&'static str, &'static str)>,
    search: Search,
}

/// The length of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Search {
    /// A time, with inputs that are others each time.
    Seconds(u64),
    /// A number of inputs, the same each time.
    Runs(u64),
}

/// Runs `cargo xtask fuzz [TARGET]... [--seconds N | --runs N]`, or says what is wrong with the
/// arguments.
pub(crate) fn run(words: &[&str]) -> Result<ExitCode, String> {
    let order = order(words)?;
    let world = World::new();
    if let Err(Missing { what, remedy }) = setup::cxx(&world) {
        eprintln!("{what}\n   {remedy}");
        return Ok(ExitCode::FAILURE);
    }
    if !cargo(&world, &["build", "--bins"], &[]).status().is_ok_and(|status| status.success()) {
        return Ok(ExitCode::FAILURE);
    }
    for (target, dictionary) in order.targets {
        if !kept(&world, target) || !new(&world, target, dictionary, order.search) {
            println!(
                "   {target} failed; once fuzz/regressions/{target} has the input, this repeats it:"
            );
            println!("   cargo xtask fuzz {target} --seconds 0");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn order(words: &[&str]) -> Result<Order, String> {
    let mut order = Order { targets: Vec::new(), search: Search::Seconds(SECONDS) };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if let "--seconds" | "--runs" = *word {
            let number = words.next().and_then(|number| number.parse().ok());
            let number = number.ok_or_else(|| format!("{word} takes a number"))?;
            let search = if *word == "--runs" { Search::Runs } else { Search::Seconds };
            order.search = search(number);
        } else {
            let target = TARGETS.iter().find(|(target, _)| target == word);
            let known: Vec<&str> = TARGETS.iter().map(|(target, _)| *target).collect();
            let unknown = || format!("there is no target `{word}`; there are {}", known.join(", "));
            order.targets.push(target.ok_or_else(unknown)?);
        }
    }
    if order.targets.is_empty() {
        order.targets = TARGETS.iter().collect();
    }
    Ok(order)
}

/// Runs the inputs that crashed a target before, once each.
fn kept(world: &World, target: &str) -> bool {
    let folder = world.root.join("fuzz/regressions").join(target);
    let mut inputs = files(&folder);
    inputs.sort();
    inputs.is_empty() || pass(run_target(world, target, &[], &inputs))
}

/// Lets a target search for new inputs.
fn new(world: &World, target: &str, dictionary: &str, search: Search) -> bool {
    // To libFuzzer, 0 seconds mean without end.
    if let Search::Seconds(0) | Search::Runs(0) = search {
        return true;
    }
    let folder = if let Search::Runs(_) = search { "fuzz-runs" } else { "fuzz-found" };
    let found = world.root.join("target").join(folder).join(target);
    if let Search::Runs(_) = search {
        // What is there decides what is tried next.
        let _ = fs::remove_dir_all(&found);
    }
    let regressions = world.root.join("fuzz/regressions").join(target);
    if let Err(error) = fs::create_dir_all(&found).and_then(|()| fs::create_dir_all(&regressions)) {
        eprintln!("{}: {error}", found.display());
        return false;
    }
    let dictionary = world.root.join("fuzz/dictionaries").join(dictionary).with_extension("dict");
    let (seconds, runs, seed) = match search {
        Search::Seconds(seconds) => (seconds, -1, 0),
        Search::Runs(runs) => (RUNS_SECONDS_MAX, runs.cast_signed(), 1),
    };
    let options = [
        format!("-max_total_time={seconds}"),
        format!("-runs={runs}"),
        // 0 is one of libFuzzer's own choice.
        format!("-seed={seed}"),
        format!("-max_len={INPUT_BYTES_MAX}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        format!("-dict={}", dictionary.display()),
        // An input that crashes the target is kept where `kept` finds it.
        format!("-artifact_prefix={}/", regressions.display()),
    ];
    // New inputs go to the first of the folders.
    pass(run_target(world, target, &options, &[found, world.root.join("fuzz/corpus").join(target)]))
}

fn run_target(world: &World, target: &str, options: &[String], inputs: &[PathBuf]) -> Command {
    let inputs = inputs.iter().map(|path| path.to_string_lossy());
    let words: Vec<String> =
        options.iter().cloned().chain(inputs.map(std::borrow::Cow::into_owned)).collect();
    let words: Vec<&str> = ["--"].into_iter().chain(words.iter().map(String::as_str)).collect();
    println!("── {target}");
    cargo(world, &["run", "--quiet", "--bin", target], &words)
}

/// A command of Cargo in `fuzz/`, where its configuration counts coverage.
fn cargo(world: &World, arguments: &[&str], last: &[&str]) -> Command {
    let mut command = world.cargo_locked(arguments, last);
    command.current_dir(world.root.join("fuzz"));
    // Cargo would take either instead of that configuration.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// Runs a target and prints its output, without libFuzzer's line for every step. Returns whether it
/// succeeded.
fn pass(mut command: Command) -> bool {
    let mut child = match command.stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("{}: {error}", typed(&command));
            return false;
        }
    };
    let lines = child.stderr.take().map(|stderr| BufReader::new(stderr).split(b'\n'));
    for line in lines.into_iter().flatten().map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if is_worth_telling(&line) {
            println!("   {line}");
        }
    }
    child.wait().is_ok_and(|status| status.success())
}

fn is_worth_telling(line: &str) -> bool {
    let is_small_step = |line: &str| !["\tDONE", "\tpulse"].iter().any(|kind| line.contains(kind));
    match line.trim_start().chars().next() {
        None => false,
        Some('#') => !is_small_step(line),
        Some('"') => false,
        Some(_) => !["INFO:", "\tNEW_FUNC", "Dictionary:", "WARNING: Failed to find function"]
            .iter()
            .any(|start| line.starts_with(start)),
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_listed_and_has_inputs_and_words() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let mut there: Vec<String> = files(&root.join("targets"))
            .iter()
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        let mut listed: Vec<&str> = TARGETS.iter().map(|(target, _)| *target).collect();
        there.sort();
        listed.sort_unstable();
        assert_eq!(there, listed);
        for (target, dictionary) in TARGETS {
            assert!(!files(&root.join("corpus").join(target)).is_empty(), "{target}");
            assert!(root.join(format!("dictionaries/{dictionary}.dict")).exists(), "{target}");
        }
    }

    #[test]
    fn an_order_names_targets_and_a_length() {
        let told = |words: &[&str]| {
            let order = order(words)?;
            Ok::<_, String>((
                order.targets.iter().map(|(target, _)| *target).collect::<Vec<_>>(),
                order.search,
            ))
        };
        assert_eq!(told(&["writes", "--seconds", "5"]), Ok((vec!["writes"], Search::Seconds(5))));
        assert_eq!(told(&["writes", "--runs", "9"]), Ok((vec!["writes"], Search::Runs(9))));
        assert_eq!(
            told(&[]).map(|(targets, search)| (targets.len(), search)),
            Ok((TARGETS.len(), Search::Seconds(SECONDS)))
        );
        assert!(told(&["wirtes"]).is_err() && told(&["--seconds"]).is_err());
    }
}
