//! The first bytes of a connection, which tell the version of HTTP that its client speaks.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

/// The first bytes of a client of HTTP/2 (RFC 9113, section 3.4). No method of HTTP/1.1 has the
/// same first letters.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The letters by which it is told from HTTP/1.1.
const METHOD: &[u8; 3] = b"PRI";
/// An empty frame of settings, and a GOAWAY: nothing was handled, PROTOCOL_ERROR.
const REFUSAL: &[u8; 26] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";
/// Bytes of a refused client that are thrown away: unread bytes make the system throw away what was
/// sent last when the connection is closed.
const DISCARDED_MAX: usize = 64 << 10;
/// Pause before the second look at a connection that may be going to speak HTTP/2. Each pause after
/// that is twice as long: a client that sends one byte of the preface and stops is not worth many
/// looks, but its disconnect must be noticed.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
const PREFACE_PAUSE_MAX: Duration = Duration::from_millis(500);

/// The version of HTTP that a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaks {
    Http1,
    Http2,
    /// Neither version: it begins like HTTP/2, and goes on otherwise.
    Neither,
}

impl Speaks {
    /// Reads the version from the first bytes; `None` while they are too few.
    fn read(first: &[u8]) -> Option<Speaks> {
        let alike =
            first.iter().zip(PREFACE).take_while(|(byte, expected)| byte == expected).count();
        match alike {
            _ if alike == PREFACE.len() => Some(Speaks::Http2),
            _ if alike == first.len() && alike > 0 => None,
            _ if alike >= METHOD.len() => Some(Speaks::Neither),
            _ => Some(Speaks::Http1),
        }
    }

    /// Looks at the first bytes of a client, and leaves them there to be read.
    pub(crate) async fn on(stream: &TcpStream) -> io::Result<Speaks> {
        let mut first = [0; PREFACE.len()];
        let mut pause = PREFACE_PAUSE;
        loop {
            let len = stream.peek(&mut first).await?;
            if let Some(speaks) = Speaks::read(&first[..len]) {
                return Ok(speaks);
            }
            // The kernel does not report new bytes behind bytes that were only looked at. With a
            // byte still there to be read, the end of the stream behind it does not show.
            if stream.ready(Interest::READABLE).await?.is_read_closed() {
                return Ok(Speaks::Http1);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PREFACE_PAUSE_MAX);
        }
    }
}

/// Tells a client that it does not speak HTTP/2, and waits until it has closed the connection.
pub(crate) async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(REFUSAL).await?;
    stream.shutdown().await?;
    let (mut buffer, mut discarded) = ([0; 1024], 0);
    while discarded < DISCARDED_MAX {
        match stream.read(&mut buffer).await? {
            0 => break,
            len => discarded += len,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_is_spoken() {
        for (first, speaks) in [
            (&b""[..], Some(Speaks::Http1)),
            (b"G", Some(Speaks::Http1)),
            (b"P", None),
            (b"PUT / HTTP/1.1", Some(Speaks::Http1)),
            (b"PRI", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Speaks::Http2)),
            (b"PRI * HTTP/1", Some(Speaks::Neither)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", Some(Speaks::Neither)),
        ] {
            assert_eq!(Speaks::read(first), speaks, "{}", first.escape_ascii());
        }
    }
}
