//! Handing idle links to their sessions after a commit: at once for most commits, in steps where
//! very many links stand.
//!
//! A commit touches places. Of each, the list of idle links is taken off in one move, and put in
//! line link by link; beneath an object that was replaced, all places are touched, one after the
//! other. The rest of a commit's marking is left as tasks. Until they are done, a link that has
//! something to tell may look idle, so no session that could have such a link is called synced.

use std::collections::VecDeque;

use crate::cursor::Revision;
use crate::engine::Engine;
use crate::engine::roots::Root;
use crate::mutants;
use crate::read::delta::LOOKS_MAX;
use crate::read::interest::PointId;
use crate::read::link::Link;
use crate::read::session::{News, SessionId};
use crate::tree::garbage::{Husks, SLOTS_AT_ONCE};

/// Links put in line, or places touched, in one step: half a millisecond or so.
const MARKS_AT_ONCE: usize = 8192;
/// Links of one session that are looked at to tell whether marking concerns it.
const LINKS_LOOKED_AT: usize = 256;
/// Links of one place that are put in line before another place has its turn.
const MARKS_IN_TURN: usize = 1024;
/// Looks at members after which a session's turn is over: a millisecond or so.
const LOOKS_IN_TURN: usize = 2 * LOOKS_MAX;
/// Looks that serving a link, or putting a due link in line, counts as.
pub(crate) const LINK_LOOKS: usize = 32;
/// Links of a session that are put in line together when their time has come.
pub(crate) const PROMOTED_AT_ONCE: usize = 256;
/// Slots of garbage that are taken apart in one step that has nothing else to do.
const SLOTS_AT_A_TIME: usize = 4096;

/// Amounts of work in one step, and in a commit itself.
pub(crate) struct Pace {
    pub(crate) marks: usize,
    pub(crate) slots: usize,
    /// Looks in one turn of a session.
    pub(crate) looks: usize,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { marks: MARKS_AT_ONCE, slots: SLOTS_AT_A_TIME, looks: LOOKS_IN_TURN }
    }
}

/// Marking that is left to be done.
#[derive(Default)]
pub(crate) struct Marking {
    tasks: VecDeque<Task>,
    /// The number of these that touch places.
    walks: usize,
    /// Sessions that would have been called synced.
    asked: Vec<SessionId>,
}

/// A place where marking goes on. If the place is given away meanwhile, nothing is left to do
/// there, and a look does no harm.
struct Task {
    point: PointId,
    /// True if all places beneath it are to be touched; else the links that were idle here are to
    /// be put in line.
    beneath: bool,
    /// The commit that began the task. Later commits may have joined it.
    news: News,
    /// The state up to which links that were idle here have been shown all that there is to see. So
    /// the readers of a view have one cursor, however seldom they are told something. `None` where
    /// it is not known, or makes no difference.
    shown: Option<Revision>,
}

impl Marking {
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// True if a place may have changed without having been touched.
    pub(crate) fn is_touching(&self) -> bool {
        self.walks > 0
    }
}

