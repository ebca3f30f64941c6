//! Those who attack: threads of the lowest priority, since in earnest they would have machines of their own.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use memchr::memmem;
use socket2::{Domain, Socket, Type};

use super::kinds::{
    AT_ONCE, FLOODS, LARGE_BYTES, SILENT_CONNECTIONS, SLOW_BODY_BYTES, SLOW_CONNECTIONS, SLOW_VALUE_BYTES,
    UNREAD_BYTES, UNREAD_STREAMS,
};
use crate::args::Attack;
use crate::commands::bench::plain::{Answer, Plain};
use crate::commands::bench::ws;
use crate::report::{Blame, Failure};

/// The value that is read slowly, or not at all.
const VALUE: &str = "/attack/value";
/// What so many links show.
const CROWD: &str = "/attack/crowd";
/// Bytes of a merge patch that changes a part of it: so small that the commit as such, which holds up others whoever reads, is short.
const PATCH_BYTES: usize = 2 << 10;
/// Bytes of a command that opens many links.
const COMMAND_BYTES: usize = 16 << 10;
/// Members of the value that is an object.
const MEMBERS: u64 = 10_000;
/// The receive buffer of who does not read.
const RECEIVE_BUFFER: usize = 4 << 10;
/// Bytes that are sent at once.
const PIECE_BYTES: usize = 64 << 10;
/// How long an answer may take after everything was sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Until a socket that takes nothing is asked again.
const PAUSE: Duration = Duration::from_millis(2);
/// Between two looks at connections that say nothing.
const LOOK: Duration = Duration::from_millis(250);
/// Between two changes of what is not read.
const CHANGE: Duration = Duration::from_millis(20);
/// The lowest priority there is.
const NICE: i32 = 19;

/// What the attackers were answered, and how often.
pub(super) type Tally = BTreeMap<String, u64>;

/// An attack that goes on until it is dropped or ended.
pub(super) struct Attackers {
    ground: Arc<Ground>,
    threads: Vec<JoinHandle<()>>,
}

struct Ground {
    address: SocketAddr,
    links: u32,
    /// Bytes of one body or message that the server reads as a whole.
    whole_bytes: usize,
    over: AtomicBool,
    tally: Mutex<Tally>,
}

/// Makes what an attack needs to be there.
pub(super) fn prepare(attack: Attack, links: u32, plain: &mut Plain) -> io::Result<()> {
    match attack {
        Attack::SlowRead => expect(plain.put(VALUE, &text(SLOW_VALUE_BYTES))?),
        Attack::UnreadStrings => expect(plain.put(VALUE, &text(UNREAD_BYTES))?),
        Attack::UnreadStreams => {
            let filler = "x".repeat((UNREAD_BYTES / MEMBERS) as usize - 12);
            let members: Vec<String> =
                (0..MEMBERS).map(|member| format!("\"m{member:06}\":\"{filler}\"")).collect();
            expect(plain.put(VALUE, format!("{{{}}}", members.join(",")).as_bytes())?)
        }
        Attack::UnreadLinks => sweep(plain, links, 0, || true),
        _ => Ok(()),
    }
}

fn expect(answer: Answer) -> io::Result<()> {
    match answer.status {
        200..300 => Ok(()),
        status => Err(io::Error::other(format!("a write was answered with {status}"))),
    }
}

/// A JSON string of so many bytes.
fn text(bytes: u64) -> Vec<u8> {
    let mut text = vec![b'x'; bytes as usize];
    (text[0], text[bytes as usize - 1]) = (b'"', b'"');
    text
}

/// Writes each member of the crowd once.
fn sweep(plain: &mut Plain, links: u32, round: u64, go_on: impl Fn() -> bool) -> io::Result<()> {
    let mut patch = String::new();
    for member in 0..links {
        patch.push(if patch.is_empty() { '{' } else { ',' });
        patch.push_str(&format!("\"{member}\":{round}"));
        if patch.len() >= PATCH_BYTES || member + 1 == links {
            patch.push('}');
            expect(plain.merge(CROWD, patch.as_bytes())?)?;
            patch.clear();
            if !go_on() {
                break;
            }
        }
    }
    Ok(())
}

