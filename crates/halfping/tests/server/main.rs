//! The server, asked as clients ask it: each file is one subject.
//!
//! They are one program, since each program takes seconds to link. `sessions_hostile.rs` is another
//! one: it measures the memory of its own process.

// The helpers here are tests too; clippy sees only functions marked so.
#![allow(clippy::unwrap_used)]

mod common;

mod access;
mod authenticate;
mod client_cert;
mod conditions;
mod connections;
mod embedded;
mod errors;
mod exact_states;
mod examples;
mod held_for_clients;
mod identity;
mod identity_in_sessions;
mod keys_at_urls;
mod large_messages;
mod lines;
mod looks;
mod named_views;
mod non_interference;
mod ordered_views;
mod own_state;
mod parts;
mod paths_and_values;
mod profiles;
mod reading;
mod reload;
mod rules_by_example;
mod rules_by_path;
mod rules_by_value;
mod sealed_cursors;
mod session_commits;
mod sessions_heard_once;
mod streams;
mod views;
mod writing;
