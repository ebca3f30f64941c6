//! Sights: what the rules leave somebody of a path, as the engine shows it.
//!
//! Rules say of each level of the tree, by names and by conditions on the value there, whether it
//! may be seen. The engine has a scope: for each object the names in sight, and of all others what
//! stands with the first condition that is true.

use halfping_engine::{Others, Path, Scope, Within};
use halfping_rules::{Access, Part, Scope as Rule};
use halfping_shape::{Condition, Filled};

use crate::mutants;

/// A read in place of that of a path of which only a part may be seen.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Sight {
    /// The path of the resource: that which was asked for, or a collection above it.
    pub(crate) path: Path,
    /// The names that lead from there to what was asked for.
    pub(crate) of: Vec<Box<str>>,
    /// The condition on the member of the collection without which nothing is seen.
    pub(crate) condition: Option<Condition>,
    /// The part that is seen.
    pub(crate) scope: Scope,
}

/// A part that may be seen under a condition; without one, always.
type Case = (Option<Condition>, Scope);

impl Sight {
    /// The sight that a part leaves of a path. `None` if it depends on values at more than one level above,
    /// which is not worked out here.
    pub(crate) fn new(path: &Path, part: &Part) -> Option<Sight> {
        let names = path.segments();
        let at = (part.scope.all != Access::default()).then_some((names.len(), &part.scope.all));
        let mut gates = part.above.iter().map(|(level, access)| (*level, access)).chain(at);
        let Some((level, access)) = gates.next() else {
            let scope = within(&part.scope, part.allowed)?;
            return Some(Sight { path: path.clone(), of: Vec::new(), condition: None, scope });
        };
        let collection = level.checked_sub(1).filter(|_| gates.next().is_none())?;
        let mut cases = cases(&part.scope, access, part.allowed).into_iter();
        let (condition, scope) = cases.next().filter(|_| cases.next().is_none())?;
        let top = names[..collection].iter().fold(Path::ROOT, |path, name| path.child(name));
        Some(Sight { path: top, of: names[collection..].to_vec(), condition, scope })
    }

    /// True if a value that has no members is seen.
    pub(crate) fn shows_itself(&self) -> bool {
        matches!(&self.scope, Scope::Part(within) if within.itself)
    }

    /// The condition on members, if it is all that the rules ask: of each member all is seen, or
    /// nothing. Then the reader may ask for more.
    pub(crate) fn only_condition(&self) -> Option<Condition> {
        let Scope::Part(within) = &self.scope else { return None };
        let is_whole = |scope: &Scope| *scope == Scope::All;
        if !self.of.is_empty() || !within.names.values().flatten().all(is_whole) {
            return None;
        }
        let others = match &within.others {
            Others::Hidden => None,
            Others::Shown(scope) if is_whole(scope) => Some(Condition::always()),
            Others::Where(cases) if cases.iter().all(|(_, scope)| is_whole(scope)) => {
                cases.iter().map(|(condition, _)| condition.clone()).reduce(Condition::or)
            }
            _ => return None,
        };
        let hidden = within.names.iter().filter(|(_, scope)| scope.is_none());
        let others = others.map(|others| {
            hidden.fold(others, |others, (name, _)| others.and(Condition::of_other_key(name)))
        });
        let named = within.names.iter().filter(|(_, scope)| scope.is_some());
        let named = named.map(|(name, _)| Condition::of_key(name));
        named.chain(others).reduce(Condition::or)
    }
}

