//! A server that is not run for a while, as on a laptop that sleeps.

// The helpers are shared with other tests; they are tests too.
#![allow(dead_code, clippy::unwrap_used)]
#![cfg(unix)]

mod common;
#[path = "common/disk.rs"]
mod disk;
#[path = "../../halfping/tests/common/raw.rs"]
mod raw;
#[path = "../../halfping/tests/common/session.rs"]
mod session;

use std::thread;
use std::time::Duration;

use disk::Start;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use session::{Session, Told};

const PING_MS: u64 = 100;
const SILENCE_MS: u64 = 2000;

#[test]
fn a_server_that_slept_does_not_take_that_for_its_clients_silence() {
    // PROTOCOL L11
    let at = disk::directory("paused");
    let config = at.join("config.toml");
    let limits = format!("[limits]\nping_ms = {PING_MS}\nsilence_ms = {SILENCE_MS}\n");
    std::fs::write(&config, limits).unwrap();
    let mut start = Start::new(&at.join("data"), disk::address());
    start.config = Some(config);
    let server = start.serve();
    let mut session = Session::open(start.address, "/");
    assert_eq!(session.ask(json!({ "put": "/a", "value": 1 }))["status"], 201);

    let process = Pid::from_child(&server.child);
    kill_process(process, Signal::STOP).unwrap();
    thread::sleep(Duration::from_millis(2 * SILENCE_MS));
    kill_process(process, Signal::CONT).unwrap();

    // Without a word of ours. What is read here answers pings.
    let told = session.next_within(Duration::from_millis(SILENCE_MS / 2));
    assert!(matches!(told, Told::Nothing), "{told:?}");
    assert_eq!(session.ask(json!({ "get": "/a" }))["status"], 200);
    assert!(server.stop().success());
}
