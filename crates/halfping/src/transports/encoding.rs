//! Formats of streams, and encodings of frames.

use bytes::Bytes;
use halfping_engine::{ENCODINGS, Frame};

use crate::seen::Transport;

/// The format of a stream over one HTTP response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Sse,
    Ndjson,
}

impl Format {
    pub(crate) fn transport(self) -> Transport {
        match self {
            Format::Sse => Transport::Sse,
            Format::Ndjson => Transport::Ndjson,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Sse => "text/event-stream",
            Format::Ndjson => "application/x-ndjson",
        }
    }

    /// The format that a media range of `Accept` names.
    pub(crate) fn accepted_by(range: &str) -> Option<Format> {
        match range {
            "text/event-stream" | "text/*" => Some(Format::Sse),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                Some(Format::Ndjson)
            }
            _ => None,
        }
    }
}

/// The way that the frames of one stream are written.
pub(crate) struct Style {
    pub(crate) format: Format,
    /// True for whole values only: server-sent events without names (PROTOCOL E2).
    pub(crate) whole: bool,
    /// True if server-sent events carry the NDJSON frame (PROTOCOL E3).
    pub(crate) envelope: bool,
    /// The paths of a stream of many, by link, as the client spelled them (PROTOCOL M1).
    pub(crate) paths: Option<Box<[Box<str>]>>,
}

impl Style {
    /// The encoding that frames have in this style; `None` where readers share none.
    pub(super) fn encoding(&self) -> Option<Encoding> {
        match (self.format, self.envelope, self.whole) {
            _ if self.paths.is_some() => None,
            (Format::Sse, false, false) => Some(Encoding::Event),
            (Format::Sse, false, true) => Some(Encoding::WholeEvent),
            (Format::Sse, true, false) => Some(Encoding::Envelope),
            (Format::Sse, true, true) => None,
            (Format::Ndjson, ..) => Some(Encoding::Line),
        }
    }

    pub(super) fn path(&self, link: u32) -> Option<&str> {
        self.paths.as_ref().map(|paths| &*paths[link as usize])
    }
}

/// An encoding of a frame that readers share. Each has a slot of its own in the frame: the first
/// reader encodes it, and all others are sent the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encoding {
    /// A server-sent event (PROTOCOL E1).
    Event,
    /// A server-sent event of a stream of whole values, which has no name (E2).
    WholeEvent,
    /// A server-sent event around a line (E3).
    Envelope,
    /// A line of NDJSON (N1).
    Line,
    /// A message of a session on a WebSocket (L5).
    Message,
    /// A message of a session on a WebSocket, compressed.
    DeflatedMessage,
    /// A message of a session as a server-sent event (M4).
    MessageEvent,
    /// A message of a session as a line (M4).
    MessageLine,
}

const _: () = assert!(Encoding::MessageLine as usize + 1 == ENCODINGS);

impl Encoding {
    /// The frame in this encoding. `key` stands for all that goes into it besides the frame.
    pub(super) fn of(self, frame: &Frame, key: u128, encode: impl FnOnce() -> Vec<u8>) -> Bytes {
        frame.encoded(self as usize, key, |_| encode().into())
    }
}
