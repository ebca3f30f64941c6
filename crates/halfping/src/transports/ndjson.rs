//! One JSON object a line (PROTOCOL N1 to N3); also the envelope that server-sent events can carry.

use std::io::Write;

use halfping_engine::{Cursor, Frame, Kind, Timestamp, write_json_string};

/// The members around a frame's value, where they are not implied.
pub(super) struct Envelope<'a> {
    pub(super) kind: &'a str,
    pub(super) path: Option<&'a str>,
    pub(super) cursor: Option<Cursor>,
    /// A cursor for all paths of the stream.
    pub(super) resume: Option<Cursor>,
}

pub(super) fn envelope<'a>(
    frame: &Frame,
    path: Option<&'a str>,
    resume: Option<Cursor>,
) -> Envelope<'a> {
    Envelope { kind: frame.kind.name(), path, cursor: frame.cursor(), resume }
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

pub(super) fn frame(path: Option<&str>, frame: &Frame, resume: Option<Cursor>, out: &mut Vec<u8>) {
    let value = (frame.kind != Kind::Gone).then_some(&frame.body[..]);
    object(&envelope(frame, path, resume), frame.time, value, out);
    out.push(b'\n');
}

pub(super) fn synced(at: Cursor, time: Timestamp, out: &mut Vec<u8>) {
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
