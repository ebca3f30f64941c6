//! Streaming APIs: `GET` any URL once, or keep the `GET` open and be told what changes.
//!
//! An [`Api`] is a JSON tree that many write and many follow. Use it from Rust, serve it with [`Server`], or mount its
//! [router](Api::router) in an axum application. `PROTOCOL.md` in the repository is what HTTP clients may rely on.

mod access;
mod answer;
mod answers;
mod api;
mod aside;
mod budget;
mod clock;
mod commit;
mod connection;
mod delivery;
mod direct;
mod error;
mod hint;
mod http;
mod hub;
mod metrics;
mod names;
mod own;
mod patience;
mod preface;
mod problem;
mod process;
mod room;
mod seen;
mod server;
mod shape;
mod socket;
mod tag;
mod transports;

pub use access::{Console, Cors, Hosts, NameError};
pub use api::{Api, Options, Restored, Watch, Writing, check};
pub use commit::{Commit, Reading, Written};
pub use error::Error;
pub use halfping_engine::{Limits, PathError, Pattern, Refusal};
pub use halfping_journal::{Fault, FaultKind, Progress};
pub use server::Server;
