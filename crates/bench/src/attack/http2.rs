//! HTTP/2: memory that one connection may make the server hold. Frames are written by hand, since
//! no well-behaved client sends these.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::ground::{CHECK_INTERVAL, Ground};
use super::material::{VALUE, expect, text};
use super::scenario::Scenario;

/// Answers that are requested and never read.
const GETS: u32 = 400;
/// Bytes of each answer.
const ANSWER_BYTES: u64 = 4_000_000;
/// Bodies that are never finished.
const BODIES: u32 = 300;
/// Bytes of the largest frame that is sent: every peer must accept this size.
const FRAME_BYTES: usize = 16 << 10;
/// The default window of a connection and of a stream.
const WINDOW: i64 = 65_535;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// Time until everything is in place.
const FILL: Duration = Duration::from_secs(10);

/// Common parts of both attacks: one connection that the server fills as far as its limits allow.
const FILLED: Scenario = Scenario {
    least: FILL,
    bound: |terms| (2 * terms.buffered_bytes_per_connection(), "2 x buffered_bytes_per_connection"),
    ..Scenario::PLAIN
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "h2-no-window",
        summary: "400 `GET`s of 4 MB on one HTTP/2 connection with INITIAL_WINDOW_SIZE = 0",
        prepare: |plain, terms| {
            expect(&plain.put(VALUE, &text(ANSWER_BYTES.min(terms.body_bytes())))?)
        },
        crew: &[(1, no_window)],
        ..FILLED
    },
    Scenario {
        name: "h2-unfinished-bodies",
        summary: "300 bodies of 4 MB on one HTTP/2 connection that lack their last byte",
        crew: &[(1, unfinished_bodies)],
        ..FILLED
    },
];

struct Connection {
    stream: TcpStream,
    /// Received bytes that are not parsed yet.
    raw: Vec<u8>,
    window: i64,
    /// The peer's initial window of new streams.
    initial: i64,
    windows: BTreeMap<u32, i64>,
    is_over: bool,
}

impl Connection {
    fn open(ground: &Ground, initial_window: u32) -> io::Result<Connection> {
        let mut stream = ground.connect(None)?;
        let mut hello = PREFACE.to_vec();
        let mut settings = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        settings.extend_from_slice(&initial_window.to_be_bytes());
        push(&mut hello, SETTINGS, 0, 0, &settings);
        stream.write_all(&hello)?;
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(Connection {
            stream,
            raw: Vec::new(),
            window: WINDOW,
            initial: WINDOW,
            windows: BTreeMap::new(),
            is_over: false,
        })
    }

    /// Begins a request on a stream of its own. Names are those of the static table of RFC 7541.
    fn request(&mut self, stream: u32, method: &str, path: &str, flags: u8) -> io::Result<()> {
        // Index 6 of that table: `:scheme` is `http`.
        let mut block = vec![0x86];
        for (name, value) in [(2, method), (4, path), (1, "127.0.0.1")] {
            // A literal without indexing. Values are shorter than 127 bytes.
            block.extend_from_slice(&[name, value.len() as u8]);
            block.extend_from_slice(value.as_bytes());
        }
        let mut frame = Vec::new();
        push(&mut frame, HEADERS, END_HEADERS | flags, stream, &block);
        self.stream.write_all(&frame)?;
        self.windows.insert(stream, self.initial);
        Ok(())
    }

    /// Sends as much of a body as the peer allows now; returns its length.
    fn body(&mut self, stream: u32, left: usize) -> io::Result<usize> {
        let window = self.windows.get_mut(&stream).ok_or(io::ErrorKind::NotFound)?;
        let most = (*window).min(self.window).clamp(0, FRAME_BYTES as i64) as usize;
        let bytes = most.min(left);
        if bytes > 0 {
            (*window, self.window) = (*window - bytes as i64, self.window - bytes as i64);
            let mut frame = Vec::with_capacity(bytes + 9);
            push(&mut frame, DATA, 0, stream, &vec![b'x'; bytes]);
            self.stream.write_all(&frame)?;
        }
        Ok(bytes)
    }

