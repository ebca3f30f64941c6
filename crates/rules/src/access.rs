//! Access: under which conditions something is seen.

use halfping_shape::Filled;

/// The conditions, on one member, under which something is seen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Access {
    /// The condition under which rules allow it.
    pub allowed: Filled,
    /// The condition under which no rule denies it.
    pub spared: Filled,
}

impl Default for Access {
    /// That of no rule: nothing allows, and nothing denies.
    fn default() -> Access {
        Access { allowed: Filled::Never, spared: Filled::Always }
    }
}

impl Access {
    /// The access that denies.
    pub(crate) fn denied() -> Access {
        Access { spared: Filled::Never, ..Access::default() }
    }

    /// The access by the rules of both.
    pub(crate) fn merge(&mut self, other: &Access) {
        let take = |filled: &mut Filled| std::mem::replace(filled, Filled::Never);
        self.allowed = take(&mut self.allowed).or(other.allowed.clone());
        self.spared = take(&mut self.spared).and(other.spared.clone());
    }
}
