//! Links: cursors with a place in line.

use std::iter::Sum;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

use crate::cursor::{Cursor, Revision};
use crate::grow::List;
use crate::path::Path;
use crate::read::interest::{self, NIL, PointId};
use crate::read::view::View;
use crate::read::walk::Walk;
use crate::times::Tick;

/// The number of a link, for the engine's own use.
pub(crate) type LinkId = u32;

/// One subscriber's standing interest in one resource.
///
/// A link holds no updates. It remembers the revision its reader has and whether the resource may
/// have moved on since. The next frame is decided when the socket can take bytes, so a slow reader
/// receives the newest state that it lacks and costs no more than a fast one.
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
    /// True if it is sent only whole values, no deltas.
    pub(crate) whole: bool,
    /// True if the cursor came from the reader, and nothing was sent since: the reader may have got
    /// further before it was cut off.
    pub(crate) resumed: bool,
    /// True if the last frame said that nothing is here.
    pub(crate) gone: bool,
    /// Levels of objects to show; the maximum stands for all of them, which are fewer.
    pub(crate) depth: u16,
    /// Time since which it has something to tell, if it does: the low 32 bits of the wall clock's
    /// milliseconds.
    pub(crate) waits_since: u32,
    /// The revision that the reader has.
    pub(crate) cursor: Revision,
    /// The point's count of touches when it was last served.
    pub(crate) touches: u32,
    /// The round of its session's line in which it was last served.
    pub(crate) round: u32,
    pub(crate) rate: Option<Box<Rate>>,
    /// The walk of a large state, which the last frame did not complete.
    pub(crate) walk: Option<Box<Walk>>,
}

// A connection may have thousands of links, so each is constant and small (invariant A2): one line
// of the processor's cache.
const _: () = assert!(std::mem::size_of::<Link>() == 64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Nothing to tell.
    Idle,
    /// Something to tell, and in line.
    Pending,
    /// Something to tell, but not before its time.
    Waiting,
}

/// Rank of a link in its session: 0, the default, to [`Priority::MAX`], which is served first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Priority(u8);

impl Priority {
    /// The first to be served.
    pub const MAX: u8 = 3;

    /// The priority of a level; `None` beyond [`Priority::MAX`].
    pub fn new(level: u8) -> Option<Priority> {
        (level <= Self::MAX).then_some(Priority(level))
    }

    pub(crate) fn place(self) -> usize {
        usize::from(self.0)
    }
}

pub(crate) struct Rate {
    pub(crate) interval_ms: u64,
    /// The time before which it is not served.
    pub(crate) due: Tick,
    /// The revision up to which its reader has everything of the tree, while it waits; `None`
    /// beneath another root.
    pub(crate) known: Option<Revision>,
}

/// Description of a new link: the resource, its shape, and the state to begin from.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The path of the resource.
    pub path: Path,
    /// The cursor that the reader has. One that cannot be used is as good as none.
    pub since: Option<Cursor>,
    /// True if the reader is told only changes from now on, whatever it has.
    pub from_now: bool,
    /// Part of the resource that is shown; `None` for all.
    pub view: Option<Arc<View>>,
    /// Levels of objects to show beneath the resource.
    pub depth: u32,
    /// True for whole values only.
    pub whole: bool,
    /// The least milliseconds between two frames; 0 for no limit.
    pub interval_ms: u64,
    /// Its rank among the links of its session.
    pub priority: Priority,
}

impl Watch {
    /// A watch of everything at a path, from the start.
    pub fn new(path: Path) -> Watch {
        let priority = Priority::default();
        let (since, from_now) = (None, false);
        let (view, depth, whole, interval_ms) = (None, u32::MAX, false, 0);
        Watch { path, since, from_now, view, depth, whole, interval_ms, priority }
    }
}

/// Charge of links to their owner's account.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Charge {
    /// Their number.
    pub links: u32,
    /// Those of them that look through a view, distinct or not.
    pub views: u32,
    /// Bytes of their places and views: for the whole way there, even if others share it.
    pub bytes: usize,
}

impl Charge {
    /// The charge for one link, through the view of this text if it has one.
    pub(crate) fn of_link(way_bytes: usize, view: Option<&str>) -> Charge {
        let bytes = way_bytes + view.map_or(0, interest::view_bytes);
        Charge { links: 1, views: u32::from(view.is_some()), bytes }
    }
}

impl AddAssign for Charge {
    fn add_assign(&mut self, other: Charge) {
        self.links += other.links;
        self.views += other.views;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Charge {
    fn sub_assign(&mut self, other: Charge) {
        self.links -= other.links;
        self.views -= other.views;
        self.bytes -= other.bytes;
    }
}

impl Sum for Charge {
    fn sum<I: Iterator<Item = Charge>>(charges: I) -> Charge {
        charges.fold(Charge::default(), |mut sum, charge| {
            sum += charge;
            sum
        })
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

    /// Ends a link. True if it was in the middle of a walk.
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

    /// Takes a link out of its list. Returns its neighbours: new ends of the list if it was one.
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
