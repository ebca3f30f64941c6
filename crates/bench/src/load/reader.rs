//! Readers: a session, or a stream of server-sent events.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Error, Result, anyhow};
use memchr::memmem;
use mio::net::TcpStream;

use super::outbox::Outbox;
use super::sse::{self, Event};
use super::{COLLECTION, READ_BYTES, Reading, VIEW_MEMBERS, broken, path};
use crate::args::Transport;
use crate::message::{self, Message};
use crate::stamp::Stamp;
use crate::ws;

/// Bytes of a message that opens many links.
const COMMAND_BYTES: usize = 64 << 10;

pub(crate) struct Reader {
    pub(super) stream: TcpStream,
    /// The beginning of a frame whose end has not arrived.
    tail: Vec<u8>,
    session: Option<Session>,
    taken: Taken,
    /// All bytes that have arrived.
    pub(crate) bytes: u64,
}

/// The values that a reader has received.
struct Taken {
    values: Range<u32>,
    /// The newest version of each value that has arrived.
    newest: Vec<u64>,
    /// Values that have arrived, also those without a stamp.
    frames: u64,
    is_synced: bool,
}

/// The additional state of a session.
struct Session {
    is_open: bool,
    outbox: Outbox,
    credit: Option<u32>,
    /// Bytes of state since the last acknowledgement.
    unacknowledged: u64,
    /// Cursor of the newest message; below, of the newest that was synced.
    cursor: Vec<u8>,
    synced_cursor: Vec<u8>,
    answers: u64,
}

impl Reader {
    /// Sends the request or the handshake. A new socket has room for it.
    pub(super) fn new(
        mut stream: TcpStream,
        host: SocketAddr,
        reading: &Reading,
    ) -> io::Result<Reader> {
        let values = reading.values.clone();
        let session = match reading.transport {
            Transport::Sse => {
                let path = match reading.is_view {
                    true => format!("{COLLECTION}?limit={VIEW_MEMBERS}"),
                    false => path(values.start),
                };
                write!(
                    stream,
                    "GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\r\n"
                )?;
                None
            }
            Transport::Ws => {
                let (key, subprotocol) = (ws::KEY, ws::SUBPROTOCOL);
                write!(
                    stream,
                    "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\
                     sec-websocket-protocol: {subprotocol}\r\n\r\n"
                )?;
                Some(Session::new(reading))
            }
        };
        let newest = vec![0; values.len()];
        let taken = Taken { values, newest, frames: 0, is_synced: false };
        Ok(Reader { stream, tail: Vec::new(), session, taken, bytes: 0 })
    }

    /// True if the newest versions have arrived. Values that were only filled have none.
    pub(super) fn has(&self, versions: &[u64]) -> bool {
        let versions = versions.iter().skip(self.taken.values.start as usize);
        self.taken.newest.iter().zip(versions).all(|(newest, version)| newest == version)
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.taken.is_synced
    }

    /// Values that have arrived.
    pub(crate) fn frames(&self) -> u64 {
        self.taken.frames
    }

    /// Commands that were answered: the one that opened the last link is.
    pub(crate) fn answers(&self) -> u64 {
        self.session.as_ref().map_or(0, |session| session.answers)
    }

    /// The cursor that resumes the session.
    pub(crate) fn cursor(&self) -> String {
        let cursor = self.session.as_ref().map(|session| &session.synced_cursor[..]);
        String::from_utf8_lossy(cursor.unwrap_or_default()).into_owned()
    }

    /// Reads until there is no more. Reports each value: its number, its stamp, and the version
    /// before.
    pub(super) fn read(
        &mut self,
        scratch: &mut Vec<u8>,
        mut take: impl FnMut(u32, Stamp, u64),
    ) -> Result<()> {
        if let Some(session) = &mut self.session {
            session.flush(&mut self.stream)?;
        }
        loop {
            let begun = self.tail.len();
            if scratch.len() < begun + READ_BYTES {
                scratch.resize(begun + READ_BYTES, 0);
            }
            scratch[..begun].copy_from_slice(&self.tail);
            let read = match self.stream.read(&mut scratch[begun..begun + READ_BYTES]) {
                Ok(0) => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(broken(error)),
            };
            self.bytes += read as u64;
            let whole = begun + read;
            let used = match &mut self.session {
                Some(session) => session.take(&scratch[..whole], &mut self.taken, &mut take)?,
                None => {
                    let value = self.taken.values.start;
                    sse::events(&scratch[..whole], |event| match event {
                        Event::Value(stamp) => self.taken.value(value, stamp, &mut take),
                        Event::Synced => self.taken.is_synced = true,
                    })
                }
            };
            self.tail.clear();
            self.tail.extend_from_slice(&scratch[used..whole]);
            if let Some(session) = &mut self.session {
                session.acknowledge();
                session.flush(&mut self.stream)?;
            }
            // A short read means that there is no more; reading again would only cost.
            if read < READ_BYTES {
                return Ok(());
            }
        }
    }
}

