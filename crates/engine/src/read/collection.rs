//! The views of one resource: which of them a change of a member concerns, and what they know of
//! the members.
//!
//! Views with the same condition share a lens, those with the same order too share a ranking, and
//! those with the same limit too share a window. What has to be learned from all members, such as a
//! ranking or a number, is learned in passes over them, step by step: commits meanwhile tell it of
//! the members that the pass has come by.

use std::ops::Range;

use halfping_shape::{Condition, Splitter};

use crate::cursor::Revision;
use crate::grow::Table;
use crate::mutants;
use crate::read::asked::Asked;
use crate::read::interest::PointId;
use crate::read::ranking::Totals;
use crate::read::rows::Row;
use crate::read::shared::{RankingId, Shared, Takes};
use crate::read::view::View;
use crate::tree::Object;
use crate::tree::key::{KeyId, Keys};
use crate::tree::node::Member;

/// The number of a lens, in its collection.
pub(crate) type LensId = u32;

/// The views of one resource.
#[derive(Default)]
pub(crate) struct Collection {
    /// The birth of the object that the lenses know.
    born: Revision,
    /// The last commit that changed too much for the lenses to be asked.
    lost: Revision,
    lenses: Vec<Option<Box<Shared>>>,
    /// Lenses by their conditions.
    by_condition: Table,
    splitter: Splitter<LensId, KeyId>,
    /// Rankings that each member has to be put into, whatever its values.
    unindexed_rankings: usize,
    /// Looks that commits have taken at its members.
    spent: u64,
    /// Views that nobody looks through any more, each with the looks up to which it is kept.
    lingering: Vec<(PointId, u64)>,
    /// Views of parts of the resource itself.
    pub(crate) plain: Vec<PointId>,
    /// Scratch: lenses that showed the member before it was changed, each with the range of the
    /// member's rows in its rankings; those that show it, and those that may; and these rows.
    was: Vec<(LensId, Range<usize>)>,
    met: Vec<LensId>,
    found: Vec<LensId>,
    rows: Vec<(RankingId, Row)>,
}

/// The condition of a lens that is in use.
fn condition_of(lenses: &[Option<Box<Shared>>], id: LensId) -> Option<&Condition<KeyId>> {
    lenses[id as usize].as_ref().and_then(|shared| shared.lens.test.condition())
}

impl Collection {
    /// Conditions that every member has to be asked about, and orders that it has to be put into.
    /// A lens without a condition asks nothing.
    pub(crate) fn unindexed(&self) -> usize {
        self.splitter.unindexed() + self.unindexed_rankings
            - usize::from(self.lens_of(None).is_some())
    }

    /// The conditions and orders that a view would add to those.
    pub(crate) fn adds_unindexed(&self, keys: &Keys, view: &View) -> usize {
        let id = self.lens_of(view.condition(|name| keys.known(name)).as_ref());
        let shared = id.and_then(|id| self.lens(id));
        let has_order = view.limit().is_some() && view.asks_all_to_rank();
        let order = view.order(|name| keys.known(name));
        let knows_order = shared.is_some_and(|shared| shared.ranking_of(&order).is_some());
        usize::from(view.asks_all() && shared.is_none()) + usize::from(has_order && !knows_order)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.by_condition.len() == 0
    }

    /// The lens of a condition.
    fn lens_of(&self, condition: Option<&Condition<KeyId>>) -> Option<LensId> {
        self.by_condition.get(condition, |id| condition_of(&self.lenses, id))
    }

    /// Learns which object the collection is. What was known of another one is nothing to the
    /// readers of this, who get it whole.
    pub(crate) fn know(&mut self, keys: &mut Keys, object: &Object, totals: &mut Totals) {
        if self.born != object.born {
            self.born = object.born;
            self.forget(keys, object.born, totals);
        }
    }

    /// Forgets all that was known before a revision.
    fn forget(&mut self, keys: &mut Keys, floor: Revision, totals: &mut Totals) {
        let lenses = self.lenses.iter_mut().flatten();
        lenses.for_each(|shared| shared.forget(keys, floor, totals));
    }

