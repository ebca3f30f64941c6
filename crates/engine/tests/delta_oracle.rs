//! The oracle for deltas: for every pair of revisions r <= now, the frames of a link since r take
//! the value at r (and any value in between) to the value now. The crate `json-patch` applies
//! patches, not our own code.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod reader;

use halfping_engine::*;
use proptest::prelude::*;
use reader::{apply, cut};
use serde_json::Value;

const NAMES: [&str; 6] = ["a", "b", "", "ä/~ \"", "deep", "list"];

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<usize>, Value),
    Merge(Vec<usize>, Value),
    Delete(Vec<usize>),
    Patch(Vec<usize>, Value),
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        1 => Just(Value::Bool(true)),
        1 => (0i64..5).prop_map(Into::into),
        1 => "[a-cä\\\\\"\n]{0,16}".prop_map(Value::String),
        1 => proptest::collection::vec((0i64..3).prop_map(Value::from), 0..3).prop_map(Value::Array),
        1 => Just(serde_json::json!([{ "in": null }, []])),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 12, 4, |inner| {
        proptest::collection::btree_map(0..NAMES.len(), inner, 0..4).prop_map(|members| {
            members.into_iter().map(|(k, v)| (NAMES[k].to_owned(), v)).collect()
        })
    })
}

/// Names at the root are never empty: URLs have no empty names.
fn place() -> impl Strategy<Value = Vec<usize>> {
    (prop_oneof![Just(0usize), Just(1), Just(4)], proptest::collection::vec(0..NAMES.len(), 0..3))
        .prop_map(|(first, rest)| std::iter::once(first).chain(rest).collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (place(), value()).prop_map(|(p, v)| Step::Put(p, v)),
        3 => (place(), value()).prop_map(|(p, v)| Step::Merge(p, v)),
        3 => place().prop_map(Step::Delete),
        1 => (place(), value()).prop_map(|(p, v)| Step::Patch(p, v)),
    ]
}

fn pointer(place: &[usize]) -> String {
    place.iter().map(|n| format!("/{}", NAMES[*n].replace('~', "~0").replace('/', "~1"))).collect()
}

/// Writes through the root, so that empty names are reached too.
fn perform(engine: &mut Engine, step: &Step, now: u64) {
    let (op, place, value) = match step {
        Step::Put(place, value) => ("add", place, Some(value)),
        Step::Delete(place) => ("remove", place, None),
        Step::Patch(place, value) => ("replace", place, Some(value)),
        Step::Merge(place, value) => {
            let patch =
                place.iter().rev().fold(value.clone(), |v, n| serde_json::json!({ NAMES[*n]: v }));
            let json = Json::parse(patch.to_string().as_bytes(), engine.limits()).unwrap();
            commit(engine, Action::Merge(json), now);
            return;
        }
    };
    let mut operation = serde_json::json!({ "op": op, "path": pointer(place) });
    if let Some(value) = value {
        operation["value"] = value.clone();
    }
    let patch =
        Patch::parse(serde_json::json!([operation]).to_string().as_bytes(), engine.limits())
            .unwrap();
    commit(engine, Action::Patch(patch), now);
}

fn commit(engine: &mut Engine, action: Action, now: u64) {
    let write = Write { path: Path::ROOT, action, condition: Condition::default() };
    // A patch that cannot be applied is refused; the tree must then be unchanged, which the history
    // checks.
    let _ = engine.commit(&[write], Timestamp(now));
    engine.take_woken();
}

/// The value at a place, `depth` levels deep: the projection, done the slow way.
fn view(root: &Value, path: &[&str], depth: u32) -> Option<Value> {
    let mut value = root;
    for name in path {
        value = value.as_object()?.get(*name)?;
    }
    Some(cut(value, depth))
}

fn root(engine: &Engine) -> Value {
    serde_json::from_slice(&engine.read(&Path::ROOT, u32::MAX).unwrap().value.unwrap()).unwrap()
}

