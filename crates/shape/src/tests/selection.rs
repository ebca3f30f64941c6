//! Selections, compared with lists of paths.

use proptest::prelude::*;

use super::WIDE;
use crate::{Order, Selected, Selection};

#[test]
fn selections_that_show_the_same_are_written_alike() {
    let alike: &[(&str, &[&str])] = &[
        ("a,b", &["b,a", " b , a ", "a,b,a", "`a`,b"]),
        ("a(b,c)", &["a(c,b)", "a.b,a.c", "a(b),a(c)", "a ( b , c ) "]),
        ("a", &["a(b),a", "a,a.b.c", "a.b,a,a.c"]),
        ("a(b(c,d),e)", &["a.b.c,a(e,b.d)", "a(b(d),e,b.c)"]),
        ("`größe`,`x-y`", &["x-y,größe"]),
        ("`a,b`(`(`)", &["`a,b`.`(`"]),
        (
            "/a,/b/c,/b/d",
            &["/b/d,/a,/b/c", " /a, /b/c ,/b/d", "/a/x,/b/d,/b/c,/a", "/%61,/b/c,/b/d"],
        ),
        ("/a%2Cb,/a~1", &["/a~1,/a%2cb"]),
    ];
    for (form, texts) in alike {
        let selection = Selection::parse(form, &WIDE).unwrap();
        assert_eq!(selection.to_string(), *form);
        for text in *texts {
            assert_eq!(Selection::parse(text, &WIDE), Ok(selection.clone()), "{text}");
        }
    }
    assert_ne!(Selection::parse("/a", &WIDE), Selection::parse("a", &WIDE));
}

#[test]
fn a_path_of_a_selection_is_refused_where_a_path_would_be() {
    for text in
        ["/a?b", "/a#b", "/.", "/a/..", "/%2e", "/a/%2E%2e", "/a%00", "/%", "/%zz", "/%FF", "//a"]
    {
        assert!(Selection::parse(text, &WIDE).is_err(), "{text}");
    }
    let selection = Selection::parse("/a%3F%23,/.../..b", &WIDE).unwrap();
    assert_eq!(selection.to_string(), "/.../..b,/a%3F%23");
}

#[test]
fn what_members_are_ordered_by_is_shown_as_well() {
    let order = Order::parse("-speed,driver.name,lat", &WIDE).unwrap();
    let selection = Selection::parse("lat,driver(age)", &WIDE).unwrap();
    let selection = order.paths().fold(selection, Selection::with);
    assert_eq!(selection.to_string(), "driver(age,name),lat,speed");
}

#[test]
fn names_of_a_selection_are_those_of_a_tree_once_they_are_mapped() {
    let selection = Selection::parse("a,bb(ccc,dddd)", &WIDE).unwrap();
    let lengths = selection.map(|name| name.len());
    let names: Vec<&usize> = lengths.top().iter().map(|(name, _)| name).collect();
    assert_eq!((names, lengths.is_of_resource()), (vec![&1, &2], false));
    let Selected::Part(beneath) = lengths.top().name(&2) else { panic!("{lengths:?}") };
    assert_eq!(beneath.name(&4), Selected::Whole);
    assert_eq!(beneath.name(&2), Selected::Nothing);
}

fn shows(selection: &Selection, path: &[String]) -> bool {
    let mut names = selection.top();
    for name in path {
        match names.name(name.as_str()) {
            Selected::Nothing => return false,
            Selected::Whole => return true,
            Selected::Part(beneath) => names = beneath,
        }
    }
    false
}

proptest! {
    #[test]
    fn a_selection_shows_what_is_at_or_beneath_its_paths(
        paths in prop::collection::vec(prop::collection::vec("[abé ,]", 1..4), 1..6),
        asked in prop::collection::vec("[abé ,]", 1..5),
    ) {
        let quoted = |name: &String| format!("`{name}`");
        let dotted = |path: &Vec<String>| path.iter().map(quoted).collect::<Vec<_>>().join(".");
        let dotted: Vec<String> = paths.iter().map(dotted).collect();
        let selection = Selection::parse(&dotted.join(","), &WIDE).unwrap();
        let expected = paths.iter().any(|path| asked.starts_with(path));
        prop_assert_eq!(shows(&selection, &asked), expected);
        prop_assert_eq!(Selection::parse(&selection.to_string(), &WIDE), Ok(selection));

        let encoded = |name: &String| {
            format!("/{}", name.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>())
        };
        let slashed: Vec<String> =
            paths.iter().map(|path| path.iter().map(encoded).collect()).collect();
        let selection = Selection::parse(&slashed.join(","), &WIDE).unwrap();
        prop_assert!(selection.is_of_resource());
        prop_assert_eq!(shows(&selection, &asked), expected);
        prop_assert_eq!(Selection::parse(&selection.to_string(), &WIDE), Ok(selection));
    }
}
