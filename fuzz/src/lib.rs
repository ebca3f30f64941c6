//! One function for each thing that strangers send. Each takes bytes as libFuzzer makes them up, and panics when what Halfping makes of
//! them is not what an independent reading says it should be.
//!
//! `CONTRIBUTING.md` tells how to run them, and how to repeat what one has found.

#![forbid(unsafe_code)]

mod config;
mod journal_record;
mod json_body;
mod model;
mod patch_document;
mod path_and_cursor;
mod protocol;
mod request;
mod session_command;
mod tree;
mod websocket_frames;
mod writes;

pub use config::config;
pub use journal_record::journal_record;
pub use json_body::json_body;
pub use patch_document::patch_document;
pub use path_and_cursor::path_and_cursor;
pub use request::request;
pub use session_command::session_command;
pub use websocket_frames::websocket_frames;
pub use writes::writes;

#[path = "../../crates/cli/src/units.rs"]
mod units;

/// What the CLI's own modules, which are compiled into this crate as they are, know as `crate::report`.
mod report {
    pub(crate) use crate::config::{Blame, Failure};
}
