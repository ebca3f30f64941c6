//! What is counted per connection: its links and its writes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use halfping_engine::Limits;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::OwnedSemaphorePermit;

use crate::metrics::Metrics;
use crate::problem::Problem;

/// One client connection, as far as its bounds go. It is open as long as anybody holds this.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its place among all connections of our own server.
    _place: Option<Place>,
    /// Who is on the other side, as far as we know: it may be a proxy.
    pub(crate) remote: Option<SocketAddr>,
    links: AtomicUsize,
    links_max: usize,
    writes: Mutex<Pace>,
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

/// Something that may happen so many times a second, sustained (the generic cell rate algorithm).
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: u32,
    /// When the next would be due if they came evenly.
    next: Option<Instant>,
}

impl Pace {
    /// How far ahead of an even pace they may run.
    const BURST: Duration = Duration::from_secs(1);

    pub(crate) fn new(per_second: u32) -> Pace {
        Pace { per_second, next: None }
    }

    /// Accounts for one. False, and not accounted for, when it comes too early.
    pub(crate) fn keep(&mut self, now: Instant) -> bool {
        let due = self.next.unwrap_or(now).max(now);
        if due - now > Self::BURST {
            return false;
        }
        self.next = Some(due + Duration::from_secs(1) / self.per_second);
        true
    }
}

impl Connection {
    pub(crate) fn new(limits: &Limits) -> Connection {
        Connection {
            _place: None,
            remote: None,
            links: AtomicUsize::new(0),
            links_max: limits.links_per_connection,
            writes: Mutex::new(Pace::new(limits.writes_per_second)),
        }
    }

    pub(crate) fn at(place: Place, remote: SocketAddr, limits: &Limits) -> Connection {
        Connection { _place: Some(place), remote: Some(remote), ..Connection::new(limits) }
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
        let mut writes = self.writes.lock();
        match writes.keep(Instant::now()) {
            true => Ok(()),
            false => Err(Problem::limit(
                "write-rate",
                "writes_per_second",
                writes.per_second as usize,
                "the connection writes faster than it may",
            )),
        }
    }
}
