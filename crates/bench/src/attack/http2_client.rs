//! A client of HTTP/2 whose frames are written by hand, since no well-behaved client sends what
//! attacks do.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::ground::Ground;
use crate::ws;

/// Bytes of the largest frame that is sent: every peer must accept this size.
const FRAME_BYTES: usize = 16 << 10;
/// The default window of a connection and of a stream.
pub(super) const WINDOW: i64 = 65_535;
/// The largest window that there can be.
const WINDOW_MAX: u32 = i32::MAX as u32;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// A connection to the attacked server.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// Received bytes that are not parsed yet.
    raw: Vec<u8>,
    window: i64,
    /// The peer's initial window of new streams.
    initial: i64,
    /// Bytes that the peer allows of each stream that it has not reset.
    pub(super) windows: BTreeMap<u32, i64>,
    /// Frames of data that came.
    pub(super) data: u64,
    /// Acknowledged settings.
    pub(super) settled: u64,
    pub(super) is_over: bool,
}

impl Connection {
    /// Opens one on which each stream of the server may send so many bytes, and all together any
    /// number.
    pub(super) fn open(ground: &Ground, initial_window: u32) -> io::Result<Connection> {
        let mut stream = ground.connect(None)?;
        let mut hello = PREFACE.to_vec();
        push_window(&mut hello, initial_window);
        push(&mut hello, WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - WINDOW as u32).to_be_bytes());
        stream.write_all(&hello)?;
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(Connection {
            stream,
            raw: Vec::new(),
            window: WINDOW,
            initial: WINDOW,
            windows: BTreeMap::new(),
            data: 0,
            settled: 0,
            is_over: false,
        })
    }

    /// Begins a request on a stream of its own. Names are those of the static table of RFC 7541,
    /// or in `more`, in lower case.
    pub(super) fn request(
        &mut self,
        stream: u32,
        [method, path]: [&str; 2],
        more: &[(&str, &str)],
        flags: u8,
    ) -> io::Result<()> {
        // Index 6 of that table: `:scheme` is `http`.
        let mut block = vec![0x86];
        let push_text = |block: &mut Vec<u8>, text: &str| {
            // Texts are shorter than 127 bytes.
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        };
        for (name, value) in [(2, method), (4, path), (1, "127.0.0.1")] {
            // A literal without indexing.
            block.push(name);
            push_text(&mut block, value);
        }
        for (name, value) in more {
            block.push(0);
            push_text(&mut block, name);
            push_text(&mut block, value);
        }
        let mut frame = Vec::new();
        push(&mut frame, HEADERS, END_HEADERS | flags, stream, &block);
        self.stream.write_all(&frame)?;
        self.windows.insert(stream, self.initial);
        Ok(())
    }

    /// Opens a session (RFC 8441).
    pub(super) fn session(&mut self, stream: u32, path: &str) -> io::Result<()> {
        let more = [
            (":protocol", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", ws::SUBPROTOCOL),
        ];
        self.request(stream, ["CONNECT", path], &more, 0)
    }

    /// Sends as much of the start of `bytes` as the peer allows now; returns its length.
    pub(super) fn send(&mut self, stream: u32, bytes: &[u8]) -> io::Result<usize> {
        let window = self.windows.get_mut(&stream).ok_or(io::ErrorKind::NotFound)?;
        let most = (*window).min(self.window).clamp(0, FRAME_BYTES as i64) as usize;
        let sent = most.min(bytes.len());
        if sent > 0 {
            (*window, self.window) = (*window - sent as i64, self.window - sent as i64);
            let mut frame = Vec::with_capacity(sent + 9);
            push(&mut frame, DATA, 0, stream, &bytes[..sent]);
            self.stream.write_all(&frame)?;
        }
        Ok(sent)
    }

    /// Reads until something is true, the attack is over or `time` has passed.
    pub(super) fn read_until(
        &mut self,
        ground: &Ground,
        time: Duration,
        is: impl Fn(&Connection) -> bool,
    ) -> io::Result<()> {
        let begun = Instant::now();
        while !is(self) && !self.is_over && ground.goes_on() && begun.elapsed() < time {
            self.read_frames(ground)?;
        }
        Ok(())
    }

    /// Reads received frames, answers those that need it, and counts the results of streams.
    pub(super) fn read_frames(&mut self, ground: &Ground) -> io::Result<()> {
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
                SETTINGS => self.settled += 1,
                DATA => self.data += 1,
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

/// Adds a frame of settings that allows each stream of the peer so many bytes.
pub(super) fn push_window(out: &mut Vec<u8>, bytes: u32) {
    let mut settings = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    settings.extend_from_slice(&bytes.to_be_bytes());
    push(out, SETTINGS, 0, 0, &settings);
}

fn push(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
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
