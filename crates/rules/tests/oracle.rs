//! Rules beside a second reading of them: each rule is tried at each level of each path, and its
//! condition is asked of all things at once.

// The helpers here are tests too; clippy sees only functions marked so.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use halfping_rules::{Reads, Rule, Rules, Severity, Subject, Verb};
use halfping_shape::{Bounds, Condition};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

/// The value at a path.
fn at<'v>(tree: &'v Json, path: &[String]) -> Option<&'v Json> {
    path.iter().try_fold(tree, |value, name| value.as_object()?.get(name))
}

/// Everything that is asked of the oracle.
struct Oracle<'a> {
    rules: &'a [Rule],
    subject: &'a Subject,
    before: &'a Json,
    after: &'a Json,
}

impl Oracle<'_> {
    fn may(&self, verb: Verb, path: &[String]) -> bool {
        let mut allowed = false;
        for rule in self.rules {
            let words = rule.allow.as_ref().or(rule.deny.as_ref()).unwrap();
            let is_write = verb != Verb::Read;
            if !words.iter().any(|word| *word == verb.to_string() || is_write && word == "write") {
                continue;
            }
            let segments: Vec<&str> =
                rule.path.split('/').filter(|part| !part.is_empty()).collect();
            let reaches = match rule.beneath {
                true => segments.len() <= path.len(),
                false => segments.len() == path.len(),
            };
            let matches =
                |(segment, name): (&&str, &String)| segment.starts_with('{') || *segment == &**name;
            if !reaches || !segments.iter().zip(path).all(matches) {
                continue;
            }
            let truth = self.truth(rule, verb, &segments, path);
            match rule.allow.is_some() {
                true if truth == Some(true) => allowed = true,
                false if truth != Some(false) => return false,
                _ => {}
            }
        }
        allowed
    }

    fn truth(&self, rule: &Rule, verb: Verb, segments: &[&str], path: &[String]) -> Option<bool> {
        let mut things = Map::new();
        things.insert("claims".to_owned(), self.subject.claims.clone());
        things.insert("me".to_owned(), self.subject.me.clone());
        for (segment, name) in segments.iter().zip(path) {
            if let Some(variable) = segment.strip_prefix('{') {
                things.insert(variable.trim_end_matches('}').to_owned(), json!(name));
            }
        }
        // In the trees here nothing is null, so null is what is not there.
        let member = |tree: &Json| at(tree, &path[..segments.len()]).cloned().unwrap_or_default();
        things.insert("resource".to_owned(), member(self.before));
        let after = if verb == Verb::Read { Json::Null } else { member(self.after) };
        things.insert("new".to_owned(), after);
        let things = Json::Object(things);
        let ask =
            |text: &str| Condition::parse(text, &Bounds::default()).unwrap().evaluate(&things, "");
        match (&rule.when, &rule.unless) {
            (Some(when), _) => ask(when),
            (_, Some(unless)) => ask(unless).map(|truth| !truth),
            _ => Some(true),
        }
    }

    fn view(&self, path: &mut Vec<String>, value: &Json) -> Option<Json> {
        let may = self.may(Verb::Read, path);
        let Json::Object(members) = value else { return may.then(|| value.clone()) };
        let mut shown = Map::new();
        for (name, member) in members {
            path.push(name.clone());
            if let Some(member) = self.view(path, member) {
                shown.insert(name.clone(), member);
            }
            path.pop();
        }
        (may || !shown.is_empty()).then_some(Json::Object(shown))
    }
}

fn paths(tree: &Json, path: &mut Vec<String>, all: &mut BTreeSet<Vec<String>>) {
    all.insert(path.clone());
    for (name, value) in tree.as_object().into_iter().flatten() {
        path.push(name.clone());
        paths(value, path, all);
        path.pop();
    }
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned)
}

