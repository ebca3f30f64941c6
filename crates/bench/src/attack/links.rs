//! Links: very many, to one place or to as many places, with short names and long ones.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::ground::{Ground, PAUSE, RECEIVE_BUFFER};
use super::material::expect;
use super::scenario::{Bound, Scenario};
use super::terms::Terms;
use super::values::change;
use crate::plain::Plain;
use crate::ws;

/// The object that the links read.
const CROWD: &str = "/attack/crowd";
/// Bytes of a merge patch that changes a part of it. The commit itself delays all clients, so it
/// must be short.
const PATCH_BYTES: usize = 2 << 10;
/// Bytes of a command that opens many links.
const COMMAND_BYTES: usize = 16 << 10;
/// Bytes of such a command with long paths.
const LONG_COMMAND_BYTES: usize = 512 << 10;
/// Memory of a link, its place and its number in the session.
const LINK_BYTES: u64 = 200;
/// Sessions that all watch the same object.
const SESSIONS: u64 = 8;
/// Links of each session.
const LINKS_ON_ONE: u64 = 99_000;
/// Time between two changes of the object.
const CHANGE: Duration = Duration::from_millis(100);
/// Links at paths of the greatest allowed length.
const LONG_LINKS: u64 = 8_000;
/// Segments of a long path, the first two included.
const DEPTH: usize = 32;
/// Time until everything is in place.
const FILL: Duration = Duration::from_secs(5);

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "unread-links",
        summary: "as many links as are allowed, on a session that never reads; all of them change",
        prepare: |plain, terms| sweep(plain, terms.links_per_connection(), 0, || true),
        crew: &[(1, open_unread), (1, sweep_on)],
        bound: |terms| {
            (
                terms.links_per_connection() * LINK_BYTES + 4 * terms.ahead_bytes(),
                "links_per_connection x 200 + 4 x ahead_bytes",
            )
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "links-one-place",
        summary: "8 sessions with 99,000 links each on one place, which changes 10 times a second",
        prepare: |plain, _| expect(&plain.put(CROWD, b"0")?),
        crew: &[(SESSIONS as usize, open_on_one), (1, change_one)],
        bound: |terms| {
            let links = (SESSIONS * LINKS_ON_ONE).min(terms.links());
            (
                links * LINK_BYTES + SESSIONS * 2 * terms.message_bytes(),
                "links x 200 + sessions x 2 x message_bytes",
            )
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "links-deep-names",
        summary: "as many links as are allowed, each beneath 32 short names of its own",
        least: FILL,
        crew: &[(1, open_deep)],
        bound: |terms| places(terms, terms.links_per_connection()),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "links-long-names",
        summary: "8,000 links, each beneath 32 names of 1,000 bytes of its own",
        least: FILL,
        crew: &[(1, open_long)],
        bound: |terms| places(terms, LONG_LINKS),
        ..Scenario::PLAIN
    },
];

fn places(terms: &Terms, links: u64) -> Bound {
    (
        links * LINK_BYTES + terms.places_bytes_per_connection() + 4 * terms.message_bytes(),
        "links x 200 + places_bytes_per_connection + 4 x message_bytes",
    )
}

/// Writes each member of the crowd once.
fn sweep(plain: &mut Plain, links: u64, round: u64, go_on: impl Fn() -> bool) -> io::Result<()> {
    let mut patch = String::new();
    for member in 0..links {
        patch.push(if patch.is_empty() { '{' } else { ',' });
        patch.push_str(&format!("\"{member}\":{round}"));
        if patch.len() >= PATCH_BYTES || member + 1 == links {
            patch.push('}');
            expect(&plain.merge(CROWD, patch.as_bytes())?)?;
            patch.clear();
            if !go_on() {
                break;
            }
        }
    }
    Ok(())
}

fn sweep_on(ground: &Ground, _: usize) {
    let mut plain = Plain::new(ground.address);
    for round in 1.. {
        let go_on = || {
            thread::sleep(PAUSE);
            ground.goes_on()
        };
        let swept = sweep(&mut plain, ground.terms.links_per_connection(), round, go_on);
        if swept.is_err() || !ground.goes_on() {
            break;
        }
        ground.count("sweeps of all links");
    }
}

