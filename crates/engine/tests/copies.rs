//! Copies of large values in steps: whatever is written meanwhile, a copy is the value at the time
//! of its last step, to the byte.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use halfping_engine::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A write between two steps: a merge patch at `/queue`, or a new value for all of it.
fn churn() -> impl Strategy<Value = Value> {
    let leaf = || {
        prop_oneof![
            Just(Value::Null),
            (0..9).prop_map(Value::from),
            "[a-z]{0,60}".prop_map(Value::from)
        ]
    };
    let name = |n: usize| format!("m{n}");
    prop_oneof![
        6 => (0usize..60, leaf()).prop_map(move |(m, v)| json!({ "queue": { (name(m)): v } })),
        6 => (0usize..4, 0usize..40, leaf()).prop_map(move |(m, n, v)| json!({ "queue": { (name(m)): { (name(n)): v } } })),
        4 => (0usize..60).prop_map(move |m| json!({ "queue": { (name(m)): null } })),
        1 => (0usize..60, 1usize..50).prop_map(move |(m, n)| {
            let gone: Value = (m..m + n).map(|m| (name(m), Value::Null)).collect();
            json!({ "queue": gone })
        }),
        1 => Just(json!({ "queue": 7 })),
        1 => Just(json!({ "queue": null })),
        1 => (0i64..9).prop_map(|n| json!({ "beside": n })),
    ]
}

fn merge(engine: &mut Engine, patch: &Value) {
    let json = Json::parse(patch.to_string().as_bytes(), engine.limits()).unwrap();
    let write =
        Write { path: Path::ROOT, action: Action::Merge(json), condition: Condition::default() };
    engine.commit(&[write], Timestamp(1)).unwrap();
    engine.take_woken();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_is_the_value_as_it_is_when_it_is_done(
        before in proptest::collection::vec(churn(), 0..80),
        meanwhile in proptest::collection::vec(churn(), 0..60),
        step_bytes in prop_oneof![Just(100usize), Just(400), Just(2000)],
        tombstones_per_object in prop_oneof![Just(0usize), Just(3), Just(1024)],
        walk_notes_bytes in prop_oneof![4 => Just(16usize << 20), 1 => Just(300)],
        depth in prop_oneof![3 => Just(u32::MAX), 1 => 0u32..4],
        path in prop_oneof![Just("/"), Just("/queue"), Just("/queue/m1")],
    ) {
        let limits = Limits::default().with(|limits| {
limits.tombstones_per_object = tombstones_per_object;
limits.walk_notes_bytes = walk_notes_bytes;
});
        let mut engine = Engine::new(limits, Epoch::from_random(1), Timestamp(0));
        before.iter().for_each(|patch| merge(&mut engine, patch));
        let path = Path::parse(path, engine.limits()).unwrap();
        let (now, at_once) = match engine.read_in_steps_of(&path, depth, None, step_bytes).unwrap() {
            Read::Now(reading) => (reading, engine.read(&path, depth).unwrap()),
            Read::InSteps(mut copying) => {
                let mut meanwhile = meanwhile.iter();
                let copied = loop {
                    if let Some(copied) = engine.copy_on(&mut copying).unwrap() {
                        break copied;
                    }
                    if let Some(patch) = meanwhile.next() {
                        merge(&mut engine, patch);
                    }
                };
                drop(engine.end_copy(copying));
                (copied.into_reading(), engine.read(&path, depth).unwrap())
            }
        };
        prop_assert_eq!(now.value.map(|v| String::from_utf8(v.to_vec()).unwrap()), at_once.value.map(|v| String::from_utf8(v.to_vec()).unwrap()));
        prop_assert_eq!((now.revision, now.time), (at_once.revision, at_once.time));
        prop_assert_eq!(engine.stats().walk_notes_bytes, 0);
    }
}

