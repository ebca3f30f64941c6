//! The normal form: what it keeps, and what it makes equal.

use proptest::prelude::*;
use proptest::test_runner::TestRng;
use serde_json::Value as Json;

use super::WIDE;
use super::generated::{condition, expr, resource};
use crate::evaluate::{Datum, Evaluation};
use crate::expr::{Expr, Relation, Scalar};
use crate::number::Number;
use crate::{Condition, JsonText, normal, parse};

#[test]
fn texts_that_mean_the_same_are_written_alike() {
    let alike: &[(&str, &[&str])] = &[
        (
            "a && b",
            &["b && a", " ( a)&&b ", "b && a && b", "a && (b && a)", "!(!a || !b)", "!!a && b"],
        ),
        ("a || b || c", &["c || (b || a)", "a || b || false || c", "!(!a && !b && !c)"]),
        (
            "speed > 50",
            &["50 < speed", "speed > 50.0", "speed>0x32", "!(speed <= 50u)", "speed > 5e1"],
        ),
        ("a == b", &["b == a", "!(a != b)", "(((a))) == b"]),
        ("a == 1", &["a in [1]", "1 == a", "a == 1.0", "a in [1, 1u]", "a == 1 || a == 1.0"]),
        ("a in [1, 2]", &["a == 2 || a == 1", "a in [2, 1, 2]", "a in [2] || 1 == a"]),
        (
            "!(a in [1, 2])",
            &["a != 1 && a != 2", "!(a == 1) && 2 != a", "a != 1 && !(a in [2, 1])"],
        ),
        (r#"a == "U4""#, &["a == 'U4'", r#"a == "\x554""#, "a == r'U4'", "a == '''U4'''"]),
        (r#"size(a) > 2"#, &["a.size() > 2", "2 < size(a)", "size(a)>2//comment"]),
        (r#"a.b == 1"#, &["a['b'] == 1", "a.`b` == 1", "`a`.b == 1", r#"a["\u0062"] == 1"#]),
        ("a", &["!!a", "a && true", "a || false", "a || a", "true && (a)", "!(!a)"]),
        (
            "true",
            &[
                "a || true",
                "1 < 2",
                "'a' in ['a', 'b']",
                "!('x' == 5)",
                "!false",
                "'ab'.contains('b')",
            ],
        ),
        ("false", &["a && false", "has(a.b) && 1 > 2", "1 == '1'"]),
        // Not of the same value where `a` is neither true nor false.
        ("b == !!a", &["(a && true) == b", "(a || a) == b", "!!a == b"]),
        ("`a b`.c.`x-y`", &["`a b`['c'][\"x-y\"]"]),
    ];
    for (form, texts) in alike {
        for text in [form].into_iter().chain(*texts) {
            let condition =
                Condition::parse(text, &WIDE).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(condition.to_string(), *form, "of {text}");
        }
    }
}

#[test]
fn texts_that_mean_something_else_differ() {
    let different = [
        "a",
        "!a",
        "a == true",
        "a != false",
        "has(a.b)",
        "a.b == a.b",
        "a in []",
        "a == []",
        "a == 1",
        "a == '1'",
        "a < 1",
        "a <= 1",
        "a == null",
        "1 < 'a'",
        "1 in a",
        "a == [1]",
        "a == [2, 1]",
        "a == [1, 2]",
        "a in b",
        "b in a",
        "!!a == a",
        "a == a",
        "`a.b` == 1",
        "a.b == 1",
        "a.startsWith('b')",
        "a.endsWith('b')",
        "'b'.startsWith(a)",
        "a == 9007199254740993",
        "a == 9007199254740992",
        "key() == 'a'",
        "a == 'a'",
    ];
    let conditions: Vec<Condition> =
        different.iter().map(|text| Condition::parse(text, &WIDE).unwrap()).collect();
    for (at, one) in conditions.iter().enumerate() {
        for (other, text) in conditions[..at].iter().zip(different) {
            assert_ne!(one, other, "{} and {text}", different[at]);
        }
    }
}

/// The value as text, so that it can be compared: numbers by their value.
fn shown(datum: Option<Datum<'_, &Json>>) -> String {
    match datum {
        Some(Datum::Number(number)) => format!("number {}", number.normal()),
        Some(Datum::String(string)) => format!("{:?}", string.to_text()),
        Some(Datum::Elements(elements)) => {
            elements.into_iter().map(|element| shown(Some(element))).collect::<Vec<_>>().join("; ")
        }
        Some(Datum::List(node) | Datum::Object(node)) => node.to_string(),
        other => format!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_value_stays(expr in expr(), root in resource()) {
        let normal = normal::value(expr.clone());
        let before = shown(Evaluation::new(&root, "k").value(&expr));
        let after = shown(Evaluation::new(&root, "k").value(&normal));
        prop_assert_eq!(before, after, "{} became {}", expr, normal);
    }

    #[test]
    fn the_truth_stays_and_the_form_is_stable(expr in condition(), root in resource()) {
        let normal = normal::condition(expr.clone());
        let truth = Evaluation::new(&root, "k").truth(&expr);
        let of_normal = Evaluation::new(&root, "k").truth(&normal);
        prop_assert_eq!(of_normal, truth, "{} became {}", expr, normal);
        prop_assert_eq!(normal::condition(normal.clone()), normal);
    }

    #[test]
    fn what_is_written_is_read_again(expr in condition()) {
        let text = expr.to_string();
        let read = parse::parse_condition(&text, &WIDE, None);
        let read = read.map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(read.to_string(), text.clone());
        let condition = Condition::parse(&text, &WIDE).unwrap();
        let again = Condition::parse(&condition.to_string(), &WIDE);
        prop_assert_eq!(again.as_ref(), Ok(&condition), "{} is {}", text, condition);
    }

    #[test]
    fn other_words_for_the_same_have_the_same_form(
        expr in condition(),
        mut rng in any::<u64>().prop_map(rng),
    ) {
        let other = reworded(&expr, &mut rng);
        let (one, two) = (normal::condition(expr.clone()), normal::condition(other.clone()));
        prop_assert_eq!(one, two, "{} and {}", expr, other);
    }

    #[test]
    fn a_value_in_text_is_as_good_as_a_tree(expr in condition(), root in resource()) {
        let condition = Condition { expr };
        let text = root.to_string();
        prop_assert_eq!(condition.evaluate(&root, "k"), condition.evaluate(JsonText(&text), "k"));
    }

    #[test]
    fn what_the_guards_do_not_cover_does_not_count(
        expr in condition(),
        one in resource(),
        other in resource(),
    ) {
        let condition = Condition { expr: normal::condition(expr) };
        let guards = condition.guards();
        let guards: Vec<&[Box<str>]> = guards.iter().map(|guard| guard.names()).collect();
        let mixed = mixed(&one, &other, &guards);
        let (before, after) = (condition.evaluate(&one, "k"), condition.evaluate(&mixed, "k"));
        prop_assert_eq!(before, after, "{}", condition);
    }
}

fn rng(seed: u64) -> TestRng {
    let bytes: Vec<u8> = seed.to_le_bytes().repeat(4);
    TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &bytes)
}

/// The expression in other words.
fn reworded(expr: &Expr, rng: &mut TestRng) -> Expr {
    let many = |parts: &[Expr], rng: &mut TestRng| {
        let mut parts: Vec<Expr> = parts.iter().map(|part| reworded(part, rng)).collect();
        let at = rng.next_u32() as usize % parts.len();
        parts.rotate_left(at);
        if rng.next_u32().is_multiple_of(3) {
            parts.push(parts[0].clone());
        }
        parts
    };
    let choice = rng.next_u32() % 4;
    match expr {
        Expr::And(parts) if choice == 0 => {
            let parts =
                many(parts, rng).into_iter().map(|part| Expr::Not(Box::new(part))).collect();
            Expr::Not(Box::new(Expr::Or(parts)))
        }
        Expr::Or(parts) if choice == 0 => {
            let parts =
                many(parts, rng).into_iter().map(|part| Expr::Not(Box::new(part))).collect();
            Expr::Not(Box::new(Expr::And(parts)))
        }
        Expr::And(parts) => Expr::And(many(parts, rng)),
        Expr::Or(parts) => Expr::Or(many(parts, rng)),
        Expr::Not(of) => Expr::Not(Box::new(reworded(of, rng))),
        Expr::Compare(relation, two) => {
            let (one, other) = (respelt(&two.0), respelt(&two.1));
            let compared = match choice {
                0 | 1 => Expr::Compare(relation.turned(), Box::new((other, one))),
                2 => Expr::Not(Box::new(Expr::Compare(relation.negated(), Box::new((one, other))))),
                _ if *relation == Relation::Equal => {
                    Expr::In(Box::new((one, Expr::List(vec![other]))))
                }
                _ => Expr::Compare(*relation, Box::new((one, other))),
            };
            if rng.next_u32().is_multiple_of(4) {
                Expr::Or(vec![compared, Expr::Constant(Scalar::Bool(false))])
            } else {
                compared
            }
        }
        Expr::In(two) => match &two.1 {
            Expr::List(elements)
                if !elements.is_empty()
                    && elements.iter().all(|one| matches!(one, Expr::Constant(_))) =>
            {
                let equal = |element: &Expr| {
                    Expr::Compare(Relation::Equal, Box::new((two.0.clone(), respelt(element))))
                };
                Expr::Or(elements.iter().rev().map(equal).collect())
            }
            _ => expr.clone(),
        },
        Expr::Path(_) | Expr::Has(_) | Expr::Test(..) if choice == 0 => {
            Expr::Not(Box::new(Expr::Not(Box::new(expr.clone()))))
        }
        other => other.clone(),
    }
}

/// A constant in another spelling.
fn respelt(expr: &Expr) -> Expr {
    match expr {
        Expr::Constant(Scalar::Number(Number::Int(int))) if (0..1000).contains(int) => {
            Expr::Constant(Scalar::Number(Number::Double(*int as f64)))
        }
        Expr::Constant(Scalar::Number(number)) => Expr::Constant(Scalar::Number(number.normal())),
        other => other.clone(),
    }
}

/// The one value where the guards lead, and the other everywhere else.
fn mixed(one: &Json, other: &Json, guards: &[&[Box<str>]]) -> Json {
    let Some(firsts) = guards.iter().map(|guard| guard.first()).collect::<Option<Vec<_>>>() else {
        return one.clone();
    };
    let Json::Object(members) = one else {
        return if guards.is_empty() { other.clone() } else { one.clone() };
    };
    let mut mix = other.as_object().cloned().unwrap_or_default();
    for first in firsts {
        mix.remove(&**first);
        if let Some(member) = members.get(&**first) {
            let beneath: Vec<&[Box<str>]> =
                guards.iter().filter(|guard| guard[0] == *first).map(|guard| &guard[1..]).collect();
            let value = mixed(member, other.get(&**first).unwrap_or(&Json::Null), &beneath);
            mix.insert(first.to_string(), value);
        }
    }
    Json::Object(mix)
}
