//! Plain requests, one after the other, on a connection that is kept open. They are no part of the
//! measured load.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memchr::memmem;

/// Time to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Plain {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Plain {
    pub(super) fn new(address: SocketAddr) -> Plain {
        Plain { address, stream: None }
    }

    pub(super) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask("GET", path, None)
    }

    pub(super) fn put(&mut self, path: &str, json: &[u8]) -> io::Result<Answer> {
        self.ask("PUT", path, Some(("application/json", json)))
    }

    pub(super) fn merge(&mut self, path: &str, patch: &[u8]) -> io::Result<Answer> {
        self.ask("PATCH", path, Some(("application/merge-patch+json", patch)))
    }

    /// Sends a request on the open connection, or on a new one if that was closed meanwhile
    /// (PROTOCOL O3).
    pub(super) fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<(&str, &[u8])>,
    ) -> io::Result<Answer> {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address).into_bytes();
        if let Some((kind, body)) = body {
            let _ = write!(request, "content-type: {kind}\r\ncontent-length: {}\r\n", body.len());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body.map_or(&[], |(_, body)| body));
        let is_new = self.stream.is_none();
        match self.exchange(&request) {
            Err(_) if !is_new => {
                self.stream = None;
                self.exchange(&request)
            }
            answered => answered,
        }
    }

    /// The server's metrics.
    pub(super) fn metrics(&mut self) -> io::Result<Metrics> {
        Ok(Metrics(String::from_utf8_lossy(&self.get("/_metrics")?.body).into_owned()))
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream
            }
        };
        stream.write_all(request)?;
        let answer = read(&mut stream)?;
        self.stream = Some(stream);
        Ok(answer)
    }
}

pub(super) struct Metrics(String);

impl Metrics {
    /// The value of a metric without labels; 0 if it does not exist yet.
    pub(super) fn value(&self, name: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_default()
    }
}

fn read(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let head = loop {
        more(stream, &mut bytes)?;
        if let Some(at) = memmem::find(&bytes, b"\r\n\r\n") {
            break at + 4;
        }
    };
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let text = std::str::from_utf8(&bytes[..head]).map_err(|_| broken())?.to_ascii_lowercase();
    let status =
        text.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length =
        length.map_or(Ok(0), |length| length.trim().parse::<usize>().map_err(|_| broken()))?;
    while bytes.len() < head + length {
        more(stream, &mut bytes)?;
    }
    bytes.drain(..head);
    Ok(Answer { status, body: bytes })
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let begun = bytes.len();
    bytes.resize(begun + (16 << 10), 0);
    let read = stream.read(&mut bytes[begun..])?;
    bytes.truncate(begun + read);
    if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}
