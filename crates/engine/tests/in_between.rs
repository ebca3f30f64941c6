//! Ephemeral commits while durable ones wait for the disk (PROTOCOL W12): each has the result that
//! it would have at its revision.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use halfping_engine::*;
use serde_json::{Value, json};

fn path(text: &str) -> Path {
    Path::parse(text, &Limits::default()).unwrap()
}

fn body(value: &Value) -> Json {
    Json::parse(value.to_string().as_bytes(), &Limits::default()).unwrap()
}

fn write(at: &str, action: Action) -> Write {
    Write { path: path(at), action, condition: Condition::default() }
}

fn put(at: &str, value: Value) -> Write {
    write(at, Action::Put(body(&value)))
}

fn patch(at: &str, operations: Value) -> Write {
    let patch = Patch::parse(operations.to_string().as_bytes(), &Limits::default()).unwrap();
    write(at, Action::Patch(patch))
}

fn engine(limits: Limits, regions: &[&str], tree: Value) -> Engine {
    let patterns = regions.iter().map(|text| Pattern::parse(text, &limits).unwrap()).collect();
    let restoring = Restoring::new(limits, Epoch::from_random(7), Timestamp(0));
    let mut engine = restoring.finish(Regions::new(patterns));
    engine.commit(&[put("/", tree)], Timestamp(0)).unwrap();
    engine
}

fn submit(engine: &mut Engine, write: Write) -> Submitted {
    engine.submit(&[write], Timestamp(0))
}

fn settle(engine: &mut Engine) -> Vec<Result<Vec<Written>, Refusal>> {
    engine.take_batch().unwrap();
    engine.settle()
}

fn read(engine: &Engine) -> Value {
    let value = engine.read(&Path::ROOT, u32::MAX).unwrap().value.unwrap();
    serde_json::from_slice(&value).unwrap()
}

/// A durable write, then an ephemeral one while it waits: the second comes after the first.
#[track_caller]
fn follows(tree: Value, first: Write, second: Write, then: Value) {
    let mut engine = engine(Limits::default(), &["/v/*/p", "/e"], tree);
    let before = read(&engine);
    assert_eq!(submit(&mut engine, first.clone()), Submitted::Waits);
    engine.take_batch().unwrap();
    assert_eq!(submit(&mut engine, second.clone()), Submitted::Follows);
    assert_eq!(read(&engine), before, "nobody is shown it yet");
    let first_done = engine.settle().remove(0);
    let alone = read(&engine);
    assert_ne!(alone, then, "the second makes a difference");
    let second_done = settle(&mut engine).remove(0);
    assert_eq!(read(&engine), then);
    if let (Ok(first), Ok(second)) = (first_done, second_done) {
        assert!(first[0].revision < second[0].revision);
    }
}

#[test]
fn a_put_beside_an_ephemeral_region_is_what_was_put() {
    // With the revision and the ETag of the PUT, no other value was ever there.
    follows(
        json!({ "v": { "x": { "q": 0 } } }),
        put("/v/x", json!({ "q": 1 })),
        put("/v/x/p", json!(7)),
        json!({ "v": { "x": { "q": 1, "p": 7 } } }),
    );
}

#[test]
fn what_removes_the_holder_takes_what_is_written_meanwhile_nowhere() {
    let tree = || json!({ "v": { "x": { "q": 0 } } });
    let after = json!({ "v": { "x": { "p": 7 } } });
    follows(tree(), write("/v/x", Action::Delete), put("/v/x/p", json!(7)), after.clone());
    follows(tree(), write("/v", Action::Delete), put("/v/x/p", json!(7)), after.clone());
    let merge = write("/", Action::Merge(body(&json!({ "v": { "x": null } }))));
    follows(tree(), merge, put("/v/x/p", json!(7)), after);
}

#[test]
fn a_write_that_finds_a_value_in_its_way_is_refused_in_its_turn() {
    let mut engine = engine(Limits::default(), &["/v/*/p"], json!({ "v": { "x": {} } }));
    assert_eq!(submit(&mut engine, put("/v/x", json!(5))), Submitted::Waits);
    assert_eq!(submit(&mut engine, put("/v/x/p", json!(7))), Submitted::Follows);
    let done = settle(&mut engine);
    assert!(matches!(done[1], Err(Refusal::NotAnObject { .. })), "{done:?}");
    assert_eq!(read(&engine), json!({ "v": { "x": 5 } }));
}

