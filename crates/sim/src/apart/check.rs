//! What a reader holds, against what its rules say of the state.

use serde_json::Value;

use super::rules::{Asked, Seen, at};
use crate::model::Names;

/// What a reader may see of a state, as the evaluator says.
pub(crate) struct Sight<'a> {
    pub(crate) asked: Asked<'a>,
    pub(crate) root: &'a Value,
    pub(crate) seen: &'a Seen,
}

/// The names of a path.
pub(crate) fn names(path: &str) -> Names {
    path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

impl Sight<'_> {
    /// Checks that somebody who reads at a path holds what may be seen there: each value that has
    /// no members, and no other; each object that may be seen; and none that may not.
    pub(crate) fn is_held(&self, path: &str, held: Option<&Value>) -> Result<(), String> {
        let names = names(path);
        let mut found = Seen::new();
        held.iter().for_each(|value| collect(value, &mut names.clone(), &mut found));
        let wrong = |what: &str, at: &Names| {
            Err(format!("the reader of {path} holds {held:?}, {what} /{}", at.join("/")))
        };
        let beneath = |at: &&Names| at.starts_with(&names);
        for (place, leaf) in self.seen.iter().filter(|(at, _)| beneath(at)) {
            match (leaf, found.get(place)) {
                (Some(leaf), Some(Some(held))) if leaf == held => {}
                (Some(leaf), _) => return wrong(&format!("and not {leaf} at"), place),
                (None, None) if self.is_object_to_be_seen(place) => return wrong("without", place),
                (None, Some(Some(_))) => return wrong("with a hidden value at", place),
                _ => {}
            }
        }
        for (place, leaf) in &found {
            let is_known = match leaf {
                Some(_) => self.seen.get(place).is_some_and(Option::is_some),
                // One that holds others is on the way to them.
                None => self.seen.contains_key(place) || holds_others(&found, place),
            };
            if !is_known {
                return wrong("with what may not be seen at", place);
            }
        }
        Ok(())
    }

    /// True for an object that may be seen. One that a rule shows alone, by a condition on it, is
    /// shown only with something in it (PROTOCOL I21).
    fn is_object_to_be_seen(&self, place: &Names) -> bool {
        at(self.root, place).is_some_and(Value::is_object)
            && self.asked.may_read(self.root, place)
            && !self.asked.is_decided_by_itself(place)
    }
}

/// True if something stands beneath a place.
fn holds_others(found: &Seen, place: &Names) -> bool {
    found.keys().any(|other| other.len() > place.len() && other.starts_with(place))
}

fn collect(value: &Value, path: &mut Names, found: &mut Seen) {
    let Value::Object(members) = value else {
        found.insert(path.clone(), Some(value.to_string()));
        return;
    };
    found.insert(path.clone(), None);
    for (name, value) in members {
        path.push(name.clone());
        collect(value, path, found);
        path.pop();
    }
}
