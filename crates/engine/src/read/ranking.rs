//! Rankings: the members of a collection in the order that readers ask for, and the windows that
//! show the first of them.
//!
//! All windows of one condition and one order look into one ranking, which has a row for each
//! member that fulfils the condition. A window knows its members, when each entered, and which
//! left. So what a reader lacks follows from the state that it has, whatever that is, at a cost
//! that grows with the window and not with the collection.

use halfping_shape::{Order, Path};
use hashbrown::HashMap;

use crate::cursor::Revision;
use crate::grow::push_to_few;
use crate::mutants;
use crate::read::asked::Asked;
use crate::read::interest::PointId;
use crate::read::leavers::{Leavers, LeftMax};
use crate::read::lens::Test;
use crate::read::pass::{Pass, is_heeded};
use crate::read::rows::{Row, Rows};
use crate::read::view::View;
use crate::tree::Object;
use crate::tree::key::{KeyId, Keys};
use crate::tree::node::Member;

/// Looks that it costs to find a member's place, and to see whether a window shows it.
const RANKING_LOOKS: usize = 8;
const WINDOW_LOOKS: usize = 1;
/// Looks that it costs to put a member in while a ranking is made.
const BUILDING_LOOKS: usize = 24;
/// Rows that are dropped at once. More are left to somebody who does not hold the engine.
const DROPPED_AT_ONCE: usize = 1024;

/// A ranking of what a lens shows.
pub(crate) struct Ranking {
    order: Order<KeyId>,
    rows: Rows,
    /// By their limits.
    windows: Vec<Window>,
    /// The pass that makes the rows, if they are not whole yet.
    pass: Option<Box<Pass>>,
    /// True if it would have had more rows than there is room for.
    is_too_large: bool,
}

/// The first members of a ranking.
pub(crate) struct Window {
    limit: usize,
    /// Its members, each with the revision at which it entered.
    members: HashMap<KeyId, Revision>,
    /// Members that left, some of which may be back.
    left: Leavers,
    /// The last row that is in it; `None` while it has room.
    bound: Option<Row>,
    /// Views that look through it.
    views: Vec<PointId>,
}

const _: () = assert!(std::mem::size_of::<Ranking>() + std::mem::size_of::<Window>() == 208);

/// A change of a member's place in a ranking. `None` where it has none.
pub(crate) struct Move<'r> {
    pub(crate) name: KeyId,
    pub(crate) from: Option<&'r Row>,
    pub(crate) to: Option<Row>,
    pub(crate) at: Revision,
}

/// The rest of what a change concerns.
pub(crate) struct Around<'a> {
    pub(crate) keys: &'a mut Keys,
    pub(crate) max: LeftMax,
    /// Members that left and are remembered, in all views.
    pub(crate) left: &'a mut usize,
    /// Rows of all rankings.
    pub(crate) rows: &'a mut usize,
    /// The most rows that there may be, and what becomes of rankings beyond that.
    pub(crate) rows_max: usize,
    pub(crate) room: &'a mut Room,
    /// Rows that are to be dropped where nobody waits.
    pub(crate) husks: &'a mut Vec<Rows>,
    /// Views that are to be touched.
    pub(crate) touched: &'a mut Vec<PointId>,
}

/// Sums over all collections, and their bounds.
#[derive(Default)]
pub(crate) struct Totals {
    /// Looks that may still be taken in this call.
    pub(crate) looks: usize,
    /// Members that left and are remembered.
    pub(crate) left: usize,
    /// Rows of rankings.
    pub(crate) rows: usize,
    pub(crate) left_max: LeftMax,
    pub(crate) rows_max: usize,
    /// Rows that are to be dropped where nobody waits.
    pub(crate) husks: Vec<Rows>,
    pub(crate) room: Room,
    /// True if views have lingered long enough.
    pub(crate) is_overdue: bool,
}