/// The part of a value that is seen, whatever it is. `allowed`: a level above allows all of it.
fn within(rule: &Rule, allowed: bool) -> Option<Scope> {
    let is_own_silent = rule.own == Access::default();
    if allowed && is_own_silent && rule.names.is_empty() && rule.rest.is_none() {
        return Some(Scope::All);
    }
    let mut others = match &rule.rest {
        Some(rest) => cases(rest, &rest.all, allowed),
        None => Vec::from_iter(allowed.then_some((None, Scope::All))),
    };
    let mut within = Within { itself: is_own(rule, allowed), ..Within::default() };
    for (name, member) in &rule.names {
        let mut of_name = cases(member, &member.all, allowed);
        match of_name.as_slice() {
            [] => drop(within.names.insert(name.clone(), None)),
            [(None, _)] => {
                let (_, scope) = of_name.remove(0);
                within.names.insert(name.clone(), Some(scope));
            }
            _ => {
                // It is one of those that are in sight by a condition.
                let is_it = |condition: Option<Condition>| {
                    let is_it = Condition::of_key(name);
                    condition.map_or(is_it.clone(), |condition| condition.and(is_it.clone()))
                };
                let of_name: Vec<Case> = of_name
                    .into_iter()
                    .map(|(condition, scope)| (Some(is_it(condition)), scope))
                    .collect();
                let is_other = Condition::of_other_key(name);
                for (condition, _) in &mut others {
                    let both = condition.take().map(|condition| condition.and(is_other.clone()));
                    *condition = Some(both.unwrap_or_else(|| is_other.clone()));
                }
                others.splice(0..0, of_name);
            }
        }
    }
    within.others = match others.as_slice() {
        [] => Others::Hidden,
        [(None, _)] => Others::Shown(others.remove(0).1),
        _ => Others::Where(
            others
                .into_iter()
                .map(|(condition, scope)| (condition.unwrap_or_else(Condition::always), scope))
                .collect(),
        ),
    };
    let shows_members =
        within.names.values().any(Option::is_some) || within.others != Others::Hidden;
    (within.itself || shows_members).then(|| within.into())
}

/// True if a value that has no members is seen. By a condition on the value itself it is not.
fn is_own(rule: &Rule, allowed: bool) -> bool {
    let is_allowed = allowed || rule.own.allowed == Filled::Always;
    is_allowed && rule.own.spared == Filled::Always
}

