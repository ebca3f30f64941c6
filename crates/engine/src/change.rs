//! What a commit does to a node: a sparse picture of the tree as it will be.
//!
//! Writes are worked out on a `Change` laid over the tree, and only when all of them have succeeded is it applied. So a commit
//! is whole or not at all, without an undo log, and several writes of one commit see each other.

use indexmap::IndexMap;

use crate::key::write_json_string;
use crate::text::Text;

/// Members of an object, in the order in which they were written.
pub(crate) type Members = IndexMap<Box<str>, Change>;

#[derive(Clone, Debug, Default)]
pub(crate) enum Change {
    /// As the tree has it. Beneath an object that is made anew, this is absence.
    #[default]
    Keep,
    Remove,
    Leaf(Text),
    /// An object. `anew`: it is exactly these members; else these are written over those that are there.
    Object {
        anew: bool,
        members: Members,
    },
}

impl Change {
    pub(crate) fn empty_object() -> Change {
        Change::Object { anew: true, members: Members::new() }
    }

    /// What kind of value this is, in words that an error can use.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Change::Keep | Change::Remove => "nothing",
            Change::Leaf(text) => text.kind(),
            Change::Object { .. } => "an object",
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
                for (name, member) in members {
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
