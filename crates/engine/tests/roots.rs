//! Roots beside the tree, as the server's own state is: no part of it, and histories of their own.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use halfping_engine::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const EPOCH: u64 = 7;
const OWN_EPOCH: u64 = 8;

fn path(text: &str) -> Path {
    Path::parse(text, &Limits::default()).unwrap()
}

fn body(value: &Value) -> Json {
    Json::parse(value.to_string().as_bytes(), &Limits::default()).unwrap()
}

fn put(at: &str, value: &Value) -> [Write; 1] {
    [Write { path: path(at), action: Action::Put(body(value)), condition: Condition::default() }]
}

fn engine(regions: &[&str]) -> Engine {
    let limits = Limits::default().with(|limits| {
        limits.tombstones_per_object = 4;
        limits.slice_bytes = 200;
    });
    let patterns = regions.iter().map(|text| Pattern::parse(text, &limits).unwrap()).collect();
    let restoring = Restoring::new(limits, Epoch::from_random(EPOCH), Timestamp(0));
    restoring.finish(Regions::new(patterns))
}

fn read(engine: &Engine, at: &str) -> Option<Value> {
    let value = engine.read(&path(at), u32::MAX).unwrap().value?;
    Some(serde_json::from_slice(&value).unwrap())
}

fn apply(state: &mut Option<Value>, frame: &Frame) {
    let body: Value = serde_json::from_slice(&frame.body).unwrap();
    match frame.kind {
        Kind::Snapshot => *state = Some(body),
        Kind::Gone => *state = None,
        Kind::Merge => json_patch::merge(state.as_mut().unwrap(), &body),
        Kind::Patch => {
            let patch: json_patch::Patch = serde_json::from_value(body).unwrap();
            json_patch::patch(state.as_mut().unwrap(), &patch).unwrap();
        }
    }
}

fn small() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![(0u8..4).prop_map(Value::from), Just(Value::Null), Just(json!("x".repeat(60)))];
    let members = |inner| {
        proptest::collection::btree_map("[a-e]", inner, 0..5)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    };
    members(prop_oneof![leaf.clone(), members(leaf.boxed())].boxed())
}

#[derive(Clone, Debug)]
enum Step {
    Own(Value),
    /// A write to a durable region (true) or an ephemeral one.
    Write(bool, Value),
    /// The waiting writes become durable (true), or are given up.
    Settle(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => small().prop_map(Step::Own),
        3 => (any::<bool>(), small()).prop_map(|(durable, value)| Step::Write(durable, value)),
        2 => prop::bool::weighted(0.9).prop_map(Step::Settle),
    ]
}

fn add_own(engine: &mut Engine) -> RootId {
    engine.add_root("_server", Epoch::from_random(OWN_EPOCH), Timestamp(0))
}

fn commit_own(engine: &mut Engine, root: RootId, next: &Value, was: &Value, now: u64) {
    let change = body(next).over(&body(was)).expect("they differ");
    engine.commit_to(root, &change, Timestamp(now));
}

fn commit(engine: &mut Engine, at: &str, n: u64) -> Revision {
    engine.take_woken();
    engine.commit(&put(at, &json!(n)), Timestamp(n)).unwrap();
    engine.take_woken();
    engine.revision()
}

/// Everything that a session is told until it has nothing more to say.
fn pull(
    engine: &mut Engine,
    session: SessionId,
    now: u64,
) -> Vec<(u32, Kind, Option<Cursor>, Value)> {
    let mut told = Vec::new();
    engine.take_woken();
    while let Some(Update { tag, frame, .. }) = engine.next(session, Tick(now)) {
        let frame = frame.unwrap();
        told.push((tag, frame.kind, frame.cursor(), serde_json::from_slice(&frame.body).unwrap()));
    }
    told
}

