//! The engine's invariants from inside: accounting that no caller can see.

use proptest::prelude::*;

use crate::*;

mod waiting;

fn write(path: &str, action: Action) -> Write {
    Write {
        path: Path::parse(path, &Limits::default()).unwrap(),
        action,
        condition: Condition::default(),
    }
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
    fn accounts_of_a_root_beside_the_tree_are_its_own(
        steps in proptest::collection::vec((0u8..40, 0u8..4), 1..200),
        tombstones_per_object in 0usize..20,
        tombstones in 0usize..30,
    ) {
        let mut engine = engine(Limits { tombstones_per_object, tombstones, ..Limits::default() });
        let root = engine.add_root("_server", Epoch::from_random(8), Timestamp(0));
        let mut own = Json::empty();
        for (i, (name, inner)) in steps.into_iter().enumerate() {
            // As the sessions of a server: they come, have links that come, and go.
            let next = json(&format!(r#"{{"s":{{"{name}":{{"{inner}":{i}}},"half {}":{{}}}}}}"#, name / 2));
            engine.commit_to(root, &next.clone().over(&own).unwrap(), Timestamp(i as u64));
            own = next;
            engine.check();
            prop_assert!(engine.beside[0].root.tombstones <= tombstones);
            let stats = engine.stats();
            prop_assert_eq!((stats.tree_bytes, stats.tombstones), (2, 0));
        }
        let left = engine.beside[0].root.tombstones;
        engine.commit_to(root, &Json::empty().over(&own).unwrap_or(Json::empty()), Timestamp(0));
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
    let order: Vec<u32> =
        std::iter::from_fn(|| engine.next(session, Tick(0)).map(|u| u.tag)).collect();
    let of =
        |priority: u32| order.iter().filter(move |tag| *tag % 4 == priority).collect::<Vec<_>>();
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
        engine.watch(
            session,
            tag as u32,
            &Watch::new(Path::parse(path, &Limits::default()).unwrap()),
        );
    }
    engine.take_woken();
    let mut served = [0; 20];
    // All values change between any two turns, always in the same order: those that come early must
    // not get ahead.
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
            engine
                .commit(&[first.clone(), write(then, Action::Put(json("2")))], Timestamp(0))
                .unwrap();
            let path = |text: &str| Path::parse(text, &Limits::default()).unwrap();
            assert!(engine.read(&path(then), 9).unwrap().value.is_some());
            assert_eq!(engine.read(&path("/v/n/b"), 9).unwrap().value, None, "{then}");
        }
    }
}

fn merge(path: &str, names: std::ops::Range<usize>, value: &str) -> Write {
    let members: Vec<String> = names.map(|i| format!("\"k{i}\":{value}")).collect();
    write(path, Action::Merge(json(&format!("{{{}}}", members.join(",")))))
}

fn patch(text: &str) -> Action {
    Action::Patch(Patch::parse(text.as_bytes(), &Limits::default()).unwrap())
}

fn at(path: &str) -> Path {
    Path::parse(path, &Limits::default()).unwrap()
}

/// Does all that is left to be done, and returns in how many steps.
fn work(engine: &mut Engine) -> usize {
    let mut steps = 0;
    while engine.has_work() {
        engine.work();
        engine.check();
        steps += 1;
    }
    steps
}

/// All frames of a session, by their links.
fn frames(engine: &mut Engine, session: SessionId) -> Vec<(u32, String, String)> {
    let mut frames = Vec::new();
    while let Some(update) = engine.next(session, Tick(0)) {
        let frame = update.frame.unwrap();
        frames.push((
            update.tag,
            frame.kind.name().to_owned(),
            String::from_utf8(frame.body.to_vec()).unwrap(),
        ));
    }
    frames
}

