//! Commits: the engine compared with the plain model, with readers that come and go.
//!
//! The bytes are a program: each step is a commit of one or two writes, or an action of a reader.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use halfping_engine::{
    Action, Condition, Cursor, Engine, Epoch, Json, Kind, Limits, Patch, Path, Priority, Refusal,
    Revision, SessionId, States, Tick, Timestamp, Watch, Write,
};
use serde_json::{Value, json};

use crate::model::{self, Change};

const STEPS_MAX: usize = 60;
const NAMES: [&str; 6] = ["a", "b", "", "ä/~ \"", "deep", "list"];
const PATHS: [&[&str]; 8] = [
    &[],
    &["a"],
    &["b"],
    &["a", "b"],
    &["a", "b", "a"],
    &["deep", "deep"],
    &["b", "ä/~ \""],
    &["a", "", "list"],
];

pub fn writes(data: &[u8]) {
    let mut input = Unstructured::new(data);
    // The program ends where the bytes do.
    let Ok(mut world) = World::new(&mut input) else { return };
    for _ in 0..STEPS_MAX {
        if input.is_empty() || world.step(&mut input).is_err() {
            break;
        }
    }
    world.finish();
}

struct World {
    engine: Engine,
    limits: Limits,
    /// The tree at each revision; the last is the tree now.
    history: Vec<(Revision, Value)>,
    readers: Vec<Reader>,
    now: u64,
}

/// A session and the states of its links.
struct Reader {
    session: SessionId,
    mirrors: Vec<Mirror>,
    /// True if it has been told everything, and will be woken when there is more.
    sleeps: bool,
}

struct Mirror {
    path: usize,
    depth: u32,
    whole: bool,
    /// The link has a rate, and may be behind.
    has_rate: bool,
    /// The link was not told anything yet.
    is_new: bool,
    /// The link is in the middle of a change.
    is_partial: bool,
    state: Option<Value>,
    /// The cursor of the state.
    revision: Option<Revision>,
}

impl World {
    fn new(input: &mut Unstructured<'_>) -> Result<World> {
        let is_small = input.ratio(1, 4)?;
        let mut limits = Limits::default();
        limits.slice_bytes = *input.choose(&[1 << 16, 48, 8])?;
        limits.tombstones_per_object = *input.choose(&[1024, 2, 0])?;
        limits.tombstones = *input.choose(&[1_000_000, 3])?;
        if is_small {
            limits.json_depth = 4;
            limits.members_per_object = 3;
            limits.tree_bytes = 200;
            limits.patch_work_bytes = 3000;
        }
        let engine = Engine::new(limits.clone(), Epoch::from_random(1), Timestamp(0));
        let history = vec![(engine.revision(), json!({}))];
        Ok(World { engine, limits, history, readers: Vec::new(), now: 0 })
    }

    fn tree(&self) -> &Value {
        self.history.last().map(|(_, tree)| tree).expect("it begins with one")
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        self.now += 1;
        match input.int_in_range(0..=15u8)? {
            0..=9 => self.commit(input),
            10 if self.readers.len() < 3 => {
                let session = self.engine.open();
                self.readers.push(Reader { session, mirrors: Vec::new(), sleeps: false });
                self.watch(input)
            }
            10 | 11 => self.watch(input),
            12 => self.unwatch(input),
            13 => {
                self.now += 1000;
                Ok(())
            }
            _ => {
                if !self.readers.is_empty() {
                    let reader = input.choose_index(self.readers.len())?;
                    for _ in 0..input.int_in_range(1..=4)? {
                        self.pull(reader);
                    }
                }
                Ok(())
            }
        }
    }

