//! The floor: the least that a server could do. One thread, one loop, and for each update one `write` of the same bytes to each
//! reader; while a reader's socket is full, only the newest value waits for it.
//!
//! It speaks just enough HTTP for the load generator: `GET` reads the one value there is as server-sent events, `PUT` writes it.
//! Nothing is stored, checked or limited.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use memchr::memmem;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::report::{Blame, Failure};
use crate::stop;

/// As the server has it.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOT_SENT_LOW_WATER: u32 = 16 << 10;
const LISTENER: Token = Token(usize::MAX);
/// A cursor's length is a part of a frame's: this stands for the epoch.
const EPOCH: &str = "000000000000";

/// What a reader gets before its first frame.
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
content-type: text/event-stream\r\n\
cache-control: no-store, no-transform\r\n\
transfer-encoding: chunked\r\n\r\n\
D\r\nretry: 1000\n\n\r\n";
const WRITTEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Serves until the process that started this one goes away.
pub(super) fn serve() -> Result<(), Failure> {
    stop::with_stdin();
    run().map_err(|error| Failure::new(Blame::Peer, format!("the floor failed: {error}")))
}

fn run() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    eprintln!("floor listening on http://{}", listener.local_addr()?);
    let mut floor = Floor::default();
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener, &poll)?,
                Token(place) => floor.handle(place, event),
            }
        }
    }
}

#[derive(Default)]
struct Floor {
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    newest: Option<Rc<[u8]>>,
    revision: u64,
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let socket = SockRef::from(&stream);
            #[cfg(any(target_os = "linux", target_os = "android"))]
            socket.set_tcp_notsent_lowat(NOT_SENT_LOW_WATER)?;
            let _ = socket;
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            poll.registry().register(&mut stream, Token(place), Interest::READABLE | Interest::WRITABLE)?;
            self.connections[place] = Some(Connection::new(stream));
        }
    }

    fn handle(&mut self, place: usize, event: &Event) {
        let Some(mut connection) = self.connections[place].take() else { return };
        let mut open = true;
        if event.is_readable() {
            open = connection.read().unwrap_or(false);
            while let Some(request) = connection.request() {
                match request {
                    Request::Read => {
                        connection.is_reader = true;
                        connection.push(STREAM_HEAD.into());
                    }
                    Request::Write(body) => {
                        connection.push(WRITTEN.into());
                        self.revision += 1;
                        let frame = frame(self.revision, &body);
                        for reader in self.connections.iter_mut().flatten().filter(|c| c.is_reader) {
                            // A reader that is gone is noticed when it is read from.
                            let _ = reader.show(&frame, self.revision);
                        }
                        self.newest = Some(frame);
                    }
                }
            }
        }
        if event.is_writable() {
            connection.blocked = false;
        }
        let sent = match &self.newest {
            Some(newest) if connection.is_reader => connection.show(newest, self.revision),
            _ => connection.flush(),
        };
        if open && sent.is_ok() {
            self.connections[place] = Some(connection);
        } else {
            self.free.push(place);
        }
    }
}

/// The bytes of one update, as the server writes them: an event in a chunk of its own.
fn frame(revision: u64, body: &[u8]) -> Rc<[u8]> {
    let mut event = format!("event: snapshot\nid: {EPOCH}.{revision}\ndata: ").into_bytes();
    event.extend_from_slice(body);
    event.extend_from_slice(b"\n\n");
    let mut chunk = format!("{:X}\r\n", event.len()).into_bytes();
    chunk.extend_from_slice(&event);
    chunk.extend_from_slice(b"\r\n");
    chunk.into()
}

enum Request {
    Read,
    Write(Vec<u8>),
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    is_reader: bool,
    /// The newest revision of which bytes were written.
    shown: u64,
    /// What was begun, and how much of it was written.
    rest: Option<(Rc<[u8]>, usize)>,
    /// The socket takes no more for now.
    blocked: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        Connection { stream, input: Vec::new(), is_reader: false, shown: 0, rest: None, blocked: false }
    }

    /// Reads what is there. False at the end.
    fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.input.extend_from_slice(&buffer[..read]);
                    if read < buffer.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next whole request that was read.
    fn request(&mut self) -> Option<Request> {
        let head = memmem::find(&self.input, b"\r\n\r\n")? + 4;
        let length = memmem::find(&self.input[..head], b"content-length: ").map_or(0, |at| {
            let digits = self.input[at + 16..head].iter().take_while(|b| b.is_ascii_digit());
            digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
        });
        if self.input.len() < head + length {
            return None;
        }
        let body = self.input[head..head + length].to_vec();
        let reads = self.input.starts_with(b"GET ");
        self.input.drain(..head + length);
        Some(if reads { Request::Read } else { Request::Write(body) })
    }

    /// Writes bytes after those that were begun.
    fn push(&mut self, bytes: Rc<[u8]>) {
        self.rest = Some(match self.rest.take() {
            None => (bytes, 0),
            Some((rest, written)) => ([&rest[written..], &bytes].concat().into(), 0),
        });
        let _ = self.flush();
    }

    /// Writes the newest value, unless the socket is full: then this is done again when it no longer is.
    fn show(&mut self, frame: &Rc<[u8]>, revision: u64) -> io::Result<()> {
        self.flush()?;
        if self.blocked || self.shown == revision {
            return Ok(());
        }
        match self.stream.write(frame) {
            Ok(written) => {
                self.shown = revision;
                if written < frame.len() {
                    self.rest = Some((frame.clone(), written));
                    self.blocked = true;
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while let (false, Some((rest, written))) = (self.blocked, &mut self.rest) {
            match self.stream.write(&rest[*written..]) {
                Ok(more) => *written += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) => return Err(error),
            }
            if *written == rest.len() {
                self.rest = None;
            }
        }
        Ok(())
    }
}
