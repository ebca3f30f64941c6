//! The server's own state, `/_server`: its work, its clients, and those that are behind (PROTOCOL
//! O5 to O8).
//!
//! It costs nothing but a few counters while nobody looks. A request has it looked up, and while
//! links stand there a thread does so once a second. The difference from the last time is a commit
//! to a [root](halfping_engine::Engine::add_root) beside the tree.

mod document;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use halfping_engine::{Json, Limits, RootId, SessionId, Standing, Timestamp};
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};

use self::document::{AgeMs, Counts, Document, Session, SessionRates, Totals, Tree, rate};
use crate::access::NamedViews;
use crate::hub::{MakeOwn, OwnState, Shared};
use crate::metrics::Ages;
use crate::process;
use crate::seen::Seen;

/// Interval at which it is looked up while somebody watches.
const INTERVAL: Duration = Duration::from_secs(1);
/// Greatest age of an answer: many clients that ask at once cost as much as one.
const FRESH: Duration = Duration::from_millis(100);
/// The least time that rates speak of.
const RATES_OVER: Duration = Duration::from_millis(900);
/// Sessions that are shown.
const SESSIONS_SHOWN: usize = 1000;
/// Links of one session that are shown.
const LINKS_SHOWN: usize = 1000;
/// Links of all sessions that are shown. They are most of the cost of a look: about 2 µs each.
const LINKS_SHOWN_IN_ALL: usize = 10_000;

/// The server's own state, as it is looked up. All clones are one.
#[derive(Clone)]
pub(crate) struct Own(Arc<Inner>);

struct Inner {
    /// The root at which the engine has it.
    root: RootId,
    started: Timestamp,
    /// Views with URLs of their own: what each is of, and shows of that.
    views: BTreeMap<String, String>,
    /// Time at which it was last looked up.
    looked: Mutex<Option<Instant>>,
    /// Lock of the one that has it looked up; others wait for that without a thread.
    turn: tokio::sync::Mutex<()>,
    sampler: Mutex<Sampler>,
}

struct Sampler {
    /// The state that was found then, which the engine has.
    told: Json,
    /// True if a thread looks it up.
    runs: bool,
    since: Since,
    rates: Totals<f64>,
    age_ms: AgeMs,
    session_rates: HashMap<u64, SessionRates>,
}

/// Counts from which rates are computed.
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
    fn new(root: RootId, started: Timestamp, views: BTreeMap<String, String>) -> Own {
        let since = Since {
            at: Instant::now(),
            totals: Totals::default(),
            ages: [0; Ages::BUCKETS],
            sessions: HashMap::new(),
        };
        let sampler = Sampler {
            told: Json::empty(),
            runs: false,
            since,
            rates: Totals::default(),
            age_ms: AgeMs::default(),
            session_rates: HashMap::new(),
        };
        let (looked, turn) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        let sampler = Mutex::new(sampler);
        Own(Arc::new(Inner { root, started, views, looked, turn, sampler }))
    }

    /// The maker of the state of a server that has these views, for the hub.
    pub(crate) fn maker(views: &NamedViews) -> MakeOwn {
        let views = views.told();
        Box::new(move |root, started| Box::new(Own::new(root, started, views)))
    }

    fn is_fresh(&self) -> bool {
        self.0.looked.lock().is_some_and(|looked| looked.elapsed() < FRESH)
    }

    /// Looks it up once a second, as long as a link stands there.
    fn run(&self, shared: &Weak<Shared>) {
        loop {
            thread::sleep(INTERVAL);
            let Some(shared) = shared.upgrade() else { return };
            {
                // A follower that comes after this look finds that no thread runs.
                let mut sampler = self.0.sampler.lock();
                sampler.runs = shared.with_engine(|engine| engine.is_root_watched(self.0.root));
                if !sampler.runs {
                    return;
                }
            }
            self.refresh_here(&shared);
        }
    }
}

impl OwnState for Own {
    /// Has another thread look it up, since with many sessions that takes some time.
    fn refresh<'a>(&'a self, shared: &'a Arc<Shared>) -> BoxFuture<'a, ()> {
        if self.is_fresh() {
            return Box::pin(std::future::ready(()));
        }
        Box::pin(async move {
            let _turn = self.0.turn.lock().await;
            if self.is_fresh() {
                return;
            }
            let (own, shared) = (self.clone(), shared.clone());
            // It ends early only with the runtime.
            let _ = tokio::task::spawn_blocking(move || own.refresh_here(&shared)).await;
        })
    }

