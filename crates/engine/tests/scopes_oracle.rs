//! The oracle for scopes: what a reader who may see only a part is told, from every state that it
//! may have, is that part of the state now, and names nothing that was never in sight. The part is
//! worked out by a slow model on `serde_json` values.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod reader;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use halfping_engine::*;
use halfping_shape::{Bounds, Condition as Where, Selection};
use proptest::prelude::*;
use reader::cut;
use serde_json::{Map, Value, json};
use world::*;

/// Conditions on a member of the collection.
const CONDITIONS: [&str; 7] = [
    "owner == 'a'",
    "owner in ['a', 'b'] && x > 2",
    "x > 2",
    "!(x > 2)",
    "has(deep.e) || key() == 'k1'",
    "deep.e == 1",
    "'a' in list",
];

/// A scope, and where its reader reads.
#[derive(Clone, Debug)]
struct Spec {
    /// Names that lead to what is read.
    path: Vec<&'static str>,
    /// The number of these that lead to a collection; the next is that of a member, which is in
    /// sight as long as the condition is true of it.
    gate: Option<(usize, &'static str)>,
    scope: Scope,
    depth: u32,
}

fn condition(text: &str) -> Where {
    Where::parse(text, &Bounds::default()).unwrap()
}

impl Model for Spec {
    fn path(&self) -> Path {
        let names = self.gate.map_or(self.path.len(), |(names, _)| names);
        self.path[..names].iter().fold(Path::ROOT, |path, name| path.child(name))
    }

    fn view(&self) -> Option<Arc<View>> {
        let (names, condition) = match self.gate {
            Some((names, text)) => (names, Some(condition(text))),
            None => (self.path.len(), None),
        };
        let of = self.path[names..].iter().map(|name| Box::from(*name)).collect();
        let scope = Some(self.scope.clone());
        View::new(Wanted { condition, scope, of, ..Wanted::default() }).map(Arc::new)
    }

    fn depth(&self) -> u32 {
        self.depth
    }

    fn of(&self, root: &Value) -> Option<Value> {
        let mut value = root;
        for (number, name) in self.path.iter().enumerate() {
            value = value.get(name)?;
            if let Some((gate, text)) = self.gate
                && gate == number
                && !condition(text).matches(value, name)
            {
                return None;
            }
        }
        Some(cut(&seen(&self.scope, value), self.depth))
    }

    fn names(&self, root: &Value) -> Vec<String> {
        let value = self.of(root);
        value
            .as_ref()
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(n, _)| n.clone())
            .collect()
    }

    fn has_members(&self) -> bool {
        self.view().is_some()
    }

    fn is_ordered(&self) -> bool {
        false
    }

    fn text(&self) -> String {
        format!("{} seen as {:?}", self.path.join("/"), self.view().map(|v| v.text().to_owned()))
    }
}

/// The part of a value that a scope shows.
fn seen(scope: &Scope, value: &Value) -> Value {
    let Scope::Part(within) = scope else { return value.clone() };
    let Value::Object(members) = value else {
        return if within.itself { value.clone() } else { json!({}) };
    };
    let mut shown = Map::new();
    for (name, value) in members {
        let scope = match (within.names.get(name.as_str()), &within.others) {
            (Some(scope), _) => scope.as_ref(),
            (None, Others::Hidden) => None,
            (None, Others::Shown(scope)) => Some(scope),
            (None, Others::Where(cases)) => {
                cases.iter().find(|(test, _)| test.matches(value, name)).map(|(_, scope)| scope)
            }
        };
        shown.extend(scope.map(|scope| (name.clone(), seen(scope, value))));
    }
    Value::Object(shown)
}

fn names(
    of: &'static [&'static str],
    scope: BoxedStrategy<Scope>,
) -> impl Strategy<Value = BTreeMap<Box<str>, Option<Scope>>> {
    let entry = (proptest::sample::select(of), proptest::option::weighted(0.7, scope));
    proptest::collection::vec(entry, 0..3)
        .prop_map(|names| names.into_iter().map(|(name, scope)| (name.into(), scope)).collect())
}

