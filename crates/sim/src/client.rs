//! Clients: the frames that arrive, and the state that they make of them.

use std::collections::{BTreeMap, VecDeque};

use halfping_engine::{Cursor, Kind, SessionId};
use serde_json::Value;

use crate::model::{self, Names, Seen};

/// A reader's state of one resource.
#[derive(Clone)]
pub(crate) struct Link {
    /// A number that tells a link from one before it with the same tag.
    pub(crate) generation: u64,
    pub(crate) path: Names,
    pub(crate) depth: u32,
    /// One of [`VIEWS`](crate::model::VIEWS).
    pub(crate) view: usize,
    pub(crate) whole: bool,
    pub(crate) interval_ms: u64,
    pub(crate) priority: u8,
    /// The value. `None`: nothing is known yet. `Some(None)`: nothing is there.
    pub(crate) value: Option<Option<Value>>,
    /// The cursor that resumes it, and whether something was applied since.
    pub(crate) cursor: Option<Cursor>,
    pub(crate) is_ahead: bool,
    /// True if more frames are needed.
    pub(crate) is_incomplete: bool,
    /// True if the incomplete state is a snapshot, which cannot be resumed.
    pub(crate) is_broken: bool,
    /// True if the value is newer than the cursor with which it was resumed: members that are gone
    /// already may be removed once more.
    pub(crate) is_lenient: bool,
    /// True if a synced message covered it.
    pub(crate) is_covered: bool,
    /// The newest state that was seen. Revisions of it never go back in an epoch, but for views
    /// that are watched anew.
    pub(crate) newest: Option<Cursor>,
}

/// A frame on its way.
pub(crate) struct Sent {
    pub(crate) tag: u32,
    pub(crate) generation: u64,
    pub(crate) kind: Kind,
    pub(crate) body: Value,
    pub(crate) cursor: Option<Cursor>,
}

/// A message on its way.
pub(crate) struct Message {
    pub(crate) frames: Vec<Sent>,
    /// The state that there was when it was made.
    pub(crate) seen: Seen,
    /// Its note that everything was sent, if it has one.
    pub(crate) synced: Option<Synced>,
    /// Bytes that have not arrived.
    pub(crate) left: usize,
}

/// A note that everything was sent: the cursor, and the links that it covers.
pub(crate) struct Synced {
    pub(crate) cursor: Cursor,
    pub(crate) links: Vec<Spoken>,
}

/// A link in it.
pub(crate) struct Spoken {
    pub(crate) tag: u32,
    pub(crate) generation: u64,
    /// True if it does not wait for its rate.
    pub(crate) is_newest: bool,
}

pub(crate) struct Connection {
    pub(crate) session: SessionId,
    pub(crate) pipe: VecDeque<Message>,
    /// True if the engine has said that there is something to send.
    pub(crate) is_awake: bool,
}

#[derive(Default)]
pub(crate) struct Client {
    pub(crate) connection: Option<Connection>,
    pub(crate) links: BTreeMap<u32, Link>,
    /// The cursor of the newest message that was synced.
    pub(crate) synced: Option<Cursor>,
}

impl Link {
    /// A link to all of a resource, of which nothing is known yet.
    pub(crate) fn new(generation: u64, path: Names) -> Link {
        Link {
            generation,
            path,
            depth: u32::MAX,
            view: 0,
            whole: false,
            interval_ms: 0,
            priority: 0,
            value: None,
            cursor: None,
            is_ahead: false,
            is_incomplete: false,
            is_broken: false,
            is_lenient: false,
            is_covered: false,
            newest: None,
        }
    }

    /// Applies a frame. Every frame of a correct server can be applied.
    pub(crate) fn apply(&mut self, sent: &Sent, keeps_nulls: bool) -> Result<(), String> {
        self.is_ahead = true;
        self.is_incomplete = sent.cursor.is_none();
        match sent.kind {
            Kind::Snapshot => {
                self.value = Some(Some(sent.body.clone()));
                self.is_broken = sent.cursor.is_none();
            }
            Kind::Gone => self.value = Some(None),
            Kind::Merge => {
                let Some(Some(value)) = &mut self.value else {
                    return Err(format!("a merge of {} into nothing", sent.body));
                };
                if keeps_nulls
                    && let (Value::Object(into), Value::Object(patch)) = (&mut *value, &sent.body)
                {
                    into.extend(patch.clone());
                } else {
                    model::merge(value, &sent.body);
                }
            }
            Kind::Patch => {
                let Some(Some(value)) = &mut self.value else {
                    return Err(format!("a patch of {} to nothing", sent.body));
                };
                let patch: json_patch::Patch = serde_json::from_value(sent.body.clone())
                    .map_err(|e| format!("no patch: {e}"))?;
                for operation in patch.0 {
                    let may_fail = self.is_lenient
                        && matches!(operation, json_patch::PatchOperation::Remove(_));
                    let done = json_patch::patch(value, std::slice::from_ref(&operation));
                    if let (Err(error), false) = (done, may_fail) {
                        return Err(format!("{operation} cannot be applied to {value}: {error}"));
                    }
                }
            }
        }
        if let Some(cursor) = sent.cursor {
            (self.is_broken, self.is_lenient) = (false, false);
            // The cursor of an absence is that of what is above it, as far as it is remembered, and
            // a restart may have forgotten that.
            if let Some(newest) = self.newest
                && sent.kind != Kind::Gone
                && newest.epoch == cursor.epoch
                && newest.revision > cursor.revision
            {
                return Err(format!("a link goes back from {newest} to {cursor}"));
            }
            self.newest = self.newest.filter(|_| sent.kind == Kind::Gone).or(Some(cursor));
        }
        Ok(())
    }
}
