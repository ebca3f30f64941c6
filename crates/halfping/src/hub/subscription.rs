//! Subscriptions: sessions of the engine, which readers have as long as they read.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Waker;

use halfping_engine::{Cursor, Engine, Path, Revision, SessionId, Tick, Update, Watch};
use parking_lot::MutexGuard;

use super::{Shared, Slot};
use crate::access::{Allowed, Follower, is_own};
use crate::connection::Connection;
use crate::delivery::{Deliver, Waiter};
use crate::problem::{Kind, Problem};
use crate::seen::{Seen, Transport};

/// Links of a leaving session that are ended before others have their turn: a millisecond or so, if
/// each takes 32 places with it that nobody else needs.
const LINKS_AT_ONCE: usize = 64;

/// Result of pulling a session.
pub(crate) struct Pulled {
    /// The state of the tree that all frames were made from.
    pub(crate) revision: Revision,
    /// The state of the tree that resumes all links, if everything that is due has been taken.
    pub(crate) synced: Option<Revision>,
    /// Time at which there will be more even without a commit.
    pub(crate) due: Option<Tick>,
}

/// A session of the engine that ends with its owner.
pub(crate) struct Subscription {
    shared: Arc<Shared>,
    session: SessionId,
    seen: Arc<Seen>,
    links: u32,
    places_bytes: usize,
}

