//! HTTP/2: memory that one connection may make the server hold, and work that one may cause.

use std::io::{self, Write};
use std::time::Duration;

use super::ground::{CHECK_INTERVAL, Ground};
use super::http2_client::{Connection, END_STREAM, WINDOW, push_window};
use super::material::{VALUE, expect, members, text};
use super::scenario::Scenario;
use super::terms::Terms;
use crate::plain::Plain;
use crate::ws;

/// Answers that are requested and never read.
const GETS: u32 = 400;
/// Bytes of each answer.
const ANSWER_BYTES: u64 = 4_000_000;
/// Bodies that are never finished.
const BODIES: u32 = 300;
/// Sessions of one connection, fewer than the streams that it may have.
const SESSIONS: u32 = 250;
/// Members of the object that streams follow, and bytes of each.
const MEMBERS: u64 = 4000;
const MEMBER_BYTES: usize = 1000;
/// Bytes of a body with some of them.
const FILL_BYTES: usize = 1 << 20;
/// Time to wait for the first byte of a stream.
const PATIENCE: Duration = Duration::from_millis(50);
/// Settings that come in one burst, and the windows that they allow by turns.
const BURST: usize = 8000;
const WINDOWS: [u32; 2] = [1, 65_535];
/// Time until everything is in place.
const FILL: Duration = Duration::from_secs(5);
/// Memory of a stream that is open, with the piece that is handed over.
const STREAM_BYTES: u64 = 36 << 10;
/// Memory of a session on such a stream, with what is small both ways.
const SESSION_BYTES: u64 = 128 << 10;

/// Common parts of most of these: one connection that the server fills as far as its limits allow.
const FILLED: Scenario = Scenario {
    least: FILL,
    bound: |terms| (2 * terms.buffered_bytes_per_connection(), "2 x buffered_bytes_per_connection"),
    ..Scenario::PLAIN
};

/// Common parts of streams that let through a byte at a time of a changing value.
const TINY: Scenario = Scenario {
    prepare: put_string,
    bound: |terms| {
        (
            2 * terms.buffered_bytes_per_connection() + streams(terms) + writes(terms),
            "2 x buffered_bytes_per_connection + http2_streams_per_connection x 36 KiB \
             + 3 x body_bytes + shared_encoding_bytes",
        )
    },
    ..FILLED
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "h2-no-window",
        summary: "400 `GET`s of 4 MB on one HTTP/2 connection with INITIAL_WINDOW_SIZE = 0",
        prepare: put_string,
        crew: &[(1, no_window)],
        ..FILLED
    },
    Scenario {
        name: "h2-unfinished-bodies",
        summary: "300 bodies of 4 MB on one HTTP/2 connection that lack their last byte",
        crew: &[(1, unfinished_bodies)],
        ..FILLED
    },
    Scenario {
        name: "h2-unfinished-messages",
        summary: "messages of 4 MB that lack their last byte, of 250 sessions on one connection",
        crew: &[(1, unfinished_messages)],
        bound: |terms| {
            (
                2 * terms.buffered_bytes_per_connection() + sessions(terms),
                "2 x buffered_bytes_per_connection + http2_streams_per_connection x 128 KiB",
            )
        },
        ..FILLED
    },
    Scenario {
        name: "h2-tiny-windows",
        summary: "streams without end of a changing string of 4 MB on one connection, each with a \
                  window of 1 byte",
        crew: &[(1, |ground, _| follow(ground, stream, change_string))],
        ..TINY
    },
    Scenario {
        name: "h2-tiny-sessions",
        summary: "the same of sessions",
        crew: &[(1, |ground, _| follow(ground, session, change_string))],
        bound: |terms| {
            (
                2 * terms.buffered_bytes_per_connection() + sessions(terms) + writes(terms),
                "2 x buffered_bytes_per_connection + http2_streams_per_connection x 128 KiB \
                 + 3 x body_bytes + shared_encoding_bytes",
            )
        },
        ..TINY
    },
    Scenario {
        name: "h2-tiny-objects",
        summary: "the same of streams of a changing object of 4 MB",
        prepare: put_object,
        crew: &[(1, |ground, _| follow(ground, stream, change_member))],
        ..TINY
    },
    Scenario {
        name: "h2-settings",
        summary: "bursts of 8,000 SETTINGS that open and close the windows of 256 streams",
        prepare: |plain, _| expect(&plain.put(VALUE, b"1")?),
        crew: &[(1, settings)],
        bound: |terms| (streams(terms), "http2_streams_per_connection x 36 KiB"),
        ..Scenario::PLAIN
    },
];

fn streams(terms: &Terms) -> u64 {
    terms.http2_streams_per_connection() * STREAM_BYTES
}

fn sessions(terms: &Terms) -> u64 {
    terms.http2_streams_per_connection() * SESSION_BYTES
}

/// Memory of the writes that change a large value, and of what its readers share.
fn writes(terms: &Terms) -> u64 {
    3 * terms.body_bytes() + terms.shared_encoding_bytes()
}

fn put_string(plain: &mut Plain, terms: &Terms) -> io::Result<()> {
    expect(&plain.put(VALUE, &text(ANSWER_BYTES.min(terms.body_bytes())))?)
}

fn put_object(plain: &mut Plain, _: &Terms) -> io::Result<()> {
    let filler = "x".repeat(MEMBER_BYTES);
    members(plain, VALUE, MEMBERS, FILL_BYTES, |body, member| {
        write!(body, "\"m{member}\":\"{filler}\"")
    })
}

