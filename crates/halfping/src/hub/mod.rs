//! The engine behind its lock, and the tasks that wait for it.

mod identities;
mod profiles;
mod reading;
mod revocations;
mod subscription;
mod writer;
pub(crate) mod writing;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock, Weak};
use std::thread;

use futures_core::future::BoxFuture;
use halfping_engine::{
    Cursor, Engine, Epoch, Limits, Metadata, Path, Refusal, Revision, RootId, SessionId, Submitted,
    Timestamp, Watch, Write, Written,
};
use halfping_journal::{Committer, Fault, FaultKind, Status, Store};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::revocations::RevokedReader;
pub(crate) use self::subscription::Subscription;
use self::writer::{Answer, Writer};
use crate::access::{Allowed, OWN, is_own};
use crate::aside::{Room, Turns, one_by_one};
use crate::budget::Budget;
use crate::clock::Clock;
use crate::connection::Connection;
use crate::delivery::{Deliver, Waiter, Woken};
use crate::metrics::Metrics;
use crate::names::Names;
use crate::seen::Seen;

/// Members from which on a commit is large. Many smaller commits at once do not keep others
/// waiting: each is made in a tenth of a millisecond or so.
const LARGE_COMMIT: usize = 256;
/// Readers that are woken in one turn with the engine, where all are: some 0.1 ms.
const WAKEN_AT_ONCE: usize = 4096;

/// State shared by all parts of one server.
pub(crate) struct Shared {
    me: Weak<Shared>,
    state: Mutex<State>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) names: Names,
    /// The server's own state, if anybody may see it.
    own: Option<Box<dyn OwnState>>,
    /// The budget of what is held for all clients.
    pub(crate) budget: Budget,
    pub(crate) small_budget: Budget,
    pub(crate) kept_budget: Budget,
    pub(crate) heads_budget: Budget,
    /// The stand-in for the connection of requests that came through a foreign server.
    pub(crate) foreign: Arc<Connection>,
    draining: AtomicBool,
    epoch: Epoch,
    /// The writer that makes commits durable; none if all is in memory.
    writer: OnceLock<Arc<Writer>>,
    /// The reader of the revocations, if the configuration has a path for them.
    revoked_reader: OnceLock<Arc<RevokedReader>>,
    /// Done when those whom somebody else names are asked about again.
    asks_again: Once,
}

pub(crate) struct State {
    pub(crate) engine: Engine,
    /// Waiters for commits to be durable, in the order in which these were submitted.
    pub(crate) tickets: VecDeque<oneshot::Sender<Answer>>,
    /// The fault by which nothing can be made durable, if there is one.
    pub(crate) fault: Option<Fault>,
    /// The receivers of news, by session.
    slots: Vec<Slot>,
    /// True if a thread does the work that commits have left.
    is_worked_on: bool,
    /// Number of sessions so far.
    opened: u64,
}

#[derive(Default)]
struct Slot {
    waiter: Waiter,
    seen: Option<Arc<Seen>>,
}

impl Slot {
    /// Has its receiver told. A task that is woken has to pull before it is woken again.
    fn wake(&mut self, woken: &mut Woken) {
        if let Some(seen) = &self.seen {
            seen.news.store(true, Ordering::Release);
        }
        match &self.seen {
            Some(_) => woken.add(&mut self.waiter),
            // Who may see what is known before anybody is told anything.
            None => woken.add_first(&self.waiter),
        }
    }
}

/// The next step of a commit.
enum Next {
    Done(Result<Vec<Written>, Failure>),
    /// The commit is in line to be made durable.
    Durable(oneshot::Receiver<Answer>),
    /// The commit is in line behind durable ones, and does not need them.
    Behind(oneshot::Receiver<Answer>),
    /// The commit is to be tried again when the journal is done with its transaction.
    Turn,
}

/// Error of a commit that did not happen, or is not known to have.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The engine refused it.
    Refused(Refusal),
    /// The commit could not be made durable.
    Storage(Fault),
}

/// The server's own state, which is looked up while somebody reads it (see `own/`).
pub(crate) trait OwnState: Send + Sync {
    /// Has the state looked up, unless that was done a moment ago.
    fn refresh<'a>(&'a self, shared: &'a Arc<Shared>) -> BoxFuture<'a, ()>;
    /// Looks the state up where a task cannot wait.
    fn refresh_in_place(&self, shared: &Shared);
    /// Looks the state up on a thread that may wait.
    fn refresh_here(&self, shared: &Shared);
    /// Notes that a link stands there: as long as one does, the state is looked up once a second.
    fn follow(&self, shared: &Arc<Shared>);
}

