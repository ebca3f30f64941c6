//! The server's own state, `/_server`: what it is doing, for whom, and who is behind (PROTOCOL O5 to O8).
//!
//! It costs nothing but a few counters while nobody looks. Whoever asks has it looked up, and while links stand there a thread does so once a
//! second. What differs from the last time is a commit to the engine's [second root](halfping_engine::Engine::commit_own).

mod document;
mod seen;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use halfping_engine::{Json, Limits, SessionId, Standing, Timestamp};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use self::document::{AgeMs, Counts, Document, Session, SessionRates, Totals, Tree, rate};
use crate::metrics::Ages;
use crate::shared::Shared;

pub(crate) use seen::{Seen, Transport};

/// How often it is looked up while somebody watches.
const INTERVAL: Duration = Duration::from_secs(1);
/// How old an answer may be: so many who ask at once cost what one does.
const FRESH: Duration = Duration::from_millis(100);
/// The least time that rates speak of.
const RATES_OVER: Duration = Duration::from_millis(900);
/// Sessions that are shown.
const SESSIONS_SHOWN: usize = 1000;
/// Links of one session that are shown.
const LINKS_SHOWN: usize = 1000;
/// Links of all sessions that are shown. What a look costs is mostly these: about 2 µs each.
const LINKS_SHOWN_IN_ALL: usize = 10_000;

/// What is kept for it.
pub(crate) struct Own {
    started: Timestamp,
    sampler: Mutex<Sampler>,
}

struct Sampler {
    /// When it was last looked up.
    looked: Option<Instant>,
    /// What was found then, which is what the engine has.
    told: Json,
    /// A thread looks it up.
    runs: bool,
    since: Since,
    rates: Totals<f64>,
    age_ms: AgeMs,
    session_rates: HashMap<u64, SessionRates>,
}

/// What rates are counted from.
struct Since {
    at: Instant,
    totals: Totals<u64>,
    ages: [u64; Ages::BUCKETS],
    /// Frames and bytes of each session that was shown.
    sessions: HashMap<u64, (u64, u64)>,
}

/// One session among those that are shown.
struct Shown {
    id: SessionId,
    seen: Arc<Seen>,
    standing: Standing,
}

impl Own {
    pub(crate) fn new(started: Timestamp) -> Own {
        let since = Since {
            at: Instant::now(),
            totals: Totals::default(),
            ages: [0; Ages::BUCKETS],
            sessions: HashMap::new(),
        };
        let sampler = Sampler {
            looked: None,
            told: Json::empty(),
            runs: false,
            since,
            rates: Totals::default(),
            age_ms: AgeMs::default(),
            session_rates: HashMap::new(),
        };
        Own { started, sampler: Mutex::new(sampler) }
    }
}

/// Has it looked up, unless that was done a moment ago.
pub(crate) fn refresh(shared: &Shared) {
    let Some(own) = &shared.own else { return };
    let mut sampler = own.sampler.lock();
    if sampler.looked.is_some_and(|looked| looked.elapsed() < FRESH) {
        return;
    }
    let found = look(shared, own, &mut sampler);
    let now = shared.clock.now();
    let Some(change) = found.clone().over(&sampler.told) else { return };
    let mut state = shared.lock();
    // Without a revision for it, it is tried again the next time.
    if state.engine.commit_own(&change, now) {
        sampler.told = found;
    }
    drop(sampler);
    shared.deliver(state);
}

/// A link stands there now: as long as one does, it is looked up once a second.
pub(crate) fn follow(shared: &Arc<Shared>) {
    let Some(own) = &shared.own else { return };
    let mut sampler = own.sampler.lock();
    if sampler.runs {
        return;
    }
    let (shared, runtime) = (Arc::downgrade(shared), Handle::try_current().ok());
    let spawned = thread::Builder::new().name("own state".into()).spawn(move || {
        // Crowds are served by tasks.
        let _runtime = runtime.as_ref().map(Handle::enter);
        run(&shared);
    });
    match spawned {
        Ok(_) => sampler.runs = true,
        Err(error) => tracing::warn!(%error, "nobody keeps the server's own state up to date"),
    }
}

