//! Reading and changing a part of an array's text without parsing all of it.

use std::ops::Range;

use crate::tree::key::write_json_string;
use crate::write::json::string_end;

/// Place of a value in the canonical text of the array or object that it is in.
pub(crate) enum Place {
    /// The range of the value.
    At(Range<usize>),
    /// The place where a missing value would go; `first`: nothing stands before it.
    Missing { at: usize, first: bool },
}

/// An index of an array as RFC 6901 has it: no sign, no leading zeros.
pub(crate) fn index_of(token: &str) -> Result<usize, &'static str> {
    let plain =
        token.bytes().all(|b| b.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    match token.parse() {
        Ok(index) if plain => Ok(index),
        _ => Err("is no index of an array"),
    }
}

/// Place of an element in an array, or of the next one that could be added. `None` for an index
/// beyond that.
pub(crate) fn element(array: &str, index: usize) -> Option<Place> {
    let bytes = array.as_bytes();
    if array.len() == 2 {
        return (index == 0).then_some(Place::Missing { at: 1, first: true });
    }
    let mut start = 1;
    for passed in 1..=index {
        let end = value_end(bytes, start);
        if bytes[end] == b']' {
            return (passed == index).then_some(Place::Missing { at: end, first: false });
        }
        start = end + 1;
    }
    Some(Place::At(start..value_end(bytes, start)))
}

/// Place where the next element of an array would go.
pub(crate) fn end_of(array: &str) -> Place {
    Place::Missing { at: array.len() - 1, first: array.len() == 2 }
}

/// Place of a member's value in the text of an object. If it is to be removed, its name goes too:
/// see [`with_name`].
pub(crate) fn member(object: &str, name: &str) -> Place {
    let bytes = object.as_bytes();
    let mut wanted = Vec::with_capacity(name.len() + 2);
    write_json_string(name, &mut wanted);
    let mut at = 1;
    while bytes[at] == b'"' {
        let after = string_end(bytes, at) + 1;
        let end = value_end(bytes, after + 1);
        if bytes[at..after] == wanted[..] {
            return Place::At(after + 1..end);
        }
        if bytes[end] == b'}' {
            break;
        }
        at = end + 1;
    }
    Place::Missing { at: object.len() - 1, first: object.len() == 2 }
}

/// The range of a member's value extended by its name and colon.
pub(crate) fn with_name(value: Range<usize>, name: &str) -> Range<usize> {
    let mut text = Vec::with_capacity(name.len() + 2);
    write_json_string(name, &mut text);
    value.start - text.len() - 1..value.end
}

/// The range that goes when something is taken out of a list: a comma goes with it.
pub(crate) fn with_comma(list: &str, taken: Range<usize>) -> Range<usize> {
    let bytes = list.as_bytes();
    match (bytes[taken.start - 1], bytes[taken.end]) {
        (_, b',') => taken.start..taken.end + 1,
        (b',', _) => taken.start - 1..taken.end,
        _ => taken,
    }
}

/// End of the value that begins at `at`: its comma, or the bracket of what it is in.
fn value_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    loop {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 0 => depth -= 1,
            b',' | b']' | b'}' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, place: Place) -> String {
        match place {
            Place::At(range) => text[range].to_owned(),
            Place::Missing { at, first } => format!("{at}{}", if first { " first" } else { "" }),
        }
    }

    #[test]
    fn elements_are_found_between_their_own_commas() {
        let array = r#"[1,"a,]\"",[2,[3]],{"x":[4,5]},true]"#;
        let found: Vec<String> = (0..5).map(|i| shown(array, element(array, i).unwrap())).collect();
        assert_eq!(found, ["1", r#""a,]\"""#, "[2,[3]]", r#"{"x":[4,5]}"#, "true"]);
        assert_eq!(shown(array, element(array, 5).unwrap()), "35");
        assert!(element(array, 6).is_none() && element("[]", 1).is_none());
        assert_eq!(shown("[]", element("[]", 0).unwrap()), "1 first");
        assert_eq!(
            (shown("[1]", end_of("[1]")), shown("[]", end_of("[]"))),
            ("2".into(), "1 first".into())
        );
    }

    #[test]
    fn members_are_found_by_their_whole_names() {
        let object = r#"{"ab":1,"a":{"b":2},"\"":[3],"":4}"#;
        let found = |name| shown(object, member(object, name));
        assert_eq!(
            [found("a"), found("ab"), found("\""), found("")],
            [r#"{"b":2}"#, "1", "[3]", "4"]
        );
        assert_eq!((found("b"), shown("{}", member("{}", "a"))), ("33".into(), "1 first".into()));
    }

    #[test]
    fn what_is_taken_out_takes_one_comma_along() {
        for (list, index, left) in [
            ("[1,2,3]", 0, "[2,3]"),
            ("[1,2,3]", 1, "[1,3]"),
            ("[1,2,3]", 2, "[1,2]"),
            ("[1]", 0, "[]"),
        ] {
            let Some(Place::At(range)) = element(list, index) else { panic!("{list} has {index}") };
            let mut text = list.to_owned();
            text.replace_range(with_comma(list, range), "");
            assert_eq!(text, left);
        }
        let object = r#"{"a":1,"b\n":2}"#;
        let Place::At(range) = member(object, "b\n") else { panic!("it is there") };
        assert_eq!(&object[with_comma(object, with_name(range, "b\n"))], r#","b\n":2"#);
    }
}