    fn commit(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let mut expected = Some(self.tree().clone());
        let (mut writes, mut created) = (Vec::new(), Vec::new());
        let mut holds = true;
        for _ in 0..if input.ratio(1, 5)? { 2 } else { 1 } {
            let path = *input.choose(&PATHS)?;
            let change = change(input)?;
            let Some(action) = action(&change, &self.limits) else { return Ok(()) };
            let condition = self.condition(input, path, &mut holds)?;
            created.push(expected.as_ref().is_some_and(|tree| model::at(tree, path).is_none()));
            expected =
                expected.and_then(|mut tree| model::apply(&mut tree, path, &change).map(|()| tree));
            writes.push(Write { path: path_of(path), action, condition });
            // Only the result of a whole commit must have an object as its root; the model cannot
            // go on from another root.
            if expected.is_none() && path.is_empty() {
                break;
            }
        }
        let before: Vec<_> = PATHS.iter().map(|path| self.read(path)).collect();
        let revision = self.engine.revision();
        let done = self.engine.commit(&writes, Timestamp(self.now));
        let woken = self.engine.take_woken();
        let after = self.read(&[]).0.expect("the root is always there");
        match (done, expected.filter(|_| holds)) {
            (Ok(written), Some(expected)) => {
                assert_eq!(after, expected, "after {writes:?} on {}", self.tree());
                for ((written, write), created) in written.iter().zip(&writes).zip(created) {
                    assert_eq!(written.created, created, "{writes:?}");
                    let reading = self.engine.read(&write.path, 0).expect("a cut value is small");
                    assert_eq!(written.revision, reading.revision, "{writes:?}");
                }
                let differs = expected != *self.tree();
                let grown = self.engine.revision().0 - revision.0;
                assert_eq!(
                    grown,
                    u64::from(differs),
                    "PROTOCOL V5, C1: {writes:?} on {}",
                    self.tree()
                );
                if differs {
                    self.history.push((self.engine.revision(), expected));
                }
            }
            (Err(refusal), expected) => {
                assert_eq!(
                    (&after, self.engine.revision()),
                    (self.tree(), revision),
                    "{refusal}: {writes:?}"
                );
                let is_limit = matches!(refusal, Refusal::Limit { .. });
                assert!(expected.is_none() || is_limit, "{refusal}: {writes:?} on {}", self.tree());
                assert!(
                    !holds || !matches!(refusal, Refusal::Precondition(_)),
                    "{refusal}: {writes:?}"
                );
            }
            (Ok(_), None) => {
                panic!("done, and should have been refused: {writes:?} on {}", self.tree())
            }
        }
        for (path, (value, cursor)) in PATHS.iter().zip(before) {
            let (value_now, cursor_now) = self.read(path);
            if value.is_some() || value_now.is_some() {
                assert_eq!(
                    value != value_now,
                    cursor != cursor_now,
                    "PROTOCOL C3: {path:?} from {value:?} at {cursor:?} by {writes:?}"
                );
            }
            assert_eq!(value_now.as_ref(), model::at(self.tree(), path), "{path:?}");
        }
        self.check_woken(&woken);
        Ok(())
    }

    /// Checks that a reader that was told everything, and is not woken, has nothing left to be
    /// told.
    fn check_woken(&mut self, woken: &[SessionId]) {
        for reader in &mut self.readers {
            if woken.contains(&reader.session) {
                reader.sleeps = false;
            }
            for mirror in reader.mirrors.iter().filter(|mirror| reader.sleeps && !mirror.has_rate) {
                let (_, tree) = self.history.last().expect("it begins with one");
                let view = model::view(tree, PATHS[mirror.path], mirror.depth);
                assert_eq!(
                    mirror.state, view,
                    "PROTOCOL S6: a reader of {:?} was not woken",
                    PATHS[mirror.path]
                );
            }
        }
    }

    fn condition(
        &self,
        input: &mut Unstructured<'_>,
        path: &[&str],
        holds: &mut bool,
    ) -> Result<Condition> {
        if !input.ratio(1, 6)? {
            return Ok(Condition::default());
        }
        let (value, current) = self.read(path);
        // PROTOCOL C5: any state since the last change, none before it, and none that is to come.
        let newest = self.engine.revision();
        let (states, is_among) = match input.int_in_range(0..=4u8)? {
            0 => (States::Any, true),
            1 => (States::These(vec![self.engine.cursor(current)]), true),
            2 => (States::These(vec![self.engine.cursor(newest)]), true),
            3 => (States::These(vec![self.engine.cursor(newest.next())]), false),
            _ => {
                let before = Revision(current.0.saturating_sub(1));
                (States::These(vec![self.engine.cursor(before)]), false)
            }
        };
        let is_among = is_among && value.is_some();
        Ok(match input.arbitrary()? {
            true => {
                *holds &= is_among;
                Condition { is: Some(states), ..Condition::default() }
            }
            false => {
                *holds &= !is_among;
                Condition { is_not: Some(states), ..Condition::default() }
            }
        })
    }

    fn read(&self, path: &[&str]) -> (Option<Value>, Revision) {
        let reading =
            self.engine.read(&path_of(path), u32::MAX).expect("nothing here is too large");
        let value =
            reading.value.map(|value| serde_json::from_slice(&value).expect("a value is JSON"));
        (value, reading.revision)
    }

