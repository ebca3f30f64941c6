//! The oracle for views: for every pair of revisions r <= now, the frames of a link since r take
//! what the view was at r (and at any revision in between) to what it is now. What it is, is said
//! by a slow model of views ([`slow`]) on `serde_json` values.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod reader;
mod slow;
mod world;

use std::sync::Arc;

use halfping_engine::*;
use halfping_shape::{Bounds, Condition as Where};
use proptest::prelude::*;
use reader::cut;
use serde_json::{Map, Value, json};
use slow::{Asked, Spec, asked};
use world::*;

#[test]
fn a_member_that_takes_the_place_of_a_forgotten_one_is_told_whole() {
    let limits = Limits::default().with(|limits| limits.tombstones_per_object = 1);
    let mut world = World::new(limits);
    let spec = Spec::new(Asked::plain(2), u32::MAX);
    let filler = json!({ "x": 5, "filler": "x".repeat(300) });
    world.perform(&Step::Anew(json!({ "k0": filler, "k1": { "x": 3, "y": 1 }, "k2": { "x": 0 } })));
    // The lens is there while the member goes, and its tombstone is pushed out by one that the
    // view does not show.
    let watch = world.watch(&spec, None);
    world.open(&watch);
    let since = world.history.len() - 1;
    world.perform(&Step::Delete(1));
    world.perform(&Step::Delete(2));
    world.perform(&Step::Put(1, json!({ "x": 4, "owner": "a" })));
    world.check(&spec, since);
    let watch = world.watch(&spec, Some(world.history[since].0));
    let frames = world.told(&watch);
    assert_eq!((frames.len(), frames[0].kind), (1, Kind::Patch), "{frames:?}");
}

#[test]
fn a_view_that_takes_long_to_look_through_is_cut_as_others_are() {
    let mut world = World::new(Limits::default());
    let members: Value = (0..2000).map(|i| (format!("m{i}"), json!({ "x": { "y": i } }))).collect();
    world.perform(&Step::Anew(members));
    // So long that the view is copied in steps.
    let parts = (0..20).map(|i| format!("key() != 'a member that is not there {i}'"));
    let condition = parts.collect::<Vec<_>>().join(" && ");
    let condition = Where::parse(&condition, &Bounds::default()).unwrap();
    let view =
        Arc::new(View::new(Wanted { condition: Some(condition), ..Wanted::default() }).unwrap());
    let path = Path::ROOT.child("c");
    for (depth, members) in [(0, 0), (1, 2000), (2, 2000)] {
        let reading = match world.engine.read_in_steps(&path, depth, Some(&view)).unwrap() {
            Read::Now(reading) => reading,
            Read::InSteps(mut copying) => loop {
                if let Some(copied) = world.engine.copy_on(&mut copying).unwrap() {
                    drop(world.engine.end_copy(copying));
                    break copied.into_reading();
                }
            },
        };
        let value: Value = serde_json::from_slice(&reading.value.unwrap()).unwrap();
        assert_eq!(value.as_object().map(Map::len), Some(members), "depth {depth}");
        assert!(members == 0 || value["m7"] == cut(&json!({ "x": { "y": 7 } }), depth - 1));
    }
}

#[test]
fn a_member_that_leaves_before_its_turn_in_a_walk_and_comes_back_is_told_whole() {
    // In the second round, k0 is out of the window when its turn comes. What it lost before that
    // round began is told when it is back.
    let limits = Limits::default().with(|limits| limits.slice_bytes = 24);
    let mut world = World::new(limits);
    let spec =
        Spec::new(Asked { view: 12, order: 6, limit: Some(3), ..Asked::plain(12) }, u32::MAX);
    let watch = world.watch(&spec, None);
    let twin = world.open(&watch);
    world.perform(&Step::Merge(json!({ "k5": { "owner": "a" } })));
    world.perform(&Step::Merge(json!({ "k1": { "owner": "a" } })));
    world.perform(&Step::Merge(json!({ "k0": { "deep": { "e": 0 } } })));
    world.perform(&Step::Merge(json!({ "k0": { "x": true } })));
    let mut reader = Reader::new(world.open(&watch));
    let mut turns = |world: &mut World, turns: usize| {
        for _ in 0..turns {
            if let Some(update) = world.turn(reader.session, Tick(0)) {
                reader.take(update, &spec, &world.history);
            }
        }
    };
    turns(&mut world, 2);
    world.perform(&Step::Merge(json!({ "k0": { "owner": "a" } })));
    world.perform(&Step::Merge(json!({ "k2": { "owner": "b" } })));
    world.perform(&Step::Put(0, json!({ "owner": "a" })));
    world.perform(&Step::Merge(json!({ "k4": { "owner": "b" } })));
    world.perform(&Step::Delete(4));
    while world.engine.has_work() {
        world.work();
    }
    turns(&mut world, 2);
    world.perform(&Step::Merge(json!({ "k1": { "list": [] } })));
    world.perform(&Step::Merge(json!({ "k4": { "owner": "b" } })));
    while world.engine.has_work() {
        world.work();
    }
    turns(&mut world, 1);
    world.perform(&Step::Put(0, json!({ "owner": "b" })));
    while let Some(update) = world.pull(reader.session, Tick(1000)) {
        reader.take(update, &spec, &world.history);
    }
    world.engine.close(twin);
}

