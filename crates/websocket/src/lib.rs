//! The server's side of a WebSocket: RFC 6455, with compression as in RFC 7692 and over HTTP/2 as in RFC 8441.
//!
//! It is made for a server that keeps very many of them open and decides late what to say. A [`Socket`] that has nothing in
//! progress owns no buffer: bytes are read into and written from memory that a thread's sockets share. And it says when the
//! connection has taken everything ([`Socket::poll_ready`]), so that what is sent need not be decided before.
//!
//! What the bits mean comes from [`tungstenite`]; why sockets are our own is told in `docs/adr/0002`.

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
