//! Frames for readers, before a transport encodes them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::cursor::{Cursor, Epoch, Revision};
use crate::refusal::Refusal;
use crate::times::Timestamp;

/// Kind of a frame: its effect on the state that the reader has (PROTOCOL S2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    /// The body is the whole value.
    Snapshot,
    /// The body is an RFC 7396 merge patch.
    Merge,
    /// The body is an RFC 6902 JSON Patch.
    Patch,
    /// Nothing is here; the body is `null`.
    Gone,
}

impl Kind {
    /// The kind's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Snapshot => "snapshot",
            Kind::Merge => "merge",
            Kind::Patch => "patch",
            Kind::Gone => "gone",
        }
    }
}

/// Encodings of one frame that can be shared: as many as there are ways to write it on a wire.
pub const ENCODINGS: usize = 8;

/// One step of a reader. Readers of the same projection with the same cursor share it, with all its
/// encodings (invariant A6).
#[derive(Debug)]
pub struct Frame {
    /// The kind of the frame.
    pub kind: Kind,
    /// JSON in one line.
    pub body: Bytes,
    /// The state that it leads to; `None` when more frames are needed to reach one (PROTOCOL S5).
    pub revision: Option<Revision>,
    /// The history that the revision belongs to.
    pub epoch: Epoch,
    /// The commit time of the newest change in it.
    pub time: Timestamp,
    /// Most frames have one reader, and need none.
    encodings: OnceLock<Box<[OnceLock<Encoding>; ENCODINGS]>>,
}

/// A frame as a transport encoded it.
#[derive(Debug)]
struct Encoding {
    /// The key of what went into it besides the frame itself.
    key: u128,
    bytes: Bytes,
}

impl Frame {
    pub(crate) fn new(
        kind: Kind,
        body: Vec<u8>,
        epoch: Epoch,
        revision: Option<Revision>,
        time: Timestamp,
    ) -> Arc<Frame> {
        let encodings = OnceLock::new();
        Arc::new(Frame { kind, body: body.into(), revision, epoch, time, encodings })
    }

    /// The cursor of the state that it leads to, for clients.
    pub fn cursor(&self) -> Option<Cursor> {
        Some(Cursor { epoch: self.epoch, revision: self.revision? })
    }

    /// The frame in one of a transport's encodings, made by the first reader that asks. `which` is
    /// the transport's own number, below [`ENCODINGS`]. `key` stands for all that goes into the
    /// encoding besides the frame: a reader with another key than the first one's makes its own.
    pub fn encoded(&self, which: usize, key: u128, encode: impl FnOnce(&Frame) -> Bytes) -> Bytes {
        let slot = &self.encodings.get_or_init(Box::default)[which];
        match slot.get() {
            Some(kept) if kept.key == key => kept.bytes.clone(),
            Some(_) => encode(self),
            None => {
                let bytes = encode(self);
                // Another reader may have been faster; then its encoding is kept.
                let _ = slot.set(Encoding { key, bytes: bytes.clone() });
                bytes
            }
        }
    }
}

/// A frame for one link.
#[derive(Clone, Debug)]
pub struct Update {
    /// The link, by the number that its owner gave it.
    pub tag: u32,
    /// The frame, or the reason why there can be none for this link.
    pub frame: Result<Arc<Frame>, Refusal>,
    /// Commits that the frame stands for beyond the first: states never sent, because a newer one
    /// was there.
    pub conflated: u32,
}
