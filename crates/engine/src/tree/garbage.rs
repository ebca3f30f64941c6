//! Objects that are no part of the tree any more, and are taken apart in steps.
//!
//! An object may have a million members. When it is removed, or another takes its place, it is set aside in one move, and whoever has the
//! engine to itself later gives back some of its names and of its memory at a time.

use crate::tree::key::{KeyId, Keys};
use crate::tree::{Member, Object, Value};

/// Slots that a commit takes apart: so many that the garbage of those who replace small objects again and again does not grow.
pub(crate) const SLOTS_AT_ONCE: usize = 1024;

/// See [the module](self).
#[derive(Default)]
pub(crate) struct Garbage {
    objects: Vec<Object>,
    /// Slots of these.
    slots: usize,
    /// What is left of large objects: memory that nothing is in. And what else takes long to drop.
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

    /// Whether there is nothing left to be taken apart.
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

    /// Takes so many slots apart, or fewer when no more are left. `tombstones` are accounted for.
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
