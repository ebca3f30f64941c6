//! The language: what conditions say of resources.

use serde_json::json;

use super::WIDE;
use crate::{Condition, JsonText};

#[test]
fn conditions_are_true_or_false_or_neither() {
    let vehicle = json!({
        "line": "U4", "speed": 62.5, "stops": 12, "big": 9007199254740993u64,
        "doors": ["a", "b"], "open": true, "driver": {"name": "Grün", "age": null},
        "note": "a\"b\u{2028}😀", "last stop": "X", "käse": 1, "id": u64::MAX,
        "nested": [[1, 2], {"a": 1}],
    });
    let cases = [
        ("speed > 50", Some(true)),
        ("speed > 62.5", Some(false)),
        ("speed >= 62.5 && stops < 12.5 && stops <= 12u", Some(true)),
        ("line == 'U4'", Some(true)),
        ("line != 'U4'", Some(false)),
        ("line < 'U5' && line > 'U'", Some(true)),
        ("line in ['U3', 'U4']", Some(true)),
        ("!(line in ['U3', 'U4'])", Some(false)),
        ("'a' in doors && !('c' in doors)", Some(true)),
        ("'name' in driver", Some(true)),
        ("5 in driver", Some(false)),
        ("doors == ['a', 'b']", Some(true)),
        ("doors == ['b', 'a'] || doors == ['a']", Some(false)),
        ("[1.0, 2] in nested", Some(true)),
        ("size(doors) == 2 && doors.size() == size(driver)", Some(true)),
        ("size(note) == 5", Some(true)),
        ("note.contains('\"b') && note.endsWith('😀') && note.startsWith('a')", Some(true)),
        ("driver.name == 'Gr\\u00fcn'", Some(true)),
        ("has(driver.age) && driver.age == null", Some(true)),
        ("has(driver.size)", Some(false)),
        ("has(line) && !has(lines)", Some(true)),
        ("driver == driver && nested == nested && driver != doors", Some(true)),
        ("`last stop` == 'X' && driver[\"name\"] != ''", Some(true)),
        ("`käse` == 1", Some(true)),
        ("key() == '42' && key().startsWith('4')", Some(true)),
        ("open", Some(true)),
        ("!open", Some(false)),
        ("open > false", Some(true)),
        // Numbers keep all their digits.
        ("big == 9007199254740993", Some(true)),
        ("big == 9007199254740992.0", Some(false)),
        ("big > 9007199254740992.0", Some(true)),
        ("id == 18446744073709551615u && id < 18446744073709551616.0", Some(true)),
        // Values of different types are not equal, and cannot be compared otherwise.
        ("line == 4", Some(false)),
        ("line != 4", Some(true)),
        ("line > 4", None),
        ("doors > 4", None),
        ("driver.age < 5", None),
        // A member that is not there has no value.
        ("lines == 'U4'", None),
        ("lines != 'U4'", None),
        ("driver.shoe.size > 5", None),
        ("has(driver.shoe.size)", None),
        ("has(line.x)", None),
        ("line", None),
        ("!line", None),
        ("size(speed) > 0", None),
        ("speed.startsWith('6')", None),
        ("1 in line", None),
        ("line in [lines, 'U4']", None),
        // `&&` and `||` need no value that does not matter.
        ("lines == 'U4' || speed > 50", Some(true)),
        ("speed > 50 || lines == 'U4'", Some(true)),
        ("lines == 'U4' && speed < 50", Some(false)),
        ("lines == 'U4' || speed < 50", None),
        ("lines == 'U4' && speed > 50", None),
        ("!(lines == 'U4') || open", Some(true)),
    ];
    let text = vehicle.to_string();
    for (condition, expected) in cases {
        let read = Condition::parse(condition, &WIDE)
            .unwrap_or_else(|error| panic!("{condition}: {error}"));
        assert_eq!(read.evaluate(&vehicle, "42"), expected, "{condition}");
        assert_eq!(read.evaluate(JsonText(&text), "42"), expected, "{condition} of text");
        assert_eq!(read.matches(&vehicle, "42"), expected == Some(true));
    }
}

#[test]
fn guards_are_the_topmost_of_the_paths() {
    let guards = |text: &str| -> Vec<String> {
        let condition = Condition::parse(text, &WIDE).unwrap();
        condition.guards().iter().map(ToString::to_string).collect()
    };
    assert_eq!(guards("a.b == 1 && a.c.d == 2 && a.b.c == 3 && a.b == 4"), ["a.b", "a.c.d"]);
    assert_eq!(guards("has(x.y) || size(z) > 3 || key() == 'a' || 'k' in x.y.z"), ["x.y", "z"]);
    assert_eq!(guards("a.ab == 1 || a.a == 2 || b in [c]"), ["a.a", "a.ab", "b", "c"]);
    let condition = Condition::parse("key() == 'a' || x == 1", &WIDE).unwrap();
    assert!(condition.reads_key() && !Condition::parse("key == 'a'", &WIDE).unwrap().reads_key());
}

#[test]
fn an_evaluation_has_an_end_however_large_the_values() {
    let long = "x".repeat(1 << 18);
    let list: Vec<u32> = (0..1 << 17).collect();
    let resource = json!({"long": long, "list": list, "a": 1});
    let text = resource.to_string();
    let parse = |text: &str| Condition::parse(text, &WIDE).unwrap();
    for text in ["long.contains('y')", "size(long) > 3", "131071 in list && a == 1"] {
        assert_eq!(parse(text).evaluate(&resource, "k"), None, "{text}");
    }
    for text in [
        "131071 in list || a == 1",
        "long != 'x'",
        "has(list)",
        "long == 'x' || a == 1",
        "long.contains('y') || a == 1",
    ] {
        assert_eq!(parse(text).evaluate(&resource, "k"), Some(true), "{text}");
    }
    // A member of text is found by reading the text, each time.
    for condition in ["a == 1", "has(a)", "a.b == 1", "has(a.b)"] {
        assert_eq!(parse(condition).evaluate(JsonText(&text), "k"), None, "{condition}");
    }
    let text = json!({"long": "x".repeat(1 << 14), "a": 1}).to_string();
    let parts: Vec<String> = (2..40).map(|number| format!("a < {number}")).collect();
    assert_eq!(parse(&parts[0]).evaluate(JsonText(&text), "k"), Some(true));
    assert_eq!(parse(&parts.join(" && ")).evaluate(JsonText(&text), "k"), None);
}

#[test]
fn both_of_two_conditions_are_one_condition() {
    let parse = |text: &str| Condition::parse(text, &WIDE).unwrap();
    assert_eq!(parse("b && a").and(parse("a && c")), parse("a && b && c"));
    assert_eq!(parse("a").and(parse("false")), parse("false"));
}

#[test]
fn names_are_those_of_a_tree_once_they_are_mapped() {
    let condition = Condition::parse("a.b == 1 || has(c.d) || size(e) in [1, 2]", &WIDE).unwrap();
    let lengths = condition.map(|name| name.len());
    assert_eq!(lengths.reads().len(), 2, "{lengths:?}");
    assert_eq!(lengths.guards()[0].names(), [1]);
}