#[test]
fn an_object_that_loses_very_many_members_is_replaced_and_taken_apart_in_steps() {
    const MEMBERS: usize = 4000;
    let all = |path: &str, action| (path.to_owned(), action);
    for ((path, action), then) in [
        (all("/f/g", Action::Put(json("{}"))), "{}"),
        (all("/f/g", Action::Put(json(r#"{"k7":8,"new":[1]}"#))), r#"{"k7":8,"new":[1]}"#),
        (all("/f", Action::Put(json(r#"{"g":{"k7":7}}"#))), r#"{"k7":7}"#),
        (all("/f/g", Action::Put(json("1"))), "1"),
        (all("/f/g", Action::Delete), ""),
        (all("/f", Action::Delete), ""),
        (all("/f", Action::Merge(json(r#"{"g":null}"#))), ""),
        (all("/", patch(r#"[{"op":"remove","path":"/f/g"}]"#)), ""),
        (all("/", patch(r#"[{"op":"replace","path":"/f/g","value":{}}]"#)), "{}"),
    ] {
        for durable in [false, true] {
            let mut engine = engine(Limits::default());
            engine.set_pace(8192, 100, usize::MAX);
            let empty = engine.stats();
            engine
                .commit(&[merge("/f/g", 0..MEMBERS, r#"{"deep":{"x":1,"y":2}}"#)], Timestamp(0))
                .unwrap();
            engine.commit(&[merge("/f/g", 0..50, r#"{"deep":null}"#)], Timestamp(0)).unwrap();
            assert_eq!(engine.stats().tombstones, 50);
            let session = engine.open();
            engine.watch(session, 0, &Watch::new(at("/f/g")));
            engine.watch(session, 1, &Watch::new(at("/f/g/k7/deep/x")));
            engine.take_woken();
            frames(&mut engine, session);
            let write = write(&path, action.clone());
            if durable {
                assert_eq!(engine.submit(&[write], Timestamp(0)), Submitted::Waits);
                assert!(
                    engine.take_batch().unwrap().body.len() < 100,
                    "what goes is not named one by one"
                );
                engine.settle().remove(0).unwrap();
            } else {
                engine.commit(&[write], Timestamp(0)).unwrap();
            }
            engine.take_woken();
            engine.check();
            assert!(
                engine.stats().garbage >= MEMBERS - 100,
                "the commit does not take it apart: {path}"
            );
            let told = frames(&mut engine, session);
            let whole = if then.is_empty() { ("gone", "null") } else { ("snapshot", then) };
            let told: Vec<_> =
                told.iter().map(|(tag, kind, body)| (*tag, &kind[..], &body[..])).collect();
            assert!(told.contains(&(0, whole.0, whole.1)), "{path} {then}: {told:?}");
            assert!(engine.is_synced(session), "readers do not wait for it");
            assert!(work(&mut engine) > MEMBERS / 100);
            let stats = engine.stats();
            assert_eq!(stats.garbage, 0);
            assert!(stats.tombstones <= 1, "{path}: {stats:?}");
            engine.close(session);
            engine.commit(&[write_over_all()], Timestamp(0)).unwrap();
            work(&mut engine);
            let stats = engine.stats();
            assert_eq!(
                (stats.names, stats.tombstone_bytes),
                (stats.tombstones, stats.tombstones),
                "{path}"
            );
            assert_eq!(stats.tree_bytes, empty.tree_bytes);
        }
    }
}

/// Makes the tree empty. What is left are tombstones of one byte each.
fn write_over_all() -> Write {
    write("/", Action::Put(json("{}")))
}

#[test]
fn many_idle_links_are_marked_in_steps_and_nobody_is_synced_before() {
    // Links on the place that a commit touches, and on places beneath it, which it replaces.
    for beneath in [false, true] {
        let mut engine = engine(Limits::default());
        engine.set_pace(5, 5, usize::MAX);
        let put = |engine: &mut Engine, value: &str| {
            engine.commit(&[write("/p", Action::Put(json(value)))], Timestamp(0)).unwrap();
        };
        put(&mut engine, "1");
        let path = |tag: u32| if beneath { at(&format!("/p/{}/{tag}", tag % 3)) } else { at("/p") };
        let sessions: Vec<SessionId> = (0..4).map(|_| engine.open()).collect();
        for session in &sessions {
            (0..20).for_each(|tag| assert!(engine.watch(*session, tag, &Watch::new(path(tag)))));
            engine.take_woken();
            frames(&mut engine, *session);
            assert!(engine.is_synced(*session));
        }
        let other = engine.open();
        engine.watch(other, 0, &Watch::new(at("/q")));
        engine.take_woken();
        frames(&mut engine, other);
        put(&mut engine, r#"{"0":{"0":1,"3":1},"1":{"1":1}}"#);
        engine.take_woken();
        assert!(engine.has_work());
        for session in &sessions {
            frames(&mut engine, *session);
            assert!(!engine.is_synced(*session), "a link may not have been marked");
        }
        frames(&mut engine, other);
        assert_eq!(
            engine.is_synced(other),
            !beneath,
            "who stands elsewhere does not wait for it, if that is known"
        );
        // While they are marked, links go, a session goes, and there is another commit.
        engine.work();
        engine.take_woken();
        (0..20).step_by(2).for_each(|tag| assert!(engine.unwatch(sessions[0], tag)));
        engine.close(sessions[1]);
        put(&mut engine, r#"{"0":{"0":2,"3":2},"1":{"1":2}}"#);
        let mut woken = engine.take_woken();
        while engine.has_work() {
            engine.work();
            woken.extend(engine.take_woken());
            // Some are told before the others are marked.
            frames(&mut engine, sessions[2]);
        }
        for session in [sessions[0], sessions[2], sessions[3], other] {
            let waited = session != other || beneath;
            assert_eq!(woken.contains(&session), waited, "who asked is told when it is done");
            frames(&mut engine, session);
            assert!(engine.is_synced(session));
            assert_eq!(engine.resume_point(session), engine.revision());
        }
        // All have the newest state, so the next commit finds all of them idle.
        put(&mut engine, r#"{"0":{"0":3,"3":3},"1":{"1":3}}"#);
        engine.take_woken();
        while engine.has_work() {
            engine.work();
            engine.take_woken();
        }
        for (session, tags) in [(sessions[0], 10), (sessions[2], 20), (sessions[3], 20)] {
            let told = frames(&mut engine, session);
            let seen = if beneath {
                told.iter().filter(|(tag, ..)| [0, 1, 3].contains(tag)).count()
            } else {
                told.len()
            };
            let expected = if !beneath {
                tags
            } else {
                [0, 1, 3].iter().filter(|t| tags == 20 || **t % 2 == 1).count()
            };
            assert_eq!(seen, expected, "{told:?}");
        }
        [sessions[0], sessions[2], sessions[3], other]
            .into_iter()
            .for_each(|session| engine.close(session));
        assert_eq!((engine.stats().links, engine.stats().places), (0, 0));
    }
}

#[test]
fn a_patch_compares_in_place_and_charges_before_it_copies() {
    let limits = Limits { patch_work_bytes: 20_000, ..Limits::default() };
    let mut engine = engine(limits);
    engine.commit(&[merge("/f", 0..5000, "1")], Timestamp(0)).unwrap();
    let text = format!("[{}]", vec!["12345"; 40_000].join(","));
    engine.commit(&[write("/list", Action::Put(json(&text)))], Timestamp(0)).unwrap();
    let mut try_it =
        |text: &str| engine.commit(&[write("/", patch(text))], Timestamp(0)).map(|_| ());
    // What it is compared with tells how much there is to compare.
    for operation in [
        r#"{"op":"test","path":"/f","value":1}"#,
        r#"{"op":"test","path":"/f","value":{"k0":1}}"#,
        r#"{"op":"test","path":"/list","value":{"k0":1}}"#,
        r#"{"op":"test","path":"/list","value":"[12345]"}"#,
    ] {
        let refused = try_it(&format!("[{operation}]"));
        assert!(
            matches!(refused, Err(Refusal::PatchFailed { index: 0, .. })),
            "{operation}: {refused:?}"
        );
    }
    for operation in [
        r#"{"op":"copy","from":"/f","path":"/g"}"#,
        r#"{"op":"move","from":"/f","path":"/g"}"#,
        r#"{"op":"test","path":"/list/39999","value":12345}"#,
    ] {
        let refused = try_it(&format!("[{operation}]"));
        assert!(
            matches!(refused, Err(Refusal::Limit { limit: "patch_work_bytes", .. })),
            "{operation}: {refused:?}"
        );
    }
    // To append costs much less than to look at all of it.
    try_it(r#"[{"op":"add","path":"/list/-","value":7}]"#).unwrap();
    assert_eq!(engine.metadata(&at("/list")).len, Some(text.len() + 2));
    // Operations cost something, whatever they are about.
    let many = vec![r#"{"op":"test","path":"/f/k1","value":1}"#; 60].join(",");
    let refused = engine.commit(&[write("/", patch(&format!("[{many}]")))], Timestamp(0));
    assert!(
        matches!(refused, Err(Refusal::Limit { limit: "patch_work_bytes", .. })),
        "{refused:?}"
    );
}

#[test]
fn names_of_tombstones_are_counted_and_forgotten() {
    let mut engine = engine(Limits { tombstone_bytes: 1000, ..Limits::default() });
    let name = |i: usize| format!("{i:0>100}");
    for i in 0..30 {
        engine
            .commit(&[write(&format!("/o/{}", name(i)), Action::Put(json("1")))], Timestamp(0))
            .unwrap();
    }
    for i in 0..30 {
        engine.commit(&[write(&format!("/o/{}", name(i)), Action::Delete)], Timestamp(0)).unwrap();
        engine.check();
        let stats = engine.stats();
        assert_eq!(stats.tombstone_bytes, 100 * stats.tombstones);
        assert_eq!(stats.tombstones, (i + 1).min(10));
    }
    engine.commit(&[write("/o", Action::Delete)], Timestamp(0)).unwrap();
    assert!(engine.stats().tombstone_bytes <= 1 && engine.stats().names <= 1);
}

#[test]
fn what_an_older_store_has_deeper_can_be_read_and_removed() {
    let wide = Limits { tree_depth: 300, path_depth: 200, ..Limits::default() };
    let deep = Path::parse(&"/d".repeat(150), &wide).unwrap();
    let mut old = engine(wide);
    let put = Write {
        path: deep.clone(),
        action: Action::Put(json("{\"x\":1}")),
        condition: Condition::default(),
    };
    assert_eq!(old.submit(&[put], Timestamp(0)), Submitted::Waits);
    let batch = old.take_batch().unwrap();
    let mut restoring = Restoring::new(Limits::default(), Epoch::from_random(7), Timestamp(0));
    assert_eq!(restoring.batch(&batch.body, None), Ok(1));
    let mut engine = restoring.finish(Regions::default());
    assert_eq!(engine.read(&deep, 9).unwrap().value.as_deref(), Some(&b"{\"x\":1}"[..]));
    let pointer = "/d".repeat(31);
    let at_31 = at(&"/d".repeat(31));
    let remove = |text: &str| Write {
        path: at_31.clone(),
        action: patch(text),
        condition: Condition::default(),
    };
    let add = format!(r#"[{{"op":"add","path":"{pointer}/new","value":1}}]"#);
    engine.commit(&[remove(&add)], Timestamp(0)).unwrap();
    engine.commit(&[write("/d/d", Action::Delete)], Timestamp(0)).unwrap();
    engine.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// JSON Patch in the text of arrays, against another implementation.
    #[test]
    fn patches_of_arrays_do_what_another_implementation_does(
        operations in proptest::collection::vec((0u8..6, 0usize..8, 0usize..8, 0usize..6), 1..8),
    ) {
        let pointers =
            ["/a/0", "/a/-", "/a/1/x", "/a/2/1", "/a/2", "/a/1", "/a/2/3/y~1", "/a/9"];
        let values = ["1", "[]", "{}", r#"{"x":[2,"a,]"],"y/":null}"#, r#""\"q""#, "[[],{},3]"];
        let operations: Vec<String> = operations
            .into_iter()
            .map(|(op, path, from, value)| {
                let (path, from, value) = (pointers[path], pointers[from], values[value]);
                match op {
                    0 | 1 => format!(r#"{{"op":"add","path":"{path}","value":{value}}}"#),
                    2 => format!(r#"{{"op":"remove","path":"{path}"}}"#),
                    3 => format!(r#"{{"op":"replace","path":"{path}","value":{value}}}"#),
                    4 => format!(r#"{{"op":"copy","from":"{from}","path":"{path}"}}"#),
                    _ => format!(r#"{{"op":"test","path":"{path}","value":{value}}}"#),
                }
            })
            .collect();
        let mut engine = engine(Limits::default());
        let start = r#"{"a":[1,{"x":[2,"a,]"],"y/":null},[[],{},3,{"y/":1}],"\"q"]}"#;
        engine.commit(&[write("/", Action::Put(json(start)))], Timestamp(0)).unwrap();
        let mut document: serde_json::Value = serde_json::from_str(start).unwrap();
        for operation in operations {
            let text = format!("[{operation}]");
            let theirs: json_patch::Patch = serde_json::from_str(&text).unwrap();
            let ours = engine.commit(&[write("/", patch(&text))], Timestamp(0));
            let mut next = document.clone();
            match json_patch::patch(&mut next, &theirs) {
                Ok(()) => {
                    prop_assert!(ours.is_ok(), "{operation} on {document}: {ours:?}");
                    document = next;
                }
                Err(_) => prop_assert!(ours.is_err(), "{operation} on {document}"),
            }
            let value = engine.read(&Path::ROOT, 99).unwrap().value.unwrap();
            let value: serde_json::Value = serde_json::from_slice(&value).unwrap();
            prop_assert_eq!(&value, &document, "{}", operation);
        }
    }
}
