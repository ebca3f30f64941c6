//! The floor: the least that a server could do. One thread, one loop, and for each update one
//! `write` of the same bytes to each reader; while a reader's socket is full, only the newest value
//! of each of its links waits for it.
//!
//! With a directory, writes are appended to a file there, all of one turn of the loop at once, and
//! answered when that is synced.
//!
//! It speaks just enough HTTP and WebSocket for the load: values are at `/bench/N`, and link N is
//! always that value. Nothing is checked or limited.

mod connection;
mod request;
mod value;

use std::fs::File;
use std::io::{self, Write};
use std::thread;

use anyhow::{Result, anyhow};
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use self::connection::Connection;
use self::request::Request;
use self::value::{Role, Value, Values};
use crate::args::FloorServer;
use crate::ws;

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 64 << 10;

/// The head of an event stream.
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
content-type: text/event-stream\r\n\
cache-control: no-store, no-transform\r\n\
transfer-encoding: chunked\r\n\r\n\
D\r\nretry: 1000\n\n\r\n";
const WRITTEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Serves until the process that started this one ends.
pub(super) fn serve(args: &FloorServer) -> Result<()> {
    end_with_stdin();
    run(args).map_err(|error| anyhow!("the floor failed: {error}"))
}

/// Ends this process when its stdin ends: it does not outlive the process that holds the other
/// side, however that one ends.
fn end_with_stdin() {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(0);
    });
}

fn run(args: &FloorServer) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(args.listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    eprintln!("floor listening on http://{}", listener.local_addr()?);
    let mut floor = Floor {
        connections: Vec::new(),
        free: Vec::new(),
        values: Values::default(),
        unsent_bytes: args.unsent_bytes,
        scratch: vec![0; READ_BYTES],
        log: args.data.as_ref().map(|data| File::create(data.join("log"))).transpose()?,
        unsynced: Vec::new(),
        unanswered: Vec::new(),
    };
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
        floor.sync()?;
    }
}

struct Floor {
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    values: Values,
    unsent_bytes: u32,
    scratch: Vec<u8>,
    /// The file that makes writes durable, if there is one.
    log: Option<File>,
    /// Writes of this turn, and their writers.
    unsynced: Vec<u8>,
    unanswered: Vec<usize>,
}

impl Floor {
    /// Syncs the writes of this turn and answers them.
    fn sync(&mut self) -> io::Result<()> {
        let Some(log) = self.log.as_mut().filter(|_| !self.unanswered.is_empty()) else {
            return Ok(());
        };
        log.write_all(&self.unsynced)?;
        log.sync_data()?;
        self.unsynced.clear();
        for place in self.unanswered.drain(..) {
            if let Some(writer) = &mut self.connections[place] {
                writer.push(WRITTEN);
                // A connection that is gone is noticed when it is read from.
                let _ = writer.pump(&mut self.values);
            }
        }
        Ok(())
    }

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
            socket.set_tcp_notsent_lowat(self.unsent_bytes)?;
            let _ = socket;
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            poll.registry().register(
                &mut stream,
                Token(place),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            self.connections[place] = Some(Box::new(Connection::new(stream)));
        }
    }

    fn handle(&mut self, place: usize, event: &Event) {
        let Some(mut connection) = self.connections[place].take() else { return };
        let mut is_open = true;
        if event.is_readable() {
            is_open = connection.read(&mut self.scratch).unwrap_or(false);
            while let Some(request) = request::next(&mut connection.input, connection.role) {
                self.answer(place, &mut connection, request);
            }
            connection.input.shrink_to_fit();
        }
        if event.is_writable() {
            connection.is_blocked = false;
        }
        let sent = connection.pump(&mut self.values);
        if is_open && sent.is_ok() {
            self.connections[place] = Some(connection);
        } else {
            self.values.forget(place, connection.links.iter().map(|link| link.value));
            self.free.push(place);
        }
    }

    fn answer(&mut self, place: usize, connection: &mut Connection, request: Request) {
        match request {
            Request::Events(value) => {
                connection.role = Role::Events;
                connection.push(STREAM_HEAD);
                self.values.watch(place, connection.watch(value), value);
            }
            Request::Session => {
                connection.role = Role::Session;
                let (accept, subprotocol) = (ws::ACCEPT, ws::SUBPROTOCOL);
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-accept: {accept}\r\nsec-websocket-protocol: {subprotocol}\r\n\r\n"
                );
                connection.push(head.as_bytes());
            }
            Request::Watch { values, since, reference } => {
                if let Some(reference) = reference {
                    let mut answer = Vec::new();
                    let text = format!("{{\"ref\":{reference},\"status\":200}}");
                    ws::push(&mut answer, ws::TEXT, text.as_bytes());
                    connection.push(&answer);
                }
                for value in values {
                    let link = connection.watch(value);
                    self.values.watch(place, link, value);
                    connection.resume(link, self.values.at(value), since);
                }
                connection.owes_synced = true;
            }
            Request::Put { value, body } if self.log.is_some() => {
                self.unsynced.extend_from_slice(&body);
                self.unanswered.push(place);
                self.deliver(value, body, "snapshot");
            }
            Request::Put { value, body } => {
                self.deliver(value, body, "snapshot");
                connection.push(WRITTEN);
            }
            Request::Merge { value, body } => {
                self.deliver(value, body, "merge");
                connection.push(WRITTEN);
            }
            Request::MergeAll(bodies) => {
                for (value, body) in bodies {
                    self.deliver(value, body, "snapshot");
                }
                connection.push(WRITTEN);
            }
        }
    }

    /// Writes a value, and shows it to all its readers.
    fn deliver(&mut self, number: u32, body: Vec<u8>, kind: &'static str) {
        self.values.write(number, body, kind);
        let revision = self.values.revision;
        let value: &mut Value = self.values.at_mut(number);
        for at in 0..value.readers.len() {
            let (place, link) = value.readers[at];
            if let Some(reader) = &mut self.connections[place as usize] {
                // A connection that is gone is noticed when it is read from.
                let _ = reader.show(link, value, revision);
            }
        }
    }
}
