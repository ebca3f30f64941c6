//! Clients of a soak: writers to a name space that moves on, and readers that come, come back,
//! wander, stall and go.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use memchr::memmem;
use socket2::{Domain, Socket, Type};

use crate::message::{self, Message};
use crate::plain::Plain;
use crate::ws;
use fastrand::Rng;

/// Resources that exist at a time. Each new one replaces the oldest, under a name that was never
/// used.
const LIVE: u64 = 4000;
/// The younger ones of these, which are read and changed: a write to one that is being removed
/// would make it again, for good.
const YOUNG: u64 = LIVE / 2;
/// Resources of a group. A group goes when its last resource does.
const GROUP: u64 = 20;
const WRITERS: u64 = 2;
/// Links that a session opens at once, and later changes of its links.
const LINKS: usize = 40;
/// Duration of a visit.
const STAY_MS: Range<u64> = 500..8000;
const STALL_MS: Range<u64> = 1000..5000;
/// The receive buffer of readers: so small that the server notices a stall.
const RECEIVE_BUFFER: usize = 8 << 10;
/// Time that a read waits, and so the largest delay of a reader's next step.
const WAIT: Duration = Duration::from_millis(100);
/// Time until a client that was cut off comes back.
const PAUSE: Duration = Duration::from_millis(50);

/// State that all of them share.
pub(super) struct World {
    address: SocketAddr,
    /// The next resource that will be made.
    next: AtomicU64,
    over: AtomicBool,
    pub(super) writes: AtomicU64,
    pub(super) visits: AtomicU64,
    pub(super) resumes: AtomicU64,
    pub(super) stalls: AtomicU64,
    /// Answers and ends that were not as they should be.
    pub(super) surprises: AtomicU64,
}

pub(super) struct Actors {
    pub(super) world: Arc<World>,
    threads: Vec<JoinHandle<()>>,
}

impl Actors {
    pub(super) fn start(
        address: SocketAddr,
        readers: u32,
        writes_per_second: u32,
    ) -> io::Result<Actors> {
        let counter = || AtomicU64::new(0);
        let world = Arc::new(World {
            address,
            next: AtomicU64::new(LIVE),
            over: AtomicBool::new(false),
            writes: counter(),
            visits: counter(),
            resumes: counter(),
            stalls: counter(),
            surprises: counter(),
        });
        world.fill()?;
        let mut actors = Actors { world, threads: Vec::new() };
        for number in 0..WRITERS {
            let rate = f64::from(writes_per_second) / WRITERS as f64;
            actors.add(move |world| world.write(rate, Rng::with_seed(number)));
        }
        for number in 0..u64::from(readers) {
            let random = Rng::with_seed(1000 + number);
            // Two of three are sessions.
            match number % 3 {
                0 => actors.add(|world| world.read_streams(random)),
                _ => actors.add(|world| world.read_sessions(random)),
            }
        }
        Ok(actors)
    }

    fn add(&mut self, work: impl FnOnce(&World) + Send + 'static) {
        let world = self.world.clone();
        self.threads.push(thread::spawn(move || work(&world)));
    }
}

