//! How sessions and their links stand, for those who watch over a server.

use crate::engine::Engine;
use crate::path;
use crate::read::link::{Link, State};
use crate::read::session::SessionId;
use crate::times::Timestamp;

/// How a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its links.
    pub links: usize,
    /// Something is due that it has not been told.
    pub behind: bool,
    /// For how long the oldest change has waited that is due and that it has not been told, in milliseconds since the commit. First states do not
    /// count: they are as old as they are.
    pub age_ms: u64,
    /// Frames that it has taken.
    pub frames: u64,
    /// Updates that it was never sent because something newer was there.
    pub conflated: u64,
}

/// How a link stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkStanding {
    /// Its owner's number for it.
    pub tag: u32,
    /// What it shows, as in a URL.
    pub path: String,
    /// How many levels of it, if not all.
    pub depth: Option<u32>,
    /// The least time between two frames.
    pub interval_ms: u64,
    /// From 0 to [`Priority::MAX`](crate::Priority::MAX).
    pub priority: u8,
    /// Something is due that it has not been told.
    pub behind: bool,
}

impl Engine {
    /// How a session stands; `None` when it is not open.
    pub fn standing(&self, id: SessionId, now: Timestamp) -> Option<Standing> {
        let session = self.sessions.get(id.0 as usize)?.as_ref()?;
        // Lines are first come, first served, so who has waited longest is at the head of one.
        let waiting = session.heads().filter_map(|id| self.links[id].waits_ms(now));
        Some(Standing {
            links: session.links.len(),
            behind: !session.is_quiet(),
            age_ms: waiting.max().unwrap_or(0),
            frames: session.frames,
            conflated: session.conflated,
        })
    }

    /// How the links of a session stand, or so many of them as are asked for, in no order.
    pub fn links_of(&self, id: SessionId, max: usize) -> Vec<LinkStanding> {
        let Some(Some(session)) = self.sessions.get(id.0 as usize) else { return Vec::new() };
        let mut names = Vec::new();
        let links = session.links.iter().take(max).map(|(tag, id)| {
            let link = &self.links[*id];
            self.interest.names(link.point, &mut names);
            LinkStanding {
                tag: *tag,
                path: path::display(names.iter().map(|key| self.keys.name(*key))),
                depth: link.depth(),
                interval_ms: link.rate.as_ref().map_or(0, |rate| rate.interval_ms),
                priority: link.priority.place() as u8,
                behind: link.state == State::Pending,
            }
        });
        links.collect()
    }
}

impl Link {
    /// For how long it has had something to tell; `None` if that is its first state, or if it has nothing.
    fn waits_ms(&self, now: Timestamp) -> Option<u64> {
        if self.state != State::Pending || self.cursor.0 == 0 || self.resumed {
            return None;
        }
        // A clock that was set back makes nothing look old.
        let waited = (now.0 as u32).wrapping_sub(self.waits_since);
        Some(if waited > u32::MAX / 2 { 0 } else { u64::from(waited) })
    }
}