fn run(shared: &Weak<Shared>) {
    loop {
        thread::sleep(INTERVAL);
        let Some(shared) = shared.upgrade() else { return };
        let Some(own) = &shared.own else { return };
        {
            // Whoever comes after this look finds that nobody is at it.
            let mut sampler = own.sampler.lock();
            sampler.runs = shared.with_engine(halfping_engine::Engine::is_own_watched);
            if !sampler.runs {
                return;
            }
        }
        refresh(&shared);
    }
}

/// All of it as it is now. The engine is asked in small portions, so that nobody waits for it long.
fn look(shared: &Shared, own: &Own, sampler: &mut Sampler) -> Json {
    let (metrics, now) = (&shared.metrics, shared.clock.now());
    let (stats, shown) = shared.with_state(|state| {
        let standing = |(id, seen): (SessionId, &Arc<Seen>)| {
            Some(Shown { id, seen: seen.clone(), standing: state.engine.standing(id, now)? })
        };
        let shown: Vec<Shown> = state.seen().filter_map(standing).take(SESSIONS_SHOWN).collect();
        (state.engine.stats(), shown)
    });
    let totals = Totals::of(&stats, metrics);
    sampler.count(&totals, metrics.frame_age.counts(), &shown);
    let mut left = LINKS_SHOWN_IN_ALL;
    let mut sessions = BTreeMap::new();
    for Shown { id, seen, standing } in &shown {
        let max = LINKS_SHOWN.min(left);
        // In the meantime it may have ended, and another may have its number.
        let links = shared.with_state(|state| match state.is_seen(*id, seen) {
            true => state.engine.links_of(*id, max),
            false => Vec::new(),
        });
        left -= links.len();
        let rates = sampler.session_rates.get(&seen.number).copied().unwrap_or_default();
        sessions.insert(seen.number, Session::new(seen, standing, rates, links));
    }
    let (status, storage) = shared.health();
    let document = Document {
        version: env!("CARGO_PKG_VERSION"),
        epoch: shared.cursor(stats.revision).epoch.to_string(),
        revision: stats.revision.0,
        started: own.started.0,
        now: now.0,
        status,
        storage,
        memory_bytes: memory_bytes(),
        tree: Tree::of(&stats),
        counts: Counts::of(&stats, metrics, shared.held()),
        totals,
        rates: sampler.rates,
        age_ms: sampler.age_ms,
        limits: &shared.limits,
        sessions,
    };
    sampler.looked = Some(Instant::now());
    let text = serde_json::to_vec(&document).expect("it has only text for names");
    // The limits are there for what others write.
    Json::parse(&text, &Limits::default()).expect("what was written just now can be read")
}

impl Sampler {
    /// Works out what happened in a second, if it is as long ago that this was done.
    fn count(&mut self, totals: &Totals<u64>, ages: [u64; Ages::BUCKETS], shown: &[Shown]) {
        let over = self.since.at.elapsed();
        if over < RATES_OVER {
            return;
        }
        let seconds = over.as_secs_f64();
        self.rates = totals.rates(&self.since.totals, seconds);
        self.age_ms = AgeMs::between(&self.since.ages, &ages);
        let before = std::mem::take(&mut self.since.sessions);
        self.session_rates.clear();
        for Shown { seen, standing, .. } in shown {
            let now = (standing.frames, seen.bytes());
            let then = before.get(&seen.number).copied().unwrap_or_default();
            let rates =
                SessionRates { frames: rate(now.0 - then.0, seconds), bytes: rate(now.1 - then.1, seconds) };
            self.session_rates.insert(seen.number, rates);
            self.since.sessions.insert(seen.number, now);
        }
        (self.since.at, self.since.totals, self.since.ages) = (Instant::now(), *totals, ages);
    }
}

/// Memory of this process that is in use, where the system tells.
fn memory_bytes() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}
