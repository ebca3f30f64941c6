//! Buffer of unsent bytes, which a socket has only while there are any.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// Bytes from which frames are shared and not copied.
const SHARED_FROM: usize = 16 << 10;
/// Bytes that the connection has taken, from which they are not kept beside those that it has not.
const TAKEN_BYTES: usize = 16 << 10;
/// The largest buffer that is kept for the next message.
const KEPT_BYTES: usize = 128 << 10;

thread_local! {
    /// An empty buffer, shared by the sockets of one thread.
    static EMPTY: Cell<Option<Box<Unsent>>> = const { Cell::new(None) };
}

/// Bytes that were written and that the connection has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    bytes: Vec<u8>,
    /// The number of bytes that it has taken.
    taken: usize,
    /// A large frame that comes after them. It is shared with other sockets, so that a connection
    /// that takes it slowly does not cost a copy.
    large: Option<Bytes>,
    /// The payload of the newest ping whose answer found no room. Older ones need none (RFC 6455,
    /// section 5.5.3).
    pub(crate) pong: Option<Vec<u8>>,
}

impl Unsent {
    /// Takes an empty buffer: the thread's, or a new one while another socket has that.
    pub(crate) fn take() -> Box<Unsent> {
        EMPTY.take().unwrap_or_default()
    }

    /// Gives back a buffer of which all was sent, if it is worth keeping.
    pub(crate) fn give_back(mut self: Box<Unsent>) {
        if self.bytes.capacity() <= KEPT_BYTES {
            self.bytes.clear();
            self.taken = 0;
            EMPTY.set(Some(self));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.taken + self.large.as_ref().map_or(0, Bytes::len)
    }

    /// The bytes to append to, after all others.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        if let Some(large) = self.large.take() {
            // Rare: bytes behind a large frame have to wait for it.
            self.bytes.extend_from_slice(&large);
        }
        &mut self.bytes
    }

    /// Adds a frame that other sockets may share.
    pub(crate) fn push(&mut self, frame: Bytes) {
        if frame.len() < SHARED_FROM || self.large.is_some() {
            self.buffer().extend_from_slice(&frame);
        } else {
            self.large = Some(frame);
        }
    }

    /// Gives back what was taken, once that is as much as the rest: a connection may never have
    /// taken all of it, or keep the end of a large message.
    fn forget_taken(&mut self) {
        let left = self.bytes.len() - self.taken;
        if self.taken >= TAKEN_BYTES.max(left) && left > 0 {
            (self.bytes, self.taken) = (self.bytes.split_off(self.taken), 0);
        }
    }

    /// Ready when the connection has taken all of it. Otherwise the task is woken when it takes
    /// more.
    pub(crate) fn poll_sent(
        &mut self,
        mut io: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.taken < self.bytes.len() {
            self.taken += ready!(poll_some(io.as_mut(), cx, &self.bytes[self.taken..]))?;
            self.forget_taken();
        }
        while let Some(large) = self.large.as_mut().filter(|large| !large.is_empty()) {
            if self.taken > 0 {
                // The large frame may take long, and needs no buffer.
                (self.bytes, self.taken) = (Vec::new(), 0);
            }
            large.advance(ready!(poll_some(io.as_mut(), cx, large))?);
        }
        self.large = None;
        Poll::Ready(Ok(()))
    }
}

/// Writes some bytes. A connection that takes none any more is an error.
fn poll_some(
    io: Pin<&mut impl AsyncWrite>,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match ready!(io.poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        taken => Poll::Ready(Ok(taken)),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A connection that takes so many bytes, and then no more.
    struct Slow(usize);

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn send(unsent: &mut Unsent, bytes: usize) {
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(unsent.poll_sent(Pin::new(&mut Slow(bytes)), cx).is_pending());
    }

    #[test]
    fn a_connection_that_never_has_taken_all_does_not_keep_what_it_has_taken() {
        let mut unsent = Unsent::default();
        unsent.buffer().extend_from_slice(&[0; 1000]);
        for round in 0..10_000u32 {
            unsent.buffer().extend_from_slice(&round.to_be_bytes().repeat(256));
            send(&mut unsent, 1024);
            assert_eq!(unsent.len(), 1000);
        }
        assert_eq!(unsent.bytes[unsent.taken + 996..], 9_999u32.to_be_bytes());
        assert!(unsent.bytes.capacity() < 4 * TAKEN_BYTES, "{} bytes", unsent.bytes.capacity());
    }

    #[test]
    fn the_end_of_a_large_message_does_not_keep_all_of_it() {
        let mut unsent = Unsent::default();
        unsent.buffer().resize(1 << 20, 0);
        send(&mut unsent, (1 << 20) - 10_000);
        assert_eq!(unsent.len(), 10_000);
        assert!(unsent.bytes.capacity() < 4 * TAKEN_BYTES, "{} bytes", unsent.bytes.capacity());
    }
}
