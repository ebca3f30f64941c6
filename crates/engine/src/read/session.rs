//! Sessions: the links of one connection, and their turns.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::cursor::Revision;
use crate::read::interest::NIL;
use crate::read::link::{Line, LinkId, Links, Priority, State};
use crate::times::{Tick, Timestamp};

/// A session's number. It is used again once the session is closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionId(pub u32);

/// A commit that links have to tell of.
#[derive(Clone, Copy)]
pub(crate) struct News {
    pub(crate) at: Revision,
    pub(crate) time: Timestamp,
    /// True if it changed the tree. A cursor for a whole session is a revision of the tree.
    pub(crate) is_of_tree: bool,
}

/// A session. The fields that every commit and every pull reads come first, in one line of the
/// processor's cache.
#[repr(C, align(64))]
pub(crate) struct Session {
    /// Links of the lowest priority, the usual one, that have something to tell.
    usual: Queue,
    /// Links of higher priorities that have something to tell, lowest first.
    higher: Option<Box<[Queue; Priority::MAX as usize]>>,
    /// Turns that were given.
    turns: u32,
    /// True if its owner has been told to pull.
    pub(crate) woken: bool,
    /// True if it would have been called synced, had all links been marked.
    pub(crate) asked: bool,
    /// Links with a rate whose time has not come. Boxed, since they are rare.
    waiting: Option<Box<Waiting>>,
    /// Frames that were taken, and updates that none of them stands for.
    pub(crate) frames: u64,
    pub(crate) conflated: u64,
    /// All links, by their owner's numbers.
    pub(crate) links: HashMap<u32, LinkId>,
}

// One more line of the cache, for the links by their numbers. Fields in the line that every commit
// reads must not push it further.
const _: () = assert!(std::mem::size_of::<Session>() == 128);

/// Links in line, first come first served, in rounds: one that was served in this round and has
/// something to tell again waits for the next, so that all links that are always in line are served
/// equally often, whenever in a round their news comes.
struct Queue {
    now: Line,
    later: Line,
    round: u32,
}

impl Queue {
    /// A queue without links, in round 1: links that were never served have round 0.
    const EMPTY: Queue = Queue { now: Line::EMPTY, later: Line::EMPTY, round: 1 };

    fn is_empty(&self) -> bool {
        self.now.is_empty() && self.later.is_empty()
    }

    /// The line that a link is in, or belongs in.
    fn line_of(&mut self, links: &Links, id: LinkId) -> &mut Line {
        if links[id].round == self.round { &mut self.later } else { &mut self.now }
    }

    fn push(&mut self, links: &mut Links, id: LinkId) {
        let line = self.line_of(links, id);
        links.push_back(line, id);
    }

    fn remove(&mut self, links: &mut Links, id: LinkId) {
        let line = self.line_of(links, id);
        links.take_from_line(line, id);
    }

    fn pop(&mut self, links: &mut Links) -> Option<LinkId> {
        if self.now.is_empty() {
            self.now = std::mem::replace(&mut self.later, Line::EMPTY);
            self.round = self.round.wrapping_add(1);
        }
        let id = self.now.first;
        if self.now.is_empty() {
            return None;
        }
        links.take_from_line(&mut self.now, id);
        links[id].round = self.round;
        Some(id)
    }
}

#[derive(Default)]
struct Waiting {
    by_due: BTreeSet<(Tick, LinkId)>,
    /// The links by the revision up to which their readers have everything of the tree: a cursor
    /// for the whole session must not promise more.
    by_known: BTreeSet<(Revision, LinkId)>,
}

impl Session {
    pub(crate) fn new() -> Session {
        Session {
            usual: Queue::EMPTY,
            higher: None,
            turns: 0,
            links: HashMap::new(),
            woken: false,
            asked: false,
            waiting: None,
            frames: 0,
            conflated: 0,
        }
    }

