//! Restoring a tree from its rows, and from the commits after them.

use crate::cursor::{Epoch, Revision};
use crate::engine::Engine;
use crate::limits::Limits;
use crate::mutants;
use crate::rows::codec::{Corrupt, Input, corrupt};
use crate::rows::{ABSENT, Key, LEAF, OBJECT, ROWS};
use crate::times::{Times, Timestamp};
use crate::tree::key::{KeyId, Keys};
use crate::tree::{Member, Object, Value};
use crate::write::change::Change;
use crate::write::record::Record;
use crate::write::region::{Pattern, Regions};

/// Nesting that no writer reaches: paths and values are bounded by far less.
const DEPTH_MAX: usize = 1024;

/// An engine that is being restored: first all [rows](Restoring::row) in order of their keys, then
/// all [batches](Restoring::batch) in order, then it is [finished](Restoring::finish).
pub struct Restoring {
    engine: Engine,
    /// Objects with rows of their own, from the root to where the last row was.
    open: Vec<Open>,
    /// The key of the last of them.
    key: Vec<u8>,
    /// The clock's reading.
    now: Timestamp,
}

/// An object whose rows are being read.
struct Open {
    name: String,
    /// Length of its key.
    key_len: usize,
    place: u64,
    changed: Revision,
    born: Revision,
    floor: Revision,
    members: Vec<(u64, Member)>,
}

impl Restoring {
    /// An engine without rows so far.
    pub fn new(limits: Limits, epoch: Epoch, now: Timestamp) -> Restoring {
        Restoring {
            engine: Engine::new(limits, epoch, now),
            open: Vec::new(),
            key: Vec::new(),
            now,
        }
    }

    /// Adds the next row. `place`: members of one object are in the order of their places.
    pub fn row(&mut self, key: &[u8], place: u64, body: &[u8]) -> Result<(), Corrupt> {
        while self.open.last().is_some_and(|open| !is_beneath(key, &self.key[..open.key_len])) {
            self.close()?;
        }
        let above = self.open.last().map_or(0, |open| open.key_len);
        let names = Key::names(&key[above..])?;
        let name = match (self.open.is_empty(), &names[..]) {
            (true, []) => String::new(),
            (false, [name]) => name.clone(),
            _ => return corrupt("a row has no row above it"),
        };
        let mut input = Input::new(body);
        let changed = input.whole_revision()?;
        if input.peek() == Some(ROWS) {
            input.byte()?;
            let (born, floor) = (input.revision(changed)?, input.revision(changed)?);
            if !input.is_empty() {
                return corrupt("a row has more bytes than it needs");
            }
            self.key = key.to_vec();
            self.open.push(Open {
                name,
                key_len: key.len(),
                place,
                changed,
                born,
                floor,
                members: Vec::new(),
            });
            return Ok(());
        }
        if self.open.is_empty() {
            return corrupt("the root has no row");
        }
        let value = read_value(&mut input, changed, &mut self.engine, 0)?;
        if !input.is_empty() {
            return corrupt("a row has more bytes than it needs");
        }
        self.add(&name, place, changed, value)
    }

    fn add(
        &mut self,
        name: &str,
        place: u64,
        changed: Revision,
        value: Value,
    ) -> Result<(), Corrupt> {
        let Some(open) = self.open.last_mut() else { return corrupt("a row has no row above it") };
        if changed > open.changed {
            return corrupt("a row is newer than the one above it");
        }
        self.engine.tree.tombstones += usize::from(!value.is_live());
        let key = self.engine.keys.hold(name);
        open.members.push((place, Member { key, changed, value }));
        Ok(())
    }

    /// Completes the innermost object, which has all its rows.
    fn close(&mut self) -> Result<(), Corrupt> {
        let Some(Open { name, place, changed, born, floor, mut members, .. }) = self.open.pop()
        else {
            return Ok(());
        };
        members.sort_by_key(|(place, _)| *place);
        let members = members.into_iter().map(|(_, member)| member).collect();
        let mut object = Object::restored(&mut self.engine.keys, born, floor, members);
        object.has_rows_since = 1;
        let value = Value::Object(Box::new(object));
        if !self.open.is_empty() {
            return self.add(&name, place, changed, value);
        }
        (self.engine.tree.value, self.engine.tree.changed) = (value, changed);
        Ok(())
    }

    /// Ends the rows. `through` is the state that they have, and `times` has the commit times up to
    /// it.
    pub fn rows_end(&mut self, through: Revision, times: &[u8]) -> Result<(), Corrupt> {
        while !self.open.is_empty() {
            self.close()?;
        }
        let engine = &mut self.engine;
        engine.tree.revision = through;
        (engine.stored.through, engine.stored.made, engine.stored.done) = (through, 1, 1);
        engine.tree.times = Times::default();
        let mut input = Input::new(times);
        for _ in 0..input.count()? {
            let (revision, at) = (input.whole_revision()?, Timestamp(input.number()?));
            engine.tree.times.read(at);
            engine.tree.times.note(revision, at);
        }
        match engine.tree.changed <= through {
            true => Ok(()),
            false => corrupt("the rows are newer than they are said to be"),
        }
    }