fn change_string(plain: &mut Plain, terms: &Terms, round: u32) -> io::Result<()> {
    let mut value = text(ANSWER_BYTES.min(terms.body_bytes()));
    value[1..21].copy_from_slice(format!("{round:020}").as_bytes());
    expect(&plain.put(VALUE, &value)?)
}

fn change_member(plain: &mut Plain, _: &Terms, round: u32) -> io::Result<()> {
    let member = u64::from(round).wrapping_mul(7919) % MEMBERS;
    let filler = "y".repeat(MEMBER_BYTES - 20);
    let patch = format!("{{\"m{member}\":\"{round:020}{filler}\"}}");
    expect(&plain.merge(VALUE, patch.as_bytes())?)
}

/// Requests many answers and reads none.
fn no_window(ground: &Ground, _: usize) {
    ground.again(0, &[GETS], |ground, gets| {
        let mut connection = Connection::open(ground, 0)?;
        for get in 0..*gets {
            connection.request(2 * get + 1, ["GET", VALUE], &[], END_STREAM)?;
        }
        while ground.goes_on() && !connection.is_over {
            connection.read_frames(ground)?;
        }
        Ok("connections".to_owned())
    });
}

fn stream(connection: &mut Connection, stream: u32, path: &str) -> io::Result<()> {
    let accept = [("accept", "application/x-ndjson")];
    connection.request(stream, ["GET", path], &accept, END_STREAM)
}

fn session(connection: &mut Connection, stream: u32, path: &str) -> io::Result<()> {
    connection.session(stream, &format!("{path}?watch"))
}

/// Opens readers one after the other. As soon as one was sent a byte, so that the server has the
/// rest of its message, the value changes for the next.
fn follow(
    ground: &Ground,
    open: fn(&mut Connection, u32, &str) -> io::Result<()>,
    change: fn(&mut Plain, &Terms, u32) -> io::Result<()>,
) {
    let mut plain = Plain::new(ground.address);
    let mut round = 0;
    while ground.goes_on() {
        let mut follow = || {
            let mut connection = Connection::open(ground, 1)?;
            let mut stream = 1;
            while ground.goes_on() && !connection.is_over {
                let before = connection.data;
                open(&mut connection, stream, VALUE)?;
                connection.read_until(ground, PATIENCE, |connection| connection.data > before)?;
                (stream, round) = (stream + 2, round + 1);
                change(&mut plain, &ground.terms, round)?;
            }
            io::Result::Ok(())
        };
        ground.count(if follow().is_ok() { "connections" } else { "cut" });
    }
}

/// Has the windows of many streams changed, thousands of times at once.
fn settings(ground: &Ground, _: usize) {
    let mut burst = Vec::new();
    for window in WINDOWS.into_iter().cycle().take(BURST) {
        push_window(&mut burst, window);
    }
    ground.again(0, &[burst], |ground, burst| {
        let mut connection = Connection::open(ground, WINDOWS[0])?;
        for number in 0..ground.terms.http2_streams_per_connection() as u32 {
            stream(&mut connection, 2 * number + 1, VALUE)?;
        }
        while ground.goes_on() && !connection.is_over {
            let settled = connection.settled + BURST as u64;
            connection.stream.write_all(burst)?;
            connection.read_until(ground, FILL, |connection| connection.settled >= settled)?;
            ground.count("bursts");
        }
        Ok("connections".to_owned())
    });
}

/// Sends many bodies by turns, each without its last byte, so that the server keeps them.
fn unfinished_bodies(ground: &Ground, _: usize) {
    let body = vec![b'x'; ground.terms.body_bytes() as usize - 1];
    ground.again(0, &[body], |ground, body| {
        let mut connection = Connection::open(ground, WINDOW as u32)?;
        connection.read_frames(ground)?;
        for number in 0..BODIES {
            connection.request(2 * number + 1, ["PUT", "/attack/unfinished"], &[], 0)?;
        }
        let held = fill(ground, &mut connection, BODIES, body)?;
        Ok(format!("connections with {} MB of bodies", held / 100_000_000 * 100))
    });
}

/// The same of messages of sessions.
fn unfinished_messages(ground: &Ground, _: usize) {
    let mut message = Vec::new();
    ws::push_masked(&mut message, ws::TEXT, &vec![b' '; ground.terms.message_bytes() as usize]);
    message.pop();
    ground.again(0, &[message], |ground, message| {
        let mut connection = Connection::open(ground, WINDOW as u32)?;
        connection.read_frames(ground)?;
        for number in 0..SESSIONS {
            connection.session(2 * number + 1, "/")?;
        }
        let held = fill(ground, &mut connection, SESSIONS, message)?;
        Ok(format!("connections with {} MB of messages", held / 100_000_000 * 100))
    });
}

/// Sends the same bytes on each of some streams by turns, until the attack is over. Returns the
/// number of all bytes that were sent.
fn fill(
    ground: &Ground,
    connection: &mut Connection,
    streams: u32,
    bytes: &[u8],
) -> io::Result<usize> {
    let mut sent_of = vec![0; streams as usize];
    while ground.goes_on() && !connection.is_over {
        let mut more = 0;
        for (number, sent) in (0..).zip(&mut sent_of) {
            if connection.windows.contains_key(&(2 * number + 1)) {
                let taken = connection.send(2 * number + 1, &bytes[*sent..])?;
                (*sent, more) = (*sent + taken, more + taken);
            }
        }
        // The read waits longer if nothing could be sent.
        let wait = if more > 0 { Duration::from_millis(1) } else { CHECK_INTERVAL / 10 };
        connection.stream.set_read_timeout(Some(wait))?;
        connection.read_frames(ground)?;
    }
    Ok(sent_of.iter().sum())
}