    fn watch(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        if self.readers.is_empty() {
            return Ok(());
        }
        let place = input.choose_index(self.readers.len())?;
        let (path, whole) = (input.choose_index(PATHS.len())?, input.ratio(1, 4)?);
        let depth = *input.choose(&[u32::MAX, u32::MAX, 0, 1, 2])?;
        let has_rate = input.ratio(1, 6)?;
        // Resume from a past state, from an impossible one, or from nothing.
        let (since, state) = match input.int_in_range(0..=5u8)? {
            0..=2 => {
                let (revision, tree) = input.choose(&self.history)?;
                (Some(self.engine.cursor(*revision)), model::view(tree, PATHS[path], depth))
            }
            3 => (
                Some(self.engine.cursor(Revision(self.engine.revision().0 + 1))),
                Some(json!({ "stale": 1 })),
            ),
            4 => {
                let epoch = Epoch::from_random(2);
                (
                    Some(Cursor { epoch, revision: self.engine.revision() }),
                    Some(json!({ "stale": 1 })),
                )
            }
            _ => (None, Some(json!({ "stale": 1 }))),
        };
        let watch = Watch {
            since,
            depth,
            whole,
            interval_ms: if has_rate { 700 } else { 0 },
            priority: Priority::new(input.int_in_range(0..=Priority::MAX)?).unwrap_or_default(),
            ..Watch::new(path_of(PATHS[path]))
        };
        let reader = &mut self.readers[place];
        if reader.mirrors.len() == 4 {
            return Ok(());
        }
        let tag = reader.mirrors.len() as u32;
        assert!(self.engine.watch(reader.session, tag, &watch));
        assert!(!self.engine.watch(reader.session, tag, &watch), "the number is taken");
        let mirror = Mirror {
            path,
            depth,
            whole,
            has_rate,
            is_new: true,
            is_partial: false,
            state,
            revision: None,
        };
        reader.mirrors.push(mirror);
        assert!(
            self.engine.take_woken().contains(&reader.session) || !reader.sleeps,
            "there is news of it"
        );
        reader.sleeps = false;
        Ok(())
    }

    fn unwatch(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        if self.readers.is_empty() {
            return Ok(());
        }
        let place = input.choose_index(self.readers.len())?;
        let reader = &mut self.readers[place];
        // Remove the last link, so that the others keep their numbers; for a reader without links,
        // end the session.
        match reader.mirrors.pop() {
            Some(_) => assert!(self.engine.unwatch(reader.session, reader.mirrors.len() as u32)),
            None => self.engine.close(self.readers.remove(place).session),
        }
        Ok(())
    }

    /// Takes one frame. False when there is none.
    fn pull(&mut self, place: usize) -> bool {
        let reader = &mut self.readers[place];
        let Some(update) = self.engine.next(reader.session, Tick(self.now)) else {
            reader.sleeps = self.engine.due(reader.session).is_none();
            assert!(self.engine.is_synced(reader.session), "nothing to say, and not synced");
            for mirror in &reader.mirrors {
                assert!(!mirror.is_partial, "PROTOCOL S5: the end of a change is missing");
            }
            return false;
        };
        let mirror = &mut reader.mirrors[update.tag as usize];
        let frame = update.frame.expect("nothing here is too large");
        let body: Value = serde_json::from_slice(&frame.body).expect("a body is JSON");
        if mirror.whole {
            assert!(matches!(frame.kind, Kind::Snapshot | Kind::Gone), "PROTOCOL S4: {frame:?}");
        }
        let path = PATHS[mirror.path];
        model::show(&mut mirror.state, frame.kind.name(), body);
        (mirror.is_new, mirror.is_partial) = (false, frame.revision.is_none());
        if let Some(revision) = frame.revision {
            let at = self.history.iter().rfind(|(at, _)| *at <= revision);
            let (_, tree) = at.expect("the revision was there");
            assert_eq!(
                mirror.state,
                model::view(tree, path, mirror.depth),
                "PROTOCOL S5: {path:?} to depth {} at {revision:?}, after {frame:?}",
                mirror.depth
            );
            assert!(
                mirror.revision.is_none_or(|before| before <= revision),
                "a cursor goes back: {frame:?}"
            );
            mirror.revision = Some(revision);
        }
        true
    }

