//! A large object in which members come and go, and its slow readers.

use std::thread;
use std::time::{Duration, Instant};

use super::ground::{Ground, PAUSE, RECEIVE_BUFFER};
use super::scenario::{Bound, Scenario};
use super::slow::CONNECTION_BYTES;
use super::terms::Terms;
use crate::churn::{self, Churn};
use crate::follow::{By, Follower};

const QUEUE: &str = "/queue";
/// Members of 1 kB that stay.
const MEMBERS: u32 = 2000;
/// Small members that come each second; as many go.
const CHURN_PER_SECOND: u32 = 1000;
const READERS: u64 = 8;
/// Bytes that each reader takes a second: 1 Mbit/s.
const BYTES_PER_SECOND: f64 = 125_000.0;
/// Bytes of one read.
const READ_BYTES: usize = 2048;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "queue-stream",
        summary: "8 streams at 1 Mbit/s of 2,000 members of 1 kB; 1,000 a second come and go",
        prepare: |plain, _| churn::fill(plain, QUEUE, MEMBERS),
        crew: &[(1, turn_over), (READERS as usize, stream)],
        bound,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "queue-session",
        summary: "the same for 8 sessions",
        prepare: |plain, _| churn::fill(plain, QUEUE, MEMBERS),
        crew: &[(1, turn_over), (READERS as usize, session)],
        bound,
        ..Scenario::PLAIN
    },
];

fn bound(terms: &Terms) -> Bound {
    let reader = CONNECTION_BYTES + terms.ahead_bytes() + 2 * terms.slice_bytes();
    (
        READERS * reader + terms.walk_notes_bytes() + terms.shared_encoding_bytes(),
        "readers x (8 KiB + ahead_bytes + 2 x slice_bytes) + walk_notes_bytes \
         + shared_encoding_bytes",
    )
}

fn turn_over(ground: &Ground, _: usize) {
    let churn = Churn::start(ground.address, QUEUE, CHURN_PER_SECOND);
    while ground.rest(Duration::from_secs(1)) {}
    if churn.come() == 0 {
        ground.count("nothing came and went");
    }
}

fn stream(ground: &Ground, _: usize) {
    follow(ground, By::Stream);
}

fn session(ground: &Ground, _: usize) {
    follow(ground, By::Session);
}

fn follow(ground: &Ground, by: By) {
    let Ok(mut follower) = Follower::open(ground.address, QUEUE, by, Some(RECEIVE_BUFFER)) else {
        return ground.count("cut");
    };
    let start = Instant::now();
    let mut was_synced = false;
    while ground.goes_on() {
        let due = (start.elapsed().as_secs_f64() * BYTES_PER_SECOND) as u64;
        if follower.bytes + READ_BYTES as u64 > due {
            thread::sleep(PAUSE);
            continue;
        }
        match follower.read_once(READ_BYTES) {
            Ok(seen) if seen.ended => return ground.count("ended"),
            Ok(seen) if seen.synced && !was_synced => {
                was_synced = true;
                ground.count("synced");
            }
            Ok(_) => {}
            Err(_) => return ground.count("cut"),
        }
    }
    if !was_synced {
        ground.count("not synced meanwhile");
    }
}