    /// Looks it up on the task's thread; the other tasks there move to another one. Nobody waits
    /// for a look that is on its way, since followers are told what it finds.
    fn refresh_in_place(&self, shared: &Shared) {
        if self.is_fresh() {
            return;
        }
        let turn = self.0.turn.try_lock();
        if turn.is_err() && self.0.looked.lock().is_some() {
            return;
        }
        let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        match flavor {
            Ok(RuntimeFlavor::MultiThread) => {
                tokio::task::block_in_place(|| self.refresh_here(shared));
            }
            _ => self.refresh_here(shared),
        }
    }

    fn refresh_here(&self, shared: &Shared) {
        let mut sampler = self.0.sampler.lock();
        if self.is_fresh() {
            return;
        }
        let found = look(shared, &self.0, &mut sampler);
        let Some(change) = found.clone().over(&sampler.told) else { return };
        let mut state = shared.lock();
        // The clock is read once the engine is locked: to it, an older reading is a clock that was
        // set back.
        let now = shared.clock.now();
        state.engine.commit_to(self.0.root, &change, now);
        sampler.told = found;
        drop(sampler);
        shared.deliver(state);
    }

    fn follow(&self, shared: &Arc<Shared>) {
        let mut sampler = self.0.sampler.lock();
        if sampler.runs {
            return;
        }
        let (own, shared) = (self.clone(), Arc::downgrade(shared));
        let runtime = Handle::try_current().ok();
        let spawned = thread::Builder::new().name("own state".into()).spawn(move || {
            // Crowds are served by tasks.
            let _runtime = runtime.as_ref().map(Handle::enter);
            own.run(&shared);
        });
        match spawned {
            Ok(_) => sampler.runs = true,
            Err(error) => tracing::warn!(%error, "nobody keeps the server's own state up to date"),
        }
    }
}

/// Looks all of it up as it is now. The engine is asked in small portions, so that nobody waits for
/// it long.
fn look(shared: &Shared, own: &Inner, sampler: &mut Sampler) -> Json {
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
        memory_bytes: process::resident_bytes(),
        tree: Tree::of(&stats),
        counts: Counts::of(&stats, metrics, shared.held()),
        totals,
        rates: sampler.rates,
        age_ms: sampler.age_ms,
        limits: &shared.limits,
        views: &own.views,
        sessions,
    };
    *own.looked.lock() = Some(Instant::now());
    let text = serde_json::to_vec(&document).expect("it has only text for names");
    // The limits are for what others write.
    Json::parse(&text, &Limits::default()).expect("what was written just now can be read")
}

impl Sampler {
    /// Works out the rates of a second, if this was last done that long ago.
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
            let rates = SessionRates {
                frames: rate(now.0 - then.0, seconds),
                bytes: rate(now.1 - then.1, seconds),
            };
            self.session_rates.insert(seen.number, rates);
            self.since.sessions.insert(seen.number, now);
        }
        (self.since.at, self.since.totals, self.since.ages) = (Instant::now(), *totals, ages);
    }
}

#[cfg(test)]
mod tests {
    use halfping_engine::Path;

    use super::*;

    /// One thread serves all; while this test has the sampler, whoever looks it up waits.
    #[tokio::test]
    async fn others_are_served_while_it_is_looked_up() {
        let shared = Shared::new(Limits::default(), Some(Own::maker(&NamedViews::default())));
        let epoch = halfping_engine::Epoch::from_random(1);
        let root = shared.lock().engine.add_root("_other", epoch, Timestamp(0));
        let own = Own::new(root, Timestamp(0), BTreeMap::new());
        let path = Path::parse("/_other/now", &shared.limits).expect("a path");
        let ask = || {
            let (shared, own) = (shared.clone(), own.clone());
            tokio::spawn(async move { own.refresh(&shared).await })
        };
        let (held, hold) = std::sync::mpsc::channel::<()>();
        let (has, holds) = tokio::sync::oneshot::channel();
        let holder = {
            let own = own.clone();
            thread::spawn(move || {
                let _sampler = own.0.sampler.lock();
                let _ = has.send(());
                // Or until who waits for it has given up.
                let _ = hold.recv_timeout(Duration::from_secs(10));
            })
        };
        holds.await.expect("it is held");
        let asked: Vec<_> = (0..100).map(|_| ask()).collect();
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(!own.is_fresh() && asked.iter().all(|asked| !asked.is_finished()));
        assert!(!holder.is_finished(), "this thread waited for it");
        held.send(()).expect("somebody holds it");
        for asked in asked {
            asked.await.expect("it is looked up");
        }
        assert!(shared.with_engine(|engine| engine.metadata(&path).len.is_some()));
    }
}
