//! Writers: HTTP requests on a connection that is kept open.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use anyhow::{Result, anyhow};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::outbox::Outbox;
use super::{broken, connect, path};
use crate::stamp::Stamp;

pub(super) struct Writer {
    stream: TcpStream,
    address: SocketAddr,
    token: Token,
    registry: Registry,
    /// True if the server has closed the connection, as it does with one that is silent for long
    /// (PROTOCOL O3).
    is_closed: bool,
    asked: u64,
    answered: u64,
    outbox: Outbox,
    /// Answers of which the end has not arrived.
    answers: Vec<u8>,
}

impl Writer {
    pub(super) fn new(address: SocketAddr, token: Token, registry: Registry) -> io::Result<Writer> {
        let stream = Writer::open(address, token, &registry)?;
        let (outbox, answers) = (Outbox::default(), Vec::new());
        Ok(Writer {
            stream,
            address,
            token,
            registry,
            is_closed: false,
            asked: 0,
            answered: 0,
            outbox,
            answers,
        })
    }

    pub(super) fn unanswered(&self) -> u64 {
        self.asked - self.answered
    }

    fn open(address: SocketAddr, token: Token, registry: &Registry) -> io::Result<TcpStream> {
        let mut stream = connect(address, None)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    /// Puts a value of `length` bytes.
    pub(super) fn put(&mut self, value: u32, stamp: Stamp, length: usize) -> io::Result<()> {
        self.begin("PUT", &path(value), "application/json", length)?;
        stamp.push_value(&mut self.outbox.bytes, length);
        self.flush()
    }

    /// Merges a patch.
    pub(super) fn merge(&mut self, path: &str, patch: &[u8]) -> io::Result<()> {
        self.begin("PATCH", path, "application/merge-patch+json", patch.len())?;
        self.outbox.bytes.extend_from_slice(patch);
        self.flush()
    }

    fn begin(&mut self, method: &str, path: &str, kind: &str, length: usize) -> io::Result<()> {
        if self.is_closed {
            self.stream = Writer::open(self.address, self.token, &self.registry)?;
            self.is_closed = false;
        }
        self.asked += 1;
        write!(
            self.outbox.bytes,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n",
            self.address,
        )
    }

    fn flush(&mut self) -> io::Result<()> {
        self.outbox.flush(&mut self.stream)
    }

    /// Reads answers: a write has one, without a body (PROTOCOL W7).
    pub(super) fn answers(&mut self, scratch: &mut [u8]) -> Result<()> {
        self.flush().map_err(broken)?;
        loop {
            match self.stream.read(scratch) {
                Ok(0) => {
                    self.is_closed = true;
                    break;
                }
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
                return Err(anyhow!("the server refused a write: {line}"));
            }
            end += length + 4;
            self.answered += 1;
        }
        self.answers.drain(..end);
        if self.is_closed && self.answered < self.asked {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}
