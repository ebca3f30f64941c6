//! Sockets that hold nothing stale.

use std::io;
use std::time::Duration;

use halfping_engine::Limits;
use socket2::{SockRef, TcpKeepalive};
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
