//! Passes over all members of a collection, made in steps, by which a view learns of them.
//!
//! Commits meanwhile tell the view of changes to members that the pass has come by. The others it
//! will find as they are then.

use crate::cursor::Revision;
use crate::tree::Object;
use crate::tree::key::KeyId;
use crate::tree::node::Member;

/// A pass over all members, made in steps.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pass {
    /// The numbering of slots that it refers to.
    layout: u32,
    /// The next slot.
    pub(crate) next: usize,
    /// The last revision at which a member can have left unseen, as far as it has looked.
    pub(crate) floor: Revision,
}

/// True unless a pass has yet to come by a slot of an object, or has to begin anew.
pub(crate) fn is_heeded(pass: Option<&Pass>, object: &Object, slot: usize) -> bool {
    pass.is_none_or(|pass| slot < pass.next && pass.layout == object.layout)
}

impl Pass {
    /// True if it has to begin, with the first member of an object: at first, and after slots have
    /// got other numbers.
    pub(crate) fn begins(&mut self, object: &Object) -> bool {
        let begins = self.next == 0 || self.layout != object.layout;
        if begins {
            *self = Pass { layout: object.layout, ..Pass::default() };
        }
        begins
    }

    /// Goes on over the members of an object, in so many looks. Returns the looks that are left,
    /// and true if that was the last member. `see` says how many looks a member cost.
    pub(crate) fn go_on(
        &mut self,
        object: &Object,
        mut looks: usize,
        mut see: impl FnMut(&mut Pass, &Member) -> usize,
    ) -> (usize, bool) {
        while let Some(member) = object.slots().get(self.next) {
            if looks == 0 {
                return (0, false);
            }
            self.next += 1;
            let cost = if member.key == KeyId::NONE { 1 } else { see(self, member) };
            looks = looks.saturating_sub(cost);
        }
        (looks, true)
    }
}