impl Taken {
    fn value(&mut self, value: u32, stamp: Option<Stamp>, take: &mut impl FnMut(u32, Stamp, u64)) {
        self.frames += 1;
        let place = value.checked_sub(self.values.start).map(|place| place as usize);
        if let Some((stamp, newest)) = stamp.zip(place.and_then(|place| self.newest.get_mut(place)))
        {
            take(value, stamp, std::mem::replace(newest, stamp.number));
        }
    }
}

impl Session {
    fn new(reading: &Reading) -> Session {
        let mut session = Session {
            is_open: false,
            outbox: Outbox::default(),
            credit: reading.credit,
            unacknowledged: 0,
            cursor: Vec::new(),
            synced_cursor: Vec::new(),
            answers: 0,
        };
        if let Some(bytes) = reading.credit {
            session.say(format!("{{\"credit\":{bytes}}}").as_bytes());
        }
        match reading.is_view {
            true => session.watch_view(reading.values.start),
            false => session.watch(reading.values.clone(), reading.since.as_deref()),
        }
        session
    }

    fn say(&mut self, text: &[u8]) {
        ws::push_masked(&mut self.outbox.bytes, ws::TEXT, text);
    }

    /// Opens links. The last of the commands is answered.
    fn watch(&mut self, values: Range<u32>, since: Option<&str>) {
        let since = since.map_or_else(String::new, |cursor| format!(",\"since\":\"{cursor}\""));
        let mut command = String::new();
        for value in values.clone() {
            command.push_str(if command.is_empty() { "{\"watch\":[" } else { "," });
            command.push_str(&format!("[{value},\"{}\"]", path(value)));
            let is_last = value + 1 == values.end;
            if is_last || command.len() >= COMMAND_BYTES - 256 {
                let reference = if is_last { ",\"ref\":1" } else { "" };
                command.push_str(&format!("]{since}{reference}}}"));
                self.say(command.as_bytes());
                command.clear();
            }
        }
    }

    /// Opens a link through a view.
    fn watch_view(&mut self, link: u32) {
        let shape = format!("\"path\":\"{COLLECTION}\",\"limit\":{VIEW_MEMBERS}");
        self.say(format!("{{\"watch\":{link},{shape},\"ref\":1}}").as_bytes());
    }

    /// Writes the output, but nothing before the handshake is over.
    fn flush(&mut self, stream: &mut TcpStream) -> Result<()> {
        if self.is_open { self.outbox.flush(stream).map_err(broken) } else { Ok(()) }
    }

    /// Handles complete frames. Returns the end of the last.
    fn take(
        &mut self,
        bytes: &[u8],
        taken: &mut Taken,
        take: &mut impl FnMut(u32, Stamp, u64),
    ) -> Result<usize> {
        let mut start = 0;
        if !self.is_open {
            let Some(length) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(0) };
            let head = &bytes[..length];
            if !head.starts_with(b"HTTP/1.1 101")
                || memmem::find(head, ws::ACCEPT.as_bytes()).is_none()
            {
                return Err(said("the server opens no session", bytes));
            }
            self.is_open = true;
            start = length + 4;
        }
        while let Some(head) = ws::head(&bytes[start..]) {
            let payload = &bytes[start + head.payload_at..start + head.end];
            match head.opcode {
                ws::TEXT if head.is_plain => self.message(payload, head.end, taken, take)?,
                ws::PING => ws::push_masked(&mut self.outbox.bytes, ws::PONG, payload),
                ws::CLOSE => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    let why = format!("the server closes a session with {code}");
                    return Err(said(&why, payload.get(2..).unwrap_or_default()));
                }
                opcode => {
                    return Err(said(
                        &format!("a frame that was not expected ({opcode})"),
                        payload,
                    ));
                }
            }
            start += head.end;
        }
        Ok(start)
    }

    fn message(
        &mut self,
        text: &[u8],
        frame_bytes: usize,
        taken: &mut Taken,
        take: &mut impl FnMut(u32, Stamp, u64),
    ) -> Result<()> {
        match message::read(text) {
            Message::State { cursor, synced } => {
                for entry in message::entries(text) {
                    let entry = entry.map_err(|link| said(&format!("link {link} ended"), text))?;
                    taken.value(entry.link, entry.stamp, take);
                }
                taken.is_synced = synced;
                if synced {
                    self.synced_cursor.clear();
                    self.synced_cursor.extend_from_slice(cursor);
                }
                if self.credit.is_some() {
                    self.unacknowledged += frame_bytes as u64;
                    self.cursor.clear();
                    self.cursor.extend_from_slice(cursor);
                }
            }
            Message::Answer => self.answers += 1,
            Message::Problem => return Err(said("the server refused a command", text)),
        }
        Ok(())
    }

    /// Acknowledges handled bytes (PROTOCOL L10), before the server has to wait.
    fn acknowledge(&mut self) {
        if self.credit.is_some_and(|credit| self.unacknowledged > u64::from(credit / 4)) {
            self.say(
                format!("{{\"ack\":\"{}\"}}", String::from_utf8_lossy(&self.cursor)).as_bytes(),
            );
            self.unacknowledged = 0;
        }
    }
}

fn said(what: &str, bytes: &[u8]) -> Error {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]);
    anyhow!("{what}: {text}")
}
