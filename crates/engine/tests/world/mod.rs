//! The world of the oracles for views: an engine, all states that its tree had, and readers, who
//! are compared with a slow model of what they are to be shown.

use std::sync::Arc;

use halfping_engine::*;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::reader::apply;

/// A model of what a reader is shown.
pub(crate) trait Model {
    /// The path that it watches.
    fn path(&self) -> Path;
    /// The view that it asks for.
    fn view(&self) -> Option<Arc<View>>;
    /// Levels of objects that it is shown.
    fn depth(&self) -> u32;
    /// The part of a root that it is shown; `None` where nothing is.
    fn of(&self, root: &Value) -> Option<Value>;
    /// The names that it is shown of a root, in order.
    fn names(&self, root: &Value) -> Vec<String>;
    /// True if the engine tells it member by member.
    fn has_members(&self) -> bool;
    /// True if its text has the members in order.
    fn is_ordered(&self) -> bool;
    /// Its name, where something goes wrong.
    fn text(&self) -> String;
}

pub(crate) const KEYS: [&str; 8] = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"];

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A merge patch at the collection.
    Merge(Value),
    /// A new value of a member.
    Put(usize, Value),
    /// A new value of the collection.
    Anew(Value),
    Delete(usize),
    /// The collection goes.
    DeleteAll,
    /// Another value changes.
    Beside(i64),
}

pub(crate) fn field() -> impl Strategy<Value = (String, Value)> {
    let word = prop_oneof![Just("a"), Just("b"), Just("c")];
    prop_oneof![
        3 => word.clone().prop_map(|owner| ("owner".into(), json!(owner))),
        3 => (0i64..6).prop_map(|x| ("x".into(), json!(x))),
        2 => (0i64..9).prop_map(|y| ("y".into(), json!(y))),
        1 => (0i64..3).prop_map(|e| ("deep".into(), json!({ "e": e }))),
        1 => (0i64..3).prop_map(|f| ("deep".into(), json!({ "f": f }))),
        1 => Just(("deep".into(), json!(7))),
        1 => proptest::collection::vec(word, 0..3).prop_map(|list| ("list".into(), json!(list))),
        1 => Just(("x".into(), Value::Null)),
        1 => odd().prop_map(|x| ("x".into(), x)),
    ]
}

/// Values of other kinds, and numbers that are one double, for orders.
pub(crate) fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        Just(json!("b")),
        Just(json!("a\u{0}")),
        Just(json!([])),
        Just(json!({ "e": 1 })),
        Just(json!(-0.0)),
        Just(json!(2.5)),
        Just(json!(9_007_199_254_740_992u64)),
        Just(json!(9_007_199_254_740_993u64)),
    ]
}

pub(crate) fn member() -> impl Strategy<Value = Value> {
    let object = || {
        proptest::collection::vec(field(), 0..5)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
    };
    prop_oneof![9 => object(), 1 => Just(json!(3)), 1 => Just(Value::Null)]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let change = || {
        let gone = prop_oneof![Just("owner"), Just("x"), Just("deep"), Just("y")]
            .prop_map(|name| (name.to_owned(), Value::Null));
        proptest::collection::vec(prop_oneof![3 => field().boxed(), 1 => gone.boxed()], 1..3)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
    };
    let members = |some| proptest::collection::vec((0..KEYS.len(), some), 1..3);
    let object = |members: Vec<(usize, Value)>| -> Value {
        members.into_iter().map(|(key, value)| (KEYS[key].to_owned(), value)).collect()
    };
    prop_oneof![
        6 => members(change().boxed()).prop_map(object).prop_map(Step::Merge),
        4 => (0..KEYS.len(), member()).prop_map(|(key, value)| Step::Put(key, value)),
        3 => (0..KEYS.len()).prop_map(Step::Delete),
        1 => proptest::collection::vec((0..KEYS.len(), member()), 0..4).prop_map(object).prop_map(Step::Anew),
        1 => prop_oneof![2 => Just(Step::DeleteAll), 1 => Just(Step::Anew(json!(5)))],
        1 => (0i64..9).prop_map(Step::Beside),
    ]
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) history: Vec<(Revision, Value)>,
}

