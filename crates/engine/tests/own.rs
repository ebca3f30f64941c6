//! The server's own state: beside the tree, in one sequence with it, and no part of it.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use halfping_engine::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const EPOCH: u64 = 7;

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
    let limits = Limits { tombstones_per_object: 4, slice_bytes: 200, ..Limits::default() };
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
    let leaf = prop_oneof![(0u8..4).prop_map(Value::from), Just(Value::Null), Just(json!("x".repeat(60)))];
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn it_is_in_one_sequence_with_the_tree_and_no_part_of_it(
        steps in proptest::collection::vec(step(), 1..40),
        has_regions: bool,
        room in 0u64..4,
    ) {
        let mut engine = engine(if has_regions { &["/e"] } else { &[] });
        engine.keep_own(false);
        engine.leave_room(room);
        let (root_reader, own_reader) = (engine.open(), engine.open());
        engine.watch(root_reader, 0, &Watch::new(Path::ROOT));
        engine.watch(own_reader, 0, &Watch::new(path("/_server")));
        let mut history = Vec::new();
        let (mut own, mut given) = (json!({}), Revision(0));
        for (i, step) in steps.into_iter().enumerate() {
            for session in [root_reader, own_reader] {
                while engine.next(session, Tick(0)).is_some() {}
            }
            engine.take_woken();
            let (now, before) = (Timestamp(i as u64), (engine.revision(), read(&engine, "/"), engine.read(&Path::ROOT, 0).unwrap()));
            match step {
                Step::Own(next) => {
                    let Some(change) = body(&next).over(&body(&own)) else {
                        prop_assert_eq!(&next, &own);
                        continue;
                    };
                    let stats = engine.stats();
                    if engine.commit_own(&change, now) {
                        own = next;
                        prop_assert!(engine.revision() > before.0);
                        prop_assert_eq!(engine.take_woken(), vec![own_reader]);
                    }
                    let after = engine.stats();
                    prop_assert_eq!((stats.tree_bytes, stats.tombstones), (after.tree_bytes, after.tombstones));
                    prop_assert_eq!(before.1, read(&engine, "/"));
                    prop_assert_eq!(before.2.revision, engine.read(&Path::ROOT, 0).unwrap().revision);
                }
                Step::Write(durable, value) => {
                    engine.submit(&put(if durable { "/d" } else { "/e" }, &value), now);
                }
                Step::Settle(works) => {
                    if let Some(batch) = engine.take_batch() {
                        // The batch on disk comes after every revision that a reader was told of.
                        prop_assert!(batch.first == Revision::NONE || batch.first > engine.revision());
                        if works {
 drop(engine.settle());
 } else {
 engine.abandon();
 }
                    }
                }
            }
            prop_assert!(!engine.take_woken().contains(&own_reader));
            prop_assert!(engine.revision() >= given);
            given = engine.revision();
            prop_assert_eq!(read(&engine, "/_server"), Some(own.clone()));
            prop_assert!(read(&engine, "/").unwrap().get("_server").is_none());
            history.push((given, read(&engine, "/").unwrap(), own.clone()));
        }
        for (revision, root, own) in &history {
            let since = Some(Cursor { epoch: Epoch::from_random(EPOCH), revision: *revision });
            for (at, had) in [("/", Some(root.clone())), ("/d", root.get("d").cloned()), ("/_server", Some(own.clone())), ("/_server/a", own.get("a").cloned())] {
                let session = engine.open();
                engine.watch(session, 0, &Watch { since, ..Watch::new(path(at)) });
                engine.take_woken();
                let mut state = had;
                while let Some(update) = engine.next(session, Tick(0)) {
                    apply(&mut state, &update.frame.unwrap());
                }
                engine.close(session);
                prop_assert_eq!(state, read(&engine, at), "{} since {:?}", at, revision);
            }
        }
    }
}

#[test]
fn it_waits_for_its_lease_and_for_room() {
    let mut engine = engine(&[]);
    engine.keep_own(true);
    let commit = |engine: &mut Engine, n: u64| engine.commit_own(&body(&json!({ "n": n })), Timestamp(n));
    assert!(!commit(&mut engine, 1), "nothing was promised yet");
    engine.lease_own(Revision(1000));
    assert!(commit(&mut engine, 1));
    assert_eq!(engine.submit(&put("/a", &json!(1)), Timestamp(0)), Submitted::Waits);
    let first = engine.take_batch().unwrap().first;
    let mut made = 0;
    while commit(&mut engine, 2 + made) {
        made += 1;
    }
    assert!((60..=64).contains(&made), "{made}, while the disk is at it");
    assert_eq!(engine.revision().next(), first);
    engine.settle();
    assert_eq!(engine.revision(), first);
    assert!(commit(&mut engine, 100));
    let mut n = 101;
    while commit(&mut engine, n) {
        n += 1;
    }
    assert_eq!(engine.revision(), Revision(1000), "and then it waits for another lease");
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
    assert_eq!(standing(&engine, 100), (true, 0), "a clock that was set back makes nothing look old");
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
