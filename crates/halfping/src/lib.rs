//! Streaming APIs: `GET` any URL once, or keep the `GET` open and be told what changes.
//!
//! An [`Api`] is a JSON tree that many write and many follow. Use it from Rust, serve it with
//! [`Server`], or mount its [router](Api::router) in an axum application. HTTP clients may rely on
//! `PROTOCOL.md` in the repository.
//!
//! ```no_run
//! use halfping::{Api, Options, Server};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // `Api::new` would keep the state in memory only.
//!     let (api, _) = Api::open("live-data".as_ref(), Options::default(), |_| ())?;
//!     api.put("/orders/42/status", "packed").await?;
//!
//!     let mut status = api.watch::<String>("/orders/42/status")?;
//!     tokio::spawn(async move {
//!         while let Ok(status) = status.next().await {
//!             println!("order 42: {}", status.as_deref().unwrap_or("not there"));
//!         }
//!     });
//!
//!     let server = Server::bind("127.0.0.1:7070".parse()?, api.clone()).await?;
//!     server.run(async { _ = tokio::signal::ctrl_c().await }).await?;
//!     api.close().await;
//!     Ok(())
//! }
//! ```

mod access;
mod ahead;
mod answer;
mod answers;
mod api;
mod aside;
mod auth;
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
mod mutants;
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
mod shown;
mod socket;
mod tag;
mod transports;
mod view;

pub use access::{Console, Cors, Hosts, NameError, NamedView, NamedViewError, NamedViews};
pub use api::{Api, Options, Restored, Watch, Writing, check};
pub use auth::{
    AskTerms, Auth, AuthError, Authenticate, KeysFetched, KeysWanted, Question, Unidentified,
};
pub use commit::{Commit, Reading, Written};
pub use error::Error;
pub use halfping_credentials::{
    Algorithm, Anonymous, ApiKey, AuthConfig, ClaimsTooLong, ClientCert, Forward, Identity, Issuer,
    KnownCert, new_api_key,
};
pub use halfping_engine::{Limits, PathError, Pattern, Refusal};
pub use halfping_journal::{Fault, FaultKind, Progress};
pub use halfping_rules::{Finding, Refused, Rule, Rules, Severity};
pub use server::Server;
pub use view::View;
