//! Lenses: the members of a collection for which a condition is true, and what left them.
//!
//! A lens keeps no members. Whether a member is among them now is asked of the member. Whether it
//! was among them at an earlier revision is known as well, if nothing that the condition reads has
//! changed since then. So a lens remembers only what left: a bounded number of names, and a floor,
//! as an object does with its tombstones.

use halfping_shape::{Condition, Equality};

use crate::cursor::Revision;
use crate::mutants;
use crate::read::asked::Asked;
use crate::read::delta::LOOKS_MAX;
use crate::read::leavers::Leavers;
use crate::tree::key::{KeyId, Keys};
use crate::tree::node::Member;
use crate::tree::{Object, Value};

/// Looks that the shortest condition costs, and bytes of a condition and of a value that cost one
/// more.
const LOOKS: usize = 2;
const BYTES_OF_CONDITION: usize = 12;
const BYTES_OF_VALUE: usize = 256;
/// Looks that one member costs at most, so that each step gets on.
const LOOKS_OF_ONE_MAX: usize = LOOKS_MAX / 4;

/// Condition that members have to fulfil, if there is one.
pub(crate) struct Test {
    condition: Option<Condition<KeyId>>,
    /// Paths that it reads of a member.
    guards: Box<[Box<[KeyId]>]>,
    /// Bytes of its text, or some more.
    bytes: u32,
    /// True if it is fulfilled wherever one of its equalities is.
    equalities_suffice: bool,
}

/// The members of one collection for which one condition is true.
pub(crate) struct Lens {
    pub(crate) test: Test,
    /// Members that no longer are among them.
    pub(crate) left: Leavers,
}

impl Test {
    /// The test of a condition, whose text has at most so many bytes.
    pub(crate) fn new(condition: Option<Condition<KeyId>>, bytes: usize) -> Test {
        let guards = condition.iter().flat_map(Condition::guards);
        let guards = guards.map(|path| path.names().into()).collect();
        let equalities_suffice = condition.as_ref().is_some_and(Condition::equalities_suffice);
        Test { guards, condition, bytes: bytes as u32, equalities_suffice }
    }

    /// The condition, if there is one.
    pub(crate) fn condition(&self) -> Option<&Condition<KeyId>> {
        self.condition.as_ref()
    }

    /// The equalities of which it requires one.
    pub(crate) fn equalities(&self) -> Option<Vec<Equality<KeyId>>> {
        self.condition.as_ref().and_then(Condition::equalities)
    }

    /// Looks that it costs to ask a value: the longer the condition and the value, the more.
    pub(crate) fn looks(&self, value: &Value) -> usize {
        let Some(_) = &self.condition else { return 1 };
        let looks = self.looks_of_condition() + value.json_len() / BYTES_OF_VALUE;
        looks.min(LOOKS_OF_ONE_MAX)
    }

    fn looks_of_condition(&self) -> usize {
        LOOKS + self.bytes as usize / BYTES_OF_CONDITION
    }

    /// Looks that it costs to ask all members of an object.
    pub(crate) fn looks_at_all(&self, object: &Object) -> usize {
        object.slots().len() * self.looks_of_condition() + object.json_len() / BYTES_OF_VALUE
    }

    /// True if a member is there and fulfils it.
    pub(crate) fn is_met(&self, keys: &Keys, member: &Member) -> bool {
        let Some(condition) = &self.condition else { return member.value.is_live() };
        member.value.is_live()
            && condition.matches(Asked::new(keys, &member.value), keys.name(member.key))
    }

    /// The same of a member that is there and was found by the equalities, if it has any.
    pub(crate) fn is_met_once_found(&self, keys: &Keys, member: &Member) -> bool {
        self.equalities_suffice || self.is_met(keys, member)
    }

    /// The last revision at which something changed that it reads of a member.
    pub(crate) fn changed(&self, member: &Member) -> Revision {
        if mutants::is("lens-guards-forgotten") {
            return Revision::NONE;
        }
        let of_guards = self.guards.iter().map(|path| changed_at(member, path));
        of_guards.max().unwrap_or(Revision::NONE)
    }
}

/// The last revision at which what stands at a path in a member changed, or what stood there went.
fn changed_at(member: &Member, path: &[KeyId]) -> Revision {
    let mut member = member;
    for name in path {
        let Value::Object(object) = &member.value else { return member.changed };
        match object.find(*name).filter(|_| *name != KeyId::NONE) {
            Some(slot) => member = object.slot(slot),
            None => return object.born.max(object.floor),
        }
    }
    member.changed
}

impl Lens {
    /// A lens that knows of nothing that left before `floor`.
    pub(crate) fn new(test: Test, floor: Revision) -> Lens {
        Lens { test, left: Leavers::new(floor) }
    }

    /// The revision since which a member that is not shown now can have left unseen: the last at
    /// which something changed that decides on it.
    pub(crate) fn may_have_left(&self, keys: &Keys, member: &Member) -> Revision {
        if self.left.have(member.key) || self.test.is_met(keys, member) {
            return Revision::NONE;
        }
        match member.value.is_live() {
            true => self.test.changed(member),
            false => member.changed,
        }
    }
}
