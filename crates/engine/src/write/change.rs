//! Changes: the effect of a commit on a node, as a sparse picture of the tree as it will be.
//!
//! Writes are worked out on a `Change` laid over the tree, which is applied only when all of them
//! have succeeded. So a commit is whole or not at all, without an undo log, and several writes of
//! one commit see each other.

use crate::tree::key::write_json_string;
use crate::tree::text::Text;
use crate::write::by_name::ByName;

/// Members that one commit removes without naming them, by putting an object without them. An
/// object that would lose more is replaced, which takes no time; its readers get the new one whole.
pub(crate) const REMOVALS_MAX: usize = 1024;

/// Members of an object, in the order in which they were written.
pub(crate) type Members = ByName<Change>;

#[derive(Clone, Debug, Default)]
pub(crate) enum Change {
    /// No change: as the tree has it. Beneath an object that is made anew, this is absence.
    #[default]
    Keep,
    Remove,
    Leaf(Text),
    /// An object. `anew`: it is exactly these members; else these are written over those that are
    /// there.
    Object {
        anew: bool,
        /// Members that the object has more, or fewer, with this change: than `members` if it is
        /// made anew, else than without it. 0 until `effective` (in `base.rs`) counts it.
        growth: isize,
        members: Members,
    },
}

impl Change {
    /// An object whose growth has not been counted.
    pub(crate) fn object(anew: bool, members: Members) -> Change {
        Change::Object { anew, growth: 0, members }
    }

    pub(crate) fn empty_object() -> Change {
        Change::object(true, Members::default())
    }

    /// The kind of this value, in words that an error can use.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Change::Keep | Change::Remove => "nothing",
            Change::Leaf(text) => text.kind(),
            Change::Object { .. } => "an object",
        }
    }

    /// Members that are written, at every level; counted up to a few more than `max`.
    pub(crate) fn members_up_to(&self, max: usize) -> usize {
        let Change::Object { members, .. } = self else { return 0 };
        let mut count = members.len();
        for member in members.things() {
            if count > max {
                break;
            }
            count += member.members_up_to(max - count);
        }
        count
    }

    /// Upper bound of the bytes of JSON that the change adds to the tree.
    pub(crate) fn added_bytes(&self) -> usize {
        match self {
            Change::Keep | Change::Remove => 0,
            Change::Leaf(text) => text.len(),
            // A name can take six times its bytes if all of it has to be escaped; then quotes,
            // colon and comma.
            Change::Object { members, .. } => {
                members.iter().map(|(name, m)| 6 * name.len() + 4 + m.added_bytes()).sum::<usize>()
                    + 2
            }
        }
    }

    /// True if anything is written, not only removed.
    pub(crate) fn adds(&self) -> bool {
        match self {
            Change::Keep | Change::Remove => false,
            Change::Leaf(_) => true,
            Change::Object { anew, members, .. } => {
                // An empty object counts too: it may be where nothing was.
                *anew || members.things().any(Change::adds)
            }
        }
    }

    /// Writes another change over this one: the effect of applying first this, then that. Both are
    /// effective, each upon what is there with those before it.
    pub(crate) fn then(&mut self, next: &Change) {
        let Change::Object { anew: false, growth: next_growth, members: next_members } = next
        else {
            if !matches!(next, Change::Keep) {
                *self = next.clone();
            }
            return;
        };
        match self {
            Change::Object { anew, growth, members } => {
                let named_before = members.len();
                for (name, next) in next_members.iter() {
                    match members.get_mut(name) {
                        Some(member) => member.then(next),
                        None => drop(members.insert(name.into(), next.clone())),
                    }
                }
                *growth += next_growth;
                if *anew {
                    *growth -= (members.len() - named_before) as isize;
                }
            }
            Change::Keep => *self = next.clone(),
            // Nothing that the tree has beneath may remain visible.
            Change::Remove | Change::Leaf(_) => {
                let growth = next_growth - next_members.len() as isize;
                *self = Change::Object { anew: true, growth, members: next_members.clone() };
            }
        }
    }

    /// Notes that the first of the changes that were written into this, one over the other, is in
    /// the tree. The tree's objects have grown or shrunk by as much as it made them.
    pub(crate) fn first_is_applied(&mut self, first: &Change) {
        let Change::Object { anew: false, growth, members } = self else { return };
        let Change::Object { anew: false, growth: applied, members: first } = first else { return };
        *growth -= applied;
        for (name, first) in first.iter() {
            if let Some(member) = members.get_mut(name) {
                member.first_is_applied(first);
            }
        }
    }

    /// Writes a whole value (one without `Keep`) as JSON.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Change::Keep | Change::Remove => {}
            Change::Leaf(text) => out.extend_from_slice(text.as_bytes()),
            Change::Object { members, .. } => {
                out.push(b'{');
                let mut first = true;
                for (name, member) in members.iter() {
                    if matches!(member, Change::Keep | Change::Remove) {
                        continue;
                    }
                    if !std::mem::take(&mut first) {
                        out.push(b',');
                    }
                    write_json_string(name, out);
                    out.push(b':');
                    member.write(out);
                }
                out.push(b'}');
            }
        }
    }
}
