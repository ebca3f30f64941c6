//! Profiles: documents of the tree about those who ask. Rules call them `me`.
//!
//! Rights depend on the profile that they were worked out with. Who holds them learns by one number
//! whether it is another one now.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use halfping_engine::{Cursor, Limits, Path, SessionId};
use parking_lot::Mutex;
use serde_json::{Map, Value};

/// The path of profiles, with claims in place of some names: `/people/{claims.sub}`.
#[derive(Clone, Debug)]
pub(super) struct ProfilePath(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    Name(Box<str>),
    Claim(Box<str>),
}

impl ProfilePath {
    pub(super) fn parse(text: &str) -> Result<ProfilePath, String> {
        let names = text.strip_prefix('/').ok_or("a path begins with '/'")?;
        let steps: Result<Vec<Step>, String> = names.split('/').map(Step::parse).collect();
        let steps = steps?;
        let has_claim = steps.iter().any(|step| matches!(step, Step::Claim(_)));
        let why = "without a claim, such as {claims.sub}, everybody would have the same profile";
        if has_claim { Ok(ProfilePath(steps)) } else { Err(why.to_owned()) }
    }

    /// The path for somebody with these claims. `None` if one of them is not there, or is no name.
    pub(super) fn of(&self, claims: &Map<String, Value>) -> Option<Path> {
        self.0.iter().try_fold(Path::ROOT, |path, step| match step {
            Step::Name(name) => Some(path.child(name)),
            Step::Claim(claim) => match claims.get(&**claim)? {
                Value::String(name) if !name.is_empty() => Some(path.child(name)),
                Value::Number(number) if !number.is_f64() => Some(path.child(&number.to_string())),
                _ => None,
            },
        })
    }
}

impl Step {
    fn parse(text: &str) -> Result<Step, String> {
        if text.contains(['{', '}']) {
            let claim = text.strip_prefix("{claims.").and_then(|rest| rest.strip_suffix('}'));
            let claim = claim.filter(|claim| !claim.is_empty() && !claim.contains(['{', '}', '.']));
            let why = format!("`{text}` is not a name, nor a claim as in {{claims.sub}}");
            return claim.map(|claim| Step::Claim(claim.into())).ok_or(why);
        }
        let path = Path::parse(&format!("/{text}"), &Limits::default());
        match path.map_err(|error| error.to_string())?.segments() {
            [name] => Ok(Step::Name(name.clone())),
            _ => Err("a name in the path is empty".to_owned()),
        }
    }
}

/// Where profiles are read, and followed as long as somebody has rights by them.
pub(crate) trait Profiles: Send + Sync {
    /// The profile at a path, as it is now.
    fn profile(self: Arc<Self>, path: &Path) -> Arc<Profile>;
}

/// A profile that somebody's rights depend on.
pub(crate) struct Profile {
    pub(crate) path: Path,
    /// Number of changes that are known.
    changes: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    value: Arc<Value>,
    /// The state in which it was read.
    at: Option<Cursor>,
    /// Sessions of those who have rights by it. Some may have ended.
    readers: HashSet<SessionId>,
}

impl Profile {
    /// One that has not been read yet.
    pub(crate) fn new(path: Path) -> Profile {
        Profile { path, changes: AtomicU64::new(0), known: Mutex::default() }
    }

    /// True if it is known as it is in the state that a cursor names.
    pub(crate) fn is_known_at(&self, at: Cursor) -> bool {
        self.known.lock().at == Some(at)
    }

    /// Takes it as it is in that state. Returns those who have to look at their rights again.
    pub(crate) fn set(&self, value: Value, at: Cursor) -> Vec<SessionId> {
        let mut known = self.known.lock();
        known.at = Some(at);
        if *known.value == value {
            return Vec::new();
        }
        known.value = value.into();
        self.changes.fetch_add(1, Ordering::Release);
        known.readers.iter().copied().collect()
    }

    /// Notes a session of somebody who has rights by it.
    pub(crate) fn note(&self, reader: SessionId) {
        self.known.lock().readers.insert(reader);
    }

    /// The document, and the number by which it is known again.
    fn read(&self) -> (Arc<Value>, u64) {
        let known = self.known.lock();
        (known.value.clone(), self.changes.load(Ordering::Acquire))
    }
}

/// The profile of who has rights by it, as it was then.
#[derive(Clone)]
pub(super) struct Me {
    pub(super) profile: Arc<Profile>,
    pub(super) value: Arc<Value>,
    change: u64,
}

impl Me {
    pub(super) fn new(profile: Arc<Profile>) -> Me {
        let (value, change) = profile.read();
        Me { profile, value, change }
    }

    /// True if the profile is another by now.
    pub(super) fn is_former(&self) -> bool {
        self.profile.changes.load(Ordering::Acquire) != self.change
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_of_profiles_has_claims_in_place_of_names() {
        let claims = json!({ "sub": "a/b", "n": 7, "half": 0.5, "none": "", "list": [1] });
        for (text, expect) in [
            ("/people/{claims.sub}", Ok(Some("/people/a%2Fb"))),
            ("/p%20q/{claims.n}/me", Ok(Some("/p%20q/7/me"))),
            ("/people/{claims.half}", Ok(None)),
            ("/people/{claims.none}", Ok(None)),
            ("/people/{claims.list}", Ok(None)),
            ("/people/{claims.other}", Ok(None)),
            ("people/{claims.sub}", Err("begins with '/'")),
            ("/people/me", Err("everybody would have the same")),
            ("/people//{claims.sub}", Err("empty")),
            ("/people/{claims.sub}/", Err("empty")),
            ("/people/{sub}", Err("`{sub}` is not a name")),
            ("/people/{claims.a.b}", Err("is not a name")),
            ("/people/x{claims.sub}", Err("is not a name")),
        ] {
            let path = ProfilePath::parse(text);
            match (path, expect) {
                (Ok(path), Ok(expect)) => {
                    let path = path.of(claims.as_object().unwrap()).map(|path| path.to_string());
                    assert_eq!(path.as_deref(), expect, "{text}");
                }
                (Err(why), Err(expect)) => assert!(why.contains(expect), "{text}: {why}"),
                (path, _) => panic!("{text}: {path:?}"),
            }
        }
    }
}
