//! The state: one JSON tree in which every node knows when it last changed.
//!
//! An object answers "what changed among your members since revision r?" in time proportional to
//! how many did: by a scan while it is small, by an index ordered by revision once it is large.
//! Removed members stay as tombstones, so that the answer includes them; their number is bounded,
//! and a forgotten one raises the object's floor.

use std::collections::VecDeque;

use crate::cursor::Revision;
use crate::grow::Table;
use crate::mutants;
use crate::tree::key::{KeyId, Keys};
use crate::tree::notes::Step;
use crate::tree::order::Order;
use crate::tree::text::Text;

/// Slots up to which a scan is cheaper than an index.
const SCAN_MAX: usize = 16;

#[derive(Debug)]
pub(crate) enum Value {
    /// A tombstone. The removed value had been here since `existed_since` at the latest.
    Absent {
        existed_since: Revision,
    },
    Leaf(Text),
    Object(Box<Object>),
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) key: KeyId,
    /// The revision at which this member, or anything beneath it, last changed; for a tombstone,
    /// that of the removal.
    pub(crate) changed: Revision,
    pub(crate) value: Value,
}

// Most memory is in members: 10 million of them are 320 MB, and one more word each would be 80 MB
// more.
const _: () = assert!(std::mem::size_of::<Member>() == 32);

#[derive(Debug)]
pub(crate) struct Object {
    /// The revision at which this object was created.
    pub(crate) born: Revision,
    /// The revision below which a reader gets the whole object: it may hold members that are no
    /// longer known (of an older object that stood here, or whose tombstones are forgotten).
    pub(crate) floor: Revision,
    /// A number that changes whenever slots are renumbered, so that a position kept across commits
    /// can tell.
    pub(crate) layout: u32,
    /// Live members.
    live: u32,
    /// Tombstones.
    dead: u32,
    /// The checkpoint in which its members got rows of their own; 0 as long as they have none. See
    /// [`stored`](crate::stored).
    pub(crate) has_rows_since: u32,
    /// Bytes of all live members as JSON, each with its name and colon.
    content: usize,
    /// Slots, in the order in which the names were first written.
    members: Vec<Member>,
    index: Option<Box<Index>>,
}

/// Additional data of a large object.
#[derive(Debug)]
struct Index {
    /// Slots by the names of their members.
    slots: Table,
    order: Order,
    /// Tombstones in order of removal. An entry counts if the slot still has that revision.
    graves: VecDeque<(Revision, u32)>,
}

impl Index {
    /// Notes a change of a member, which `members` shows already. `known`: the number of them that
    /// have a name.
    fn note(&mut self, at: Revision, slot: u32, members: &[Member], known: u32) {
        let is_current = |at, slot| is_current(members, at, slot);
        self.order.push(at, slot, members.len(), known as usize, is_current);
    }
}

impl Value {
    /// Length of the value as compact JSON.
    pub(crate) fn json_len(&self) -> usize {
        match self {
            Value::Absent { .. } => 0,
            Value::Leaf(text) => text.len(),
            Value::Object(object) => object.json_len(),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        !matches!(self, Value::Absent { .. })
    }

    /// Writes the value as compact JSON, `depth` levels of objects deep. True if a member that is
    /// `null` was written.
    pub(crate) fn write(&self, keys: &Keys, depth: u32, out: &mut Vec<u8>) -> bool {
        self.write_up_to(usize::MAX, keys, depth, out).unwrap_or_default()
    }
}

impl Object {
    pub(crate) fn new(born: Revision, capacity: usize) -> Object {
        Object {
            born,
            floor: Revision::NONE,
            layout: 0,
            live: 0,
            dead: 0,
            has_rows_since: 0,
            content: 0,
            members: Vec::with_capacity(capacity),
            index: None,
        }
    }

    pub(crate) fn json_len(&self) -> usize {
        2 + self.content + (self.live as usize).saturating_sub(1)
    }

    pub(crate) fn live(&self) -> usize {
        self.live as usize
    }