impl World {
    pub(crate) fn new(limits: Limits) -> World {
        let engine = Engine::new(limits, Epoch::from_random(1), Timestamp(0));
        let history = vec![(engine.revision(), json!({}))];
        World { engine, history }
    }

    pub(crate) fn perform(&mut self, step: &Step) {
        let path = Path::ROOT.child("c");
        let json =
            |value: &Value| Json::parse(value.to_string().as_bytes(), &Limits::default()).unwrap();
        let (path, action) = match step {
            Step::Merge(change) => (path, Action::Merge(json(change))),
            Step::Put(key, value) => (path.child(KEYS[*key]), Action::Put(json(value))),
            Step::Anew(value) => (path, Action::Put(json(value))),
            Step::Delete(key) => (path.child(KEYS[*key]), Action::Delete),
            Step::DeleteAll => (path, Action::Delete),
            Step::Beside(n) => (Path::ROOT.child("beside"), Action::Put(json(&json!(n)))),
        };
        let now = Timestamp(self.history.len() as u64);
        // What cannot be done is refused, and changes nothing.
        let _ = self.engine.commit(&[Write { path, action, condition: Condition::default() }], now);
        self.engine.take_woken();
        if self.engine.revision() != self.history.last().unwrap().0 {
            let root = self.engine.read(&Path::ROOT, u32::MAX).unwrap().value.unwrap();
            self.history.push((self.engine.revision(), serde_json::from_slice(&root).unwrap()));
        }
    }

    pub(crate) fn watch(&self, spec: &impl Model, since: Option<Revision>) -> Watch {
        Watch {
            since: since.map(|revision| self.engine.cursor(revision)),
            view: spec.view(),
            depth: spec.depth(),
            ..Watch::new(spec.path())
        }
    }

    pub(crate) fn open(&mut self, watch: &Watch) -> SessionId {
        let session = self.engine.open();
        self.engine.watch(session, 0, watch);
        self.engine.take_woken();
        session
    }

    /// Takes the next frame of a session, if this turn gets so far.
    pub(crate) fn turn(&mut self, session: SessionId, now: Tick) -> Option<Update> {
        let update = self.engine.next(session, now);
        self.engine.take_woken();
        update
    }

    /// Commits until no view is kept for who comes back. Returns the views and places that are
    /// left.
    pub(crate) fn outlast(&mut self) -> (usize, usize) {
        self.perform(&Step::Anew(json!({})));
        for n in 0..1000 {
            let stats = self.engine.stats();
            if (stats.views, stats.places) == (0, 0) {
                return (0, 0);
            }
            // Each condition is true of one of these.
            let x = [1, 5, 99][n % 3];
            let member = json!({ "owner": "a", "x": x, "y": n, "deep": { "e": 1 }, "list": ["a"] });
            self.perform(&Step::Put(n % KEYS.len(), member));
        }
        (self.engine.stats().views, self.engine.stats().places)
    }

    pub(crate) fn work(&mut self) {
        drop(self.engine.work());
        self.engine.take_woken();
    }

    /// Takes the next frame of a session, in as many turns as it needs.
    pub(crate) fn pull(&mut self, session: SessionId, now: Tick) -> Option<Update> {
        for _ in 0..100_000 {
            let update = self.engine.next(session, now);
            let is_woken = self.engine.take_woken().contains(&session);
            if update.is_some() {
                return update;
            }
            if !is_woken && !self.engine.has_work() {
                return None;
            }
            if !is_woken {
                self.work();
            }
        }
        panic!("no end of turns");
    }

    /// Reads a view once, with something else before each further step.
    pub(crate) fn copy(
        &mut self,
        spec: &impl Model,
        step_bytes: usize,
        mut meanwhile: impl FnMut(&mut World),
    ) -> Option<Vec<u8>> {
        let (path, view) = (spec.path(), spec.view());
        let read = self.engine.read_in_steps_of(&path, spec.depth(), view.as_ref(), step_bytes);
        let reading = match read.unwrap() {
            Read::Now(reading) => reading,
            Read::InSteps(mut copying) => loop {
                if let Some(copied) = self.engine.copy_on(&mut copying).unwrap() {
                    drop(self.engine.end_copy(copying));
                    break copied.into_reading();
                }
                meanwhile(self);
            },
        };
        reading.value.map(|body| body.to_vec())
    }

