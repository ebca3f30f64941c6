//! A writer that makes members of one object come and go at a steady rate.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::plain::Plain;

/// Commits a second. At higher rates, each commit has several members.
const BEATS_PER_SECOND: u32 = 200;
/// Seconds that a member stays.
const STAY_SECONDS: u64 = 1;
/// Bytes of one member that stays for good.
const MEMBER_BYTES: usize = 1000;
/// Bytes of a patch that writes members that stay.
const PATCH_BYTES: usize = 1 << 20;

/// Writes members that stay, 1 kB each.
pub(super) fn fill(plain: &mut Plain, path: &str, members: u32) -> io::Result<()> {
    let filler = "x".repeat(MEMBER_BYTES - 16);
    let mut patch = Vec::new();
    for member in 0..members {
        let between = if patch.is_empty() { '{' } else { ',' };
        write!(patch, "{between}\"stays-{member:06}\":\"{filler}\"")?;
        if patch.len() >= PATCH_BYTES || member + 1 == members {
            patch.push(b'}');
            let status = plain.merge(path, &patch)?.status;
            if !matches!(status, 200 | 201) {
                return Err(io::Error::other(format!("a write was answered with {status}")));
            }
            patch.clear();
        }
    }
    Ok(())
}

/// A writer in a thread of its own, which ends when this is dropped.
pub(super) struct Churn {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    come: AtomicU64,
}

impl Churn {
    /// Starts the writer on the object at `path`. So many members come each second, and as many go.
    pub(super) fn start(address: SocketAddr, path: &'static str, per_second: u32) -> Churn {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread =
            thread::spawn(move || turn_over(&mut Plain::new(address), path, per_second, &theirs));
        Churn { shared, thread: Some(thread) }
    }

    /// Members that have come so far.
    pub(super) fn come(&self) -> u64 {
        self.shared.come.load(Ordering::Relaxed)
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn turn_over(plain: &mut Plain, path: &str, per_second: u32, shared: &Shared) {
    let start = Instant::now();
    let (mut next, mut patch) = (0, Vec::new());
    for beat in 1.. {
        thread::sleep(
            (Duration::from_secs(1) * beat / BEATS_PER_SECOND).saturating_sub(start.elapsed()),
        );
        if shared.over.load(Ordering::Relaxed) {
            return;
        }
        let due = u64::from(beat) * u64::from(per_second) / u64::from(BEATS_PER_SECOND);
        let stay = u64::from(per_second) * STAY_SECONDS;
        patch.clear();
        for member in next..due {
            let between = if patch.is_empty() { '{' } else { ',' };
            let come = write!(patch, "{between}\"m{member}\":{member}");
            let gone = member.checked_sub(stay).map(|gone| write!(patch, ",\"m{gone}\":null"));
            debug_assert!(come.is_ok() && gone.is_none_or(|gone| gone.is_ok()));
        }
        next = due;
        if !patch.is_empty() {
            patch.push(b'}');
            if plain.merge(path, &patch).is_err() {
                return;
            }
            shared.come.store(due, Ordering::Relaxed);
        }
    }
}