    pub(crate) fn tombstones(&self) -> usize {
        self.dead as usize
    }

    /// True if its members may have rows of their own on disk.
    pub(crate) fn has_rows(&self) -> bool {
        self.has_rows_since != 0
    }

    /// An object restored from its rows.
    pub(crate) fn restored(
        keys: &mut Keys,
        born: Revision,
        floor: Revision,
        members: Vec<Member>,
    ) -> Object {
        let mut object = Object::new(born, 0);
        for member in &members {
            match member.value.is_live() {
                true => {
                    object.live += 1;
                    object.content += keys.json_len(member.key) + 1 + member.value.json_len();
                }
                false => {
                    object.dead += 1;
                    keys.bury(member.key);
                }
            }
        }
        (object.floor, object.members) = (floor, members);
        if object.members.len() > SCAN_MAX {
            object.build_index();
        }
        object
    }

    /// Remembers a member as removed that never had a slot. The object takes over the hold on the
    /// key.
    pub(crate) fn bury(&mut self, keys: &mut Keys, key: KeyId, at: Revision) {
        keys.bury(key);
        self.members.push(Member { key, changed: at, value: Value::Absent { existed_since: at } });
        self.dead += 1;
        match &mut self.index {
            Some(index) => {
                let slot = self.members.len() as u32 - 1;
                index.slots.insert(slot, |slot| self.members[slot as usize].key);
                index.note(at, slot, &self.members, self.live + self.dead);
                index.graves.push_back((at, slot));
            }
            None if self.members.len() > SCAN_MAX => self.build_index(),
            None => {}
        }
    }

    /// True if its changes are told in order of change.
    pub(crate) fn is_indexed(&self) -> bool {
        self.index.is_some()
    }