impl Attackers {
    pub(super) fn start(
        attack: Attack,
        address: SocketAddr,
        links: u32,
        whole_bytes: usize,
    ) -> Result<Attackers, Failure> {
        let ground = Arc::new(Ground {
            address,
            links,
            whole_bytes,
            over: AtomicBool::new(false),
            tally: Mutex::default(),
        });
        let mut attackers = Attackers { ground, threads: Vec::new() };
        match attack {
            Attack::Nothing => {}
            Attack::SlowHeaders | Attack::SlowBody | Attack::SlowRead => {
                // Started once here, so that it is known to be there.
                let first = attackers.ground.slowhttptest(attack)?;
                attackers.add(move |ground| ground.keep_slow(attack, first));
            }
            Attack::IdleConnections => attackers.add(|ground| ground.stay(b"")),
            Attack::HalfPrefaces => attackers.add(|ground| ground.stay(b"P")),
            Attack::LargeBodies => {
                for first in 0..AT_ONCE as usize {
                    attackers.add(move |ground| ground.again(first, &Framing::ALL, Ground::large_body));
                }
            }
            Attack::LargeMessages => {
                for first in 0..AT_ONCE as usize {
                    attackers.add(move |ground| ground.again(first, &[false, true], Ground::large_message));
                }
            }
            Attack::DepthBombs => {
                let bombs = Arc::new(bombs(whole_bytes - 1024));
                for first in 0..AT_ONCE as usize {
                    let bombs = bombs.clone();
                    attackers.add(move |ground| ground.again(first, &bombs, Ground::throw));
                }
            }
            Attack::CommandFloods => {
                for _ in 0..FLOODS {
                    attackers.add(Ground::flood);
                }
            }
            Attack::UnreadLinks => {
                attackers.add(Ground::open_links);
                attackers.add(|ground| {
                    let mut plain = Plain::new(ground.address);
                    for round in 1.. {
                        let go_on = || {
                            thread::sleep(PAUSE);
                            ground.goes_on()
                        };
                        let swept = sweep(&mut plain, ground.links, round, go_on);
                        if swept.is_err() || !ground.goes_on() {
                            break;
                        }
                        ground.count("sweeps of all links");
                    }
                });
            }
            Attack::UnreadStreams | Attack::UnreadStrings => {
                attackers.add(Ground::open_streams);
                attackers.add(move |ground| ground.change(attack));
            }
        }
        Ok(attackers)
    }

    fn add(&mut self, work: impl FnOnce(&Ground) + Send + 'static) {
        let ground = self.ground.clone();
        self.threads.push(thread::spawn(move || {
            #[cfg(target_os = "linux")]
            let _ = rustix::process::setpriority_process(None, NICE);
            work(&ground);
        }));
    }

