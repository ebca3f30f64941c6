//! The thread that makes commits durable, and the answers to those who wait for it.
//!
//! While it waits for the disk, commits are worked out and get in line; when the disk is done, the
//! next transaction has all of them. So the more there is to do, the less each costs (group
//! commit).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use halfping_engine::{Refusal, Written};
use halfping_journal::{Committer, Fault, FaultKind, Settled, Status, Store, Transaction};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use crate::hub::{Shared, State};
use crate::problem::RETRY_AFTER_SECONDS;

/// Sleep of the thread when there is nothing to do. Work wakes it; the nap is for checks that
/// nobody wakes it for.
const NAP: Duration = Duration::from_secs(1);
/// Time after which a store that has failed is tried again: the same that clients are told to wait.
const RETRY: Duration = Duration::from_secs(RETRY_AFTER_SECONDS);

/// Members of which commits are applied before others have their turn: a millisecond or so.
const SETTLED_AT_ONCE: usize = 4096;

/// Outcome of a commit that had to be durable.
pub(crate) type Answer = Result<Result<Vec<Written>, Refusal>, Fault>;

/// Handle of the writer's thread: requests to it, and signals from it.
pub(crate) struct Writer {
    thread: Thread,
    /// Signal that a transaction is over.
    pub(crate) turn: Notify,
    /// The waiter for the end.
    closing: Mutex<Option<oneshot::Sender<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        committer: Committer<Store>,
    ) -> std::io::Result<Arc<Writer>> {
        let (give, take) = std::sync::mpsc::sync_channel::<Arc<Writer>>(1);
        let shared = Arc::downgrade(shared);
        let runtime = Handle::try_current().ok();
        let thread = thread::Builder::new().name("journal".into()).spawn(move || {
            let Ok(writer) = take.recv() else { return };
            let _runtime = runtime.as_ref().map(Handle::enter);
            Work { shared, writer, committer, tried: Instant::now(), looked: Instant::now() }.run();
        })?;
        let writer = Writer {
            thread: thread.thread().clone(),
            turn: Notify::new(),
            closing: Mutex::default(),
        };
        let writer = Arc::new(writer);
        // The thread waits for it, so there is room.
        let _ = give.send(writer.clone());
        Ok(writer)
    }

    /// Wakes the thread, since there is something to do.
    pub(crate) fn wake(&self) {
        self.thread.unpark();
    }

    /// Has everything written, and the store closed. Commits that come after that are refused.
    pub(crate) async fn close(&self) {
        let (done, is_done) = oneshot::channel();
        *self.closing.lock() = Some(done);
        self.wake();
        let _ = is_done.await;
    }
}

/// State of the thread.
struct Work {
    shared: Weak<Shared>,
    writer: Arc<Writer>,
    committer: Committer<Store>,
    /// Time at which a store that has failed was last tried.
    tried: Instant,
    /// Time of the last check that the store is still there.
    looked: Instant,
}

impl Work {
    fn run(mut self) {
        // Without anybody left who could write, there is nothing left to do either.
        while let Some(shared) = self.shared.upgrade() {
            if *self.committer.status() == Status::Works && self.looked.elapsed() >= NAP {
                self.looked = Instant::now();
                self.look(&shared);
            }
            let transaction = shared.with_state(|state| self.begin(&shared, state));
            if let Some(transaction) = transaction {
                self.transact(&shared, &transaction);
                continue;
            }
            if let Status::Failed(fault) = self.committer.status() {
                let fault = fault.clone();
                self.recover(&shared, &fault);
            }
            let closing = self.writer.closing.lock().take();
            if let Some(done) = closing {
                self.end(&shared);
                let _ = done.send(());
                return;
            }
            drop(shared);
            thread::park_timeout(NAP);
        }
    }

    fn begin(&mut self, shared: &Shared, state: &mut State) -> Option<Transaction> {
        // All names of commits in line were given before.
        self.committer.give_names(shared.names.time());
        self.committer.begin(&mut state.engine)
    }

    fn transact(&mut self, shared: &Arc<Shared>, transaction: &Transaction) {
        let outcome = self.write(transaction);
        if let Some(batch) = &transaction.batch {
            shared.metrics.journal_transactions.inc();
            shared.metrics.journal_bytes.inc_by(batch.body.len() as u64);
        }
        if let Err(fault) = &outcome {
            tracing::error!(
                kind = fault.kind.name(),
                %fault,
                "the store has failed: nothing durable can be written until it works again; reading goes on"
            );
            shared.metrics.storage_fault(fault.kind);
            self.tried = Instant::now();
        }
        self.settle(shared, transaction, outcome);
        self.writer.turn.notify_waiters();
    }

