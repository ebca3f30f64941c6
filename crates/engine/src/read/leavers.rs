//! Leavers: members that a view showed and no longer shows.
//!
//! A bounded number of names is remembered, and a floor, as an object does with its tombstones.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::cursor::Revision;
use crate::mutants;
use crate::tree::key::{KeyId, Keys};

/// Members that left and are forgotten at a time, beyond those that count.
const STALE_MAX: usize = 16;

/// Bounds of what views remember of members that left.
#[derive(Clone, Copy, Default)]
pub(crate) struct LeftMax {
    /// Members of one lens or window.
    pub(crate) each: usize,
    /// Members of all of them.
    pub(crate) all: usize,
}

/// The members that left, each with the revision at which it did.
pub(crate) struct Leavers {
    /// Those that are remembered; `None` until one leaves, as for most views.
    left: Option<Box<Left>>,
    /// The revision since which nothing has left that is not in `left`.
    pub(crate) floor: Revision,
}

#[derive(Default)]
struct Left {
    /// The revisions at which they left.
    at: HashMap<KeyId, Revision>,
    /// The same in order. An entry counts if `at` has that revision.
    order: VecDeque<(Revision, KeyId)>,
}

impl Leavers {
    /// Knows of nothing that left before a revision.
    pub(crate) fn new(floor: Revision) -> Leavers {
        Leavers { left: None, floor }
    }

    /// Notes that a member left. `total`: the members that all views remember.
    pub(crate) fn leave(
        &mut self,
        keys: &mut Keys,
        key: KeyId,
        at: Revision,
        max: LeftMax,
        total: &mut usize,
    ) {
        let left = self.left.get_or_insert_default();
        *total -= left.at.len();
        let max = max.each.min(max.all.saturating_sub(*total));
        match left.at.insert(key, at) {
            Some(_) => {}
            None => keys.hold_again(key),
        }
        left.order.push_back((at, key));
        while left.at.len() > max {
            let Some((at, key)) = left.order.pop_front() else { break };
            if left.at.get(&key) == Some(&at) {
                left.at.remove(&key);
                keys.release(key);
                if !mutants::is("lens-floor-not-raised") {
                    self.floor = self.floor.max(at);
                }
            }
        }
        let Left { at, order } = &mut **left;
        if order.len() > 2 * at.len() + STALE_MAX {
            order.retain(|(when, key)| at.get(key) == Some(when));
        }
        *total += at.len();
    }

    /// Notes that a member is shown.
    pub(crate) fn come(&mut self, keys: &mut Keys, key: KeyId, total: &mut usize) {
        if let Some(left) = &mut self.left
            && left.at.remove(&key).is_some()
        {
            keys.release(key);
            *total -= 1;
        }
    }

    /// True if this member left and is not back.
    pub(crate) fn have(&self, key: KeyId) -> bool {
        self.left.as_ref().is_some_and(|left| left.at.contains_key(&key))
    }

    /// The revision at which a member left that is not back, if that is remembered.
    pub(crate) fn of(&self, key: KeyId) -> Option<Revision> {
        self.left.as_ref()?.at.get(&key).copied()
    }

    /// The members that left after a revision and are not back, the last first.
    pub(crate) fn since(&self, since: Revision) -> impl Iterator<Item = KeyId> {
        self.left.iter().flat_map(move |left| {
            let later = left.order.iter().rev().take_while(move |(at, _)| *at > since);
            later.filter(|(at, key)| left.at.get(key) == Some(at)).map(|(_, key)| *key)
        })
    }

    /// Forgets all that left: readers of an earlier state get the view whole.
    pub(crate) fn clear(&mut self, keys: &mut Keys, floor: Revision, total: &mut usize) {
        self.floor = floor;
        let Some(left) = self.left.take() else { return };
        *total -= left.at.len();
        left.at.into_keys().for_each(|key| keys.release(key));
    }
}
