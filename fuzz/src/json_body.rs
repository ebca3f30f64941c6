//! Bodies: `Json::parse` compared with serde_json.

use halfping_engine::{Json, JsonErrorKind, Limits};
use serde_json::value::RawValue;

use crate::tree::Tree;

pub fn json_body(data: &[u8]) {
    let limits = Limits::default().with(|limits| {
        limits.json_depth = 6;
        limits.members_per_object = 5;
        limits.key_bytes = 9;
    });
    let expected = Tree::read(data).filter(|tree| {
        tree.depth() <= limits.json_depth && tree.fits(limits.members_per_object, limits.key_bytes)
    });
    match (Json::parse(data, &limits), expected) {
        (Ok(json), Some(expected)) => {
            let text = json.to_text();
            assert_eq!(Tree::read(&text), Some(expected), "another value came back");
            let again = Json::parse(&text, &limits).expect("what was accepted is accepted again");
            assert_eq!(again.to_text(), text, "the text is not stable");
        }
        (Err(error), None) => {
            let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error} is nowhere");
            assert!(error.column <= data.len() + 1, "{error} is nowhere");
            // The grammar decides whether it is JSON, not a limit.
            let is_json = serde_json::from_slice::<&RawValue>(data).is_ok();
            let says_json = !matches!(error.kind, JsonErrorKind::Syntax(_) | JsonErrorKind::Utf8);
            assert_eq!(says_json, is_json, "{error}");
        }
        (Ok(json), None) => panic!("accepted, and should not be: {json:?}"),
        (Err(error), Some(tree)) => panic!("refused ({error}), and should not be: {tree:?}"),
    }
}
