//! The Rust client of Halfping.
//!
//! [`Client`] reads and writes resources. [`Client::watch`] keeps a `GET` open and yields
//! [`Event`]s until it is dropped. When the connection is lost, it reconnects by itself and resumes
//! from the last cursor, so that each change since then arrives once. [`Mirror`] holds the current
//! value, for programs that want it instead of its changes.
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
//! A part of a resource is asked for by [`WatchOptions`]. The first members in an order come as an
//! object, like all others, and [`sorted`] puts them in that order:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use halfping_client::{Client, Event, Mirror, WatchOptions, sorted};
//!
//! let order = "-speed_mps";
//! let fastest = WatchOptions { order: Some(order.into()), limit: Some(10), ..Default::default() };
//! let mut watch = Client::new("http://127.0.0.1:7070")?.watch("/vehicles", fastest)?;
//! let mut mirror = Mirror::new();
//! loop {
//!     if let Event::Frame(frame) = watch.next().await? {
//!         mirror.apply(&frame)?;
//!         for (name, vehicle) in sorted(mirror.value(), order)? {
//!             println!("{name}: {} m/s", vehicle["speed_mps"]);
//!         }
//!     }
//! }
//! # #[allow(unreachable_code)]
//! # Ok(())
//! # }
//! ```
//!
//! The client's half of the protocol, [`Machine`], does no IO: it can be used alone with another
//! HTTP library.

mod client;
mod driver;
mod error;
mod fetch;
mod frame;
mod machine;
mod mirror;
mod sorted;
mod tls;
mod token;

pub use client::{BODY_BYTES_MAX, Client, Reading, Written};
#[doc(hidden)]
pub use client::{http, is_loopback};
pub use driver::{Event, Lost, Watch, WatchOptions};
pub use error::{
    BaseError, Family, NetworkFault, PathError, PeerFault, Refusal, RequestError, TokenFault,
    WatchError,
};
#[doc(hidden)]
pub use fetch::{FetchError, Fetched, fetch};
pub use frame::{Cursor, Frame, Kind, Problem};
pub use machine::{FrameError, LINE_BYTES_MAX, Machine};
pub use mirror::{Mirror, MirrorError};
pub use sorted::{OrderError, sorted};
