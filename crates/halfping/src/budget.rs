//! Budgets: how much may be held at once, of a connection and of all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use halfping_engine::Limits;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::problem::{Kind, Problem};

/// Bytes that are counted as one.
pub(crate) const UNIT: usize = 1 << 10;
/// Answers and bodies of so many bytes are small: they have room of their own.
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
    /// Who waits for some of it.
    waiting: AtomicUsize,
    /// How often somebody was left without.
    denied: AtomicU64,
}

/// Somebody who waits for some of a budget.
struct Waits<'a>(&'a Budget);

/// What one connection may hold of answers and bodies, large or small.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) budget: Budget,
    /// Held by the one of its requests that waits for room of all, so that connections have their
    /// turns one after the other.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

pub(crate) fn units(bytes: usize) -> u32 {
    bytes.div_ceil(UNIT).clamp(1, u32::MAX as usize) as u32
}

impl Budget {
    /// What the whole server may hold.
    pub(crate) fn of_all(limits: &Limits) -> Budget {
        Budget::new("buffered_bytes", limits.buffered_bytes)
    }

    /// What small answers may hold beside that.
    pub(crate) fn of_small(limits: &Limits) -> Budget {
        Budget::new("buffered_bytes", limits.buffered_bytes / SMALL_SHARE)
    }

    /// What is kept for connections that hold little: enough for all of them, and for what stands
    /// for those of somebody else's server.
    pub(crate) fn of_kept(limits: &Limits) -> Budget {
        let connections = limits.connections.saturating_add(1);
        Budget::new("buffered_bytes", connections.saturating_mul(KEPT_BYTES))
    }

    /// What heads of requests may take, over all connections.
    pub(crate) fn of_heads(limits: &Limits) -> Budget {
        Budget::new("heads_bytes", limits.heads_bytes)
    }

    /// The same of one connection.
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

    /// What is larger than all of it can be held alone.
    pub(crate) fn share(&self, bytes: usize) -> u32 {
        units(bytes).min(units(self.max))
    }

    pub(crate) fn try_take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        self.units.clone().try_acquire_many_owned(self.share(bytes)).map_err(|_| {
            self.denied.fetch_add(1, Ordering::Relaxed);
            self.is_full()
        })
    }

    pub(crate) async fn take(&self, bytes: usize, until: Instant) -> Result<OwnedSemaphorePermit, Problem> {
        if let Ok(taken) = self.units.clone().try_acquire_many_owned(self.share(bytes)) {
            return Ok(taken);
        }
        let _waits = Waits::new(self);
        let taken = self.units.clone().acquire_many_owned(self.share(bytes));
        let taken: Result<Result<_, AcquireError>, _> = timeout_at(until, taken).await;
        // It is never closed.
        taken.ok().and_then(Result::ok).ok_or_else(|| self.is_full())
    }

    /// What is kept for a connection that holds little, when it holds so many bytes more.
    pub(crate) fn take_kept(&self, own: &Budget, bytes: usize) -> Option<OwnedSemaphorePermit> {
        (own.taken() <= KEPT_BYTES).then(|| self.try_take(bytes).ok()).flatten()
    }

    /// How often somebody was left without, which grows with each look while somebody waits.
    pub(crate) fn denied(&self) -> u64 {
        let is_waited_for = self.waiting.load(Ordering::Relaxed) > 0;
        self.denied.fetch_add(u64::from(is_waited_for), Ordering::Relaxed) + u64::from(is_waited_for)
    }

    pub(crate) fn is_full(&self) -> Problem {
        let what =
            "too many bytes of requests, of bodies that are not complete, and of answers that are not taken";
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
    /// Of a connection that may hold so many bytes.
    pub(crate) fn new(max: usize, is_small: bool) -> Share {
        // A few small ones have room at once, in whatever small parts they come.
        let max = if is_small { (max / SMALL_SHARE).max(KEPT_BYTES) } else { max };
        let budget = Budget::new("buffered_bytes_per_connection", max);
        Share { budget, turn: tokio::sync::Mutex::default() }
    }
}
