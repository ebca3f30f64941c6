//! Large values that change: as a whole, in part, and from full to empty.

use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::ground::{CHANGE, Ground, PAUSE, RECEIVE_BUFFER};
use super::material::{self, VALUE, expect, members, text};
use super::scenario::{Bound, Scenario};
use super::slow::CONNECTION_BYTES;
use super::terms::Terms;
use crate::plain::Plain;

const UNREAD_STREAMS: u64 = 200;
const UNREAD_BYTES: u64 = 1 << 20;
/// Members of the value that is an object.
const UNREAD_MEMBERS: u64 = 10_000;
/// Members of the object that is emptied at once.
const FULL_MEMBERS: u64 = 1_000_000;
/// Members of it that are written at once: so few that the writes themselves delay nobody.
const FILL_MEMBERS: u64 = 500;
/// Bytes of a body that fills it before the attack.
const FILL_BYTES: usize = 3 << 20;
/// Members of the object that one write replaces.
const TINY_MEMBERS: u64 = 200_000;
/// Memory of a tiny member, its number and its place among the others.
const MEMBER_BYTES: u64 = 200;
/// Bytes of the value that is sent as a whole at each change.
const WHOLE_BYTES: u64 = 16_000_000;
/// Readers of that value.
const WATCHERS: u64 = 4;
/// Time between two changes of it.
const WHOLE_CHANGE: Duration = Duration::from_millis(100);

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "unread-streams",
        summary: "200 streams of an object of 1 MB that are never read while it changes",
        prepare: |plain, _| {
            let filler = "x".repeat((UNREAD_BYTES / UNREAD_MEMBERS) as usize - 12);
            members(plain, VALUE, UNREAD_MEMBERS, FILL_BYTES, |body, member| {
                write!(body, "\"m{member:06}\":\"{filler}\"")
            })
        },
        crew: &[(1, open_streams), (1, change_member)],
        bound: |terms| {
            let stream = CONNECTION_BYTES + terms.ahead_bytes() + 2 * terms.slice_bytes();
            (
                UNREAD_STREAMS * stream + terms.shared_encoding_bytes(),
                "streams x (8 KiB + ahead_bytes + 2 x slice_bytes) + shared_encoding_bytes",
            )
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "unread-strings",
        summary: "the same of one string of 1 MB",
        prepare: |plain, _| expect(&plain.put(VALUE, &text(UNREAD_BYTES))?),
        crew: &[(1, open_streams), (1, change_string)],
        bound: |terms| {
            let stream = CONNECTION_BYTES + terms.ahead_bytes() + UNREAD_BYTES;
            (
                UNREAD_STREAMS * stream + terms.shared_encoding_bytes(),
                "streams x (8 KiB + ahead_bytes + the string, at most value_bytes) \
                 + shared_encoding_bytes",
            )
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "put-empty",
        summary: "`PUT {}` over a million members, which are then written again",
        prepare: |plain, _| fill(plain),
        crew: &[(1, empty)],
        bound: emptied,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "put-empty-durable",
        summary: "the same of a server that keeps its state on disk",
        is_durable: true,
        prepare: |plain, _| fill(plain),
        crew: &[(1, empty)],
        bound: emptied,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "put-tiny-members",
        summary: "`PUT`s of 200,000 tiny members, of which each replaces those before",
        crew: &[(1, replace)],
        bound: |terms| {
            (
                3 * TINY_MEMBERS * MEMBER_BYTES + 3 * terms.body_bytes(),
                "3 x members x 200 + 3 x body_bytes",
            )
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "watch-whole",
        summary: "4 streams without deltas of a value of 16 MB that changes 10 times a second",
        prepare: |plain, _| material::records(plain, VALUE, WHOLE_BYTES),
        crew: &[(WATCHERS as usize, watch_whole), (1, change_record)],
        bound: |terms| {
            (
                (WATCHERS + 2) * WHOLE_BYTES + terms.shared_encoding_bytes(),
                "(streams + 2) x the value + shared_encoding_bytes",
            )
        },
        ..Scenario::PLAIN
    },
];

fn emptied(_: &Terms) -> Bound {
    (FULL_MEMBERS * MEMBER_BYTES, "members x 200")
}

fn fill(plain: &mut Plain) -> io::Result<()> {
    members(plain, VALUE, FULL_MEMBERS, FILL_BYTES, |body, member| write!(body, "\"{member}\":0"))
}

/// Empties the object, and fills it again in small steps.
fn empty(ground: &Ground, _: usize) {
    let mut plain = Plain::new(ground.address);
    while ground.goes_on() {
        match plain.put(VALUE, b"{}") {
            Ok(answer) => ground.count(&format!("emptied: {}", answer.status)),
            Err(_) => ground.count("cut"),
        }
        for first in (0..FULL_MEMBERS).step_by(FILL_MEMBERS as usize) {
            if !ground.goes_on() {
                return;
            }
            let member = |member: u64| format!("\"{member}\":0");
            let all: Vec<String> = (first..first + FILL_MEMBERS).map(member).collect();
            let filled = plain.merge(VALUE, format!("{{{}}}", all.join(",")).as_bytes());
            if filled.is_err() {
                ground.count("cut");
            }
        }
    }
}

fn replace(ground: &Ground, _: usize) {
    let body = |letter: char| {
        let all: Vec<String> =
            (0..TINY_MEMBERS).map(|member| format!("\"{letter}{member}\":0")).collect();
        format!("{{{}}}", all.join(","))
    };
    ground.again(0, &[body('a'), body('b')], |ground, body| {
        let status = Plain::new(ground.address).put(VALUE, body.as_bytes())?.status;
        Ok(format!("answered {status}"))
    });
}

fn watch_whole(ground: &Ground, _: usize) {
    let watched = (|| {
        let mut stream = ground.connect(None)?;
        let host = ground.address;
        write!(stream, "GET {VALUE}?watch&delta=false HTTP/1.1\r\nhost: {host}\r\n\r\n")?;
        ground.discard(&mut stream)
    })();
    if watched.is_err() {
        ground.count("cut");
    }
}

fn open_streams(ground: &Ground, _: usize) {
    let open = || {
        let mut stream = ground.connect(Some(RECEIVE_BUFFER))?;
        let host = ground.address;
        write!(
            stream,
            "GET {VALUE} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\r\n"
        )?;
        io::Result::Ok(stream)
    };
    let streams: Vec<TcpStream> = (0..UNREAD_STREAMS)
        .take_while(|_| ground.goes_on())
        .filter_map(|_| {
            // Streams are opened one after the other, so that each finds another state.
            thread::sleep(CHANGE);
            open().ok()
        })
        .collect();
    ground.count(&format!("streams opened: {}", streams.len()));
    while ground.rest(CHANGE) {}
}

fn change_string(ground: &Ground, _: usize) {
    change(ground, CHANGE, |plain, round| {
        let mut value = text(UNREAD_BYTES);
        value[1..21].copy_from_slice(format!("{round:020}").as_bytes());
        expect(&plain.put(VALUE, &value)?)
    });
}

fn change_member(ground: &Ground, _: usize) {
    change(ground, CHANGE, |plain, round| {
        let member = round.wrapping_mul(7919) % UNREAD_MEMBERS;
        expect(&plain.merge(VALUE, format!("{{\"m{member:06}\":\"{round}\"}}").as_bytes())?)
    });
}

fn change_record(ground: &Ground, _: usize) {
    change(ground, WHOLE_CHANGE, |plain, round| {
        expect(&plain.merge(VALUE, format!("{{\"g0\":{{\"r0\":{{\"id\":{round}}}}}}}").as_bytes())?)
    });
}

/// Changes something again and again.
pub(super) fn change(
    ground: &Ground,
    interval: Duration,
    mut work: impl FnMut(&mut Plain, u64) -> io::Result<()>,
) {
    let mut plain = Plain::new(ground.address);
    for round in 0.. {
        if !ground.goes_on() {
            break;
        }
        if work(&mut plain, round).is_err() {
            ground.count("change failed");
            thread::sleep(PAUSE);
        }
        thread::sleep(interval);
    }
}
