//! One JSON object a line (PROTOCOL N1 to N3); also the envelope that server-sent events can carry.

use std::io::Write;

use halfping_engine::{Frame, Kind, Timestamp, write_json_string};

use crate::tag::Given;

/// The cursors that are told with a frame: its own, and one for all paths of the stream.
#[derive(Clone, Copy)]
pub(super) struct Told {
    pub(super) cursor: Option<Given>,
    pub(super) resume: Option<Given>,
}

/// The members around a frame's value, where they are not implied.
pub(super) struct Envelope<'a> {
    pub(super) kind: &'a str,
    pub(super) path: Option<&'a str>,
    pub(super) cursor: Option<Given>,
    /// A cursor for all paths of the stream.
    pub(super) resume: Option<Given>,
}

pub(super) fn envelope<'a>(frame: &Frame, path: Option<&'a str>, told: Told) -> Envelope<'a> {
    Envelope { kind: frame.kind.name(), path, cursor: told.cursor, resume: told.resume }
}

fn path_member(path: Option<&str>, out: &mut Vec<u8>) {
    if let Some(path) = path {
        out.extend_from_slice(b"\"path\":");
        write_json_string(path, out);
        out.push(b',');
    }
}

pub(super) fn object(
    envelope: &Envelope<'_>,
    time: Timestamp,
    value: Option<&[u8]>,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    path_member(envelope.path, out);
    let _ = write!(out, "\"kind\":\"{}\"", envelope.kind);
    if let Some(cursor) = envelope.cursor {
        let _ = write!(out, ",\"rev\":\"{cursor}\"");
    }
    let _ = write!(out, ",\"t\":{}", time.0);
    if let Some(resume) = envelope.resume {
        let _ = write!(out, ",\"resume\":\"{resume}\"");
    }
    if let Some(value) = value {
        out.extend_from_slice(b",\"value\":");
        out.extend_from_slice(value);
    }
    out.push(b'}');
}

pub(super) fn frame(path: Option<&str>, frame: &Frame, told: Told, out: &mut Vec<u8>) {
    let value = (frame.kind != Kind::Gone).then_some(&frame.body[..]);
    object(&envelope(frame, path, told), frame.time, value, out);
    out.push(b'\n');
}

pub(super) fn synced(at: Given, time: Timestamp, out: &mut Vec<u8>) {
    object(
        &Envelope { kind: "synced", path: None, cursor: Some(at), resume: None },
        time,
        None,
        out,
    );
    out.push(b'\n');
}

pub(super) fn error_object(path: Option<&str>, problem: &[u8], out: &mut Vec<u8>) {
    out.push(b'{');
    path_member(path, out);
    out.extend_from_slice(b"\"kind\":\"error\",\"problem\":");
    out.extend_from_slice(problem);
    out.push(b'}');
}

pub(super) fn error(path: Option<&str>, problem: &[u8], out: &mut Vec<u8>) {
    error_object(path, problem, out);
    out.push(b'\n');
}
