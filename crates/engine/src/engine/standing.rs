//! Status of sessions and their links, for operators of a server.

use crate::engine::Engine;
use crate::path::{self, Path};
use crate::read::link::{Link, State};
use crate::read::session::SessionId;
use crate::times::Timestamp;

/// Status of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Number of its links.
    pub links: usize,
    /// True if something is due that it has not been told.
    pub behind: bool,
    /// Age of the oldest change that is due and that it has not been told, in milliseconds since
    /// the commit. First states do not count, however old they are.
    pub age_ms: u64,
    /// Frames that it has taken.
    pub frames: u64,
    /// Updates that it was never sent because something newer was there.
    pub conflated: u64,
}

/// Status of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkStanding {
    /// Its owner's number for it.
    pub tag: u32,
    /// Path of the resource that it shows, as in a URL.
    pub path: String,
    /// The text of the view that it looks through, if it does: equal for views that mean the same.
    pub view: Option<String>,
    /// Levels of it that are shown, if not all.
    pub depth: Option<u32>,
    /// The least time between two frames.
    pub interval_ms: u64,
    /// Its priority, from 0 to [`Priority::MAX`](crate::Priority::MAX).
    pub priority: u8,
    /// True if something is due that it has not been told.
    pub behind: bool,
}

impl Engine {
    /// Status of a session; `None` if it is not open.
    pub fn standing(&self, id: SessionId, now: Timestamp) -> Option<Standing> {
        let session = self.sessions.get(id.0 as usize)?.as_ref()?;
        // Lines are first come, first served, so the link that has waited longest is at the head of
        // one.
        let waiting = session.heads().filter_map(|id| self.links[id].waits_ms(now));
        Some(Standing {
            links: session.links.len(),
            behind: !session.is_quiet(),
            age_ms: waiting.max().unwrap_or(0),
            frames: session.frames,
            conflated: session.conflated,
        })
    }

    /// The numbers of the links of a session.
    pub fn tags_of(&self, id: SessionId) -> Vec<u32> {
        let session = self.sessions.get(id.0 as usize).and_then(Option::as_ref);
        session.map_or_else(Vec::new, |session| session.links.keys().copied().collect())
    }

    /// The path of the resource that a link of a session shows, if there is such a link.
    pub fn path_of_link(&self, id: SessionId, tag: u32) -> Option<Path> {
        let session = self.sessions.get(id.0 as usize)?.as_ref()?;
        let link = &self.links[*session.links.get(&tag)?];
        let mut names = Vec::new();
        self.interest.names(link.point, &mut names);
        Some(names.iter().fold(Path::ROOT, |path, key| path.child(self.keys.name(*key))))
    }

    /// Status of the links of a session, of `max` links at most, in no order.
    pub fn links_of(&self, id: SessionId, max: usize) -> Vec<LinkStanding> {
        let Some(Some(session)) = self.sessions.get(id.0 as usize) else { return Vec::new() };
        let mut names = Vec::new();
        let links = session.links.iter().take(max).map(|(tag, id)| {
            let link = &self.links[*id];
            self.interest.names(link.point, &mut names);
            LinkStanding {
                tag: *tag,
                path: path::display(names.iter().map(|key| self.keys.name(*key))),
                view: self.views.text(link.point).map(str::to_owned),
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
    /// Milliseconds for which it has had something to tell; `None` if that is its first state, or
    /// if it has nothing.
    fn waits_ms(&self, now: Timestamp) -> Option<u64> {
        if self.state != State::Pending || self.cursor.0 == 0 || self.resumed {
            return None;
        }
        // A clock that was set back makes nothing look old.
        let waited = (now.0 as u32).wrapping_sub(self.waits_since);
        Some(if waited > u32::MAX / 2 { 0 } else { u64::from(waited) })
    }
}
