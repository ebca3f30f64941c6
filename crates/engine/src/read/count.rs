//! Counts: the number of members that a lens shows.

use crate::cursor::Revision;
use crate::mutants;
use crate::read::interest::PointId;
use crate::read::lens::Test;
use crate::read::pass::{Pass, is_heeded};
use crate::tree::key::Keys;
use crate::tree::text::Text;
use crate::tree::{Object, Value};

/// The number of members that a lens shows, as long as a view asks for it.
#[derive(Default)]
pub(crate) struct Count {
    number: usize,
    value: Option<Value>,
    /// The revision at which it last became another one.
    changed: Revision,
    /// The last commit that changed members, with the number before it and when it became that.
    commit: Revision,
    before: (usize, Revision),
    pass: Option<Pass>,
    views: Vec<PointId>,
}

impl Count {
    /// A number that is not known yet, and no views.
    pub(crate) fn new() -> Count {
        Count { pass: Some(Pass::default()), ..Count::default() }
    }

    /// Adds a view that shows it.
    pub(crate) fn add(&mut self, view: PointId) {
        self.views.push(view);
    }

    /// Ends a view. True if it was the last.
    pub(crate) fn end(&mut self, view: PointId) -> bool {
        self.views.retain(|other| *other != view);
        self.views.is_empty()
    }

    /// Views that show it.
    pub(crate) fn views(&self) -> &[PointId] {
        &self.views
    }

    /// The number, with the revision at which it became that; `None` if it is not known yet.
    pub(crate) fn value(&self) -> Option<(&Value, Revision)> {
        Some((self.value.as_ref()?, self.changed))
    }

    /// Begins anew.
    pub(crate) fn begin(&mut self) {
        self.pass = Some(Pass::default());
    }

    /// Goes on adding up the members of an object that changed at the revision `known`. Returns the
    /// looks that are left, and true if it has all.
    pub(crate) fn add_up(
        &mut self,
        keys: &Keys,
        test: &Test,
        (object, known): (&Object, Revision),
        looks: usize,
    ) -> (usize, bool) {
        let Some(mut pass) = self.pass.take() else { return (looks, true) };
        if pass.begins(object) {
            self.number = 0;
        }
        let (looks, is_done) = pass.go_on(object, looks, |_, member| {
            self.number += usize::from(test.is_met(keys, member));
            test.looks(&member.value)
        });
        match is_done {
            true => self.tell(known),
            false => self.pass = Some(pass),
        }
        (looks, is_done)
    }

    /// Takes in that a member is shown that was not, or the other way round.
    pub(crate) fn change(
        &mut self,
        (object, slot): (&Object, usize),
        (was_met, is_met): (bool, bool),
        at: Revision,
        touched: &mut Vec<PointId>,
    ) {
        if was_met == is_met || !is_heeded(self.pass.as_ref(), object, slot) {
            return;
        }
        if self.commit != at {
            (self.commit, self.before) = (at, (self.number, self.changed));
        }
        match is_met {
            true => self.number += 1,
            false => self.number -= 1,
        }
        if self.pass.is_none() && !mutants::is("count-not-told") {
            // As many may have come as have left.
            let (number, changed) = self.before;
            self.tell(if self.number == number { changed } else { at });
            touched.extend(&self.views);
        }
    }

    /// Writes the number down, which became that at a revision.
    fn tell(&mut self, at: Revision) {
        self.value = Some(Value::Leaf(Text::new(&self.number.to_string())));
        self.changed = at;
    }
}
