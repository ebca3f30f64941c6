//! Server-sent events (PROTOCOL E1 to E6), as the HTML standard defines them.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use halfping_engine::{Frame, Kind, Timestamp};

use super::encoding::Style;
use super::ndjson::{self, Envelope, Told};
use crate::tag::Given;

/// Milliseconds that a reader waits before it reconnects after a cut.
const RETRY_MS: u64 = 1000;
/// Milliseconds over which readers are spread when a server sends all of them away at once.
const FAREWELL_SPREAD_MS: u64 = 4000;

pub(super) fn opening(out: &mut Vec<u8>) {
    let _ = write!(out, "retry: {RETRY_MS}\n\n");
}

pub(super) fn heartbeat(out: &mut Vec<u8>) {
    // No blank line after it: some clients would report an empty message.
    out.extend_from_slice(b":\n");
}

/// Tells a reader to reconnect, each at a time of its own.
pub(super) fn farewell(out: &mut Vec<u8>) {
    let nanos =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::from(d.subsec_nanos()));
    let retry = RETRY_MS + (nanos / 1000) % FAREWELL_SPREAD_MS;
    let _ = write!(out, "retry: {retry}\n\n");
}

/// The cursor in an event.
pub(super) enum Id {
    Cursor(Given),
    /// None: the cursor before stays valid.
    None,
    /// An empty one: the cursor before is of a state that the reader has let go of (PROTOCOL S5).
    Forget,
}

/// Writes one event. The id comes last: a client that notes it as soon as it has read the line
/// (some do) must not do so before it has the data.
pub(super) fn event(
    name: Option<&str>,
    id: Id,
    out: &mut Vec<u8>,
    data: impl FnOnce(&mut Vec<u8>),
) {
    if let Some(name) = name {
        let _ = writeln!(out, "event: {name}");
    }
    out.extend_from_slice(b"data: ");
    data(out);
    out.push(b'\n');
    match id {
        Id::Cursor(cursor) => {
            let _ = writeln!(out, "id: {cursor}");
        }
        Id::None => {}
        Id::Forget => out.extend_from_slice(b"id:\n"),
    }
    out.push(b'\n');
}

pub(super) fn frame(
    style: &Style,
    path: Option<&str>,
    frame: &Frame,
    told: Told,
    out: &mut Vec<u8>,
) {
    let named = !style.whole;
    // A stream of many paths can be resumed only from where all of them are.
    let many = style.paths.is_some();
    let id = match if many { told.resume } else { told.cursor } {
        Some(cursor) => Id::Cursor(cursor),
        None if frame.kind == Kind::Snapshot && frame.revision.is_none() => Id::Forget,
        None => Id::None,
    };
    event(named.then(|| frame.kind.name()), id, out, |out| {
        if style.envelope || many {
            let told = Told { resume: told.resume.filter(|_| many), ..told };
            ndjson::object(&ndjson::envelope(frame, path, told), frame.time, value(frame), out);
        } else {
            out.extend_from_slice(&frame.body);
        }
    });
}

fn value(frame: &Frame) -> Option<&[u8]> {
    (frame.kind != Kind::Gone).then_some(&frame.body[..])
}

pub(super) fn synced(style: &Style, at: Given, time: Timestamp, out: &mut Vec<u8>) {
    event(Some("synced"), Id::Cursor(at), out, |out| {
        if style.envelope || style.paths.is_some() {
            let envelope = Envelope { kind: "synced", path: None, cursor: Some(at), resume: None };
            ndjson::object(&envelope, time, None, out);
        } else {
            out.extend_from_slice(b"null");
        }
    });
}

pub(super) fn error(style: &Style, path: Option<&str>, problem: &[u8], out: &mut Vec<u8>) {
    event(Some("error"), Id::None, out, |out| {
        if style.envelope || style.paths.is_some() {
            ndjson::error_object(path, problem, out);
        } else {
            out.extend_from_slice(problem);
        }
    });
}
