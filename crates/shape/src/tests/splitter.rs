//! Handles and splitters: no condition that is true is missed.

use proptest::prelude::*;
use serde_json::json;

use super::WIDE;
use super::generated::{condition, resource};
use crate::{Condition, Equality, JsonText, Scalar, Splitter, normal};

/// The equalities as text: `a=1|2`, `tags:3`.
fn equalities(text: &str) -> Option<Vec<String>> {
    let condition = Condition::parse(text, &WIDE).unwrap();
    let shown = |equality: &Equality| {
        let value = |value: &Scalar| match value {
            Scalar::Null => "null".to_owned(),
            Scalar::Bool(bool) => bool.to_string(),
            Scalar::Number(number) => number.to_string(),
            Scalar::String(string) => string.to_string(),
        };
        let values: Vec<String> = equality.values.iter().map(value).collect();
        let subject = match &equality.subject {
            crate::Subject::Key => "key()=".to_owned(),
            crate::Subject::Is(path) => format!("{path}="),
            crate::Subject::Has(path) => format!("{path}:"),
        };
        subject + &values.join("|")
    };
    Some(condition.equalities()?.iter().map(shown).collect())
}

#[test]
fn conditions_with_an_equality_have_handles() {
    let some =
        |equalities: &[&str]| Some(equalities.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(equalities("line == 'U4'"), some(&["line=U4"]));
    assert_eq!(equalities("'U4' == line && speed > 50"), some(&["line=U4"]));
    assert_eq!(equalities("line in ['U6', 'U4'] && driver.id == 7"), some(&["driver.id=7"]));
    assert_eq!(
        equalities("line == 'U4' || line == 'U6' || id == 3"),
        some(&["id=3", "line=U4|U6"])
    );
    assert_eq!(equalities("'x' in tags && open"), some(&["tags:x"]));
    assert_eq!(equalities("open"), some(&["open=true"]));
    assert_eq!(equalities("!open"), some(&["open=false"]));
    assert_eq!(equalities("key() in ['a', 'b']"), some(&["key()=a|b"]));
    assert_eq!(equalities("a == null"), some(&["a=null"]));
    assert_eq!(equalities("false"), some(&[]));
    assert_eq!(equalities("line == 'U4' || speed > 50"), None);
    for text in [
        "true",
        "speed > 50",
        "line != 'U4'",
        "!(line in ['a', 'b'])",
        "a == b",
        "a == [1]",
        "a in b",
    ] {
        assert_eq!(equalities(text), None, "{text}");
    }
}

#[test]
fn of_many_conditions_only_those_that_concern_a_resource_are_found() {
    let mut splitter = Splitter::default();
    let condition = |owner: usize| {
        Condition::parse(&format!("owner == 'u{owner}' && size > 3"), &WIDE).unwrap()
    };
    for owner in 0..1000 {
        splitter.insert(condition(owner).equalities().as_deref(), owner);
    }
    let others = ["team in [1, 2]", "'x' in tags", "size > 3", "key() == 'k'"];
    for (number, text) in others.iter().enumerate() {
        splitter
            .insert(Condition::parse(text, &WIDE).unwrap().equalities().as_deref(), 1000 + number);
    }
    let find = |splitter: &Splitter<usize>, resource: serde_json::Value, key: &str| {
        let (mut found, mut of_text) = (vec![7], Vec::new());
        splitter.find(&resource, key, &mut found);
        let text = resource.to_string();
        splitter.find(JsonText(&text), key, &mut of_text);
        assert_eq!(found, of_text);
        found
    };
    assert_eq!(find(&splitter, json!({"owner": "u77", "size": 1}), "a"), [77, 1002]);
    assert_eq!(
        find(&splitter, json!({"owner": "u\"", "team": 1.0, "tags": ["y", "x", "x"]}), "k"),
        [1000, 1001, 1002, 1003]
    );
    assert_eq!(
        find(&splitter, json!({"owner": "u5".repeat(100), "tags": {"x": 0}}), "a"),
        [1001, 1002]
    );
    assert_eq!((splitter.unindexed(), splitter.subjects().count()), (1, 4));

    for owner in 0..1000 {
        splitter.remove(condition(owner).equalities().as_deref(), owner);
    }
    assert_eq!(find(&splitter, json!({"owner": "u77"}), "a"), [1002]);
    assert_eq!(splitter.subjects().count(), 3, "nothing is kept of what went");
    for (number, text) in others.iter().enumerate() {
        splitter
            .remove(Condition::parse(text, &WIDE).unwrap().equalities().as_deref(), 1000 + number);
    }
    assert!(splitter.is_empty());
}

#[test]
fn conditions_of_nothing_but_equalities_need_no_evaluation() {
    let suffice = |text: &str| Condition::parse(text, &WIDE).unwrap().equalities_suffice();
    for text in ["line == 'U4'", "key() in ['a', 'b']", "open", "!open || id in [3, 4]", "false"] {
        assert!(suffice(text), "{text}");
    }
    for text in ["line == 'U4' && open", "'x' in tags", "'x' in tags || open", "speed > 5", "true"]
    {
        assert!(!suffice(text), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_condition_that_is_true_is_missed(
        exprs in prop::collection::vec(condition(), 1..12),
        resources in prop::collection::vec(resource(), 1..6),
        key in prop::sample::select(vec!["a", "b", "U4"]),
    ) {
        let conditions: Vec<Condition> =
            exprs.into_iter().map(|expr| Condition { expr: normal::condition(expr) }).collect();
        let mut splitter = Splitter::default();
        for (number, condition) in conditions.iter().enumerate() {
            splitter.insert(condition.equalities().as_deref(), number);
        }
        for resource in &resources {
            let mut found = Vec::new();
            splitter.find(resource, key, &mut found);
            prop_assert!(found.is_sorted_by(|one, other| one < other));
            for (number, condition) in conditions.iter().enumerate() {
                prop_assert!(
                    found.contains(&number) || !condition.matches(resource, key),
                    "{} is true of {}", condition, resource
                );
                prop_assert!(
                    !condition.equalities_suffice()
                        || found.contains(&number) == condition.matches(resource, key),
                    "{} is not true of {}", condition, resource
                );
            }
        }
        for (number, condition) in conditions.iter().enumerate() {
            splitter.remove(condition.equalities().as_deref(), number);
        }
        prop_assert!(splitter.is_empty());
    }
}
