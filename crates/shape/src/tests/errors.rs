//! Texts that are refused: where, and why.

use proptest::prelude::*;

use crate::{Bounds, Condition, Order, Selection, ShapeErrorKind};

fn condition(text: &str) -> String {
    Condition::parse(text, &Bounds::default()).expect_err(text).to_string()
}

#[test]
fn an_error_of_a_condition_says_where_and_what_to_write() {
    let cases = [
        ("", "column 1: expected a name, a value, `!` or `(`, found the end"),
        ("speed >", "column 8: expected a name, a value, `!` or `(`, found the end"),
        (
            "speed > 50 line",
            "column 12: expected `&&`, `||`, a comparison, `in` or the end, found `line`",
        ),
        (
            "käse == 1",
            "column 2: expected a name, a value or an operator; a name with other letters \
             than a to z goes in backticks, found 'ä'",
        ),
        ("speed = 50", "column 7: one `=` means nothing here: write `==`"),
        ("a and b", "column 3: expected `&&` (in a URL, `%26%26`), found `and`"),
        ("not x", "column 1: there is no `not` here: write `!`"),
        ("a && NOT (b > 1)", "column 6: there is no `NOT` here: write `!`"),
        ("!(not a.b)", "column 3: there is no `not` here: write `!`"),
        ("not `x y`", "column 1: there is no `not` here: write `!`"),
        ("not 5", "column 5: expected `&&`, `||`, a comparison, `in` or the end, found a number"),
        ("a OR b", "column 3: expected `||`, found `OR`"),
        (
            "speed-mps > 5",
            "column 6: expected an operator; there is no arithmetic, and a name with a `-` \
             goes in backticks, found `-`",
        ),
        (
            "speed + 1 > 5",
            "column 7: there is no arithmetic here (in a URL, a `+` of the text is `%2B`)",
        ),
        ("-speed > 5", "column 2: expected a number; there is no arithmetic here, found `speed`"),
        ("(a && b", "column 8: expected `)` or an operator, found the end"),
        ("a in [1, 2", "column 11: expected `,`, `]` or an operator, found the end"),
        ("a == 'x", "column 6: the string does not end: ' is missing"),
        ("a == '\\q'", "column 7: there is no escape `\\q`; a backslash is `\\\\`"),
        ("a == '\\ud800'", "column 7: an escape has 4 digits here, and stands for a character"),
        (
            "a == 9223372036854775808",
            "column 6: the integer is out of range: write it with `u` or `.0`",
        ),
        ("a == 1e400", "column 6: the number is out of range"),
        ("a == b'x'", "column 6: there are no bytes in JSON: write a string, without the `b`"),
        (
            "a[0] == 1",
            "column 3: expected the name of a member in quotes; elements of lists cannot be \
             read, found a number",
        ),
        ("[1][0] == 1", "column 4: only members can be read: no elements of lists"),
        ("key().x", "column 6: only members of the resource have members"),
        ("has(a['b'])", "column 5: `has` takes no brackets: write `has(a.b)`"),
        ("has((a['b']))", "column 5: `has` takes no brackets: write `has(a.b)`"),
        ("has(1)", "column 5: `has` asks for a member: `has(a.b)`"),
        (
            "startsWith(a, 'b')",
            "column 1: `startsWith` comes behind a string: `name.startsWith(\"a\")`",
        ),
        (
            "package == 1",
            "column 1: `package` is a reserved word of CEL: write the name in backticks",
        ),
        ("a.`b", "column 3: the name in backticks does not end: a backtick is missing"),
        ("a ? b : c", "column 3: there is no `?` here: write it with `&&` and `||`"),
        ("a == {}", "column 6: there are no maps and messages here"),
        (
            "a && 5",
            "column 6: expected a condition: a comparison, or something else that is true or \
             false, found a number",
        ),
        (
            "  'a'",
            "column 3: expected a condition: a comparison, or something else that is true or \
             false, found a string",
        ),
        (
            "!size(a)",
            "column 2: expected a condition: a comparison, or something else that is true or \
             false, found a number",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(condition(text), expected, "{text}");
    }
    assert!(
        condition("a.matches('b')")
            .starts_with("column 3: there is no function `matches` here; there are")
    );
    assert!(condition("x(1)").starts_with("column 1: there is no function `x` here; there are"));
}

#[test]
fn each_bound_of_a_condition_is_kept() {
    let bounds = Bounds { text_bytes: 200, nodes: 9, depth: 4, elements: 6, order_paths: 2 };
    let parse = |text: &str| Condition::parse(text, &bounds).map_err(|error| error.kind);
    let long = format!("a == '{}'", "x".repeat(200));
    for (text, refused) in [
        ("a == 'x'", None),
        (long.as_str(), Some(ShapeErrorKind::TooLong(200))),
        ("(((a)))", None),
        ("((((a))))", None),
        ("(((((a)))))", Some(ShapeErrorKind::TooDeep(4))),
        ("!!!a", None),
        ("!!!!a", Some(ShapeErrorKind::TooDeep(4))),
        ("!!!!!!!!a", Some(ShapeErrorKind::TooDeep(4))),
        ("a == b == c == d", None),
        ("a == b == c == d == e", Some(ShapeErrorKind::TooDeep(4))),
        ("a.b.c.d", None),
        ("a.b.c.d.e", Some(ShapeErrorKind::TooDeep(4))),
        ("a == 1 && b == 2", None),
        ("a == 1 && b == 2 && c", None),
        ("a == 1 && b == 2 && c == 3", Some(ShapeErrorKind::TooManyNodes(9))),
        ("a || b || c || d || e || f || g || h", None),
        ("a || b || c || d || e || f || g || h || i", Some(ShapeErrorKind::TooManyNodes(9))),
        ("a in [1, 2, 3, 4, 5, 6]", None),
        ("a in [1, 2, 3, 4, 5, 6, 7]", Some(ShapeErrorKind::TooManyElements(6))),
    ] {
        assert_eq!(parse(text).err(), refused, "{text}");
    }
}

#[test]
fn an_error_of_an_order_or_a_selection_says_where() {
    let bounds = Bounds { depth: 3, ..Bounds::default() };
    let order = |text: &str| Order::parse(text, &bounds).expect_err(text).to_string();
    let name = "expected the name of a member; odd ones go in backticks";
    assert_eq!(order(""), format!("column 1: {name}, found the end"));
    assert_eq!(order("a,,b"), format!("column 3: {name}, found ','"));
    assert_eq!(order("--a"), format!("column 2: {name}, found '-'"));
    assert_eq!(order("ä b"), "column 3: expected `,`, `.` or the end, found 'b'");
    for text in ["a desc", "a:desc", "a : DESCENDING,b", "b,a desc"] {
        assert!(order(text).contains("descending is `-speed`, found"), "{text}: {}", order(text));
    }
    for text in ["a asc", "a:ascending"] {
        assert!(order(text).contains("ascending is `speed`"), "{text}: {}", order(text));
    }
    assert_eq!(
        order("driver(name)"),
        "column 7: expected `,`, `.` or the end; write `driver.name`, found '('"
    );
    for text in ["a descent", "a ascii", "a b"] {
        assert!(order(text).contains("or the end, found"), "{text}: {}", order(text));
    }
    assert_eq!(order("a,b,c,d,e"), "column 9: an order has at most 4 paths");
    assert_eq!(order("a.b.c.d"), "column 7: nested more than 3 levels deep");

    let selection = |text: &str| Selection::parse(text, &bounds).expect_err(text).to_string();
    assert_eq!(selection(""), format!("column 1: {name}, found the end"));
    assert_eq!(selection("a,"), format!("column 3: {name}, found the end"));
    assert_eq!(selection("a()"), format!("column 3: {name}, found ')'"));
    assert_eq!(selection("a(b"), "column 4: expected `,`, `(`, `.` or `)`, found the end");
    assert_eq!(selection("a b"), "column 3: expected `,`, `(`, `.` or the end, found 'b'");
    assert_eq!(selection("a(b(c(d)))"), "column 7: nested more than 3 levels deep");
    assert_eq!(
        selection("/a,b"),
        "column 4: expected `/`: each path begins with one, or none does, found 'b'"
    );
    assert_eq!(
        selection("/"),
        "column 2: expected a name, percent-encoded as in a URL, found the end"
    );
    assert_eq!(
        selection("/a%2"),
        "column 2: expected a name, percent-encoded as in a URL, found 'a'"
    );
    assert_eq!(selection("/a b"), "column 4: expected `,` or the end, found 'b'");
    let long = Bounds { text_bytes: 3, ..bounds };
    assert_eq!(
        Order::parse("aaaa", &long).map_err(|error| error.kind),
        Err(ShapeErrorKind::TooLong(3))
    );
    assert_eq!(
        Selection::parse("aaaa", &long).map_err(|error| error.kind),
        Err(ShapeErrorKind::TooLong(3))
    );
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(
        text in "([a-c.,()\\[\\]`'\"\\\\ !<>=&|-]|in|has\\(|0x|1e|[^\\x00]){0,30}",
    ) {
        let bounds = Bounds::default();
        let columns = text.chars().count() + 1;
        let errors = [
            Condition::parse(&text, &bounds).err(),
            Order::parse(&text, &bounds).err(),
            Selection::parse(&text, &bounds).err(),
        ];
        for error in errors.into_iter().flatten() {
            prop_assert!((1..=columns).contains(&error.column), "{error} is nowhere");
        }
    }
}
