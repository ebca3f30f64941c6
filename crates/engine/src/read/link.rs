//! Links: cursors with a place in line.

use crate::cursor::{Cursor, Revision};
use crate::grow::List;
use crate::path::Path;
use crate::read::interest::{NIL, PointId};
use crate::read::walk::Walk;
use crate::times::Tick;

/// A link's number, for the engine's own use.
pub(crate) type LinkId = u32;

/// One subscriber's standing interest in one resource.
///
/// A link holds no updates. It remembers the revision its reader has and whether the resource may have moved on since. What to send
/// is decided when the socket can take bytes, so a slow reader receives the newest state it lacks and costs no more than a
/// fast one.
///
/// # Invariants
/// - It is in exactly one place: idle at its point, in its session's line, or waiting for its rate.
/// - `cursor` never goes back, except to "nothing" when the reader must start from a snapshot.
#[repr(align(64))]
pub(crate) struct Link {
    pub(crate) session: u32,
    pub(crate) point: PointId,
    /// The owner's number for it.
    pub(crate) tag: u32,
    /// Neighbours in the list that it is in.
    pub(crate) previous: LinkId,
    pub(crate) next: LinkId,
    pub(crate) state: State,
    pub(crate) priority: Priority,
    /// Only whole values, no deltas.
    pub(crate) whole: bool,
    /// The cursor is the reader's word, and nothing was sent since: it may have got further than that before it was cut off.
    pub(crate) resumed: bool,
    /// The last frame said that nothing is here.
    pub(crate) gone: bool,
    /// Levels of objects to show; the most stands for all of them, which are fewer.
    pub(crate) depth: u16,
    /// Since when it has something to tell, if it does: milliseconds of the clock on the wall, as many of them as go in here.
    pub(crate) waits_since: u32,
    /// What the reader has.
    pub(crate) cursor: Revision,
    /// The point's count of touches when it was last served.
    pub(crate) touches: u32,
    /// The round of its session's line in which it was last served.
    pub(crate) round: u32,
    pub(crate) rate: Option<Box<Rate>>,
    /// A large state on its way: the last frame did not complete one.
    pub(crate) walk: Option<Box<Walk>>,
}

// Thousands of links per connection: constant, and small (invariant A2); and one line of the processor's cache.
const _: () = assert!(std::mem::size_of::<Link>() == 64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Nothing to tell.
    Idle,
    /// In line.
    Pending,
    /// Something to tell, but not before its time.
    Waiting,
}

/// How early in a session a link is served: 0, the default, to [`Priority::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Priority(u8);

impl Priority {
    /// The first to be served.
    pub const MAX: u8 = 3;

    /// `None` beyond [`Priority::MAX`].
    pub fn new(level: u8) -> Option<Priority> {
        (level <= Self::MAX).then_some(Priority(level))
    }

    pub(crate) fn place(self) -> usize {
        usize::from(self.0)
    }
}

pub(crate) struct Rate {
    pub(crate) interval_ms: u64,
    /// Not before then.
    pub(crate) due: Tick,
    /// While it waits: up to where its reader has everything of the tree; `None` beneath another
    /// root.
    pub(crate) known: Option<Revision>,
}

/// What a new link is to show, and from where on.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Which resource.
    pub path: Path,
    /// What the reader has. A cursor that cannot be used is as good as none.
    pub since: Option<Cursor>,
    /// Whatever the reader has, it is told only what changes from now on.
    pub from_now: bool,
    /// Levels of objects to show beneath the resource.
    pub depth: u32,
    /// Whole values only.
    pub whole: bool,
    /// At most one frame in so many milliseconds; 0 for as many as there are.
    pub interval_ms: u64,
    /// Before which other links of its session it is served.
    pub priority: Priority,
}

impl Watch {
    /// Everything at a path, from the start.
    pub fn new(path: Path) -> Watch {
        let priority = Priority::default();
        let (since, from_now) = (None, false);
        Watch { path, since, from_now, depth: u32::MAX, whole: false, interval_ms: 0, priority }
    }
}

/// All links of an engine, with the lists that are threaded through them.
#[derive(Default)]
pub(crate) struct Links {
    links: List<Link>,
    free: Vec<LinkId>,
}

impl std::ops::Index<LinkId> for Links {
    type Output = Link;
    fn index(&self, id: LinkId) -> &Link {
        &self.links[id as usize]
    }
}

impl std::ops::IndexMut<LinkId> for Links {
    fn index_mut(&mut self, id: LinkId) -> &mut Link {
        &mut self.links[id as usize]
    }
}

impl Link {
    /// Levels of objects to show; `None` for all.
    pub(crate) fn depth(&self) -> Option<u32> {
        (self.depth < u16::MAX).then_some(u32::from(self.depth))
    }
}

impl Links {
    pub(crate) fn add(&mut self, link: Link) -> LinkId {
        match self.free.pop() {
            Some(id) => {
                self.links[id as usize] = link;
                id
            }
            None => {
                self.links.push(link);
                self.links.len() as LinkId - 1
            }
        }
    }

    /// Ends a link; says whether it was in the middle of a walk.
    pub(crate) fn remove(&mut self, id: LinkId) -> bool {
        let link = &mut self[id];
        link.rate = None;
        let was_walking = link.walk.take().is_some();
        self.free.push(id);
        was_walking
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len() - self.free.len()
    }

    /// Puts a link at the head of a list.
    pub(crate) fn push_front(&mut self, head: &mut LinkId, id: LinkId) {
        (self[id].previous, self[id].next) = (NIL, *head);
        if *head != NIL {
            self[*head].previous = id;
        }
        *head = id;
    }

    /// Puts a link at the end of a list.
    pub(crate) fn push_back(&mut self, line: &mut Line, id: LinkId) {
        (self[id].previous, self[id].next) = (line.last, NIL);
        match line.last {
            NIL => line.first = id,
            last => self[last].next = id,
        }
        line.last = id;
    }

    /// Takes a link out of whatever list it is in; says what its ends are to be.
    pub(crate) fn unlink(&mut self, id: LinkId) -> (LinkId, LinkId) {
        let Link { previous, next, .. } = self[id];
        if previous != NIL {
            self[previous].next = next;
        }
        if next != NIL {
            self[next].previous = previous;
        }
        (previous, next)
    }

    pub(crate) fn take_from_line(&mut self, line: &mut Line, id: LinkId) {
        let (previous, next) = self.unlink(id);
        if line.first == id {
            line.first = next;
        }
        if line.last == id {
            line.last = previous;
        }
    }
}

/// A first-in first-out list of links.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) first: LinkId,
    pub(crate) last: LinkId,
}

impl Line {
    pub(crate) const EMPTY: Line = Line { first: NIL, last: NIL };

    pub(crate) fn is_empty(self) -> bool {
        self.first == NIL
    }
}