    /// Ends the attack: nobody is connected any more.
    pub(super) fn end(mut self) -> Tally {
        self.stop();
        std::mem::take(&mut self.ground.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stop(&mut self) {
        self.ground.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How it is said where a body ends.
#[derive(Clone, Copy)]
enum Framing {
    Length,
    Chunks,
    /// Not at all: to the server it is the next request.
    None,
}

impl Framing {
    const ALL: [Framing; 3] = [Framing::Length, Framing::Chunks, Framing::None];
}

/// Something that is nested deeply.
struct Bomb {
    name: &'static str,
    /// Method and type, or a session's message.
    request: Option<(&'static str, &'static str)>,
    text: Vec<u8>,
}

fn bombs(bytes: usize) -> Vec<Bomb> {
    const MERGE: Option<(&str, &str)> = Some(("PATCH", "application/merge-patch+json"));
    const PATCH: Option<(&str, &str)> = Some(("PATCH", "application/json-patch+json"));
    const PUT: Option<(&str, &str)> = Some(("PUT", "application/json"));
    let arrays = "[".repeat(bytes);
    let objects = r#"{"a":"#.repeat(bytes / 5);
    let deep = |name, request, before: &str, nested: &str, after: &str| Bomb {
        name,
        request,
        text: [before, nested, after].concat().into_bytes(),
    };
    // Nested rightly and closed, so that nothing but its depth is wrong.
    let closed = "[".repeat(bytes / 2) + &"]".repeat(bytes / 2);
    let pointer = "/a".repeat(bytes / 2);
    vec![
        deep("put arrays", PUT, "", &arrays, ""),
        deep("put closed arrays", PUT, "", &closed, ""),
        deep("put objects", PUT, "", &objects, ""),
        deep("merge objects", MERGE, "", &objects, ""),
        deep("patch value", PATCH, r#"[{"op":"add","path":"","value":"#, &arrays, ""),
        deep("patch pointer", PATCH, r#"[{"op":"add","path":""#, &pointer, r#"","value":1}]"#),
        deep("session arrays", None, "", &arrays, ""),
        deep("session value", None, r#"{"ref":1,"put":"/attack/deep","value":"#, &closed, "}"),
        deep("session patch", None, r#"{"ref":1,"merge":"/attack/deep","value":"#, &objects, ""),
        deep("session path", None, r#"{"ref":1,"get":""#, &pointer, r#""}"#),
    ]
}

impl Ground {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn count(&self, what: &str) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        *tally.entry(what.to_owned()).or_default() += 1;
    }

    /// Does the same again and again with each of several things, and counts what came of it.
    fn again<T>(&self, first: usize, things: &[T], work: fn(&Ground, &T) -> io::Result<String>) {
        for thing in things.iter().cycle().skip(first) {
            if !self.goes_on() {
                break;
            }
            match work(self, thing) {
                Ok(what) => self.count(&what),
                // A server that cannot be reached would be asked again at once.
                Err(_) if self.goes_on() => {
                    self.count("cut");
                    thread::sleep(PAUSE);
                }
                Err(_) => {}
            }
        }
    }

    fn connect(&self, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect_timeout(&self.address.into(), PATIENCE)?;
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn slowhttptest(&self, attack: Attack) -> Result<Child, Failure> {
        let path = if attack == Attack::SlowRead { VALUE } else { "/attack" };
        let url = format!("http://{}{path}", self.address);
        let (connections, length) = (SLOW_CONNECTIONS.to_string(), SLOW_BODY_BYTES.to_string());
        let kind = attack.slowhttptest().unwrap_or_default();
        let mut words = vec!["-n", "19", "slowhttptest", kind, "-u", &url, "-c", &connections];
        words.extend(["-r", "1000", "-i", "2", "-l", "600", "-p", "3", "-v", "0"]);
        words.extend(match attack {
            Attack::SlowRead => vec!["-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3"],
            Attack::SlowBody => vec!["-s", &length, "-x", "10", "-t", "PUT", "-f", "application/json"],
            _ => vec!["-x", "24", "-t", "GET"],
        });
        let mut command = Command::new("nice");
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.spawn();
        started.map_err(|error| {
            Failure::new(Blame::Input, format!("cannot run `nice`: {error}"))
                .hint("it is one of the coreutils")
        })
    }

    /// It ends when the server has closed all of its connections; then it comes again.
    fn keep_slow(&self, attack: Attack, first: Child) {
        let mut child = first;
        while self.goes_on() {
            thread::sleep(LOOK);
            if let Ok(Some(_)) = child.try_wait() {
                self.count("all connections closed");
                match self.slowhttptest(attack) {
                    Ok(next) => child = next,
                    Err(_) => return,
                }
            }
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Many connections on which nothing more is said. One that the server closes is opened again.
    fn stay(&self, word: &[u8]) {
        let open = || {
            let mut stream = self.connect(None)?;
            stream.write_all(word)?;
            stream.set_nonblocking(true)?;
            io::Result::Ok(stream)
        };
        let mut streams: Vec<Option<TcpStream>> = (0..SILENT_CONNECTIONS).map(|_| None).collect();
        while self.goes_on() {
            for place in &mut streams {
                match place {
                    None => *place = open().ok(),
                    Some(stream) => match stream.read(&mut [0; 512]) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Ok(read) if read > 0 => self.count("answered"),
                        _ => {
                            self.count("closed");
                            *place = None;
                        }
                    },
                }
                if !self.goes_on() {
                    return;
                }
            }
            thread::sleep(LOOK);
        }
    }

    fn large_body(&self, framing: &Framing) -> io::Result<String> {
        let (name, header) = match framing {
            Framing::Length => ("length", format!("content-length: {LARGE_BYTES}\r\n")),
            Framing::Chunks => ("chunks", "transfer-encoding: chunked\r\n".to_owned()),
            Framing::None => ("neither", String::new()),
        };
        let host = self.address;
        let head = format!(
            "PUT /attack/large HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{header}\r\n\""
        );
        let stream = self.connect(None)?;
        // The first byte of the body is in the head, so that it is a string that goes on and on.
        let head = match framing {
            Framing::Chunks => head.replace("\r\n\r\n\"", "\r\n\r\n1\r\n\"\r\n"),
            _ => head,
        };
        let mut piece = Vec::new();
        if matches!(framing, Framing::Chunks) {
            piece.extend_from_slice(format!("{PIECE_BYTES:x}\r\n").as_bytes());
        }
        piece.resize(piece.len() + PIECE_BYTES, b'x');
        if matches!(framing, Framing::Chunks) {
            piece.extend_from_slice(b"\r\n");
        }
        let answered = self.pour(stream, head.as_bytes(), &piece, http_status)?;
        Ok(format!("{name}: {answered}"))
    }

    fn large_message(&self, as_fragments: &bool) -> io::Result<String> {
        let stream = self.session(None)?;
        let (name, mut head, mut piece) = match as_fragments {
            false => ("message", vec![ws::TEXT | 0x80, 0xFF], Vec::new()),
            true => ("fragments", vec![ws::TEXT, 0x80 | 1, 0, 0, 0, 0, b'"'], vec![0, 0xFF]),
        };
        let lengths = if *as_fragments { &mut piece } else { &mut head };
        let length = if *as_fragments { PIECE_BYTES as u64 } else { LARGE_BYTES };
        lengths.extend_from_slice(&length.to_be_bytes());
        // A mask of zeros changes nothing.
        lengths.extend_from_slice(&[0; 4]);
        piece.resize(piece.len() + PIECE_BYTES, b'x');
        let answered = self.pour(stream, &head, &piece, close_code)?;
        Ok(format!("{name}: {answered}"))
    }

    /// Sends 100 MB in equal pieces, until there is an answer and nothing more is taken. Returns the answer.
    fn pour(
        &self,
        mut stream: TcpStream,
        head: &[u8],
        piece: &[u8],
        answer: fn(&[u8]) -> Option<String>,
    ) -> io::Result<String> {
        stream.set_nonblocking(true)?;
        let would_block = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let (mut sent, mut in_piece, mut read) = (0, 0, Vec::new());
        let mut all = head;
        let mut done_at = None;
        loop {
            if !self.goes_on() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let mut bytes = [0; 4096];
            let closed = match stream.read(&mut bytes) {
                Ok(0) => true,
                Ok(more) => {
                    read.extend_from_slice(&bytes[..more]);
                    false
                }
                Err(error) => !would_block(&error),
            };
            if closed {
                return answer(&read).ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
            }
            if sent < LARGE_BYTES {
                match stream.write(&all[in_piece..]) {
                    Ok(taken) => {
                        sent += taken as u64;
                        in_piece += taken;
                        if in_piece == all.len() {
                            (all, in_piece) = (piece, 0);
                        }
                    }
                    Err(error) if would_block(&error) => thread::sleep(PAUSE),
                    // What was answered before may be there to be read.
                    Err(_) => sent = LARGE_BYTES,
                }
                continue;
            }
            let done = *done_at.get_or_insert_with(Instant::now);
            if let Some(answer) = answer(&read) {
                return Ok(answer);
            }
            if done.elapsed() > PATIENCE {
                return Ok("no answer".to_owned());
            }
            thread::sleep(PAUSE);
        }
    }

    fn throw(&self, bomb: &Bomb) -> io::Result<String> {
        let name = bomb.name;
        if let Some((method, kind)) = bomb.request {
            let answer = Plain::new(self.address).ask(method, "/attack/deep", Some((kind, &bomb.text)))?;
            return Ok(format!("{name}: {}", answer.status));
        }
        let mut stream = self.session(None)?;
        let mut message = Vec::with_capacity(bomb.text.len() + 16);
        ws::push_masked(&mut message, ws::TEXT, &bomb.text);
        stream.write_all(&message)?;
        let mut read = Vec::new();
        let mut bytes = [0; 4096];
        loop {
            let more = stream.read(&mut bytes)?;
            read.extend_from_slice(&bytes[..more]);
            if more == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let status = memmem::find(&read, b"\"status\":").and_then(|at| read.get(at + 9..at + 12));
            if let Some(status) = status {
                return Ok(format!("{name}: {}", String::from_utf8_lossy(status)));
            }
        }
    }

    /// One message with as many commands as fit, none of which can be carried out, and no word of the answer is read.
    fn flood(&self) {
        let mut text = "[".to_owned() + &"1,".repeat(self.whole_bytes / 2 - 8);
        text.push_str("1]");
        let mut message = Vec::with_capacity(text.len() + 16);
        ws::push_masked(&mut message, ws::TEXT, text.as_bytes());
        while self.goes_on() {
            let Ok(mut stream) = self.session(Some(RECEIVE_BUFFER)) else {
                thread::sleep(PAUSE);
                continue;
            };
            if stream.write_all(&message).is_err() {
                continue;
            }
            self.count("sent");
            self.linger(&stream);
        }
    }

    /// Until it is over, or the server closes the connection.
    fn linger(&self, stream: &TcpStream) {
        while self.goes_on() {
            thread::sleep(LOOK);
            if !matches!(stream.peek(&mut [0; 1]), Ok(1)) {
                self.count("closed");
                return;
            }
        }
    }

    /// Opens a session. `receive_buffer` is for one that will not be read.
    fn session(&self, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
        let mut stream = self.connect(receive_buffer)?;
        let (host, key, subprotocol) = (self.address, ws::KEY, ws::SUBPROTOCOL);
        write!(
            stream,
            "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\nsec-websocket-protocol: {subprotocol}\r\n\r\n"
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        if head.starts_with(b"HTTP/1.1 101") {
            Ok(stream)
        } else {
            Err(io::ErrorKind::ConnectionRefused.into())
        }
    }

    fn open_links(&self) {
        let opened = (|| {
            let mut stream = self.session(Some(RECEIVE_BUFFER))?;
            let (mut command, mut frame) = (String::new(), Vec::new());
            for link in 0..self.links {
                command.push_str(if command.is_empty() { "{\"watch\":[" } else { "," });
                command.push_str(&format!("[{link},\"{CROWD}/{link}\"]"));
                if command.len() >= COMMAND_BYTES || link + 1 == self.links {
                    command.push_str("]}");
                    ws::push_masked(&mut frame, ws::TEXT, command.as_bytes());
                    stream.write_all(&frame)?;
                    command.clear();
                    frame.clear();
                }
            }
            io::Result::Ok(stream)
        })();
        match opened {
            Ok(stream) => {
                self.count("opened all links");
                self.linger(&stream);
            }
            Err(_) => self.count("cut"),
        }
    }

    fn open_streams(&self) {
        let open = || {
            let mut stream = self.connect(Some(RECEIVE_BUFFER))?;
            let host = self.address;
            write!(stream, "GET {VALUE} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\r\n")?;
            io::Result::Ok(stream)
        };
        let streams: Vec<TcpStream> = (0..UNREAD_STREAMS)
            .take_while(|_| self.goes_on())
            .filter_map(|_| {
                // One after the other, so that each finds another state.
                thread::sleep(CHANGE);
                open().ok()
            })
            .collect();
        self.count(&format!("streams opened: {}", streams.len()));
        while self.goes_on() {
            thread::sleep(LOOK);
        }
    }

    /// Changes the value that is not read.
    fn change(&self, attack: Attack) {
        let mut plain = Plain::new(self.address);
        for round in 0u64.. {
            if !self.goes_on() {
                break;
            }
            let done = if attack == Attack::UnreadStrings {
                let mut value = text(UNREAD_BYTES);
                value[1..21].copy_from_slice(format!("{round:020}").as_bytes());
                plain.put(VALUE, &value)
            } else {
                let member = round.wrapping_mul(7919) % MEMBERS;
                plain.merge(VALUE, format!("{{\"m{member:06}\":\"{round}\"}}").as_bytes())
            };
            if done.is_err() {
                self.count("change failed");
            }
            thread::sleep(CHANGE);
        }
    }
}

/// The status of the first answer.
fn http_status(read: &[u8]) -> Option<String> {
    let status = read.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    Some(String::from_utf8_lossy(status).into_owned())
}

/// The code with which a session was closed.
fn close_code(read: &[u8]) -> Option<String> {
    let mut at = 0;
    while let Some(head) = ws::head(&read[at..]) {
        if head.opcode == ws::CLOSE {
            let code = read[at + head.payload_at..at + head.end].first_chunk()?;
            return Some(u16::from_be_bytes(*code).to_string());
        }
        at += head.end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        assert_eq!(http_status(b"HTTP/1.1 413 Payload Too Large\r\n").as_deref(), Some("413"));
        assert_eq!(http_status(b"HTTP/1.1 4"), None);
        let mut frames = Vec::new();
        ws::push(&mut frames, ws::TEXT, b"{}");
        ws::push(&mut frames, ws::CLOSE, &1009u16.to_be_bytes());
        assert_eq!(close_code(&frames).as_deref(), Some("1009"));
        assert_eq!(close_code(&frames[..4]), None);
    }

    #[test]
    fn a_bomb_fits_into_one_body() {
        for bomb in bombs(4096) {
            assert!((2048..=4096 + 64).contains(&bomb.text.len()), "{}", bomb.name);
        }
    }
}