fn tree() -> BoxedStrategy<Json> {
    let leaf = prop_oneof![
        2 => any::<bool>().prop_map(|bool| json!(bool)),
        2 => (0..4).prop_map(|int| json!(int)),
        3 => name().prop_map(|name| json!(name)),
        1 => prop::collection::vec(name(), 0..3).prop_map(|names| json!(names)),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| object(inner.boxed())).boxed()
}

fn object(value: BoxedStrategy<Json>) -> BoxedStrategy<Json> {
    prop::collection::vec((name(), value), 0..5)
        .prop_map(|members| Json::Object(members.into_iter().collect()))
        .boxed()
}

/// Conditions; `$x` and `$y` are variables of the pattern, as far as it has them.
const CONDITIONS: [&str; 40] = [
    "'a' in claims.roles",
    "claims.level > 1",
    "claims.none == 1",
    "has(me.a)",
    "me != null",
    "size(me.teams) > 1",
    "claims == claims",
    "claims.level",
    "resource.a == claims.sub",
    "resource.a != claims.sub",
    "resource.b < claims.level",
    "resource.c",
    "!resource.c",
    "has(resource.a)",
    "!has(resource.a)",
    "resource.a.b == 1",
    "resource.a in me.teams",
    "resource.a in me.on",
    "claims.sub in resource.b",
    "resource.a == resource.b",
    "resource == null",
    "resource != null",
    "resource.a.startsWith(claims.sub)",
    "size(resource.a) == claims.level",
    "$x in me.teams",
    "$x in me.on",
    "$x in me.none",
    "$x == claims.sub",
    "$y in me.teams",
    "$y == claims.sub",
    "$y != claims.sub",
    "resource.a == $y",
    "$y.startsWith('a') || $y == resource.b",
    "$x in me.teams && resource.a == $x",
    "$y in me.on && (resource.a == $y || resource.c)",
    "$x in me.teams && $y in me.on",
    "$y in ['a', 'b'] && !(resource.b == $y)",
    "new.a == claims.sub",
    "new == null",
    "new.b == resource.b",
];

fn condition() -> BoxedStrategy<String> {
    let one = prop::sample::select(CONDITIONS.to_vec()).prop_map(str::to_owned);
    let two = (one.clone(), one.clone());
    prop_oneof![
        4 => one.clone(),
        2 => two.clone().prop_map(|(one, other)| format!("({one}) && ({other})")),
        1 => two.clone().prop_map(|(one, other)| format!("({one}) || ({other})")),
        1 => two.prop_map(|(one, other)| format!("!(({one}) && ({other}))")),
        1 => (one.clone(), one).prop_map(|(one, other)| format!("(({one}) && ({other})) == false")),
    ]
    .boxed()
}

fn verbs() -> BoxedStrategy<Vec<String>> {
    let lists: [&[&str]; 6] =
        [&["read"], &["read"], &["read", "update"], &["write"], &["create"], &["delete", "update"]];
    let list = prop::sample::select(lists.to_vec());
    list.prop_map(|list| list.iter().map(|verb| (*verb).to_owned()).collect()).boxed()
}

prop_compose! {
    fn rule()(
        is_allow in prop::bool::weighted(0.7),
        verbs in verbs(),
        segments in prop::collection::vec(prop_oneof![name(), Just("*".to_owned())], 0..4),
        condition in prop::option::weighted(0.6, condition()),
        is_when in any::<bool>(),
        beneath in prop::bool::weighted(0.6),
    ) -> Rule {
        let (mut path, mut variables) = (String::new(), Vec::new());
        for segment in segments {
            if segment == "*" {
                variables.push(["x", "y", "z", "w"][variables.len()]);
                path.push_str(&format!("/{{{}}}", variables[variables.len() - 1]));
            } else {
                path.push_str(&format!("/{segment}"));
            }
        }
        // The last variable is $y; it is $x as well where there is one.
        let first = variables.first().copied();
        let condition = condition.map(|text| match (first, variables.last()) {
            (Some(first), Some(last)) => text.replace("$x", first).replace("$y", last),
            _ => text.replace("$x", "claims.sub").replace("$y", "claims.sub"),
        });
        let (when, unless) = if is_when { (condition, None) } else { (None, condition) };
        let (allow, deny) = if is_allow { (Some(verbs), None) } else { (None, Some(verbs)) };
        let path = if path.is_empty() { "/".to_owned() } else { path };
        Rule { allow, deny, path, when, unless, beneath }
    }
}