struct World {
    engine: Engine,
    /// The root at each revision.
    history: Vec<(Revision, Value)>,
}

impl World {
    fn new(limits: Limits) -> World {
        let engine = Engine::new(limits, Epoch::from_random(1), Timestamp(0));
        let history = vec![(engine.revision(), root(&engine))];
        World { engine, history }
    }

    fn perform(&mut self, step: &Step) {
        perform(&mut self.engine, step, self.history.len() as u64);
        let now = root(&self.engine);
        if self.engine.revision() == self.history.last().unwrap().0 {
            assert_eq!(now, self.history.last().unwrap().1, "a change without a revision");
        } else {
            assert_ne!(now, self.history.last().unwrap().1, "a revision without a change");
            self.history.push((self.engine.revision(), now));
        }
    }

    fn watch(&self, path: &[&str], since: Option<Revision>, depth: u32) -> Watch {
        let path = path.iter().fold(Path::ROOT, |p, name| p.child(name));
        Watch { since: since.map(|r| self.engine.cursor(r)), depth, ..Watch::new(path) }
    }

    /// All frames of a new link, from a cursor.
    fn told(&mut self, watch: &Watch) -> Vec<std::sync::Arc<Frame>> {
        let session = self.engine.open();
        self.engine.watch(session, 0, watch);
        self.engine.take_woken();
        let mut frames = Vec::new();
        while let Some(update) = self.engine.next(session, Tick(0)) {
            frames.push(update.frame.unwrap());
            assert!(frames.len() < 10_000, "no end of frames");
        }
        self.engine.close(session);
        frames
    }
}

const PATHS: [&[&str]; 5] = [&[], &["a"], &["a", "b"], &["deep", "deep"], &["b", "ä/~ \""]];