/// Makes the server's own state, for a server that started then.
pub(crate) type MakeOwn = Box<dyn FnOnce(RootId, Timestamp) -> Box<dyn OwnState>>;

impl Shared {
    /// The server's own state, if it is kept and the path leads there.
    fn own_at(&self, path: &Path) -> Option<&dyn OwnState> {
        self.own.as_deref().filter(|_| is_own(path))
    }

    /// Has the server's own state looked up if the path leads there.
    pub(crate) async fn refresh(self: &Arc<Self>, path: &Path) {
        if let Some(own) = self.own_at(path) {
            own.refresh(self).await;
        }
    }

    /// Looks that state up where a task cannot wait.
    pub(crate) fn refresh_in_place(&self, path: &Path) {
        if let Some(own) = self.own_at(path) {
            own.refresh_in_place(self);
        }
    }

    /// Looks that state up on a thread that may wait.
    pub(crate) fn refresh_here(&self, path: &Path) {
        if let Some(own) = self.own_at(path) {
            own.refresh_here(self);
        }
    }

    fn follow_own(self: &Arc<Self>) {
        if let Some(own) = &self.own {
            own.follow(self);
        }
    }

    /// A tree in memory.
    pub(crate) fn new(limits: Limits, own: Option<MakeOwn>) -> Arc<Shared> {
        let clock = Clock::new();
        let engine = Engine::new(limits, new_epoch(), clock.now());
        Shared::around(engine, own, clock, Names::after(Timestamp(0)))
    }

    /// A tree whose commits are made durable.
    pub(crate) fn durable(
        engine: Engine,
        committer: Committer<Store>,
        own: Option<MakeOwn>,
        clock: Clock,
    ) -> std::io::Result<Arc<Shared>> {
        let shared = Shared::around(engine, own, clock, Names::after(committer.names()));
        if let Status::Failed(fault) = committer.status() {
            shared.state.lock().fault = Some(fault.clone());
        }
        let writer = Writer::start(&shared, committer)?;
        let _ = shared.writer.set(writer);
        Ok(shared)
    }

    fn around(mut engine: Engine, own: Option<MakeOwn>, clock: Clock, names: Names) -> Arc<Shared> {
        let limits = Arc::new(engine.limits().clone());
        let now = clock.now();
        let own = own.map(|make| make(engine.add_root(OWN, new_epoch(), now), now));
        let state = State {
            engine,
            tickets: VecDeque::new(),
            fault: None,
            slots: Vec::new(),
            is_worked_on: false,
            opened: 0,
        };
        Arc::new_cyclic(|me| Shared {
            me: me.clone(),
            epoch: state.engine.cursor(state.engine.revision()).epoch,
            state: Mutex::new(state),
            own,
            clock,
            metrics: Metrics::default(),
            names,
            foreign: Arc::new(Connection::foreign(&limits)),
            budget: Budget::of_all(&limits),
            small_budget: Budget::of_small(&limits),
            kept_budget: Budget::of_kept(&limits),
            heads_budget: Budget::of_heads(&limits),
            draining: AtomicBool::new(false),
            writer: OnceLock::new(),
            revoked_reader: OnceLock::new(),
            asks_again: Once::new(),
            limits,
        })
    }

    /// Applies writes as one commit, and wakes the sessions that have something to send because of
    /// it. A durable commit is on disk when this returns. `client`: the turns in which a large
    /// commit is made.
    pub(crate) async fn commit(
        &self,
        client: &Turns,
        writes: Vec<Allowed<Write>>,
    ) -> Result<Vec<Written>, Failure> {
        let writes: Vec<Write> = writes.into_iter().map(Allowed::into_inner).collect();
        if !self.is_durable() && self.members_of(&writes) < LARGE_COMMIT {
            return self.commit_in_memory(&writes);
        }
        // Boxed: what is done at once needs no room for it.
        Box::pin(self.commit_in_line(client, Arc::new(writes))).await
    }

    /// Does the same for a commit that may have to wait.
    async fn commit_in_line(
        &self,
        client: &Turns,
        writes: Arc<Vec<Write>>,
    ) -> Result<Vec<Written>, Failure> {
        let Some(writer) = self.writer.get() else {
            return self.in_turn(client, writes, Shared::commit_in_memory).await.0;
        };
        loop {
            let turn = writer.turn.notified();
            // Until a large commit is applied no other gets in line, where it would be laid over
            // the tree with all before it.
            let (next, _room) = self.in_turn(client, writes.clone(), Shared::submit).await;
            match next {
                Next::Done(done) => return done,
                Next::Durable(answer) => {
                    writer.wake();
                    let closed = |_| Err(Fault::new(FaultKind::Io, "the store is closed"));
                    let answer = answer.await.unwrap_or_else(closed);
                    return answer.map_err(Failure::Storage)?.map_err(Failure::Refused);
                }
                Next::Behind(answer) => {
                    writer.wake();
                    // The commits before it may have failed; then nothing is in its way.
                    if let Ok(Ok(done)) = answer.await {
                        return done.map_err(Failure::Refused);
                    }
                }
                Next::Turn => turn.await,
            }
        }
    }

