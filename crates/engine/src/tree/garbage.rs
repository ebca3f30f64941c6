//! Objects that are no part of the tree any more, and are taken apart in steps.
//!
//! An object may have a million members. When it is removed or replaced, it is set aside in one
//! move; later calls of the engine give back some of its names and of its memory at a time.

use crate::tree::key::{KeyId, Keys};
use crate::tree::{Member, Object, Value};

/// Slots that a commit takes apart: enough that garbage does not grow when small objects are
/// replaced again and again.
pub(crate) const SLOTS_AT_ONCE: usize = 1024;

/// Removed objects that are still to be taken apart.
#[derive(Default)]
pub(crate) struct Garbage {
    objects: Vec<Object>,
    /// Slots of these.
    slots: usize,
    /// Empty memory of large objects, and other things that take long to drop.
    husks: Husks,
}

/// Memory that is to be given back where nobody waits for it.
#[derive(Default)]
pub struct Husks(Vec<Box<dyn Send>>);

impl Garbage {
    pub(crate) fn add(&mut self, object: Object) {
        self.slots += object.slots().len();
        self.objects.push(object);
    }

    /// Sets something aside that takes long to drop.
    pub(crate) fn add_husk(&mut self, husk: impl Send + 'static) {
        self.husks.0.push(Box::new(husk));
    }

    /// True if nothing is left to be taken apart.
    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub(crate) fn has_husks(&self) -> bool {
        !self.husks.0.is_empty()
    }

    /// Slots of the objects that are here, without those beneath them.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Takes up to `slots` slots apart. `tombstones` are accounted for.
    pub(crate) fn take_apart(&mut self, keys: &mut Keys, tombstones: &mut usize, slots: usize) {
        for _ in 0..slots {
            let Some(object) = self.objects.last_mut() else { return };
            let Some(Member { key, value, .. }) = object.take_slot() else {
                if let Some(object) = self.objects.pop()
                    && object.is_large()
                {
                    self.add_husk(object);
                }
                continue;
            };
            self.slots -= 1;
            if key == KeyId::NONE {
                continue;
            }
            match value {
                Value::Object(beneath) => self.add(*beneath),
                Value::Absent { .. } => {
                    *tombstones -= 1;
                    keys.unbury(key);
                }
                Value::Leaf(_) => {}
            }
            keys.release(key);
        }
    }

    pub(crate) fn take_husks(&mut self) -> Husks {
        std::mem::take(&mut self.husks)
    }

    /// Tombstones in what is here.
    #[cfg(test)]
    pub(crate) fn tombstones(&self) -> usize {
        self.objects.iter().map(Object::tombstones_beneath).sum()
    }
}
