//! Writes: the actions that a commit is asked to do.

use std::sync::Arc;

use crate::cursor::{Cursor, Revision};
use crate::limits::Limits;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::write::json::Json;
use crate::write::judge::Judge;
use crate::write::patch::Patch;

/// One write of a commit.
#[derive(Clone, Debug)]
pub struct Write {
    /// The path of the resource.
    pub path: Path,
    /// The action on it.
    pub action: Action,
    /// Condition on the resource's state before the commit.
    pub condition: Condition,
}

/// Action of a write.
#[derive(Clone, Debug)]
pub enum Action {
    /// Make it exactly this.
    Put(Json),
    /// Apply an RFC 7396 merge patch.
    Merge(Json),
    /// Apply an RFC 6902 JSON Patch.
    Patch(Patch),
    /// Remove it.
    Delete,
}

/// Comparisons that have to hold, as HTTP's `If-Match` and `If-None-Match` (RFC 9110, section
/// 13.1), and a judge who has to agree.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// The state must be one of these.
    pub is: Option<States>,
    /// The state must be none of these.
    pub is_not: Option<States>,
    /// A judge, who decides by what the write changes.
    pub judge: Option<Arc<dyn Judge>>,
}

/// States of a resource, as a condition names them.
#[derive(Clone, Debug)]
pub enum States {
    /// Any state in which something is there.
    Any,
    /// States in which the resource is as it was in a state that one of these cursors names.
    These(Vec<Cursor>),
}

/// Outcome of one write of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// True if nothing was there before.
    pub created: bool,
    /// The resource's cursor now.
    pub revision: Revision,
}

impl Write {
    /// Members that the writes of a commit write, and one more for each of them; counted up to a
    /// few more than `max`.
    pub fn members_up_to(writes: &[Write], max: usize) -> usize {
        let mut count = 0;
        for write in writes {
            if count > max {
                break;
            }
            count += 1 + match &write.action {
                Action::Put(json) | Action::Merge(json) => json.0.members_up_to(max),
                Action::Patch(patch) => patch.members_up_to(max),
                Action::Delete => 0,
            };
        }
        count
    }
}

/// Checks writes against the limit on one commit: the engine does nothing else meanwhile.
pub(crate) fn check(writes: &[Write], limits: &Limits) -> Result<(), Refusal> {
    let max = limits.members_per_commit;
    if Write::members_up_to(writes, max) > max {
        let what = "the commit writes too many members; send it in parts".into();
        return Err(Refusal::Limit { limit: "members_per_commit", max, what });
    }
    Ok(())
}
