//! Conditions, selections and orders: what is read is read again from what is written, and a
//! condition has the value that another implementation of CEL gives it.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, Program, Value};
use halfping_shape::{Bounds, Condition, JsonText, Order, Selection, Splitter};
use serde_json::Value as Json;

/// The resource for inputs that have none.
const RESOURCE: &str =
    r#"{"a":1,"b":"x","c":{"a":true,"b":null,"d":2.5},"l":[1,"x",null],"t":true}"#;

/// The normal form may have more parts than the text that it comes from.
const WIDE: Bounds =
    Bounds { text_bytes: 1 << 20, nodes: 10_000, depth: 100, elements: 10_000, order_paths: 4 };

/// The first line is a condition, a selection or an order, the rest a resource.
pub fn condition(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let (text, resource) = input.split_once('\n').unwrap_or((input, RESOURCE));
    let resource = serde_json::from_str(resource).ok().filter(Json::is_object);
    let resource = resource.unwrap_or_else(|| serde_json::from_str(RESOURCE).expect("it is JSON"));
    let bounds = Bounds::default();
    let columns = text.chars().count() + 1;
    match Condition::parse(text, &bounds) {
        Ok(condition) => of_condition(text, &condition, &resource),
        Err(error) => assert!((1..=columns).contains(&error.column), "{error} is nowhere"),
    }
    match Selection::parse(text, &bounds) {
        Ok(selection) => {
            let again = Selection::parse(&selection.to_string(), &WIDE);
            assert_eq!(again.as_ref(), Ok(&selection), "{selection}");
        }
        Err(error) => assert!((1..=columns).contains(&error.column), "{error} is nowhere"),
    }
    match Order::parse(text, &bounds) {
        Ok(order) => {
            let again = Order::parse(&order.to_string(), &WIDE);
            assert_eq!(again.as_ref(), Ok(&order), "{order}");
            let other: Json = serde_json::from_str(RESOURCE).expect("it is JSON");
            let by_key = order.key(&resource).cmp(&order.key(&other));
            assert_eq!(order.compare(("", &resource), ("", &other)), by_key, "{order}");
        }
        Err(error) => assert!((1..=columns).contains(&error.column), "{error} is nowhere"),
    }
}

fn of_condition(text: &str, condition: &Condition, resource: &Json) {
    let written = condition.to_string();
    assert_eq!(Condition::parse(&written, &WIDE).as_ref(), Ok(condition), "{written}");
    assert_eq!(condition.clone().and(condition.clone()), *condition, "{written}");

    let truth = condition.evaluate(resource, "k");
    let resource_text = resource.to_string();
    // In text, each step of a path is work: too much of it, and there is no value.
    if written.len() * resource_text.len() <= 1 << 18 {
        assert_eq!(condition.evaluate(JsonText(&resource_text), "k"), truth, "{written}");
    }
    if truth == Some(true) {
        let mut splitter = Splitter::default();
        splitter.insert(condition.equalities().as_deref(), 0);
        let mut found = Vec::new();
        splitter.find(resource, "k", &mut found);
        assert_eq!(found, [0], "{written} is true and not found");
    }
    compare_with_cel(text, truth, resource);
}

/// Compares with the crate `cel`, but for what it is known to do otherwise.
fn compare_with_cel(text: &str, truth: Option<bool>, resource: &Json) {
    // Names in backticks are not supported there, and `has(a)` is short for `has(resource.a)`.
    let Ok(program) = Program::compile(text) else {
        assert!(text.contains('`') || text.contains("has"), "{text:?} is no CEL");
        return;
    };
    // It compares integers with doubles as doubles.
    if is_large(text) || is_large(&resource.to_string()) || may_name_a_type(text, resource) {
        return;
    }
    let mut context = Context::default();
    context.add_function("key", || Arc::new("k".to_owned())).expect("it has one signature");
    for (name, value) in resource.as_object().into_iter().flatten() {
        context.add_variable_from_value(name.clone(), value_of(value));
    }
    let expected = match program.execute(&context) {
        Ok(Value::Bool(bool)) => Some(bool),
        // There, it is an error to look for a list among the names of an object.
        Err(_) if may_ask_an_object(text) => return,
        _ => None,
    };
    assert_eq!(truth, expected, "{text:?} of {resource}");
}

/// True if the text may have a name that CEL gives a value where the resource has none: `type` and
/// `int` are types there. Here they are members as any other.
fn may_name_a_type(text: &str, resource: &Json) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut words = words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
    words.any(|word| {
        let has_value = |program: Program| {
            matches!(program.execute(&Context::default()), Ok(value) if !matches!(value, Value::Bool(_) | Value::Null))
        };
        resource.get(word).is_none() && Program::compile(word).is_ok_and(has_value)
    })
}

/// True if the text may have an `in` with something else than a list in brackets.
fn may_ask_an_object(text: &str) -> bool {
    text.split("in").skip(1).any(|after| !after.trim_start().starts_with('['))
}

/// True if the text may have a number of more than 15 digits.
fn is_large(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_hexdigit() || "xX.eE+-".contains(c);
    let numbers =
        text.split(|c| !is_part(c)).filter(|part| part.contains(|c: char| c.is_ascii_digit()));
    numbers.into_iter().any(|number| number.len() > 12 || number.contains(['e', 'E']))
}

fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(int), _, _) => Value::Int(int),
            (_, Some(int), _) => Value::UInt(int),
            (_, _, double) => Value::Float(double.unwrap_or_default()),
        },
        Json::String(string) => Value::String(Arc::new(string.clone())),
        Json::Array(elements) => Value::List(Arc::new(elements.iter().map(value_of).collect())),
        Json::Object(members) => {
            let member = |(name, value): (&String, &Json)| {
                (Key::String(Arc::new(name.clone())), value_of(value))
            };
            let map: HashMap<Key, Value> = members.iter().map(member).collect();
            Value::Map(Map { map: Arc::new(map) })
        }
    }
}
