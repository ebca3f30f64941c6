//! Shortening a script that fails to one that fails likewise.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::script::Script;
use crate::world::{self, Report};

/// Attempts at making a script shorter.
const ATTEMPTS: usize = 3000;

/// Performs a script; a panic is a failure too.
pub(crate) fn attempt(
    script: &Script,
    mutant: &'static str,
    is_told: bool,
) -> Result<Report, String> {
    match catch_unwind(AssertUnwindSafe(|| world::perform(script, mutant, is_told))) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("a panic: {}", text.unwrap_or_default()))
        }
    }
}

/// The kind of a failure: its words without numbers, as far as they say which check failed.
fn kind(what: &str) -> String {
    let what = what.rsplit("): ").next().unwrap_or(what);
    what.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic)).take(4).collect()
}

/// Leaves out operations as long as the rest fails (after Zeller's ddmin).
pub(crate) fn shorten(script: &Script, mutant: &'static str, what: String) -> (Script, String) {
    let (mut script, mut what) = (script.clone(), what);
    let goal = kind(&what);
    let (mut left, mut size) = (ATTEMPTS, script.operations.len() / 2);
    while size > 0 && left > 0 {
        let mut at = 0;
        let mut is_shorter = false;
        while at < script.operations.len() && left > 0 {
            left -= 1;
            let mut shorter = script.clone();
            shorter.operations.drain(at..(at + size).min(script.operations.len()));
            match attempt(&shorter, mutant, false) {
                Err(reason) if kind(&reason) == goal => {
                    (script, what, is_shorter) = (shorter, reason, true);
                }
                _ => at += size,
            }
        }
        if size == 1 && !is_shorter {
            break;
        }
        size = if is_shorter && size == 1 { 1 } else { size / 2 };
    }
    (script, what)
}
