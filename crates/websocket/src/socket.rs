//! A WebSocket over any connection, polled by its owner's task.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::coding::{Control, Data};

use crate::decode::{Decoder, Incoming};
use crate::unsent::Unsent;
use crate::violation::Violation;
use crate::{encode, scratch};

/// Unsent bytes below which pings are answered one by one; beyond, only the newest is answered.
const PONGS_BYTES_MAX: usize = 4 << 10;

/// Reads before other tasks have their turn, however much there is to read: no task may wait for a
/// client that sends without end.
const READS_AT_ONCE: usize = 8;

/// The server's end of a WebSocket.
///
/// # Use
/// [`Socket::poll_ready`] sends what was written, and also answers pings. A message that is decided
/// late is written when `poll_ready` has said that all before it was taken. Other messages can be
/// written at any time, and their owner bounds [`Socket::unsent_bytes`].
#[derive(Debug)]
pub struct Socket<I> {
    io: I,
    decoder: Decoder,
    compress: bool,
    /// Bytes that were read and are not decoded yet: the owner took a message and has not come
    /// back.
    unread: Option<Box<Unread>>,
    /// Bytes that were written and that the connection has not taken yet.
    unsent: Option<Box<Unsent>>,
    is_flushed: bool,
}

#[derive(Debug)]
struct Unread {
    bytes: Vec<u8>,
    from: usize,
}

/// Reason why no more messages come.
#[derive(Debug, Error)]
pub enum Ended {
    /// The other side has closed the connection without a close frame.
    #[error("the connection was closed")]
    Closed,
    /// The client broke a rule, and is to be told so.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<I: AsyncRead + AsyncWrite + Unpin> Socket<I> {
    /// Makes a socket. `already`: bytes that were read from the connection together with the
    /// handshake. `deflate`: whether the handshake agreed on compression.
    pub fn new(io: I, already: &[u8], message_bytes_max: usize, deflate: bool) -> Socket<I> {
        Socket {
            io,
            decoder: Decoder::new(message_bytes_max, deflate),
            compress: deflate,
            unread: (!already.is_empty()).then(|| Unread::new(already)),
            unsent: None,
            is_flushed: true,
        }
    }

    /// Returns the connection. Bytes that were read or written and are not handled yet are lost.
    pub fn into_inner(self) -> I {
        self.io
    }