    /// Has commits applied that are durable, a few at a time, or those answered that are not.
    fn settle(
        &mut self,
        shared: &Arc<Shared>,
        transaction: &Transaction,
        outcome: Result<(), Fault>,
    ) {
        let mut state = shared.lock();
        if let Err(fault) = self.committer.confirm(&mut state.engine, transaction, outcome) {
            state.fault.get_or_insert_with(|| fault.clone());
            let tickets = state.tickets.drain(..).collect();
            drop(state);
            return answer(shared, Err(fault), tickets);
        }
        loop {
            let settled = state.engine.settle_some(SETTLED_AT_ONCE);
            if settled.is_empty() {
                return;
            }
            let tickets = state.tickets.drain(..settled.len()).collect();
            shared.deliver(state);
            answer(shared, Ok(settled), tickets);
            state = shared.lock();
        }
    }

    /// Checks that the store is still there: a file that has been removed can be written like any
    /// other, and all of it would be gone with this process.
    fn look(&mut self, shared: &Shared) {
        let (looked, tickets) = shared.with_state(|state| {
            let looked = self.committer.look(&mut state.engine);
            if let Err(fault) = &looked {
                state.fault = Some(fault.clone());
                return (looked, state.tickets.drain(..).collect());
            }
            (looked, Vec::new())
        });
        if let Err(fault) = looked {
            tracing::error!(%fault, "the store is gone: nothing durable can be written; reading goes on");
            shared.metrics.storage_fault(fault.kind);
            answer(shared, Err(fault), tickets);
            // Those who wait for the next transaction would wait for ever.
            self.writer.turn.notify_waiters();
        }
    }

    fn write(&mut self, transaction: &Transaction) -> Result<(), Fault> {
        // A panic of the store is a failure of the store. It must not end those who wait for it.
        catch_unwind(AssertUnwindSafe(|| self.committer.write(transaction)))
            .unwrap_or_else(|panic| Err(Fault::of_panic(FaultKind::Io, &*panic)))
    }

    fn recover(&mut self, shared: &Shared, fault: &Fault) {
        if self.tried.elapsed() < RETRY {
            return;
        }
        let recovered = catch_unwind(AssertUnwindSafe(|| self.committer.recover()));
        self.tried = Instant::now();
        match recovered {
            Ok(Ok(())) => {
                tracing::info!(was = fault.kind.name(), "the store works again");
                shared.with_state(|state| state.fault = None);
            }
            Ok(Err(now)) => {
                tracing::warn!(kind = now.kind.name(), fault = %now, "the store still fails");
                // Clients are told what is in the way now, not what was first.
                shared.with_state(|state| {
                    if state.fault.as_ref().is_none_or(|known| known.kind != now.kind) {
                        shared.metrics.storage_fault(now.kind);
                    }
                    state.fault = Some(now);
                });
            }
            Err(_) => tracing::warn!("the store panicked when it was opened again"),
        }
    }

    /// Writes what is left, so that the next start has nothing to do again.
    fn end(mut self, shared: &Arc<Shared>) {
        // Commits that are in line by now are still written; no more get there.
        let transaction = shared.with_state(|state| {
            state.fault.get_or_insert_with(|| Fault::new(FaultKind::Io, "the store is closed"));
            self.begin(shared, state)
        });
        if let Some(transaction) = transaction {
            self.transact(shared, &transaction);
        }
        let transaction = shared.with_state(|state| self.committer.begin_last(&mut state.engine));
        if let Some(transaction) = transaction {
            let outcome = self.write(&transaction);
            if let Err(fault) = &outcome {
                tracing::error!(%fault, "the last checkpoint could not be written; nothing is lost by it");
            }
            let _ = shared
                .with_state(|state| self.committer.end(&mut state.engine, &transaction, outcome));
        }
        drop(self.committer.into_journal());
    }
}

fn answer(shared: &Shared, settled: Settled, tickets: Vec<oneshot::Sender<Answer>>) {
    match settled {
        Ok(results) => {
            let accepted = results.iter().filter(|result| result.is_ok()).count();
            shared.metrics.commits.inc_by(accepted as u64);
            for (ticket, result) in tickets.into_iter().zip(results) {
                // A client that has gone away does not get it.
                let _ = ticket.send(Ok(result));
            }
        }
        Err(fault) => tickets.into_iter().for_each(|ticket| {
            let _ = ticket.send(Err(fault.clone()));
        }),
    }
}