prop_compose! {
    fn subject()(
        sub in name(),
        level in 0..4,
        roles in prop::collection::vec(name(), 0..3),
        teams in prop::option::of(prop::collection::vec(name(), 0..3)),
        on in prop::collection::btree_map(name(), 0..3, 0..3),
        is_somebody in prop::bool::weighted(0.9),
    ) -> Subject {
        let me = json!({"teams": teams, "on": on, "a": 1});
        Subject {
            claims: json!({"sub": sub, "level": level, "roles": roles}),
            me: if is_somebody { me } else { Json::Null },
        }
    }
}

/// Those of the rules that are sound beside the others.
fn sound(mut rules: Vec<Rule>) -> (Vec<Rule>, Rules) {
    loop {
        match Rules::new(rules.clone()) {
            Ok(sound) => return (rules, sound),
            Err(refused) => {
                let errors = refused.findings.iter().filter(|of| of.severity == Severity::Error);
                let wrong: BTreeSet<usize> = errors.filter_map(|of| of.rule).collect();
                let mut number = 0;
                rules.retain(|_| {
                    number += 1;
                    !wrong.contains(&number)
                });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn what_is_shown_and_decided_is_what_each_rule_says_at_each_level(
        rules in prop::collection::vec(rule(), 1..9),
        subject in subject(),
        before in object(object(tree())),
        after in object(object(tree())),
        other in prop::collection::vec(name(), 0..4),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let (written, rules) = sound(rules);
        let oracle = Oracle { rules: &written, subject: &subject, before: &before, after: &after };
        let grant = rules.grant(&subject);
        let view = grant.view(&before);
        prop_assert_eq!(&view, &oracle.view(&mut Vec::new(), &before), "{}", grant.scope());

        let mut all = BTreeSet::from([other]);
        paths(&before, &mut Vec::new(), &mut all);
        paths(&after, &mut Vec::new(), &mut all);
        for path in &all {
            let before_at = |level: usize| at(&before, &path[..level]);
            for verb in [Verb::Read, Verb::Create, Verb::Update, Verb::Delete] {
                let is_write = verb != Verb::Read;
                let after_at = |level: usize| at(&after, &path[..level]).filter(|_| is_write);
                let decision = grant.decide(verb, path, &before_at, &after_at);
                prop_assert_eq!(decision.allowed, oracle.may(verb, path), "{} {:?}", verb, path);
                let explained = grant.explain(verb, path, &before_at, &after_at);
                prop_assert_eq!(explained.decision, decision);
                let applies = |of: &halfping_rules::Considered| Some(of.rule) == decision.by;
                prop_assert!(explained.rules.iter().all(|of| !applies(of) || of.applies));
            }
            let Some(value) = before_at(path.len()) else { continue };
            let shown = match grant.read_at(path) {
                Reads::All => Some(value.clone()),
                Reads::Nothing => None,
                Reads::Part(part) => part.shown(path, &before_at, value),
            };
            let expected = view.as_ref().and_then(|view| at(view, path));
            prop_assert_eq!(shown.as_ref(), expected, "{:?} of {}", path, grant.scope());
        }

        // The order of rules does not matter.
        let mut turned = written.clone();
        turned.rotate_left(shuffle.index(written.len().max(1)));
        let turned = Rules::new(turned).unwrap().grant(&subject);
        prop_assert_eq!(turned.scope(), grant.scope());
        // Rules that are there twice do not matter.
        let twice = Rules::new([written.clone(), written].concat()).unwrap().grant(&subject);
        prop_assert_eq!(twice.scope(), grant.scope());
    }
}