/// Room that views give back which are only kept for who comes back.
#[derive(Default)]
pub(crate) struct Room {
    /// The number of these views.
    pub(crate) lingering: usize,
    /// True if they are to go, since others need their room.
    pub(crate) is_wanted: bool,
}

impl Room {
    /// Asks for the room of views that are only kept. False if there are none.
    fn want(&mut self) -> bool {
        self.is_wanted |= self.lingering > 0;
        self.is_wanted
    }
}

impl Totals {
    pub(crate) fn around<'a>(
        &'a mut self,
        keys: &'a mut Keys,
        touched: &'a mut Vec<PointId>,
    ) -> Around<'a> {
        let Totals { left, rows, left_max, husks, rows_max, room, .. } = self;
        Around { keys, max: *left_max, left, rows, rows_max: *rows_max, room, husks, touched }
    }
}

impl Ranking {
    /// A ranking for a view, without windows.
    pub(crate) fn new(keys: &mut Keys, view: &View) -> Ranking {
        Ranking {
            order: view.order(|name| keys.hold(name)),
            rows: Rows::default(),
            windows: Vec::new(),
            pass: Some(Box::default()),
            is_too_large: false,
        }
    }

    /// The order.
    pub(crate) fn order(&self) -> &Order<KeyId> {
        &self.order
    }

    /// True if it would have had more rows than there is room for, so that it shows nothing.
    pub(crate) fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// Looks that it costs to tell it of a change.
    pub(crate) fn looks(&self) -> usize {
        RANKING_LOOKS + WINDOW_LOOKS * self.windows.len()
    }

    /// The row of a member.
    fn row(&self, keys: &Keys, member: &Member) -> Row {
        Row::new(keys, self.order.key(Asked::new(keys, &member.value)), member.key)
    }

    /// The row that a member has, which fulfils the condition. `None` if it has none yet.
    pub(crate) fn row_of(&self, keys: &Keys, object: &Object, slot: usize) -> Option<Row> {
        let is_in = is_heeded(self.pass.as_deref(), object, slot) && !self.is_too_large;
        is_in.then(|| self.row(keys, object.slot(slot)))
    }

    /// Takes in a change of a member, and tells the windows that show it, or showed it before.
    pub(crate) fn change(&mut self, step: &Move<'_>, around: &mut Around<'_>) {
        *around.rows -= self.rows.len();
        self.move_row(around.keys, step);
        *around.rows += self.rows.len();
        if self.pass.is_some() {
            return;
        }
        for window in &mut self.windows {
            if window.change(&self.rows, step, around) {
                around.touched.extend(&window.views);
            }
        }
        if *around.rows > around.rows_max && !around.room.want() {
            self.is_too_large = true;
            self.touch(around.touched);
            self.clear(around);
        }
    }

    fn move_row(&mut self, keys: &Keys, step: &Move<'_>) {
        if step.from.map(|row| &row.key) == step.to.as_ref().map(|row| &row.key) {
            return;
        }
        if let Some(from) = step.from
            && !mutants::is("ranking-old-row-kept")
        {
            self.rows.remove(keys, from);
        }
        if let Some(to) = &step.to {
            self.rows.insert(keys, to.clone());
        }
    }

    /// Begins anew if it was too large: there may be room now.
    pub(crate) fn retry(&mut self, around: &mut Around<'_>) {
        if self.is_too_large {
            self.begin(around);
        }
    }

    /// Begins anew.
    pub(crate) fn begin(&mut self, around: &mut Around<'_>) {
        (self.pass, self.is_too_large) = (Some(Box::default()), false);
        self.clear(around);
    }

