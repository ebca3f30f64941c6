//! What is counted per connection: its links and its writes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use halfping_engine::Limits;
use parking_lot::Mutex;

use crate::problem::Problem;

/// One client connection, as far as its bounds go.
#[derive(Debug)]
pub(crate) struct Connection {
    links: AtomicUsize,
    links_max: usize,
    /// When the next write would be due if writes came evenly (the generic cell rate algorithm).
    next_write: Mutex<Option<Instant>>,
    write_interval: Duration,
}

/// How far ahead of an even pace writes may run.
const WRITE_BURST: Duration = Duration::from_secs(1);

impl Connection {
    pub(crate) fn new(limits: &Limits) -> Connection {
        Connection {
            links: AtomicUsize::new(0),
            links_max: limits.links_per_connection,
            next_write: Mutex::new(None),
            write_interval: Duration::from_secs(1) / limits.writes_per_second,
        }
    }

    pub(crate) fn add_links(&self, count: usize) -> Result<(), Problem> {
        let before = self.links.fetch_add(count, Ordering::Relaxed);
        if before + count > self.links_max {
            self.remove_links(count);
            return Err(Problem::limit(
                "too-many-links",
                "links_per_connection",
                self.links_max,
                "the connection has too many open streams and paths",
            ));
        }
        Ok(())
    }

    pub(crate) fn remove_links(&self, count: usize) {
        self.links.fetch_sub(count, Ordering::Relaxed);
    }

    /// Accounts for one write.
    pub(crate) fn write(&self) -> Result<(), Problem> {
        let now = Instant::now();
        let mut next = self.next_write.lock();
        let due = next.unwrap_or(now).max(now);
        if due - now > WRITE_BURST {
            let per_second = (1.0 / self.write_interval.as_secs_f64()).round() as usize;
            return Err(Problem::limit(
                "write-rate",
                "writes_per_second",
                per_second,
                "the connection writes faster than it may",
            ));
        }
        *next = Some(due + self.write_interval);
        Ok(())
    }
}