impl Engine {
    /// Hands the idle links of all touched places to their sessions, as many as one step does. A
    /// link that is pending already costs nothing.
    pub(crate) fn mark(&mut self, news: News) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.drain(..).for_each(|point| self.touch(point, news));
        self.touched = touched;
        let mut roots = std::mem::take(&mut self.beneath);
        for point in roots.drain(..).filter(|point| self.interest.plan_walk(*point)) {
            self.marking.walks += 1;
            self.marking.tasks.push_back(Task { point, beneath: true, news, shown: None });
        }
        self.beneath = roots;
        self.mark_on();
    }

    /// Takes the idle links off a place.
    fn touch(&mut self, point: PointId, news: News) {
        if self.interest.touch(point, news.at) {
            // While places are still to be touched, an earlier commit may be untold.
            let is_known = self.interest.is_view(point) && !self.marking.is_touching();
            let is_late = mutants::is("view-cursor-too-new");
            let shown = is_known.then(|| if is_late { news.at } else { news.at.previous() });
            self.marking.tasks.push_back(Task { point, beneath: false, news, shown });
        }
    }

    /// Continues the tasks for one step.
    fn mark_on(&mut self) {
        let mut left = self.pace.marks;
        while left > 0
            && let Some(Task { point, beneath, news, shown }) = self.marking.tasks.front()
        {
            let (point, beneath, news, shown) = (*point, *beneath, *news, *shown);
            let mut turn = if beneath { left } else { left.min(MARKS_IN_TURN) };
            left -= turn;
            let is_done = match beneath {
                true => self.walk_on(point, news, &mut turn),
                false => self.line_up_on(point, news, shown, &mut turn),
            };
            left += turn;
            if is_done {
                self.marking.tasks.pop_front();
                self.marking.walks -= usize::from(beneath);
            } else if !beneath {
                // Places take turns: few links do not wait for many.
                self.marking.tasks.rotate_left(1);
            }
        }
        if self.marking.is_empty() {
            for id in std::mem::take(&mut self.marking.asked) {
                self.wake(id);
            }
        }
    }

    /// Touches places beneath a place. True if that was the last.
    fn walk_on(&mut self, root: PointId, news: News, left: &mut usize) -> bool {
        self.interest.begin_walk(root);
        while let Some(point) = self.interest.next_of_walk() {
            *left = left.saturating_sub(1);
            self.touch(point, news);
            if *left == 0 {
                return false;
            }
        }
        self.interest.end_walk();
        true
    }

    /// Puts links in line that were idle at a place. True if that was the last.
    fn line_up_on(
        &mut self,
        point: PointId,
        news: News,
        shown: Option<Revision>,
        left: &mut usize,
    ) -> bool {
        while *left > 0 {
            let Some(id) = self.interest.due(point) else { return true };
            *left -= 1;
            let Link { session, .. } = self.links[id];
            if let Some(shown) = shown {
                let link = &mut self.links[id];
                link.cursor = link.cursor.max(shown);
            }
            let (_, next) = self.links.unlink(id);
            self.interest.set_due(point, next);
            if mutants::is("mark-dropped") && id % 3 == 2 {
                continue;
            }
            if let Some(owner) = &mut self.sessions[session as usize] {
                owner.enqueue(&mut self.links, id, news);
                self.wake(SessionId(session));
            }
        }
        !self.interest.is_marking(point)
    }

    pub(crate) fn wake(&mut self, id: SessionId) {
        if let Some(Some(session)) = self.sessions.get_mut(id.0 as usize) {
            session.asked = false;
            if !std::mem::replace(&mut session.woken, true) {
                self.woken.push(id);
            }
        }
    }

    /// True if every link of the session shows the newest state, as far as it is due. While links
    /// are still being marked, this is not known: then it is false, and the session is woken when
    /// marking is done.
    pub fn is_synced(&mut self, id: SessionId) -> bool {
        let session = self.sessions[id.0 as usize].as_mut().expect("the session is open");
        if !session.is_quiet() {
            return false;
        }
        if self.marking.is_empty() || mutants::is("synced-too-early") || self.is_elsewhere(id) {
            return true;
        }
        let session = self.sessions[id.0 as usize].as_mut().expect("the session is open");
        if !std::mem::replace(&mut session.asked, true) {
            self.marking.asked.push(id);
        }
        false
    }

    /// True if no link of the session stands where links are still to be marked, so that it has
    /// nothing to wait for. False for sessions with many links, and beneath replaced objects, where
    /// this is not looked up.
    fn is_elsewhere(&self, id: SessionId) -> bool {
        let Some(Some(session)) = self.sessions.get(id.0 as usize) else { return false };
        let mut links = session.links.values().map(|link| self.links[*link].point);
        !self.marking.is_touching()
            && session.links.len() <= LINKS_LOOKED_AT
            && links.all(|point| !self.interest.is_marking(point))
    }

    /// True if commits have left work: links to be marked, or removed objects to be taken apart.
    /// [`Engine::work`] does it.
    pub fn has_work(&self) -> bool {
        !self.marking.is_empty() || self.has_garbage()
    }

    /// Does a part of the work that commits have left, in less than a millisecond. Sessions may
    /// have something to send because of it, as after a commit. The result is memory to be freed:
    /// drop it where nobody waits, since that takes time.
    pub fn work(&mut self) -> Husks {
        debug_assert!(self.woken.is_empty(), "the woken sessions of the last call were not taken");
        match self.marking.is_empty() {
            false if mutants::is("work-forgotten") => self.marking = Marking::default(),
            false => self.mark_on(),
            true => self.take_apart(self.pace.slots),
        }
        self.tree.garbage.take_husks()
    }

    /// Sets the links marked and the slots taken apart at a time, and the looks after which a
    /// session's turn ends, where the defaults are more than a test could use up.
    #[doc(hidden)]
    pub fn set_pace(&mut self, marks: usize, slots: usize, looks: usize) {
        self.pace = Pace { marks, slots, looks };
    }

    fn has_garbage(&self) -> bool {
        let has_garbage = |root: &Root| !root.garbage.is_empty() || root.garbage.has_husks();
        self.roots().any(has_garbage)
    }

    /// Takes apart up to `slots` slots of removed objects.
    pub(crate) fn take_apart(&mut self, slots: usize) {
        if !self.tree.garbage.is_empty() {
            return self.tree.take_apart(&mut self.keys, slots);
        }
        let mut roots = self.beside.iter_mut().map(|beside| &mut beside.root);
        if let Some(root) = roots.find(|root| !root.garbage.is_empty()) {
            root.take_apart(&mut self.keys, slots);
            if root.garbage.has_husks() {
                self.tree.garbage.add_husk(root.garbage.take_husks());
            }
        }
    }

    /// Takes apart some slots of removed objects, as each commit does at its end.
    pub(crate) fn take_apart_some(&mut self) {
        self.take_apart(SLOTS_AT_ONCE.min(self.pace.slots));
    }
}
