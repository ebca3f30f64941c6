//! The load: writers and readers, on one thread that waits for all of them at once.
//!
//! It has to cost little, since it shares the machine with the server. So it parses only the ends
//! of frames, and the number and the time in each value. Value number N is at `/bench/N`, and is
//! link N of a session that reads it.

mod outbox;
mod reader;
mod sse;
mod writer;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Socket, Type};

pub(super) use self::reader::Reader;
use self::writer::Writer;
use crate::args::Transport;
use crate::stamp::Stamp;
use crate::subject::Subject;

/// Time to wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// The object that holds all values.
pub(super) const COLLECTION: &str = "/bench";
/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
/// Bytes of a patch that writes many values: small, so that the server soon reuses the memory that
/// it needs to read it.
const PATCH_BYTES: usize = 16 << 10;
/// The first token of writers; tokens below are readers.
const WRITERS: usize = usize::MAX / 2;
const ALARM: Token = Token(usize::MAX - 1);

/// Members that a view shows of the collection, the first by name.
const VIEW_MEMBERS: u32 = 10;

fn path(value: u32) -> String {
    format!("{COLLECTION}/{value}")
}

/// A value that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Number of the reader.
    pub(super) reader: usize,
    pub(super) value: u32,
    /// Version of the value, from 1.
    pub(super) number: u64,
    /// The version that the reader had before; 0 for none.
    pub(super) before: u64,
    pub(super) age: Duration,
}

/// The values that a reader reads, and its transport.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) transport: Transport,
    /// Numbers of the values. An event stream reads only the first.
    pub(super) values: Range<u32>,
    pub(super) receive_buffer: Option<usize>,
    pub(super) credit: Option<u32>,
    pub(super) since: Option<String>,
    /// True if the first of the values is seen through a view of the collection.
    pub(super) is_view: bool,
}

impl Reading {
    pub(super) fn of(transport: Transport, values: Range<u32>) -> Reading {
        Reading {
            transport,
            values,
            receive_buffer: None,
            credit: None,
            since: None,
            is_view: false,
        }
    }
}

pub(super) struct Load {
    poll: Poll,
    events: Events,
    clock: Instant,
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    address: SocketAddr,
    readers_address: SocketAddr,
    scratch: Vec<u8>,
    alarm: Arc<Waker>,
    /// Length of a value.
    payload: usize,
    /// Number of writes of each value.
    versions: Vec<u64>,
    published: u64,
}

impl Load {
    /// Connects one writer.
    pub(super) fn new(subject: &Subject, payload: u32) -> Result<Load> {
        let poll = Poll::new().map_err(broken)?;
        let alarm = Arc::new(Waker::new(poll.registry(), ALARM).map_err(broken)?);
        let mut load = Load {
            poll,
            events: Events::with_capacity(1024),
            clock: Instant::now(),
            writers: Vec::new(),
            readers: Vec::new(),
            address: subject.address,
            readers_address: subject.readers_address,
            scratch: vec![0; READ_BYTES],
            alarm,
            payload: payload as usize,
            versions: Vec::new(),
            published: 0,
        };
        load.add_writer()?;
        Ok(load)
    }

    pub(super) fn add_writer(&mut self) -> Result<usize> {
        let number = self.writers.len();
        let registry = self.poll.registry().try_clone().map_err(broken)?;
        self.writers
            .push(Writer::new(self.address, Token(WRITERS + number), registry).map_err(broken)?);
        Ok(number)
    }

    /// Writes values `0..count`, each for the first time.
    pub(super) fn publish_first(&mut self, count: u32) -> Result<()> {
        for value in 0..count {
            self.publish(value)?;
        }
        self.wait("the first values are written", |load| load.unanswered() == 0, |_| {})
    }

    /// Writes the same small body to values `0..count`.
    pub(super) fn fill(&mut self, count: u32, json: &str) -> Result<()> {
        let mut patch = Vec::new();
        for value in 0..count {
            let between = if patch.is_empty() { '{' } else { ',' };
            write!(patch, "{between}\"{value}\":{json}").map_err(broken)?;
            if patch.len() >= PATCH_BYTES || value + 1 == count {
                patch.push(b'}');
                self.writers[0].merge(COLLECTION, &patch).map_err(broken)?;
                patch.clear();
                self.wait("the resources are written", |load| load.unanswered() == 0, |_| {})?;
            }
        }
        Ok(())
    }

    /// Writes the next version of a value.
    pub(super) fn publish(&mut self, value: u32) -> Result<u64> {
        self.publish_by(0, value)
    }

    /// Writes the next version of a value by a certain writer.
    pub(super) fn publish_by(&mut self, writer: usize, value: u32) -> Result<u64> {
        let stamp = self.stamp(value);
        self.writers[writer].put(value, stamp, self.payload).map_err(broken)?;
        Ok(stamp.number)
    }

