//! The tree of places where links stand. It is kept apart from the state, since a link may stand
//! where nothing is yet.

use hashbrown::{HashMap, HashSet};

use crate::cursor::Revision;
use crate::grow::{List, Table};
use crate::path::Path;
use crate::tree::key::{KeyId, Keys};

/// A place that somebody watches, or that leads to one.
pub(crate) type PointId = u32;

/// The place of the whole tree. It always exists.
pub(crate) const ROOT: PointId = 0;

/// The number of no place and of no link.
pub(crate) const NIL: u32 = u32::MAX;

/// Bytes that a place takes besides its name, at most: itself, the entry that leads to it, and the
/// record of its name, in tables that grow by doubling.
const PLACE_BYTES: usize = 200;

/// Bytes that a view takes at most besides what grows with its text.
const VIEW_BYTES: usize = 512;

/// Places for which room is kept while links are being put in line at none.
const DUE_KEPT: usize = 64;

struct Point {
    parent: PointId,
    key: KeyId,
    first_child: PointId,
    /// Neighbours among the parent's children.
    next: PointId,
    previous: PointId,
    /// Links that stand here.
    links: u32,
    /// Links here that have nothing to be told, as a list threaded through the links themselves.
    idle: u32,
    /// Commits that touched this place, to tell how many of them one frame stands for.
    touches: u32,
    /// The last of them: frames encoded for this place since then are still valid.
    touched: Revision,
}

const _: () = assert!(std::mem::size_of::<Point>() == 40);

/// Links that were idle when a place was touched, and are not in line yet.
struct Due {
    /// The first of these links, in a list like that of idle links. There is at least one.
    first: u32,
    /// True if a later commit has touched the place, so that links that are idle by then come next.
    again: bool,
}

pub(crate) struct Interest {
    points: List<Point>,
    free: Vec<PointId>,
    /// Places by their parents and names.
    children: Table,
    /// Places where links are being put in line.
    due: HashMap<PointId, Due>,
    /// Places beneath which all are to be touched, where that has not begun.
    to_walk: HashSet<PointId>,
    /// Bytes that all places take.
    bytes: usize,
    /// A walk over all places beneath one, which goes on between calls: its root, and the place
    /// that comes next.
    walk: Option<(PointId, PointId)>,
}

/// A place's parent and its name.
fn key_of(points: &List<Point>, id: PointId) -> (PointId, KeyId) {
    let Point { parent, key, .. } = points[id as usize];
    (parent, key)
}

/// Bytes that a place of this name takes.
fn bytes_of(name: &str) -> usize {
    PLACE_BYTES + name.len()
}

/// Bytes that all places on the way to a path take, and its own.
pub(crate) fn way_bytes(path: &Path) -> usize {
    path.segments().iter().map(|name| bytes_of(name)).sum()
}

/// Bytes that a view takes besides what it remembers of members: its place, its condition and
/// selection, and its text.
pub(crate) fn view_bytes(text: &str) -> usize {
    VIEW_BYTES + 8 * text.len()
}

impl Interest {
    pub(crate) fn new() -> Interest {
        let mut points = List::default();
        points.push(Point::new(NIL, KeyId::NONE));
        Interest {
            points,
            free: Vec::new(),
            children: Table::with_capacity(0),
            due: HashMap::new(),
            to_walk: HashSet::new(),
            bytes: 0,
            walk: None,
        }
    }

    /// Puts a link on the place of a path, which is made if need be. [`Interest::leave`] takes the
    /// link away.
    pub(crate) fn stand(&mut self, keys: &mut Keys, path: &Path) -> PointId {
        let point = self.place(keys, path);
        self.join(point)
    }

    /// Puts a link on a place. [`Interest::leave`] takes it away.
    pub(crate) fn join(&mut self, point: PointId) -> PointId {
        self.points[point as usize].links += 1;
        point
    }

    /// Makes the place of a view, beside those of the members of its resource. It has no name.
    pub(crate) fn add_view(&mut self, base: PointId, text: &str) -> PointId {
        self.bytes += view_bytes(text);
        self.add(base, KeyId::NONE)
    }

