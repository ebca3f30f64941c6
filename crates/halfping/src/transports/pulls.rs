//! Pulls: the frames that a reader is to be sent next, however they are written.

use std::sync::{Arc, Weak};
use std::task::Waker;

use halfping_engine::{Cursor, Engine, Revision, Tick, Update};

use crate::auth::Rights;
use crate::delivery::Deliver;
use crate::hub::{Shared, Subscription};
use crate::mutants;
use crate::tag::Given;

/// A time that does not come. The size of a stream counts, and an `Option` would take more.
const NEVER: Tick = Tick(u64::MAX);

/// A reader's subscription, with what is left to be told of it.
pub(super) struct Pulls {
    pub(super) subscription: Subscription,
    /// Everything that was due has been told, and news will wake the reader.
    at_rest: bool,
    /// A link was opened since the reader was last told that it is synced.
    owes_synced: bool,
    /// Time at which there is more to tell even without news, or [`NEVER`].
    due: Tick,
    /// Of a reader who may not see all.
    partial: Option<Box<Partial>>,
}

/// The rights and the state by which cursors are given to a reader who may not see all.
struct Partial {
    rights: Rights,
    /// The newest state of which the reader has been told something. Commits that tell it nothing
    /// make no difference to its cursors.
    told: Revision,
}

/// The frames of one pull, all made from one state of the tree.
pub(super) struct Pull {
    first: Option<Update>,
    /// More than one is rare; then a list is worth its allocation.
    rest: Vec<Update>,
    /// Bytes of the frames, with those around them, about.
    pub(super) bytes: usize,
    /// The state of the tree.
    pub(super) revision: Revision,
    /// Nothing is left that is due, and this state of the tree resumes all links.
    pub(super) synced: Option<Revision>,
    /// The reader is to be told that it is synced, even if there are no frames.
    pub(super) tells_synced: bool,
}

impl Pulls {
    /// `has_links`: it has links already, so it is to be told when it is synced.
    pub(super) fn new(subscription: Subscription, has_links: bool) -> Pulls {
        let transport = subscription.transport().name();
        subscription.shared().metrics.streams.get_or_create(&[("transport", transport)]).inc();
        Pulls { subscription, at_rest: false, owes_synced: has_links, due: NEVER, partial: None }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.subscription.shared()
    }

    /// Hands news to this reader from now on.
    pub(super) fn deliver_to(&self, reader: Weak<dyn Deliver>) {
        self.subscription.deliver_to(reader);
    }

    /// Time at which there is more to tell even without news.
    pub(super) fn due(&self) -> Option<Tick> {
        (self.due != NEVER).then_some(self.due)
    }

    /// True if there is nothing to tell before there is news.
    pub(super) fn is_at_rest(&self) -> bool {
        self.at_rest && !self.subscription.has_news()
    }

    /// Pulls again, even without news: a link's time has come, or another task asks than before.
    pub(super) fn look_again(&mut self) {
        (self.at_rest, self.due) = (false, NEVER);
    }

    /// Tells the reader (again) that it is synced, as soon as it is.
    pub(super) fn owe_synced(&mut self) {
        self.look_again();
        self.owes_synced = true;
    }

    /// Takes the rights of its reader, which may not be to see all. Then cursors are sealed, and
    /// name no state but those of which the reader is told something.
    pub(super) fn take_rights(&mut self, rights: Option<Rights>) {
        let told = self.partial.take().map_or(Revision::NONE, |partial| partial.told);
        self.partial = rights.map(|rights| Box::new(Partial { rights, told }));
    }

    /// Notes a state that its reader has been told.
    pub(super) fn note(&mut self, seen: Revision) {
        if let Some(partial) = &mut self.partial {
            partial.told = partial.told.max(seen);
        }
    }

    /// The newest state that its reader may know of.
    pub(super) fn newest(&self) -> Revision {
        match &self.partial {
            Some(partial) => partial.told,
            None => self.shared().with_engine(Engine::revision),
        }
    }

    /// A cursor as it is given to its reader.
    pub(super) fn give(&self, cursor: Cursor) -> Given {
        let partial = self.partial.as_ref().filter(|_| !mutants::is("cursor-unsealed"));
        partial.map_or(Given::Open(cursor), |partial| partial.rights.give(cursor))
    }

    /// Takes the frames that come next, until they have `bytes_max` bytes, each with as many around
    /// it as `around` says for the number of its link. `None`: there is nothing before there is
    /// news, of which `waker` is told.
    pub(super) fn pull(
        &mut self,
        waker: &Waker,
        bytes_max: usize,
        around: impl Fn(u32) -> usize,
    ) -> Option<Pull> {
        if self.is_at_rest() {
            return None;
        }
        let (mut first, mut rest, mut bytes) = (None, Vec::new(), 0);
        let pulled = self.subscription.pull(waker, |update| {
            bytes += around(update.tag) + update.frame.as_ref().map_or(0, |frame| frame.body.len());
            match first {
                None => first = Some(update),
                Some(_) => rest.push(update),
            }
            bytes < bytes_max
        });
        (self.at_rest, self.due) = (pulled.synced.is_some(), pulled.due.unwrap_or(NEVER));
        let tells_synced = self.at_rest && self.owes_synced;
        let (mut revision, mut synced) = (pulled.revision, pulled.synced);
        if let Some(Partial { told, .. }) = self.partial.as_deref_mut() {
            let shared = self.subscription.shared();
            let updates = first.iter().chain(&rest);
            let cursors =
                updates.filter_map(|update: &Update| update.frame.as_ref().ok()?.cursor());
            let of_tree = cursors.filter(|cursor| shared.cursor(cursor.revision) == *cursor);
            *told = of_tree.map(|cursor| cursor.revision).fold(*told, Revision::max);
            if !mutants::is("heartbeat-too-new") {
                // Whoever waits for its rate was told less.
                (revision, synced) = (*told, synced.map(|at| at.min(*told)));
            }
        }
        let pull = Pull { first, rest, bytes, revision, synced, tells_synced };
        self.count_frames(&pull);
        self.owes_synced &= !self.at_rest;
        Some(pull)
    }

    fn count_frames(&self, pull: &Pull) {
        let shared = self.shared();
        let mut now = None;
        for frame in pull.updates().filter_map(|update| update.frame.as_ref().ok()) {
            shared.metrics.frames.of(frame.kind.name()).inc();
            // The age of a first state is not counted.
            if !self.owes_synced {
                let now = now.get_or_insert_with(|| shared.clock.now());
                shared.metrics.frame_age.observe(now.0.saturating_sub(frame.time.0));
            }
        }
    }
}

impl Pull {
    pub(super) fn updates(&self) -> impl Iterator<Item = &Update> {
        self.first.iter().chain(&self.rest)
    }

    /// The update, if there is one only.
    pub(super) fn only(&self) -> Option<&Update> {
        self.first.as_ref().filter(|_| self.rest.is_empty())
    }

    /// True if there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && !self.tells_synced
    }
}

impl Drop for Pulls {
    fn drop(&mut self) {
        let transport = self.subscription.transport().name();
        self.shared().metrics.streams.get_or_create(&[("transport", transport)]).dec();
    }
}