proptest! {
    #![proptest_config(ProptestConfig { cases: 12_000, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_delta_takes_any_earlier_state_to_the_state_now(
        steps in proptest::collection::vec(step(), 1..25),
        path in 0..PATHS.len(),
        since in any::<prop::sample::Index>(),
        between in any::<prop::sample::Index>(),
        depth in prop_oneof![3 => Just(u32::MAX), 1 => 0u32..4],
        slice_bytes in prop_oneof![2 => Just(1usize << 16), 1 => Just(48), 1 => Just(8)],
        tombstones_per_object in prop_oneof![Just(1024usize), Just(1), Just(0)],
    ) {
        let mut world = World::new(Limits::default().with(|limits| {
limits.slice_bytes = slice_bytes;
limits.tombstones_per_object = tombstones_per_object;
}));
        steps.iter().for_each(|step| world.perform(step));
        let since = since.index(world.history.len());
        let between = since + between.index(world.history.len() - since);
        let path = PATHS[path];
        let goal = view(&world.history.last().unwrap().1, path, depth);
        let (r, then) = world.history[since].clone();
        let frames = world.told(&world.watch(path, Some(r), depth));

        // Strict, from the state at the cursor.
        let mut state = view(&then, path, depth);
        frames.iter().for_each(|frame| apply(&mut state, frame, true));
        prop_assert_eq!(&state, &goal, "strict, since {:?}: {:?}", r, &frames);
        if let Some(last) = frames.last() {
            prop_assert!(last.revision.is_some(), "the last frame completes the state");
        }
        // Lenient, from a state in between.
        let mut state = view(&world.history[between].1, path, depth);
        frames.iter().for_each(|frame| apply(&mut state, frame, false));
        prop_assert_eq!(&state, &goal, "from between, since {:?}: {:?}", r, &frames);
        // From nothing.
        let frames = world.told(&world.watch(path, None, depth));
        let mut state = Some(serde_json::json!({ "stale": true }));
        frames.iter().for_each(|frame| apply(&mut state, frame, true));
        prop_assert_eq!(&state, &goal, "from nothing: {:?}", &frames);
        // From a cursor of the future: a snapshot, or `gone`.
        let future = Revision(world.engine.revision().0 + 1);
        let frames = world.told(&world.watch(path, Some(future), depth));
        prop_assert!(matches!(frames[0].kind, Kind::Snapshot | Kind::Gone));
    }

    #[test]
    fn live_readers_of_any_speed_hold_states_that_were(
        steps in proptest::collection::vec((step(), 0u8..4, 0u8..6), 1..40),
        slice_bytes in prop_oneof![2 => Just(1usize << 16), 1 => Just(24)],
        tombstones_per_object in prop_oneof![Just(1024usize), Just(2)],
    ) {
        let mut world = World::new(Limits::default().with(|limits| {
limits.slice_bytes = slice_bytes;
limits.tombstones_per_object = tombstones_per_object;
}));
        // Six readers; two of each place share encodings. Odd ones take whole values.
        let specs: Vec<Watch> = (0..6)
            .map(|i| Watch { whole: i % 2 == 1, ..world.watch(PATHS[i / 2], None, if i < 4 { u32::MAX } else { 1 }) })
            .collect();
        let readers: Vec<SessionId> = specs.iter().map(|_| world.engine.open()).collect();
        for (session, watch) in readers.iter().zip(&specs) {
            world.engine.watch(*session, 9, watch);
        }
        world.engine.take_woken();
        let mut states: Vec<Option<Value>> = vec![None; 6];
        let take = |world: &mut World, states: &mut Vec<Option<Value>>, reader: usize| {
            let Some(update) = world.engine.next(readers[reader], Tick(0)) else { return false };
            let frame = update.frame.unwrap();
            apply(&mut states[reader], &frame, true);
            if let Some(revision) = frame.revision {
                let at = world.history.iter().rfind(|(r, _)| *r <= revision).unwrap();
                let segments: Vec<&str> = specs[reader].path.segments().iter().map(|s| &**s).collect();
                assert_eq!(states[reader], view(&at.1, &segments, specs[reader].depth), "reader {reader} at {revision:?}");
            }
            true
        };
        for (step, pulls, reader) in &steps {
            world.perform(step);
            for _ in 0..*pulls {
                take(&mut world, &mut states, *reader as usize);
            }
        }
        for reader in 0..6 {
            while take(&mut world, &mut states, reader) {}
            let segments: Vec<&str> = specs[reader].path.segments().iter().map(|s| &**s).collect();
            prop_assert_eq!(&states[reader], &view(&world.history.last().unwrap().1, &segments, specs[reader].depth));
        }
    }

    #[test]
    fn large_objects_with_an_index_are_no_exception(
        steps in proptest::collection::vec((0usize..80, prop_oneof![2 => Just(None), 3 => leaf().prop_map(Some)]), 1..200),
        since in any::<prop::sample::Index>(),
        slice_bytes in prop_oneof![Just(1usize << 16), Just(64)],
        tombstones_per_object in prop_oneof![Just(1024usize), Just(5), Just(20)],
    ) {
        let mut world = World::new(Limits::default().with(|limits| {
limits.slice_bytes = slice_bytes;
limits.tombstones_per_object = tombstones_per_object;
}));
        let mut seen = Vec::new();
        for (i, (name, value)) in steps.iter().enumerate() {
            let path = Path::ROOT.child("large").child(&format!("member-{name}"));
            let action = match value {
                Some(value) => Action::Put(Json::parse(value.to_string().as_bytes(), &Limits::default()).unwrap()),
                None => Action::Delete,
            };
            let _ = world.engine.commit(&[Write { path, action, condition: Condition::default() }], Timestamp(i as u64));
            world.engine.take_woken();
            seen.push((world.engine.revision(), root(&world.engine)));
        }
        let (r, then) = seen[since.index(seen.len())].clone();
        let frames = world.told(&world.watch(&["large"], Some(r), u32::MAX));
        let mut state = view(&then, &["large"], u32::MAX);
        frames.iter().for_each(|frame| apply(&mut state, frame, true));
        prop_assert_eq!(state, view(&seen.last().unwrap().1, &["large"], u32::MAX), "since {:?}: {:?}", r, frames);
    }
}