fn resume(at: &str, since: Cursor) -> Watch {
    Watch { since: Some(since), ..Watch::new(path(at)) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn it_is_beside_the_tree_and_no_part_of_it(
        steps in proptest::collection::vec(step(), 1..40),
        has_regions: bool,
        room in 0u64..4,
    ) {
        let mut engine = engine(if has_regions { &["/e"] } else { &[] });
        let root = add_own(&mut engine);
        engine.leave_room(room);
        let (root_reader, own_reader) = (engine.open(), engine.open());
        engine.watch(root_reader, 0, &Watch::new(Path::ROOT));
        engine.watch(own_reader, 0, &Watch::new(path("/_server")));
        let mut history = Vec::new();
        let mut own = json!({});
        let (mut tree_mirror, mut own_mirror) = (None, None);
        for (i, step) in steps.into_iter().enumerate() {
            for (session, mirror) in [(root_reader, &mut tree_mirror), (own_reader, &mut own_mirror)] {
                while let Some(update) = engine.next(session, Tick(0)) {
                    apply(mirror, &update.frame.unwrap());
                }
            }
            engine.take_woken();
            let now = Timestamp(i as u64);
            let (revision, tree) = (engine.revision(), engine.read(&Path::ROOT, u32::MAX).unwrap());
            let of_own = engine.metadata(&path("/_server")).cursor();
            prop_assert_eq!(of_own.epoch, Epoch::from_random(OWN_EPOCH));
            match step {
                Step::Own(next) if next == own => continue,
                Step::Own(next) => {
                    let stats = engine.stats();
                    commit_own(&mut engine, root, &next, &own, i as u64);
                    own = next;
                    prop_assert_eq!(engine.take_woken(), vec![own_reader]);
                    let after = engine.stats();
                    prop_assert_eq!((stats.tree_bytes, stats.tombstones), (after.tree_bytes, after.tombstones));
                    let now_at = engine.metadata(&path("/_server")).cursor();
                    prop_assert_eq!(now_at.revision, of_own.revision.next());
                    prop_assert_eq!(engine.revision(), revision);
                    let read = engine.read(&Path::ROOT, u32::MAX).unwrap();
                    prop_assert_eq!((read.value, read.revision), (tree.value, tree.revision));
                }
                Step::Write(durable, value) => {
                    engine.submit(&put(if durable { "/d" } else { "/e" }, &value), now);
                }
                Step::Settle(works) => {
                    let before = engine.revision();
                    if let Some(batch) = engine.take_batch() {
                        // Nothing is left free where nothing is ephemeral.
                        let is_next = batch.first == Revision::NONE || batch.first == before.next();
                        prop_assert!(is_next || has_regions, "{:?} after {:?}", batch.first, before);
                        if works {
                            drop(engine.settle());
                        } else {
                            engine.abandon();
                        }
                    }
                }
            }
            prop_assert!(!engine.take_woken().contains(&own_reader));
            prop_assert_eq!(engine.metadata(&path("/_server")).epoch, Epoch::from_random(OWN_EPOCH));
            prop_assert_eq!(read(&engine, "/_server"), Some(own.clone()));
            prop_assert!(read(&engine, "/").unwrap().get("_server").is_none());
            let own_cursor = engine.metadata(&path("/_server")).cursor();
            let root = read(&engine, "/").unwrap();
            history.push((engine.revision(), own_cursor, root, own.clone()));
        }
        for (session, mirror, at) in [
            (root_reader, &mut tree_mirror, "/"),
            (own_reader, &mut own_mirror, "/_server"),
        ] {
            while let Some(update) = engine.next(session, Tick(0)) {
                apply(mirror, &update.frame.unwrap());
            }
            prop_assert_eq!(&*mirror, &read(&engine, at));
        }
        for (revision, own_cursor, root, own) in &history {
            let of_tree = Cursor { epoch: Epoch::from_random(EPOCH), revision: *revision };
            for since in [of_tree, *own_cursor] {
                for (at, had) in [
                    ("/", Some(root.clone())),
                    ("/d", root.get("d").cloned()),
                    ("/_server", Some(own.clone())),
                    ("/_server/a", own.get("a").cloned()),
                ] {
                    let session = engine.open();
                    engine.watch(session, 0, &resume(at, since));
                    engine.take_woken();
                    let resumes = since == of_tree && !at.starts_with("/_server");
                    let mut state = had.filter(|_| resumes);
                    let mut is_first = true;
                    while let Some(update) = engine.next(session, Tick(0)) {
                        let frame = update.frame.unwrap();
                        let is_whole = matches!(frame.kind, Kind::Snapshot | Kind::Gone);
                        prop_assert!(resumes || !is_first || is_whole, "{:?} of {}", frame.kind, at);
                        is_first = false;
                        apply(&mut state, &frame);
                    }
                    prop_assert!(resumes || !is_first, "{} is sent whole", at);
                    engine.close(session);
                    prop_assert_eq!(state, read(&engine, at), "{} since {:?}", at, since);
                }
            }
        }
    }
}

#[test]
fn a_cursor_of_one_root_names_no_state_of_another() {
    let mut engine = engine(&[]);
    let root = add_own(&mut engine);
    commit_own(&mut engine, root, &json!({ "n": 1 }), &json!({}), 1);
    commit(&mut engine, "/a", 1);
    let (own, tree) =
        (engine.metadata(&path("/_server")).cursor(), engine.metadata(&path("/a")).cursor());
    assert_eq!(own.revision, tree.revision, "the numbers alone do not tell them apart");
    for (cursor, other) in [(own, tree), (tree, own)] {
        assert!(engine.is_among(&[cursor], cursor) && !engine.is_among(&[other], cursor));
    }
    let with = |cursor| Condition { is: Some(States::These(vec![cursor])), ..Condition::default() };
    let write = |cursor| Write {
        path: path("/a"),
        action: Action::Put(body(&json!(2))),
        condition: with(cursor),
    };
    assert!(matches!(engine.commit(&[write(own)], Timestamp(2)), Err(Refusal::Precondition(_))));
    assert!(engine.commit(&[write(tree)], Timestamp(2)).is_ok());
    // One that is older than the last change does not match, as everywhere.
    commit_own(&mut engine, root, &json!({ "n": 2 }), &json!({ "n": 1 }), 3);
    assert!(!engine.is_among(&[own], engine.metadata(&path("/_server")).cursor()));
}

#[test]
fn a_session_resumes_the_tree_and_is_sent_the_rest_whole() {
    let mut engine = engine(&[]);
    let root = add_own(&mut engine);
    let own = json!({ "n": 1, "s": { "a": {} } });
    commit_own(&mut engine, root, &own, &json!({}), 1);
    commit(&mut engine, "/a/x", 1);
    let session = engine.open();
    engine.watch(session, 1, &Watch::new(path("/a")));
    engine.watch(session, 2, &Watch::new(path("/_server")));
    let told = pull(&mut engine, session, 0);
    assert_eq!((told[0].0, told[1].0), (1, 2));
    assert_eq!(told[0].2.map(|cursor| cursor.epoch), Some(Epoch::from_random(EPOCH)));
    assert_eq!(told[1].2.map(|cursor| cursor.epoch), Some(Epoch::from_random(OWN_EPOCH)));
    assert!(engine.is_synced(session));
    // While it lives, what differs is enough.
    let next = json!({ "n": 2, "s": { "a": {} } });
    commit_own(&mut engine, root, &next, &own, 2);
    let told = pull(&mut engine, session, 0);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, told[0].1, &told[0].3), (2, Kind::Merge, &json!({ "n": 2 })));
    let rev = engine.cursor(engine.resume_point(session));
    engine.close(session);
    commit(&mut engine, "/a/y", 2);
    let session = engine.open();
    engine.watch(session, 1, &resume("/a", rev));
    engine.watch(session, 2, &resume("/_server", rev));
    let told = pull(&mut engine, session, 0);
    assert_eq!((told[0].1, &told[0].3), (Kind::Merge, &json!({ "y": 2 })));
    assert_eq!((told[1].1, &told[1].3), (Kind::Snapshot, &next));
}