impl Subscription {
    /// Opens a session for somebody, with the given links, numbered in order.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        _follower: &Follower,
        connection: &Arc<Connection>,
        transport: Transport,
        watches: &[Allowed<Watch>],
    ) -> Result<Subscription, Problem> {
        let places_bytes = watches.iter().map(|watch| Engine::link_bytes(&watch.path)).sum();
        connection.add_links(watches.len(), places_bytes)?;
        let has_own = watches.iter().any(|watch| is_own(&watch.path));
        let since = shared.clock.now();
        let mut state = shared.state.lock();
        let session = state.engine.open();
        let opened = watches.iter().zip(0..).try_for_each(|(watch, tag)| {
            has_room_for(&state.engine, &watch.path)?;
            state.engine.watch(session, tag, watch);
            Ok(())
        });
        // Nobody waits for it yet: the first pull comes by itself.
        state.engine.take_woken();
        if let Err(problem) = opened {
            state.engine.close(session);
            connection.remove_links(watches.len(), places_bytes);
            return Err(problem);
        }
        let place = session.0 as usize;
        if state.slots.len() <= place {
            state.slots.resize_with(place + 1, Slot::default);
        }
        state.opened += 1;
        let seen = Arc::new(Seen::new(state.opened, since, connection.clone(), transport));
        state.slots[place] = Slot { waiter: Waiter::Nobody, seen: Some(seen.clone()) };
        drop(state);
        if has_own {
            shared.follow_own();
        }
        let links = watches.len() as u32;
        Ok(Subscription { shared: shared.clone(), session, seen, links, places_bytes })
    }

    /// Has news delivered from now on by the task that makes it, with no task woken.
    pub(crate) fn deliver_to(&self, reader: Weak<dyn Deliver>) {
        self.shared.state.lock().slots[self.session.0 as usize].waiter = Waiter::Reader(reader);
    }

    /// Adds a link. Its state comes with the next pull.
    pub(crate) fn watch(&mut self, tag: u32, watch: &Allowed<Watch>) -> Result<(), Problem> {
        let bytes = Engine::link_bytes(&watch.path);
        self.seen.connection.add_links(1, bytes)?;
        let has_own = is_own(&watch.path);
        let mut state = self.shared.state.lock();
        let opened = has_room_for(&state.engine, &watch.path)
            .map(|()| state.engine.watch(self.session, tag, watch));
        state.engine.take_woken();
        drop(state);
        if has_own {
            self.shared.follow_own();
        }
        self.seen.news.store(true, Ordering::Release);
        let problem = match opened {
            Ok(true) => {
                self.links += 1;
                self.places_bytes += bytes;
                return Ok(());
            }
            Ok(false) => Problem::new(
                Kind::LinkInUse,
                format!("the session has a link {tag}, which goes on"),
            )
            .hint("unwatch it first, or take another number"),
            Err(problem) => problem,
        };
        self.seen.connection.remove_links(1, bytes);
        Err(problem)
    }

    /// Ends a link. False when there is none of that number.
    pub(crate) fn unwatch(&mut self, tag: u32) -> bool {
        let mut state = self.shared.state.lock();
        let bytes = state.engine.bytes_of_link(self.session, tag);
        let ended = state.engine.unwatch(self.session, tag);
        drop(state);
        if ended {
            self.links -= 1;
            self.places_bytes -= bytes;
            self.seen.connection.remove_links(1, bytes);
        }
        ended
    }

    /// True if there is a link of this number.
    pub(crate) fn has_link(&self, tag: u32) -> bool {
        self.shared.with_engine(|engine| engine.has_link(self.session, tag))
    }

    /// Bytes of the places of its links, and of all on the way there.
    pub(crate) fn places_bytes(&self) -> usize {
        self.places_bytes
    }

    /// True if there is a link that could be told something.
    pub(crate) fn has_links(&self) -> bool {
        self.links > 0
    }

    /// Takes frames as long as `take` wants more, all from one state of the tree. When there are
    /// none left, `waker` is woken as soon as there are again (unless they are
    /// [delivered](Subscription::deliver_to)).
    pub(crate) fn pull(&self, waker: &Waker, mut take: impl FnMut(Update) -> bool) -> Pulled {
        let mut state = self.shared.state.lock();
        let now = self.shared.clock.tick();
        while let Some(update) = state.engine.next(self.session, now) {
            if !take(update) {
                break;
            }
        }
        let synced = state.engine.is_synced(self.session);
        self.seen.news.store(false, Ordering::Release);
        match &mut state.slots[self.session.0 as usize].waiter {
            Waiter::Reader(_) => {}
            Waiter::Task(known) if known.will_wake(waker) => {}
            waiter => *waiter = Waiter::Task(waker.clone()),
        }
        let pulled = Pulled {
            revision: state.engine.revision(),
            synced: synced.then(|| state.engine.resume_point(self.session)),
            due: state.engine.due(self.session),
        };
        // Its turn may be over before it has been told everything. Then it goes on when others have
        // had theirs.
        let woken = state.take_woken();
        drop(state);
        woken.wake();
        pulled
    }

    /// True if the resource of its link is in another state than `known`. If not, `waker` is woken
    /// by news. Makes no frame.
    pub(crate) fn has_changed(&self, waker: &Waker, path: &Allowed<Path>, known: Cursor) -> bool {
        if self.shared.metadata(path).cursor() != known {
            return true;
        }
        let mut changed = false;
        self.pull(waker, |_| {
            changed = true;
            false
        });
        changed
    }

    /// True if a commit has given the session something to send since it was pulled. If not, and it
    /// was synced then, the waker that it was pulled with is still set.
    pub(crate) fn has_news(&self) -> bool {
        self.seen.news.load(Ordering::Acquire)
    }

    /// The transport of its reader.
    pub(crate) fn transport(&self) -> Transport {
        self.seen.transport
    }

    /// Accounts for bytes of state that its connection was given.
    pub(crate) fn count_bytes(&self, bytes: usize) {
        self.shared.metrics.bytes_out.inc_by(bytes as u64);
        self.seen.count_bytes(bytes);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The connection that it is on.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.seen.connection
    }
}

/// Checks that the server has room for one more link.
fn has_room_for(engine: &Engine, path: &Path) -> Result<(), Problem> {
    engine.has_room_for(path).map_err(|(limit, max)| {
        Problem::limit(
            Kind::TooManyLinks,
            limit,
            max,
            "the server has too many links, or their paths too many names",
        )
    })
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        while !state.engine.end_links(self.session, LINKS_AT_ONCE) {
            MutexGuard::bump(&mut state);
        }
        state.engine.close(self.session);
        state.slots[self.session.0 as usize] = Slot::default();
        drop(state);
        self.seen.connection.remove_links(self.links as usize, self.places_bytes);
    }
}