    /// Reads the next message, or the client's close. After a violation it returns that again:
    /// nothing more is read or decoded.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Ended>> {
        let mut reads_left = READS_AT_ONCE;
        loop {
            if let Some(violation) = self.decoder.violation() {
                return Poll::Ready(Err(violation.into()));
            }
            let next = match &mut self.unread {
                Some(unread) => {
                    let mut input = &unread.bytes[unread.from..];
                    let next = self.decoder.next(&mut input);
                    unread.from = unread.bytes.len() - input.len();
                    if input.is_empty() {
                        self.unread = None;
                    }
                    next?
                }
                None => None,
            };
            match next {
                Some(Incoming::Ping(payload)) => match &mut self.unsent {
                    Some(unsent) if unsent.len() >= PONGS_BYTES_MAX => unsent.pong = Some(payload),
                    _ => encode::control(self.buffer(), Control::Pong, &payload),
                },
                Some(incoming) => return Poll::Ready(Ok(incoming)),
                None => {
                    ready!(poll_turn(cx, &mut reads_left));
                    if !ready!(self.poll_read(cx))? {
                        return Poll::Ready(Err(Ended::Closed));
                    }
                }
            }
        }
    }

    /// Ready when the client has left, as far as that can be seen without taking its messages. It
    /// reads at most once more.
    pub fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unread.is_some() {
            return Poll::Pending;
        }
        match ready!(self.poll_read(cx)) {
            Ok(true) => Poll::Pending,
            Ok(false) | Err(_) => Poll::Ready(()),
        }
    }

    /// Reads once, and keeps the bytes. False at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        scratch::with_read(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            let read = buffer.filled();
            self.unread = (!read.is_empty()).then(|| Unread::new(read));
            Poll::Ready(Ok(self.unread.is_some()))
        })
    }

    /// The number of the message or control frame in progress. A message keeps its number while
    /// pings and pongs come between its frames.
    pub fn in_progress(&self) -> Option<u32> {
        self.decoder.in_progress()
    }

    /// Bytes of the message in progress.
    pub fn in_progress_bytes(&self) -> usize {
        self.decoder.in_progress_bytes()
    }

    /// Ready when the connection has taken all that was written. Otherwise the task is woken when
    /// it takes more.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(unsent) = &mut self.unsent {
            ready!(unsent.poll_sent(Pin::new(&mut self.io), cx))?;
            let pong = unsent.pong.take();
            self.unsent.take().into_iter().for_each(Unsent::give_back);
            if let Some(payload) = pong {
                encode::control(self.buffer(), Control::Pong, &payload);
            }
        }
        if !self.is_flushed {
            // A TCP connection has nothing to flush.
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Bytes that were written and that the connection has not taken yet.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.as_ref().map_or(0, |unsent| unsent.len())
    }

    /// Writes a text message. `fill` writes the text.
    pub fn write_text(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        let compress = self.compress;
        encode::message(self.buffer(), Data::Text, compress, fill);
    }

    /// Writes a frame that [`encode_text`](crate::encode_text) made, for any number of sockets.
    pub fn write_encoded(&mut self, frame: Bytes) {
        self.unsent().push(frame);
    }

    /// True if long messages are compressed.
    pub fn compresses(&self) -> bool {
        self.compress
    }

    /// Writes a binary message.
    pub fn write_binary(&mut self, payload: &[u8]) {
        let compress = self.compress;
        encode::message(self.buffer(), Data::Binary, compress, |out| {
            out.extend_from_slice(payload);
        });
    }

    /// Writes a ping.
    pub fn write_ping(&mut self) {
        encode::control(self.buffer(), Control::Ping, b"");
    }

    /// Writes a close, after which nothing may be written. Of the client's later frames only its
    /// own close is read.
    pub fn write_close(&mut self, code: u16, reason: &str) {
        self.decoder.listen_for_close();
        encode::close(self.buffer(), code, reason);
    }

    /// Answers the client's close with its own code.
    pub fn write_close_answer(&mut self, code: Option<u16>) {
        match code {
            Some(code) => encode::close(self.buffer(), code, ""),
            None => encode::control(self.buffer(), Control::Close, b""),
        }
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        self.unsent().buffer()
    }

    /// The bytes to append to.
    fn unsent(&mut self) -> &mut Unsent {
        self.is_flushed = false;
        self.unsent.get_or_insert_with(Unsent::take)
    }

    /// Reads and discards until the other side closes. Closing a connection with unread bytes makes
    /// the system discard the last bytes that were sent.
    pub fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut reads_left = READS_AT_ONCE;
        loop {
            ready!(poll_turn(cx, &mut reads_left));
            let read = ready!(self.poll_read(cx));
            self.unread = None;
            if !matches!(read, Ok(true)) {
                return Poll::Ready(());
            }
        }
    }

    /// Closes the sending half of the connection.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Ready for one more read. Otherwise the task is woken for the next, after the others.
fn poll_turn(cx: &mut Context<'_>, reads_left: &mut usize) -> Poll<()> {
    if *reads_left == 0 {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    *reads_left -= 1;
    Poll::Ready(())
}

impl Unread {
    fn new(bytes: &[u8]) -> Box<Unread> {
        Box::new(Unread { bytes: bytes.to_vec(), from: 0 })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A client that sends the same bytes again and again.
    struct Endless {
        bytes: &'static [u8],
        reads: usize,
    }

    impl AsyncRead for Endless {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.reads += 1;
            assert!(self.reads < 1000, "it is read without end");
            buffer.put_slice(self.bytes);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Endless {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn after_a_violation_nothing_is_read() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut socket =
            Socket::new(Endless { bytes: b"x", reads: 0 }, b"\x83\x80\0\0\0\0", 1000, false);
        for _ in 0..20 {
            let next = socket.poll_next(&mut cx);
            assert!(
                matches!(next, Poll::Ready(Err(Ended::Violation(Violation::Protocol(_))))),
                "{next:?}"
            );
        }
        assert_eq!(socket.io.reads, 0);
    }

    #[test]
    fn a_client_that_sends_without_end_leaves_others_their_turn() {
        let mut cx = Context::from_waker(Waker::noop());
        // The beginning of a message, then an empty fragment each time.
        let empty_fragment = b"\x00\x80\x00\x00\x00\x00";
        let begun = b"\x01\x80\x00\x00\x00\x00";
        let mut socket =
            Socket::new(Endless { bytes: empty_fragment, reads: 0 }, begun, 1000, false);
        for turn in 1..10 {
            assert!(socket.poll_next(&mut cx).is_pending());
            assert_eq!(socket.io.reads, turn * READS_AT_ONCE);
        }
        assert!(socket.poll_drained(&mut cx).is_pending());
        assert_eq!(socket.io.reads, 10 * READS_AT_ONCE);
    }
}
