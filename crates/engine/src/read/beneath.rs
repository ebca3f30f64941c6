//! Values beneath a member of a collection, for a reader who sees it as long as a condition is
//! true of the member.

use crate::cursor::Revision;
use crate::read::lens::Test;
use crate::tree::key::{KeyId, Keys};
use crate::tree::{Object, Value};

/// A value at or beneath a member.
pub(crate) struct Beneath<'v> {
    /// The value, if it is there and in sight.
    pub(crate) value: Option<&'v Value>,
    /// The last revision at which it, or that it is in sight, changed.
    pub(crate) changed: Revision,
    /// The last revision at which it may have come in sight.
    pub(crate) came: Revision,
}

impl<'v> Beneath<'v> {
    /// The value at some names in a collection, the first of which is that of the member. `left`:
    /// the last revision at which a member may have left that is not in sight. While it is not,
    /// nothing that happens to it is told.
    pub(crate) fn find(
        keys: &Keys,
        object: &'v Object,
        names: &[KeyId],
        test: &Test,
        left: impl FnOnce() -> Revision,
    ) -> Beneath<'v> {
        let found = names.split_first().and_then(|(first, rest)| {
            let member = object.slot(object.find(*first)?);
            test.is_met(keys, member).then_some((member, rest))
        });
        let Some((member, rest)) = found else {
            return Beneath { value: None, changed: left(), came: Revision::NONE };
        };
        let came = test.changed(member);
        let nothing = |changed: Revision| Beneath { value: None, changed: changed.max(came), came };
        let (mut value, mut changed) = (&member.value, member.changed);
        for name in rest {
            let Value::Object(object) = value else { return nothing(changed) };
            let Some(slot) = object.find(*name) else {
                return nothing(object.born.max(object.floor));
            };
            (value, changed) = (&object.slot(slot).value, object.slot(slot).changed);
        }
        Beneath { value: Some(value).filter(|value| value.is_live()), ..nothing(changed) }
    }
}
