//! The document of the server's own state: the members of `/_server` (PROTOCOL O5).

use std::collections::BTreeMap;

use halfping_engine::{Limits, LinkStanding, Standing, Stats};
use serde::Serialize;

use super::Seen;
use crate::metrics::{Ages, Metrics};

#[derive(Serialize)]
pub(super) struct Document<'a> {
    pub(super) version: &'static str,
    pub(super) epoch: String,
    pub(super) revision: u64,
    pub(super) started: u64,
    pub(super) now: u64,
    pub(super) status: &'static str,
    pub(super) storage: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_bytes: Option<u64>,
    pub(super) tree: Tree,
    pub(super) counts: Counts,
    pub(super) totals: Totals<u64>,
    pub(super) rates: Totals<f64>,
    pub(super) age_ms: AgeMs,
    pub(super) limits: &'a Limits,
    pub(super) views: &'a BTreeMap<String, String>,
    pub(super) sessions: BTreeMap<u64, Session>,
}

#[derive(Serialize)]
pub(super) struct Tree {
    bytes: usize,
    names: usize,
    tombstones: usize,
    tombstone_bytes: usize,
    garbage: usize,
}

#[derive(Serialize)]
pub(super) struct Counts {
    connections: i64,
    sessions: usize,
    links: usize,
    places: usize,
    places_bytes: usize,
    views: usize,
    views_unindexed: usize,
    buffered_bytes: usize,
}

/// Totals since the start, or of a recent second.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Totals<N> {
    requests: N,
    commands: N,
    commits: N,
    frames: N,
    frames_shared: N,
    conflated: N,
    bytes_in: N,
    bytes_out: N,
}

/// Percentiles of the ages of recent frames when they were handed to their connections.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct AgeMs {
    p50: Option<u64>,
    p99: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Session {
    transport: &'static str,
    remote: Option<String>,
    since: u64,
    links_total: usize,
    behind: bool,
    age_ms: u64,
    frames: u64,
    conflated: u64,
    bytes: u64,
    rates: SessionRates,
    links: BTreeMap<u32, Link>,
}

#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct SessionRates {
    pub(super) frames: f64,
    pub(super) bytes: f64,
}

#[derive(Serialize)]
struct Link {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    behind: bool,
}

/// The rate of so many in so many seconds, to a tenth a second.
pub(super) fn rate(count: u64, seconds: f64) -> f64 {
    (10.0 * count as f64 / seconds).round() / 10.0
}

impl Tree {
    pub(super) fn of(stats: &Stats) -> Tree {
        Tree {
            bytes: stats.tree_bytes,
            names: stats.names,
            tombstones: stats.tombstones,
            tombstone_bytes: stats.tombstone_bytes,
            garbage: stats.garbage,
        }
    }
}

impl Counts {
    pub(super) fn of(stats: &Stats, metrics: &Metrics, buffered_bytes: usize) -> Counts {
        Counts {
            connections: metrics.connections.get(),
            sessions: stats.sessions,
            links: stats.links,
            places: stats.places,
            places_bytes: stats.places_bytes,
            views: stats.views,
            views_unindexed: stats.unindexed_lenses,
            buffered_bytes,
        }
    }
}

impl Totals<u64> {
    pub(super) fn of(stats: &Stats, metrics: &Metrics) -> Totals<u64> {
        Totals {
            requests: metrics.requests.sum(),
            commands: metrics.commands.get(),
            commits: metrics.commits.get(),
            frames: stats.frames,
            frames_shared: stats.frames_shared,
            conflated: stats.conflated,
            bytes_in: metrics.bytes_in.get(),
            bytes_out: metrics.bytes_out.get(),
        }
    }

    pub(super) fn rates(&self, before: &Totals<u64>, seconds: f64) -> Totals<f64> {
        let rate = |now: u64, before: u64| rate(now.saturating_sub(before), seconds);
        Totals {
            requests: rate(self.requests, before.requests),
            commands: rate(self.commands, before.commands),
            commits: rate(self.commits, before.commits),
            frames: rate(self.frames, before.frames),
            frames_shared: rate(self.frames_shared, before.frames_shared),
            conflated: rate(self.conflated, before.conflated),
            bytes_in: rate(self.bytes_in, before.bytes_in),
            bytes_out: rate(self.bytes_out, before.bytes_out),
        }
    }
}

impl AgeMs {
    pub(super) fn between(before: &[u64], now: &[u64]) -> AgeMs {
        let counts: Vec<u64> = now.iter().zip(before).map(|(now, before)| now - before).collect();
        let of = |percent: u64| {
            let nth = (counts.iter().sum::<u64>() * percent).div_ceil(100);
            let mut passed = 0;
            let bucket = counts.iter().position(|count| {
                passed += count;
                passed >= nth
            });
            bucket.filter(|_| nth > 0).map(Ages::bound_ms)
        };
        AgeMs { p50: of(50), p99: of(99) }
    }
}

impl Session {
    pub(super) fn new(
        seen: &Seen,
        standing: &Standing,
        rates: SessionRates,
        links: Vec<LinkStanding>,
    ) -> Session {
        Session {
            transport: seen.transport.name(),
            remote: seen.connection.remote.map(|address| address.to_string()),
            since: seen.since.0,
            links_total: standing.links,
            behind: standing.behind,
            age_ms: standing.age_ms,
            frames: standing.frames,
            conflated: standing.conflated,
            bytes: seen.bytes(),
            rates,
            links: links.into_iter().map(|link| (link.tag, Link::new(link))).collect(),
        }
    }
}

impl Link {
    fn new(link: LinkStanding) -> Link {
        Link {
            path: link.path,
            view: link.view,
            depth: link.depth,
            rate: (link.interval_ms > 0).then(|| rate(1000, link.interval_ms as f64)),
            priority: Some(link.priority).filter(|priority| *priority > 0),
            behind: link.behind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_of_the_frames_in_between() {
        let mut before = [0; Ages::BUCKETS];
        before[9] = 1000;
        let mut now = before;
        assert!(AgeMs::between(&before, &now).p50.is_none());
        (now[0], now[3], now[Ages::BUCKETS - 1]) = (98, 1, 1);
        let AgeMs { p50, p99 } = AgeMs::between(&before, &now);
        assert_eq!((p50, p99), (Some(1), Some(8)));
    }
}
