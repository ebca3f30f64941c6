//! Windows: the first members of a collection, kept for their readers at a bounded cost.

#![allow(clippy::unwrap_used, reason = "a test ends when something is wrong")]

use std::sync::Arc;

use halfping_engine::{
    Action, Condition, Engine, Epoch, Json, Kind, Limits, Path, Read, Refusal, SessionId, Tick,
    Timestamp, View, Wanted, Watch, Write,
};
use halfping_shape::{Bounds, Condition as Where, Order};

/// A frame, or the refusal of one.
type News = Result<(Kind, String), Refusal>;

fn engine(limits: Limits, members: usize) -> Engine {
    let mut engine = Engine::new(limits, Epoch::from_random(7), Timestamp(0));
    for n in 0..members {
        put(&mut engine, &format!("/v/m{n}"), &format!("{{\"speed\":{n}}}"));
    }
    engine
}

fn at(path: &str) -> Path {
    Path::parse(path, &Limits::default()).unwrap()
}

fn put(engine: &mut Engine, path: &str, value: &str) {
    let action = Action::Put(Json::parse(value.as_bytes(), &Limits::default()).unwrap());
    let write = Write { path: at(path), action, condition: Condition::default() };
    engine.commit(&[write], Timestamp(0)).unwrap();
    engine.take_woken();
}

/// A watch of the fastest members.
fn fastest(limit: usize) -> Watch {
    let order = Some(Order::parse("-speed", &Bounds::default()).unwrap());
    let view = View::new(Wanted { order, limit: Some(limit), ..Wanted::default() });
    Watch { view: view.map(Arc::new), ..Watch::new(at("/v")) }
}

/// Watches, and takes all that there is to be told.
fn told(engine: &mut Engine, watch: &Watch) -> (SessionId, Vec<News>) {
    let session = engine.open();
    engine.watch(session, 0, watch);
    (session, news(engine, session))
}

fn news(engine: &mut Engine, session: SessionId) -> Vec<News> {
    let mut told = Vec::new();
    loop {
        while let Some(update) = engine.next(session, Tick(0)) {
            let body = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
            told.push(update.frame.map(|frame| (frame.kind, body(&frame.body))));
        }
        if engine.take_woken().is_empty() {
            return told;
        }
    }
}

