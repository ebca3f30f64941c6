//! The load: one writer and many readers, on one thread that waits for all of them at once.
//!
//! It has to cost little, since it shares the machine with what it measures: nothing is parsed but where events end and the
//! number and the time in each value.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Socket, Type};

use crate::report::{Blame, Failure};

/// How long anything that must happen may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// The resource that all scenarios of one value use.
const PATH: &str = "/bench";
/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
const WRITER: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);
/// What a value begins with: a number and a time, in as many digits.
const DIGITS: usize = 16;

/// A value that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Which of the readers has it.
    pub(super) reader: usize,
    /// Which value it is, from 1.
    pub(super) number: u64,
    /// The number of the value that the reader had before; 0 for none.
    pub(super) before: u64,
    pub(super) age: Duration,
}

/// One writer of one resource, and its readers.
pub(super) struct Load {
    poll: Poll,
    events: Events,
    clock: Instant,
    writer: Writer,
    readers: Vec<Reader>,
    address: SocketAddr,
    scratch: Vec<u8>,
    alarm: Arc<Waker>,
}

impl Load {
    /// Connects a writer. There is a first value when this returns.
    pub(super) fn new(address: SocketAddr, payload: usize) -> Result<Load, Failure> {
        let poll = Poll::new().map_err(broken)?;
        let alarm = Arc::new(Waker::new(poll.registry(), ALARM).map_err(broken)?);
        let mut stream = connect(address, None).map_err(broken)?;
        poll.registry()
            .register(&mut stream, WRITER, Interest::READABLE | Interest::WRITABLE)
            .map_err(broken)?;
        let mut load = Load {
            poll,
            events: Events::with_capacity(1024),
            clock: Instant::now(),
            writer: Writer::new(stream, payload),
            readers: Vec::new(),
            address,
            scratch: vec![0; READ_BYTES],
            alarm,
        };
        load.publish()?;
        load.wait("the first value is written", |load| load.unanswered() == 0, |_| {})?;
        Ok(load)
    }

