//! Scopes: what may be read of a value and of all beneath it, as a trie of names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use halfping_shape::Filled;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use crate::access::Access;

/// The part of a value, and of all beneath it, that may be read.
///
/// Going down from the root by the names of a path, a value is seen if `all` of one of the scopes
/// on the way, or `own` of the last, allows it, and `all` of none of them, nor `own` of the last,
/// denies it. Each condition is asked of the value at its own level, with the name of that value as
/// its `key()`. An object of which something beneath is seen is seen as an object with just that.
///
/// A scope is in its normal form: what rules say of one level is one condition; what the levels
/// above have decided is left out, and so are names that are as all others. So scopes in which the
/// same may be read are equal, as far as their conditions are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Scope {
    /// Access to the value and all beneath it.
    pub all: Access,
    /// Access to the value itself; of an object, to its being there.
    pub own: Access,
    /// Scopes of members with these names.
    pub names: BTreeMap<Box<str>, Arc<Scope>>,
    /// The scope of all other members. Without one, the levels above decide about them.
    pub rest: Option<Arc<Scope>>,
}

/// The scope of a member about which no rule says anything.
pub(crate) static SILENT: Scope = Scope {
    all: Access { allowed: Filled::Never, spared: Filled::Always },
    own: Access { allowed: Filled::Never, spared: Filled::Always },
    names: BTreeMap::new(),
    rest: None,
};

impl Scope {
    /// The scope of a member.
    pub fn member(&self, name: &str) -> &Scope {
        self.names.get(name).or(self.rest.as_ref()).map_or(&SILENT, |scope| scope)
    }

    /// The number of scopes, itself included: each takes some 250 bytes.
    pub fn size(&self) -> usize {
        let beneath = self.names.values().chain(&self.rest);
        1 + beneath.map(|scope| scope.size()).sum::<usize>()
    }

    /// The part of a value that may be read. `key` is its name, and `allowed` is true if a level
    /// above allows all of it.
    pub(crate) fn shown(&self, value: &Json, key: &str, allowed: bool) -> Option<Json> {
        if !self.all.spared.holds(value, key) {
            return None;
        }
        let allowed = allowed || self.all.allowed.holds(value, key);
        let is_own =
            (allowed || self.own.allowed.holds(value, key)) && self.own.spared.holds(value, key);
        let Json::Object(members) = value else { return is_own.then(|| value.clone()) };
        let shown = members.iter().filter_map(|(name, value)| {
            let shown = self.member(name).shown(value, name, allowed)?;
            Some((name.clone(), shown))
        });
        let shown: serde_json::Map<String, Json> = shown.collect();
        (is_own || !shown.is_empty()).then_some(Json::Object(shown))
    }
}

/// Characters of names that are percent-encoded here: also `*`, which stands for all others.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Writes a line for each condition, by path: `/**` is a value and all beneath it, `*` any other
/// name.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == SILENT {
            return f.write_str("nothing\n");
        }
        self.write("", f)
    }
}

impl Scope {
    fn write(&self, path: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = if path.is_empty() { "/" } else { path };
        for (path, access) in [(&*format!("{path}/**"), &self.all), (own, &self.own)] {
            match &access.allowed {
                Filled::Never => {}
                Filled::Always => writeln!(f, "{path} allow")?,
                Filled::Where(condition) => writeln!(f, "{path} allow when {condition}")?,
            }
            match &access.spared {
                Filled::Always => {}
                Filled::Never => writeln!(f, "{path} deny")?,
                Filled::Where(condition) => writeln!(f, "{path} deny unless {condition}")?,
            }
        }
        let names = self
            .names
            .iter()
            .map(|(name, scope)| (utf8_percent_encode(name, NAME).to_string(), scope));
        let rest = self.rest.iter().map(|scope| ("*".to_owned(), scope));
        for (name, scope) in names.chain(rest) {
            let path = format!("{path}/{name}");
            match **scope == SILENT {
                true => writeln!(f, "{path}/** as above")?,
                false => scope.write(&path, f)?,
            }
        }
        Ok(())
    }
}
