//! The answers that a connection has not taken yet, for the task that watches them.

use std::fmt::Debug;
use std::sync::{Arc, Weak};

use halfping_engine::Limits;

/// An answer that is not taken yet.
pub(crate) trait Untaken: Debug + Send + Sync {
    /// Gives it up if it is taken too slowly, and returns the limit. `is_wanted`: others wait for
    /// large room, or for small, as it has.
    fn look(&self, limits: &Limits, is_wanted: [bool; 2]) -> Option<&'static str>;
    /// True if it was given up.
    fn is_given_up(&self) -> bool;
}

/// Answers by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    slots: Vec<Option<Weak<dyn Untaken>>>,
    free: Vec<usize>,
    is_watched: bool,
}

impl Answers {
    /// A number that no other answer has.
    pub(crate) fn next(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        })
    }

    /// Adds an answer under its number. True if no task watches the answers yet: the caller starts
    /// one.
    pub(crate) fn add(&mut self, number: usize, answer: Weak<dyn Untaken>) -> bool {
        self.slots[number] = Some(answer);
        !std::mem::replace(&mut self.is_watched, true)
    }

    pub(crate) fn remove(&mut self, number: usize) {
        self.slots[number] = None;
        self.free.push(number);
        if self.free.len() == self.slots.len() {
            (self.slots, self.free) = Default::default();
        }
    }

    /// All answers, for the task that watches them; `None`, which ends the task, if there are none.
    pub(crate) fn open(&mut self) -> Option<Vec<Arc<dyn Untaken>>> {
        if self.slots.is_empty() {
            self.is_watched = false;
            return None;
        }
        Some(self.slots.iter().flatten().filter_map(Weak::upgrade).collect())
    }
}