#[test]
fn a_waiting_link_beneath_another_root_does_not_hold_back_what_resumes_the_tree() {
    let mut engine = engine(&[]);
    let root = add_own(&mut engine);
    let session = engine.open();
    engine.watch(session, 1, &Watch::new(path("/a")));
    engine.watch(session, 2, &Watch { interval_ms: 1000, ..Watch::new(path("/_server")) });
    engine.watch(session, 3, &Watch { interval_ms: 500, ..Watch::new(path("/b")) });
    pull(&mut engine, session, 0);
    commit_own(&mut engine, root, &json!({ "n": 1 }), &json!({}), 1);
    let newest = commit(&mut engine, "/a", 1);
    assert_eq!(pull(&mut engine, session, 1).len(), 1);
    assert!(engine.is_synced(session) && engine.due(session) == Some(Tick(1000)), "it waits");
    assert_eq!(engine.resume_point(session), newest);
    // A link into the tree does hold it back.
    let held = commit(&mut engine, "/b", 1);
    commit(&mut engine, "/a", 2);
    pull(&mut engine, session, 2);
    assert_eq!(engine.resume_point(session).next(), held);
    pull(&mut engine, session, 500);
    assert_eq!(engine.resume_point(session), engine.revision());
    // Also when the one that waits is ended, or when its time has come.
    assert_eq!(pull(&mut engine, session, 1000).len(), 1);
    commit_own(&mut engine, root, &json!({ "n": 2 }), &json!({ "n": 1 }), 1);
    assert!(engine.unwatch(session, 2));
    assert_eq!((engine.due(session), engine.resume_point(session)), (None, engine.revision()));
}