    pub(crate) fn slots(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn slot(&self, slot: usize) -> &Member {
        &self.members[slot]
    }

    /// The slot of a name, live or tombstone.
    pub(crate) fn find(&self, key: KeyId) -> Option<usize> {
        match &self.index {
            Some(index) => {
                let slot = index.slots.get(key, |slot| self.members[slot as usize].key);
                slot.map(|slot| slot as usize)
            }
            None => self.members.iter().position(|m| m.key == key),
        }
    }

    pub(crate) fn member(&self, keys: &Keys, name: &str) -> Option<&Member> {
        Some(&self.members[self.find(keys.find(name)?)?])
    }

    /// The value of a live member.
    pub(crate) fn value(&self, keys: &Keys, name: &str) -> Option<&Value> {
        self.member(keys, name).map(|m| &m.value).filter(|v| v.is_live())
    }

    /// Slots that changed after `since`, each with its revision: in a large object in order of
    /// change, in a small one in order of slots. A stale entry has no slot, but costs a look all
    /// the same.
    pub(crate) fn slots_changed_since(
        &self,
        since: Revision,
    ) -> impl Iterator<Item = (Revision, Option<usize>)> {
        let scan = if self.index.is_some() { 0 } else { self.members.len() };
        let ordered = self.index.iter().flat_map(move |index| index.order.since(since));
        let ordered = ordered.map(|(revision, slot)| {
            (revision, is_current(&self.members, revision, slot).then_some(slot as usize))
        });
        let scanned = self.members[..scan]
            .iter()
            .enumerate()
            .filter(move |(_, member)| member.changed > since);
        ordered.chain(scanned.map(|(slot, member)| (member.changed, Some(slot))))
    }

    pub(crate) fn slot_mut(&mut self, slot: usize) -> &mut Member {
        &mut self.members[slot]
    }

    /// Puts a value at a name that has no slot. The object takes over the hold on the key.
    pub(crate) fn push(&mut self, keys: &Keys, key: KeyId, value: Value, at: Revision) {
        let slot = self.members.len() as u32;
        self.content += keys.json_len(key) + 1 + value.json_len();
        self.live += 1;
        self.members.push(Member { key, changed: at, value });
        match &mut self.index {
            Some(index) => {
                index.slots.insert(slot, |slot| self.members[slot as usize].key);
                index.note(at, slot, &self.members, self.live + self.dead);
            }
            None if self.members.len() > SCAN_MAX => self.build_index(),
            None => {}
        }
    }

    /// Edits the value of a slot and accounts for the change. `edit` returns true if anything
    /// changed.
    pub(crate) fn edit(
        &mut self,
        keys: &mut Keys,
        slot: usize,
        at: Revision,
        edit: impl FnOnce(&mut Keys, &mut Value) -> bool,
    ) -> bool {
        let member = &mut self.members[slot];
        let (was_live, was_len) = (member.value.is_live(), member.value.json_len());
        if !edit(keys, &mut member.value) {
            return false;
        }
        member.changed = at;
        let name_len = keys.json_len(member.key) + 1;
        let (is_live, is_len) = (member.value.is_live(), member.value.json_len());
        self.content = self.content + is_len - was_len;
        match (was_live, is_live) {
            (true, false) => {
                (self.live, self.dead) = (self.live - 1, self.dead + 1);
                self.content -= name_len;
                keys.bury(member.key);
            }
            (false, true) => {
                (self.live, self.dead) = (self.live + 1, self.dead - 1);
                self.content += name_len;
                keys.unbury(member.key);
            }
            _ => {}
        }
        if let Some(index) = &mut self.index {
            index.note(at, slot as u32, &self.members, self.live + self.dead);
            if !is_live {
                index.graves.push_back((at, slot as u32));
            }
            if index.graves.len() > 2 * self.dead as usize + SCAN_MAX {
                index.graves.retain(|(r, slot)| is_grave(&self.members, *r, *slot));
            }
        }
        true
    }

    /// Forgets the oldest tombstones until at most `max` are left, and as long as the names of all
    /// are longer than `bytes_max`. Returns the number forgotten. `steps`: for readers in the
    /// middle of a walk, which take over a hold on each name.
    pub(crate) fn forget_tombstones(
        &mut self,
        keys: &mut Keys,
        max: usize,
        bytes_max: usize,
        mut steps: Option<&mut Vec<Step>>,
        mut tell: impl FnMut(&Keys, KeyId),
    ) -> usize {
        let mut forgotten = 0;
        while self.dead as usize > max || (self.dead > 0 && keys.buried_bytes() > bytes_max) {
            let oldest = match &mut self.index {
                Some(index) => loop {
                    match index.graves.pop_front() {
                        Some((r, slot)) if is_grave(&self.members, r, slot) => {
                            break Some(slot as usize);
                        }
                        Some(_) => {}
                        None => break None,
                    }
                },
                None => {
                    let graves =
                        self.members.iter().enumerate().filter(|(_, m)| !m.value.is_live());
                    graves.min_by_key(|(_, m)| m.changed).map(|(slot, _)| slot)
                }
            };
            let Some(slot) = oldest else { break };
            let member = &mut self.members[slot];
            if !mutants::is("floor-not-raised") {
                self.floor = self.floor.max(member.changed);
            }
            tell(keys, member.key);
            keys.unbury(member.key);
            match &mut steps {
                Some(steps) => steps.push(Step::Forgotten { key: member.key, slot: slot as u32 }),
                None => keys.release(member.key),
            }
            match &mut self.index {
                Some(index) => {
                    index.slots.remove(slot as u32, |slot| self.members[slot as usize].key);
                    self.members[slot].key = KeyId::NONE;
                }
                None => {
                    self.members.remove(slot);
                    self.layout = self.layout.wrapping_add(1);
                    if let Some(steps) = &mut steps {
                        steps.push(Step::Renumbered([slot as u32].into()));
                    }
                }
            }
            self.dead -= 1;
            forgotten += 1;
        }
        let vacant = self.members.len() - self.live as usize - self.dead as usize;
        if vacant > SCAN_MAX && vacant > self.members.len() / 2 {
            if let Some(steps) = &mut steps {
                let gone =
                    self.members.iter().zip(0..).filter(|(member, _)| member.key == KeyId::NONE);
                steps.push(Step::Renumbered(gone.map(|(_, slot)| slot).collect()));
            }
            self.members.retain(|m| m.key != KeyId::NONE);
            self.members.shrink_to_fit();
            self.layout = self.layout.wrapping_add(1);
            self.index = None;
            if self.members.len() > SCAN_MAX {
                self.build_index();
            }
        }
        forgotten
    }

    /// Gives back the holds on all names beneath, before the object is dropped. Returns the number
    /// of tombstones that go with it.
    pub(crate) fn release(&self, keys: &mut Keys) -> usize {
        let mut tombstones = self.dead as usize;
        for member in self.members.iter().filter(|m| m.key != KeyId::NONE) {
            match &member.value {
                Value::Object(object) => tombstones += object.release(keys),
                Value::Absent { .. } => keys.unbury(member.key),
                Value::Leaf(_) => {}
            }
            keys.release(member.key);
        }
        tombstones
    }

    /// Takes away the last slot. For an object that is being taken apart.
    pub(crate) fn take_slot(&mut self) -> Option<Member> {
        let member = self.members.pop()?;
        match member.value.is_live() {
            true => self.live -= 1,
            false => self.dead -= u32::from(member.key != KeyId::NONE),
        }
        Some(member)
    }

    /// True if giving back its memory takes longer than setting it aside.
    pub(crate) fn is_large(&self) -> bool {
        self.index.is_some()
    }

    /// Tombstones in it and all beneath.
    #[cfg(test)]
    pub(crate) fn tombstones_beneath(&self) -> usize {
        let beneath = self.members.iter().map(|m| match &m.value {
            Value::Object(object) => object.tombstones_beneath(),
            _ => 0,
        });
        self.tombstones() + beneath.sum::<usize>()
    }

    fn build_index(&mut self) {
        let len = self.members.len();
        let slots = Table::with_capacity(len);
        let mut index = Index { slots, order: Order::default(), graves: VecDeque::new() };
        let mut order = Vec::with_capacity(len);
        for (slot, member) in self.members.iter().enumerate().filter(|(_, m)| m.key != KeyId::NONE)
        {
            index.slots.insert(slot as u32, |slot| self.members[slot as usize].key);
            order.push((member.changed, slot as u32));
            if !member.value.is_live() {
                index.graves.push_back((member.changed, slot as u32));
            }
        }
        index.order = Order::new(order);
        index.graves.make_contiguous().sort_unstable();
        self.index = Some(Box::new(index));
    }

    /// Checks what must hold between commits. For tests and debug builds.
    #[cfg(test)]
    pub(crate) fn check(&self, keys: &Keys) {
        let live = self.members.iter().filter(|m| m.value.is_live());
        assert_eq!(live.clone().count(), self.live());
        let dead = self.members.iter().filter(|m| !m.value.is_live() && m.key != KeyId::NONE);
        assert_eq!(dead.count(), self.tombstones());
        let content: usize =
            live.clone().map(|m| keys.json_len(m.key) + 1 + m.value.json_len()).sum();
        assert_eq!(content, self.content);
        for (slot, member) in self.members.iter().enumerate().filter(|(_, m)| m.key != KeyId::NONE)
        {
            assert_eq!(self.find(member.key), Some(slot));
            let changed = self.slots_changed_since(member.changed.previous());
            assert_eq!(changed.filter(|(_, changed)| *changed == Some(slot)).count(), 1);
            if let Value::Object(object) = &member.value {
                object.check(keys);
            }
        }
    }
}

/// True if an entry of the log of graves is still that of a tombstone. True if an entry of the
/// order of changes is of the last change of its member; else it is stale.
fn is_current(members: &[Member], changed: Revision, slot: u32) -> bool {
    members.get(slot as usize).is_some_and(|m| m.changed == changed && m.key != KeyId::NONE)
}

fn is_grave(members: &[Member], removed: Revision, slot: u32) -> bool {
    let member = &members[slot as usize];
    member.changed == removed && !member.value.is_live() && member.key != KeyId::NONE
}
