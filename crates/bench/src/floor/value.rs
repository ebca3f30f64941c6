//! The values of the floor: the newest body of each, and its readers.

use std::rc::Rc;

use crate::ws;

/// A stand-in for the epoch: a cursor's length is a part of a frame's.
const EPOCH: &str = "000000000000";
/// A stand-in for a time, which nothing reads.
const TIME_MS: u64 = 1_700_000_000_000;

/// The kind of a connection, and so of the frames that it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Requests, each with an answer.
    Http,
    Events,
    Session,
}

#[derive(Default)]
pub(super) struct Value {
    number: u32,
    kind: &'static str,
    body: Option<Box<[u8]>>,
    pub(super) revision: u64,
    /// Readers: a connection and its link.
    pub(super) readers: Vec<(u32, u32)>,
    /// One frame for all readers of the value, made when the first needs it.
    session_frame: Option<Rc<[u8]>>,
    event_frame: Option<Rc<[u8]>>,
}

#[derive(Default)]
pub(super) struct Values {
    values: Vec<Value>,
    pub(super) revision: u64,
}

impl Values {
    pub(super) fn at(&mut self, number: u32) -> &Value {
        self.at_mut(number)
    }

    pub(super) fn at_mut(&mut self, number: u32) -> &mut Value {
        let place = number as usize;
        while self.values.len() <= place {
            self.values.push(Value { number: self.values.len() as u32, ..Value::default() });
        }
        &mut self.values[place]
    }

    pub(super) fn write(&mut self, number: u32, body: Vec<u8>, kind: &'static str) {
        self.revision += 1;
        let revision = self.revision;
        let value = self.at_mut(number);
        (value.revision, value.kind, value.body) = (revision, kind, Some(body.into()));
        (value.session_frame, value.event_frame) = (None, None);
    }

    pub(super) fn watch(&mut self, place: usize, link: u32, number: u32) {
        self.at_mut(number).readers.push((place as u32, link));
    }

    /// Removes a closed connection from the readers of these values.
    pub(super) fn forget(&mut self, place: usize, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            self.at_mut(number).readers.retain(|(reader, _)| *reader as usize != place);
        }
    }
}

impl Value {
    /// The bytes of one update, as the server writes them.
    pub(super) fn frame(&mut self, role: Role, revision: u64) -> Rc<[u8]> {
        let frame = match role {
            Role::Session => &mut self.session_frame,
            Role::Http | Role::Events => &mut self.event_frame,
        };
        if let Some(frame) = frame {
            return frame.clone();
        }
        let made: Rc<[u8]> = match role {
            Role::Session => {
                let mut set = Vec::new();
                self.push_entry(&mut set);
                message(revision, &set, true).into()
            }
            Role::Http | Role::Events => self.event(),
        };
        match role {
            Role::Session => self.session_frame = Some(made.clone()),
            Role::Http | Role::Events => self.event_frame = Some(made.clone()),
        }
        made
    }

    /// Appends its entry in a session's message.
    pub(super) fn push_entry(&self, set: &mut Vec<u8>) {
        if !set.is_empty() {
            set.push(b',');
        }
        let Some(body) = &self.body else {
            return set.extend_from_slice(format!("[{},\"gone\"]", self.number).as_bytes());
        };
        set.extend_from_slice(format!("[{},\"{}\",", self.number, self.kind).as_bytes());
        set.extend_from_slice(body);
        set.push(b']');
    }

    /// An event in a chunk of its own.
    fn event(&self) -> Rc<[u8]> {
        let kind = if self.body.is_some() { self.kind } else { "gone" };
        let mut event =
            format!("event: {kind}\nid: {EPOCH}.{}\ndata: ", self.revision).into_bytes();
        event.extend_from_slice(self.body.as_deref().unwrap_or(b"null"));
        event.extend_from_slice(b"\n\n");
        chunk(&event).into()
    }
}

/// A session's message, framed.
pub(super) fn message(revision: u64, set: &[u8], synced: bool) -> Vec<u8> {
    let mut text = format!("{{\"rev\":\"{EPOCH}.{revision}\",\"t\":{TIME_MS}").into_bytes();
    if !set.is_empty() {
        text.extend_from_slice(b",\"set\":[");
        text.extend_from_slice(set);
        text.push(b']');
    }
    text.extend_from_slice(if synced { b",\"synced\":true}" } else { b"}" });
    let mut frame = Vec::with_capacity(text.len() + 10);
    ws::push(&mut frame, ws::TEXT, &text);
    frame
}

/// The first event of a stream, which says `synced`.
pub(super) fn synced_event(revision: u64) -> Vec<u8> {
    chunk(format!("event: synced\nid: {EPOCH}.{revision}\ndata: null\n\n").as_bytes())
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:X}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}