    /// Goes on making the rows, of the members of an object that changed at the revision `known`.
    /// Returns the looks that are left, and true if they are whole.
    pub(crate) fn build(
        &mut self,
        test: &Test,
        (object, known): (&Object, Revision),
        looks: usize,
        around: &mut Around<'_>,
    ) -> (usize, bool) {
        let Some(mut pass) = self.pass.take() else { return (looks, true) };
        if pass.begins(object) {
            self.clear(around);
        }
        let (looks, is_done) = pass.go_on(object, looks, |pass, member| {
            let looks = test.looks(&member.value);
            if self.is_too_large || !test.is_met(around.keys, member) {
                return looks;
            }
            self.is_too_large = *around.rows >= around.rows_max && !around.room.want();
            if around.room.is_wanted {
                // It goes on with this member once there is room.
                pass.next -= 1;
                return usize::MAX;
            }
            if !self.is_too_large {
                let row = self.row(around.keys, member);
                self.rows.insert(around.keys, row);
                *around.rows += 1;
            }
            looks + BUILDING_LOOKS
        });
        let is_done = (is_done && !around.room.is_wanted)
            || self.is_too_large
            || mutants::is("ranking-built-too-early");
        match is_done {
            true if self.is_too_large => self.clear(around),
            true => self.complete(known, around),
            false => self.pass = Some(pass),
        }
        (looks, is_done)
    }

    /// Fills all windows: the rows are whole, at a revision.
    fn complete(&mut self, at: Revision, around: &mut Around<'_>) {
        self.windows.iter_mut().for_each(|window| window.fill(&self.rows, at, around));
    }

    /// Forgets all rows and members.
    fn clear(&mut self, around: &mut Around<'_>) {
        *around.rows -= self.rows.len();
        let rows = std::mem::take(&mut self.rows);
        if rows.len() > DROPPED_AT_ONCE {
            around.husks.push(rows);
        }
        self.windows.iter_mut().for_each(|window| window.clear(Revision::NONE, around));
    }

    /// Touches all views.
    pub(crate) fn touch(&self, touched: &mut Vec<PointId>) {
        self.windows.iter().for_each(|window| touched.extend(&window.views));
    }

    /// Opens a window for a view, or joins the one that has this limit. The collection changed at
    /// the revision `known`.
    pub(crate) fn open(
        &mut self,
        limit: usize,
        view: PointId,
        known: Revision,
        around: &mut Around<'_>,
    ) {
        self.retry(around);
        let place = self.windows.partition_point(|window| window.limit < limit);
        if self.windows.get(place).is_none_or(|window| window.limit != limit) {
            let mut window = Window::new(limit);
            if self.pass.is_none() {
                window.fill(&self.rows, known, around);
            }
            if self.windows.is_empty() {
                self.windows.reserve_exact(1); // most have one
            }
            self.windows.insert(place, window);
        }
        push_to_few(&mut self.windows[place].views, view);
    }

    /// Ends a view of a window, and the window if that was the last. True if no window is left:
    /// then the ranking has given back all that it held.
    pub(crate) fn end(&mut self, limit: usize, view: PointId, around: &mut Around<'_>) -> bool {
        if let Some(window) = self.windows.iter_mut().find(|window| window.limit == limit) {
            window.views.retain(|other| *other != view);
            if window.views.is_empty() {
                window.clear(Revision::NONE, around);
                self.windows.retain(|window| !window.views.is_empty());
            }
        }
        if self.windows.is_empty() {
            self.clear(around);
            self.order.paths().flat_map(Path::names).for_each(|key| around.keys.release(*key));
        }
        self.windows.is_empty()
    }

    /// The window of a limit, as a reader sees it.
    pub(crate) fn shown(&self, limit: usize) -> Option<Shown<'_>> {
        let place = self.windows.binary_search_by_key(&limit, |window| window.limit).ok()?;
        Some(Shown { window: &self.windows[place], rows: &self.rows })
    }
}

impl Window {
    fn new(limit: usize) -> Window {
        let (members, left) = (HashMap::new(), Leavers::new(Revision::NONE));
        Window { limit, members, left, bound: None, views: Vec::new() }
    }

