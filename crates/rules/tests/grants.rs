//! The outcome of rules for a subject.

use halfping_rules::{NAMES_MAX, Reads, Rule, Rules, Subject, Verb};
use serde_json::{Value as Json, json};

/// The rules of a shop: its orders, their margins, its teams.
const SHOP: &str = r#"
[[rule]]
allow = ["read", "update"]
path  = "/orders/{order}"
when  = "resource.owner == claims.sub || 'support' in claims.roles"

[[rule]]
deny   = ["read"]
path   = "/orders/{order}/margin"
unless = "'finance' in claims.roles"

[[rule]]
allow = ["read"]
path  = "/teams/{team}"
when  = "team in me.teams"

[[rule]]
allow = ["create"]
path  = "/orders/{order}"
when  = "new.owner == claims.sub && new.status == 'open'"
"#;

fn subject(claims: Json, me: Json) -> Subject {
    Subject { claims, me }
}

fn scope(rules: &str, subject: &Subject) -> String {
    let rules = Rules::parse(rules).unwrap_or_else(|refused| panic!("{refused}"));
    rules.grant(subject).scope().to_string()
}

#[test]
fn what_is_known_of_a_subject_is_worked_out() {
    let user = subject(json!({"sub": "u1", "roles": []}), json!({"teams": ["red", "blue"]}));
    assert_eq!(
        scope(SHOP, &user),
        "/orders/*/** allow when owner == \"u1\"\n/orders/*/margin/** deny\n\
         /teams/blue/** allow\n/teams/red/** allow\n"
    );
    let staff = subject(json!({"sub": "u2", "roles": ["support", "finance"]}), Json::Null);
    assert_eq!(scope(SHOP, &staff), "/orders/*/** allow\n");
    // Without a claim nothing is allowed, and what is denied unless it is there is denied.
    assert_eq!(scope(SHOP, &Subject::default()), "nothing\n");
    let all = format!("[[rule]]\nallow = ['read']\npath = '/'\n{SHOP}");
    assert_eq!(scope(&all, &Subject::default()), "/** allow\n/orders/*/margin/** deny\n");
}

#[test]
fn each_name_that_a_variable_is_bound_to_has_a_condition_of_its_own() {
    let rules = "[[rule]]\nallow = ['read']\npath = '/teams/{team}/{task}'\n\
                 when = 'team in me.teams && task in [\"a\", team] && resource.team == team'\n";
    let user = subject(json!({}), json!({"teams": ["red", "blue"]}));
    assert_eq!(
        scope(rules, &user),
        "/teams/blue/*/** allow when team == \"blue\" && key() in [\"a\", \"blue\"]\n\
         /teams/red/*/** allow when team == \"red\" && key() in [\"a\", \"red\"]\n"
    );
}

#[test]
fn a_deny_whose_binding_has_no_value_denies_for_all_names() {
    let rules = "[[rule]]\nallow = ['read']\npath = '/teams'\n\
                 [[rule]]\ndeny = ['read']\npath = '/teams/{team}/plan'\n\
                 when = 'team in me.rivals && resource.secret != false'\n";
    let nobody = Subject::default();
    assert_eq!(
        scope(rules, &nobody),
        "/teams/** allow\n/teams/*/plan/** deny unless secret == false\n"
    );
    let user = subject(json!({}), json!({"rivals": ["red"]}));
    assert_eq!(
        scope(rules, &user),
        "/teams/** allow\n/teams/red/plan/** deny unless secret == false\n"
    );
}

#[test]
fn equal_rights_are_equal_grants_whoever_has_them() {
    let rules = Rules::parse(SHOP).unwrap();
    let support = |sub: &str, more: &str| {
        let claims = json!({"sub": sub, "roles": ["support", more]});
        rules.grant(&subject(claims, json!({"name": sub})))
    };
    assert_eq!(support("u1", "x"), support("u2", "y"));
    assert_ne!(support("u1", "x"), support("u1", "finance"));
}

#[test]
fn a_path_is_read_whole_in_part_or_not_at_all() {
    let rules = Rules::parse(SHOP).unwrap();
    let user = rules.grant(&subject(json!({"sub": "u1", "roles": []}), json!({"teams": ["red"]})));
    assert_eq!(user.read_at(&["teams", "red", "members"]), Reads::All);
    assert_eq!(user.read_at(&["teams", "blue"]), Reads::Nothing);
    assert_eq!(user.read_at(&["orders", "1", "margin"]), Reads::Nothing);
    assert_eq!(user.read_at(&["customers"]), Reads::Nothing);
    let Reads::Part(part) = user.read_at(&["orders", "1", "lines"]) else { panic!() };
    assert_eq!(part.above.iter().map(|(level, _)| *level).collect::<Vec<_>>(), [2]);
    let Reads::Part(orders) = user.read_at(&["orders"]) else { panic!() };
    assert!(!orders.allowed && orders.above.is_empty());

    let all = format!("[[rule]]\nallow = ['read']\npath = '/'\n{SHOP}");
    let all = Rules::parse(&all).unwrap().grant(&Subject::default());
    assert_eq!(all.read_at(&["orders", "1", "lines"]), Reads::All);
    let Reads::Part(order) = all.read_at(&["orders", "1"]) else { panic!() };
    assert_eq!(all.read_at(&["orders", "2"]), Reads::Part(order));
}

