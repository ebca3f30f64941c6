//! Connections that are open and send little.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::ground::{CHECK_INTERVAL, Ground};
use super::material::{VALUE, expect, text};
use super::scenario::Scenario;

/// Connections of `slowhttptest`.
const SLOW_CONNECTIONS: u64 = 1000;
/// Length of the body that it announces.
const SLOW_BODY_BYTES: u64 = 8192;
/// Length of the value that is read slowly.
const SLOW_VALUE_BYTES: u64 = 100_000;
pub(super) const SILENT_CONNECTIONS: u64 = 5000;
/// Memory of a connection: its task, its timers, and what HTTP keeps of it beside its buffers.
pub(super) const CONNECTION_BYTES: u64 = 8 << 10;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "slow-headers",
        summary: "1,000 connections that send their headers slowly",
        needs_slowhttptest: true,
        crew: &[(1, |ground, _| keep_slow(ground, Kind::Headers))],
        bound: |terms| {
            (
                SLOW_CONNECTIONS * (CONNECTION_BYTES + terms.head_bytes()),
                "connections x (8 KiB + uri_bytes + 4 KiB)",
            )
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "slow-body",
        summary: "1,000 connections that send their bodies slowly",
        needs_slowhttptest: true,
        crew: &[(1, |ground, _| keep_slow(ground, Kind::Body))],
        bound: |terms| {
            let body = SLOW_BODY_BYTES.min(terms.body_bytes());
            (
                SLOW_CONNECTIONS * (CONNECTION_BYTES + terms.head_bytes() + body),
                "connections x (8 KiB + uri_bytes + 4 KiB + what was declared, at most body_bytes)",
            )
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "slow-read",
        summary: "1,000 connections that read their answers slowly",
        needs_slowhttptest: true,
        prepare: |plain, _| expect(&plain.put(VALUE, &text(SLOW_VALUE_BYTES))?),
        crew: &[(1, |ground, _| keep_slow(ground, Kind::Read))],
        bound: |terms| {
            (
                SLOW_CONNECTIONS * (CONNECTION_BYTES + 2 * terms.head_bytes() + SLOW_VALUE_BYTES),
                "connections x (8 KiB + 2 x (uri_bytes + 4 KiB) + the value, at most value_bytes)",
            )
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "idle-connections",
        summary: "5,000 connections that say nothing",
        crew: &[(1, |ground, _| stay(ground, b""))],
        bound: |terms| {
            (
                SILENT_CONNECTIONS * (CONNECTION_BYTES + terms.head_bytes()),
                "connections x (8 KiB + uri_bytes + 4 KiB)",
            )
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "half-prefaces",
        summary: "5,000 connections that send one byte of the HTTP/2 preface",
        crew: &[(1, |ground, _| stay(ground, b"P"))],
        bound: |terms| {
            (
                SILENT_CONNECTIONS * (CONNECTION_BYTES + terms.head_bytes()),
                "connections x (8 KiB + uri_bytes + 4 KiB)",
            )
        },
        ..Scenario::PLAIN
    },
];

/// The part of a request that `slowhttptest` makes slow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Headers,
    Body,
    Read,
}

/// True if the program is installed.
pub(super) fn have_slowhttptest() -> bool {
    Command::new("slowhttptest").arg("-h").output().is_ok()
}

fn slowhttptest(ground: &Ground, kind: Kind) -> io::Result<Child> {
    let (letter, path) = match kind {
        Kind::Headers => ("-H", "/attack"),
        Kind::Body => ("-B", "/attack"),
        Kind::Read => ("-X", VALUE),
    };
    let url = format!("http://{}{path}", ground.address);
    let (connections, length) = (SLOW_CONNECTIONS.to_string(), SLOW_BODY_BYTES.to_string());
    let mut words = vec!["-n", "19", "slowhttptest", letter, "-u", &url, "-c", &connections];
    words.extend(["-r", "1000", "-i", "2", "-l", "600", "-p", "3", "-v", "0"]);
    words.extend(match kind {
        Kind::Read => vec!["-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3"],
        Kind::Body => vec!["-s", &length, "-x", "10", "-t", "PUT", "-f", "application/json"],
        Kind::Headers => vec!["-x", "24", "-t", "GET"],
    });
    let mut command = Command::new("nice");
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Starts slowhttptest again whenever it ends. It ends when the server has closed all of its
/// connections.
fn keep_slow(ground: &Ground, kind: Kind) {
    let Ok(mut child) = slowhttptest(ground, kind) else {
        return ground.fault("slowhttptest did not start");
    };
    while ground.goes_on() {
        thread::sleep(CHECK_INTERVAL);
        if let Ok(Some(_)) = child.try_wait() {
            ground.count("all connections closed");
            match slowhttptest(ground, kind) {
                Ok(next) => child = next,
                Err(_) => return,
            }
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Opens many connections that send one text and then nothing. A connection that the server closes
/// is opened again.
fn stay(ground: &Ground, word: &[u8]) {
    let open = || {
        let mut stream = ground.connect(None)?;
        stream.write_all(word)?;
        stream.set_nonblocking(true)?;
        io::Result::Ok(stream)
    };
    let mut streams: Vec<Option<TcpStream>> = (0..SILENT_CONNECTIONS).map(|_| None).collect();
    while ground.goes_on() {
        for place in &mut streams {
            match place {
                None => *place = open().ok(),
                Some(stream) => match stream.read(&mut [0; 512]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(read) if read > 0 => ground.count("answered"),
                    _ => {
                        ground.count("closed");
                        *place = None;
                    }
                },
            }
            if !ground.goes_on() {
                return;
            }
        }
        thread::sleep(CHECK_INTERVAL);
    }
}
