//! Endless HTTP/1.1 answers written straight to their sockets.
//!
//! What hyper keeps for a connection (buffers for the next request, a state machine for every case) is many times what an idle
//! stream needs, and each frame passes several layers of it. A stream is the last answer of its connection anyhow: once the request is
//! read and the answer's head is known, the socket is taken from hyper, and this is all that is left.

use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connection::Connection;
use crate::delivery::{Deliver, Drive, Reader};

/// Marks an answer whose body goes on until its reader leaves. Who writes it straight to a socket says here where its news is to be
/// delivered, before asking for the first bytes.
#[derive(Clone, Default)]
pub(crate) struct Endless(Arc<OnceLock<Weak<dyn Deliver>>>);

impl Endless {
    pub(crate) fn reader(&self) -> Option<Weak<dyn Deliver>> {
        self.0.get().cloned()
    }
}

/// Pieces from this size on are not copied to be written.
pub(crate) const SHARED_FROM: usize = 16 << 10;
/// What a client may go on to send although its connection will have no other answer.
const IGNORED_BYTES_MAX: usize = 64 << 10;
/// Of that, how much is taken at once.
const READ_BYTES: usize = 1 << 10;

/// An answer on its way, until it has ended or its reader has left.
pub(crate) struct Direct {
    stream: TcpStream,
    body: Body,
    /// What the connection has not taken yet; nothing more is made before it has.
    unsent: Vec<u8>,
    unsent_from: usize,
    /// A large piece that comes after it, and the end of its chunk after that. It is shared with other readers, so a connection that takes it
    /// slowly does not cost a copy. Rare, so it costs nothing to the others.
    large: Option<Box<Bytes>>,
    ignored_bytes: usize,
    /// The body has ended.
    ended: bool,
    /// All of it was sent, or cannot be.
    over: bool,
    _connection: Arc<Connection>,
}

// Every stream has one: with the 48 bytes around it, it takes the 160 bytes that an allocator gives.
const _: () = assert!(std::mem::size_of::<Direct>() <= std::mem::size_of::<TcpStream>() + 80);

impl Direct {
    pub(crate) fn reader(
        stream: TcpStream,
        response: Response,
        connection: Arc<Connection>,
    ) -> Reader<Direct> {
        let endless = response.extensions().get::<Endless>().cloned();
        Reader::new(Direct::new(stream, response, connection), |_, reader| {
            if let Some(endless) = endless {
                let _ = endless.0.set(reader);
            }
        })
    }

    fn new(stream: TcpStream, response: Response, connection: Arc<Connection>) -> Direct {
        let (parts, body) = response.into_parts();
        let mut head = String::new();
        // Writing to a string does not fail.
        let _ = write!(
            head,
            "HTTP/1.1 {}\r\ndate: {}\r\n",
            parts.status,
            httpdate::fmt_http_date(SystemTime::now())
        );
        let mut unsent = head.into_bytes();
        write_headers(&parts.headers, &mut unsent);
        unsent.extend_from_slice(b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n");
        Direct {
            stream,
            body,
            unsent,
            unsent_from: 0,
            large: None,
            ignored_bytes: 0,
            ended: false,
            over: false,
            _connection: connection,
        }
    }

    /// Whether everything written has been taken.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.unsent_from < self.unsent.len() {
                let unsent = &self.unsent[self.unsent_from..];
                self.unsent_from += ready!(Pin::new(&mut self.stream).poll_write(cx, unsent))?;
            }
            (self.unsent, self.unsent_from) = (Vec::new(), 0);
            let Some(large) = &mut self.large else { return Poll::Ready(Ok(())) };
            while !large.is_empty() {
                let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, large))?;
                large.advance(taken);
            }
            self.large = None;
            self.unsent.extend_from_slice(b"\r\n");
        }
    }

    /// Makes and sends what there is to say, at the pace of the connection. Ready when that was all.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_sent(cx))?;
            if self.ended {
                return Pin::new(&mut self.stream).poll_shutdown(cx);
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        let is_large = data.len() >= SHARED_FROM;
                        self.unsent.reserve_exact(if is_large { 12 } else { data.len() + 12 });
                        // Writing to a vector does not fail.
                        let _ = io::Write::write_fmt(&mut self.unsent, format_args!("{:x}\r\n", data.len()));
                        if is_large {
                            self.large = Some(Box::new(data));
                        } else {
                            self.unsent.extend_from_slice(&data);
                            self.unsent.extend_from_slice(b"\r\n");
                        }
                    }
                }
                // Without the last chunk, the reader knows that it was cut off.
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => {
                    self.ended = true;
                    self.unsent.extend_from_slice(b"0\r\n\r\n");
                }
            }
        }
    }

    /// Ready when the reader has left.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut bytes = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.ignored_bytes += buffer.filled().len(),
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
            if self.ignored_bytes > IGNORED_BYTES_MAX {
                return Poll::Ready(());
            }
        }
    }
}

impl Drive for Direct {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.over {
            return Poll::Ready(());
        }
        match self.poll_write(cx) {
            Poll::Ready(done) => {
                if let Err(error) = done {
                    tracing::debug!(%error, "a stream broke");
                }
                self.over = true;
                Poll::Ready(())
            }
            Poll::Pending => self.poll_left(cx),
        }
    }

    fn deliver(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.over {
            self.over = self.poll_write(cx).is_ready();
        }
        !self.over
    }
}

fn write_headers(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}