#[test]
fn without_beneath_a_node_is_shown_as_an_object_with_what_else_is_allowed() {
    let rules = "[[rule]]\nallow = ['read']\npath = '/p/{p}'\nbeneath = false\n\
                 [[rule]]\nallow = ['read']\npath = '/p/{p}/title'\n\
                 [[rule]]\ndeny = ['read']\npath = '/p/x/title'\nbeneath = false\n";
    let grant = Rules::parse(rules).unwrap().grant(&Subject::default());
    let tree = json!({"p": {"a": {"title": "A", "n": 1}, "b": {}, "x": {"title": "X"}}, "q": 1});
    let shown = json!({"p": {"a": {"title": "A"}, "b": {}, "x": {}}});
    assert_eq!(grant.view(&tree), Some(shown));
    assert_eq!(grant.view(&json!({"q": 1})), None);
}

#[test]
fn a_deny_without_a_value_denies_and_says_so() {
    let rules = Rules::parse(
        "[[rule]]\nallow = ['read']\npath = '/a'\n\
         [[rule]]\ndeny = ['read']\npath = '/a/{x}'\nwhen = 'resource.secret'\n",
    );
    let grant = rules.unwrap().grant(&Subject::default());
    let tree = json!({"a": {"1": {"secret": false}, "2": {"secret": true}, "3": {}}});
    assert_eq!(grant.view(&tree), Some(json!({"a": {"1": {"secret": false}}})));
    let at = |level: usize| [&tree, &tree["a"], &tree["a"]["3"]].get(level).copied();
    let explained = grant.explain(Verb::Read, &["a", "3"], &at, &|_| None);
    assert_eq!(
        explained.to_string(),
        "read: denied by rule 2\n  rule 1, line 1: allow /a: allows\n  \
         rule 2, line 4: deny /a/{x} when resource.secret: that has no value, so it denies"
    );
}

#[test]
fn writes_are_decided_by_what_is_there_and_what_would_be() {
    let grant = Rules::parse(SHOP).unwrap();
    let grant = grant.grant(&subject(json!({"sub": "u1", "roles": []}), Json::Null));
    let decide = |verb, before: Option<&Json>, after: Option<&Json>| {
        let decision = grant.decide(
            verb,
            &["orders", "9"],
            &|level| before.filter(|_| level == 2),
            &|level| after.filter(|_| level == 2),
        );
        (decision.allowed, decision.by)
    };
    let mine = json!({"owner": "u1", "status": "open"});
    let other = json!({"owner": "u2", "status": "open"});
    assert_eq!(decide(Verb::Create, None, Some(&mine)), (true, Some(4)));
    assert_eq!(decide(Verb::Create, None, Some(&other)), (false, None));
    assert_eq!(decide(Verb::Update, Some(&mine), Some(&other)), (true, Some(1)));
    assert_eq!(decide(Verb::Update, Some(&other), Some(&mine)), (false, None));
    assert_eq!(decide(Verb::Delete, Some(&mine), None), (false, None));
}

#[test]
fn a_rule_that_is_too_large_for_a_subject_shows_less_and_never_more() {
    let names: Vec<String> = (0..=NAMES_MAX).map(|name| format!("n{name}")).collect();
    let many = subject(json!({"list": names}), Json::Null);
    let rules = |effect: &str, when: &str| {
        Rules::parse(&format!(
            "[[rule]]\nallow = ['read']\npath = '/b'\n\
             [[rule]]\n{effect} = ['read']\npath = '/b/{{x}}'\nwhen = '{when}'\n"
        ))
        .unwrap()
        .grant(&many)
    };
    for (effect, when, shown, fault) in [
        ("allow", "x in claims.list", "/b/** allow\n", "about more than 4096 names"),
        ("deny", "x in claims.list", "/b/** allow\n/b/*/** deny\n", "about more than 4096 names"),
        (
            "deny",
            "resource.a in claims.list",
            "/b/** allow\n/b/*/** deny\n",
            "more than 4096 parts",
        ),
    ] {
        let grant = rules(effect, when);
        assert_eq!(grant.scope().to_string(), shown, "{when}");
        assert_eq!(grant.faults().len(), 1);
        let told = grant.faults()[0].to_string();
        assert!(told.starts_with("rule 2: ") && told.contains(fault), "{told}");
    }
    // Together they come to too many places.
    let some: Vec<&String> = names.iter().take(NAMES_MAX).collect();
    let rule = |number: usize| Rule {
        allow: Some(vec!["read".to_owned()]),
        path: format!("/c{number}/{{x}}"),
        when: Some("x in claims.list".to_owned()),
        ..Rule::default()
    };
    let rules = Rules::new((0..17).map(rule).collect()).unwrap();
    let grant = rules.grant(&subject(json!({"list": some}), Json::Null));
    assert_eq!(grant.scope().to_string(), "nothing\n");
    assert!(grant.faults()[0].to_string().contains("come to more than 8192 places"));
}