fn within(
    of: &'static [&'static str],
    conditions: &'static [&'static str],
    scope: BoxedStrategy<Scope>,
) -> BoxedStrategy<Scope> {
    let case = (proptest::sample::select(conditions), scope.clone())
        .prop_map(|(text, scope)| (condition(text), scope));
    let others = prop_oneof![
        2 => Just(Others::Hidden),
        2 => scope.clone().prop_map(Others::Shown),
        5 => proptest::collection::vec(case, 1..3).prop_map(Others::Where),
    ];
    (names(of, scope), others, any::<bool>())
        .prop_map(|(names, others, itself)| Within { names, others, itself }.into())
        .boxed()
}

/// Scopes of members, of the collection, and of the root.
fn of_member() -> BoxedStrategy<Scope> {
    let part = || {
        within(
            &["owner", "x", "y", "deep", "list"],
            &["e == 1", "has(f)"],
            Just(Scope::All).boxed(),
        )
    };
    prop_oneof![3 => Just(Scope::All), 2 => part()].boxed()
}

fn of_collection() -> BoxedStrategy<Scope> {
    within(&KEYS[..4], &CONDITIONS, of_member())
}

fn of_root() -> BoxedStrategy<Scope> {
    let of = (of_collection(), any::<bool>(), any::<bool>());
    of.prop_map(|(scope, beside, is_named)| {
        let within = match is_named {
            true => Within::default().but("c", Some(scope)),
            false => Within::others(Others::Shown(scope)),
        };
        within.but("beside", beside.then_some(Scope::All)).into()
    })
    .boxed()
}

fn spec() -> impl Strategy<Value = Spec> {
    let depth = prop_oneof![5 => Just(u32::MAX), 1 => 0u32..5];
    let conditions = || proptest::sample::select(&CONDITIONS[..]);
    let key = || proptest::sample::select(&KEYS[..3]);
    let place = prop_oneof![
        3 => of_root().prop_map(|scope| (vec![], None, scope)),
        4 => of_collection().prop_map(|scope| (vec!["c"], None, scope)),
        2 => (key(), of_member()).prop_map(|(key, scope)| (vec!["c", key], None, scope)),
        4 => (key(), conditions(), of_member())
            .prop_map(|(key, text, scope)| (vec!["c", key], Some((1, text)), scope)),
        2 => (key(), conditions())
            .prop_map(|(key, text)| (vec!["c", key, "deep"], Some((1, text)), Scope::All)),
    ];
    (place, depth).prop_map(|((path, gate, scope), depth)| Spec { path, gate, scope, depth })
}

/// A reader of `/c` as a part of the root, by its path.
struct OfRoot;

impl Model for OfRoot {
    fn path(&self) -> Path {
        Path::ROOT
    }

    fn view(&self) -> Option<Arc<View>> {
        let selection = Some(Selection::parse("/c", &Bounds::default()).unwrap());
        View::new(Wanted { selection, ..Wanted::default() }).map(Arc::new)
    }

    fn depth(&self) -> u32 {
        u32::MAX
    }

    fn of(&self, root: &Value) -> Option<Value> {
        Some(root.get("c").map_or(json!({}), |c| json!({ "c": c })))
    }

    fn names(&self, _: &Value) -> Vec<String> {
        Vec::new()
    }

    fn has_members(&self) -> bool {
        false
    }

    fn is_ordered(&self) -> bool {
        false
    }

    fn text(&self) -> String {
        "select=/c".to_owned()
    }
}