    /// Writes the next version as one member of a value that is an object.
    pub(super) fn publish_member(&mut self, value: u32, member: &str) -> Result<()> {
        let mut patch = format!("{{\"{member}\":").into_bytes();
        self.stamp(value).push_value(&mut patch, self.payload);
        patch.push(b'}');
        self.writers[0].merge(&path(value), &patch).map_err(broken)
    }

    fn stamp(&mut self, value: u32) -> Stamp {
        let place = value as usize;
        if place >= self.versions.len() {
            self.versions.resize(place + 1, 0);
        }
        self.versions[place] += 1;
        self.published += 1;
        Stamp { number: self.versions[place], at: self.clock.elapsed() }
    }

    /// Versions that were written, of all values.
    pub(super) fn published(&self) -> u64 {
        self.published
    }

    /// Writes that the server has not answered.
    pub(super) fn unanswered(&self) -> u64 {
        self.writers.iter().map(Writer::unanswered).sum()
    }

    /// Writes of one writer that the server has not answered.
    pub(super) fn unanswered_by(&self, writer: usize) -> u64 {
        self.writers[writer].unanswered()
    }

    /// Connects a reader, and returns its number. It sends its request as soon as it may.
    pub(super) fn add_reader(&mut self, reading: &Reading) -> Result<usize> {
        let stream = connect(self.readers_address, reading.receive_buffer).map_err(broken)?;
        let number = self.readers.len();
        let mut reader = Reader::new(stream, self.readers_address, reading).map_err(broken)?;
        // A stream of events is never written to again.
        let interest = match reading.transport {
            Transport::Ws => Interest::READABLE | Interest::WRITABLE,
            Transport::Sse => Interest::READABLE,
        };
        self.poll
            .registry()
            .register(&mut reader.stream, Token(number), interest)
            .map_err(broken)?;
        self.readers.push(reader);
        Ok(number)
    }

    /// Closes all readers' connections.
    pub(super) fn cut(&mut self) {
        self.readers.clear();
    }

    pub(super) fn reader(&self, number: usize) -> &Reader {
        &self.readers[number]
    }

    pub(super) fn readers(&self) -> &[Reader] {
        &self.readers
    }

    /// True if a reader has the newest version of everything that it reads.
    pub(super) fn has_all(&self, reader: usize) -> bool {
        self.readers[reader].has(&self.versions)
    }

    /// True if all readers have the newest versions.
    pub(super) fn all_have_it(&self) -> bool {
        self.readers.iter().all(|reader| reader.has(&self.versions))
    }

    /// Stops reading from a reader's socket.
    pub(super) fn pause(&mut self, reader: usize) -> Result<()> {
        self.poll.registry().deregister(&mut self.readers[reader].stream).map_err(broken)
    }

    /// Goes on reading from a reader's socket.
    pub(super) fn resume(&mut self, reader: usize) -> Result<()> {
        let stream = &mut self.readers[reader].stream;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(stream, Token(reader), interest).map_err(broken)
    }

    /// A waker that ends a [`turn`](Load::turn) from another thread.
    pub(super) fn alarm(&self) -> Arc<Waker> {
        self.alarm.clone()
    }

    /// Waits until something happens or the time is over, and handles arrived bytes.
    pub(super) fn turn(
        &mut self,
        patience: Duration,
        mut take: impl FnMut(Delivery),
    ) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled.map_err(broken)?,
        }
        for event in &self.events {
            match event.token() {
                ALARM => {}
                Token(number) if number >= WRITERS => {
                    self.writers[number - WRITERS].answers(&mut self.scratch)?;
                }
                Token(number) => {
                    // The event may be of a reader that was paused or cut since.
                    let Some(reader) = self.readers.get_mut(number) else { continue };
                    reader.read(&mut self.scratch, |value, stamp, before| {
                        let age = self.clock.elapsed().saturating_sub(stamp.at);
                        take(Delivery { reader: number, value, number: stamp.number, before, age });
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Takes turns for a while.
    pub(super) fn rest(&mut self, time: Duration) -> Result<()> {
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            self.turn(left, |_| {})?;
        }
        Ok(())
    }

    /// Takes turns until `done`, and fails if that takes too long.
    pub(super) fn wait(
        &mut self,
        what: &str,
        mut done: impl FnMut(&Load) -> bool,
        mut take: impl FnMut(Delivery),
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message =
                    format!("after {} s it is still not so that {what}", PATIENCE.as_secs());
                return Err(anyhow!(message));
            }
            self.turn(left, &mut take)?;
        }
        Ok(())
    }
}

fn broken(error: io::Error) -> Error {
    anyhow!("a connection to the server that is measured failed: {error}")
}

fn connect(address: SocketAddr, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(bytes) = receive_buffer {
        // Set before connecting: the offered window depends on it.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.connect(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}