    /// Looks at a member before it is changed. False if it need not be looked at afterwards.
    pub(crate) fn before(
        &mut self,
        keys: &Keys,
        (object, slot): (&Object, usize),
        at: Revision,
        totals: &mut Totals,
    ) -> bool {
        if !self.begin_change(at) {
            return false;
        }
        let (member, looks) = (object.slot(slot), totals.looks);
        if member.value.is_live() && !mutants::is("lens-not-asked-before") {
            self.ask(keys, member, &mut totals.looks);
            let Collection { lenses, was, met, rows, .. } = self;
            for id in &*met {
                let Some(shared) = &lenses[*id as usize] else { continue };
                totals.looks = totals.looks.saturating_sub(shared.looks());
                let start = rows.len();
                rows.extend(shared.rows(keys, object, slot));
                was.push((*id, start..rows.len()));
            }
        }
        self.spent += (looks - totals.looks) as u64;
        true
    }

    /// Begins to look at a change of a member, or at one that comes to be. False if it need not be
    /// looked at.
    pub(crate) fn begin_change(&mut self, at: Revision) -> bool {
        self.was.clear();
        self.rows.clear();
        self.lost != at
    }

    /// Looks at a member after it was changed, or came to be. Views that showed it or show it now
    /// are touched.
    pub(crate) fn after(
        &mut self,
        keys: &mut Keys,
        (object, slot): (&Object, usize),
        at: Revision,
        totals: &mut Totals,
        touched: &mut Vec<PointId>,
    ) {
        self.know(keys, object, totals);
        let (member, looks) = (object.slot(slot), totals.looks);
        self.met.clear();
        if member.value.is_live() {
            self.ask(keys, member, &mut totals.looks);
        }
        let Collection { lenses, met, was, rows, .. } = self;
        let shown = met.iter().chain(was.iter().map(|(id, _)| id));
        let shown = shown.filter_map(|id| lenses[*id as usize].as_deref());
        let of_rankings: usize = shown.map(Shared::looks).sum();
        totals.looks = totals.looks.saturating_sub(of_rankings);
        self.spent += (looks - totals.looks) as u64;
        totals.is_overdue |= self.lingering.iter().any(|(_, until)| *until < self.spent);
        if totals.looks == 0 {
            // Its readers get their views whole.
            self.lost = at;
            self.forget(keys, at, totals);
            let lenses = self.lenses.iter_mut().flatten();
            lenses.for_each(|shared| shared.touch_all(at, touched));
            return;
        }
        // Those that show it now, then those that no longer do. All are in order.
        if mutants::is("hidden-told-removed") && !member.value.is_live() && was.is_empty() {
            was.extend((0..lenses.len() as LensId).map(|id| (id, 0..0)));
        }
        let gone = was.iter().map(|(id, _)| id).filter(|id| met.binary_search(id).is_err());
        for (id, is_met) in met.iter().map(|id| (id, true)).chain(gone.map(|id| (id, false))) {
            let Some(shared) = &mut lenses[*id as usize] else { continue };
            let before = was.binary_search_by_key(id, |(id, _)| *id).ok();
            let rows = before.map(|at| &rows[was[at].1.clone()]);
            shared.change(keys, (object, slot), rows, is_met, at, totals, touched);
        }
    }

    /// Asks the lenses about a member that is there: `met` are those that show it. If `looks` do
    /// not suffice, none are left.
    fn ask(&mut self, keys: &Keys, member: &Member, looks: &mut usize) {
        let Collection { splitter, lenses, found, met, .. } = self;
        met.clear();
        let name = if splitter.reads_key() { keys.name(member.key) } else { "" };
        splitter.find(Asked::new(keys, &member.value), name, found);
        for id in found {
            let Some(shared) = &lenses[*id as usize] else { continue };
            *looks = looks.saturating_sub(shared.lens.test.looks(&member.value));
            if *looks > 0 && shared.lens.test.is_met_once_found(keys, member) {
                met.push(*id);
            }
        }
    }

    /// Adds a view of the collection, which changed at the revision `known`. `since`: the state
    /// that its first reader has. Returns its lens, and what it takes of that.
    pub(crate) fn add(
        &mut self,
        keys: &mut Keys,
        place: PointId,
        view: &View,
        states: (Revision, Revision),
        totals: &mut Totals,
    ) -> (LensId, Takes) {
        let condition = view.condition(|name| keys.known(name));
        let id = self.lens_of(condition.as_ref());
        let id = id.unwrap_or_else(|| self.add_lens(Shared::new(keys, view, states)));
        let shared = self.lenses[id as usize].as_mut().expect("a lens that is in use");
        let (takes, is_new_order) = shared.add(keys, place, view, states.1, totals);
        self.unindexed_rankings += usize::from(is_new_order && view.asks_all_to_rank());
        (id, takes)
    }

