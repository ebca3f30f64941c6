//! A reader of one resource that knows whether it holds a whole state, and the time of that state.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memchr::memmem;
use socket2::{Domain, Socket, Type};

use crate::ws;

/// Time after which a silent socket is given back to the caller.
const TURN: Duration = Duration::from_millis(100);
/// Time to connect, and to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Transports to follow a resource by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Stream,
    Session,
}

pub(super) struct Follower {
    stream: TcpStream,
    by: By,
    /// Bytes of the answer's body that are not parsed yet, chunks' heads included.
    raw: Vec<u8>,
    /// Bytes of a stream that are left of the chunk at the beginning of `raw`.
    chunk: usize,
    /// The incomplete last line of a stream.
    line: Vec<u8>,
    is_synced: bool,
    pub(super) bytes: u64,
}

/// The result of one read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Commit time of the newest whole state that the reader holds, in milliseconds since 1970.
    pub(super) whole_at: Option<u64>,
    pub(super) synced: bool,
    /// True if the server has ended it.
    pub(super) ended: bool,
}

impl Follower {
    pub(super) fn open(
        address: SocketAddr,
        path: &str,
        by: By,
        receive_buffer: Option<usize>,
    ) -> io::Result<Follower> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect_timeout(&address.into(), PATIENCE)?;
        let mut stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(PATIENCE))?;
        let (key, subprotocol) = (ws::KEY, ws::SUBPROTOCOL);
        let head = match by {
            By::Stream => {
                format!(
                    "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: application/x-ndjson\r\n\r\n"
                )
            }
            By::Session => format!(
                "GET / HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\
                 sec-websocket-protocol: {subprotocol}\r\n\r\n"
            ),
        };
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        let wanted: &[u8] = if by == By::Stream { b"HTTP/1.1 200" } else { b"HTTP/1.1 101" };
        if !answer.starts_with(wanted) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if by == By::Session {
            let mut frame = Vec::new();
            ws::push_masked(
                &mut frame,
                ws::TEXT,
                format!("{{\"watch\":1,\"path\":\"{path}\"}}").as_bytes(),
            );
            stream.write_all(&frame)?;
        }
        stream.set_read_timeout(Some(TURN))?;
        Ok(Follower {
            stream,
            by,
            raw: Vec::new(),
            chunk: 0,
            line: Vec::new(),
            is_synced: false,
            bytes: 0,
        })
    }

    /// Reads once, at most so many bytes, and waits a moment if there are none.
    pub(super) fn read_once(&mut self, most: usize) -> io::Result<Seen> {
        let begun = self.raw.len();
        self.raw.resize(begun + most, 0);
        let read = self.stream.read(&mut self.raw[begun..]);
        self.raw.truncate(begun + read.as_ref().map_or(0, |read| *read));
        let mut seen = Seen { synced: self.is_synced, ..Seen::default() };
        match read {
            Ok(0) => seen.ended = true,
            Ok(read) => self.bytes += read as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(seen),
            Err(error) => return Err(error),
        }
        match self.by {
            By::Stream => self.chunks(&mut seen)?,
            By::Session => self.messages(&mut seen),
        }
        self.is_synced = seen.synced;
        Ok(seen)
    }

    fn chunks(&mut self, seen: &mut Seen) -> io::Result<()> {
        let mut raw = std::mem::take(&mut self.raw);
        let mut at = 0;
        loop {
            let here = self.chunk.min(raw.len() - at);
            self.line.extend_from_slice(&raw[at..at + here]);
            (self.chunk, at) = (self.chunk - here, at + here);
            if self.chunk > 0 {
                break;
            }
            // The line end of one chunk stands before the head of the next.
            let begin = at + raw[at..].iter().take_while(|byte| b"\r\n".contains(byte)).count();
            let Some(end) = memmem::find(&raw[begin..], b"\r\n") else { break };
            let digits = std::str::from_utf8(&raw[begin..begin + end]).unwrap_or_default();
            let broken = |_| io::Error::from(io::ErrorKind::InvalidData);
            self.chunk = usize::from_str_radix(digits.trim(), 16).map_err(broken)?;
            at = begin + end + 2;
            if self.chunk == 0 {
                seen.ended = true;
                break;
            }
        }
        raw.drain(..at);
        self.raw = raw;
        let mut lines = 0;
        while let Some(end) = memchr::memchr(b'\n', &self.line[lines..]) {
            let line = &self.line[lines..lines + end];
            seen.synced |= line.starts_with(b"{\"kind\":\"synced\"");
            seen.whole_at = whole_at(line).or(seen.whole_at);
            lines += end + 1;
        }
        self.line.drain(..lines);
        Ok(())
    }

    fn messages(&mut self, seen: &mut Seen) {
        let mut at = 0;
        while let Some(head) = ws::head(&self.raw[at..]) {
            let text = &self.raw[at + head.payload_at..at + head.end];
            if head.opcode == ws::TEXT && text.ends_with(b"\"synced\":true}") {
                seen.synced = true;
                seen.whole_at = whole_at(text).or(seen.whole_at);
            }
            seen.ended |= head.opcode == ws::CLOSE;
            at += head.end;
        }
        self.raw.drain(..at);
    }
}

/// The time of the state that a frame or message leads to; `None` if it leads to none.
fn whole_at(text: &[u8]) -> Option<u64> {
    // A cursor has at most 128 bytes, and stands before the value.
    let head = std::str::from_utf8(&text[..text.len().min(200)])
        .or_else(|error| std::str::from_utf8(&text[..error.valid_up_to()]))
        .ok()?;
    let head = head.split("\"value\":").next()?.split("\"set\":").next()?;
    head.contains("\"rev\":").then_some(())?;
    let digits = head.split_once("\"t\":")?.1;
    digits.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_whole_when_it_has_a_cursor() {
        assert_eq!(whole_at(br#"{"kind":"merge","rev":"a.2","t":17,"value":{"rev":1}}"#), Some(17));
        assert_eq!(whole_at(br#"{"kind":"snapshot","t":17,"value":{"rev":"x","t":1}}"#), None);
        assert_eq!(whole_at(br#"{"rev":"a.2","t":18,"set":[],"synced":true}"#), Some(18));
    }
}
