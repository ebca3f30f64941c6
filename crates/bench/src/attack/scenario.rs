//! An attack: its preparation, its threads, and the memory that the server's limits allow it.

use std::io;
use std::time::Duration;

use super::ground::Work;
use super::terms::Terms;
use crate::plain::Plain;

/// Memory that the allocator may hold beyond what is in use, and that earlier commits leave.
const SLACK_BYTES: u64 = 8 << 20;

/// Bytes by which the server may grow, and the formula.
pub(super) type Bound = (u64, &'static str);

pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    /// The server's limits that differ from the defaults.
    pub(super) limits: &'static [(&'static str, u64)],
    /// True if the server keeps its state on disk.
    pub(super) is_durable: bool,
    /// Time until everything is in place that the server must hold.
    pub(super) least: Duration,
    /// True if the program slowhttptest makes the attack.
    pub(super) needs_slowhttptest: bool,
    /// Makes the values that the attack needs.
    pub(super) prepare: fn(&mut Plain, &Terms) -> io::Result<()>,
    /// Threads of the attack: how many, and their work.
    pub(super) crew: &'static [(usize, Work)],
    pub(super) bound: fn(&Terms) -> Bound,
}

impl Scenario {
    /// Common parts of most attacks.
    pub(super) const PLAIN: Scenario = Scenario {
        name: "nothing",
        summary: "none at all: how much the machine itself makes of it",
        limits: &[],
        is_durable: false,
        least: Duration::ZERO,
        needs_slowhttptest: false,
        prepare: |_, _| Ok(()),
        crew: &[],
        bound: |_| (0, "0"),
    };

    /// The bound, with the allocator's slack added.
    pub(super) fn bound(&self, terms: &Terms) -> Bound {
        let (bytes, formula) = (self.bound)(terms);
        (bytes + SLACK_BYTES, formula)
    }
}
