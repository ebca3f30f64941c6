//! Places that commits in line read or write. The base of such a commit has to stay as it is there
//! until the commit is applied: then the outcome is that of applying it at its own revision,
//! although others were applied in between.

use hashbrown::HashMap;

use crate::mutants;
use crate::write::action::{Action, Write};
use crate::write::change::Change;
use crate::write::patch;

/// A tree of names: each node of it is claimed itself, or leads to one that is.
#[derive(Default)]
pub(crate) struct Claims {
    /// True if all that is here and beneath is claimed.
    whole: bool,
    members: HashMap<Box<str>, Claims>,
}

impl Claims {
    /// Claims of the places that these writes name. They are known before the writes are worked
    /// out, and do not depend on what is there.
    pub(crate) fn of(writes: &[Write]) -> Claims {
        let mut claims = Claims::default();
        for Write { path, action, condition } in writes {
            let at = claims.at(path.segments());
            let compares = condition.is.is_some() || condition.is_not.is_some();
            match action {
                Action::Merge(patch) if !compares => at.claim_merged(&patch.0),
                Action::Patch(patch) if !compares => {
                    for operation in &patch.0 {
                        at.at(&operation.path).whole = true;
                        if let patch::Action::Move { from } | patch::Action::Copy { from } =
                            &operation.action
                        {
                            at.at(from).whole = true;
                        }
                    }
                }
                _ => at.whole = true,
            }
        }
        claims
    }

    /// Claims the objects that a change makes anew. As long as it is laid over the tree, what others
    /// put beneath them would be hidden, also once it is applied.
    pub(crate) fn add_made(&mut self, change: &Change) {
        let Change::Object { anew, members, .. } = change else { return };
        self.whole |= anew;
        if !self.whole {
            for (name, member) in members.iter() {
                if matches!(member, Change::Object { .. }) {
                    self.at(&[name]).add_made(member);
                }
            }
        }
    }

    /// Claims what both claim.
    pub(crate) fn add(&mut self, other: &Claims) {
        self.whole |= other.whole;
        for (name, beneath) in &other.members {
            self.at(&[name]).add(beneath);
        }
    }

    /// Names in it, at every level; counted up to a few more than `max`.
    pub(crate) fn names_up_to(&self, max: usize) -> usize {
        let mut count = self.members.len();
        for beneath in self.members.values() {
            if count > max {
                break;
            }
            count += beneath.names_up_to(max - count);
        }
        count
    }

    /// True if a place is claimed, or something above or beneath it is.
    pub(crate) fn meet(&self, names: &[impl AsRef<str>]) -> bool {
        if mutants::is("claims-ignored") {
            return false;
        }
        let mut claims = self;
        for name in names {
            if claims.whole {
                return true;
            }
            match claims.members.get(name.as_ref()) {
                Some(beneath) => claims = beneath,
                None => return false,
            }
        }
        claims.whole || !claims.members.is_empty()
    }

    fn at(&mut self, names: &[impl AsRef<str>]) -> &mut Claims {
        let mut claims = self;
        for name in names {
            claims = claims.members.entry(name.as_ref().into()).or_default();
        }
        claims
    }

    /// Claims the members that a merge patch names. The other members stay as they are, whatever
    /// they are.
    fn claim_merged(&mut self, patch: &Change) {
        match patch {
            Change::Object { members, .. } if !members.is_empty() => {
                members.iter().for_each(|(name, patch)| self.at(&[name]).claim_merged(patch));
            }
            _ => self.whole = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::path::Path;
    use crate::write::action::Condition;
    use crate::write::json::Json;
    use crate::write::patch::Patch;

    fn claims(path: &str, action: Action, condition: Condition) -> Claims {
        let path = Path::parse(path, &Limits::default()).unwrap();
        Claims::of(&[Write { path, action, condition }])
    }

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    #[track_caller]
    fn check(claims: &Claims, met: &[&[&str]], free: &[&[&str]]) {
        for path in met {
            assert!(claims.meet(path), "{path:?} is not met");
        }
        for path in free {
            assert!(!claims.meet(path), "{path:?} is met");
        }
    }

    #[test]
    fn a_value_is_claimed_with_all_beneath_and_what_leads_to_it() {
        for action in [Action::Put(json("{}")), Action::Delete] {
            let claims = claims("/v/x", action, Condition::default());
            check(&claims, &[&["v"], &["v", "x"], &["v", "x", "p", "q"]], &[&["v", "y"], &["w"]]);
        }
        check(&Claims::default(), &[], &[&["v"]]);
    }

    #[test]
    fn a_patch_claims_what_it_names_unless_it_compares() {
        let merge = || Action::Merge(json(r#"{"x":{"q":1,"r":null},"y":{}}"#));
        let names = claims("/v", merge(), Condition::default());
        check(
            &names,
            &[&["v", "x"], &["v", "x", "q"], &["v", "x", "r", "s"], &["v", "y", "z"]],
            &[&["v", "x", "p"], &["v", "z"]],
        );
        let exists = Condition { is: Some(crate::States::Any), ..Condition::default() };
        check(&claims("/v", merge(), exists), &[&["v", "x", "p"], &["v", "z"]], &[&["w"]]);
        let document =
            br#"[{"op":"test","path":"/a","value":1},{"op":"copy","from":"/b/c","path":"/d"}]"#;
        let patch = Action::Patch(Patch::parse(document, &Limits::default()).unwrap());
        let claims = claims("/v", patch, Condition::default());
        check(
            &claims,
            &[&["v", "a"], &["v", "b"], &["v", "b", "c", "e"], &["v", "d"]],
            &[&["v", "b", "f"]],
        );
    }
}
