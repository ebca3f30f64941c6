//! The engine's invariants from inside: accounting that no caller can see.

use proptest::prelude::*;

use crate::*;

fn write(path: &str, action: Action) -> Write {
    Write { path: Path::parse(path, &Limits::default()).unwrap(), action, condition: Condition::default() }
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn engine(limits: Limits) -> Engine {
    Engine::new(limits, Epoch::from_random(7), Timestamp(0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn accounting_holds_through_growth_removal_and_forgetting(
        steps in proptest::collection::vec((0u8..60, 0u8..4, 0u8..6), 1..400),
        tombstones_per_object in 0usize..40,
        tombstones in 0usize..60,
    ) {
        let mut engine = engine(Limits { tombstones_per_object, tombstones, ..Limits::default() });
        for (i, (name, inner, what)) in steps.into_iter().enumerate() {
            let path = if inner == 0 { format!("/o/{name}") } else { format!("/o/{name}/{inner}") };
            let action = match what {
                0 | 1 => Action::Delete,
                2 => Action::Put(json(r#"{"x":{"y":1},"\n":"long enough to be kept outside"}"#)),
                3 => Action::Merge(json(r#"{"x":{"y":null,"z":2}}"#)),
                _ => Action::Put(json(&i.to_string())),
            };
            // Refusals (nothing there, a value in the way) are part of the life.
            let _ = engine.commit(&[write(&path, action)], Timestamp(i as u64));
            engine.check();
            prop_assert!(engine.stats().tombstones <= tombstones);
        }
        engine.commit(&[write("/", Action::Put(json("{}")))], Timestamp(0)).unwrap();
        engine.check();
        let left = engine.stats().tombstones;
        prop_assert!(engine.stats().names <= left, "{:?}", engine.stats());
        prop_assert_eq!(engine.stats().tree_bytes, 2);
    }

    #[test]
    fn accounts_of_the_servers_own_state_are_its_own(
        steps in proptest::collection::vec((0u8..40, 0u8..4), 1..200),
        tombstones_per_object in 0usize..20,
        tombstones in 0usize..30,
    ) {
        let mut engine = engine(Limits { tombstones_per_object, tombstones, ..Limits::default() });
        engine.keep_own(false);
        let mut own = Json::empty();
        for (i, (name, inner)) in steps.into_iter().enumerate() {
            // As the sessions of a server: they come, have links that come, and go.
            let next = json(&format!(r#"{{"s":{{"{name}":{{"{inner}":{i}}},"half {}":{{}}}}}}"#, name / 2));
            engine.commit_own(&next.clone().over(&own).unwrap(), Timestamp(i as u64));
            own = next;
            engine.check();
            prop_assert!(engine.own.as_ref().unwrap().tombstones <= tombstones);
            let stats = engine.stats();
            prop_assert_eq!((stats.tree_bytes, stats.tombstones), (2, 0));
        }
        let left = engine.own.as_ref().unwrap().tombstones;
        engine.commit_own(&Json::empty().over(&own).unwrap_or(Json::empty()), Timestamp(0));
        engine.check();
        prop_assert!(engine.stats().names <= left + 4, "{:?}", engine.stats());
    }
}

#[test]
fn closing_every_session_leaves_nothing_behind() {
    let mut engine = engine(Limits::default());
    let sessions: Vec<SessionId> = (0..20).map(|_| engine.open()).collect();
    for (i, session) in sessions.iter().enumerate() {
        for tag in 0..10u32 {
            let path = Path::parse(&format!("/a/{}/{tag}", i % 3), &Limits::default()).unwrap();
            assert!(engine.watch(
                *session,
                tag,
                &Watch { interval_ms: u64::from(tag % 2) * 50, ..Watch::new(path) }
            ));
        }
    }
    engine.take_woken();
    assert_eq!((engine.stats().links, engine.stats().places), (200, 34));
    engine.commit(&[write("/a", Action::Put(json(r#"{"1":{"3":true}}"#)))], Timestamp(0)).unwrap();
    engine.take_woken();
    while engine.next(sessions[4], Tick(0)).is_some() {}
    assert!(engine.unwatch(sessions[4], 3));
    assert!(!engine.unwatch(sessions[4], 3));
    sessions.iter().for_each(|session| engine.close(*session));
    engine.commit(&[write("/a", Action::Delete)], Timestamp(0)).unwrap();
    let stats = engine.stats();
    assert_eq!(
        (stats.links, stats.places, stats.sessions, stats.names),
        (0, 0, 0, 1),
        "the tombstone's name stays"
    );
}

#[test]
fn a_session_is_served_by_priority_and_none_starves() {
    let mut engine = engine(Limits::default());
    let session = engine.open();
    for tag in 0..80u32 {
        let path = Path::parse(&format!("/{tag}"), &Limits::default()).unwrap();
        let priority = Priority::new((tag % 4) as u8).unwrap();
        assert!(engine.watch(session, tag, &Watch { priority, ..Watch::new(path) }));
    }
    engine.take_woken();
    let order: Vec<u32> = std::iter::from_fn(|| engine.next(session, Tick(0)).map(|u| u.tag)).collect();
    let of = |priority: u32| order.iter().filter(move |tag| *tag % 4 == priority).collect::<Vec<_>>();
    for priority in 0..4 {
        assert!(of(priority).is_sorted(), "first come, first served");
        assert_eq!(of(priority).len(), 20);
    }
    let high = order[..16].iter().filter(|tag| *tag % 4 == 3).count();
    let low = order[..16].iter().filter(|tag| *tag % 4 == 1).count();
    assert_eq!((high, low), (12, 1), "three of four, and one of sixteen: {order:?}");
}

#[test]
fn what_resumes_a_session_does_not_go_back_when_a_link_begins_to_wait() {
    let mut engine = engine(Limits::default());
    let put = |engine: &mut Engine, path: &str, value: &str| {
        engine.commit(&[write(path, Action::Put(json(value)))], Timestamp(0)).unwrap();
        engine.take_woken();
    };
    put(&mut engine, "/slow", "1");
    let session = engine.open();
    let watch = |path: &str, interval_ms| Watch {
        interval_ms,
        ..Watch::new(Path::parse(path, &Limits::default()).unwrap())
    };
    engine.watch(session, 0, &watch("/slow", 1000));
    engine.watch(session, 1, &watch("/fast", 0));
    engine.take_woken();
    for i in 0..10 {
        put(&mut engine, "/fast", &i.to_string());
    }
    while engine.next(session, Tick(0)).is_some() {}
    let before = engine.resume_point(session);
    assert_eq!(before, engine.revision());
    put(&mut engine, "/slow", "2");
    put(&mut engine, "/fast", "true");
    while engine.next(session, Tick(1)).is_some() {}
    assert!(engine.is_synced(session));
    assert_eq!(engine.resume_point(session), before);
    while engine.next(session, Tick(1000)).is_some() {}
    assert_eq!(engine.resume_point(session), engine.revision());
}

#[test]
fn links_that_are_always_in_line_are_served_equally_often() {
    let mut engine = engine(Limits::default());
    let session = engine.open();
    let paths: Vec<String> = (0..20).map(|i| format!("/v/{i}")).collect();
    for (tag, path) in paths.iter().enumerate() {
        engine.watch(session, tag as u32, &Watch::new(Path::parse(path, &Limits::default()).unwrap()));
    }
    engine.take_woken();
    let mut served = [0; 20];
    // All values change between any two turns, always in the same order: those that come early must not get ahead.
    for i in 0..7 * 20 {
        for path in &paths {
            engine.commit(&[write(path, Action::Put(json(&i.to_string())))], Timestamp(0)).unwrap();
            engine.take_woken();
        }
        for _ in 0..3 {
            served[engine.next(session, Tick(0)).unwrap().tag as usize] += 1;
        }
    }
    assert_eq!(served, [21; 20]);
}

#[test]
fn nothing_shines_through_what_the_same_commit_removed_or_replaced() {
    for first in [write("/v", Action::Delete), write("/v", Action::Put(json(r#"{"m":{}}"#)))] {
        for then in ["/v/n/p", "/v/n/p/q"] {
            let mut engine = engine(Limits::default());
            engine.commit(&[write("/v/n/b", Action::Put(json("1")))], Timestamp(0)).unwrap();
            engine.commit(&[first.clone(), write(then, Action::Put(json("2")))], Timestamp(0)).unwrap();
            let path = |text: &str| Path::parse(text, &Limits::default()).unwrap();
            assert!(engine.read(&path(then), 9).unwrap().value.is_some());
            assert_eq!(engine.read(&path("/v/n/b"), 9).unwrap().value, None, "{then}");
        }
    }
}
