//! Room for what is held until a client has sent or taken all of it: bodies of requests, and answers (invariant A9).
//!
//! Who holds bytes for a client holds room for them, of its connection's share and of the server's. There is room again when the bytes are
//! dropped, wherever they have got to by then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use halfping_engine::{Limits, Path, Reading};
use http::Request;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::connection::Connection;
use crate::problem::Problem;
use crate::shared::Shared;

/// Bytes that are counted as one.
const UNIT: usize = 1 << 10;
/// What any answer is counted as, small as it may be. A value of so many bytes is looked up without another look at its length.
pub(crate) const ANSWER_BYTES: usize = 16 << 10;

/// The share of `buffered_bytes` that small answers have beside it.
const SMALL_SHARE: usize = 16;

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

/// Looks whether room is wanted that somebody has: how often others were left without, at the look before.
#[derive(Debug, Default)]
pub(crate) struct Wanted([u64; 3]);

/// Room that somebody has; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    own: OwnedSemaphorePermit,
    all: OwnedSemaphorePermit,
    /// It is part of what is kept for small answers and bodies.
    is_small: bool,
}

/// Room for the head of a request over HTTP/2, until that is answered.
#[derive(Debug)]
pub(crate) struct HeadRoom {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// What a request is counted as besides its head.
const REQUEST_BYTES: usize = 2 << 10;
/// What one header takes in memory besides its name and its value, and its place in the table's index.
const HEADER_BYTES: usize = 128;

fn units(bytes: usize) -> u32 {
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

    /// What one connection may hold of that.
    pub(crate) fn of_connection(max: usize) -> Budget {
        Budget::new("buffered_bytes_per_connection", max)
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
    fn share(&self, bytes: usize) -> u32 {
        units(bytes).min(units(self.max))
    }

    fn try_take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        self.units.clone().try_acquire_many_owned(self.share(bytes)).map_err(|_| {
            self.denied.fetch_add(1, Ordering::Relaxed);
            self.is_full()
        })
    }

    async fn take(&self, bytes: usize, until: Instant) -> Result<OwnedSemaphorePermit, Problem> {
        if let Ok(taken) = self.units.clone().try_acquire_many_owned(self.share(bytes)) {
            return Ok(taken);
        }
        let _waits = Waits::new(self);
        let taken = self.units.clone().acquire_many_owned(self.share(bytes));
        let taken: Result<Result<_, AcquireError>, _> = timeout_at(until, taken).await;
        // It is never closed.
        taken.ok().and_then(Result::ok).ok_or_else(|| self.is_full())
    }

    /// How often somebody was left without, which grows with each look while somebody waits.
    fn denied(&self) -> u64 {
        let is_waited_for = self.waiting.load(Ordering::Relaxed) > 0;
        self.denied.fetch_add(u64::from(is_waited_for), Ordering::Relaxed) + u64::from(is_waited_for)
    }

    fn is_full(&self) -> Problem {
        let what =
            "too many bytes of requests, of bodies that are not complete, and of answers that are not taken";
        let problem = Problem::limit("buffers-full", self.limit, self.max, what);
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

impl Wanted {
    /// Whether room of this connection was wanted since the look before: what is large, and what is small.
    pub(crate) fn look(&mut self, shared: &Shared, connection: &Connection) -> [bool; 2] {
        let budgets = [connection.budget(), shared.budget_of(false), shared.budget_of(true)];
        let now = budgets.map(Budget::denied);
        let before = std::mem::replace(&mut self.0, now);
        let [own, large, small] = std::array::from_fn(|which| now[which] != before[which]);
        [own || large, own || small]
    }
}

impl HeadRoom {
    /// Room for the head of a request, if there is any now: until it has its turn, the head is in memory.
    pub(crate) fn try_reserve<B>(
        shared: &Shared,
        connection: &Connection,
        request: &Request<B>,
    ) -> Result<HeadRoom, Problem> {
        let headers = request.headers();
        let texts: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let places = headers.capacity().max(headers.len());
        let bytes = REQUEST_BYTES + HEADER_BYTES * places + texts + target;
        let own = connection.heads().try_take(bytes)?;
        Ok(HeadRoom { _own: own, _all: shared.heads_budget.try_take(bytes)? })
    }
}

impl Room {
    /// Whether it is part of what is kept for small answers and bodies.
    pub(crate) fn is_small(&self) -> bool {
        self.is_small
    }

    /// Room for so many bytes, as soon as there is.
    pub(crate) async fn reserve(
        shared: &Shared,
        connection: &Connection,
        bytes: usize,
    ) -> Result<Room, Problem> {
        let until = Instant::now() + Duration::from_millis(shared.limits.answer_timeout_ms);
        // First its own share: who waits for that keeps nothing from others.
        let own = connection.budget().take(bytes, until).await?;
        // Small answers do not wait behind large ones that others are waited for with.
        let is_small = bytes <= ANSWER_BYTES;
        Ok(Room { own, all: shared.budget_of(is_small).take(bytes, until).await?, is_small })
    }

    /// Room for so many bytes, if there is any now. `at_most`: what it may grow to.
    pub(crate) fn try_reserve(
        shared: &Shared,
        connection: &Connection,
        bytes: usize,
        at_most: usize,
    ) -> Result<Room, Problem> {
        let own = connection.budget().try_take(bytes)?;
        let is_small = at_most.max(bytes) <= ANSWER_BYTES;
        Ok(Room { own, all: shared.budget_of(is_small).try_take(bytes)?, is_small })
    }

    /// Takes room for so many more bytes, if there is any now.
    pub(crate) fn try_grow(
        &mut self,
        shared: &Shared,
        connection: &Connection,
        bytes: usize,
    ) -> Result<(), Problem> {
        let all = shared.budget_of(self.is_small);
        for (permit, budget) in [(&mut self.own, connection.budget()), (&mut self.all, all)] {
            // Who has all of it already is alone.
            let left = units(budget.max) as usize - permit.num_permits();
            if left > 0 {
                permit.merge(budget.try_take(bytes.min(UNIT * left))?);
            }
        }
        Ok(())
    }

    /// A part of it, for so many bytes, if it has more than that.
    pub(crate) fn split(&mut self, bytes: usize) -> Option<Room> {
        let units = units(bytes) as usize;
        let has_more = self.own.num_permits() > units && self.all.num_permits() > units;
        has_more.then(|| {
            Some(Room { own: self.own.split(units)?, all: self.all.split(units)?, is_small: self.is_small })
        })?
    }

    /// Gives back what is not needed for so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let kept = units(bytes) as usize;
        for permit in [&mut self.own, &mut self.all] {
            drop(permit.split(permit.num_permits().saturating_sub(kept)));
        }
    }
}

/// Reads a value when there is room for it.
pub(crate) async fn read(
    shared: &Arc<Shared>,
    connection: &Connection,
    path: &Path,
    depth: u32,
) -> Result<(Reading, Room), Problem> {
    let mut bytes = ANSWER_BYTES;
    loop {
        let mut room = Room::reserve(shared, connection, bytes).await?;
        match shared.read_within(connection.turns(), path, depth, bytes).await {
            Ok(reading) => {
                let reading = reading?;
                room.shrink(reading.value.as_ref().map_or(0, Bytes::len));
                return Ok((reading, room));
            }
            // It may have grown when its turn comes.
            Err(len) => bytes = len,
        }
    }
}
