//! Engine and journal of Halfping in a simulated world: many sessions and clients, a clock, a
//! network and a disk that are all virtual; one thread, one seed.
//!
//! A seed makes a [script](script::Script), which is data. A [world](world::World) performs it with
//! the very code of the product, and compares everything that clients are told with a [model] of
//! plain values. A script that fails is made shorter and printed.

mod apart;
mod client;
mod disk;
mod journal;
mod model;
mod mutants;
mod random;
mod script;
mod shrink;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::mutants::MUTANTS;
use crate::world::Report;

/// Seeds that failed once, with the reason: one a line.
const FAILED: &str = include_str!("../failed-seeds.txt");
/// Seeds in which a planted fault has to be found.
const MUTANT_SEEDS: u64 = 2000;

const HELP: &str = "\
sim --seeds N [--from N]   so many seeds
sim --seed N               one of them, told step by step
sim --ci SECONDS           all that ever failed, then from 0 on for so long, pairs of servers, and the planted faults
sim --apart N [--from N]   so many pairs of servers that differ in what a reader may not see
sim --apart-seed N         one of them, told step by step
sim --mutants [NAME]       faults planted one at a time, each of which has to be found (feature `mutants`)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // A panic is reported as what it is: a seed that failed.
    std::panic::set_hook(Box::new(|_| {}));
    let number = |text: &str| text.parse::<u64>().ok();
    let done = match words.as_slice() {
        ["--seeds", count] => number(count).map(|count| many(0, count)),
        ["--seeds", count, "--from", from] => {
            number(count).zip(number(from)).map(|(count, from)| many(from, count))
        }
        ["--seed", seed] => number(seed).map(one),
        ["--apart", count] => number(count).map(|count| apart::many(0, count)),
        ["--apart", count, "--from", from] => {
            number(count).zip(number(from)).map(|(count, from)| apart::many(from, count))
        }
        ["--apart-seed", seed] => number(seed).map(apart::one),
        ["--ci", seconds] => number(seconds).map(ci),
        ["--mutants"] => Some(all_mutants("")),
        ["--mutants", name] => Some(all_mutants(name)),
        _ => None,
    };
    match done {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => {
            eprint!("{HELP}");
            ExitCode::from(2)
        }
    }
}

/// Runs a seed. `None` if it failed.
fn run(seed: u64) -> Option<Report> {
    let script = script::generate(seed);
    match shrink::attempt(&script, "", false) {
        Ok(report) => Some(report),
        Err(what) => {
            println!("seed {seed} FAILED: {what}");
            let (short, what) = shrink::shorten(&script, "", what);
            println!(
                "\nThe shortest script found that fails likewise, {} operations:\n",
                short.operations.len()
            );
            let _ = shrink::attempt(&short, "", true);
            println!("\n=> {what}\n\nto repeat: cargo xtask sim --seed {seed}");
            None
        }
    }
}

fn many(from: u64, count: u64) -> bool {
    let started = Instant::now();
    let (mut steps, mut failed, mut told) = (0, Vec::new(), Instant::now());
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in from..from + count {
        match run(seed) {
            None => failed.push(seed),
            Some(report) => {
                steps += report.steps;
                report
                    .counts
                    .into_iter()
                    .for_each(|(what, n)| *counts.entry(what).or_insert(0) += n);
            }
        }
        if told.elapsed() > Duration::from_secs(10) {
            println!(
                "{} of {count} seeds, {steps} steps, {} s",
                seed + 1 - from,
                started.elapsed().as_secs()
            );
            told = Instant::now();
        }
        if failed.len() >= 5 {
            break;
        }
    }
    let counts: Vec<String> = counts.iter().map(|(what, n)| format!("{what} {n}")).collect();
    println!("{}", counts.join(", "));
    let seconds = started.elapsed().as_secs_f64();
    println!("{count} seeds from {from}, {steps} steps, {seconds:.1} s; failed: {failed:?}");
    failed.is_empty()
}

fn one(seed: u64) -> bool {
    let script = script::generate(seed);
    match shrink::attempt(&script, "", true) {
        Ok(report) => {
            println!("seed {seed}: {} steps, all as it should be", report.steps);
            true
        }
        Err(_) => run(seed).is_some(),
    }
}

fn ci(seconds: u64) -> bool {
    let known = FAILED.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    let known: Vec<u64> = known.collect();
    // The same each time: a change is judged by what it does, not by what a search finds by chance.
    println!("{} seeds that failed once, then those from 0 on", known.len());
    let started = Instant::now();
    let (mut steps, mut count) = (0, 0);
    for seed in known.into_iter().chain(0..) {
        match run(seed) {
            None => return false,
            Some(report) => steps += report.steps,
        }
        count += 1;
        if started.elapsed().as_secs() >= seconds {
            break;
        }
    }
    println!("{count} seeds, {steps} steps, {:.1} s", started.elapsed().as_secs_f64());
    if !apart::many(0, apart::PAIRS_IN_CI) {
        return false;
    }
    cfg!(not(feature = "mutants")) || all_mutants("")
}

/// The seeds that it takes to find a planted fault, and what is said then.
fn find(name: &'static str) -> Option<(u64, String)> {
    (0..MUTANT_SEEDS).find_map(|seed| {
        let reason = shrink::attempt(&script::generate(seed), name, false).err()?;
        Some((seed + 1, reason))
    })
}

fn all_mutants(only: &str) -> bool {
    if cfg!(not(feature = "mutants")) {
        println!("built without the feature `mutants`: faults inside the engine cannot be planted");
        return false;
    }
    let mut survived = Vec::new();
    let of_worlds = MUTANTS.iter().map(|of| (of, find as fn(&'static str) -> _));
    let of_pairs = apart::MUTANTS.iter().map(|of| (of, apart::find as fn(&'static str) -> _));
    let all = of_worlds.chain(of_pairs);
    for ((name, what), find) in all.filter(|((name, _), _)| only.is_empty() || *name == only) {
        let started = Instant::now();
        let failing: Option<(u64, String)> = find(name);
        let seconds = started.elapsed().as_secs_f64();
        match failing {
            Some((seeds, reason)) => {
                let reason: String = reason.chars().take(160).collect();
                println!("{name:22} {seeds:5} seeds {seconds:6.1} s  {what}\n{:24}{reason}", "");
            }
            None => {
                println!("{name:22} SURVIVED {MUTANT_SEEDS} seeds, {seconds:.1} s  {what}");
                survived.push(*name);
            }
        }
    }
    println!("{} faults, survived: {survived:?}", MUTANTS.len() + apart::MUTANTS.len());
    survived.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_makes_the_same_world() {
        for seed in 0..40 {
            let run =
                || shrink::attempt(&script::generate(seed), "", false).map(|r| (r.steps, r.counts));
            let first = run();
            assert!(first.is_ok(), "seed {seed}: {first:?}");
            assert_eq!(first, run(), "seed {seed}");
        }
    }

    #[test]
    fn a_script_that_fails_becomes_a_short_one_that_fails_likewise() {
        let script = script::generate(0);
        let failing = (0..).map(script::generate).find_map(|script| {
            let what = shrink::attempt(&script, "batch-dropped", false).err()?;
            Some((script, what))
        });
        let (long, what) = failing.unwrap_or((script, String::new()));
        let (short, _) = shrink::shorten(&long, "batch-dropped", what);
        assert!(short.operations.len() <= 4, "{} operations", short.operations.len());
        assert!(shrink::attempt(&short, "batch-dropped", false).is_err());
        assert!(shrink::attempt(&short, "", false).is_ok());
    }
}