    /// True if a place is that of a view.
    pub(crate) fn is_view(&self, point: PointId) -> bool {
        point != ROOT && self.points[point as usize].key == KeyId::NONE
    }

    /// The place of a path, which is made if need be: then a link or a view has to be put there.
    pub(crate) fn place(&mut self, keys: &mut Keys, path: &Path) -> PointId {
        let mut point = ROOT;
        for name in path.segments() {
            let key = keys.hold(name);
            point = match self.place_of(point, key) {
                Some(child) => {
                    keys.release(key); // the place holds it already
                    child
                }
                None => {
                    self.bytes += bytes_of(name);
                    self.add(point, key)
                }
            };
        }
        point
    }

    fn add(&mut self, parent: PointId, key: KeyId) -> PointId {
        let mut point = Point::new(parent, key);
        let first = self.points[parent as usize].first_child;
        point.next = first;
        let id = match self.free.pop() {
            Some(id) => {
                self.points[id as usize] = point;
                id
            }
            None => {
                self.points.push(point);
                self.points.len() as PointId - 1
            }
        };
        if first != NIL {
            self.points[first as usize].previous = id;
        }
        self.points[parent as usize].first_child = id;
        if key != KeyId::NONE {
            self.children.insert(id, |id| key_of(&self.points, id));
        }
        id
    }

    /// Takes a link away, and the places that it alone needed.
    pub(crate) fn leave(&mut self, keys: &mut Keys, mut point: PointId) {
        self.points[point as usize].links -= 1;
        while point != ROOT {
            let Point { parent, key, first_child, next, previous, links, .. } =
                self.points[point as usize];
            if links > 0 || first_child != NIL {
                return;
            }
            if let Some((root, next)) = self.walk
                && next == point
            {
                self.walk = Some((root, self.after(point, root)));
            }
            match previous {
                NIL => self.points[parent as usize].first_child = next,
                _ => self.points[previous as usize].next = next,
            }
            if next != NIL {
                self.points[next as usize].previous = previous;
            }
            self.to_walk.remove(&point);
            // What a view takes is given back with it.
            if key != KeyId::NONE {
                self.children.remove(point, |id| key_of(&self.points, id));
                self.bytes -= bytes_of(keys.name(key));
                keys.release(key);
            }
            self.free.push(point);
            point = parent;
        }
    }

    pub(crate) fn child(&self, point: PointId, key: KeyId) -> Option<PointId> {
        // Most objects have no watcher beneath them: one load tells.
        if self.points[point as usize].first_child == NIL {
            return None;
        }
        self.place_of(point, key)
    }

    fn place_of(&self, parent: PointId, key: KeyId) -> Option<PointId> {
        self.children.get((parent, key), |id| key_of(&self.points, id))
    }

    /// Plans to touch all places beneath this one. False if there are none, or if it is planned
    /// already.
    pub(crate) fn plan_walk(&mut self, point: PointId) -> bool {
        self.points[point as usize].first_child != NIL && self.to_walk.insert(point)
    }

    /// Begins to walk over all places beneath this one, if no walk is in progress. A place that is
    /// made meanwhile may be passed over.
    pub(crate) fn begin_walk(&mut self, root: PointId) {
        if self.walk.is_none() {
            self.to_walk.remove(&root);
            self.walk = Some((root, self.points[root as usize].first_child));
        }
    }

    /// The next place of the walk.
    pub(crate) fn next_of_walk(&mut self) -> Option<PointId> {
        let (root, next) = self.walk.filter(|(_, next)| *next != NIL)?;
        let child = self.points[next as usize].first_child;
        let after = if child == NIL { self.after(next, root) } else { child };
        self.walk = Some((root, after));
        Some(next)
    }

    pub(crate) fn end_walk(&mut self) {
        self.walk = None;
    }

    /// The place that comes after this one and all beneath it, in a walk beneath `root`.
    fn after(&self, mut point: PointId, root: PointId) -> PointId {
        while point != root {
            let Point { next, parent, .. } = self.points[point as usize];
            if next != NIL {
                return next;
            }
            point = parent;
        }
        NIL
    }

