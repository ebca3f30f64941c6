//! Sessions: the links of one connection, and whose turn it is.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::cursor::Revision;
use crate::link::{Line, LinkId, Links, State};

/// A session's number. It is used again once the session is closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionId(pub u32);

/// Milliseconds on a clock that never goes back; only differences mean anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tick(pub u64);

pub(crate) struct Session {
    /// Links with something to tell, first come first served.
    pub(crate) line: Line,
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
    /// What their readers have: a cursor for the whole session must not promise more.
    by_cursor: BTreeSet<(Revision, LinkId)>,
}

impl Session {
    pub(crate) fn new() -> Session {
        Session { line: Line::EMPTY, links: HashMap::new(), woken: false, waiting: None }
    }

    /// A link that was idle has something to tell.
    pub(crate) fn enqueue(&mut self, links: &mut Links, id: LinkId) {
        let link = &mut links[id];
        match &link.rate {
            Some(rate) => {
                let waiting = self.waiting.get_or_insert_default();
                waiting.by_due.insert((rate.due, id));
                waiting.by_cursor.insert((link.cursor, id));
                link.state = State::Waiting;
            }
            None => self.line_up(links, id),
        }
    }

    /// Puts a link at the end of the line, whatever its rate.
    pub(crate) fn line_up(&mut self, links: &mut Links, id: LinkId) {
        links[id].state = State::Pending;
        links.push_back(&mut self.line, id);
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
        let link = &links[id];
        if let Some(rate) = &link.rate {
            waiting.by_due.remove(&(rate.due, id));
        }
        waiting.by_cursor.remove(&(link.cursor, id));
        if waiting.by_due.is_empty() {
            self.waiting = None;
        }
    }

    /// When the next waiting link is due.
    pub(crate) fn due(&self) -> Option<Tick> {
        Some(self.waiting.as_ref()?.by_due.first()?.0)
    }

    /// The oldest cursor among waiting links.
    pub(crate) fn owed(&self) -> Option<Revision> {
        Some(self.waiting.as_ref()?.by_cursor.first()?.0)
    }
}
