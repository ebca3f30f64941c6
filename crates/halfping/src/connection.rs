//! Accounts of one connection: its links and its writes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use halfping_engine::{Charge, Limits};
use parking_lot::{Mutex, MutexGuard};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::answers::Answers;
use crate::aside::Turns;
use crate::budget::{Budget, Share};
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};

/// One client connection, as far as its bounds go. It is open as long as anybody holds this.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its place among all connections of Halfping's own server.
    _place: Option<Place>,
    /// The address of the other side, as far as it is known: it may be a proxy.
    pub(crate) remote: Option<SocketAddr>,
    limits: Arc<Limits>,
    links: AtomicU32,
    /// Links that look through views.
    views: AtomicU32,
    places_bytes: AtomicUsize,
    /// Accounts that are made when the first request needs them; a stream does not.
    held: OnceLock<Box<Held>>,
    /// Signal that ends the serving of its requests, while that goes on.
    cut: Mutex<Option<Arc<Notify>>>,
}

// Every session and stream has one: with the two counts around it, it takes the 128 bytes that an
// allocator gives it. Fields that a connection which only listens does not need belong in `Held`.
const _: () = assert!(std::mem::size_of::<Connection>() <= 112);

/// Accounts of what is held for a connection.
#[derive(Debug)]
struct Held {
    /// Its shares of large answers and bodies, and of small ones.
    shares: [Share; 2],
    /// Its budget of requests' heads.
    heads: Budget,
    /// Answers that it has not taken yet.
    answers: Mutex<Answers>,
    /// Writes that it may make.
    writes: Mutex<Pace>,
    /// Its turns where long work is done.
    turns: Turns,
    /// Its turns where large commits are made.
    commits: Turns,
}

impl Held {
    /// The accounts of a connection that may hold so many bytes.
    fn new(limits: &Limits, buffered_max: usize, turns: fn() -> Turns) -> Box<Held> {
        Box::new(Held {
            shares: [false, true].map(|is_small| Share::new(buffered_max, is_small)),
            heads: Budget::of_heads_of_connection(limits.heads_bytes_per_connection),
            answers: Mutex::default(),
            writes: Mutex::default(),
            turns: turns(),
            commits: turns(),
        })
    }
}

/// One of the connections that a server has room for; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    open: Gauge,
}

impl Place {
    pub(crate) fn new(permit: OwnedSemaphorePermit, metrics: &Metrics) -> Place {
        metrics.connections.inc();
        metrics.connections_total.inc();
        Place { _permit: permit, open: metrics.connections.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// A limit on how often something may happen in a second, sustained (the generic cell rate
/// algorithm).
///
/// Every session has some of these, so they take no more room than they need: the number a second
/// is given with each call.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Time at which the next would be due if they came evenly, in nanoseconds since [`START`].
    next: u64,
}

/// The time from which paces count.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Pace {
    /// Time by which they may run ahead of an even pace.
    const BURST: Duration = Duration::from_secs(1);

    /// Accounts for one. False if it comes too early: then it is not accounted for.
    pub(crate) fn keep(&mut self, per_second: u32, now: Instant) -> bool {
        let is_on_time = self.resumes(now).is_none();
        if is_on_time {
            self.charge(1, per_second, now);
        }
        is_on_time
    }

    /// Accounts for many, whenever they come.
    pub(crate) fn charge(&mut self, count: usize, per_second: u32, now: Instant) {
        let since_start = now.saturating_duration_since(*START).as_nanos() as u64;
        let takes = count as u64 * 1_000_000_000 / u64::from(per_second);
        self.next = self.next.max(since_start) + takes;
    }

    /// Time from which there may be more, if that is later than now.
    pub(crate) fn resumes(&self, now: Instant) -> Option<Instant> {
        let resumes = (*START + Duration::from_nanos(self.next)).checked_sub(Self::BURST)?;
        (resumes > now).then_some(resumes)
    }
}

impl Connection {
    pub(crate) fn new(limits: &Arc<Limits>) -> Connection {
        Connection {
            _place: None,
            remote: None,
            limits: limits.clone(),
            links: AtomicU32::new(0),
            views: AtomicU32::new(0),
            places_bytes: AtomicUsize::new(0),
            held: OnceLock::new(),
            cut: Mutex::default(),
        }
    }

