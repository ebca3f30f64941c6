//! CEL's official conformance data: each case whose expression is read has the value that it
//! should. `conformance/cel/extract.mjs` says where `cases.json` comes from.

use serde::Deserialize;
use serde_json::{Map, Number as JsonNumber, Value as Json};

use super::WIDE;
use crate::evaluate::{Datum, Evaluation};
use crate::number::Number;
use crate::{Bounds, normal, parse};

#[derive(Deserialize)]
struct Data {
    evaluated: Vec<Case>,
    parsed: Vec<Parsed>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    expr: String,
    /// The namespace in which names are looked up.
    #[serde(default)]
    container: String,
    #[serde(default)]
    bound: Map<String, Json>,
    expected: Json,
}

#[derive(Deserialize)]
struct Parsed {
    expr: String,
    valid: bool,
}

impl Case {
    /// True if it is about what JSON and members have not: protobuf, bytes, types as values, names
    /// that are looked up in namespaces.
    fn is_of_elsewhere(&self) -> bool {
        let is_other = |value: &Json| value.get("other").is_some();
        is_other(&self.expected)
            || !self.container.is_empty()
            || self.bound.iter().any(|(name, value)| is_other(value) || name.contains('.'))
    }
}

/// The number of cases that are read: of JSON, and of what JSON has not.
const READ: (usize, usize) = (321, 64);

fn data() -> Data {
    serde_json::from_str(include_str!("../../../../conformance/cel/cases.json")).unwrap()
}

#[test]
fn each_case_that_is_read_has_the_value_that_cel_says() {
    let (mut read, mut elsewhere, mut wrong) = (0, 0, Vec::new());
    let data = data();
    for case in &data.evaluated {
        let Case { name, expr, bound, expected, .. } = case;
        let Ok(raw) = parse::parse(expr, &WIDE, None) else { continue };
        if case.is_of_elsewhere() {
            elsewhere += 1;
            continue;
        }
        read += 1;
        let bound = bound.iter().map(|(name, value)| Some((name.clone(), json(value)?)));
        let root = Json::Object(bound.collect::<Option<_>>().expect("JSON has these values"));
        let value = Evaluation::new(&root, "").value(&raw).map(described);
        let normal = normal::value(raw.clone());
        let of_normal = Evaluation::new(&root, "").value(&normal).map(described);
        let expected = (expected.get("error").is_none()).then(|| expected.clone());
        let alike = |one: &Option<Json>| match (one, &expected) {
            (Some(one), Some(other)) => equal(one, other, false),
            (one, other) => one.is_none() && other.is_none(),
        };
        let exact = match (&value, &expected) {
            (Some(one), Some(other)) => equal(one, other, true),
            _ => true,
        };
        if !(alike(&value) && exact && alike(&of_normal)) {
            wrong.push(format!(
                "{name}: {expr} should be {expected:?}, is {value:?}, {of_normal:?}"
            ));
        }
    }
    println!(
        "{read} of {} cases are read, and {} of them agree; {elsewhere} more are read, but are \
         about protobuf, types or namespaces",
        data.evaluated.len(),
        read - wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // So that it is noticed when less is read than before.
    assert_eq!((read, elsewhere), READ);
}

#[test]
fn nothing_is_read_that_is_not_cel() {
    let (mut read, mut wrong) = (0, Vec::new());
    for Parsed { expr, valid } in data().parsed {
        if parse::parse(&expr, &Bounds::default(), None).is_ok() {
            read += 1;
            // Backticks are an option of CEL, and here they may hold more and stand first. `has(m)`
            // is short for `has(resource.m)`, as `m` is for `resource.m`.
            if !valid && !expr.contains('`') && expr != "has(m)" {
                wrong.push(expr);
            }
        }
    }
    println!("{read} expressions are read");
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(read > 0);
}

/// A value of the data as JSON; `None` if JSON has no such value.
fn json(value: &Json) -> Option<Json> {
    let (kind, inner) = value.as_object()?.iter().next()?;
    let text = inner.as_str().unwrap_or_default();
    Some(match kind.as_str() {
        "null" => Json::Null,
        "bool" | "string" => inner.clone(),
        "int" => Json::Number(text.parse::<i64>().ok()?.into()),
        "uint" => Json::Number(text.parse::<u64>().ok()?.into()),
        "double" => Json::Number(JsonNumber::from_f64(text.parse().ok()?)?),
        "list" => Json::Array(inner.as_array()?.iter().map(json).collect::<Option<_>>()?),
        "map" => {
            let entry = |entry: &Json| Some((entry[0].as_str()?.to_owned(), json(&entry[1])?));
            Json::Object(inner.as_array()?.iter().map(entry).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// A value as the data has it.
fn described(datum: Datum<'_, &Json>) -> Json {
    let one = |kind: &str, value: Json| Json::Object(Map::from_iter([(kind.to_owned(), value)]));
    match datum {
        Datum::Null => one("null", true.into()),
        Datum::Bool(bool) => one("bool", bool.into()),
        Datum::Number(Number::Int(int)) => one("int", int.to_string().into()),
        Datum::Number(Number::UInt(int)) => one("uint", int.to_string().into()),
        Datum::Number(Number::Double(double)) => one("double", double.to_string().into()),
        Datum::String(string) => one("string", (*string.to_text()).into()),
        Datum::Elements(elements) => one("list", elements.into_iter().map(described).collect()),
        Datum::Members(_) => unreachable!("no text is read as an object"),
        Datum::List(node) | Datum::Object(node) => one("json", node.clone()),
    }
}

/// True if two values are equal; `exact`: also the kinds of their numbers.
fn equal(one: &Json, other: &Json, exact: bool) -> bool {
    if let Some(node) = one.get("json") {
        return Some(node) == json(other).as_ref();
    }
    if let (Some(ones), Some(others)) = (one["list"].as_array(), other["list"].as_array()) {
        return ones.len() == others.len()
            && ones.iter().zip(others).all(|(one, other)| equal(one, other, exact));
    }
    let number = |value: &Json| {
        let value = value.as_object().expect("of a kind");
        let (kind, text) = value.iter().next().expect("of a kind");
        let text = text.as_str().unwrap_or_default();
        let number = match kind.as_str() {
            "int" => Number::Int(text.parse().expect("an integer")),
            "uint" => Number::UInt(text.parse().expect("an integer")),
            "double" => Number::Double(text.parse().expect("a number")),
            _ => return None,
        };
        Some((kind.clone(), number))
    };
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one.1 == other.1 && (one.0 == other.0 || !exact),
        _ => one == other,
    }
}