#[test]
fn a_copy_ends_although_much_is_written_after_each_step() {
    let mut engine = Engine::new(
        Limits::default().with(|limits| {
            limits.tombstones_per_object = 50;
        }),
        Epoch::from_random(1),
        Timestamp(0),
    );
    let stay: Value = (0..2000).map(|i| (format!("s{i}"), json!("x".repeat(100)))).collect();
    merge(&mut engine, &json!({ "queue": stay }));
    let Read::InSteps(mut copying) =
        engine.read_in_steps_of(&Path::ROOT, u32::MAX, None, 8000).unwrap()
    else {
        panic!("200 kB are not small");
    };
    let mut steps = 1;
    let copied = loop {
        if let Some(copied) = engine.copy_on(&mut copying).unwrap() {
            break copied;
        }
        steps += 1;
        let come = (0..20).map(|i| (format!("q{steps}-{i}"), json!(steps)));
        let go = (0..20).map(|i| (format!("q{}-{i}", steps - 5), Value::Null));
        let churn: Value = come.chain(go).collect();
        merge(&mut engine, &json!({ "queue": churn }));
    };
    drop(engine.end_copy(copying));
    assert!(steps <= 100, "{steps} steps, where 50 are enough at rest");
    assert_eq!(copied.into_reading().value, engine.read(&Path::ROOT, u32::MAX).unwrap().value);
}

#[test]
fn a_copy_ends_although_more_has_changed_than_one_step_can_look_at() {
    let mut engine = Engine::new(Limits::default(), Epoch::from_random(1), Timestamp(0));
    let members = |n: i64, range: std::ops::Range<i64>| -> Value {
        range.map(|i| (format!("m{i}"), json!(n))).collect()
    };
    merge(&mut engine, &json!({ "queue": members(0, 0..2000) }));
    let path = Path::parse("/queue", engine.limits()).unwrap();
    // A step looks at 500 slots at most.
    let Read::InSteps(mut copying) = engine.read_in_steps_of(&path, u32::MAX, None, 2000).unwrap()
    else {
        panic!("20 kB are not small");
    };
    for n in 1.. {
        assert!(engine.copy_on(&mut copying).unwrap().is_none(), "it has not been copied once");
        if n == 60 {
            break;
        }
    }
    // All of it changes while the copy is in progress, in commits that are each smaller than a
    // step.
    for n in 0..20 {
        merge(&mut engine, &json!({ "queue": members(n + 1, n * 100..n * 100 + 100) }));
    }
    let mut steps = 0;
    let copied = loop {
        if let Some(copied) = engine.copy_on(&mut copying).unwrap() {
            break copied;
        }
        steps += 1;
        assert!(steps < 500, "no end of steps");
    };
    drop(engine.end_copy(copying));
    assert_eq!(copied.into_reading().value, engine.read(&path, u32::MAX).unwrap().value);
}

#[test]
fn what_grows_too_large_meanwhile_is_refused() {
    let limits = Limits::default().with(|limits| {
        limits.value_bytes = 30_000;
    });
    let mut engine = Engine::new(limits, Epoch::from_random(1), Timestamp(0));
    let many: Value = (0..200).map(|i| (format!("s{i}"), json!("x".repeat(100)))).collect();
    merge(&mut engine, &json!({ "queue": many }));
    let Read::InSteps(mut copying) =
        engine.read_in_steps_of(&Path::ROOT, u32::MAX, None, 1000).unwrap()
    else {
        panic!("20 kB are not small");
    };
    assert!(engine.copy_on(&mut copying).unwrap().is_none());
    let more: Value = (0..200).map(|i| (format!("t{i}"), json!("x".repeat(100)))).collect();
    merge(&mut engine, &json!({ "queue": more }));
    let refused = loop {
        match engine.copy_on(&mut copying) {
            Ok(done) => assert!(done.is_none()),
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refused, Refusal::Limit { limit: "value_bytes", .. }));
    drop(engine.end_copy(copying));
}