fn change_one(ground: &Ground, _: usize) {
    change(ground, CHANGE, |plain, round| expect(&plain.put(CROWD, round.to_string().as_bytes())?));
}

fn open_unread(ground: &Ground, _: usize) {
    let count = ground.terms.links_per_connection();
    let opened = ground.session(Some(RECEIVE_BUFFER)).and_then(|mut stream| {
        open(&mut stream, count, COMMAND_BYTES, |link| format!("{CROWD}/{link}"), |_| true)?;
        Ok(stream)
    });
    match opened {
        Ok(stream) => {
            ground.count("opened all links");
            ground.wait_for_close(&stream);
        }
        Err(_) => ground.count("cut"),
    }
}

fn open_on_one(ground: &Ground, _: usize) {
    read_links(ground, LINKS_ON_ONE, COMMAND_BYTES, |_| CROWD.to_owned());
}

fn open_deep(ground: &Ground, _: usize) {
    let count = ground.terms.links_per_connection();
    read_links(ground, count, LONG_COMMAND_BYTES, |link| long_path(ground, link, 0));
}

fn open_long(ground: &Ground, _: usize) {
    let name = ground.terms.key_bytes().min(1000) as usize;
    read_links(ground, LONG_LINKS, LONG_COMMAND_BYTES, |link| long_path(ground, link, name));
}

/// A path of names that no other link has, each of at least so many bytes.
fn long_path(ground: &Ground, link: u64, name_bytes: usize) -> String {
    let depth = DEPTH.min(ground.terms.path_depth() as usize);
    let mut path = "/attack".to_owned();
    for segment in 1..depth {
        path.push_str(&format!("/{link:x}-{segment:0name_bytes$}"));
    }
    path
}

/// Opens links and reads their messages until the attack is over.
fn read_links(ground: &Ground, count: u64, command_bytes: usize, path: impl Fn(u64) -> String) {
    let watched = (|| {
        let mut stream = ground.session(None)?;
        let mut reader = stream.try_clone()?;
        thread::scope(|scope| {
            let reading = scope.spawn(move || answers(ground, &mut reader));
            let opened = open(&mut stream, count, command_bytes, path, |_| ground.goes_on());
            ground.count(if opened.is_ok() {
                "opened all links"
            } else {
                "cut while it opened links"
            });
            reading.join().unwrap_or(Ok(()))
        })
    })();
    if watched.is_err() {
        ground.count("cut");
    }
}

/// Reads a session's messages, and counts the answers to the commands that opened links by their
/// status.
pub(super) fn answers(ground: &Ground, stream: &mut TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(250)))?;
    let (mut read, mut bytes) = (Vec::new(), vec![0; 64 << 10]);
    while ground.goes_on() {
        match stream.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => read.extend_from_slice(&bytes[..more]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let mut at = 0;
        while let Some(head) = ws::head(&read[at..]) {
            let text = &read[at + head.payload_at..at + head.end];
            let start = String::from_utf8_lossy(&text[..text.len().min(80)]);
            if let Some((_, status)) = start.split_once("\"status\":") {
                ground.count(&format!("links: {}", status.get(..3).unwrap_or_default()));
            }
            at += head.end;
        }
        read.drain(..at);
    }
    Ok(())
}

/// Opens links `0..count`, many with one command.
fn open(
    stream: &mut TcpStream,
    count: u64,
    command_bytes: usize,
    path: impl Fn(u64) -> String,
    go_on: impl Fn(u64) -> bool,
) -> io::Result<()> {
    let (mut command, mut frame) = (String::new(), Vec::new());
    for link in 0..count {
        command.push_str(if command.is_empty() { "{\"ref\":1,\"watch\":[" } else { "," });
        command.push_str(&format!("[{link},\"{}\"]", path(link)));
        if command.len() >= command_bytes || link + 1 == count {
            command.push_str("]}");
            ws::push_masked(&mut frame, ws::TEXT, command.as_bytes());
            stream.write_all(&frame)?;
            command.clear();
            frame.clear();
            if !go_on(link) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
    }
    Ok(())
}