    /// Applies the next batch of commits. `again`: they get new revisions, from this one on,
    /// instead of their own.
    pub fn batch(&mut self, body: &[u8], again: Option<Revision>) -> Result<usize, Corrupt> {
        let mut input = Input::new(body);
        let mut commits = 0;
        while !input.is_empty() {
            let Record { revision, at, change } = Record::read(input.bytes()?)?;
            if matches!(change, Change::Leaf(_)) {
                return corrupt("a commit makes the root a value without members");
            }
            if revision <= self.engine.tree.revision && again.is_none() {
                return corrupt("a commit is older than the state that it changes");
            }
            let revision =
                again.map_or(revision, |first| first.max(self.engine.tree.revision.next()));
            self.engine.tree.times.read(at);
            self.engine.apply(change, revision, at);
            // A commit that made no difference takes its number too.
            self.engine.tree.revision = revision;
            commits += 1;
        }
        Ok(commits)
    }

    /// The newest revision so far.
    pub fn revision(&self) -> Revision {
        self.engine.tree.revision
    }

    /// Removes all that was ephemeral, as of this revision: readers that have seen any of it will
    /// be told. `ephemeral`: the patterns of those parts. Returns the number of values removed.
    pub fn lose(&mut self, ephemeral: &[Pattern], at: Revision) -> usize {
        let engine = &mut self.engine;
        let mut taken = 0;
        for pattern in ephemeral {
            if mutants::is("not-buried") {
                break;
            }
            let (keys, tombstones) = (&mut engine.keys, &mut engine.tree.tombstones);
            let mut losing = Losing { keys, tombstones, taken: &mut taken, at };
            if let Value::Object(root) = &mut engine.tree.value {
                losing.beneath(root, pattern.segments());
            }
        }
        engine.tree.revision = at;
        if !ephemeral.is_empty() {
            engine.tree.changed = at;
        }
        engine.tree.times.read(self.now);
        engine.tree.times.note(at, self.now);
        taken
    }

    /// The engine, with these parts ephemeral from now on.
    pub fn finish(mut self, regions: Regions) -> Engine {
        self.engine.regions = regions;
        self.engine.tree.times.read(self.now);
        self.engine
    }
}

fn is_beneath(key: &[u8], above: &[u8]) -> bool {
    key.strip_prefix(above)
        .is_some_and(|rest| !rest.is_empty() && (above.is_empty() || rest[0] != 0xff))
}

fn read_value(
    input: &mut Input<'_>,
    changed: Revision,
    engine: &mut Engine,
    depth: usize,
) -> Result<Value, Corrupt> {
    if depth > DEPTH_MAX {
        return corrupt("a row is nested too deep");
    }
    match input.byte()? {
        ABSENT => Ok(Value::Absent { existed_since: input.revision(changed)? }),
        LEAF => Ok(Value::Leaf(input.text()?)),
        OBJECT => {
            let (born, floor) = (input.revision(changed)?, input.revision(changed)?);
            let count = input.count()?;
            let mut members = Vec::with_capacity(count.min(1 << 12));
            for _ in 0..count {
                let key = engine.keys.hold(input.str()?);
                let changed = input.revision(changed)?;
                let value = read_value(input, changed, engine, depth + 1)?;
                engine.tree.tombstones += usize::from(!value.is_live());
                members.push(Member { key, changed, value });
            }
            let mut names: Vec<_> = members.iter().map(|member| member.key).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| pair[0] == pair[1]) {
                return corrupt("a row names a member twice");
            }
            Ok(Value::Object(Box::new(Object::restored(&mut engine.keys, born, floor, members))))
        }
        _ => corrupt("a row holds something unknown"),
    }
}

struct Losing<'a> {
    keys: &'a mut Keys,
    tombstones: &'a mut usize,
    /// Number of values removed so far.
    taken: &'a mut usize,
    at: Revision,
}

impl Losing<'_> {
    /// Removes all that fits the rest of a pattern beneath an object, and remembers its removal.
    fn beneath(&mut self, object: &mut Object, pattern: &[Option<Box<str>>]) {
        let Some((first, rest)) = pattern.split_first() else { return };
        let before = object.tombstones();
        match first {
            Some(name) => match self.keys.find(name).and_then(|key| object.find(key)) {
                Some(slot) => self.member(object, slot, rest),
                None => {
                    let key = self.keys.hold(name);
                    object.bury(self.keys, key, self.at);
                }
            },
            None => {
                // Any member may have been here, so readers from before get the whole object. A
                // member that is remembered as removed may have come back, only to hold ephemeral
                // values.
                object.floor = self.at;
                for slot in 0..object.slots().len() {
                    if object.slot(slot).key != KeyId::NONE {
                        self.member(object, slot, rest);
                    }
                }
            }
        }
        *self.tombstones = *self.tombstones + object.tombstones() - before;
    }

    fn member(&mut self, object: &mut Object, slot: usize, rest: &[Option<Box<str>>]) {
        let at = self.at;
        object.edit(self.keys, slot, at, |keys, value| {
            match value {
                Value::Object(inner) if !rest.is_empty() => {
                    Losing { keys, tombstones: self.tombstones, taken: self.taken, at }
                        .beneath(inner, rest);
                }
                Value::Object(inner) => {
                    *self.tombstones -= inner.release(keys);
                    *self.taken += 1;
                    *value = Value::Absent { existed_since: at };
                }
                Value::Leaf(_) if rest.is_empty() => {
                    *self.taken += 1;
                    *value = Value::Absent { existed_since: at };
                }
                // It may have been another value in between.
                Value::Absent { existed_since } => *existed_since = at,
                Value::Leaf(_) => return false,
            }
            true
        });
    }
}
