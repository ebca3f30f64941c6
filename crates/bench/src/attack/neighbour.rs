//! A client that reads and writes plainly while others attack.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::plain::Plain;

/// Time between two requests.
const PAUSE: Duration = Duration::from_millis(10);
/// The largest number of times that are kept for the next call.
const TIMES_MAX: usize = 1 << 20;

pub(super) struct Neighbour {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    done: Mutex<Done>,
}

/// Results of the requests since the last call.
#[derive(Default)]
pub(super) struct Done {
    /// Times of reads. A request that was due while another was unanswered counts with its wait.
    pub(super) reads_us: Vec<u32>,
    pub(super) writes_us: Vec<u32>,
    pub(super) failed: u64,
}

impl Neighbour {
    pub(super) fn start(address: SocketAddr) -> Neighbour {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = thread::spawn(move || {
            let mut plain = Plain::new(address);
            for round in 0u64.. {
                if theirs.over.load(Ordering::Relaxed) {
                    break;
                }
                let began = Instant::now();
                let answer = match round % 2 {
                    0 => plain.put("/neighbour", round.to_string().as_bytes()),
                    _ => plain.get("/neighbour"),
                };
                let took = began.elapsed();
                let mut done = theirs.done.lock().unwrap_or_else(PoisonError::into_inner);
                let times = if round % 2 == 0 { &mut done.writes_us } else { &mut done.reads_us };
                let mut waited = took;
                // Reads and writes alternate, so every other pause has a request of this kind.
                while times.len() < TIMES_MAX {
                    times.push(waited.as_micros() as u32);
                    match waited.checked_sub(2 * PAUSE) {
                        Some(less) if !less.is_zero() => waited = less,
                        _ => break,
                    }
                }
                done.failed +=
                    u64::from(!answer.is_ok_and(|answer| matches!(answer.status, 200 | 201)));
                drop(done);
                thread::sleep(PAUSE);
            }
        });
        Neighbour { shared, thread: Some(thread) }
    }

    pub(super) fn take(&self) -> Done {
        std::mem::take(&mut self.shared.done.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
