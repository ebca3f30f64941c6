//! Metrics for the operator, in the Prometheus text format.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

use halfping_engine::{Kind, Stats};
use halfping_journal::FaultKind;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::problem::Problem;
use crate::process::Process;

type Label = [(&'static str, &'static str); 1];

/// Counters by a label whose values are known. They are found once, since looking a label up costs
/// more than counting.
pub(crate) struct ByLabel<const N: usize> {
    family: Family<Label, Counter>,
    counters: [(&'static str, Counter); N],
}

impl<const N: usize> ByLabel<N> {
    fn new(label: &'static str, values: [&'static str; N]) -> ByLabel<N> {
        let family = Family::<Label, Counter>::default();
        let counters = values.map(|value| (value, family.get_or_create(&[(label, value)]).clone()));
        ByLabel { family, counters }
    }

    /// The counter of a value; the last one's for any that is not known.
    pub(crate) fn of(&self, value: &str) -> &Counter {
        let known = self.counters.iter().find(|(known, _)| *known == value);
        &known.unwrap_or(&self.counters[N - 1]).1
    }

    /// The sum of all counters.
    pub(crate) fn sum(&self) -> u64 {
        self.counters.iter().map(|(_, counter)| counter.get()).sum()
    }
}

/// Ages of frames: as the histogram that operators collect, and as counts that can be compared with
/// those of a second ago.
pub(crate) struct Ages {
    histogram: Histogram,
    counts: [AtomicU64; Ages::BUCKETS],
}

impl Ages {
    /// Number of buckets. Each is twice as wide as the one before it; the last has no bound.
    pub(crate) const BUCKETS: usize = 17;

    fn new() -> Ages {
        let bounds = (0..Ages::BUCKETS - 1).map(|bucket| Ages::bound_ms(bucket) as f64 / 1000.0);
        Ages { histogram: Histogram::new(bounds), counts: Default::default() }
    }

    pub(crate) fn observe(&self, age_ms: u64) {
        self.histogram.observe(age_ms as f64 / 1000.0);
        let bucket = age_ms.max(1).next_power_of_two().trailing_zeros() as usize;
        self.counts[bucket.min(Ages::BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    /// The greatest age in a bucket; frames older than the last but one allows count as twice as
    /// old.
    pub(crate) fn bound_ms(bucket: usize) -> u64 {
        1 << bucket
    }

    /// Number of frames so far in each bucket.
    pub(crate) fn counts(&self) -> [u64; Ages::BUCKETS] {
        std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed))
    }
}

const METHODS: [&str; 8] = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE", "other"];

pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) commits: Counter,
    pub(crate) connections: Gauge,
    pub(crate) connections_total: Counter,
    pub(crate) buffered_bytes: Gauge,
    pub(crate) requests: ByLabel<8>,
    pub(crate) streams: Family<Label, Gauge>,
    pub(crate) frames: ByLabel<4>,
    pub(crate) bytes_out: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) commands: Counter,
    pub(crate) frame_age: Ages,
    pub(crate) journal_transactions: Counter,
    pub(crate) journal_bytes: Counter,
    storage_faults: Family<Label, Counter>,
    problems: Family<Label, Counter>,
    limits_hit: Family<Label, Counter>,
    pub(crate) reloads: ByLabel<2>,
    pub(crate) key_fetches: ByLabel<2>,
}