    pub(crate) fn told(&mut self, watch: &Watch) -> Vec<Arc<Frame>> {
        let session = self.open(watch);
        let mut frames = Vec::new();
        while let Some(update) = self.pull(session, Tick(0)) {
            frames.push(update.frame.unwrap());
            assert!(frames.len() < 10_000, "no end of frames");
        }
        self.engine.close(session);
        frames
    }

    /// Checks what is told since a revision, from its state and from all in between.
    pub(crate) fn check(&mut self, spec: &impl Model, since: usize) {
        let now = &self.history.last().unwrap().1;
        let (goal, names) = (spec.of(now), spec.names(now));
        let watch = self.watch(spec, Some(self.history[since].0));
        let frames = self.told(&watch);
        let views: Vec<Option<Value>> =
            self.history[since..].iter().map(|(_, root)| spec.of(root)).collect();
        for (between, view) in views.iter().enumerate() {
            let mut state = view.clone();
            frames.iter().for_each(|frame| apply(&mut state, frame, between == 0));
            let text = spec.text();
            assert_eq!(state, goal, "{text}, since {since}, from {between} on: {frames:?}");
        }
        // A value that takes more than one frame comes in the order of the collection.
        if let [frame] = &*frames
            && (spec.is_ordered(), frame.kind) == (true, Kind::Snapshot)
            && frame.body.starts_with(b"{")
        {
            assert_eq!(names_in_order(&frame.body), names, "{}: {frames:?}", spec.text());
        }
        // A member that was not shown since then is not named.
        let is_shown = |name: &str| views.iter().flatten().any(|view| view.get(name).is_some());
        for frame in frames.iter().filter(|_| spec.has_members()) {
            for name in named(frame) {
                assert!(is_shown(&name), "{name} is told and was never shown: {frames:?}");
            }
        }
    }
}

/// A reader that is told what changes.
pub(crate) struct Reader {
    pub(crate) session: SessionId,
    pub(crate) state: Option<Value>,
    /// The last state that was complete.
    pub(crate) complete: Option<(Revision, Option<Value>)>,
}

impl Reader {
    pub(crate) fn new(session: SessionId) -> Reader {
        Reader { session, state: None, complete: None }
    }

    pub(crate) fn resume(&mut self, session: SessionId) {
        self.session = session;
        self.state = self.complete.as_ref().and_then(|(_, state)| state.clone());
    }

    pub(crate) fn take(
        &mut self,
        update: Update,
        spec: &impl Model,
        history: &[(Revision, Value)],
    ) {
        let frame = update.frame.unwrap();
        apply(&mut self.state, &frame, true);
        let Some(revision) = frame.revision else { return };
        let (_, root) = history.iter().rfind(|(known, _)| *known <= revision).unwrap();
        assert_eq!(self.state, spec.of(root), "{} at {revision:?}", spec.text());
        self.complete = Some((revision, self.state.clone()));
    }
}