/// Cases: 10,000 in all in CI; `HALFPING_VIEW_CASES` for more.
fn cases(usual: u32) -> u32 {
    let asked = std::env::var("HALFPING_VIEW_CASES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(usual)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(10_000), max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_delta_takes_any_earlier_state_of_a_view_to_the_state_now(
        steps in proptest::collection::vec((step(), 0u8..12), 1..25),
        asked in asked(),
        others in proptest::collection::vec(1usize..6, 0..3),
        depth in prop_oneof![4 => Just(u32::MAX), 1 => 0u32..4],
        slice_bytes in prop_oneof![2 => Just(1usize << 16), 1 => Just(48), 1 => Just(8)],
        tombstones_per_object in prop_oneof![Just(1024usize), Just(2), Just(1), Just(0)],
        looks in prop_oneof![2 => Just(1usize << 16), 1 => 1usize..50],
    ) {
        let limits = Limits::default().with(|limits| {
            limits.slice_bytes = slice_bytes;
            limits.tombstones_per_object = tombstones_per_object;
        });
        let mut world = World::new(limits);
        world.engine.set_pace(8192, 4096, looks);
        let spec = Spec::new(asked, depth);
        // Windows of the same order with other limits are looked through all the time.
        let other = world.engine.open();
        for limit in others.iter().filter(|_| asked.limit.is_some()) {
            let spec = Spec::new(Asked { limit: Some(*limit), ..asked }, depth);
            let watch = world.watch(&spec, None);
            world.engine.watch(other, *limit as u32, &watch);
            world.engine.take_woken();
        }
        tell_from_every_state(&mut world, &spec, &steps, |world| {
            while world.turn(other, Tick(0)).is_some() {}
        });
        world.engine.close(other);
        prop_assert_eq!(world.engine.stats().views, 0);
        prop_assert_eq!(world.outlast(), (0, 0));
    }

    #[test]
    fn live_readers_of_views_of_any_speed_hold_states_that_were(
        steps in proptest::collection::vec((step(), 0u8..4, 0usize..8, 0u8..16), 1..40),
        asked in proptest::collection::vec(asked(), 4),
        is_one_order in any::<bool>(),
        slice_bytes in prop_oneof![2 => Just(1usize << 16), 1 => Just(24)],
        tombstones_per_object in prop_oneof![Just(1024usize), Just(2), Just(0)],
        marks in prop_oneof![2 => Just(8192usize), 1 => Just(1)],
        looks in prop_oneof![1 => Just(1usize << 16), 1 => 1usize..50],
        interval_ms in prop_oneof![2 => Just(0u64), 1 => 1u64..4],
    ) {
        let limits = Limits::default().with(|limits| {
            limits.slice_bytes = slice_bytes;
            limits.tombstones_per_object = tombstones_per_object;
        });
        let mut world = World::new(limits);
        world.engine.set_pace(marks, 4096, looks);
        // Two of each view, which share encodings; odd ones of the last two take whole values.
        let asked = |view: usize| match is_one_order && asked[0].limit.is_some() {
            true => Asked { limit: Some(view + 1), ..asked[0] },
            false => asked[view],
        };
        let specs: Vec<Spec> = (0..8).map(|i| Spec::new(asked(i / 2), u32::MAX)).collect();
        let watch = |world: &World, i: usize, since| Watch {
            whole: i >= 4 && i % 2 == 1,
            interval_ms: if i == 0 { interval_ms } else { 0 },
            ..world.watch(&specs[i], since)
        };
        follow_live(&mut world, &specs, watch, &steps);
    }

    #[test]
    fn a_copy_of_a_view_is_what_it_is_when_it_is_done(
        before in proptest::collection::vec(step(), 0..20),
        meanwhile in proptest::collection::vec(step(), 0..20),
        asked in asked(),
        is_looked_through in any::<bool>(),
        depth in prop_oneof![3 => Just(u32::MAX), 1 => 0u32..3],
        step_bytes in prop_oneof![Just(100usize), Just(200)],
        tombstones_per_object in prop_oneof![Just(0usize), Just(1024)],
    ) {
        let mut world = World::new(Limits::default().with(|limits| {
            limits.tombstones_per_object = tombstones_per_object;
        }));
        let spec = Spec::new(asked, depth);
        if is_looked_through {
            let watch = world.watch(&spec, None);
            world.open(&watch);
        }
        let reading = copy_meanwhile(&mut world, &spec, &before, &meanwhile, step_bytes);
        let now = &world.history.last().unwrap().1;
        if let Some(body) = reading.filter(|_| spec.is_ordered()) {
            prop_assert_eq!(names_in_order(&body), spec.names(now), "{}", spec.text());
        }
    }
}
