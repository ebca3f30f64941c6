//! Parts of one path that may be read.

use std::fmt;
use std::sync::Arc;

use halfping_shape::Filled;
use serde_json::Value as Json;

use crate::access::Access;
use crate::scope::{SILENT, Scope};

/// The reach of reading at a path. It depends on names and rules only, never on what is there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reads {
    /// All that is there, and beneath.
    All,
    /// Nothing, whatever is there.
    Nothing,
    /// A part of it, or all of it under conditions.
    Part(Part),
}

/// A part of what is at a path. Equal parts of one path show the same.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Part {
    /// True if all of it is allowed by names and rules alone.
    pub allowed: bool,
    /// Conditions on the values above, by their levels: 0 is the root. All of them have to spare
    /// it, and one that allows it is enough.
    pub above: Vec<(usize, Access)>,
    /// The scope from here on.
    pub scope: Arc<Scope>,
}

impl Reads {
    /// The reach that a scope, that of the root, leaves of a path.
    pub(crate) fn at<S: AsRef<str>>(root: &Arc<Scope>, path: &[S]) -> Reads {
        let silent = || Arc::new(SILENT.clone());
        let (mut allowed, mut above, mut scope) = (false, Vec::new(), Arc::clone(root));
        for (level, name) in path.iter().enumerate() {
            if scope.all.spared == Filled::Never {
                return Reads::Nothing;
            }
            allowed |= scope.all.allowed == Filled::Always;
            above.push((level, scope.all.clone()));
            let member = scope.names.get(name.as_ref()).or(scope.rest.as_ref());
            scope = member.cloned().unwrap_or_else(silent);
        }
        if scope.all.spared == Filled::Never {
            return Reads::Nothing;
        }
        if scope.all.allowed == Filled::Always {
            allowed = true;
            Arc::make_mut(&mut scope).all.allowed = Filled::Never;
        }
        if allowed {
            // Then it does not matter what else allows it.
            above.iter_mut().for_each(|(_, access)| access.allowed = Filled::Never);
        }
        above.retain(|(_, access)| *access != Access::default());
        let may_be_allowed = allowed || above.iter().any(|(_, of)| of.allowed != Filled::Never);
        match *scope == SILENT {
            true if allowed && above.is_empty() => Reads::All,
            true if !may_be_allowed => Reads::Nothing,
            _ => Reads::Part(Part { allowed, above, scope }),
        }
    }
}

/// Writes what is decided from here on, as [`Scope`] does, after what values above decide.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.allowed {
            f.write_str("/** allow\n")?;
        }
        let levels = self.above.iter().filter(|(_, access)| *access != Access::default());
        for (level, access) in levels {
            if let Filled::Where(condition) = &access.allowed {
                writeln!(f, "allowed when {condition}, at level {level} of the path")?;
            }
            if let Filled::Where(condition) = &access.spared {
                writeln!(f, "denied unless {condition}, at level {level} of the path")?;
            }
        }
        match *self.scope == SILENT {
            true => Ok(()),
            false => self.scope.fmt(f),
        }
    }
}

impl Part {
    /// Names of members of which rules allow something without a condition.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let allowed = |scope: &Scope| {
            [&scope.all, &scope.own].iter().any(|access| access.allowed == Filled::Always)
        };
        let names = self.scope.names.iter().filter(move |(_, scope)| allowed(scope));
        names.map(|(name, _)| &**name)
    }

    /// The part of the value at the path that may be read. `at` gives the values at the levels
    /// above.
    pub fn shown<'v, S: AsRef<str>>(
        &self,
        path: &[S],
        at: &dyn Fn(usize) -> Option<&'v Json>,
        value: &Json,
    ) -> Option<Json> {
        let name = |level: usize| level.checked_sub(1).map_or("", |above| path[above].as_ref());
        let holds = |filled: &Filled, level: usize| {
            at(level).is_some_and(|value| filled.holds(value, name(level)))
        };
        let mut allowed = self.allowed;
        for (level, access) in &self.above {
            if !holds(&access.spared, *level) {
                return None;
            }
            allowed |= holds(&access.allowed, *level);
        }
        self.scope.shown(value, name(path.len()), allowed)
    }
}