#[test]
fn a_new_member_is_a_merge_and_not_a_snapshot() {
    let mut world = World::new(Limits::default());
    let members: Value = (0..100).map(|i| (format!("m{i}"), Value::from(i))).collect();
    world.perform(&Step::Put(vec![0], members));
    let r = world.engine.revision();
    world.perform(&Step::Put(vec![0, 1], serde_json::json!({ "deep": { "a": 1 } })));
    let frames = world.told(&world.watch(&["a"], Some(r), u32::MAX));
    assert_eq!((frames.len(), frames[0].kind), (1, Kind::Merge));
    assert_eq!(&frames[0].body[..], br#"{"b":{"deep":{"a":1}}}"#);
}

#[test]
fn a_written_null_and_an_object_made_anew_come_as_json_patch() {
    let mut world = World::new(Limits::default());
    let filler = "x".repeat(300);
    world.perform(&Step::Put(vec![0], serde_json::json!({ "filler": filler, "b": { "deep": 1 } })));
    let r = world.engine.revision();
    world.perform(&Step::Merge(vec![0], serde_json::json!({ "b": null })));
    world.perform(&Step::Put(vec![0, 1], serde_json::json!({ "list": 2 })));
    world.perform(&Step::Put(vec![0, 4], Value::Null));
    let frames = world.told(&world.watch(&["a"], Some(r), u32::MAX));
    assert_eq!((frames.len(), frames[0].kind), (1, Kind::Patch));
    let expected =
        r#"[{"op":"add","path":"/b","value":{"list":2}},{"op":"add","path":"/deep","value":null}]"#;
    assert_eq!(std::str::from_utf8(&frames[0].body), Ok(expected));
}

/// Writes to a busy collection: members of `queue`, members of its members, and all of it.
#[derive(Clone, Debug)]
enum Churn {
    Set(usize, Value),
    SetBeneath(usize, usize, Value),
    Remove(usize),
    RemoveBeneath(usize, usize),
    /// Many members at once, from this one on.
    RemoveMany(usize, usize),
    Anew(usize),
}

fn churn() -> impl Strategy<Value = Churn> {
    prop_oneof![
        6 => (0usize..60, leaf()).prop_map(|(m, v)| Churn::Set(m, v)),
        6 => (0usize..6, 0usize..40, leaf()).prop_map(|(m, n, v)| Churn::SetBeneath(m, n, v)),
        6 => (0usize..60).prop_map(Churn::Remove),
        6 => (0usize..6, 0usize..40).prop_map(|(m, n)| Churn::RemoveBeneath(m, n)),
        2 => (0usize..60, 1usize..50).prop_map(|(m, n)| Churn::RemoveMany(m, n)),
        1 => (0usize..20).prop_map(Churn::Anew),
    ]
}

fn write(churn: &Churn) -> Value {
    let name = |m: &usize| format!("m{m}");
    match churn {
        Churn::Set(m, value) => serde_json::json!({ name(m): value }),
        Churn::SetBeneath(m, n, value) => serde_json::json!({ name(m): { name(n): value } }),
        Churn::Remove(m) => serde_json::json!({ name(m): null }),
        Churn::RemoveBeneath(m, n) => serde_json::json!({ name(m): { name(n): null } }),
        Churn::RemoveMany(m, n) => (*m..m + n).map(|m| (name(&m), Value::Null)).collect(),
        Churn::Anew(n) => (0..*n).map(|n| (name(&n), serde_json::json!({ "n": n }))).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_of_slices_are_told_of_all_that_leaves_meanwhile(
        steps in proptest::collection::vec((churn(), 0u8..4, 0usize..6), 1..160),
        slice_bytes in prop_oneof![Just(24usize), Just(200), Just(1000)],
        tombstones_per_object in prop_oneof![Just(0usize), Just(1), Just(8), Just(1024)],
        walk_notes_bytes in prop_oneof![4 => Just(16usize << 20), 1 => Just(300)],
    ) {
        let mut world = World::new(Limits::default().with(|limits| {
limits.slice_bytes = slice_bytes;
limits.tombstones_per_object = tombstones_per_object;
limits.walk_notes_bytes = walk_notes_bytes;
}));
        let specs: [(&[&str], u32); 6] =
            [(&[], u32::MAX), (&["queue"], u32::MAX), (&["queue", "m1"], u32::MAX), (&[], 2), (&["queue"], 1), (&["queue"], 2)];
        let watches = specs.map(|(path, depth)| world.watch(path, None, depth));
        let readers: Vec<SessionId> = specs.iter().map(|_| world.engine.open()).collect();
        for (session, watch) in readers.iter().zip(&watches) {
            world.engine.watch(*session, 0, watch);
        }
        world.engine.take_woken();
        let mut states: Vec<Option<Value>> = vec![None; specs.len()];
        let take = |world: &mut World, states: &mut Vec<Option<Value>>, reader: usize| {
            let Some(update) = world.engine.next(readers[reader], Tick(0)) else { return false };
            let frame = update.frame.unwrap();
            apply(&mut states[reader], &frame, true);
            if let Some(revision) = frame.revision {
                let at = world.history.iter().rfind(|(r, _)| *r <= revision).unwrap();
                let (path, depth) = specs[reader];
                assert_eq!(states[reader], view(&at.1, path, depth), "reader {reader} at {revision:?}");
            }
            true
        };
        for (churn, pulls, reader) in &steps {
            let body = write(churn);
            let step = match churn {
                Churn::Anew(_) => serde_json::json!([{ "op": "add", "path": "/queue", "value": body }]),
                _ => Value::Null,
            };
            let now = world.history.len() as u64;
            if step.is_null() {
                let body = serde_json::json!({ "queue": body });
                commit(&mut world.engine, Action::Merge(Json::parse(body.to_string().as_bytes(), &Limits::default()).unwrap()), now);
            } else {
                commit(&mut world.engine, Action::Patch(Patch::parse(step.to_string().as_bytes(), &Limits::default()).unwrap()), now);
            }
            let value = root(&world.engine);
            if world.engine.revision() != world.history.last().unwrap().0 {
                world.history.push((world.engine.revision(), value));
            }
            for _ in 0..*pulls {
                take(&mut world, &mut states, *reader);
            }
        }
        for (reader, (path, depth)) in specs.iter().enumerate() {
            let mut frames = 0;
            while take(&mut world, &mut states, reader) {
                frames += 1;
                prop_assert!(frames < 20_000, "no end of frames");
            }
            prop_assert_eq!(&states[reader], &view(&world.history.last().unwrap().1, path, *depth), "reader {}", reader);
        }
    }
}

/// The next frame of a session that has one.
fn next_frame(world: &mut World, session: SessionId) -> std::sync::Arc<Frame> {
    // A turn may end after many members are looked at; the next one continues.
    let next = world.engine.next(session, Tick(0)).or_else(|| {
        assert_eq!(world.engine.take_woken().len(), 1, "it is woken to go on");
        world.engine.next(session, Tick(0))
    });
    next.unwrap().frame.unwrap()
}

/// Frames that a slow reader takes until it is in step with a collection that never rests: 40
/// members change for each frame.
fn frames_until_synced(path: &[&str], limits: Limits, common_names: bool) -> usize {
    let mut world = World::new(limits);
    let filler = "x".repeat(100);
    let members: Value =
        (0..2000).map(|i| (format!("m{i}"), Value::from(filler.clone()))).collect();
    let all = serde_json::json!({ "before": 1, "queue": members, "behind": 2 });
    commit(
        &mut world.engine,
        Action::Merge(Json::parse(all.to_string().as_bytes(), &Limits::default()).unwrap()),
        0,
    );
    let session = world.engine.open();
    let watch = world.watch(path, None, u32::MAX);
    world.engine.watch(session, 0, &watch);
    world.engine.take_woken();
    let mut state = None;
    let name = |turn: usize, i: usize| match common_names {
        // A few hundred names that come back again and again.
        true => format!("q{}", (turn * 20 + i) % 600),
        false => format!("q{turn}-{i}"),
    };
    for turn in 0..1000 {
        // Not an object in place of another, which a merge patch cannot express.
        let value =
            if common_names { serde_json::json!(turn) } else { serde_json::json!({ "n": turn }) };
        let comes = (0..20).map(|i| (name(turn, i), value.clone()));
        let goes = (0..20).filter_map(|i| Some((name(turn.checked_sub(5)?, i), Value::Null)));
        let body: Value = comes.chain(goes).collect();
        let body = serde_json::json!({ "queue": body }).to_string();
        commit(
            &mut world.engine,
            Action::Merge(Json::parse(body.as_bytes(), &Limits::default()).unwrap()),
            1,
        );
        let frame = next_frame(&mut world, session);
        apply(&mut state, &frame, true);
        if frame.revision.is_some() {
            assert_eq!(state, view(&root(&world.engine), path, u32::MAX));
            return turn + 1;
        }
    }
    usize::MAX
}

#[test]
fn a_slow_reader_of_a_queue_is_in_step_after_twice_the_frames_that_it_needs_at_rest() {
    for tombstones_per_object in [0, 50, 1024] {
        for path in [&["queue"][..], &[]] {
            for common_names in [false, true] {
                let limits = Limits::default().with(|limits| {
                    limits.tombstones_per_object = tombstones_per_object;
                    limits.slice_bytes = 4096;
                });
                // 2,000 members of 113 bytes are 56 frames of 4,096.
                let frames = frames_until_synced(path, limits, common_names);
                assert!(
                    frames <= 112,
                    "{frames} with {tombstones_per_object}, {path:?}, {common_names}"
                );
            }
        }
    }
}

#[test]
fn a_slow_reader_of_what_is_overwritten_again_and_again_is_in_step_at_last() {
    let limits = Limits::default().with(|limits| {
        limits.slice_bytes = 1024;
    });
    let mut world = World::new(limits);
    // Ten slices, all of which change between two frames.
    let write = |world: &mut World, n: u64| {
        let members: Value =
            (0..100).map(|i| (format!("m{i}"), Value::from(format!("{n:080}")))).collect();
        let body = serde_json::json!({ "o": members }).to_string();
        let json = Json::parse(body.as_bytes(), &Limits::default()).unwrap();
        commit(&mut world.engine, Action::Merge(json), n);
    };
    write(&mut world, 0);
    let session = world.engine.open();
    let watch = world.watch(&["o"], None, u32::MAX);
    world.engine.watch(session, 0, &watch);
    world.engine.take_woken();
    let mut state = None;
    for n in 1..200 {
        write(&mut world, n);
        let frame = next_frame(&mut world, session);
        apply(&mut state, &frame, true);
        if frame.revision.is_some() {
            assert_eq!(state, view(&root(&world.engine), &["o"], u32::MAX));
            return;
        }
    }
    panic!("not in step after 200 frames");
}

#[test]
fn who_missed_a_note_begins_anew() {
    let limits = Limits::default().with(|limits| {
        limits.tombstones_per_object = 0;
        limits.slice_bytes = 4096;
        limits.walk_notes_bytes = 1;
    });
    assert_eq!(frames_until_synced(&["queue"], limits, false), usize::MAX);
}
