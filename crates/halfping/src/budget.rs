//! Budgets: bounds on what is held at once, for a connection and for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use halfping_engine::Limits;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::problem::{Kind, Problem};

/// Bytes that are counted as one unit.
pub(crate) const UNIT: usize = 1 << 10;
/// Bytes up to which answers and bodies are small: these have room of their own.
pub(crate) const SMALL_BYTES: usize = 16 << 10;

/// The share of `buffered_bytes` that small answers and bodies have beside it, and of
/// `buffered_bytes_per_connection` that those of one connection have.
const SMALL_SHARE: usize = 16;

/// Bytes that are kept for each connection, whatever others hold: for small answers and bodies, and
/// as many for heads. A connection that holds less does not depend on what is left of all.
pub(crate) const KEPT_BYTES: usize = 64 << 10;

/// Bytes that may be held at once.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: &'static str,
    max: usize,
    units: Arc<Semaphore>,
    /// Number of callers that wait for some of it.
    waiting: AtomicUsize,
    /// Number of times that a caller was left without.
    denied: AtomicU64,
}

/// A caller that waits for some of a budget.
struct Waits<'a>(&'a Budget);

/// The budget of one connection for answers and bodies, large or small.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) budget: Budget,
    /// Lock that is held by the one of its requests that waits for room of all, so that connections
    /// have their turns one after the other.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

pub(crate) fn units(bytes: usize) -> u32 {
    bytes.div_ceil(UNIT).clamp(1, u32::MAX as usize) as u32
}

impl Budget {
    /// The budget of the whole server.
    pub(crate) fn of_all(limits: &Limits) -> Budget {
        Budget::new("buffered_bytes", limits.buffered_bytes)
    }

    /// The budget of small answers, beside that.
    pub(crate) fn of_small(limits: &Limits) -> Budget {
        Budget::new("buffered_bytes", limits.buffered_bytes / SMALL_SHARE)
    }

    /// The budget that is kept for connections that hold little: enough for all of them, and for
    /// the stand-in for those of a foreign server.
    pub(crate) fn of_kept(limits: &Limits) -> Budget {
        let connections = limits.connections.saturating_add(1);
        Budget::new("buffered_bytes", connections.saturating_mul(KEPT_BYTES))
    }

    /// The budget of requests' heads, over all connections.
    pub(crate) fn of_heads(limits: &Limits) -> Budget {
        Budget::new("heads_bytes", limits.heads_bytes)
    }

    /// The budget of requests' heads of one connection.
    pub(crate) fn of_heads_of_connection(max: usize) -> Budget {
        Budget::new("heads_bytes_per_connection", max)
    }

    fn new(limit: &'static str, max: usize) -> Budget {
        let units = Arc::new(Semaphore::new(units(max) as usize));
        Budget { limit, max, units, waiting: AtomicUsize::new(0), denied: AtomicU64::new(0) }
    }

    /// Bytes that are held.
    pub(crate) fn taken(&self) -> usize {
        UNIT * (units(self.max) as usize - self.units.available_permits())
    }

    /// The units for so many bytes: at most all of them, so that larger things can be held alone.
    pub(crate) fn share(&self, bytes: usize) -> u32 {
        units(bytes).min(units(self.max))
    }

    pub(crate) fn try_take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        self.units.clone().try_acquire_many_owned(self.share(bytes)).map_err(|_| {
            self.denied.fetch_add(1, Ordering::Relaxed);
            self.is_full()
        })
    }

    pub(crate) async fn take(
        &self,
        bytes: usize,
        until: Instant,
    ) -> Result<OwnedSemaphorePermit, Problem> {
        if let Ok(taken) = self.units.clone().try_acquire_many_owned(self.share(bytes)) {
            return Ok(taken);
        }
        let _waits = Waits::new(self);
        let taken = self.units.clone().acquire_many_owned(self.share(bytes));
        let taken: Result<Result<_, AcquireError>, _> = timeout_at(until, taken).await;
        // It is never closed.
        taken.ok().and_then(Result::ok).ok_or_else(|| self.is_full())
    }

    /// Takes `bytes` more for a connection that holds little, from what is kept for such.
    pub(crate) fn take_kept(&self, own: &Budget, bytes: usize) -> Option<OwnedSemaphorePermit> {
        (own.taken() <= KEPT_BYTES).then(|| self.try_take(bytes).ok()).flatten()
    }

    /// Number of times that a caller was left without, which grows with each look while one waits.
    pub(crate) fn denied(&self) -> u64 {
        let is_waited_for = self.waiting.load(Ordering::Relaxed) > 0;
        self.denied.fetch_add(u64::from(is_waited_for), Ordering::Relaxed)
            + u64::from(is_waited_for)
    }

    pub(crate) fn is_full(&self) -> Problem {
        let what = "too many bytes of requests, of bodies that are not complete, and of answers that are not taken";
        let problem = Problem::limit(Kind::BuffersFull, self.limit, self.max, what);
        problem.hint("take the answers that were asked for, then ask again")
    }
}

impl<'a> Waits<'a> {
    fn new(budget: &'a Budget) -> Waits<'a> {
        budget.waiting.fetch_add(1, Ordering::Relaxed);
        budget.denied.fetch_add(1, Ordering::Relaxed);
        Waits(budget)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Share {
    /// The share of a connection that may hold so many bytes.
    pub(crate) fn new(max: usize, is_small: bool) -> Share {
        // A few small answers have room at once, in whatever small parts they come.
        let max = if is_small { (max / SMALL_SHARE).max(KEPT_BYTES) } else { max };
        let budget = Budget::new("buffered_bytes_per_connection", max);
        Share { budget, turn: tokio::sync::Mutex::default() }
    }
}