    /// A stand-in for the connections of a foreign server, which are not known and cannot be told
    /// apart: only the bound for all of them holds.
    pub(crate) fn foreign(limits: &Arc<Limits>) -> Connection {
        let held = Held::new(limits, limits.buffered_bytes, Turns::of_many);
        Connection { held: OnceLock::from(held), ..Connection::new(limits) }
    }

    fn held(&self) -> &Held {
        let limits = &self.limits;
        let buffered_max = limits.buffered_bytes_per_connection;
        self.held.get_or_init(|| Held::new(limits, buffered_max, Turns::default))
    }

    /// Begins the serving of its requests. The returned signal ends it: when an answer was given up
    /// behind which no other can come.
    pub(crate) fn begin_requests(&self) -> Arc<Notify> {
        self.cut.lock().insert(Arc::default()).clone()
    }

    /// Ends its requests; it may go on as a stream or session.
    pub(crate) fn end_requests(&self) {
        *self.cut.lock() = None;
    }

    /// Ends the serving of its requests.
    pub(crate) fn cut(&self) {
        if let Some(cut) = &*self.cut.lock() {
            cut.notify_one();
        }
    }

    /// Its share of small answers and bodies, or of the rest.
    pub(crate) fn share(&self, is_small: bool) -> &Share {
        &self.held().shares[usize::from(is_small)]
    }

    /// Its budget of requests' heads.
    pub(crate) fn heads(&self) -> &Budget {
        &self.held().heads
    }

    /// Its turns where long work is done.
    pub(crate) fn turns(&self) -> &Turns {
        &self.held().turns
    }

    /// Its turns where large commits are made.
    pub(crate) fn commits(&self) -> &Turns {
        &self.held().commits
    }

    /// Answers that it has not taken yet.
    pub(crate) fn answers(&self) -> MutexGuard<'_, Answers> {
        self.held().answers.lock()
    }

    pub(crate) fn at(place: Place, remote: SocketAddr, limits: &Arc<Limits>) -> Connection {
        Connection { _place: Some(place), remote: Some(remote), ..Connection::new(limits) }
    }

    /// Accounts for more links, at their charge.
    pub(crate) fn add_links(&self, charge: Charge) -> Result<(), Problem> {
        let Charge { links, views, bytes } = charge;
        let add = |account: &AtomicU32, more| account.fetch_add(more, Ordering::Relaxed) + more;
        let links = add(&self.links, links) as usize;
        let views = add(&self.views, views) as usize;
        let bytes = self.places_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let Limits {
            links_per_connection: links_max,
            views_per_connection: views_max,
            places_bytes_per_connection: bytes_max,
            ..
        } = *self.limits;
        let (kind, limit, max, what) = if links > links_max {
            let what = "the connection has too many open streams and paths";
            (Kind::TooManyLinks, "links_per_connection", links_max, what)
        } else if views > views_max {
            let what = "the connection has too many links that look through views";
            (Kind::TooManyViews, "views_per_connection", views_max, what)
        } else if bytes > bytes_max {
            let what = "the paths of the connection's links have too many and too long names";
            (Kind::TooManyLinks, "places_bytes_per_connection", bytes_max, what)
        } else {
            return Ok(());
        };
        self.remove_links(charge);
        Err(Problem::limit(kind, limit, max, what))
    }

    pub(crate) fn remove_links(&self, Charge { links, views, bytes }: Charge) {
        self.links.fetch_sub(links, Ordering::Relaxed);
        self.views.fetch_sub(views, Ordering::Relaxed);
        self.places_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Accounts for one write.
    pub(crate) fn write(&self) -> Result<(), Problem> {
        let per_second = self.limits.writes_per_second;
        match self.held().writes.lock().keep(per_second, Instant::now()) {
            true => Ok(()),
            false => Err(Problem::limit(
                Kind::WriteRate,
                "writes_per_second",
                per_second as usize,
                "the connection writes faster than it may",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_lets_a_second_come_at_once() {
        let now = *START + Duration::from_secs(1);
        let mut pace = Pace::default();
        assert!((0..1001).all(|_| pace.keep(1000, now)));
        assert!(!pace.keep(1000, now));
        assert!(pace.keep(1000, now + Duration::from_millis(1)));
        let mut pace = Pace::default();
        pace.charge(1000, 1000, now);
        assert_eq!(pace.resumes(now), None);
        pace.charge(3000, 1000, now);
        assert_eq!(pace.resumes(now), Some(now + Duration::from_secs(3)));
        let later = now + Duration::from_secs(9);
        pace.charge(1, 1000, later);
        assert_eq!(pace.resumes(later), None);
    }
}