    /// Reads received frames, answers those that need it, and counts the results of streams.
    fn read_frames(&mut self, ground: &Ground) -> io::Result<()> {
        let begun = self.raw.len();
        self.raw.resize(begun + (64 << 10), 0);
        let read = self.stream.read(&mut self.raw[begun..]);
        self.raw.truncate(begun + read.as_ref().map_or(0, |read| *read));
        match read {
            Ok(0) => self.is_over = true,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        let mut at = 0;
        while let Some((kind, flags, stream, payload)) = frame(&self.raw[at..]) {
            at += 9 + payload.len();
            let number = |from: usize| {
                let bytes = payload.get(from..from + 4)?.first_chunk()?;
                Some(i64::from(u32::from_be_bytes(*bytes)))
            };
            match kind {
                SETTINGS if flags & ACK == 0 => {
                    for setting in payload.chunks_exact(6) {
                        if setting[..2] == INITIAL_WINDOW_SIZE.to_be_bytes() {
                            let bytes = [setting[2], setting[3], setting[4], setting[5]];
                            let initial = i64::from(u32::from_be_bytes(bytes));
                            self.windows
                                .values_mut()
                                .for_each(|window| *window += initial - self.initial);
                            self.initial = initial;
                        }
                    }
                    let mut reply = Vec::new();
                    push(&mut reply, SETTINGS, ACK, 0, &[]);
                    self.stream.write_all(&reply)?;
                }
                PING if flags & ACK == 0 => {
                    let mut reply = Vec::new();
                    push(&mut reply, PING, ACK, 0, payload);
                    self.stream.write_all(&reply)?;
                }
                WINDOW_UPDATE if stream == 0 => self.window += number(0).unwrap_or_default(),
                WINDOW_UPDATE => {
                    if let Some(window) = self.windows.get_mut(&stream) {
                        *window += number(0).unwrap_or_default();
                    }
                }
                HEADERS => ground.count("answers begun"),
                RST_STREAM => {
                    self.windows.remove(&stream);
                    ground.count(&format!("reset {}", number(0).unwrap_or_default()));
                }
                GOAWAY => {
                    ground.count(&format!("go away {}", number(4).unwrap_or_default()));
                    self.is_over = true;
                }
                _ => {}
            }
        }
        self.raw.drain(..at);
        Ok(())
    }
}

/// A whole frame at the start of `bytes`: its kind, its flags, its stream and its payload.
fn frame(bytes: &[u8]) -> Option<(u8, u8, u32, &[u8])> {
    let head: &[u8; 9] = bytes.first_chunk()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5] & 0x7F, head[6], head[7], head[8]]);
    Some((head[3], head[4], stream, bytes.get(9..9 + length)?))
}

fn push(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Requests many answers and reads none.
fn no_window(ground: &Ground, _: usize) {
    ground.again(0, &[GETS], |ground, gets| {
        let mut connection = Connection::open(ground, 0)?;
        for get in 0..*gets {
            connection.request(2 * get + 1, "GET", VALUE, END_STREAM)?;
        }
        while ground.goes_on() && !connection.is_over {
            connection.read_frames(ground)?;
        }
        Ok("connections".to_owned())
    });
}

/// Sends many bodies by turns, each without its last byte, so that the server keeps them.
fn unfinished_bodies(ground: &Ground, _: usize) {
    let whole = ground.terms.body_bytes() as usize - 1;
    ground.again(0, &[whole], |ground, whole| {
        let mut connection = Connection::open(ground, WINDOW as u32)?;
        connection.read_frames(ground)?;
        let mut left = BTreeMap::new();
        for body in 0..BODIES {
            connection.request(2 * body + 1, "PUT", "/attack/unfinished", 0)?;
            left.insert(2 * body + 1, *whole);
        }
        while ground.goes_on() && !connection.is_over {
            let mut sent = 0;
            for (stream, left) in &mut left {
                if connection.windows.contains_key(stream) {
                    let bytes = connection.body(*stream, *left)?;
                    (*left, sent) = (*left - bytes, sent + bytes);
                }
            }
            // The read waits longer if nothing could be sent.
            let wait = if sent > 0 { Duration::from_millis(1) } else { CHECK_INTERVAL / 10 };
            connection.stream.set_read_timeout(Some(wait))?;
            connection.read_frames(ground)?;
        }
        let held: usize = left.values().map(|left| whole - left).sum();
        Ok(format!("connections with {} MB of bodies", held / 100_000_000 * 100))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_are_written() {
        let mut bytes = Vec::new();
        push(&mut bytes, HEADERS, END_HEADERS, 7, b"block");
        assert_eq!(frame(&bytes), Some((HEADERS, END_HEADERS, 7, &b"block"[..])));
        assert_eq!(frame(&bytes[..13]), None);
    }
}
