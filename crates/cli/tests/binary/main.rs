//! The binary, run as people run it: each file is one subject.
//!
//! They are one program, since each program takes seconds to link.

// The helpers here are tests too; clippy sees only functions marked so.
#![allow(clippy::unwrap_used)]

mod common;
#[cfg(unix)]
mod disk;
#[path = "../../../halfping/tests/server/common/raw.rs"]
#[allow(dead_code)] // It has more than is used here.
mod raw;
#[path = "../../../halfping/tests/server/common/session.rs"]
#[allow(dead_code)] // Likewise.
mod session;
mod watchers;

mod backup_and_check;
mod bench;
mod eight_views;
mod eight_watchers;
mod forward_auth;
mod kill_and_restart;
mod mirror_through_cuts;
mod open;
mod paused;
mod reload;
mod rules;
mod secrets;
mod session_churn;
mod storage_faults;
mod terminal;
mod views;
mod who_may_see_what;
mod with_a_server;
mod without_a_server;