/// The parts of a value that may be seen, case by case: the first whose condition is true counts.
fn cases(rule: &Rule, all: &Access, allowed: bool) -> Vec<Case> {
    let spared = match &all.spared {
        Filled::Never if !mutants::is("mask-forgotten") => return Vec::new(),
        Filled::Never | Filled::Always => None,
        Filled::Where(condition) => Some(condition.clone()),
    };
    let both = |allows: &Condition| match &spared {
        Some(spared) => spared.clone().and(allows.clone()),
        None => allows.clone(),
    };
    let with = |condition: Option<Condition>, allowed: bool| -> Option<Case> {
        within(rule, allowed).map(|scope| (condition, scope))
    };
    match &all.allowed {
        Filled::Where(allows) if !allowed => {
            let allows = Some(both(allows));
            with(allows, true).into_iter().chain(with(spared.clone(), false)).collect()
        }
        all => with(spared, allowed || *all == Filled::Always).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use halfping_engine::{
        Action, Engine, Epoch, Json, Limits, Read, Timestamp, View, Wanted, Write,
    };
    use halfping_rules::{Reads, Rules, Subject, Verb};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;

    const PATHS: [&str; 12] = [
        "/",
        "/orders",
        "/orders/1",
        "/orders/{o}",
        "/orders/{o}/margin",
        "/orders/{o}/lines",
        "/orders/{o}/lines/{l}",
        "/teams",
        "/teams/{t}",
        "/teams/{t}/docs/{d}",
        "/x",
        "/{any}",
    ];
    const CONDITIONS: [&str; 6] = [
        "resource.owner == claims.sub",
        "resource.public",
        "resource.owner != 'lee'",
        "claims.sub == 'kim'",
        "claims.nobody == 1",
        "has(resource.margin)",
    ];

    fn rule() -> impl Strategy<Value = String> {
        let path = proptest::sample::select(&PATHS[..]);
        let condition = proptest::sample::select(&CONDITIONS[..]);
        let condition = proptest::option::weighted(0.6, condition);
        (path, condition, 0u8..4, any::<bool>()).prop_map(|(path, condition, effect, beneath)| {
            let is_deny = effect == 0;
            let effect = if is_deny { "deny" } else { "allow" };
            let condition = condition.map(|text| format!("when = \"{text}\"\n"));
            let condition = condition.unwrap_or_default();
            format!("[[rule]]\n{effect} = [\"read\"]\npath = \"{path}\"\n{condition}beneath = {beneath}\n")
        })
    }

    fn tree() -> impl Strategy<Value = Value> {
        let owner = proptest::sample::select(&["kim", "lee", "ann"][..]);
        let line = (owner.clone(), any::<bool>())
            .prop_map(|(owner, public)| json!({ "owner": owner, "public": public, "n": 1 }));
        let lines = proptest::collection::btree_map("[ab]", line.clone(), 0..3);
        let order = (owner, any::<bool>(), lines, any::<bool>()).prop_map(
            |(owner, public, lines, margin)| {
                let mut order = json!({ "owner": owner, "public": public, "lines": lines });
                if margin {
                    order["margin"] = json!(5);
                }
                order
            },
        );
        let orders = proptest::collection::btree_map("[123]", order, 0..4);
        let docs = proptest::collection::btree_map("[de]", line, 0..3);
        (orders, docs, any::<bool>()).prop_map(|(orders, docs, leaf)| {
            let x = if leaf { json!(7) } else { json!({ "y": { "owner": "kim", "z": 1 } }) };
            json!({ "orders": orders, "teams": { "red": { "docs": docs }, "blue": 3 }, "x": x })
        })
    }

    /// All values that have no members, by their paths.
    fn leaves(value: &Value, path: Vec<String>, into: &mut BTreeMap<Vec<String>, Value>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    leaves(value, [&path[..], std::slice::from_ref(name)].concat(), into);
                }
            }
            leaf => drop(into.insert(path, leaf.clone())),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_the_engine_shows_of_a_path_is_what_the_rules_allow(
            rules in proptest::collection::vec(rule(), 1..6),
            tree in tree(),
        ) {
            let Ok(rules) = Rules::parse(&rules.concat()) else { return Ok(()) };
            let claims = json!({ "sub": "kim" });
            let grant = rules.grant(&Subject { claims, ..Subject::default() });
            let mut engine = Engine::new(Limits::default(), Epoch::from_random(1), Timestamp(0));
            let value = Json::parse(tree.to_string().as_bytes(), &Limits::default()).unwrap();
            let write = Write {
                path: Path::ROOT,
                action: Action::Put(value),
                condition: halfping_engine::Condition::default(),
            };
            engine.commit(&[write], Timestamp(0)).unwrap();
            for text in ["/", "/orders", "/orders/1", "/orders/2/lines", "/orders/1/lines/a",
                "/orders/1/margin", "/teams", "/teams/red/docs/d", "/x", "/x/y", "/none"]
            {
                let path = Path::parse(text, &Limits::default()).unwrap();
                let segments = path.segments();
                let sight = match grant.read_at(segments) {
                    Reads::Part(part) => match Sight::new(&path, &part) {
                        Some(sight) => Some(sight),
                        None => continue,
                    },
                    Reads::All => None,
                    Reads::Nothing => continue,
                };
                let view = sight.as_ref().and_then(|sight| {
                    let Sight { of, condition, scope, .. } = sight.clone();
                    View::new(Wanted { condition, scope: Some(scope), of, ..Wanted::default() })
                });
                let at = sight.as_ref().map_or(&path, |sight| &sight.path);
                let view = view.map(Arc::new);
                let Read::Now(reading) =
                    engine.read_in_steps(at, u32::MAX, view.as_ref()).unwrap()
                else {
                    panic!("it is small");
                };
                let shown: Option<Value> =
                    reading.value.map(|body| serde_json::from_slice(&body).unwrap());
                let (mut seen, mut all) = (BTreeMap::new(), BTreeMap::new());
                let top: Vec<String> = segments.iter().map(ToString::to_string).collect();
                shown.iter().for_each(|value| leaves(value, top.clone(), &mut seen));
                leaves(&tree, Vec::new(), &mut all);
                let expected: BTreeMap<Vec<String>, Value> = all
                    .into_iter()
                    .filter(|(leaf, _)| leaf.starts_with(&top))
                    .filter(|(leaf, _)| {
                        let at = |depth: usize| {
                            leaf[..depth].iter().try_fold(&tree, |value, name| value.get(name))
                        };
                        grant.decide(Verb::Read, leaf, &at, &|_| None).allowed
                    })
                    .collect();
                prop_assert_eq!(seen, expected, "{} of {}: {:?}", text, grant.scope(), sight);
            }
        }
    }
}
