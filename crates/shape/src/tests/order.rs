//! Orders, compared with the order as it is documented, written once more.

use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::WIDE;
use super::generated::{resource, value};
use crate::{Bounds, JsonText, Order, SortKey};

#[test]
fn values_of_all_kinds_have_their_place() {
    let in_order = [
        json!({}),
        json!({"a": null}),
        json!({"a": false}),
        json!({"a": true}),
        json!({"a": -1e300}),
        json!({"a": -1}),
        json!({"a": 0}),
        json!({"a": 5e-324}),
        json!({"a": 1}),
        json!({"a": 9007199254740992u64}),
        json!({"a": 9007199254740994u64}),
        json!({"a": ""}),
        json!({"a": "\u{0}"}),
        json!({"a": "\u{0}\u{0}"}),
        json!({"a": "\u{0}a"}),
        json!({"a": "\u{1}"}),
        json!({"a": "A"}),
        json!({"a": "a"}),
        json!({"a": "aa"}),
        json!({"a": "ab"}),
        json!({"a": "b"}),
        json!({"a": "\u{ffff}"}),
        json!({"a": "😀"}), // a smaller first code unit, a greater code point
        json!({"a": [2]}),
        json!({"a": {"b": 1}}),
    ];
    let (up, down) = (Order::parse("a", &WIDE).unwrap(), Order::parse("-a", &WIDE).unwrap());
    for (a, one) in in_order.iter().enumerate() {
        for (b, other) in in_order.iter().enumerate() {
            assert_eq!(up.compare(("x", one), ("x", other)), a.cmp(&b), "{one} and {other}");
            assert_eq!(
                down.compare(("x", one), ("x", other)),
                b.cmp(&a),
                "{one} and {other}, descending"
            );
            assert_eq!(up.key(one).cmp(&up.key(other)), a.cmp(&b), "keys of {one} and {other}");
            assert_eq!(
                down.key(one).cmp(&down.key(other)),
                b.cmp(&a),
                "keys of {one} and {other}, descending"
            );
        }
    }
}

#[test]
fn what_is_equal_comes_by_name_in_either_direction() {
    let equal = [
        (json!({"a": 0}), json!({"a": -0.0})),
        (json!({"a": 9007199254740993u64}), json!({"a": 9007199254740992u64})),
        (json!({"a": [1]}), json!({"a": []})),
        (json!({"a": {}}), json!({"a": {"b": 1}})),
        (json!({"a": "x".repeat(257)}), json!({"a": "x".repeat(256)})),
        (json!(5), json!({"b": 1})),
    ];
    for text in ["a", "-a", "a,-a", "a.b", "a.b,-x.y"] {
        let order = Order::parse(text, &WIDE).unwrap();
        for (one, other) in
            equal.iter().filter(|(one, _)| !text.contains('.') || one["a"].is_number())
        {
            assert_eq!(
                order.compare(("m", one), ("n", other)),
                Ordering::Less,
                "{text}: {one}, {other}"
            );
            assert_eq!(
                order.compare(("n", one), ("m", other)),
                Ordering::Greater,
                "{text}: {one}, {other}"
            );
            assert_eq!(order.key(one), order.key(other));
        }
    }
    let by_name = Order::by_name();
    assert_eq!(by_name.compare(("😀", &json!(1)), ("\u{ffff}", &json!(2))), Ordering::Greater);
    assert_eq!(
        (by_name.key(&json!(1)), by_name.to_string()),
        (by_name.key(&json!(2)), String::new())
    );
}

#[test]
fn an_order_has_one_text() {
    for (text, form) in [
        ("-speed,line", "-speed,line"),
        (" -speed , line ", "-speed,line"),
        ("a,b,a,-b", "a,b"),
        ("driver.name,-a.b.c", "driver.name,-a.b.c"),
        ("x-y,größe,@type", "`x-y`,`größe`,`@type`"),
        ("`a b`.`c``d`,``", "`a b`.`c``d`,``"),
        ("in,a.in,package,a.package", "`in`,a.`in`,`package`,a.package"),
    ] {
        let order = Order::parse(text, &WIDE).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(order.to_string(), form);
        assert_eq!(Order::parse(form, &WIDE), Ok(order));
    }
}

#[test]
fn a_key_of_two_numbers_needs_no_allocation() {
    let order = Order::parse("a,-b", &WIDE).unwrap();
    let key: SortKey = order.key(&json!({"a": 1.5, "b": 2}));
    assert_eq!((std::mem::size_of_val(&key), key.as_bytes().len()), (24, 18));
}

