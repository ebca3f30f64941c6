//! Messages to a session, as text (PROTOCOL L5, L8, L9).

use std::io::Write;

use halfping_engine::{Kind, Reading, Timestamp, write_decimal};

use super::command::Ref;
use crate::auth::Rights;
use crate::problem::Problem;
use crate::room::Room;
use crate::tag::Given;
use crate::transports::pulls::Pull;

/// Approximate bytes around the frames of a message, and around each of them.
pub(super) const AROUND_MESSAGE: usize = 80;
pub(super) const AROUND_FRAME: usize = 24;

/// A message that tells of the frames of one pull.
pub(super) struct State<'a> {
    /// The cursor that resumes the session, if it is synced: a state of the tree.
    pub(super) cursor: Given,
    pub(super) time: Timestamp,
    pub(super) pull: &'a Pull,
}

impl State<'_> {
    pub(super) fn is_synced(&self) -> bool {
        self.pull.synced.is_some()
    }
}

// Writing to a vector does not fail.

pub(super) fn state(state: &State<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"rev\":\"");
    state.cursor.write(out);
    out.extend_from_slice(b"\",\"t\":");
    write_decimal(state.time.0, out);
    let mut before: &[u8] = b",\"set\":[[";
    for update in state.pull.updates() {
        out.extend_from_slice(before);
        before = b",[";
        write_decimal(u64::from(update.tag), out);
        match &update.frame {
            Ok(frame) => {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(frame.kind.name().as_bytes());
                out.push(b'"');
                if frame.kind != Kind::Gone {
                    out.push(b',');
                    out.extend_from_slice(&frame.body);
                }
                if frame.revision.is_none() {
                    out.extend_from_slice(b",\"more\"");
                }
            }
            Err(refusal) => {
                out.extend_from_slice(b",\"error\",");
                out.extend_from_slice(&Problem::from(refusal.clone()).to_json_in_stream(true));
            }
        }
        out.push(b']');
    }
    if before == b",[" {
        out.push(b']');
    }
    if state.is_synced() {
        out.extend_from_slice(b",\"synced\":true");
    }
    out.push(b'}');
}

/// Outcome of a command that has an answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) cursor: Option<Given>,
    pub(super) value: Option<bytes::Bytes>,
    pub(super) path: Option<String>,
    /// The identity that the client has from here on, in JSON.
    pub(super) identity: Option<String>,
    /// The rights that it has from here on, until they are taken.
    pub(super) rights: Option<Rights>,
    /// Its room until it is sent, if it is a large one.
    pub(super) room: Option<Room>,
}

impl Answer {
    pub(super) fn done() -> Answer {
        Answer { status: 200, ..Answer::default() }
    }

    pub(super) fn reading(cursor: Given, reading: Reading) -> Answer {
        Answer { cursor: Some(cursor), value: reading.value, ..Answer::done() }
    }
}

pub(super) fn answer(number: Ref, answer: &Answer, out: &mut Vec<u8>) {
    let _ = write!(out, "{{\"ref\":{number},\"status\":{}", answer.status);
    if let Some(cursor) = answer.cursor {
        let _ = write!(out, ",\"rev\":\"{cursor}\"");
    }
    if let Some(path) = &answer.path {
        out.extend_from_slice(b",\"path\":");
        let _ = serde_json::to_writer(&mut *out, path);
    }
    if let Some(identity) = &answer.identity {
        out.extend_from_slice(b",\"identity\":");
        out.extend_from_slice(identity.as_bytes());
    }
    if let Some(value) = &answer.value {
        out.extend_from_slice(b",\"value\":");
        out.extend_from_slice(value);
    }
    out.push(b'}');
}

/// A problem that answers a command with a `ref`.
pub(super) fn refusal(number: Ref, problem: &Problem, link: Option<u32>, out: &mut Vec<u8>) {
    let _ = write!(out, "{{\"ref\":{number},");
    if let Some(link) = link {
        let _ = write!(out, "\"link\":{link},");
    }
    if let Some(cursor) = problem.etag() {
        let _ = write!(out, "\"rev\":{cursor},");
    }
    out.extend_from_slice(&problem.to_json()[1..]);
}

/// A problem that answers no command. `ends`: the link is not open (any more).
pub(super) fn error(problem: &Problem, link: Option<u32>, ends: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":");
    match link {
        Some(link) => {
            out.extend_from_slice(&problem.to_json_in_stream(ends));
            let _ = write!(out, ",\"link\":{link}");
        }
        None => out.extend_from_slice(&problem.to_json_in_stream(false)),
    }
    out.push(b'}');
}