    /// Connects a reader, perhaps with a receive buffer of its own size, and returns its number. It is readers' business to be waited for.
    pub(super) fn add_reader(&mut self, receive_buffer: Option<usize>) -> Result<usize, Failure> {
        let mut stream = connect(self.address, receive_buffer).map_err(broken)?;
        let request =
            format!("GET {PATH} HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\n\r\n", self.address);
        // A new socket has room for it.
        stream.write_all(request.as_bytes()).map_err(broken)?;
        let number = self.readers.len();
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE).map_err(broken)?;
        self.readers.push(Reader { stream, tail: Vec::new(), newest: 0, frames: 0, bytes: 0 });
        Ok(number)
    }

    /// Writes the next value. Its number counts from 1.
    pub(super) fn publish(&mut self) -> Result<u64, Failure> {
        self.writer.put(self.clock.elapsed(), self.address).map_err(broken)?;
        Ok(self.writer.published)
    }

    /// Values that were written.
    pub(super) fn published(&self) -> u64 {
        self.writer.published
    }

    /// Writes that the server has not answered.
    pub(super) fn unanswered(&self) -> u64 {
        self.writer.published - self.writer.answered
    }

    pub(super) fn reader(&self, number: usize) -> &Reader {
        &self.readers[number]
    }

    /// Whether every reader has the newest value.
    pub(super) fn all_have_it(&self) -> bool {
        self.readers.iter().all(|reader| reader.newest == self.writer.published)
    }

    /// Stops reading from a reader's socket.
    pub(super) fn pause(&mut self, reader: usize) -> Result<(), Failure> {
        self.poll.registry().deregister(&mut self.readers[reader].stream).map_err(broken)
    }

    /// Goes on.
    pub(super) fn resume(&mut self, reader: usize) -> Result<(), Failure> {
        let stream = &mut self.readers[reader].stream;
        self.poll.registry().register(stream, Token(reader), Interest::READABLE).map_err(broken)
    }

    /// Something that ends a [`turn`](Load::turn) from another thread.
    pub(super) fn alarm(&self) -> Arc<Waker> {
        self.alarm.clone()
    }

    /// Waits until something happens or the time is over, and takes what has arrived.
    pub(super) fn turn(&mut self, patience: Duration, mut take: impl FnMut(Delivery)) -> Result<(), Failure> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled.map_err(broken)?,
        }
        for event in &self.events {
            match event.token() {
                ALARM => {}
                WRITER => self.writer.answers(&mut self.scratch)?,
                Token(number) => {
                    // A reader that was paused after the system had told of it.
                    let Some(reader) = self.readers.get_mut(number) else { continue };
                    reader.read(&mut self.scratch, |newest, before, published_at| {
                        let age = self.clock.elapsed().saturating_sub(published_at);
                        take(Delivery { reader: number, number: newest, before, age });
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Takes turns until `done`, and fails when that takes too long.
    pub(super) fn wait(
        &mut self,
        what: &str,
        mut done: impl FnMut(&Load) -> bool,
        mut take: impl FnMut(Delivery),
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message = format!("after {} s it is still not so that {what}", PATIENCE.as_secs());
                return Err(Failure::new(Blame::Peer, message));
            }
            self.turn(left, &mut take)?;
        }
        Ok(())
    }
}

fn broken(error: io::Error) -> Failure {
    Failure::new(Blame::Peer, format!("a connection to the server that is measured failed: {error}"))
}

fn connect(address: SocketAddr, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(bytes) = receive_buffer {
        // Before it is connected: the window that is offered depends on it.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.connect(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}

/// A kept-open connection that writes one value after the other.
struct Writer {
    stream: TcpStream,
    payload: usize,
    published: u64,
    answered: u64,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
    /// Answers of which the end has not arrived.
    answers: Vec<u8>,
}

impl Writer {
    fn new(stream: TcpStream, payload: usize) -> Writer {
        Writer { stream, payload, published: 0, answered: 0, unsent: Vec::new(), answers: Vec::new() }
    }

    fn put(&mut self, now: Duration, address: SocketAddr) -> io::Result<()> {
        self.published += 1;
        let length = self.payload;
        write!(
            self.unsent,
            "PUT {PATH} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n\"{:0DIGITS$x}{:0DIGITS$x}",
            self.published,
            now.as_nanos() as u64,
        )?;
        let padding = length - 2 - 2 * DIGITS;
        self.unsent.resize(self.unsent.len() + padding, b'x');
        self.unsent.push(b'"');
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads answers: a write has one, without a body (PROTOCOL W7).
    fn answers(&mut self, scratch: &mut [u8]) -> Result<(), Failure> {
        self.flush().map_err(broken)?;
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => self.answers.extend_from_slice(&scratch[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(broken(error)),
            }
        }
        let mut end = 0;
        while let Some(length) = memmem::find(&self.answers[end..], b"\r\n\r\n") {
            let answer = &self.answers[end..end + length];
            if !answer.starts_with(b"HTTP/1.1 20") {
                let line = answer.split(|b| *b == b'\r').next().unwrap_or_default();
                let line = String::from_utf8_lossy(line);
                return Err(Failure::new(Blame::Peer, format!("the server refused a write: {line}")));
            }
            end += length + 4;
            self.answered += 1;
        }
        self.answers.drain(..end);
        Ok(())
    }
}

/// A stream of server-sent events.
pub(super) struct Reader {
    stream: TcpStream,
    /// The beginning of an event whose end has not arrived.
    tail: Vec<u8>,
    /// The newest value that has arrived whole.
    pub(super) newest: u64,
    /// Values that have arrived.
    pub(super) frames: u64,
    /// Bytes that have, of everything.
    pub(super) bytes: u64,
}

impl Reader {
    /// Reads until there is no more, and tells of each value: its number, the one before, and when it was published.
    fn read(
        &mut self,
        scratch: &mut Vec<u8>,
        mut take: impl FnMut(u64, u64, Duration),
    ) -> Result<(), Failure> {
        loop {
            let begun = self.tail.len();
            scratch.resize(begun + READ_BYTES, 0);
            scratch[..begun].copy_from_slice(&self.tail);
            let read = match self.stream.read(&mut scratch[begun..]) {
                Ok(0) => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(broken(error)),
            };
            self.bytes += read as u64;
            let Reader { newest, frames, .. } = self;
            let whole = events(&scratch[..begun + read], |number, at| {
                *frames += 1;
                take(number, std::mem::replace(newest, number), at);
            });
            self.tail.clear();
            self.tail.extend_from_slice(&scratch[whole..begun + read]);
            // Less than was asked for: there is no more, and asking again would only cost.
            if read < READ_BYTES {
                return Ok(());
            }
        }
    }
}

/// Finds the values in whole events: the number and the time of each. Returns where the last event ends.
fn events(bytes: &[u8], mut found: impl FnMut(u64, Duration)) -> usize {
    let mut start = 0;
    while let Some(length) = memmem::find(&bytes[start..], b"\n\n") {
        let event = &bytes[start..start + length];
        start += length + 2;
        let Some(at) = memmem::find(event, b"data: \"") else { continue };
        let digits = &event[at + 7..];
        let number = |from: usize| {
            let text = digits.get(from..from + DIGITS)?;
            u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
        };
        if let (Some(value), Some(nanoseconds)) = (number(0), number(DIGITS)) {
            found(value, Duration::from_nanos(nanoseconds));
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let stream = "HTTP/1.1 200 OK\r\n\r\nD\r\nretry: 1000\n\n\r\n\
            40\r\nevent: snapshot\nid: a.1\ndata: \"00000000000000010000000000000100xx\"\n\n\r\n\
            20\r\nevent: synced\nid: a.1\ndata: null\n\n\r\n2\r\n:\n\r\n\
            40\r\nid: a.2\ndata: \"000000000000000a0000000000000200xx\"\n\n\r\n";
        let expect = [(1, Duration::from_nanos(256)), (10, Duration::from_nanos(512))];
        for cut in 0..stream.len() {
            let mut values = Vec::new();
            let (first, second) = stream.as_bytes().split_at(cut);
            let whole = events(first, |number, at| values.push((number, at)));
            let rest = [&first[whole..], second].concat();
            events(&rest, |number, at| values.push((number, at)));
            assert_eq!(values, expect, "cut at {cut}");
        }
    }
}
