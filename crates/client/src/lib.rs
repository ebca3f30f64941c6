//! The Rust client of Halfping.
//!
//! [`Client`] reads and writes resources. [`Client::watch`] keeps a `GET` open and yields [`Event`]s for as long as you
//! like: when the connection is lost it comes back by itself and resumes from the last cursor, so that what arrives is
//! what changed meanwhile, once. [`Mirror`] holds the live value for those who want it rather than its changes.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use halfping_client::{Client, Event, Mirror, WatchOptions};
//!
//! let client = Client::new("http://127.0.0.1:7070")?;
//! client.put("/hello", r#""world""#).await?;
//!
//! let mut watch = client.watch("/hello", WatchOptions::default())?;
//! let mut mirror = Mirror::new();
//! loop {
//!     match watch.next().await? {
//!         Event::Frame(frame) => {
//!             mirror.apply(&frame)?;
//!             println!("{:?}", mirror.value());
//!         }
//!         Event::Connected { .. } => {}
//!         Event::Lost { why, retry_in } => eprintln!("{why}, trying again in {retry_in:?}"),
//!     }
//! }
//! # #[allow(unreachable_code)]
//! # Ok(())
//! # }
//! ```
//!
//! The protocol's part of it, [`Machine`], does no IO: whoever brings another HTTP library can use it alone.

mod client;
mod driver;
mod error;
mod frame;
mod machine;
mod mirror;
mod tls;

pub use client::{BODY_BYTES_MAX, Client, Reading, Written};
pub use driver::{Event, Lost, Watch, WatchOptions};
pub use error::{BaseError, Family, NetworkFault, PathError, PeerFault, Refusal, RequestError, WatchError};
pub use frame::{Cursor, Frame, Kind, Problem};
pub use machine::{FrameError, LINE_BYTES_MAX, Machine};
pub use mirror::{Mirror, MirrorError};