#[test]
fn what_a_patch_copied_or_compared_with_stays_until_it_is_applied() {
    let tree = || json!({ "e": { "n": 1 }, "d": 0 });
    let copy = patch("/", json!([{ "op": "copy", "from": "/e/n", "path": "/d" }]));
    follows(tree(), copy, put("/e/n", json!(2)), json!({ "e": { "n": 2 }, "d": 1 }));
    let test = json!([{ "op": "test", "path": "/e", "value": { "n": 1 } }, { "op": "replace", "path": "/d", "value": 1 }]);
    follows(tree(), patch("/", test), put("/e/n", json!(2)), json!({ "e": { "n": 2 }, "d": 1 }));
}

#[test]
fn a_condition_still_holds_when_its_write_is_applied() {
    let tree = json!({ "v": { "x": { "q": 0 } } });
    let condition = Condition { is: Some(States::Any), ..Condition::default() };
    let first = Write { condition, ..write("/v/x", Action::Merge(body(&json!({ "q": 1 })))) };
    follows(tree, first, put("/v/x/p", json!(7)), json!({ "v": { "x": { "q": 1, "p": 7 } } }));
}

#[test]
fn what_a_write_would_create_is_not_created_meanwhile() {
    let mut engine = engine(Limits::default(), &["/e"], json!({}));
    let both = [put("/e/a", json!(1)), put("/d", json!(1))];
    assert_eq!(engine.submit(&both, Timestamp(0)), Submitted::Waits);
    // The write would create `/e` as well.
    assert_eq!(submit(&mut engine, put("/e/b", json!(2))), Submitted::Follows);
    let created = settle(&mut engine).into_iter().flat_map(Result::unwrap).map(|w| w.created);
    assert_eq!(created.collect::<Vec<_>>(), [true, true, true]);
    assert_eq!(read(&engine), json!({ "e": { "a": 1, "b": 2 }, "d": 1 }));
}

#[test]
fn a_write_elsewhere_does_not_wait() {
    let tree = json!({ "v": { "x": { "q": 0 }, "y": {} } });
    let mut engine = engine(Limits::default(), &["/v/*/p", "/e"], tree);
    let merge = write("/v", Action::Merge(body(&json!({ "x": { "q": 1 } }))));
    assert_eq!(submit(&mut engine, merge), Submitted::Waits);
    for at in ["/v/x/p", "/v/y/p", "/e"] {
        assert!(matches!(submit(&mut engine, put(at, json!({}))), Submitted::Done(Ok(_))), "{at}");
    }
    settle(&mut engine);
    assert_eq!(
        read(&engine),
        json!({ "v": { "x": { "q": 1, "p": {} }, "y": { "p": {} } }, "e": {} })
    );
}

#[test]
fn who_followed_what_came_to_nothing_can_be_submitted_again() {
    let mut engine = engine(Limits::default(), &["/v/*/p"], json!({ "v": { "x": {} } }));
    submit(&mut engine, put("/v/x", json!({})));
    submit(&mut engine, put("/v/x", json!({ "q": 1 })));
    assert_eq!(submit(&mut engine, put("/v/x/p", json!(7))), Submitted::Follows);
    engine.abandon();
    assert!(matches!(submit(&mut engine, put("/v/x/p", json!(7))), Submitted::Done(Ok(_))));
    assert_eq!(read(&engine), json!({ "v": { "x": { "p": 7 } } }));
}

#[test]
fn one_place_in_an_object_is_not_given_to_two() {
    let limits = Limits::default().with(|limits| {
        limits.members_per_object = 2;
    });
    let mut engine = engine(limits, &["/a/p"], json!({ "a": { "q": 0 } }));
    assert_eq!(submit(&mut engine, put("/a/r", json!(1))), Submitted::Waits);
    let done = submit(&mut engine, put("/a/p", json!(1)));
    assert!(matches!(
        &done,
        Submitted::Done(Err(Refusal::Limit { limit: "members_per_object", .. }))
    ));
    settle(&mut engine);
    assert_eq!(read(&engine), json!({ "a": { "q": 0, "r": 1 } }));
}
