//! Endless HTTP/1.1 answers written straight to their sockets.
//!
//! hyper keeps many times as much for a connection (buffers for the next request, a state machine
//! for every case) as an idle stream needs, and each frame passes several layers of it. A stream is
//! the last answer of its connection anyhow: once the request is read and the answer's head is
//! known, the socket is taken from hyper, and this is all that is left.

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

/// Marks an answer whose body goes on until its reader leaves. Code that writes it straight to a
/// socket sets here where its news is to be delivered, before it asks for the first bytes.
#[derive(Clone, Default)]
pub(crate) struct Endless(Arc<OnceLock<Weak<dyn Deliver>>>);

impl Endless {
    pub(crate) fn reader(&self) -> Option<Weak<dyn Deliver>> {
        self.0.get().cloned()
    }
}

/// Pieces from this size on are not copied to be written.
pub(crate) const SHARED_FROM: usize = 16 << 10;
/// Bytes that are sent before it is the turn of others, however fast the connection takes them.
/// (Writes are counted as well, by tokio: there are at most 128 in a turn.)
const TURN_BYTES: usize = 64 << 10;
/// Bytes that a client may go on to send although its connection will have no other answer.
const IGNORED_BYTES_MAX: usize = 64 << 10;
/// Bytes of that which are taken at once.
const READ_BYTES: usize = 1 << 10;

/// An answer on its way, until it has ended or its reader has left.
pub(crate) struct Direct {
    stream: TcpStream,
    body: Body,
    /// Bytes that the connection has not taken yet; nothing more is made before it has.
    unsent: Vec<u8>,
    unsent_from: usize,
    /// A large piece that comes after it, and the end of its chunk after that. It is shared with
    /// other readers, so a connection that takes it slowly does not cost a copy. Boxed, since it is
    /// rare.
    large: Option<Box<Bytes>>,
    ignored_bytes: usize,
    /// True if the body has ended.
    ended: bool,
    /// True if all of it was sent, or cannot be.
    over: bool,
    _connection: Arc<Connection>,
}

// Every stream has one: with the 48 bytes around it, it takes the 160 bytes that an allocator
// gives.
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

    /// Ready when everything written has been taken. `left`: bytes that are left of the turn.
    fn poll_sent(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<io::Result<()>> {
        loop {
            while self.unsent_from < self.unsent.len() {
                let unsent = &self.unsent[self.unsent_from..];
                self.unsent_from += ready!(poll_some(&mut self.stream, cx, unsent, left))?;
            }
            (self.unsent, self.unsent_from) = (Vec::new(), 0);
            let Some(large) = &mut self.large else { return Poll::Ready(Ok(())) };
            while !large.is_empty() {
                let taken = ready!(poll_some(&mut self.stream, cx, large, left))?;
                large.advance(taken);
            }
            self.large = None;
            self.unsent.extend_from_slice(b"\r\n");
        }
    }

    /// Makes and sends what there is to send, at the pace of the connection, for one turn. Ready
    /// when that was all.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut left = TURN_BYTES;
        loop {
            ready!(self.poll_sent(cx, &mut left))?;
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
                        let _ = io::Write::write_fmt(
                            &mut self.unsent,
                            format_args!("{:x}\r\n", data.len()),
                        );
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
                Ok(()) if !buffer.filled().is_empty() => {
                    self.ignored_bytes += buffer.filled().len();
                }
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

/// Writes to the stream, for as long as the turn lasts. The task is woken for its next turn.
fn poll_some(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
    left: &mut usize,
) -> Poll<io::Result<usize>> {
    if *left == 0 {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    let taken = ready!(Pin::new(stream).poll_write(cx, &bytes[..bytes.len().min(*left)]))?;
    *left -= taken;
    Poll::Ready(Ok(taken))
}

fn write_headers(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use http_body::Frame;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    /// Pieces of one size, of which so many bytes are left.
    struct Pieces {
        piece: Bytes,
        left: Arc<AtomicUsize>,
    }

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left.load(Ordering::Relaxed) == 0 {
                return Poll::Ready(None);
            }
            self.left.fetch_sub(self.piece.len(), Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
        }
    }

    /// The kernel takes some megabytes of a new connection, whether they are read or not.
    #[tokio::test]
    async fn a_turn_of_a_stream_has_an_end_however_fast_it_is_taken() {
        const ALL: usize = 1 << 20;
        for piece_bytes in [8 << 10, ALL] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let reading = tokio::spawn(async move {
                let mut all = Vec::new();
                client.read_to_end(&mut all).await.map(|_| all)
            });
            stream.writable().await.unwrap();
            let left = Arc::new(AtomicUsize::new(ALL));
            let pieces = Pieces { piece: vec![b'x'; piece_bytes].into(), left: left.clone() };
            let connection = Arc::new(Connection::foreign(&Arc::default()));
            let mut direct = Direct::new(stream, Response::new(Body::new(pieces)), connection);

            let not_sent = |direct: &Direct| {
                let large = direct.large.as_ref().map_or(0, |large| large.len());
                left.load(Ordering::Relaxed) + large + direct.unsent.len() - direct.unsent_from
            };
            let mut turns = 0;
            let by_turns = poll_fn(|cx| {
                let before = not_sent(&direct);
                turns += 1;
                // By turns, it is served by others and by its own task.
                let polled = match turns % 2 {
                    0 => direct.poll(cx),
                    _ => {
                        if !direct.deliver(cx) {
                            cx.waker().wake_by_ref();
                        }
                        Poll::Pending
                    }
                };
                let sent = before.saturating_sub(not_sent(&direct));
                assert!(sent <= TURN_BYTES, "{sent} bytes in one turn");
                polled
            });
            let patience = Duration::from_secs(60);
            timeout(patience, by_turns).await.expect("each turn but the last wakes the task");
            drop(direct);
            let all = timeout(patience, reading).await.unwrap().unwrap().unwrap();
            assert_eq!(all.iter().filter(|byte| **byte == b'x').count(), ALL);
        }
    }
}
