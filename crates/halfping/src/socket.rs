//! Sockets that hold nothing stale, and are read in turns.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use halfping_engine::Limits;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Silence after which the kernel asks whether the other side is still there.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Sets a socket up so that nothing stale waits in it.
pub(crate) fn set_up(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(limits.unsent_bytes)?;
    Ok(())
}

/// Bytes that are read of a connection of HTTP/2 in one turn. They may be hundreds of frames, each
/// of which costs work: a change of settings looks at all streams.
const TURN_BYTES: usize = 8 << 10;

/// A socket of which a little is read at once: while there is more, others have their turn first.
pub(crate) struct InTurns<I> {
    io: I,
    is_over: bool,
}

impl<I> InTurns<I> {
    pub(crate) fn new(io: I) -> InTurns<I> {
        InTurns { io, is_over: false }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for InTurns<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.is_over) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = buffer.remaining().min(TURN_BYTES);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        self.is_over = read == most && most > 0;
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for InTurns<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_client_that_sends_much_at_once_leaves_others_their_turn() {
        let sent = vec![7; 3 * TURN_BYTES + 100];
        let mut socket = InTurns::new(&sent[..]);
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut read, mut turns) = (Vec::new(), 1);
        while read.len() < sent.len() {
            let mut bytes = vec![0; 64 << 10];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut socket).poll_read(cx, &mut buffer) {
                Poll::Ready(done) => done.expect("a slice can be read"),
                Poll::Pending => turns += 1,
            }
            assert!(buffer.filled().len() <= TURN_BYTES);
            read.extend_from_slice(buffer.filled());
        }
        assert_eq!((read, turns), (sent, 4));
    }
}