/// Follows a model while a member is removed and forgotten that one round of slices has told and
/// the next has not come to.
fn forget_between_rounds(spec: &impl Model) {
    let limits = Limits::default().with(|limits| {
        limits.slice_bytes = 24;
        limits.tombstones_per_object = 2;
    });
    let mut world = World::new(limits);
    let watch = world.watch(spec, None);
    let twin = world.open(&watch);
    let mut reader = Reader::new(world.open(&watch));
    let steps = [
        (Step::Merge(json!({ "k3": { "owner": "a" } })), 2),
        (Step::Merge(json!({ "k6": { "deep": { "e": 0 } } })), 1),
        (Step::Put(3, json!({})), 0),
        (Step::Delete(6), 0),
        (Step::Merge(json!({ "k0": { "owner": "a" } })), 0),
        (Step::Merge(json!({ "k4": { "owner": "a" }, "k5": { "owner": "a" } })), 2),
        (Step::Delete(3), 0),
        (Step::Delete(4), 0),
    ];
    for (number, (step, turns)) in steps.iter().enumerate() {
        world.perform(step);
        if number < 2 {
            world.engine.close(reader.session);
            let watch = world.watch(spec, reader.complete.as_ref().map(|(at, _)| *at));
            reader.resume(world.open(&watch));
        }
        while world.engine.has_work() {
            world.work();
        }
        for _ in 0..*turns {
            if let Some(update) = world.turn(reader.session, Tick(0)) {
                reader.take(update, spec, &world.history);
            }
        }
    }
    while let Some(update) = world.pull(reader.session, Tick(1000)) {
        reader.take(update, spec, &world.history);
    }
    assert_eq!(reader.state, spec.of(&world.history.last().unwrap().1), "{}", spec.text());
    world.engine.close(twin);
}

#[test]
fn a_member_that_is_forgotten_between_two_rounds_is_told_as_gone() {
    forget_between_rounds(&OfRoot);
    let all = Within::others(Others::Shown(Scope::All));
    let scope = Within::others(Others::Shown(all.into())).but("beside", None).into();
    forget_between_rounds(&Spec { path: Vec::new(), gate: None, scope, depth: u32::MAX });
}

/// Cases: some thousands in CI; `HALFPING_VIEW_CASES` for more.
fn cases(usual: u32) -> u32 {
    let asked = std::env::var("HALFPING_VIEW_CASES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(usual)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(4_000), max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_delta_takes_any_earlier_state_of_what_is_in_sight_to_the_state_now(
        steps in proptest::collection::vec((step(), 0u8..12), 1..25),
        spec in spec(),
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
        tell_from_every_state(&mut world, &spec, &steps, |_| {});
        prop_assert_eq!(world.engine.stats().views, 0);
        prop_assert_eq!(world.outlast(), (0, 0));
    }

    #[test]
    fn live_readers_who_see_a_part_hold_states_that_were(
        steps in proptest::collection::vec((step(), 0u8..4, 0usize..4, 0u8..16), 1..40),
        specs in proptest::collection::vec(spec(), 2),
        slice_bytes in prop_oneof![2 => Just(1usize << 16), 1 => Just(24)],
        tombstones_per_object in prop_oneof![Just(1024usize), Just(2), Just(0)],
        marks in prop_oneof![2 => Just(8192usize), 1 => Just(1)],
        looks in prop_oneof![1 => Just(1usize << 16), 1 => 1usize..50],
    ) {
        let limits = Limits::default().with(|limits| {
            limits.slice_bytes = slice_bytes;
            limits.tombstones_per_object = tombstones_per_object;
        });
        let mut world = World::new(limits);
        world.engine.set_pace(marks, 4096, looks);
        // Two of each, which share encodings; the last takes whole values.
        let specs: Vec<Spec> = (0..4).map(|i| specs[i / 2].clone()).collect();
        let watch = |world: &World, i: usize, since| {
            Watch { whole: i == 3, ..world.watch(&specs[i], since) }
        };
        follow_live(&mut world, &specs, watch, &steps);
    }

    #[test]
    fn a_copy_of_what_is_in_sight_is_what_it_is_when_it_is_done(
        before in proptest::collection::vec(step(), 0..20),
        meanwhile in proptest::collection::vec(step(), 0..20),
        spec in spec(),
        step_bytes in prop_oneof![Just(100usize), Just(200)],
        tombstones_per_object in prop_oneof![Just(0usize), Just(1024)],
    ) {
        let mut world = World::new(Limits::default().with(|limits| {
            limits.tombstones_per_object = tombstones_per_object;
        }));
        copy_meanwhile(&mut world, &spec, &before, &meanwhile, step_bytes);
    }
}
