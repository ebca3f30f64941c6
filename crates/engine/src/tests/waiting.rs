//! Commits that wait for the disk: what is counted of them as they come and go is what is there.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{json, write};
use crate::tree::Value;
use crate::*;

/// A step in the life of an engine whose commits wait.
#[derive(Clone, Debug)]
enum Step {
    Submit(Vec<Write>),
    Take,
    /// Settles so many members.
    Settle(usize),
    Abandon,
}

/// Values of writes, short enough for a small limit of members to be met often.
const VALUES: [&str; 9] = [
    "1",
    "{}",
    r#"{"a":1}"#,
    r#"{"b":2,"p":{}}"#,
    r#"{"a":{"p":1,"q":{}},"b":{"a":{"b":1}}}"#,
    r#"{"a":1,"b":2,"p":3,"q":4}"#,
    r#"{"a":null}"#,
    r#"{"a":null,"p":{"a":null,"b":1}}"#,
    r#"{"b":{"q":null},"q":{"p":{}}}"#,
];

const PATCHES: [&str; 5] = [
    r#"[{"op":"add","path":"/a","value":{"b":1}}]"#,
    r#"[{"op":"remove","path":"/b"},{"op":"add","path":"/q","value":1}]"#,
    r#"[{"op":"copy","from":"/a","path":"/p"}]"#,
    r#"[{"op":"move","from":"/a","path":"/b"}]"#,
    r#"[{"op":"test","path":"","value":{"a":1}},{"op":"add","path":"/p","value":{}}]"#,
];