/// Label values of what works and what does not.
const OUTCOMES: [&str; 2] = ["ok", "failed"];

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("halfping");
        let metrics = Metrics {
            commits: Counter::default(),
            connections: Gauge::default(),
            connections_total: Counter::default(),
            buffered_bytes: Gauge::default(),
            requests: ByLabel::new("method", METHODS),
            streams: Family::default(),
            frames: ByLabel::new(
                "kind",
                [Kind::Snapshot, Kind::Merge, Kind::Patch, Kind::Gone].map(Kind::name),
            ),
            bytes_out: Counter::default(),
            bytes_in: Counter::default(),
            commands: Counter::default(),
            frame_age: Ages::new(),
            journal_transactions: Counter::default(),
            journal_bytes: Counter::default(),
            storage_faults: Family::default(),
            problems: Family::default(),
            limits_hit: Family::default(),
            reloads: ByLabel::new("outcome", OUTCOMES),
            key_fetches: ByLabel::new("outcome", OUTCOMES),
            registry: Registry::default(),
        };
        registry.register("commits", "Commits that were accepted", metrics.commits.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register(
            "connections_accepted",
            "Connections so far",
            metrics.connections_total.clone(),
        );
        registry.register(
            "buffered_bytes",
            "Bytes held of answers that are not taken, and of bodies that are read",
            metrics.buffered_bytes.clone(),
        );
        registry.register("requests", "Requests by method", metrics.requests.family.clone());
        registry.register("streams", "Open streams by transport", metrics.streams.clone());
        registry.register("frames", "Frames sent by kind", metrics.frames.family.clone());
        registry.register(
            "stream_bytes",
            "Bytes handed to connections by streams",
            metrics.bytes_out.clone(),
        );
        registry.register(
            "body_bytes",
            "Bytes of request bodies, and of sessions' messages",
            metrics.bytes_in.clone(),
        );
        registry.register("commands", "Commands of sessions", metrics.commands.clone());
        registry.register(
            "frame_age_seconds",
            "Age of the newest change in a frame when it was handed to the connection (first states not counted)",
            metrics.frame_age.histogram.clone(),
        );
        registry.register(
            "journal_transactions",
            "Times that commits were made durable, any number of them at once",
            metrics.journal_transactions.clone(),
        );
        registry.register(
            "journal_bytes",
            "Bytes of commits made durable",
            metrics.journal_bytes.clone(),
        );
        registry.register(
            "storage_faults",
            "Times that the store failed, by what was wrong",
            metrics.storage_faults.clone(),
        );
        registry.register("problems", "Refused requests by problem", metrics.problems.clone());
        registry.register(
            "limits_hit",
            "Times that a limit was reached",
            metrics.limits_hit.clone(),
        );
        registry.register(
            "reloads",
            "Times that rules and keys were read again; those that failed changed nothing",
            metrics.reloads.family.clone(),
        );
        registry.register(
            "key_fetches",
            "Times that keys of issuers were fetched",
            metrics.key_fetches.family.clone(),
        );
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    pub(crate) fn refused(&self, problem: &Problem) {
        self.problems.get_or_create(&[("type", problem.kind().name())]).inc();
        if let Some(limit) = problem.limit_name() {
            self.limit_hit(limit);
        }
    }

    /// Counts a failure of the store.
    pub(crate) fn storage_fault(&self, kind: FaultKind) {
        self.storage_faults.get_or_create(&[("kind", kind.name())]).inc();
    }

    /// Counts a limit that was reached.
    pub(crate) fn limit_hit(&self, limit: &'static str) {
        self.limits_hit.get_or_create(&[("limit", limit)]).inc();
    }

    /// All numbers as OpenMetrics, with those of the engine, the store and the process as they are
    /// now.
    pub(crate) fn text(&self, engine: &Stats, storage_works: bool, process: &Process) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut out, &self.registry);
        let end = out.rfind("# EOF").unwrap_or(out.len());
        out.truncate(end);
        for (name, kind, help, value) in [
            ("revision", "gauge", "Newest revision", engine.revision.0),
            ("tree_bytes", "gauge", "Bytes of the whole tree as JSON", engine.tree_bytes as u64),
            (
                "tombstones",
                "gauge",
                "Removed members that are remembered",
                engine.tombstones as u64,
            ),
            (
                "walk_notes_bytes",
                "gauge",
                "Bytes of notes for readers of large states",
                engine.walk_notes_bytes as u64,
            ),
            (
                "tombstone_bytes",
                "gauge",
                "Bytes of the names of removed members that are remembered",
                engine.tombstone_bytes as u64,
            ),
            (
                "garbage",
                "gauge",
                "Members of removed objects that are still in memory",
                engine.garbage as u64,
            ),
            ("member_names", "gauge", "Different member names in use", engine.names as u64),
            ("sessions", "gauge", "Open sessions", engine.sessions as u64),
            ("links", "gauge", "Links of all sessions", engine.links as u64),
            (
                "watched_places",
                "gauge",
                "Paths with links on or beneath them",
                engine.places as u64,
            ),
            ("watched_places_bytes", "gauge", "Bytes that these take", engine.places_bytes as u64),
            ("views", "gauge", "Different views that links look through", engine.views as u64),
            (
                "views_unindexed",
                "gauge",
                "Conditions and orders that every changed member has to be asked about",
                engine.unindexed_lenses as u64,
            ),
            ("view_rows", "gauge", "Rows of the orders of views", engine.view_rows as u64),
            (
                "storage_works",
                "gauge",
                "1 unless durable writes are refused",
                u64::from(storage_works),
            ),
            (
                "frames_shared",
                "counter",
                "Frames that another reader had made already",
                engine.frames_shared,
            ),
            (
                "conflated_updates",
                "counter",
                "Updates never sent because something newer was there",
                engine.conflated,
            ),
        ] {
            push(&mut out, &format!("halfping_{name}"), kind, help, value);
        }
        // Names as Prometheus' own libraries have them.
        for (name, kind, help, value) in [
            ("cpu_seconds", "counter", "Processor time in seconds", process.cpu_seconds),
            (
                "resident_memory_bytes",
                "gauge",
                "Memory in use",
                process.resident_bytes.map(|n| n as f64),
            ),
            (
                "virtual_memory_bytes",
                "gauge",
                "Addresses in use",
                process.virtual_bytes.map(|n| n as f64),
            ),
            ("open_fds", "gauge", "Open files and sockets", process.open_fds.map(|n| n as f64)),
            (
                "max_fds",
                "gauge",
                "How many of these there may be",
                process.max_fds.map(|n| n as f64),
            ),
            (
                "start_time_seconds",
                "gauge",
                "When the process was started, in seconds since 1970",
                process.start_time_seconds,
            ),
        ] {
            let Some(value) = value else { continue };
            push(&mut out, &format!("process_{name}"), kind, help, value);
        }
        out.push_str("# EOF\n");
        out
    }
}

/// Adds a family of one number.
fn push(out: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    let total = if kind == "counter" { "_total" } else { "" };
    out.push_str(&format!("# HELP {name} {help}.\n# TYPE {name} {kind}\n{name}{total} {value}\n"));
}

/// These numbers in the text format that Prometheus had before (version 0.0.4): there a counter's
/// family is named as its lines are, and there is no end.
pub(crate) fn in_plain_text(openmetrics: &str) -> String {
    let is_counter = |line: &&str| line.starts_with("# TYPE ") && line.ends_with(" counter");
    let counters: HashSet<&str> =
        openmetrics.lines().filter(is_counter).filter_map(|line| line.split(' ').nth(2)).collect();
    let mut out = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT "))
    {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(kind), Some(name), Some(rest)) if counters.contains(name) => {
                out.push_str(&format!("# {kind} {name}_total {rest}\n"));
            }
            _ => out.push_str(&format!("{line}\n")),
        }
    }
    out
}
