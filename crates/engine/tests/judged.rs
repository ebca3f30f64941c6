//! Judges of writes: they are shown all that a write changes, before and after.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use halfping_engine::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

type Names = Vec<String>;

/// A judge who notes what it is shown, and agrees or does not.
#[derive(Debug, Default)]
struct Witness {
    shown: Mutex<BTreeSet<Names>>,
    unchanged: Mutex<BTreeSet<Names>>,
    states: Mutex<Vec<[Value; 2]>>,
    refuses: bool,
}

impl Judge for Witness {
    fn judge(&self, effect: &Effect<'_>) -> Result<(), Refusal> {
        let states: [Value; 2] = [State::Before, State::After].map(|state| {
            let text = effect.text(state, &[] as &[&str]).unwrap();
            serde_json::from_str(&text).unwrap()
        });
        effect.each(&mut |names, changes| {
            for (state, value) in [State::Before, State::After].into_iter().zip(&states) {
                let expect = names.iter().try_fold(value, |at, name| at.get(name));
                let is_alike = match (effect.at(state, names), expect) {
                    (Held::Nothing, None) | (Held::Object, Some(Value::Object(_))) => true,
                    (Held::Leaf(text), Some(value)) => {
                        serde_json::from_str::<Value>(text).unwrap() == *value
                    }
                    _ => false,
                };
                assert!(is_alike, "{state:?} {names:?}: {expect:?}");
            }
            let names = names.iter().map(ToString::to_string).collect();
            let list = if changes { &self.shown } else { &self.unchanged };
            list.lock().unwrap().insert(names);
            Ok(())
        })?;
        self.states.lock().unwrap().push(states);
        match self.refuses {
            true => Err(Refusal::Forbidden(effect.path().clone())),
            false => Ok(()),
        }
    }
}

/// The names of all that differs between two values: what is in one of them, or is another leaf.
fn differences(
    before: Option<&Value>,
    after: Option<&Value>,
    at: &Names,
    out: &mut BTreeSet<Names>,
) {
    let members = |value: Option<&Value>| value.and_then(Value::as_object).cloned();
    let (old, new) = (members(before), members(after));
    if (old.is_none() || new.is_none()) && before != after {
        out.insert(at.clone());
    }
    let both: BTreeSet<String> =
        [&old, &new].into_iter().flatten().flat_map(Map::keys).cloned().collect();
    for name in both {
        let inner = [at.as_slice(), std::slice::from_ref(&name)].concat();
        let of = |members: &Option<Map<String, Value>>| members.as_ref()?.get(&name).cloned();
        differences(of(&old).as_ref(), of(&new).as_ref(), &inner, out);
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![(0..3).prop_map(Value::from), Just(json!("x")), Just(json!([1, 2]))];
    leaf.prop_recursive(4, 24, 4, |inner| {
        proptest::collection::btree_map("[a-c]", inner, 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    })
}

fn object() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-c]", value(), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn body(value: &Value) -> Json {
    Json::parse(value.to_string().as_bytes(), &Limits::default()).unwrap()
}

fn write(names: &[String], kind: u8, value: &Value) -> Write {
    let path = names.iter().fold(Path::ROOT, |path, name| path.child(name));
    let action = match kind {
        0 => Action::Put(body(value)),
        1 => Action::Merge(body(value)),
        _ => Action::Delete,
    };
    Write { path, action, condition: Condition::default() }
}

fn read(engine: &Engine) -> Value {
    let value = engine.read(&Path::ROOT, u32::MAX).unwrap().value.unwrap();
    serde_json::from_slice(&value).unwrap()
}

/// An engine with a tree, in which an ephemeral region makes no difference.
fn engine(tree: &Value) -> Engine {
    let mut engine = Engine::new(Limits::default(), Epoch::from_random(7), Timestamp(0));
    engine.commit(&[write(&[], 0, tree)], Timestamp(0)).unwrap();
    engine
}

proptest! {
    #[test]
    fn a_judge_is_shown_all_that_differs_at_the_path_and_nothing_else(
        tree in object(),
        names in proptest::collection::vec("[a-c]", 0..4),
        kind in 0_u8..3,
        body in value(),
        waits in any::<bool>(),
        first in object(),
    ) {
        let mut engine = engine(&tree);
        if waits {
            // What is on its way to the disk comes before.
            let first = write(&[], 1, &first);
            let _ = engine.submit(&[first], Timestamp(0));
        }
        let judge = Arc::new(Witness::default());
        let mut judged = write(&names, kind, &body);
        judged.condition.judge = Some(judge.clone());
        let done = match waits {
            true => { engine.submit(&[judged], Timestamp(0)); true }
            false => engine.commit(&[judged], Timestamp(0)).is_ok(),
        };
        let states = judge.states.lock().unwrap();
        let Some([before, after]) = states.first() else {
            // It was refused before: a root that is no object, nothing to remove, a leaf in the way.
            prop_assert!(waits || !done);
            return Ok(());
        };
        prop_assert!(done);
        if !waits {
            prop_assert_eq!(before, &tree);
            prop_assert_eq!(after, &read(&engine));
        }
        let at = |value| names.iter().try_fold(value, |at: &Value, name| at.get(name));
        let mut expect = BTreeSet::new();
        differences(at(before), at(after), &names, &mut expect);
        prop_assert_eq!(&*judge.shown.lock().unwrap(), &expect);
        let unchanged = judge.unchanged.lock().unwrap();
        prop_assert!(!expect.is_empty() || !unchanged.is_empty(), "no write is judged by nothing");
        prop_assert!(unchanged.is_disjoint(&expect));
    }
}

#[test]
fn a_write_that_its_judge_refuses_changes_nothing() {
    let mut engine = engine(&json!({ "a": 1 }));
    let refuses = Arc::new(Witness { refuses: true, ..Witness::default() });
    let mut judged = write(&["a".into()], 0, &json!(2));
    judged.condition.judge = Some(refuses);
    let other = write(&["b".into()], 0, &json!(2));
    let refused = engine.commit(&[other, judged.clone()], Timestamp(0));
    assert!(matches!(refused, Err(Refusal::Forbidden(path)) if path.to_string() == "/a"));
    assert_eq!(engine.submit(&[judged], Timestamp(0)), Submitted::Done(refused_at("/a")));
    assert_eq!(read(&engine), json!({ "a": 1 }));
}

fn refused_at(path: &str) -> Result<Vec<Written>, Refusal> {
    Err(Refusal::Forbidden(Path::parse(path, &Limits::default()).unwrap()))
}

#[test]
fn more_than_a_commit_may_write_is_not_looked_at() {
    let members: Map<String, Value> = (0..100).map(|n| (n.to_string(), json!(n))).collect();
    let mut limits = Limits::default();
    limits.members_per_commit = 60;
    let mut engine = Engine::new(limits, Epoch::from_random(7), Timestamp(0));
    let halves: Vec<_> = members.into_iter().collect();
    for half in halves.chunks(50) {
        let half = Value::Object(half.iter().cloned().collect());
        engine.commit(&[write(&["a".into()], 1, &half)], Timestamp(0)).unwrap();
    }
    let mut judged = write(&["a".into()], 2, &Value::Null);
    judged.condition.judge = Some(Arc::new(Witness::default()));
    let refused = engine.commit(&[judged.clone()], Timestamp(0)).unwrap_err();
    assert!(matches!(refused, Refusal::Limit { limit: "members_per_commit", max: 60, .. }));
    judged.condition.judge = None;
    engine.commit(&[judged], Timestamp(0)).unwrap();
}
