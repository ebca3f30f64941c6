//! Shortening a script that fails to one that fails likewise.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::script::{Operation, Script};
use crate::world::{self, Report};

/// Attempts at making a script shorter.
const ATTEMPTS: usize = 3000;

/// Performs a script; a panic is a failure too.
pub(crate) fn attempt(
    script: &Script,
    mutant: &'static str,
    is_told: bool,
) -> Result<Report, String> {
    caught(|| world::perform(script, mutant, is_told))
}

/// The outcome of what may panic, which is a failure too.
pub(crate) fn caught<T>(perform: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(perform)) {
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

/// Leaves out operations as long as the rest fails likewise.
pub(crate) fn shorten(script: &Script, mutant: &'static str, what: String) -> (Script, String) {
    let with = |list: &[Operation]| Script { operations: list.to_vec(), ..script.clone() };
    let attempt_with = |list: &[Operation]| attempt(&with(list), mutant, false).map(drop);
    let (operations, what) = shorten_list(&script.operations, what, attempt_with);
    (with(&operations), what)
}

/// Leaves out parts of a list as long as the rest fails likewise (after Zeller's ddmin).
pub(crate) fn shorten_list<T: Clone>(
    list: &[T],
    mut what: String,
    mut attempt: impl FnMut(&[T]) -> Result<(), String>,
) -> (Vec<T>, String) {
    let (mut list, goal) = (list.to_vec(), kind(&what));
    let (mut left, mut size) = (ATTEMPTS, list.len().div_ceil(2));
    while size > 0 && left > 0 {
        let mut at = 0;
        let mut is_shorter = false;
        while at < list.len() && left > 0 {
            left -= 1;
            let mut shorter = list.clone();
            shorter.drain(at..(at + size).min(list.len()));
            match attempt(&shorter) {
                Err(reason) if kind(&reason) == goal => {
                    (list, what, is_shorter) = (shorter, reason, true);
                }
                _ => at += size,
            }
        }
        if size == 1 && !is_shorter {
            break;
        }
        size = if is_shorter && size == 1 { 1 } else { size / 2 };
    }
    (list, what)
}
