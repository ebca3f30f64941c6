//! Turns: no session holds the engine for long.

#![allow(clippy::unwrap_used, reason = "a test ends when something is wrong")]

use halfping_engine::{
    Action, Condition, Cursor, Engine, Epoch, Json, Limits, Path, Revision, SessionId, Submitted,
    Tick, Timestamp, Watch, Write,
};

const EPOCH: u64 = 7;

fn engine() -> Engine {
    Engine::new(Limits::default(), Epoch::from_random(EPOCH), Timestamp(0))
}

fn merge(path: &str, value: &str) -> Write {
    let action = Action::Merge(Json::parse(value.as_bytes(), &Limits::default()).unwrap());
    Write { path: at(path), action, condition: Condition::default() }
}

fn at(path: &str) -> Path {
    Path::parse(path, &Limits::default()).unwrap()
}

fn commit(engine: &mut Engine, write: Write) -> Revision {
    let written = engine.commit(&[write], Timestamp(0)).unwrap();
    engine.take_woken();
    written[0].revision
}

/// An object of this many members, each the same.
fn members(count: usize, value: &str) -> String {
    let members: Vec<String> = (0..count).map(|i| format!("\"k{i}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// The frames of a session, turn by turn.
fn turns(engine: &mut Engine, session: SessionId, now: Tick) -> Vec<Vec<(u32, String)>> {
    let mut turns = vec![Vec::new()];
    loop {
        while let Some(update) = engine.next(session, now) {
            let body = String::from_utf8(update.frame.unwrap().body.to_vec()).unwrap();
            turns.last_mut().unwrap().push((update.tag, body));
        }
        match engine.take_woken()[..] {
            [] => return turns,
            [woken] => assert_eq!(woken, session),
            _ => panic!("nobody else has news"),
        }
        assert!(!engine.is_synced(session), "there is more to be told");
        turns.push(Vec::new());
    }
}

#[test]
fn a_session_of_many_links_that_cannot_see_what_changed_looks_for_it_in_turns() {
    let mut engine = engine();
    engine.set_pace(8192, 4096, 1000);
    for tag in 0..30 {
        commit(&mut engine, merge(&format!("/f{tag}"), &members(200, "{}")));
    }
    let session = engine.open();
    for tag in 0..30 {
        let watch = Watch { depth: 1, ..Watch::new(at(&format!("/f{tag}"))) };
        engine.watch(session, tag, &watch);
    }
    engine.take_woken();
    turns(&mut engine, session, Tick(0));
    assert!(engine.is_synced(session));
    for tag in 0..30 {
        commit(&mut engine, merge(&format!("/f{tag}"), &members(200, r#"{"x":1}"#)));
    }
    commit(&mut engine, merge("/f29", r#"{"new":1}"#));
    let turns = turns(&mut engine, session, Tick(0));
    // Five of them have 1,000 members that have changed.
    assert!((5..=10).contains(&turns.len()), "{} turns", turns.len());
    assert_eq!(turns.concat(), [(29, r#"{"new":1}"#.to_owned())]);
    assert!(engine.is_synced(session));
}

#[test]
fn readers_that_come_back_to_members_written_again_and_again_look_in_turns() {
    let mut engine = engine();
    engine.set_pace(8192, 4096, 1000);
    commit(&mut engine, merge("/f", &members(4000, "0")));
    // A few hundred members in a row: a member that is written again is not among the newest by
    // then.
    let mut cursors = Vec::new();
    for round in 0..4000 {
        let value = format!("{{\"k{}\":{round}}}", round * 7 % 2000);
        cursors.push(commit(&mut engine, merge("/f", &value)));
    }
    commit(&mut engine, merge("/f", r#"{"k3999":1}"#));
    let session = engine.open();
    for (tag, revision) in cursors.iter().rev().take(200).rev().enumerate() {
        let since = Some(Cursor { epoch: Epoch::from_random(EPOCH), revision: *revision });
        engine.watch(session, tag as u32, &Watch { since, ..Watch::new(at("/f")) });
    }
    engine.take_woken();
    let turns = turns(&mut engine, session, Tick(0));
    assert!(turns.len() > 10, "{} turns", turns.len());
    assert_eq!(turns.concat().len(), 200);
    assert!(engine.is_synced(session));
}

#[test]
fn links_whose_time_has_come_are_lined_up_in_turns() {
    const LINKS: u32 = 3000;
    let mut engine = engine();
    engine.set_pace(8192, 4096, 64_000);
    commit(&mut engine, merge("/f", r#"{"x":0}"#));
    let session = engine.open();
    for tag in 0..LINKS {
        engine.watch(session, tag, &Watch { interval_ms: 10, ..Watch::new(at("/f")) });
    }
    engine.take_woken();
    turns(&mut engine, session, Tick(0));
    commit(&mut engine, merge("/f", r#"{"x":1}"#));
    assert!(engine.is_synced(session), "it is not their time");
    assert!(engine.next(session, Tick(100)).is_some());
    assert!(engine.due(session).is_some(), "the first does not wait for all of them");
    let turns = turns(&mut engine, session, Tick(100));
    assert!(turns.len() > 1);
    assert_eq!(turns.concat().len() as u32, LINKS - 1);
    assert!(engine.due(session).is_none() && engine.is_synced(session));
}

#[test]
fn a_reader_on_its_way_reads_very_many_notes_in_parts() {
    let limits = Limits::default().with(|limits| {
        limits.tombstones_per_object = 4;
    });
    let mut engine = Engine::new(limits, Epoch::from_random(EPOCH), Timestamp(0));
    let value = format!("\"{}\"", "x".repeat(100));
    commit(&mut engine, merge("/f", &members(2000, &value)));
    let session = engine.open();
    engine.watch(session, 0, &Watch::new(at("/f")));
    engine.take_woken();
    engine.next(session, Tick(0)).unwrap();
    // In another object, members come and are forgotten.
    for round in 0..40_000 {
        let elsewhere = format!("{{\"q{round}\":1,\"q{}\":null}}", round - 1);
        commit(&mut engine, merge("/g", &elsewhere));
    }
    commit(&mut engine, merge("/f", r#"{"k7":7}"#));
    let told = turns(&mut engine, session, Tick(0)).concat();
    let parts = told.iter().filter(|(_, body)| body == "{}").count();
    assert_eq!(parts, 1, "the notes are more than one look through them");
    assert_eq!(told.last().unwrap().1, r#"{"k7":7}"#);
    assert!(engine.is_synced(session));
}

#[test]
fn what_a_large_batch_was_laid_over_the_tree_is_dropped_where_nobody_waits() {
    let mut engine = engine();
    let waits = |engine: &mut Engine, write: Write| {
        assert_eq!(engine.submit(&[write], Timestamp(0)), Submitted::Waits);
    };
    waits(&mut engine, merge("/f", &members(2000, "1")));
    engine.take_batch().unwrap();
    // Commits that come meanwhile are made upon it, and stay when it is applied.
    waits(&mut engine, merge("/f/k7", r#"{"a":1}"#));
    waits(&mut engine, merge("/f/k7", r#"{"b":2}"#));
    assert_eq!(engine.settle().len(), 1);
    engine.take_woken();
    assert!(engine.has_work());
    drop(engine.work());
    assert!(!engine.has_work());
    waits(&mut engine, merge("/f/k7", r#"{"c":3}"#));
    engine.take_batch().unwrap();
    assert_eq!(engine.settle().len(), 3);
    engine.take_woken();
    assert!(!engine.has_work(), "a few members are dropped at once");
    let value = engine.read(&at("/f/k7"), u32::MAX).unwrap().value.unwrap();
    assert_eq!(value, r#"{"a":1,"b":2,"c":3}"#);
}