    /// Works on a commit: at once if it is small, else when it is its turn among the large ones.
    async fn in_turn<T: Send + 'static>(
        &self,
        client: &Turns,
        writes: Arc<Vec<Write>>,
        work: fn(&Shared, &[Write]) -> T,
    ) -> (T, Option<Room>) {
        let members = self.members_of(&writes);
        // Outside of any runtime there is no thread to do it on; then the caller does it.
        let shared =
            self.me.upgrade().filter(|_| members >= LARGE_COMMIT && Handle::try_current().is_ok());
        let Some(shared) = shared else { return (work(self, &writes), None) };
        let (done, room) = one_by_one(client, members, move || work(&shared, &writes)).await;
        (done, Some(room))
    }

    /// Members that a commit writes, or a few more than it may.
    fn members_of(&self, writes: &[Write]) -> usize {
        Write::members_up_to(writes, self.limits.members_per_commit)
    }

    fn commit_in_memory(&self, writes: &[Write]) -> Result<Vec<Written>, Failure> {
        let mut state = self.state.lock();
        let done = state.engine.commit(writes, self.clock.now());
        self.tell(state, done)
    }

    /// Ends a commit that is done or refused: delivers its news, and returns its outcome.
    fn tell(
        &self,
        state: MutexGuard<'_, State>,
        done: Result<Vec<Written>, Refusal>,
    ) -> Result<Vec<Written>, Failure> {
        self.deliver(state);
        self.metrics.commits.inc_by(u64::from(done.is_ok()));
        done.map_err(Failure::Refused)
    }

    /// Tells the readers that a commit has news for, and has the work done that the commit has
    /// left.
    pub(crate) fn deliver(&self, mut state: MutexGuard<'_, State>) {
        let woken = state.take_woken();
        let begins = state.engine.has_work() && !std::mem::replace(&mut state.is_worked_on, true);
        drop(state);
        woken.tell();
        if begins {
            self.work_aside();
        }
    }

    /// Does the work that commits have left, on a thread: no runtime may stop before it is done.
    fn work_aside(&self) {
        let (shared, runtime) = (self.me.upgrade(), Handle::try_current().ok());
        let spawned = thread::Builder::new().name("engine".into()).spawn(move || {
            // Crowds are served by tasks.
            let _runtime = runtime.as_ref().map(Handle::enter);
            while shared.as_ref().is_some_and(|shared| shared.work()) {
                thread::yield_now();
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread for what commits have left to be done");
            while self.work() {}
        }
    }

    /// Does some of that work. False if nothing is left.
    fn work(&self) -> bool {
        let mut state = self.state.lock();
        if !state.engine.has_work() {
            state.is_worked_on = false;
            return false;
        }
        let husks = state.engine.work();
        let woken = state.take_woken();
        // Other threads that wait come first: this one is back at once.
        MutexGuard::unlock_fair(state);
        drop(husks);
        woken.tell();
        true
    }

    fn submit(&self, writes: &[Write]) -> Next {
        let mut state = self.state.lock();
        if let (Some(fault), false) = (&state.fault, state.tickets.is_empty()) {
            return Next::Done(Err(Failure::Storage(fault.clone())));
        }
        match state.engine.submit(writes, self.clock.now()) {
            Submitted::Done(done) => Next::Done(self.tell(state, done)),
            Submitted::Follows => Next::Behind(state.ticket()),
            Submitted::Waits => {
                if let Some(fault) = state.fault.clone() {
                    // Nothing else is in line.
                    state.engine.abandon();
                    return Next::Done(Err(Failure::Storage(fault)));
                }
                Next::Durable(state.ticket())
            }
            Submitted::Busy => Next::Turn,
        }
    }

    /// The fault by which nothing can be made durable at the moment, if there is one.
    pub(crate) fn storage_fault(&self) -> Option<Fault> {
        self.state.lock().fault.clone()
    }

    /// True if commits are made durable.
    pub(crate) fn is_durable(&self) -> bool {
        self.writer.get().is_some()
    }

    /// Writes everything that is left; nothing more is written after that.
    pub(crate) async fn close(&self) {
        if let Some(writer) = self.writer.get() {
            writer.close().await;
        }
    }

    /// Bytes that are held for clients.
    pub(crate) fn held(&self) -> usize {
        [&self.budget, &self.small_budget, &self.kept_budget].map(Budget::taken).iter().sum()
    }

    /// The budget for small answers and bodies, or for the rest.
    pub(crate) fn budget_of(&self, is_small: bool) -> &Budget {
        if is_small { &self.small_budget } else { &self.budget }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn with_state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock())
    }

    /// Health of the server, in a word, and of its storage.
    pub(crate) fn health(&self) -> (&'static str, serde_json::Value) {
        let fault = self.storage_fault();
        let word = match (self.is_draining(), &fault) {
            (true, _) => "draining",
            (false, Some(_)) => "degraded",
            (false, None) => "ok",
        };
        let storage = match (&fault, self.is_durable()) {
            (Some(fault), _) => {
                serde_json::json!({ "status": "failed", "kind": fault.kind.name(), "detail": fault.what })
            }
            (None, true) => serde_json::json!({ "status": "ok" }),
            (None, false) => serde_json::json!({ "status": "none" }),
        };
        (word, storage)
    }

    /// Metadata of a path, known without reading the value.
    pub(crate) fn metadata(&self, path: &Allowed<Path>) -> Metadata {
        self.state.lock().engine.metadata(path)
    }

    /// The cursor of a state of the tree, for clients.
    pub(crate) fn cursor(&self, revision: Revision) -> Cursor {
        Cursor { epoch: self.epoch, revision }
    }

    pub(crate) fn with_engine<T>(&self, ask: impl FnOnce(&Engine) -> T) -> T {
        ask(&self.state.lock().engine)
    }

    /// Ends streams from now on, and sends new ones away.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    /// Wakes all readers, to look for themselves. Those who come meanwhile look by themselves.
    pub(crate) fn wake_all(&self) {
        let mut from = 0;
        loop {
            let mut woken = Woken::default();
            let mut state = self.state.lock();
            let to = state.slots.len().min(from + WAKEN_AT_ONCE);
            let slots = state.slots[from..to].iter_mut();
            slots.filter(|slot| slot.seen.is_some()).for_each(|slot| slot.wake(&mut woken));
            let is_last = to == state.slots.len();
            drop(state);
            woken.wake();
            if is_last {
                return;
            }
            from = to;
        }
    }

    /// Wakes the readers of some sessions, to look for themselves.
    fn wake_sessions(&self, sessions: &[SessionId]) {
        if sessions.is_empty() {
            return;
        }
        let mut woken = Woken::default();
        let mut state = self.state.lock();
        for session in sessions {
            if let Some(slot) = state.slots.get_mut(session.0 as usize) {
                slot.wake(&mut woken);
            }
        }
        drop(state);
        woken.wake();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

impl State {
    /// Opens a session of the server's own. It is none of a client, so it is not seen.
    fn open_unseen(&mut self, reader: Weak<dyn Deliver>) -> SessionId {
        let session = self.engine.open();
        let place = session.0 as usize;
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, Slot::default);
        }
        self.slots[place] = Slot { waiter: Waiter::Reader(reader), seen: None };
        session
    }

    /// Opens a link that hears of changes, and is told no first state.
    fn listen(&mut self, session: SessionId, tag: u32, path: &Path) {
        self.engine.watch(session, tag, &Watch { from_now: true, ..Watch::new(path.clone()) });
    }

    /// Puts a ticket in line for the commit that was just submitted, and returns where its outcome
    /// is told.
    fn ticket(&mut self) -> oneshot::Receiver<Answer> {
        let (ticket, answer) = oneshot::channel();
        self.tickets.push_back(ticket);
        answer
    }

    pub(crate) fn take_woken(&mut self) -> Woken {
        let mut woken = Woken::default();
        for id in self.engine.take_woken() {
            if let Some(slot) = self.slots.get_mut(id.0 as usize) {
                slot.wake(&mut woken);
            }
        }
        woken
    }

    /// All sessions, with their counts.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (SessionId, &Arc<Seen>)> {
        let slots = self.slots.iter().zip(0..);
        slots.filter_map(|(slot, number)| Some((SessionId(number), slot.seen.as_ref()?)))
    }

    /// True if a session is the one that was seen.
    pub(crate) fn is_seen(&self, id: SessionId, seen: &Arc<Seen>) -> bool {
        self.slots[id.0 as usize].seen.as_ref().is_some_and(|now| Arc::ptr_eq(now, seen))
    }
}

/// A random epoch, which tells a history from all others.
///
/// # Panics
/// Panics if the operating system has no random numbers. Without them, cursors of two runs could be
/// mistaken for each other.
fn new_epoch() -> Epoch {
    Epoch::from_random(getrandom::u64().expect("the operating system gives random numbers"))
}
