//! Lenses with all that looks through them: views of all their members, of their number, and of the
//! first of them in some order.

use halfping_shape::Order;

use crate::cursor::Revision;
use crate::grow::push_to_few;
use crate::mutants;
use crate::read::count::Count;
use crate::read::interest::PointId;
use crate::read::lens::Lens;
use crate::read::pass::Pass;
use crate::read::ranking::{Move, Ranking, Totals};
use crate::read::rows::Row;
use crate::read::view::View;
use crate::tree::Object;
use crate::tree::key::{KeyId, Keys};

/// The number of a ranking, in its lens.
pub(crate) type RankingId = u32;

/// The members that a view shows, of those that its lens shows.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    /// All.
    Members,
    /// The first in an order, so many.
    First(RankingId, usize),
    /// Their number.
    Count,
}

/// A lens, and what looks through it.
pub(crate) struct Shared {
    pub(crate) lens: Lens,
    count: Option<Box<Count>>,
    /// Views of all members that it shows.
    views: Vec<PointId>,
    /// The last commit that touched them.
    touched: Revision,
    /// The pass that finds out since when it knows all that left.
    looks_back: Option<Box<Pass>>,
    rankings: Vec<Option<Ranking>>,
    /// Looks that it took to learn what it knows.
    learned: u64,
}

// There may be as many as there are views, and most are of conditions that differ in one value.
const _: () = assert!(std::mem::size_of::<Shared>() == 152);

impl Shared {
    /// A lens for a view of a collection that changed at the revision `known`. `since`: the state
    /// that its first reader has.
    pub(crate) fn new(
        keys: &mut Keys,
        view: &View,
        (since, known): (Revision, Revision),
    ) -> Shared {
        let test = view.test(|name| keys.hold(name));
        // A reader that comes back wants to know what left while it was away.
        let is_back = since != Revision::NONE && since < known;
        Shared {
            lens: Lens::new(test, if is_back { Revision::NONE } else { known }),
            count: None,
            views: Vec::new(),
            touched: Revision::NONE,
            looks_back: is_back.then(Box::default),
            rankings: Vec::new(),
            learned: 0,
        }
    }

    /// True if somebody looks through it.
    pub(crate) fn is_used(&self) -> bool {
        !self.views.is_empty() || self.has_more()
    }

    /// True if it is looked through by others than views of all its members.
    fn has_more(&self) -> bool {
        self.count.is_some() || self.rankings.iter().any(Option::is_some)
    }

    /// Adds a view. True if it has an order that no other has.
    pub(crate) fn add(
        &mut self,
        keys: &mut Keys,
        place: PointId,
        view: &View,
        known: Revision,
        totals: &mut Totals,
    ) -> (Takes, bool) {
        let Some(limit) = view.limit() else {
            if view.is_count() {
                self.count.get_or_insert_with(|| Box::new(Count::new())).add(place);
                return (Takes::Count, false);
            }
            push_to_few(&mut self.views, place);
            return (Takes::Members, false);
        };
        let found = self.ranking_of(&view.order(|name| keys.known(name)));
        let number = found.unwrap_or_else(|| {
            let number = self.rankings.iter().position(Option::is_none).unwrap_or_else(|| {
                push_to_few(&mut self.rankings, None);
                self.rankings.len() - 1
            });
            self.rankings[number] = Some(Ranking::new(keys, view));
            number
        });
        let mut nobody = Vec::new();
        let mut around = totals.around(keys, &mut nobody);
        let ranking = self.rankings[number].iter_mut();
        ranking.for_each(|ranking| ranking.open(limit, place, known, &mut around));
        (Takes::First(number as RankingId, limit), found.is_none())
    }

    /// Ends a view. True if its order ends with it.
    pub(crate) fn end(
        &mut self,
        keys: &mut Keys,
        place: PointId,
        takes: Takes,
        totals: &mut Totals,
    ) -> bool {
        match takes {
            Takes::Members => self.views.retain(|other| *other != place),
            Takes::Count => drop(self.count.take_if(|count| count.end(place))),
            Takes::First(number, limit) => {
                let mut nobody = Vec::new();
                let mut around = totals.around(keys, &mut nobody);
                let ranking = &mut self.rankings[number as usize];
                return ranking.take_if(|ranking| ranking.end(limit, place, &mut around)).is_some();
            }
        }
        false
    }

    /// Has a ranking made anew that was too large: there may be room now.
    pub(crate) fn retry(&mut self, keys: &mut Keys, number: RankingId, totals: &mut Totals) {
        let ranking = self.rankings[number as usize].iter_mut();
        let mut nobody = Vec::new();
        let mut around = totals.around(keys, &mut nobody);
        ranking.for_each(|ranking| ranking.retry(&mut around));
    }

    /// Gives back the names that it holds: nobody looks through it any more.
    pub(crate) fn release(&mut self, keys: &mut Keys, totals: &mut Totals) {
        self.lens.left.clear(keys, Revision::NONE, &mut totals.left);
        // It held a name for each that stands in its condition.
        drop(self.lens.test.condition().map(|held| held.map(|key| keys.release(*key))));
    }

    /// The number of the ranking by an order, if there is one.
    pub(crate) fn ranking_of(&self, order: &Order<KeyId>) -> Option<usize> {
        let is_it =
            |ranking: &Option<Ranking>| ranking.as_ref().is_some_and(|r| r.order() == order);
        self.rankings.iter().position(is_it)
    }