    /// Notes that a commit changed what is here. True if the idle links are to be put in line;
    /// false if there are none, or if others are being put in line already and these come after
    /// them.
    pub(crate) fn touch(&mut self, id: PointId, at: Revision) -> bool {
        let point = &mut self.points[id as usize];
        point.touches = point.touches.wrapping_add(1);
        point.touched = at;
        if let Some(due) = self.due.get_mut(&id) {
            due.again = true;
            return false;
        }
        let first = std::mem::replace(&mut point.idle, NIL);
        if first != NIL {
            self.due.insert(id, Due { first, again: false });
        }
        first != NIL
    }

    /// True if links that were idle here are still to be put in line.
    pub(crate) fn is_marking(&self, point: PointId) -> bool {
        self.due.contains_key(&point)
    }

    /// The first of the links that are to be put in line, if there are any.
    pub(crate) fn due(&self, point: PointId) -> Option<u32> {
        self.due.get(&point).map(|due| due.first)
    }

    /// Sets the next link to be put in line, if there is one: the first is in line, or gone.
    pub(crate) fn set_due(&mut self, point: PointId, next: u32) {
        let Some(due) = self.due.get_mut(&point) else { return };
        due.first = next;
        if next == NIL && std::mem::take(&mut due.again) {
            due.first = std::mem::replace(&mut self.points[point as usize].idle, NIL);
        }
        if due.first == NIL {
            self.due.remove(&point);
            if self.due.is_empty() {
                self.due.shrink_to(DUE_KEPT);
            }
        }
    }

    pub(crate) fn touches(&self, point: PointId) -> u32 {
        self.points[point as usize].touches
    }

    pub(crate) fn touched(&self, point: PointId) -> Revision {
        self.points[point as usize].touched
    }

    pub(crate) fn links(&self, point: PointId) -> u32 {
        self.points[point as usize].links
    }

    /// Head of the list of idle links.
    pub(crate) fn idle(&mut self, point: PointId) -> &mut u32 {
        &mut self.points[point as usize].idle
    }

    /// The names that lead to a place, from the root.
    pub(crate) fn names(&self, mut point: PointId, names: &mut Vec<KeyId>) {
        names.clear();
        while point != ROOT {
            let Point { key, parent, .. } = self.points[point as usize];
            // A view is of the resource that its place hangs at.
            if key != KeyId::NONE {
                names.push(key);
            }
            point = parent;
        }
        names.reverse();
    }

    /// Bytes that a place and all on the way to it take.
    pub(crate) fn way_bytes_to(&self, keys: &Keys, mut point: PointId) -> usize {
        let mut bytes = 0;
        while point != ROOT {
            let Point { key, parent, .. } = self.points[point as usize];
            if key != KeyId::NONE {
                bytes += bytes_of(keys.name(key));
            }
            point = parent;
        }
        bytes
    }

    /// Gives back the bytes of a view.
    pub(crate) fn forget_view(&mut self, text: &str) {
        self.bytes -= view_bytes(text);
    }

    /// Bytes that places take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place of a path, if it is there.
    pub(crate) fn find(&self, keys: &Keys, path: &Path) -> Option<PointId> {
        let mut names = path.segments().iter();
        names.try_fold(ROOT, |point, name| self.child(point, keys.find(name)?))
    }

    /// Bytes that the places of a path would take that are not there yet.
    pub(crate) fn missing_bytes(&self, keys: &Keys, path: &Path) -> usize {
        let mut point = Some(ROOT);
        let missing = path.segments().iter().filter(|name| {
            point = point.and_then(|point| self.child(point, keys.find(name)?));
            point.is_none()
        });
        missing.map(|name| bytes_of(name)).sum()
    }

    /// Places in use, without the root.
    pub(crate) fn len(&self) -> usize {
        self.children.len()
    }
}

impl Point {
    fn new(parent: PointId, key: KeyId) -> Point {
        Point {
            parent,
            key,
            first_child: NIL,
            next: NIL,
            previous: NIL,
            links: 0,
            idle: NIL,
            touches: 0,
            touched: Revision::NONE,
        }
    }
}
