//! Two whole servers apart by what a reader may not see: all that the reader is told is the same in
//! both, and what it holds is what the rules say of the state (PROTOCOL I21 to I28).
//!
//! Both worlds perform one [script]; the second makes commits besides, of which the reader's rules
//! show nothing. What the rules say is worked out by an evaluator of their [own](rules). Each world
//! is a server in this process with the product's own code, from the request to the bytes of its
//! answer.

mod check;
mod rules;
mod script;
mod server;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use self::rules::Rule;
use self::script::{Operation, Script, generate};
use self::world::attempt;
use crate::shrink::shorten_list;

/// Faults that are found by worlds apart, with their effect. Those of the engine and of the library
/// stand at the places that ask for them.
pub(crate) const MUTANTS: &[(&str, &str)] = &[
    ("hidden-told-removed", "engine: a hidden member that goes is taken to have left the view"),
    ("scope-floor-of-object", "engine: hidden removals raise the floor of a part"),
    ("lens-not-asked-before", "engine: what a member was before a change is not looked at"),
    ("cursor-unsealed", "cursors of who may not see all can be read"),
    ("heartbeat-too-new", "a heartbeat names a state of which its reader was told nothing"),
    ("etag-of-all", "the ETag of a part is that of the whole resource"),
    ("judged-after", "a write is judged by the state after it instead of before"),
    ("refusal-tells", "a refused write tells its client that something hidden is there"),
    ("refresh-keeps-links", "links stay open when their client's rights change"),
    ("mask-forgotten", "what a rule denies by its name is shown"),
];

/// Pairs of worlds in CI; `--apart 100000` makes more.
pub(crate) const PAIRS_IN_CI: u64 = 10_000;
/// Seeds in which a planted fault has to be found.
const MUTANT_SEEDS: u64 = 3000;

/// Result of the two worlds of a script.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Report {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_insert(0) += 1;
    }
}

/// Runs the worlds of a seed; prints the shortest script that fails likewise. `None` if it failed.
fn run(seed: u64) -> Option<Report> {
    let script = generate(seed);
    match attempt(&script, "", false) {
        Ok(report) => Some(report),
        Err(what) => {
            println!("worlds apart of seed {seed} FAILED: {what}");
            let (short, what) = shorten(&script, "", what);
            println!("\nThe shortest script found that fails likewise:\n\n{short}");
            let _ = attempt(&short, "", true);
            println!("\n=> {what}\n\nto repeat: cargo xtask sim --apart-seed {seed}");
            None
        }
    }
}

/// Leaves out operations and rules as long as the rest fails likewise.
fn shorten(script: &Script, mutant: &'static str, mut what: String) -> (Script, String) {
    let mut script = script.clone();
    for _ in 0..2 {
        let with = |list: &[Operation]| Script { operations: list.to_vec(), ..script.clone() };
        let attempt_with = |list: &[Operation]| attempt(&with(list), mutant, false).map(drop);
        let (operations, reason) = shorten_list(&script.operations, what, attempt_with);
        script.operations = operations;
        let with = |list: &[Rule]| Script { rules: list.to_vec(), ..script.clone() };
        let attempt_with = |list: &[Rule]| attempt(&with(list), mutant, false).map(drop);
        let (rules, reason) = shorten_list(&script.rules, reason, attempt_with);
        (script.rules, what) = (rules, reason);
    }
    (script, what)
}

/// Runs the worlds of so many seeds. False if some failed.
pub(crate) fn many(from: u64, count: u64) -> bool {
    let (started, mut failed) = (Instant::now(), Vec::new());
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in from..from + count {
        match run(seed) {
            None => failed.push(seed),
            Some(report) => {
                report
                    .counts
                    .into_iter()
                    .for_each(|(what, n)| *counts.entry(what).or_insert(0) += n);
            }
        }
        if failed.len() >= 5 {
            break;
        }
    }
    let counts: Vec<String> = counts.iter().map(|(what, n)| format!("{what} {n}")).collect();
    println!("{}", counts.join(", "));
    let seconds = started.elapsed().as_secs_f64();
    println!("{count} pairs of worlds from {from}, {seconds:.1} s; failed: {failed:?}");
    failed.is_empty()
}

/// Runs one seed, told step by step.
pub(crate) fn one(seed: u64) -> bool {
    let script = generate(seed);
    println!("{script}");
    match attempt(&script, "", true) {
        Ok(report) => {
            println!("seed {seed}: all as it should be: {:?}", report.counts);
            true
        }
        Err(_) => run(seed).is_some(),
    }
}

/// The seeds that it takes to find a planted fault, and what is said then.
pub(crate) fn find(mutant: &'static str) -> Option<(u64, String)> {
    (0..MUTANT_SEEDS).find_map(|seed| {
        let reason = attempt(&generate(seed), mutant, false).err()?;
        Some((seed + 1, reason))
    })
}