    fn add_lens(&mut self, shared: Shared) -> LensId {
        let id = self.lenses.iter().position(Option::is_none).unwrap_or_else(|| {
            self.lenses.push(None);
            self.lenses.len() - 1
        });
        self.splitter.insert(shared.lens.test.equalities().as_deref(), id as LensId);
        self.lenses[id] = Some(Box::new(shared));
        self.by_condition.insert(id as LensId, |id| condition_of(&self.lenses, id));
        id as LensId
    }

    /// Ends a view, and its lens if that was the last.
    pub(crate) fn end(
        &mut self,
        keys: &mut Keys,
        place: PointId,
        (id, takes): (LensId, Takes),
        totals: &mut Totals,
    ) {
        let Some(shared) = &mut self.lenses[id as usize] else { return };
        let is_end_of_order = shared.end(keys, place, takes, totals);
        let equalities = shared.lens.test.equalities();
        self.unindexed_rankings -= usize::from(is_end_of_order && equalities.is_none());
        if !shared.is_used() {
            shared.release(keys, totals);
            self.splitter.remove(equalities.as_deref(), id);
            self.by_condition.remove(id, |id| condition_of(&self.lenses, id));
            self.lenses[id as usize] = None;
        }
    }

    /// Goes on learning what a view needs to know of an object's members, in so many looks.
    /// `known`: the last revision at which something changed in it. Returns the looks that are
    /// left, and true if it is all known.
    pub(crate) fn learn(
        &mut self,
        keys: &mut Keys,
        (id, takes): (LensId, Takes),
        (object, known): (&Object, Revision),
        looks: usize,
        totals: &mut Totals,
    ) -> (usize, bool) {
        self.know(keys, object, totals);
        match &mut self.lenses[id as usize] {
            Some(shared) => shared.learn(keys, takes, (object, known), looks, totals),
            None => (looks, true),
        }
    }

    /// Keeps a view that nobody looks through any more, for who comes back: until keeping it has
    /// cost as much as making it again would. So it costs at most twice of what is best, whether
    /// somebody comes back or not (Karlin et al., competitive snoopy caching, 1988). False if it
    /// is not worth it.
    pub(crate) fn linger(&mut self, place: PointId, (id, takes): (LensId, Takes)) -> bool {
        let Some(shared) = self.lens(id) else { return false };
        let is_of_use = match takes {
            Takes::Members => false,
            Takes::Count => true,
            Takes::First(number, _) => shared.ranking(number).is_some_and(|r| !r.is_too_large()),
        };
        let learned = shared.learned();
        let lingers = is_of_use && learned > 0;
        self.lingering.extend(lingers.then_some((place, self.spent + learned)));
        lingers
    }

    /// Prepares a view for one more reader.
    pub(crate) fn join(
        &mut self,
        keys: &mut Keys,
        (id, takes): (LensId, Takes),
        totals: &mut Totals,
    ) {
        if let (Takes::First(number, _), Some(shared)) = (takes, &mut self.lenses[id as usize]) {
            shared.retry(keys, number, totals);
        }
    }

    /// Uses a view again. False if it does not linger.
    pub(crate) fn resume(&mut self, place: PointId) -> bool {
        let found = self.lingering.iter().position(|(view, _)| *view == place);
        found.map(|at| self.lingering.swap_remove(at)).is_some()
    }

    /// Views that have lingered long enough.
    pub(crate) fn overdue(&self) -> impl Iterator<Item = PointId> {
        let overdue = self.lingering.iter().filter(|(_, until)| *until < self.spent);
        overdue.map(|(view, _)| *view)
    }

    /// Views that nobody looks through any more.
    pub(crate) fn lingering(&self) -> impl Iterator<Item = PointId> {
        self.lingering.iter().map(|(view, _)| *view)
    }

    /// A lens, and what looks through it.
    pub(crate) fn lens(&self, id: LensId) -> Option<&Shared> {
        self.lenses[id as usize].as_deref()
    }
}
