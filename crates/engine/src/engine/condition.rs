//! Conditions of writes: whether a resource is in the state that a client means.

use crate::cursor::Cursor;
use crate::engine::Engine;
use crate::mutants;
use crate::path::Path;
use crate::write::action::{Condition, States};
use crate::write::base::Base;

impl Engine {
    /// True if one of these cursors names a state in which what last changed at `changed` was as it
    /// is now (PROTOCOL C5). A cursor that is ahead names no state yet, and one of another root
    /// names none of this.
    pub fn is_among(&self, cursors: &[Cursor], changed: Cursor) -> bool {
        let first = match mutants::is("cursor-before-the-change") {
            true => changed.revision.previous(),
            false => changed.revision,
        };
        let root = self.root_with(changed.epoch);
        let names_it = |cursor: &Cursor| {
            cursor.revision >= first && root.is_some_and(|root| root.knows(cursor))
        };
        cursors.iter().any(names_it)
    }

    /// True if a condition holds for a resource, with the pending commits before it written over
    /// the tree.
    pub(crate) fn holds(&self, path: &Path, condition: &Condition, base: Base<'_>) -> bool {
        if condition.is.is_none() && condition.is_not.is_none() {
            return true;
        }
        let found = path.segments().iter().fold(base, |base, name| base.child(&self.keys, name));
        let among = |states: &States| match states {
            States::Any => found.exists(),
            // A state that is not durable yet has no cursor that a client could know.
            States::These(cursors) => {
                found.exists()
                    && (!found.is_written_over() || mutants::is("etag-too-early"))
                    && self.is_among(cursors, self.find(path).cursor())
            }
        };
        condition.is.as_ref().is_none_or(among) && !condition.is_not.as_ref().is_some_and(among)
    }
}
