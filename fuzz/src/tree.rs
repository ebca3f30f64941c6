//! An independent reading of JSON: by serde_json, one level after the other, so that numbers stay
//! text and members stay in order.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// The deepest nesting that is read. It is deeper than any limit that a target sets, so all of them
/// refuse more.
const DEPTH_MAX: usize = 100;

/// A JSON value as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tree {
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
    String(String),
    /// A number, `true`, `false` or `null`.
    Token(String),
}

/// The members of an object, with names that may occur twice.
pub(crate) fn members(object: &str) -> Option<Vec<(String, &RawValue)>> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, &'de RawValue)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let pairs = deserializer.deserialize_map(Pairs).ok()?;
    deserializer.end().ok()?;
    Some(pairs)
}

impl Tree {
    /// Reads a body. `None`: not JSON, or JSON that no limit would make acceptable (PROTOCOL V1,
    /// V2).
    pub(crate) fn read(body: &[u8]) -> Option<Tree> {
        let raw = serde_json::from_slice::<&RawValue>(body).ok()?;
        Tree::of(raw.get(), DEPTH_MAX)
    }

    fn of(text: &str, depth: usize) -> Option<Tree> {
        match text.as_bytes().first()? {
            b'{' => {
                let mut read: Vec<(String, Tree)> = Vec::new();
                for (name, value) in members(text)? {
                    if read.iter().any(|(earlier, _)| *earlier == name) {
                        return None;
                    }
                    read.push((name, Tree::of(value.get(), depth.checked_sub(1)?)?));
                }
                Some(Tree::Object(read))
            }
            b'[' => {
                let elements = serde_json::from_str::<Vec<&RawValue>>(text).ok()?;
                let of = |element: &&RawValue| Tree::of(element.get(), depth.checked_sub(1)?);
                elements.iter().map(of).collect::<Option<_>>().map(Tree::Array)
            }
            b'"' => serde_json::from_str(text).ok().map(Tree::String),
            b't' | b'f' | b'n' => Some(Tree::Token(text.to_owned())),
            _ => text.parse::<f64>().ok()?.is_finite().then(|| Tree::Token(text.to_owned())),
        }
    }

    /// Nesting of objects and arrays.
    pub(crate) fn depth(&self) -> usize {
        let beneath = |values: &mut dyn Iterator<Item = &Tree>| {
            1 + values.map(Tree::depth).max().unwrap_or(0)
        };
        match self {
            Tree::Object(members) => beneath(&mut members.iter().map(|(_, value)| value)),
            Tree::Array(elements) => beneath(&mut elements.iter()),
            _ => 0,
        }
    }

    /// True if every object in it is within these bounds on members and on bytes of names.
    pub(crate) fn fits(&self, members_max: usize, key_bytes_max: usize) -> bool {
        let fits = |value: &Tree| value.fits(members_max, key_bytes_max);
        match self {
            Tree::Object(members) => {
                members.len() <= members_max
                    && members
                        .iter()
                        .all(|(name, value)| name.len() <= key_bytes_max && fits(value))
            }
            Tree::Array(elements) => elements.iter().all(fits),
            _ => true,
        }
    }
}