    /// Queues a link that was idle and has something to tell since a commit.
    pub(crate) fn enqueue(&mut self, links: &mut Links, id: LinkId, news: News) {
        let link = &mut links[id];
        link.waits_since = news.time.0 as u32;
        match &mut link.rate {
            Some(rate) => {
                rate.known = news.is_of_tree.then(|| news.at.previous());
                let waiting = self.waiting.get_or_insert_default();
                waiting.by_due.insert((rate.due, id));
                waiting.by_known.extend(rate.known.map(|known| (known, id)));
                link.state = State::Waiting;
            }
            None => self.line_up(links, id),
        }
    }

    /// Puts a link at the end of the line, whatever its rate.
    pub(crate) fn line_up(&mut self, links: &mut Links, id: LinkId) {
        links[id].state = State::Pending;
        self.queue(links[id].priority).push(links, id);
    }

    fn queue(&mut self, priority: Priority) -> &mut Queue {
        match priority.place().checked_sub(1) {
            None => &mut self.usual,
            Some(place) => {
                let none = || Box::new([const { Queue::EMPTY }; Priority::MAX as usize]);
                &mut self.higher.get_or_insert_with(none)[place]
            }
        }
    }

    /// All queues, those of the highest priority first.
    fn queues(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.higher.iter_mut().flat_map(|queues| queues.iter_mut().rev()).chain([&mut self.usual])
    }

    /// True if no link has something to tell now.
    pub(crate) fn is_quiet(&self) -> bool {
        self.usual.is_empty()
            && self.higher.iter().flat_map(|queues| queues.iter()).all(Queue::is_empty)
    }

    /// The first of each line, which have waited longest.
    pub(crate) fn heads(&self) -> impl Iterator<Item = LinkId> {
        let queues = self.higher.iter().flat_map(|queues| queues.iter()).chain([&self.usual]);
        queues.flat_map(|queue| [queue.now.first, queue.later.first]).filter(|id| *id != NIL)
    }

    /// Gives the next link its turn. The highest priority goes first; but of every four turns one
    /// goes to the next lower that waits, of every four of these one to the next lower still, so
    /// that none starves.
    pub(crate) fn give_turn(&mut self, links: &mut Links) -> Option<LinkId> {
        self.turns = self.turns.wrapping_add(1);
        if self.higher.is_none() {
            return self.usual.pop(links);
        }
        let waits = self.queues().filter(|queue| !queue.is_empty()).count();
        let passed_over = (self.turns.trailing_zeros() as usize / 2).min(waits.checked_sub(1)?);
        self.queues().filter(|queue| !queue.is_empty()).nth(passed_over)?.pop(links)
    }

    /// Takes a link out of its line.
    pub(crate) fn leave_line(&mut self, links: &mut Links, id: LinkId) {
        self.queue(links[id].priority).remove(links, id);
    }

    /// Lines up links whose time has come, `max` at most. Returns their number.
    pub(crate) fn promote(&mut self, links: &mut Links, now: Tick, max: usize) -> usize {
        let mut promoted = 0;
        while promoted < max
            && let Some(waiting) = &mut self.waiting
            && let Some((due, id)) = waiting.by_due.first().copied()
            && due <= now
        {
            self.stop_waiting(links, id);
            self.line_up(links, id);
            promoted += 1;
        }
        promoted
    }

    pub(crate) fn stop_waiting(&mut self, links: &Links, id: LinkId) {
        let Some(waiting) = &mut self.waiting else { return };
        if let Some(rate) = &links[id].rate {
            waiting.by_due.remove(&(rate.due, id));
            if let Some(known) = rate.known {
                waiting.by_known.remove(&(known, id));
            }
        }
        if waiting.by_due.is_empty() {
            self.waiting = None;
        }
    }

    /// Time at which the next waiting link is due.
    pub(crate) fn due(&self) -> Option<Tick> {
        Some(self.waiting.as_ref()?.by_due.first()?.0)
    }

    /// The revision up to which the readers of all waiting links into the tree have everything of
    /// it, if any waits.
    pub(crate) fn known(&self) -> Option<Revision> {
        Some(self.waiting.as_ref()?.by_known.first()?.0)
    }
}