impl Drop for Actors {
    fn drop(&mut self) {
        self.world.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn group(number: u64) -> String {
    format!("/soak/g{}", number / GROUP)
}

fn path(number: u64) -> String {
    format!("{}/r{number}", group(number))
}

/// The first value of a resource. Most of its names are shared by all, one is its own.
fn value(number: u64, random: &mut Rng) -> String {
    let filler = "x".repeat(random.usize(0..120));
    format!(
        r#"{{"name":"r{number}","status":"new","position":{{"x":{},"y":{}}},"only-{number}":true,"note":"{filler}"}}"#,
        random.usize(0..1_000_000),
        random.usize(0..1_000_000)
    )
}

impl World {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A resource that will not be removed soon.
    fn young(&self, random: &mut Rng) -> u64 {
        let next = self.next.load(Ordering::Relaxed);
        next - 1 - random.usize(0..YOUNG as usize) as u64
    }

    fn fill(&self) -> io::Result<()> {
        let (mut plain, mut random) = (Plain::new(self.address), Rng::with_seed(0));
        for number in 0..LIVE {
            plain.put(&path(number), value(number, &mut random).as_bytes())?;
        }
        Ok(())
    }

    fn write(&self, rate: f64, mut random: Rng) {
        let mut plain = Plain::new(self.address);
        let start = Instant::now();
        let mut done = 0u64;
        while self.goes_on() {
            if done as f64 >= start.elapsed().as_secs_f64() * rate {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            let mut ask = |method: &str, path: &str, kind: &str, body: &str| {
                done += 1;
                self.count(&self.writes);
                let body = (!kind.is_empty()).then_some((kind, body.as_bytes()));
                // A resource that was removed meanwhile is not there.
                if !plain
                    .ask(method, path, body)
                    .is_ok_and(|answer| matches!(answer.status, 200..300 | 404))
                {
                    self.count(&self.surprises);
                }
            };
            let (json, merge) = ("application/json", "application/merge-patch+json");
            match random.usize(0..100) {
                0..30 => {
                    let new = self.next.fetch_add(1, Ordering::Relaxed);
                    ask("PUT", &path(new), json, &value(new, &mut random));
                    let old = new - LIVE;
                    ask("DELETE", &path(old), "", "");
                    if old % GROUP == GROUP - 1 {
                        ask("DELETE", &group(old), "", "");
                    }
                }
                30..70 => {
                    let at = path(self.young(&mut random)) + "/position";
                    let body = format!(r#"{{"x":{},"y":0}}"#, random.usize(0..1_000_000));
                    ask("PUT", &at, json, &body);
                }
                70..90 => {
                    let status = random.usize(0..5);
                    let body = format!(
                        r#"{{"status":"s{status}","tag-{}":1}}"#,
                        random.usize(0..1_000_000_000)
                    );
                    ask("PATCH", &path(self.young(&mut random)), merge, &body);
                }
                _ => {
                    // Writes the whole value again, so that members come and go.
                    let number = self.young(&mut random);
                    ask("PUT", &path(number), json, &value(number, &mut random));
                }
            }
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_tcp_nodelay(true)?;
        socket.connect(&self.address.into())?;
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    /// Makes visits, one after the other. `visit` is told whether the reader comes back.
    fn visit(&self, random: &mut Rng, mut visit: impl FnMut(&mut Rng, bool) -> io::Result<()>) {
        let mut comes_back = false;
        while self.goes_on() {
            self.count(&self.visits);
            if comes_back {
                self.count(&self.resumes);
            }
            let visited = visit(random, comes_back);
            if visited.is_err() && self.goes_on() {
                self.count(&self.surprises);
                thread::sleep(PAUSE);
            }
            comes_back = visited.is_ok() && random.usize(0..2) == 0;
        }
    }

    /// Waits without reading, now and then.
    fn may_stall(&self, random: &mut Rng) {
        if random.usize(0..60) == 0 {
            self.count(&self.stalls);
            let until = Instant::now() + Duration::from_millis(random.u64(STALL_MS));
            while self.goes_on() && Instant::now() < until {
                thread::sleep(WAIT);
            }
        }
    }

    /// The path of a stream: mostly a resource, sometimes a group, seldom everything.
    fn place(&self, random: &mut Rng) -> String {
        match random.usize(0..20) {
            0 => "/soak".to_owned(),
            1..5 => group(self.young(random)),
            _ => path(self.young(random)),
        }
    }

    fn read_streams(&self, mut random: Rng) {
        let (mut place, mut cursor) = (String::new(), String::new());
        self.visit(&mut random, |random, comes_back| {
            if !comes_back {
                (place, cursor) = (self.place(random), String::new());
            }
            let mut stream = self.connect()?;
            let since = if cursor.is_empty() {
                String::new()
            } else {
                format!("last-event-id: {cursor}\r\n")
            };
            let host = self.address;
            write!(
                stream,
                "GET {place} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n{since}\r\n"
            )?;
            let until = Instant::now() + Duration::from_millis(random.u64(STAY_MS));
            let mut tail = Vec::new();
            while self.goes_on() && Instant::now() < until {
                self.may_stall(random);
                if !read_more(&mut stream, &mut tail)? {
                    continue;
                }
                // The last cursor of a whole event. (None is ever cut in two by the end of a
                // chunk.)
                let whole = memmem::rfind(&tail, b"\n\n").map_or(0, |at| at + 2);
                if let Some(at) = memmem::rfind(&tail[..whole], b"\nid: ") {
                    let id = tail[at + 5..].split(|byte| *byte == b'\n').next().unwrap_or_default();
                    cursor = String::from_utf8_lossy(id).into_owned();
                }
                tail.drain(..whole);
            }
            Ok(())
        });
    }

    fn read_sessions(&self, mut random: Rng) {
        let (mut places, mut cursor) = (Vec::new(), String::new());
        self.visit(&mut random, |random, comes_back| {
            let mut session = Session::open(self.connect()?, self.address)?;
            if !comes_back {
                cursor.clear();
                places = (0..1 + random.usize(0..LINKS)).map(|_| self.place(random)).collect();
            }
            let (mut first, mut next) = (0, 0);
            session.watch(&mut next, &places, &cursor)?;
            let until = Instant::now() + Duration::from_millis(random.u64(STAY_MS));
            while self.goes_on() && Instant::now() < until {
                self.may_stall(random);
                session.read(&mut cursor)?;
                if random.usize(0..10) == 0 && first < next {
                    // The oldest link goes, and others come: the earlier cursor does not cover
                    // these.
                    session.say(&format!("{{\"unwatch\":{first}}}"))?;
                    first += 1;
                    places = (0..1 + random.usize(0..4)).map(|_| self.place(random)).collect();
                    session.watch(&mut next, &places, "")?;
                }
            }
            // Some close the session first, others only the connection.
            if random.usize(0..3) == 0 {
                session.close()?;
            }
            Ok(())
        });
    }
}

/// Reads once. False if nothing came for a while.
fn read_more(stream: &mut TcpStream, tail: &mut Vec<u8>) -> io::Result<bool> {
    let mut bytes = [0; 16 << 10];
    match stream.read(&mut bytes) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(read) => {
            tail.extend_from_slice(&bytes[..read]);
            Ok(true)
        }
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

struct Session {
    stream: TcpStream,
    tail: Vec<u8>,
}

impl Session {
    fn open(mut stream: TcpStream, host: SocketAddr) -> io::Result<Session> {
        let (key, subprotocol) = (ws::KEY, ws::SUBPROTOCOL);
        write!(
            stream,
            "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\nsec-websocket-protocol: {subprotocol}\r\n\r\n"
        )?;
        let (mut tail, began) = (Vec::new(), Instant::now());
        let head = loop {
            read_more(&mut stream, &mut tail)?;
            if let Some(at) = memmem::find(&tail, b"\r\n\r\n") {
                break at + 4;
            }
            if began.elapsed() > Duration::from_secs(10) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        };
        if !tail.starts_with(b"HTTP/1.1 101") {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        tail.drain(..head);
        Ok(Session { stream, tail })
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        let mut frame = Vec::new();
        ws::push_masked(&mut frame, ws::TEXT, text.as_bytes());
        self.stream.write_all(&frame)
    }

    fn watch(&mut self, next: &mut u32, places: &[String], since: &str) -> io::Result<()> {
        let pairs: Vec<String> =
            places.iter().zip(*next..).map(|(place, id)| format!("[{id},\"{place}\"]")).collect();
        *next += places.len() as u32;
        let since =
            if since.is_empty() { String::new() } else { format!(",\"since\":\"{since}\"") };
        self.say(&format!("{{\"watch\":[{}]{since}}}", pairs.join(",")))
    }

    /// Handles received messages, or waits a little for some.
    fn read(&mut self, cursor: &mut String) -> io::Result<()> {
        read_more(&mut self.stream, &mut self.tail)?;
        let (mut start, mut pong) = (0, Vec::new());
        while let Some(head) = ws::head(&self.tail[start..]) {
            let payload = &self.tail[start + head.payload_at..start + head.end];
            match head.opcode {
                ws::PING => ws::push_masked(&mut pong, ws::PONG, payload),
                ws::TEXT => match message::read(payload) {
                    Message::State { cursor: now, synced: true } => {
                        *cursor = String::from_utf8_lossy(now).into_owned();
                    }
                    Message::State { .. } | Message::Answer => {}
                    Message::Problem => return Err(io::ErrorKind::InvalidData.into()),
                },
                _ => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
            start += head.end;
        }
        self.tail.drain(..start);
        if pong.is_empty() { Ok(()) } else { self.stream.write_all(&pong) }
    }

    fn close(&mut self) -> io::Result<()> {
        let mut frame = Vec::new();
        ws::push_masked(&mut frame, ws::CLOSE, &1000u16.to_be_bytes());
        self.stream.write_all(&frame)
    }
}