#[test]
fn who_wants_only_news_is_told_nothing_of_what_is_there() {
    let mut engine = engine(&[]);
    let root = add_own(&mut engine);
    commit_own(&mut engine, root, &json!({ "n": 1 }), &json!({}), 1);
    commit(&mut engine, "/a", 1);
    let session = engine.open();
    for (tag, at) in [(1, "/a"), (2, "/_server"), (3, "/nothing"), (4, "/_server/nothing")] {
        engine.watch(session, tag, &Watch { from_now: true, ..Watch::new(path(at)) });
    }
    assert_eq!(pull(&mut engine, session, 0), []);
    commit_own(&mut engine, root, &json!({ "n": 2 }), &json!({ "n": 1 }), 2);
    let told = pull(&mut engine, session, 0);
    assert_eq!((told.len(), told[0].0, &told[0].3), (1, 2, &json!({ "n": 2 })));
    commit(&mut engine, "/nothing", 2);
    let told = pull(&mut engine, session, 0);
    assert_eq!((told.len(), told[0].0, &told[0].3), (1, 3, &json!(2)));
}

#[test]
fn several_roots_do_not_know_of_each_other() {
    let mut engine = engine(&[]);
    let (one, other) =
        (add_own(&mut engine), engine.add_root("_b", Epoch::from_random(9), Timestamp(0)));
    let (first, second) = (engine.open(), engine.open());
    engine.watch(first, 0, &Watch::new(path("/_server")));
    engine.watch(second, 0, &Watch::new(path("/_b/s")));
    assert!(engine.is_root_watched(one) && engine.is_root_watched(other));
    for session in [first, second] {
        pull(&mut engine, session, 0);
    }
    for n in 0..3 {
        let s = |n: usize| json!({ "s": n });
        let was = if n == 0 { json!({}) } else { s(n - 1) };
        commit_own(&mut engine, one, &s(n), &was, 1);
        assert_eq!(engine.take_woken(), [first]);
        pull(&mut engine, first, 0);
    }
    commit_own(&mut engine, other, &json!({ "s": 9 }), &json!({}), 1);
    assert_eq!(engine.take_woken(), [second]);
    let told = pull(&mut engine, second, 0);
    let cursor = Cursor { epoch: Epoch::from_random(9), revision: Revision(2) };
    assert_eq!((told[0].2, &told[0].3), (Some(cursor), &json!(9)));
    assert_eq!(engine.metadata(&path("/_server")).revision, Revision(4));
    assert_eq!(engine.revision(), Revision(1));
    engine.close(second);
    assert!(engine.is_root_watched(one) && !engine.is_root_watched(other));
}

