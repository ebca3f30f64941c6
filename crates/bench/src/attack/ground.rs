//! Attackers: threads of the lowest priority, since real ones have machines of their own.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::terms::Terms;
use crate::ws;

/// The receive buffer of a connection that is not read.
pub(super) const RECEIVE_BUFFER: usize = 4 << 10;
/// Bytes of one write or read.
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// Time to wait for an answer after everything was sent.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two tries at a socket that takes nothing.
pub(super) const PAUSE: Duration = Duration::from_millis(2);
/// Time between two checks of silent connections.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Time between two changes of a value that is read.
pub(super) const CHANGE: Duration = Duration::from_millis(20);
/// The lowest priority.
const NICE: i32 = 19;

/// The results of an attack, as the attackers saw it.
#[derive(Default)]
pub(super) struct Tally {
    /// Answers and events, with their counts.
    pub(super) counts: BTreeMap<String, u64>,
    /// Times that a client waited for.
    pub(super) times_us: BTreeMap<&'static str, Vec<u32>>,
    /// Faults of the server that nothing excuses, with their counts.
    pub(super) faults: BTreeMap<String, u64>,
}

/// An attack that goes on until it is dropped or ended.
pub(super) struct Attackers {
    ground: Arc<Ground>,
    threads: Vec<JoinHandle<()>>,
}

/// The work of one thread. Its argument is the thread's number among those with the same work.
pub(super) type Work = fn(&Ground, usize);

/// State shared by all attackers of one attack.
pub(super) struct Ground {
    pub(super) address: SocketAddr,
    pub(super) terms: Terms,
    over: AtomicBool,
    tally: Mutex<Tally>,
}

impl Attackers {
    pub(super) fn start(crew: &[(usize, Work)], address: SocketAddr, terms: &Terms) -> Attackers {
        let ground = Arc::new(Ground {
            address,
            terms: terms.clone(),
            over: AtomicBool::new(false),
            tally: Mutex::default(),
        });
        let mut threads = Vec::new();
        for (count, work) in crew {
            for number in 0..*count {
                let (ground, work) = (ground.clone(), *work);
                threads.push(thread::spawn(move || {
                    lower_priority();
                    work(&ground, number);
                }));
            }
        }
        Attackers { ground, threads }
    }

    /// Ends the attack and closes its connections.
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

impl Ground {
    pub(super) fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Waits. True if the attack still goes on.
    pub(super) fn rest(&self, time: Duration) -> bool {
        let start = Instant::now();
        while self.goes_on() && start.elapsed() < time {
            thread::sleep(CHECK_INTERVAL.min(time.saturating_sub(start.elapsed())));
        }
        self.goes_on()
    }

    fn note(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn count(&self, what: &str) {
        self.note(|tally| *tally.counts.entry(what.to_owned()).or_default() += 1);
    }

    /// Notes the time that a client waited for something.
    pub(super) fn took(&self, what: &'static str, time: Duration) {
        let us = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.note(|tally| tally.times_us.entry(what).or_default().push(us));
    }

    /// Notes a fault that no server should have.
    pub(super) fn fault(&self, what: &str) {
        self.note(|tally| *tally.faults.entry(what.to_owned()).or_default() += 1);
    }

    /// Repeats some work with each of several things, and counts the results.
    pub(super) fn again<T>(
        &self,
        first: usize,
        things: &[T],
        work: impl Fn(&Ground, &T) -> io::Result<String>,
    ) {
        for thing in things.iter().cycle().skip(first) {
            if !self.goes_on() {
                break;
            }
            match work(self, thing) {
                Ok(what) => self.count(&what),
                // The pause keeps it from asking an unreachable server again at once.
                Err(_) if self.goes_on() => {
                    self.count("cut");
                    thread::sleep(PAUSE);
                }
                Err(_) => {}
            }
        }
    }

    /// Opens a connection. `receive_buffer` is for one that will not be read.
    pub(super) fn connect(&self, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.connect_timeout(&self.address.into(), PATIENCE)?;
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Opens a session.
    pub(super) fn session(&self, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
        self.session_with(receive_buffer, "")
    }

    /// Opens a session that may send and receive compressed messages.
    pub(super) fn compressed_session(&self) -> io::Result<TcpStream> {
        self.session_with(None, "sec-websocket-extensions: permessage-deflate\r\n")
    }

    fn session_with(&self, receive_buffer: Option<usize>, header: &str) -> io::Result<TcpStream> {
        let mut stream = self.connect(receive_buffer)?;
        let (host, key, subprotocol) = (self.address, ws::KEY, ws::SUBPROTOCOL);
        write!(
            stream,
            "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\
             sec-websocket-protocol: {subprotocol}\r\n{header}\r\n"
        )?;
        let head = read_head(&mut stream)?;
        if head.starts_with(b"HTTP/1.1 101") {
            Ok(stream)
        } else {
            Err(io::ErrorKind::ConnectionRefused.into())
        }
    }

    /// Waits until the attack is over or the server closes the connection.
    pub(super) fn wait_for_close(&self, stream: &TcpStream) {
        while self.goes_on() {
            thread::sleep(CHECK_INTERVAL);
            if !matches!(stream.peek(&mut [0; 1]), Ok(1)) {
                self.count("closed");
                return;
            }
        }
    }

    /// Reads and discards everything until the attack is over or the server closes.
    pub(super) fn discard(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(CHECK_INTERVAL))?;
        let mut bytes = vec![0; PIECE_BYTES];
        while self.goes_on() {
            match stream.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends so many bytes in equal pieces, or as many as the server takes. Returns the answer.
    pub(super) fn send_pieces(
        &self,
        mut stream: TcpStream,
        [head, piece]: [&[u8]; 2],
        bytes_in_all: u64,
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
            if sent < bytes_in_all {
                match stream.write(&all[in_piece..]) {
                    Ok(taken) => {
                        sent += taken as u64;
                        in_piece += taken;
                        if in_piece == all.len() {
                            (all, in_piece) = (piece, 0);
                        }
                    }
                    Err(error) if would_block(&error) => thread::sleep(PAUSE),
                    // An earlier answer may still be there to read.
                    Err(_) => sent = bytes_in_all,
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
}

/// Gives the calling thread the lowest priority.
pub(super) fn lower_priority() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// Reads the head of an answer, and no byte more.
pub(super) fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

/// The status of the first answer.
pub(super) fn http_status(read: &[u8]) -> Option<String> {
    let status = read.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    Some(String::from_utf8_lossy(status).into_owned())
}

/// The code with which a session was closed.
pub(super) fn close_code(read: &[u8]) -> Option<String> {
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
}
