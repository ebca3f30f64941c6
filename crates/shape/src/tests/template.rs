//! Templates: what they are filled with, and what is left.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::generated;
use crate::expr::{Expr, Path};
use crate::normal;
use crate::{Binding, Bounds, Filled, Template, Thing, Things};

const THINGS: Things<'_> =
    Things { whole: &["claims", "me", "team", "order"], by_member: &["resource", "new"] };

fn template(text: &str) -> Template {
    Template::parse(text, &Bounds::default(), THINGS).unwrap()
}

fn fill(text: &str, claims: &Json) -> Filled {
    let things = [("claims", Thing::Known(claims)), ("resource", Thing::Member)];
    let things = [&things[..], &[("order", Thing::Key)]].concat();
    template(text).fill(&things).unwrap()
}

/// The condition that is left, as text.
fn left(text: &str, claims: &Json) -> String {
    match fill(text, claims) {
        Filled::Never => "never".to_owned(),
        Filled::Always => "always".to_owned(),
        Filled::Where(condition) => condition.to_string(),
    }
}

#[test]
fn what_is_known_becomes_a_constant() {
    let claims = json!({
        "sub": "u1", "roles": ["support"], "level": 3, "teams": {"red": {}, "blue": {}},
        "name": {"first": "Kim"},
    });
    for (text, expected) in [
        ("resource.owner == claims.sub", r#"owner == "u1""#),
        ("claims.level > resource.level", "level < 3"),
        ("resource.team in claims.teams", r#"team in ["blue", "red"]"#),
        ("resource.role in claims.roles", r#"role == "support""#),
        ("claims.sub in resource.readers", r#""u1" in readers"#),
        ("'support' in claims.roles", "always"),
        ("'sales' in claims.roles", "never"),
        ("'sales' in claims.roles || resource.open", "open"),
        ("'support' in claims.roles || resource.open", "always"),
        ("'red' in claims.teams && size(claims.teams) == 2", "always"),
        ("order == claims.sub", r#"key() == "u1""#),
        ("order.startsWith('a') && resource.a.b", r#"a.b && key().startsWith("a")"#),
        ("has(claims.sub) && has(resource.a.b)", "has(a.b)"),
        ("resource['a b'] == 1", "`a b` == 1"),
        ("resource.name == claims.name", r#"name == {"first": "Kim"}"#),
        ("claims.name == claims.name && claims != null", "always"),
    ] {
        assert_eq!(left(text, &claims), expected, "{text}");
    }
}

#[test]
fn what_is_not_there_allows_nothing() {
    let claims = json!({"sub": null, "level": "high"});
    for (text, expected) in [
        ("resource.owner == claims.id", "never"),
        ("resource.owner != claims.id", "never"),
        ("!(resource.owner == claims.id)", "never"),
        ("resource.owner == claims.sub", "owner == null"),
        ("resource.level < claims.level", r#"level < "high""#),
        ("claims.level < 3 || resource.open", "open"),
        ("claims.level || resource.open", "open"),
        ("claims.id || resource.open", "open"),
        ("resource.a in [claims.id, 1]", "never"),
        ("size(claims.id) == resource.n", "never"),
        ("resource.name.startsWith(claims.id)", "never"),
        ("me.id == 1 || new.id == 1 || has(me.id)", "never"),
        ("order.id == 1 || has(order.id)", "never"),
        // Within a value, a part that has none may be absorbed.
        ("(resource.a && claims.id) == false", "(a && null < null) == false"),
    ] {
        assert_eq!(left(text, &claims), expected, "{text}");
        let again = left(&format!("({text})"), &claims);
        assert_eq!(again, expected, "{text}");
    }
}

#[test]
fn that_a_thing_is_there_can_be_asked_of_it_alone() {
    let claims = json!({});
    for (text, expected) in [
        ("resource == null", "never"),
        ("null != resource", "always"),
        ("!(resource == null) && resource.a", "a"),
        ("new == null", "always"),
        ("new != null || resource.a", "a"),
    ] {
        assert_eq!(left(text, &claims), expected, "{text}");
    }
    let (is, none) = (template("resource == null"), json!(null));
    assert_eq!(is.evaluate(&[]), Some(true));
    assert_eq!(is.evaluate(&[("resource", &none)]), Some(false));
    assert_eq!(is.negated().evaluate(&[("resource", &none)]), Some(true));
}

#[test]
fn a_template_that_cannot_be_is_refused_with_its_column() {
    let alone = "a condition reads named members only, such as `resource.owner`; alone it stands \
                 before `== null` or `!= null`";
    for (text, column, says) in [
        ("order.a == 1 && owner == claims.sub", 17, "there is no `owner` here; there are `claims`"),
        ("`line-id` == 4", 1, "a member of the resource is `resource.`line-id``"),
        ("resource == claims.x", 1, alone),
        ("claims.x && resource", 13, alone),
        ("size(new) == 1", 6, alone),
        ("'a' in resource", 8, alone),
        ("resource < null", 1, alone),
        ("resource == resource.a", 1, alone),
        ("(resource) == null || (new) in [1]", 24, alone),
        ("resource.a == new == null", 15, alone),
        ("has(resource)", 5, "`has` asks for a member of `resource`: `has(resource.a)`"),
        ("has(claims)", 5, "`has(claims.a)`"),
        ("key() == 'a'", 1, "there is no `key()` here: a variable of the pattern is the name"),
        ("claims.sub = 1", 12, "write `==`"),
    ] {
        let error = Template::parse(text, &Bounds::default(), THINGS).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
}

#[test]
fn a_list_that_is_too_long_is_an_error_where_it_would_stay() {
    let teams: Vec<String> = (0..10_000).map(|team| format!("t{team}")).collect();
    let claims = json!({"teams": teams});
    let things = [("claims", Thing::Known(&claims)), ("resource", Thing::Member)];
    let filled = template("resource.team in claims.teams").fill(&things);
    assert_eq!(
        filled.unwrap_err().to_string(),
        "filled in, the condition has more than 4096 parts"
    );
    assert_eq!(template("'t9' in claims.teams").fill(&things), Ok(Filled::Always));
}

#[test]
fn a_variable_is_bound_where_it_has_to_be_equal_to_what_is_known() {
    let me = json!({"teams": ["red", 5, "blue"], "team": "red", "on": {"a": 1}, "n": 5});
    let names = |names: &[&str]| Some(names.iter().map(|name| Box::from(*name)).collect());
    for (text, expected) in [
        ("team in me.teams", names(&["blue", "red"])),
        ("me.team == team && resource.open", names(&["red"])),
        ("team in ['a', me.team]", names(&["a", "red"])),
        ("team in me.on", names(&["a"])),
        ("team == me.n", names(&[])),
        ("!(team != 'x')", names(&["x"])),
        // It has no value, and is not false.
        ("team in me.n", None),
        ("team in me.none", None),
        ("team in me.teams || resource.open", None),
        ("team != 'a'", None),
        ("team in resource.teams", None),
        ("team == order", None),
        ("team == team", None),
    ] {
        let template = template(text);
        match template.binding("team", &[("me", &me)]) {
            Binding::Any => assert_eq!(None, expected, "{text}"),
            Binding::Names { names, .. } => assert_eq!(Some(names), expected, "{text}"),
        }
        let is_bound = expected.is_some() || text.contains("me.n");
        assert_eq!(template.binds("team", &["me"]), is_bound, "{text}");
    }
}

#[test]
fn an_equality_is_required_or_not_whatever_is_known() {
    for (text, expected) in [
        ("resource.owner == claims.sub", true),
        ("claims.sub in resource.readers && resource.n > 1", true),
        ("'a' in claims.roles || resource.owner == claims.sub", true),
        ("resource.team in claims.teams || order == claims.sub", true),
        ("'a' in claims.roles", true),
        ("resource.n > claims.n", false),
        ("resource.owner == claims.sub || resource.n > 1", false),
        ("resource.owner == resource.author", false),
        ("order.startsWith(claims.sub)", false),
    ] {
        let found = template(text).requires_equality(&["resource"], Some("order"));
        assert_eq!(found, expected, "{text}");
    }
}

/// The expression with paths that begin with things, as the parser would make it.
fn of_things(expr: Expr, picks: &mut impl Iterator<Item = usize>) -> Expr {
    let mut path = |path: &Path| {
        let thing = ["claims", "me", "order", "resource", "resource"][picks.next().unwrap() % 5];
        Path::new([&[thing.into()], path.names()].concat())
    };
    match expr {
        Expr::Key => Expr::Path(Path::new(vec!["order".into()])),
        Expr::Path(of) => Expr::Path(path(&of)),
        Expr::Has(of) => Expr::Has(path(&of)),
        Expr::Size(of) => Expr::Size(Box::new(of_things(*of, picks))),
        Expr::Not(of) => Expr::Not(Box::new(of_things(*of, picks))),
        Expr::Compare(relation, two) => Expr::Compare(relation, of_two(*two, picks)),
        Expr::In(two) => Expr::In(of_two(*two, picks)),
        Expr::Test(test, two) => Expr::Test(test, of_two(*two, picks)),
        Expr::And(parts) => Expr::And(of_many(parts, picks)),
        Expr::Or(parts) => Expr::Or(of_many(parts, picks)),
        Expr::List(parts) => Expr::List(of_many(parts, picks)),
        other => other,
    }
}

fn of_two(two: (Expr, Expr), picks: &mut impl Iterator<Item = usize>) -> Box<(Expr, Expr)> {
    Box::new((of_things(two.0, picks), of_things(two.1, picks)))
}

fn of_many(many: Vec<Expr>, picks: &mut impl Iterator<Item = usize>) -> Vec<Expr> {
    many.into_iter().map(|expr| of_things(expr, picks)).collect()
}

prop_compose! {
    fn any_template()(
        expr in generated::condition(),
        picks in prop::collection::vec(0usize..5, 32),
    ) -> Template {
        let expr = of_things(expr, &mut picks.into_iter().cycle());
        Template { expr: normal::condition(expr) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn filled_in_and_asked_it_is_true_where_the_whole_is(
        template in any_template(),
        claims in generated::resource(),
        me in prop::option::of(generated::resource()),
        resource in generated::resource(),
        name in generated::string(),
    ) {
        let text = Json::String(name.clone());
        let mut things = vec![("claims", &claims), ("order", &text), ("resource", &resource)];
        let mut named = vec![("claims", Thing::Known(&claims)), ("resource", Thing::Member)];
        let mut literal = vec![("order", Thing::Known(&text))];
        literal.extend(&named);
        named.push(("order", Thing::Key));
        if let Some(me) = &me {
            things.push(("me", me));
            named.push(("me", Thing::Known(me)));
            literal.push(("me", Thing::Known(me)));
        }
        for (template, side) in [(template.clone(), "itself"), (template.negated(), "negated")] {
            let expected = template.evaluate(&things) == Some(true);
            for things in [&named, &literal] {
                let filled = template.fill(things).unwrap();
                prop_assert_eq!(filled.holds(&resource, &name), expected, "{}: {:?}", side, filled);
            }
        }
        let opposite = template.negated().evaluate(&things);
        prop_assert_eq!(template.evaluate(&things), opposite.map(|truth| !truth));
    }

    #[test]
    fn a_binding_leaves_out_names_for_which_the_template_is_false_and_else_nothing(
        template in any_template(),
        bound in prop::sample::select(vec!["claims.a", "me.b", "['a', claims.a]"]),
        claims in generated::resource(),
        me in generated::resource(),
        resource in generated::resource(),
        name in generated::string(),
    ) {
        let bind = self::template(&format!("order in {bound}"));
        let both = Template {
            expr: normal::condition(Expr::And(vec![bind.expr, template.expr])),
        };
        let text = Json::String(name.clone());
        let things =
            [("claims", &claims), ("me", &me), ("order", &text), ("resource", &resource)];
        let whole = both.evaluate(&things);
        match both.binding("order", &[("claims", &claims), ("me", &me)]) {
            Binding::Names { names, rest } if names.contains(&*name) => {
                prop_assert_eq!(rest.evaluate(&things), whole);
            }
            Binding::Names { .. } => prop_assert_eq!(whole, Some(false)),
            Binding::Any => {}
        }
    }
}