/// The cases that every client's own sorting has to pass as well.
#[test]
fn members_come_in_the_order_that_the_shared_cases_say() {
    let cases = include_str!("../../../../conformance/order/cases.json");
    let cases: Json = serde_json::from_str(cases).unwrap();
    let cases = cases["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let (about, text) = (&case["about"], case["order"].as_str());
        let order = match text {
            Some(text) => Order::parse(text, &Bounds::default()).unwrap(),
            None => Order::by_name(),
        };
        let members = case["members"].as_object().unwrap();
        let mut names: Vec<&str> = members.keys().map(String::as_str).collect();
        names.sort_by(|one, other| {
            order.compare((*one, &members[*one]), (*other, &members[*other]))
        });
        assert_eq!(json!(names), case["sorted"], "{about}");
        names.sort_by_key(|name| (order.key(&members[*name]), name.to_string()));
        assert_eq!(json!(names), case["sorted"], "{about}, by keys");
    }
}

/// The documented order of two values.
fn documented(one: Option<&Json>, other: Option<&Json>) -> Ordering {
    let place = |value: Option<&Json>| match value {
        None => 0,
        Some(Json::Null) => 1,
        Some(Json::Bool(false)) => 2,
        Some(Json::Bool(true)) => 3,
        Some(Json::Number(_)) => 4,
        Some(Json::String(_)) => 5,
        Some(Json::Array(_)) => 6,
        Some(Json::Object(_)) => 7,
    };
    match (one, other) {
        (Some(Json::Number(one)), Some(Json::Number(other))) => {
            let double = |number: &serde_json::Number| number.to_string().parse::<f64>().unwrap();
            double(one).partial_cmp(&double(other)).unwrap()
        }
        (Some(Json::String(one)), Some(Json::String(other))) => {
            let points = |text: &str| text.chars().map(u32::from).take(256).collect::<Vec<_>>();
            points(one).cmp(&points(other))
        }
        _ => place(one).cmp(&place(other)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn members_come_in_the_documented_order(
        mut members in prop::collection::vec(("[a-c]{1,2}", resource()), 0..12),
        columns in prop::collection::vec(
            (prop::sample::select(vec!["a", "b", "a.b"]), any::<bool>()),
            1..3,
        ),
    ) {
        let sign = |(path, down): &(&str, bool)| format!("{}{path}", if *down { "-" } else { "" });
        let text: Vec<String> = columns.iter().map(sign).collect();
        let order = Order::parse(&text.join(","), &WIDE).unwrap();
        let of = |path: &str, member: &Json| -> Option<Json> {
            let inside = |value: Json, name| value.as_object()?.get(name).cloned();
            path.split('.').try_fold(member.clone(), inside)
        };
        let expected = |one: &(String, Json), other: &(String, Json)| {
            let by_columns = columns.iter().map(|(path, down)| {
                let ordering = documented(of(path, &one.1).as_ref(), of(path, &other.1).as_ref());
                if *down { ordering.reverse() } else { ordering }
            });
            by_columns.fold(Ordering::Equal, Ordering::then).then_with(|| one.0.cmp(&other.0))
        };
        let mut by_key = members.clone();
        by_key.sort_by_key(|(name, member)| (order.key(member), name.clone()));
        let as_text = |(name, json): &(String, Json)| (name.clone(), json.to_string());
        let texts: Vec<(String, String)> = members.iter().map(as_text).collect();
        for one in &texts {
            for other in &texts {
                let json = |text: &str| serde_json::from_str::<Json>(text).unwrap();
                prop_assert_eq!(
                    order.compare((&one.0, JsonText(&one.1)), (&other.0, JsonText(&other.1))),
                    expected(&(one.0.clone(), json(&one.1)), &(other.0.clone(), json(&other.1)))
                );
            }
        }
        members.sort_by(expected);
        prop_assert_eq!(by_key, members);
    }

    #[test]
    fn no_key_is_the_beginning_of_another(one in value(), other in value()) {
        let order = Order::parse("a", &WIDE).unwrap();
        let key = |value: &Json| order.key(&json!({"a": value})).as_bytes().to_vec();
        let (one, other) = (key(&one), key(&other));
        prop_assert!(one == other || !one.starts_with(&other));
    }
}