    /// Tells every reader everything.
    fn finish(mut self) {
        for place in 0..self.readers.len() {
            for _ in 0..2 {
                self.now += 10_000;
                let mut frames = 0;
                while self.pull(place) {
                    frames += 1;
                    assert!(frames < 10_000, "no end of frames");
                }
            }
            let synced = self.engine.resume_point(self.readers[place].session);
            assert!(synced <= self.engine.revision());
            for mirror in &self.readers[place].mirrors {
                let view = model::view(self.tree(), PATHS[mirror.path], mirror.depth);
                // A link that resumed where nothing had changed was told nothing, and shows the
                // state that it began with.
                assert_eq!(mirror.state, view, "PROTOCOL S6: {:?}", PATHS[mirror.path]);
            }
        }
        for reader in self.readers.drain(..) {
            self.engine.close(reader.session);
        }
        let stats = self.engine.stats();
        assert_eq!(
            (stats.sessions, stats.links, stats.places),
            (0, 0, 0),
            "something is left of readers that left"
        );
        assert_eq!(
            stats.tree_bytes,
            self.engine.read(&Path::ROOT, u32::MAX).map_or(0, |r| r.value.map_or(0, |v| v.len()))
        );
    }
}

fn path_of(names: &[&str]) -> Path {
    names.iter().fold(Path::ROOT, |path, name| path.child(name))
}

/// A write in the engine's form, if it is within the limits.
fn action(change: &Change, limits: &Limits) -> Option<Action> {
    let json = |value: &Value| Json::parse(value.to_string().as_bytes(), limits).ok();
    Some(match change {
        Change::Put(value) => Action::Put(json(value)?),
        Change::Merge(patch) => Action::Merge(json(patch)?),
        Change::Patch(operations) => {
            Action::Patch(Patch::parse(operations.to_string().as_bytes(), limits).ok()?)
        }
        Change::Delete => Action::Delete,
    })
}

fn change(input: &mut Unstructured<'_>) -> Result<Change> {
    Ok(match input.int_in_range(0..=9u8)? {
        0..=2 => Change::Put(value(input, 3)?),
        3..=5 => Change::Merge(value(input, 3)?),
        6..=7 => {
            let count = input.int_in_range(0..=3)?;
            Change::Patch((0..count).map(|_| operation(input)).collect::<Result<_>>()?)
        }
        _ => Change::Delete,
    })
}

fn operation(input: &mut Unstructured<'_>) -> Result<Value> {
    let (path, from) = (pointer(input)?, pointer(input)?);
    Ok(match input.int_in_range(0..=7u8)? {
        0..=1 => json!({ "op": "add", "path": path, "value": value(input, 2)? }),
        2 => json!({ "op": "remove", "path": path }),
        3 => json!({ "op": "replace", "path": path, "value": value(input, 2)? }),
        4..=5 => json!({ "op": "move", "from": from, "path": path }),
        6 => json!({ "op": "copy", "from": from, "path": path }),
        _ => json!({ "op": "test", "path": path, "value": value(input, 2)? }),
    })
}

fn pointer(input: &mut Unstructured<'_>) -> Result<String> {
    const TOKENS: [&str; 11] = ["a", "b", "", "ä~1~0 \"", "deep", "list", "0", "1", "2", "-", "01"];
    let mut pointer = String::new();
    for _ in 0..input.int_in_range(0..=3)? {
        pointer.push('/');
        pointer.push_str(input.choose(&TOKENS)?);
    }
    Ok(pointer)
}

fn value(input: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    Ok(match input.int_in_range(0..=if depth > 0 { 11u8 } else { 5 })? {
        0..=1 => Value::Null,
        2 => input.int_in_range(-1..=3i64)?.into(),
        3 => json!(*input.choose(&[0.5, -1.25])?),
        4 => (*input.choose(&[
            "",
            "x",
            "\"\\\n",
            "ä",
            "a longer one, so that a delta is worth its while",
        ])?)
        .into(),
        5 => input.arbitrary::<bool>()?.into(),
        6..=7 => {
            let count = input.int_in_range(0..=3)?;
            (0..count).map(|_| value(input, depth - 1)).collect::<Result<_>>()?
        }
        _ => {
            let mut names = BTreeSet::new();
            let count = input.int_in_range(0..=4)?;
            for _ in 0..count {
                names.insert(*input.choose(&NAMES)?);
            }
            let members =
                names.into_iter().map(|name| Ok((name.to_owned(), value(input, depth - 1)?)));
            Value::Object(members.collect::<Result<_>>()?)
        }
    })
}
