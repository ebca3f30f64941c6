//! Commits that have been worked out and are being made durable. Nobody is shown them yet
//! (invariant A8).
//!
//! They are worked out one over the other, so that a commit sees those before it although the tree
//! does not have them. Once the journal has them, they are applied in order, each with the revision
//! that its record has; if it fails, they are forgotten without a trace.

use std::collections::VecDeque;

use crate::cursor::Revision;
use crate::mutants;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::rows::codec::put_bytes;
use crate::times::Timestamp;
use crate::write::change::Change;
use crate::write::claims::Claims;

/// Members of an overlay from which on it is dropped where nobody waits.
const LARGE_MEMBERS: usize = 1024;
/// Members of one commit that are counted for its batch.
const COUNTED_MEMBERS: usize = 8192;

#[derive(Default)]
pub(crate) struct Pending {
    commits: VecDeque<Waiting>,
    /// Number of commits, from the first, that the journal is working on.
    taken: usize,
    /// All commits, laid over the tree.
    pub(crate) laid: Laid,
    /// The commits that the journal is not working on yet, laid over the tree: the rest when the
    /// others are applied.
    rest: Laid,
    /// The revision of the oldest commit that has one.
    first: Option<Revision>,
    /// The revision of the newest commit that has one.
    last: Revision,
}

/// Commits laid over the tree.
#[derive(Default)]
pub(crate) struct Laid {
    /// Their changes, one written over the other.
    pub(crate) over: Change,
    /// The places that they read and write, as far as others could be applied before them. The
    /// reasons of refusals have to stay true as well.
    claims: Claims,
    /// Bytes that they add to the tree, at most.
    pub(crate) added_bytes: usize,
}

/// Outcome of a commit, as far as it is known. A refusal may depend on a commit before it, so it
/// waits in line as well.
pub(crate) type Waiting = Result<Prepared, Refusal>;

/// A commit that waits to be applied.
pub(crate) struct Prepared {
    /// Its revision; `None` if it changes nothing.
    pub(crate) revision: Revision,
    pub(crate) at: Timestamp,
    pub(crate) change: Change,
    /// The paths that it writes, and whether something was there.
    pub(crate) writes: Vec<(Path, bool)>,
    /// The record that the journal keeps of it, if any.
    pub(crate) record: Option<Vec<u8>>,
}

/// A batch of commits that has to be on disk before anybody is told of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Number of commits that wait for it, also those that change nothing.
    pub commits: usize,
    /// Members that they write. Of each commit, about 8,192 are counted at most.
    pub members: usize,
    /// The first revision in it, and the last; both 0 when there is nothing to be written.
    pub first: Revision,
    /// The last revision in it: see `first`.
    pub last: Revision,
    /// The commits' records, each with its length before it.
    pub body: Vec<u8>,
}

impl Laid {
    /// True if dropping it takes longer than setting it aside.
    pub(crate) fn is_large(&self) -> bool {
        self.over.members_up_to(LARGE_MEMBERS) >= LARGE_MEMBERS
            || self.claims.names_up_to(LARGE_MEMBERS) >= LARGE_MEMBERS
    }

    fn add(&mut self, claims: &Claims, waiting: &Waiting) {
        self.claims.add(claims);
        if let Ok(prepared) = waiting {
            self.over.then(&prepared.change);
            self.added_bytes += prepared.change.added_bytes();
        }
    }
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// The first revision that is given away and not applied yet.
    pub(crate) fn first(&self) -> Option<Revision> {
        self.first
    }

    /// The last revision that is given away.
    pub(crate) fn last(&self) -> Revision {
        self.last
    }

    /// Puts a commit in line, and what it claims of the tree.
    pub(crate) fn push(&mut self, claims: &Claims, waiting: Waiting) {
        if let Some(revision) = revision(&waiting) {
            self.first.get_or_insert(revision);
            self.last = self.last.max(revision);
        }
        self.laid.add(claims, &waiting);
        if self.taken > 0 {
            self.rest.add(claims, &waiting);
        }
        self.commits.push_back(waiting);
    }

    /// True if one of them reads or writes at, above or beneath a place.
    pub(crate) fn meet(&self, names: &[Box<str>]) -> bool {
        self.laid.claims.meet(names)
    }

    /// Takes all commits that have not been taken before.
    pub(crate) fn take(&mut self) -> Option<Batch> {
        if self.taken > 0 || self.commits.is_empty() {
            return None;
        }
        self.taken = self.commits.len();
        let mut batch = Batch {
            commits: self.taken,
            members: 0,
            first: Revision::NONE,
            last: Revision::NONE,
            body: Vec::new(),
        };
        for prepared in self.commits.iter_mut().filter_map(|c| c.as_mut().ok()) {
            if let Some(record) = prepared.record.take() {
                if batch.first == Revision::NONE {
                    batch.first = prepared.revision;
                }
                batch.last = prepared.revision;
                batch.members += prepared.change.members_up_to(COUNTED_MEMBERS);
                put_bytes(&record, &mut batch.body);
            }
        }
        Some(batch)
    }

    /// Removes the first of the taken commits, which are durable now: as many as write `members`
    /// members, but one at least. After the last, also returns their overlay, which may take long
    /// to drop.
    pub(crate) fn settle(&mut self, members: usize) -> (Vec<Waiting>, Option<Laid>) {
        if self.taken == 0 {
            return (Vec::new(), None);
        }
        let mut written = 0;
        let within = |commit: &&Waiting| {
            written += match commit {
                Ok(prepared) => prepared.change.members_up_to(members),
                Err(_) => 0,
            };
            written <= members
        };
        let count = self.commits.iter().take(self.taken).take_while(within).count().max(1);
        self.taken -= count;
        let settled: Vec<Waiting> = self.commits.drain(..count).collect();
        // No commit is skipped more than twice here: those that write nothing are settled together.
        self.first = self.commits.iter().find_map(revision);
        // While some are left, the overlay still has the commits that are applied already. Values
        // are the same for it; the number of members that the tree has without it is not.
        if self.taken > 0 {
            let applied = settled.iter().filter_map(|waiting| waiting.as_ref().ok());
            applied.for_each(|prepared| self.laid.over.first_is_applied(&prepared.change));
        }
        let done = (self.taken == 0).then(|| {
            let rest = std::mem::take(&mut self.rest);
            std::mem::replace(&mut self.laid, rest)
        });
        (settled, done)
    }

    /// Forgets all commits.
    pub(crate) fn abandon(&mut self) -> usize {
        let over = match mutants::is("abandon-keeps") {
            true => std::mem::take(&mut self.laid.over),
            false => Change::Keep,
        };
        let laid = Laid { over, ..Laid::default() };
        std::mem::replace(self, Pending { laid, ..Pending::default() }).commits.len()
    }
}

/// The revision that is given to a commit, if it has one.
fn revision(waiting: &Waiting) -> Option<Revision> {
    let revision = waiting.as_ref().ok()?.revision;
    (revision != Revision::NONE).then_some(revision)
}