fn a_write() -> impl Strategy<Value = Write> {
    let place = proptest::collection::vec(prop::sample::select(vec!["a", "b", "p", "q"]), 0..3);
    let root = prop::sample::select(vec!["c", "c", "c", "e"]);
    let action = prop_oneof![
        4 => prop::sample::select(&VALUES[..]).prop_map(|text| Action::Put(json(text))),
        4 => prop::sample::select(&VALUES[..]).prop_map(|text| Action::Merge(json(text))),
        3 => Just(Action::Delete),
        2 => prop::sample::select(&PATCHES[..]).prop_map(|text| {
            Action::Patch(Patch::parse(text.as_bytes(), &Limits::default()).unwrap())
        }),
    ];
    (root, place, action).prop_map(|(root, place, action)| {
        let path = place.iter().fold(format!("/{root}"), |path, name| format!("{path}/{name}"));
        write(&path, action)
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => proptest::collection::vec(a_write(), 1..3).prop_map(Step::Submit),
        2 => Just(Step::Take),
        3 => (0usize..6).prop_map(Step::Settle),
        1 => Just(Step::Settle(usize::MAX)),
        1 => Just(Step::Abandon),
    ]
}

fn engine(limits: &Limits, regions: &[&str]) -> Engine {
    let patterns = regions.iter().map(|text| Pattern::parse(text, limits).unwrap()).collect();
    let restoring = Restoring::new(limits.clone(), Epoch::from_random(7), Timestamp(0));
    restoring.finish(Regions::new(patterns))
}

fn read(engine: &Engine) -> Vec<u8> {
    engine.read(&Path::ROOT, u32::MAX).unwrap().value.unwrap().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn members_are_counted_right_whatever_waits_and_whatever_becomes_of_it(
        steps in proptest::collection::vec(step(), 1..60),
        regions in prop_oneof![Just(&["/e", "/c/p", "/*/*/p"][..]), Just(&["/c/*/q"][..])],
        members_per_object in 2usize..6,
    ) {
        let mut engine = engine(&Limits { members_per_object, ..Limits::default() }, regions);
        for step in steps {
            match step {
                Step::Submit(writes) => drop(engine.submit(&writes, Timestamp(0))),
                Step::Take => drop(engine.take_batch()),
                Step::Settle(members) => drop(engine.settle_some(members)),
                Step::Abandon => drop(engine.abandon()),
            }
            engine.check();
        }
    }

    /// Another engine applies each commit at once, so that nothing ever waits in it.
    #[test]
    fn a_commit_comes_to_the_same_whether_those_before_it_wait_or_not(
        steps in proptest::collection::vec(step(), 1..60),
        members_per_object in 2usize..6,
    ) {
        let limits = Limits { members_per_object, ..Limits::default() };
        let (mut engine, mut twin) = (engine(&limits, &[]), engine(&limits, &[]));
        let (mut settled, mut waiting) = (Vec::<Vec<Write>>::new(), VecDeque::new());
        for step in steps {
            let mut done = Vec::new();
            match step {
                Step::Submit(writes) => {
                    let expected = twin.commit(&writes, Timestamp(0));
                    waiting.push_back((writes.clone(), expected));
                    if let Submitted::Done(outcome) = engine.submit(&writes, Timestamp(0)) {
                        done.push(outcome);
                    }
                }
                Step::Take => drop(engine.take_batch()),
                Step::Settle(members) => done = engine.settle_some(members),
                Step::Abandon => {
                    prop_assert_eq!(engine.abandon(), waiting.len());
                    waiting.clear();
                    twin = self::engine(&limits, &[]);
                    for writes in &settled {
                        let _ = twin.commit(writes, Timestamp(0));
                    }
                }
            }
            engine.check();
            for outcome in done {
                let (writes, expected) = waiting.pop_front().unwrap();
                prop_assert_eq!(outcome, expected, "{:?}", writes);
                settled.push(writes);
            }
        }
        engine.take_batch();
        while !engine.settle_some(usize::MAX).is_empty() {
            engine.check();
            engine.take_batch();
        }
        prop_assert_eq!(read(&engine), read(&twin));
    }
}

/// Members of `/c` as the next commit will find them, counted and not.
fn members(engine: &Engine) -> (usize, usize) {
    use crate::write::base::Base;
    let over = &engine.pending.laid.over;
    let base = Base::new(&engine.tree.value, over).child(&engine.keys, "c");
    let Value::Object(root) = &engine.tree.value else { panic!("the root is an object") };
    let Some(Value::Object(tree)) = root.value(&engine.keys, "c") else { panic!("it is there") };
    (base.members(), tree.live())
}

#[test]
fn what_is_settled_of_a_batch_is_not_counted_twice() {
    let limits = Limits { members_per_object: 6, ..Limits::default() };
    let mut engine = engine(&limits, &["/c/e"]);
    engine.commit(&[write("/c", Action::Put(json(r#"{"a":1}"#)))], Timestamp(0)).unwrap();
    for name in ["b", "d", "f"] {
        let add = write(&format!("/c/{name}"), Action::Put(json("1")));
        assert_eq!(engine.submit(&[add], Timestamp(0)), Submitted::Waits);
    }
    assert_eq!(members(&engine), (4, 1));
    engine.take_batch().unwrap();
    assert_eq!(engine.submit(&[write("/c/a", Action::Delete)], Timestamp(0)), Submitted::Waits);
    assert_eq!(members(&engine), (3, 1));
    assert_eq!(engine.settle_some(2).len(), 1);
    assert_eq!(members(&engine), (3, 2));
    // Beside those in line, and before them.
    let between = write("/c/e", Action::Put(json("1")));
    assert!(matches!(engine.submit(&[between], Timestamp(0)), Submitted::Done(Ok(_))));
    assert_eq!(members(&engine), (4, 3));
    assert_eq!(engine.settle().len(), 2);
    assert_eq!(members(&engine), (4, 5));
    engine.take_batch().unwrap();
    assert_eq!(engine.settle().len(), 1);
    assert_eq!(members(&engine), (4, 4));
}

#[test]
fn what_many_claimed_and_did_not_write_is_dropped_where_nobody_waits() {
    let mut engine = engine(&Limits::default(), &["/e"]);
    let list: Vec<String> = (0..2000).map(|name| format!("\"{name}\":1")).collect();
    let same = json(&format!("{{{}}}", list.join(",")));
    engine.commit(&[write("/c", Action::Put(same.clone()))], Timestamp(0)).unwrap();
    engine.submit(&[write("/d", Action::Put(json("1")))], Timestamp(0));
    engine.submit(&[write("/c", Action::Merge(same))], Timestamp(0));
    engine.take_batch().unwrap();
    assert!(!engine.tree.garbage.has_husks());
    engine.settle();
    assert!(engine.tree.garbage.has_husks());
}

#[test]
fn the_first_revision_in_line_is_known_whoever_stands_before_it() {
    let mut engine = engine(&Limits::default(), &["/e"]);
    engine.commit(&[write("/", Action::Put(json(r#"{"d":{},"e":{}}"#)))], Timestamp(0)).unwrap();
    let put = |name: &str| [write(&format!("/d/{name}"), Action::Put(json("1")))];
    let nothing_there = [write("/d/none", Action::Delete)];
    engine.submit(&put("a"), Timestamp(0));
    engine.submit(&nothing_there, Timestamp(0));
    engine.submit(&put("b"), Timestamp(0));
    let first = engine.pending.first().unwrap();
    engine.take_batch().unwrap();
    engine.submit(&nothing_there, Timestamp(0));
    engine.submit(&put("c"), Timestamp(0));
    assert_eq!(engine.settle_some(2).len(), 2);
    assert_eq!(engine.revision(), first);
    let second = engine.pending.first().unwrap();
    assert!(second > first);
    engine.settle();
    assert_eq!(engine.revision(), second);
    let third = engine.pending.first().unwrap();
    assert!(third > second);
    engine.take_batch().unwrap();
    engine.settle();
    assert_eq!((engine.revision(), engine.pending.first()), (third, None));
}

#[test]
fn what_is_copied_has_the_same_order_whether_what_was_removed_and_came_back_waits_or_not() {
    let patch = Patch::parse(PATCHES[2].as_bytes(), &Limits::default()).unwrap();
    let copy = [write("/c", Action::Patch(patch))];
    let put = |text| [write("/c/a", Action::Put(json(text)))];
    let copied = |waits: bool| {
        let mut engine = engine(&Limits::default(), &[]);
        for text in [r#"{"p":1,"a":1}"#, r#"{"b":1}"#, "{}"] {
            engine.commit(&put(text), Timestamp(0)).unwrap();
        }
        for write in [&put(VALUES[5]), &copy] {
            engine.submit(write, Timestamp(0));
            if !waits {
                engine.take_batch();
                engine.settle();
            }
        }
        engine.take_batch();
        engine.settle();
        String::from_utf8(read(&engine)).unwrap()
    };
    let order = r#"{"p":3,"a":1,"b":2,"q":4}"#;
    assert_eq!(copied(false), format!(r#"{{"c":{{"a":{order},"p":{order}}}}}"#));
    assert_eq!(copied(true), copied(false));
}

#[test]
fn what_is_put_beneath_an_object_that_was_made_in_line_is_seen_by_those_in_line_after_it() {
    for before in [None, Some(write("/e/x", Action::Put(json("5"))))] {
        let mut engine = engine(&Limits::default(), &["/e"]);
        let first = [write("/e", Action::Put(json("{}")))].into_iter().chain(before);
        engine.commit(&first.collect::<Vec<_>>(), Timestamp(0)).unwrap();
        let put = |path| write(path, Action::Put(json("1")));
        let make = write("/e/x", Action::Merge(json(r#"{"a":1}"#)));
        assert_eq!(engine.submit(&[make, put("/c")], Timestamp(0)), Submitted::Waits);
        assert_eq!(engine.submit(&[put("/d")], Timestamp(0)), Submitted::Waits);
        engine.take_batch().unwrap();
        assert_eq!(engine.settle_some(1).len(), 1);

        engine.submit(&[put("/e/x/b")], Timestamp(0));
        let condition = Condition { is_not: Some(States::Any), ..Condition::default() };
        let create = Write { condition, ..put("/e/x/b") };
        assert_eq!(engine.submit(&[create, put("/d")], Timestamp(0)), Submitted::Waits);
        engine.check();
        engine.settle();
        engine.take_batch().unwrap();
        let outcome = engine.settle().pop().unwrap();
        assert!(matches!(outcome, Err(Refusal::Precondition(_))), "{outcome:?}");
    }
}
