//! Fuzz targets: one function for each kind of input from strangers. Each takes bytes that
//! libFuzzer makes up, and panics when Halfping's result differs from that of an independent
//! implementation.
//!
//! `CONTRIBUTING.md` tells how to run them, and how to repeat a finding.

#![forbid(unsafe_code)]

mod condition;
mod config;
mod journal_record;
mod json_body;
mod model;
mod patch_document;
mod path_and_cursor;
mod protocol;
mod request;
mod rules;
mod session_command;
mod tree;
mod websocket_frames;
mod writes;

pub use condition::condition;
pub use config::config;
pub use journal_record::journal_record;
pub use json_body::json_body;
pub use patch_document::patch_document;
pub use path_and_cursor::path_and_cursor;
pub use request::request;
pub use rules::rules;
pub use session_command::session_command;
pub use websocket_frames::websocket_frames;
pub use writes::writes;

#[path = "../../crates/cli/src/units.rs"]
mod units;

/// Replacement of `crate::report`, for the CLI's own modules, which are compiled into this crate
/// unchanged.
mod report {
    pub(crate) use crate::config::{Blame, Failure};
}