    /// The number of the members, if a view asks for it.
    pub(crate) fn count(&self) -> Option<&Count> {
        self.count.as_deref()
    }

    pub(crate) fn ranking(&self, number: RankingId) -> Option<&Ranking> {
        self.rankings[number as usize].as_ref()
    }

    /// The rows of a member in its rankings, as far as it has any.
    pub(crate) fn rows(
        &self,
        keys: &Keys,
        object: &Object,
        slot: usize,
    ) -> impl Iterator<Item = (RankingId, Row)> {
        (0..).zip(&self.rankings).filter_map(move |(number, ranking)| {
            Some((number, ranking.as_ref()?.row_of(keys, object, slot)?))
        })
    }

    /// Looks that it costs to tell its rankings of a change.
    pub(crate) fn looks(&self) -> usize {
        self.rankings.iter().flatten().map(Ranking::looks).sum()
    }

    /// Forgets all that it knew before a revision.
    pub(crate) fn forget(&mut self, keys: &mut Keys, floor: Revision, totals: &mut Totals) {
        self.lens.left.clear(keys, floor, &mut totals.left);
        self.looks_back = None;
        self.count.iter_mut().for_each(|count| count.begin());
        let mut nobody = Vec::new();
        let mut around = totals.around(keys, &mut nobody);
        self.rankings.iter_mut().flatten().for_each(|ranking| ranking.begin(&mut around));
    }

    /// Touches all views.
    pub(crate) fn touch_all(&mut self, at: Revision, touched: &mut Vec<PointId>) {
        self.touch(at, touched);
        touched.extend(self.count.iter().flat_map(|count| count.views()));
        self.rankings.iter().flatten().for_each(|ranking| ranking.touch(touched));
    }

    fn touch(&mut self, at: Revision, touched: &mut Vec<PointId>) {
        if self.touched != at {
            self.touched = at;
            touched.extend(&self.views);
        }
    }

    /// Takes in a change of a member that it showed before or shows afterwards. `rows`: the
    /// member's rows in the rankings before the change; `None` if it was not shown.
    #[expect(clippy::too_many_arguments, reason = "a member's change, and all that it concerns")]
    pub(crate) fn change(
        &mut self,
        keys: &mut Keys,
        (object, slot): (&Object, usize),
        rows: Option<&[(RankingId, Row)]>,
        is_met: bool,
        at: Revision,
        totals: &mut Totals,
        touched: &mut Vec<PointId>,
    ) {
        let name = object.slot(slot).key;
        if is_met {
            self.lens.left.come(keys, name, &mut totals.left);
        } else if !mutants::is("lens-leaves-forgotten") {
            self.lens.left.leave(keys, name, at, totals.left_max, &mut totals.left);
        }
        self.touch(at, touched);
        if !self.has_more() {
            return;
        }
        if let Some(count) = &mut self.count {
            count.change((object, slot), (rows.is_some(), is_met), at, touched);
        }
        let mut rows = rows.unwrap_or_default().iter().peekable();
        for (number, ranking) in (0..).zip(&mut self.rankings) {
            let Some(ranking) = ranking else { continue };
            let from = rows.next_if(|(ranking, _)| *ranking == number).map(|(_, row)| row);
            let to = if is_met { ranking.row_of(keys, object, slot) } else { None };
            let step = Move { name, from, to, at };
            ranking.change(&step, &mut totals.around(keys, touched));
        }
    }

    /// Goes on learning what a view needs to know of an object's members, in so many looks.
    /// `known`: the last revision at which something changed in it. Returns the looks that are
    /// left, and true if it is all known.
    pub(crate) fn learn(
        &mut self,
        keys: &mut Keys,
        takes: Takes,
        (object, known): (&Object, Revision),
        looks: usize,
        totals: &mut Totals,
    ) -> (usize, bool) {
        let Shared { lens, count, rankings, .. } = self;
        let (left, is_known) = match takes {
            Takes::Members => self.look_back(keys, object, looks),
            Takes::Count => {
                let Some(count) = count else { return (looks, true) };
                count.add_up(keys, &lens.test, (object, known), looks)
            }
            Takes::First(number, _) => {
                let Some(ranking) = &mut rankings[number as usize] else { return (looks, true) };
                let mut nobody = Vec::new();
                let mut around = totals.around(keys, &mut nobody);
                ranking.build(&lens.test, (object, known), looks, &mut around)
            }
        };
        self.learned += (looks - left) as u64;
        (left, is_known)
    }

    /// Looks that it took to learn what it knows.
    pub(crate) fn learned(&self) -> u64 {
        self.learned
    }

    /// Goes on finding out since when the lens knows all that left: the last revision at which
    /// something changed that decides on a member that it does not show now.
    fn look_back(&mut self, keys: &Keys, object: &Object, looks: usize) -> (usize, bool) {
        let Some(mut pass) = self.looks_back.take() else { return (looks, true) };
        pass.begins(object);
        let lens = &self.lens;
        let (looks, is_done) = pass.go_on(object, looks, |pass, member| {
            pass.floor = pass.floor.max(lens.may_have_left(keys, member));
            lens.test.looks(&member.value)
        });
        match is_done {
            true if mutants::is("lens-floor-too-low") => {}
            true => {
                let floor = &mut self.lens.left.floor;
                *floor = (*floor).max(pass.floor).max(object.floor);
            }
            false => self.looks_back = Some(pass),
        }
        (looks, is_done)
    }
}
