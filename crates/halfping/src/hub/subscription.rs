//! Subscriptions: sessions of the engine, which readers have as long as they read.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Waker;

use halfping_engine::{Charge, Cursor, Engine, Path, Revision, Tick, Update, Watch};
use parking_lot::MutexGuard;

use super::{Shared, Slot};
use crate::access::{Allowed, Follower, is_own};
use crate::auth::Rights;
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
    seen: Arc<Seen>,
    charge: Charge,
}

impl Subscription {
    /// Opens a session for somebody, with the given links, numbered in order.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        follower: &Follower,
        connection: &Arc<Connection>,
        transport: Transport,
        watches: &[Allowed<Watch>],
    ) -> Result<Subscription, Problem> {
        let charge = watches.iter().map(|watch| Engine::charge(watch)).sum();
        connection.add_links(charge)?;
        let has_own = watches.iter().any(|watch| is_own(&watch.path));
        let since = shared.clock.now();
        let mut state = shared.state.lock();
        let session = state.engine.open();
        let opened = watches.iter().zip(0..).try_for_each(|(watch, tag)| {
            make_room_for(&mut state.engine, watch)?;
            state.engine.watch(session, tag, watch);
            Ok(())
        });
        // Nobody waits for it yet: the first pull comes by itself.
        state.engine.take_woken();
        if let Err(problem) = opened {
            state.engine.close(session);
            connection.remove_links(charge);
            return Err(problem);
        }
        let place = session.0 as usize;
        if state.slots.len() <= place {
            state.slots.resize_with(place + 1, Slot::default);
        }
        state.opened += 1;
        let seen =
            Arc::new(Seen::new((state.opened, session), since, connection.clone(), transport));
        state.slots[place] = Slot { waiter: Waiter::Nobody, seen: Some(seen.clone()) };
        drop(state);
        if has_own {
            shared.follow_own();
        }
        let subscription = Subscription { shared: shared.clone(), seen, charge };
        subscription.is_of(follower);
        Ok(subscription)
    }

    /// Has it woken when the rights of its reader may have become others.
    pub(crate) fn is_of(&self, follower: &Follower) {
        if let Some(profile) = follower.rights().and_then(Rights::profile) {
            profile.note(self.seen.session);
        }
    }

    /// Has news delivered from now on by the task that makes it, with no task woken.
    pub(crate) fn deliver_to(&self, reader: Weak<dyn Deliver>) {
        self.shared.state.lock().slots[self.seen.session.0 as usize].waiter =
            Waiter::Reader(reader);
    }

    /// Adds a link. Its state comes with the next pull.
    pub(crate) fn watch(&mut self, tag: u32, watch: &Allowed<Watch>) -> Result<(), Problem> {
        let charge = Engine::charge(watch);
        self.seen.connection.add_links(charge)?;
        let has_own = is_own(&watch.path);
        let mut state = self.shared.state.lock();
        let opened = make_room_for(&mut state.engine, watch)
            .map(|()| state.engine.watch(self.seen.session, tag, watch));
        state.engine.take_woken();
        drop(state);
        if has_own {
            self.shared.follow_own();
        }
        self.seen.news.store(true, Ordering::Release);
        let problem = match opened {
            Ok(true) => {
                self.charge += charge;
                return Ok(());
            }
            Ok(false) => Problem::new(
                Kind::LinkInUse,
                format!("the session has a link {tag}, which goes on"),
            )
            .hint("unwatch it first, or take another number"),
            Err(problem) => problem,
        };
        self.seen.connection.remove_links(charge);
        Err(problem)
    }

    /// Ends a link. False when there is none of that number.
    pub(crate) fn unwatch(&mut self, tag: u32) -> bool {
        let mut state = self.shared.state.lock();
        let charge = state.engine.charge_of_link(self.seen.session, tag);
        let ended = state.engine.unwatch(self.seen.session, tag);
        drop(state);
        if ended {
            self.charge -= charge;
            self.seen.connection.remove_links(charge);
        }
        ended
    }

    /// True if there is a link of this number.
    pub(crate) fn has_link(&self, tag: u32) -> bool {
        self.shared.with_engine(|engine| engine.has_link(self.seen.session, tag))
    }

    /// The numbers of its links.
    pub(crate) fn tags(&self) -> Vec<u32> {
        self.shared.with_engine(|engine| engine.tags_of(self.seen.session))
    }

    /// The path of the resource that a link shows, if there is such a link.
    pub(crate) fn path_of(&self, tag: u32) -> Option<Path> {
        self.shared.with_engine(|engine| engine.path_of_link(self.seen.session, tag))
    }

    /// Bytes of the places of its links, and of all on the way there.
    pub(crate) fn places_bytes(&self) -> usize {
        self.charge.bytes
    }

    /// True if there is a link that could be told something.
    pub(crate) fn has_links(&self) -> bool {
        self.charge.links > 0
    }

    /// Takes frames as long as `take` wants more, all from one state of the tree. When there are
    /// none left, `waker` is woken as soon as there are again (unless they are
    /// [delivered](Subscription::deliver_to)).
    pub(crate) fn pull(&self, waker: &Waker, mut take: impl FnMut(Update) -> bool) -> Pulled {
        let mut state = self.shared.state.lock();
        let now = self.shared.clock.tick();
        while let Some(update) = state.engine.next(self.seen.session, now) {
            if !take(update) {
                break;
            }
        }
        let synced = state.engine.is_synced(self.seen.session);
        self.seen.news.store(false, Ordering::Release);
        match &mut state.slots[self.seen.session.0 as usize].waiter {
            Waiter::Reader(_) => {}
            Waiter::Task(known) if known.will_wake(waker) => {}
            waiter => *waiter = Waiter::Task(waker.clone()),
        }
        let pulled = Pulled {
            revision: state.engine.revision(),
            synced: synced.then(|| state.engine.resume_point(self.seen.session)),
            due: state.engine.due(self.seen.session),
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
        self.has_news_to_tell(waker) == Some(true)
    }

    /// True if there is something to tell, which is taken for told; false if nothing is left, and
    /// `waker` is woken by news. `None` if that is not known yet, and `waker` is woken to ask again.
    pub(crate) fn has_news_to_tell(&self, waker: &Waker) -> Option<bool> {
        let mut is_told = false;
        let pulled = self.pull(waker, |_| {
            is_told = true;
            false
        });
        (is_told || pulled.synced.is_some()).then_some(is_told)
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

/// Makes room for one more link.
fn make_room_for(engine: &mut Engine, watch: &Watch) -> Result<(), Problem> {
    engine.make_room_for(watch).map_err(|(limit, max)| match limit {
        "views" => {
            let what = "the server has too many different views";
            Problem::limit(Kind::TooManyViews, limit, max, what)
        }
        "unindexed_lenses" => {
            let what = "the resource has too many conditions and orders that each change is held against";
            Problem::limit(Kind::TooManyViews, limit, max, what)
                .hint("add an equality that has to hold, such as line == \"U4\", or read it with a plain GET")
        }
        _ => {
            let what = "the server has too many links, or their paths too many names";
            Problem::limit(Kind::TooManyLinks, limit, max, what)
        }
    })
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        while !state.engine.end_links(self.seen.session, LINKS_AT_ONCE) {
            MutexGuard::bump(&mut state);
        }
        state.engine.close(self.seen.session);
        state.slots[self.seen.session.0 as usize] = Slot::default();
        drop(state);
        self.seen.connection.remove_links(self.charge);
    }
}