    /// Takes in what a move means for it, which the rows have made already. True if its value may
    /// have changed.
    fn change(&mut self, rows: &Rows, step: &Move<'_>, around: &mut Around<'_>) -> bool {
        let keys = &*around.keys;
        let is_within = |row: &Row| match &self.bound {
            None => true,
            Some(bound) if mutants::is("window-tie-by-key") => row.key <= bound.key,
            Some(bound) => row.compare(bound, keys).is_le(),
        };
        let was_in = self.members.contains_key(&step.name);
        match (was_in, step.to.as_ref().is_some_and(is_within)) {
            (false, false) => return false,
            // It may have been the last, and have moved up.
            (true, true) => {
                if let Some(bound) = self.bound.take_if(|bound| bound.name == step.name) {
                    self.bound = rows.up_to(keys, &bound).cloned();
                }
            }
            (true, false) => {
                // The next one takes its place, or it is still next itself.
                let bound = self.bound.take();
                let next = bound.and_then(|bound| rows.after(keys, &bound).cloned());
                if next.as_ref().is_none_or(|next| next.name != step.name) {
                    self.leave(step.name, step.at, around);
                    next.iter().for_each(|next| self.enter(next.name, step.at));
                }
                self.bound = next;
            }
            (false, true) => {
                self.enter(step.name, step.at);
                if let Some(bound) = self.bound.take() {
                    self.leave(bound.name, step.at, around);
                    self.bound = match mutants::is("window-bound-stale") {
                        true => Some(bound),
                        false => rows.before(around.keys, &bound).cloned(),
                    };
                } else if self.members.len() == self.limit {
                    self.bound = rows.last().cloned();
                }
            }
        }
        true
    }

    /// Shows the first rows, at a revision. All that was known before is forgotten.
    fn fill(&mut self, rows: &Rows, at: Revision, around: &mut Around<'_>) {
        self.clear(at, around);
        let first = rows.iter().take(self.limit);
        self.members.extend(first.clone().map(|row| (row.name, at)));
        self.bound = first.last().filter(|_| self.members.len() == self.limit).cloned();
    }

    fn clear(&mut self, floor: Revision, around: &mut Around<'_>) {
        self.left.clear(around.keys, floor, around.left);
        self.members.clear();
        self.bound = None;
    }

    fn enter(&mut self, name: KeyId, at: Revision) {
        let at = if mutants::is("window-entered-forgotten") { Revision::NONE } else { at };
        self.members.insert(name, at);
    }

    fn leave(&mut self, name: KeyId, at: Revision, around: &mut Around<'_>) {
        // Nobody was shown what came in and went out in one commit.
        let was_shown = self.members.remove(&name) != Some(at);
        if was_shown && !mutants::is("window-leaves-forgotten") {
            self.left.leave(around.keys, name, at, around.max, around.left);
        }
    }
}

/// A window and the rows that it shows.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'v> {
    window: &'v Window,
    rows: &'v Rows,
}

impl<'v> Shown<'v> {
    /// The revision at which a member entered; `None` if it is not shown.
    pub(crate) fn entered(self, name: KeyId) -> Option<Revision> {
        self.window.members.get(&name).copied()
    }

    /// The members, in order.
    pub(crate) fn names(self) -> impl Iterator<Item = KeyId> + use<'v> {
        self.rows.iter().take(self.window.limit).map(|row| row.name)
    }

    /// The number of members.
    pub(crate) fn len(self) -> usize {
        self.window.members.len()
    }

    /// The revision since which all members that left are known.
    pub(crate) fn floor(self) -> Revision {
        self.window.left.floor
    }

    /// The members that left after a revision and are not back.
    pub(crate) fn left_since(self, since: Revision) -> impl Iterator<Item = KeyId> + use<'v> {
        let Window { left, members, .. } = self.window;
        left.since(since).filter(|name| !members.contains_key(name))
    }
}