/// The members that a change names.
pub(crate) fn named(frame: &Frame) -> Vec<String> {
    let body: Value = serde_json::from_slice(&frame.body).unwrap();
    match (frame.kind, body) {
        (Kind::Merge, Value::Object(members)) => members.keys().cloned().collect(),
        (Kind::Patch, Value::Array(operations)) => {
            let path = |operation: &Value| operation["path"].as_str().unwrap().to_owned();
            let paths = operations.iter().map(path);
            paths.filter_map(|path| path.split('/').nth(1).map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

/// Performs steps, while somebody looks now and then, so that lenses come and go; then checks what
/// is told from each state that there was. `meanwhile`: something else that goes on.
pub(crate) fn tell_from_every_state(
    world: &mut World,
    spec: &impl Model,
    steps: &[(Step, u8)],
    mut meanwhile: impl FnMut(&mut World),
) {
    let mut looker: Option<SessionId> = None;
    for (step, look) in steps {
        match (look, looker) {
            (0..=3, None) => {
                let watch = world.watch(spec, None);
                looker = Some(world.open(&watch));
            }
            (3, Some(session)) => {
                world.engine.close(session);
                looker = None;
            }
            (4..=6, Some(session)) => while world.turn(session, Tick(0)).is_some() {},
            (7, Some(session)) => while world.pull(session, Tick(0)).is_some() {},
            (8, _) => meanwhile(world),
            _ => {}
        }
        world.perform(step);
    }
    for since in 0..world.history.len() {
        world.check(spec, since);
    }
    looker.into_iter().for_each(|session| world.engine.close(session));
}

/// Follows steps with one reader for each model, whose state is compared whenever it is complete.
/// Each step says how often which reader is told something, and what else happens.
pub(crate) fn follow_live(
    world: &mut World,
    specs: &[impl Model],
    watch: impl Fn(&World, usize, Option<Revision>) -> Watch,
    steps: &[(Step, u8, usize, u8)],
) {
    let mut readers: Vec<Reader> = Vec::new();
    for i in 0..specs.len() {
        let watch = watch(world, i, None);
        readers.push(Reader::new(world.open(&watch)));
    }
    for (now, (step, pulls, i, other)) in steps.iter().enumerate() {
        let now = Tick(now as u64);
        world.perform(step);
        match other {
            // Cut off, and back with the state that was complete.
            0 => {
                let reader = &mut readers[*i];
                world.engine.close(reader.session);
                let watch = watch(world, *i, reader.complete.as_ref().map(|(at, _)| *at));
                reader.resume(world.open(&watch));
            }
            1 => {
                while world.engine.has_work() {
                    world.work();
                }
            }
            _ => {}
        }
        for _ in 0..*pulls {
            if let Some(update) = world.turn(readers[*i].session, now) {
                readers[*i].take(update, &specs[*i], &world.history);
            }
        }
    }
    for (reader, spec) in readers.iter_mut().zip(specs) {
        while let Some(update) = world.pull(reader.session, Tick(1000)) {
            reader.take(update, spec, &world.history);
        }
    }
    for (reader, spec) in readers.iter().zip(specs) {
        let now = &world.history.last().unwrap().1;
        assert!(world.engine.is_synced(reader.session));
        assert_eq!(reader.state, spec.of(now), "{}", spec.text());
        world.engine.close(reader.session);
    }
    assert_eq!(world.engine.stats().views, 0);
    assert_eq!(world.outlast(), (0, 0));
    assert_eq!(world.engine.stats().places_bytes, 0);
}

/// Copies what a model asks for in steps, with one of these before each further step, and checks
/// that it is what it is when it is done.
pub(crate) fn copy_meanwhile(
    world: &mut World,
    spec: &impl Model,
    before: &[Step],
    meanwhile: &[Step],
    step_bytes: usize,
) -> Option<Vec<u8>> {
    before.iter().for_each(|step| world.perform(step));
    let mut meanwhile = meanwhile.iter();
    let reading = world.copy(spec, step_bytes, |world| {
        if let Some(step) = meanwhile.next() {
            world.perform(step);
        }
    });
    let value = reading.as_ref().map(|body| serde_json::from_slice(body).unwrap());
    let now = &world.history.last().unwrap().1;
    assert_eq!(value, spec.of(now), "{}", spec.text());
    reading
}

/// The names of an object's members as they come in its text.
pub(crate) fn names_in_order(text: &[u8]) -> Vec<String> {
    struct InOrder(Vec<String>);
    impl<'de> serde::de::Visitor<'de> for InOrder {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(
            mut self,
            mut members: A,
        ) -> Result<Vec<String>, A::Error> {
            while let Some((name, _)) = members.next_entry::<String, serde::de::IgnoredAny>()? {
                self.0.push(name);
            }
            Ok(self.0)
        }
    }
    let mut text = serde_json::Deserializer::from_slice(text);
    serde::Deserializer::deserialize_map(&mut text, InOrder(Vec::new())).unwrap()
}
