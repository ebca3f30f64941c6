//! An attack: what it needs, who does what, and how much memory the server's limits allow it.

use std::io;
use std::time::Duration;

use super::ground::Work;
use super::terms::Terms;
use crate::plain::Plain;

/// What the allocator may hold beyond what is in use, and what commits of the time before leave.
const SLACK_BYTES: u64 = 8 << 20;

/// Bytes by which the server may grow, and how that is computed.
pub(super) type Bound = (u64, &'static str);

pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    /// Of the server's limits, those that are not as they are by default.
    pub(super) limits: &'static [(&'static str, u64)],
    /// The server keeps its state on disk.
    pub(super) is_durable: bool,
    /// How long it takes until everything is there that is to be held.
    pub(super) least: Duration,
    /// It is made by that program.
    pub(super) needs_slowhttptest: bool,
    /// Makes what the attack needs to be there.
    pub(super) prepare: fn(&mut Plain, &Terms) -> io::Result<()>,
    /// How many threads do what.
    pub(super) crew: &'static [(usize, Work)],
    pub(super) bound: fn(&Terms) -> Bound,
}

impl Scenario {
    /// What most of them have in common.
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

    /// The bound, with what the allocator may hold beside it.
    pub(super) fn bound(&self, terms: &Terms) -> Bound {
        let (bytes, formula) = (self.bound)(terms);
        (bytes + SLACK_BYTES, formula)
    }
}
