//! Regions: the parts of the tree that are kept in memory only.

use std::fmt;

use crate::limits::Limits;
use crate::path::{Path, PathError};
use crate::tree::key::Keys;
use crate::write::base::Base;
use crate::write::change::Change;

/// A pattern of paths: `/telemetry`, `/vehicles/*/position`. A `*` stands for any one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    segments: Vec<Option<Box<str>>>,
}

impl Pattern {
    /// Reads a pattern. It has one segment at least: the root itself is always durable.
    pub fn parse(text: &str, limits: &Limits) -> Result<Pattern, PathError> {
        let path = Path::parse(text, limits)?;
        if path.is_root() {
            return Err(PathError::Empty(1));
        }
        if let Some(place) =
            path.segments().iter().position(|name| name.len() > 1 && name.contains('*'))
        {
            return Err(PathError::Star(place + 1));
        }
        if path.segments()[0].starts_with('_') {
            return Err(PathError::Reserved);
        }
        let segments = path.segments().iter().map(|name| (&**name != "*").then(|| name.clone()));
        Ok(Pattern { segments: segments.collect() })
    }

    pub(crate) fn segments(&self) -> &[Option<Box<str>>] {
        &self.segments
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = Path::ROOT;
        self.segments.iter().for_each(|name| path = path.child(name.as_deref().unwrap_or("*")));
        path.fmt(f)
    }
}

/// The parts of the tree that are kept in memory only: places that match one of the patterns, with
/// all beneath them. A crash, or a restart, takes them away; the rest is durable.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Regions {
    ephemeral: Vec<Pattern>,
}

/// Position among the patterns on the way down the tree.
#[derive(Clone)]
pub(crate) struct Place<'r> {
    /// The patterns that fit the names so far.
    fitting: Vec<&'r Pattern>,
    depth: usize,
}

impl Regions {
    /// Regions in which all that fits one of these patterns is ephemeral.
    pub fn new(ephemeral: Vec<Pattern>) -> Regions {
        Regions { ephemeral }
    }

    /// The patterns of what is ephemeral.
    pub fn ephemeral(&self) -> &[Pattern] {
        &self.ephemeral
    }

    /// True if everything is durable.
    pub fn is_empty(&self) -> bool {
        self.ephemeral.is_empty()
    }

    /// Number of a path's names that lead to a region that holds it; `None` if no region does.
    pub(crate) fn entered_at(&self, path: &Path) -> Option<usize> {
        let names = path.segments();
        let holds = |pattern: &&Pattern| {
            let mut pairs = pattern.segments.iter().zip(names);
            pattern.segments.len() <= names.len()
                && pairs.all(|(s, name)| s.as_ref().is_none_or(|s| s == name))
        };
        self.ephemeral.iter().filter(holds).map(|pattern| pattern.segments.len()).min()
    }

    pub(crate) fn root(&self) -> Place<'_> {
        Place { fitting: self.ephemeral.iter().collect(), depth: 0 }
    }

    /// The part of a change to a base that is to be kept on disk; `Keep` if nothing is.
    pub(crate) fn durable_part(&self, keys: &Keys, change: &Change, base: Base<'_>) -> Change {
        durable_part(keys, change, base, &self.root())
    }
}

impl<'r> Place<'r> {
    /// The place of a member. `None`: it is in an ephemeral region.
    pub(crate) fn child(&self, name: &str) -> Option<Place<'r>> {
        let depth = self.depth + 1;
        // Without patterns, which is the common case, this costs nothing.
        let fits = |p: &&&Pattern| p.segments[self.depth].as_deref().is_none_or(|s| s == name);
        let fitting: Vec<&Pattern> = self.fitting.iter().filter(fits).copied().collect();
        match fitting.iter().any(|p| p.segments.len() == depth) {
            true => None,
            false => Some(Place { fitting, depth }),
        }
    }

    /// True if nothing beneath is ephemeral.
    pub(crate) fn is_durable(&self) -> bool {
        self.fitting.is_empty()
    }
}

fn durable_part(keys: &Keys, change: &Change, base: Base<'_>, place: &Place<'_>) -> Change {
    let Change::Object { anew, members, .. } = change else { return change.clone() };
    if place.is_durable() {
        return change.clone();
    }
    let kept = members.iter().filter_map(|(name, member)| {
        let beneath = if *anew { Base::NOTHING } else { base.child(keys, name) };
        let kept = durable_part(keys, member, beneath, &place.child(name)?);
        (!matches!(kept, Change::Keep)).then(|| (name.into(), kept))
    });
    let members: crate::write::change::Members = kept.collect();
    // An object that holds ephemeral values is durable itself: its creation is kept.
    match members.is_empty() && !anew && base.is_object() {
        true => Change::Keep,
        false => Change::object(*anew, members),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Revision;
    use crate::tree::Value;
    use crate::write::json::Json;

    fn regions(patterns: &[&str]) -> Regions {
        let limits = Limits::default();
        Regions::new(patterns.iter().map(|p| Pattern::parse(p, &limits).unwrap()).collect())
    }

    #[test]
    fn a_region_holds_what_fits_and_all_beneath() {
        let regions = regions(&["/telemetry", "/vehicles/*/position"]);
        let check = |path: &str, holds: bool| {
            let entered = regions.entered_at(&Path::parse(path, &Limits::default()).unwrap());
            assert_eq!(entered.is_some(), holds, "{path}");
        };
        check("/telemetry", true);
        check("/telemetry/a/b", true);
        check("/telemetrx", false);
        check("/", false);
        check("/vehicles", false);
        check("/vehicles/7", false);
        check("/vehicles/7/position", true);
        check("/vehicles/7/position/lat", true);
        check("/vehicles/7/line", false);
    }

    #[test]
    fn what_is_kept_of_a_commit_has_no_ephemeral_part() {
        let regions = regions(&["/t", "/v/*/p"]);
        let json = |text: &str| Json::parse(text.as_bytes(), &Limits::default()).unwrap();
        let kept = |text: &str| {
            let mut out = Vec::new();
            regions.durable_part(&Keys::default(), &json(text).0, Base::NOTHING).write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            kept(r#"{"t":1,"v":{"a":{"p":1,"q":2},"p":{"q":3}},"w":{"p":4}}"#),
            r#"{"v":{"a":{"q":2},"p":{"q":3}},"w":{"p":4}}"#
        );
        let member = |name: &str, change| {
            let members = [(name.into(), change)].into_iter().collect();
            Change::object(false, members)
        };
        let only_position = member("v", member("a", member("p", json("1").0)));
        let nothing = Value::Absent { existed_since: Revision::NONE };
        let is_kept = |holders: &str| {
            let holders = json(holders).0;
            let base = Base::new(&nothing, &holders);
            !matches!(regions.durable_part(&Keys::default(), &only_position, base), Change::Keep)
        };
        assert!(!is_kept(r#"{"v":{"a":{}}}"#));
        assert!(is_kept(r#"{"v":{}}"#), "what holds it came to be");
    }

    #[test]
    fn patterns_survive_their_text() {
        let limits = Limits::default();
        for text in ["/a", "/a/*/b%20c"] {
            assert_eq!(Pattern::parse(text, &limits).unwrap().to_string(), text);
        }
        assert!(Pattern::parse("/", &limits).is_err());
        assert!(Pattern::parse("a", &limits).is_err());
        assert!(Pattern::parse("/_health", &limits).is_err());
        assert_eq!(Pattern::parse("/a/**", &limits), Err(PathError::Star(2)));
        assert_eq!(Pattern::parse("/a*", &limits), Err(PathError::Star(1)));
    }
}
