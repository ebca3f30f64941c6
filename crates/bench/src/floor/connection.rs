//! A connection of the floor: its input and its pending output.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use mio::net::TcpStream;

use super::value::{Role, Value, Values, message, synced_event};

/// Bytes of a message that brings the first state of many links.
const MESSAGE_BYTES: usize = 64 << 10;

/// A value that is read.
pub(super) struct Link {
    pub(super) value: u32,
    is_waiting: bool,
    /// The newest revision that was written.
    shown: u64,
}

pub(super) struct Connection {
    stream: TcpStream,
    pub(super) input: Vec<u8>,
    pub(super) role: Role,
    pub(super) links: Vec<Link>,
    /// Links with a pending update, while the socket is full.
    waiting: VecDeque<u32>,
    /// The message that was begun, and the number of its bytes that were written.
    rest: Option<(Rc<[u8]>, usize)>,
    /// True while the socket takes no more.
    pub(super) is_blocked: bool,
    /// True if the next message that leaves no update pending must say `synced`.
    pub(super) owes_synced: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Connection {
        Connection {
            stream,
            input: Vec::new(),
            role: Role::Http,
            links: Vec::new(),
            waiting: VecDeque::new(),
            rest: None,
            is_blocked: false,
            owes_synced: false,
        }
    }

    /// Reads the available bytes. False at the end.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.input.extend_from_slice(&scratch[..read]);
                    if read < scratch.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens a link to a value, with its whole state pending.
    pub(super) fn watch(&mut self, value: u32) -> u32 {
        let link = self.links.len() as u32;
        self.links.push(Link { value, is_waiting: true, shown: 0 });
        self.waiting.push_back(link);
        self.owes_synced = true;
        link
    }

    /// Resumes a link from a revision. A value that has not changed since is not sent.
    pub(super) fn resume(&mut self, link: u32, value: &Value, since: u64) {
        let knows = &mut self.links[link as usize];
        if since > 0 && value.revision <= since {
            (knows.is_waiting, knows.shown) = (false, since);
            self.waiting.pop_back();
        }
    }

    /// Queues bytes behind those that were begun.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.rest = Some(match self.rest.take() {
            None => (bytes.into(), 0),
            Some((rest, written)) => ([&rest[written..], bytes].concat().into(), 0),
        });
        let _ = self.flush();
    }

    /// Writes the newest value. If the socket is full, the link waits.
    pub(super) fn show(&mut self, link: u32, value: &mut Value, revision: u64) -> io::Result<()> {
        self.flush()?;
        let knows = &mut self.links[link as usize];
        if self.is_blocked || !self.waiting.is_empty() {
            if !knows.is_waiting {
                knows.is_waiting = true;
                self.waiting.push_back(link);
            }
            return Ok(());
        }
        self.tell(link, value, revision)
    }

    fn tell(&mut self, link: u32, value: &mut Value, revision: u64) -> io::Result<()> {
        let frame = value.frame(self.role, revision);
        self.links[link as usize].shown = value.revision;
        self.write(frame)
    }

    fn write(&mut self, frame: Rc<[u8]>) -> io::Result<()> {
        self.rest = Some((frame, 0));
        self.flush()
    }

    /// Writes pending output, as far as the socket takes it.
    pub(super) fn pump(&mut self, values: &mut Values) -> io::Result<()> {
        self.flush()?;
        let revision = values.revision;
        while !self.is_blocked {
            let Some(link) = self.waiting.pop_front() else { break };
            let knows = &mut self.links[link as usize];
            knows.is_waiting = false;
            if self.role == Role::Session && knows.shown == 0 {
                self.tell_first(link, values)?;
            } else {
                let value = values.at_mut(knows.value);
                self.tell(link, value, revision)?;
            }
        }
        if self.owes_synced && self.waiting.is_empty() && !self.is_blocked {
            self.owes_synced = false;
            match self.role {
                Role::Session => self.write(message(revision, b"", true).into())?,
                Role::Events => self.write(synced_event(revision).into())?,
                Role::Http => {}
            }
        }
        Ok(())
    }

    /// Writes the first states of a link and of all waiting links behind it in one message.
    fn tell_first(&mut self, first: u32, values: &mut Values) -> io::Result<()> {
        let mut set = Vec::new();
        let mut next = Some(first);
        while let Some(link) = next {
            let knows = &mut self.links[link as usize];
            (knows.is_waiting, knows.shown) = (false, values.revision);
            values.at(knows.value).push_entry(&mut set);
            let more =
                |link: &u32| self.links[*link as usize].shown == 0 && set.len() < MESSAGE_BYTES;
            next = self.waiting.front().copied().filter(more);
            if next.is_some() {
                self.waiting.pop_front();
            }
        }
        let is_synced = self.waiting.is_empty();
        self.owes_synced &= !is_synced;
        self.write(message(values.revision, &set, is_synced).into())
    }

    fn flush(&mut self) -> io::Result<()> {
        while let (false, Some((rest, written))) = (self.is_blocked, &mut self.rest) {
            match self.stream.write(&rest[*written..]) {
                Ok(more) => *written += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_blocked = true,
                Err(error) => return Err(error),
            }
            if *written == rest.len() {
                self.rest = None;
            }
        }
        Ok(())
    }
}