#[test]
fn a_reader_that_comes_back_to_a_window_is_told_what_it_missed() {
    let mut engine = engine(Limits::default(), 100);
    let (session, first) = told(&mut engine, &fastest(2));
    let whole = r#"{"m99":{"speed":99},"m98":{"speed":98}}"#.to_owned();
    assert_eq!(first, [Ok((Kind::Snapshot, whole))]);
    let since = Some(engine.cursor(engine.revision()));
    engine.close(session);
    assert_eq!((engine.stats().views, engine.stats().view_rows), (0, 100), "it is kept");
    put(&mut engine, "/v/m3/speed", "200");
    put(&mut engine, "/v/m4/speed", "40");
    let (_, news) = told(&mut engine, &Watch { since, ..fastest(2) });
    assert_eq!(news, [Ok((Kind::Merge, r#"{"m3":{"speed":200},"m98":null}"#.to_owned()))]);
    assert_eq!(engine.stats().views, 1);
}

#[test]
fn a_window_that_nobody_looks_through_goes_when_keeping_it_has_cost_as_much_as_making_it() {
    let mut engine = engine(Limits::default(), 100);
    let (session, _) = told(&mut engine, &fastest(2));
    engine.close(session);
    let commits = (1..1000).find(|n| {
        put(&mut engine, &format!("/v/m{}/speed", n % 50), &n.to_string());
        engine.stats().view_rows == 0
    });
    assert!(commits.is_some_and(|commits| (20..200).contains(&commits)), "{commits:?}");
    assert_eq!((engine.stats().places, engine.stats().places_bytes), (0, 0), "all is given back");
}

#[test]
fn what_is_kept_for_nobody_makes_room_for_somebody() {
    let mut engine = engine(Limits::default().with(|limits| limits.views = 1), 100);
    let (session, _) = told(&mut engine, &fastest(2));
    engine.close(session);
    assert_eq!(engine.make_room_for(&fastest(3)), Ok(()));
    let (_, first) = told(&mut engine, &fastest(3));
    assert!(matches!(&first[..], [Ok((Kind::Snapshot, _))]));
    assert_eq!(engine.make_room_for(&fastest(4)), Err(("views", 1)));
    assert_eq!(engine.make_room_for(&fastest(3)), Ok(()), "somebody looks through it");
}

#[test]
fn a_window_over_more_rows_than_there_is_room_for_is_refused_and_harms_nobody() {
    let mut engine = engine(Limits::default().with(|limits| limits.view_rows = 150), 100);
    let (plain, _) = told(&mut engine, &Watch::new(at("/v/m1")));
    let (session, first) = told(&mut engine, &fastest(2));
    assert!(matches!(&first[..], [Ok((Kind::Snapshot, _))]));
    for n in 100..151 {
        put(&mut engine, &format!("/v/m{n}"), "{\"speed\":1}");
    }
    let refused = news(&mut engine, session);
    let is_full = |told: &[_]| matches!(told, [Err(Refusal::Limit { limit: "view_rows", .. })]);
    assert!(is_full(&refused), "{refused:?}");
    assert_eq!(engine.stats().view_rows, 0);
    let (other, refused) = told(&mut engine, &fastest(2));
    assert!(is_full(&refused), "{refused:?}");
    put(&mut engine, "/v/m1/speed", "5");
    assert_eq!(news(&mut engine, plain), [Ok((Kind::Snapshot, "{\"speed\":5}".to_owned()))]);
    // With fewer members there is room again.
    engine.close(session);
    engine.close(other);
    let action = Action::Delete;
    let write = Write { path: at("/v/m150"), action, condition: Condition::default() };
    engine.commit(&[write], Timestamp(0)).unwrap();
    engine.take_woken();
    let (_, first) = told(&mut engine, &fastest(2));
    assert!(matches!(&first[..], [Ok((Kind::Snapshot, _))]), "{first:?}");
}

#[test]
fn a_number_is_not_told_again_when_as_many_come_as_leave() {
    let mut engine = engine(Limits::default(), 4);
    let condition = Where::parse("speed > 1", &Bounds::default()).unwrap();
    let view = View::new(Wanted { condition: Some(condition), count: true, ..Wanted::default() });
    let watch = Watch { view: view.map(Arc::new), ..Watch::new(at("/v")) };
    let (session, first) = told(&mut engine, &watch);
    assert_eq!(first, [Ok((Kind::Snapshot, "2".to_owned()))]);
    let action =
        |text: &str| Action::Merge(Json::parse(text.as_bytes(), &Limits::default()).unwrap());
    let swap = action(r#"{"m0":{"speed":9},"m3":{"speed":0}}"#);
    let write = Write { path: at("/v"), action: swap, condition: Condition::default() };
    engine.commit(&[write], Timestamp(0)).unwrap();
    assert_eq!(news(&mut engine, session), []);
    put(&mut engine, "/v/m1/speed", "5");
    assert_eq!(news(&mut engine, session), [Ok((Kind::Snapshot, "3".to_owned()))]);
}

#[test]
fn orders_that_nobody_looks_through_do_not_hold_the_rows_of_others() {
    let mut engine = engine(Limits::default().with(|limits| limits.view_rows = 250), 100);
    let by = |order: &str| {
        let order = Some(Order::parse(order, &Bounds::default()).unwrap());
        let view = View::new(Wanted { order, limit: Some(1), ..Wanted::default() });
        Watch { view: view.map(Arc::new), ..Watch::new(at("/v")) }
    };
    for order in ["speed", "-speed", "a", "-a", "b"] {
        let (session, first) = told(&mut engine, &by(order));
        assert!(matches!(&first[..], [Ok((Kind::Snapshot, _))]), "{order}: {first:?}");
        engine.close(session);
    }
    // Nor does a collection that has grown, or is gone.
    let (session, _) = told(&mut engine, &by("-speed"));
    for n in 100..240 {
        put(&mut engine, &format!("/v/m{n}"), "{\"speed\":1}");
    }
    put(&mut engine, "/v/m1/speed", "500");
    let news = news(&mut engine, session);
    assert!(news.iter().all(Result::is_ok) && !news.is_empty(), "{news:?}");
    engine.close(session);
    put(&mut engine, "/v", "5");
    for n in 0..240 {
        put(&mut engine, &format!("/w/m{n}"), "{\"speed\":1}");
    }
    let (_, first) = told(&mut engine, &Watch { path: at("/w"), ..by("-speed") });
    assert!(matches!(&first[..], [Ok((Kind::Snapshot, _))]), "{first:?}");
}

#[test]
fn a_window_that_was_too_large_is_tried_again_for_each_reader() {
    let mut engine = engine(Limits::default().with(|limits| limits.view_rows = 105), 100);
    let (first, _) = told(&mut engine, &fastest(2));
    for n in 100..110 {
        put(&mut engine, &format!("/v/m{n}"), "{\"speed\":1}");
    }
    for n in 100..110 {
        let write = Write {
            path: at(&format!("/v/m{n}")),
            action: Action::Delete,
            condition: Condition::default(),
        };
        engine.commit(&[write], Timestamp(0)).unwrap();
        engine.take_woken();
    }
    // Also for one that asks for another number of members.
    for limit in [3, 2] {
        let (_, other) = told(&mut engine, &fastest(limit));
        assert!(matches!(&other[..], [Ok((Kind::Snapshot, _))]), "{limit}: {other:?}");
    }
    let news = news(&mut engine, first);
    assert!(matches!(&news[..], [Ok((Kind::Snapshot, _))]), "{news:?}");
}

#[test]
fn a_read_in_steps_of_what_becomes_a_leaf_shows_nothing_of_it() {
    let limits = Limits::default().with(|limits| limits.members_per_commit = 100_000);
    let mut engine = engine(limits, 0);
    engine.set_pace(8192, 4096, 1000);
    let members: Vec<String> = (0..30_000).map(|n| format!("\"m{n}\":{{\"speed\":{n}}}")).collect();
    put(&mut engine, "/v", &format!("{{{}}}", members.join(",")));
    for list in [false, true] {
        let view = View::new(Wanted { limit: Some(2), list, ..Wanted::default() }).unwrap();
        let read = engine.read_in_steps(&at("/v"), u32::MAX, Some(&Arc::new(view))).unwrap();
        let Read::InSteps(mut copying) = read else { panic!("it is small") };
        assert!(engine.copy_on(&mut copying).unwrap().is_none());
        put(&mut engine, "/v", "5");
        let copied = engine.copy_on(&mut copying).unwrap().unwrap().into_reading();
        drop(engine.end_copy(copying));
        let nothing: &[u8] = if list { b"[]" } else { b"{}" };
        assert_eq!(copied.value.as_deref(), Some(nothing));
        put(&mut engine, "/v", &format!("{{{}}}", members.join(",")));
    }
}