#[test]
fn a_clock_that_is_set_back_is_followed_by_every_root() {
    // PROTOCOL S10
    let mut engine = engine(&[]);
    let root = add_own(&mut engine);
    commit_own(&mut engine, root, &json!({ "n": 1 }), &json!({}), 9000);
    commit(&mut engine, "/a", 50);
    assert_eq!(engine.read(&path("/_server"), 1).unwrap().time, Timestamp(50));
    assert_eq!(engine.read(&path("/a"), 1).unwrap().time, Timestamp(50));
    commit_own(&mut engine, root, &json!({ "n": 2 }), &json!({ "n": 1 }), 60);
    assert_eq!(engine.read(&path("/_server"), 1).unwrap().time, Timestamp(60));
    assert_eq!(engine.read(&path("/a"), 1).unwrap().time, Timestamp(50));
}

#[test]
fn who_is_behind_is_told_apart_and_for_how_long() {
    let mut engine = engine(&[]);
    let session = engine.open();
    let commit = |engine: &mut Engine, at: &str, n: u64, now: u64| {
        engine.commit(&put(at, &json!(n)), Timestamp(now)).unwrap();
        engine.take_woken();
    };
    engine.watch(session, 3, &Watch { depth: 2, ..Watch::new(path("/a b")) });
    engine.watch(
        session,
        4,
        &Watch { interval_ms: 50, priority: Priority::new(2).unwrap(), ..Watch::new(path("/c")) },
    );
    engine.take_woken();
    let standing = |engine: &Engine, now: u64| {
        let Standing { behind, age_ms, .. } = engine.standing(session, Timestamp(now)).unwrap();
        (behind, age_ms)
    };
    assert_eq!(standing(&engine, 5000), (true, 0), "a first state is as old as it is");
    while engine.next(session, Tick(0)).is_some() {}
    assert_eq!(standing(&engine, 5000), (false, 0));
    commit(&mut engine, "/a b", 1, 6000);
    commit(&mut engine, "/a b", 2, 7000);
    commit(&mut engine, "/c", 2, 6500);
    assert_eq!(standing(&engine, 7500), (true, 1500), "since the first of them, not the last");
    assert_eq!(
        standing(&engine, 100),
        (true, 0),
        "a clock that was set back makes nothing look old"
    );
    let mut links = engine.links_of(session, 10);
    links.sort_by_key(|link| link.tag);
    assert_eq!(
        (links[0].tag, &*links[0].path, links[0].depth, links[0].behind),
        (3, "/a%20b", Some(2), true)
    );
    let waits = (links[1].interval_ms, links[1].priority, links[1].depth, links[1].behind);
    assert_eq!(waits, (50, 2, None, false), "it waits because its reader wants it to");
    assert_eq!(engine.links_of(session, 1).len(), 1);
    while engine.next(session, Tick(1)).is_some() {}
    assert_eq!(standing(&engine, 7500), (false, 0));
    let Standing { links, frames, conflated, .. } = engine.standing(session, Timestamp(0)).unwrap();
    assert_eq!((links, frames, conflated), (2, 3, 1));
    engine.close(session);
    assert_eq!(engine.standing(session, Timestamp(0)), None);
}
