//! The server's side of a WebSocket: RFC 6455, with compression as in RFC 7692 and over HTTP/2 as
//! in RFC 8441.
//!
//! It is made for a server that keeps very many sockets open and decides late what to send. A
//! [`Socket`] with nothing in progress owns no buffer: bytes are read into and written from memory
//! that a thread's sockets share. [`Socket::poll_ready`] tells when the connection has taken
//! everything, so that nothing needs to be decided before.
//!
//! The meaning of the bits comes from [`tungstenite`]; `docs/adr/0002` tells why sockets are our
//! own.

mod decode;
mod deflate;
mod encode;
mod handshake;
mod scratch;
mod socket;
mod unsent;
mod violation;

pub use decode::Incoming;
pub use encode::encode_text;
pub use handshake::{Handshake, HandshakeError};
pub use socket::{Ended, Socket};
pub use violation::Violation;
