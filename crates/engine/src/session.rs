//! Sessions: the links of one connection, and whose turn it is.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::cursor::Revision;
use crate::link::{Line, LinkId, Links, Priority, State};

/// A session's number. It is used again once the session is closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionId(pub u32);

/// Milliseconds on a clock that never goes back; only differences mean anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tick(pub u64);

pub(crate) struct Session {
    /// Links with something to tell: a line for each priority, first come first served.
    lines: [Line; Priority::COUNT],
    /// Turns that were given.
    turns: u32,
    /// All links, by their owner's numbers.
    pub(crate) links: HashMap<u32, LinkId>,
    /// Whether its owner has been told to pull.
    pub(crate) woken: bool,
    /// Links with a rate whose time has not come. Rare, so it costs nothing to the others.
    waiting: Option<Box<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    by_due: BTreeSet<(Tick, LinkId)>,
    /// Up to where their readers have everything: a cursor for the whole session must not promise more.
    by_known: BTreeSet<(Revision, LinkId)>,
}

impl Session {
    pub(crate) fn new() -> Session {
        let lines = [Line::EMPTY; Priority::COUNT];
        Session { lines, turns: 0, links: HashMap::new(), woken: false, waiting: None }
    }

    /// A link that was idle has something to tell since the commit `at`.
    pub(crate) fn enqueue(&mut self, links: &mut Links, id: LinkId, at: Revision) {
        let link = &mut links[id];
        match &mut link.rate {
            Some(rate) => {
                rate.known = at.previous();
                let waiting = self.waiting.get_or_insert_default();
                waiting.by_due.insert((rate.due, id));
                waiting.by_known.insert((rate.known, id));
                link.state = State::Waiting;
            }
            None => self.line_up(links, id),
        }
    }

    /// Puts a link at the end of the line, whatever its rate.
    pub(crate) fn line_up(&mut self, links: &mut Links, id: LinkId) {
        links[id].state = State::Pending;
        let priority = links[id].priority;
        links.push_back(&mut self.lines[priority.place()], id);
    }

    /// Whether no link has something to tell now.
    pub(crate) fn is_quiet(&self) -> bool {
        self.lines.iter().all(|line| line.is_empty())
    }

    /// Gives the next link its turn. The highest priority goes first; but of every four turns one goes to the next lower that waits, of
    /// every four of these one to the next lower still, so that none starves.
    pub(crate) fn give_turn(&mut self, links: &mut Links) -> Option<LinkId> {
        let waits = self.lines.iter().filter(|line| !line.is_empty()).count();
        if waits == 0 {
            return None;
        }
        self.turns = self.turns.wrapping_add(1);
        let passed_over = (self.turns.trailing_zeros() as usize / 2).min(waits - 1);
        let line = self.lines.iter_mut().rev().filter(|line| !line.is_empty()).nth(passed_over)?;
        let id = line.first;
        links.take_from_line(line, id);
        Some(id)
    }

    /// Takes a link out of its line.
    pub(crate) fn leave_line(&mut self, links: &mut Links, id: LinkId) {
        let priority = links[id].priority;
        links.take_from_line(&mut self.lines[priority.place()], id);
    }

    /// Lines up the links whose time has come.
    pub(crate) fn promote(&mut self, links: &mut Links, now: Tick) {
        while let Some(waiting) = &mut self.waiting
            && let Some((due, id)) = waiting.by_due.first().copied()
            && due <= now
        {
            self.stop_waiting(links, id);
            self.line_up(links, id);
        }
    }

    pub(crate) fn stop_waiting(&mut self, links: &Links, id: LinkId) {
        let Some(waiting) = &mut self.waiting else { return };
        if let Some(rate) = &links[id].rate {
            waiting.by_due.remove(&(rate.due, id));
            waiting.by_known.remove(&(rate.known, id));
        }
        if waiting.by_due.is_empty() {
            self.waiting = None;
        }
    }

    /// When the next waiting link is due.
    pub(crate) fn due(&self) -> Option<Tick> {
        Some(self.waiting.as_ref()?.by_due.first()?.0)
    }

    /// Up to where the readers of all waiting links have everything.
    pub(crate) fn known(&self) -> Option<Revision> {
        Some(self.waiting.as_ref()?.by_known.first()?.0)
    }
}
