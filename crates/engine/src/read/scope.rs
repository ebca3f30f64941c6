//! Scopes: the part of a value that a reader may see, as data.
//!
//! A scope says for each member of an object whether it is in sight, by its name or by a condition
//! on the member itself, and how much of it. What is out of sight is for the reader as if it were
//! not there. An object on the way to what is in sight is shown, with just that.

use std::collections::BTreeMap;
use std::fmt::{self, Formatter};

use halfping_shape::Condition;

/// The part of a value that a reader may see.
///
/// ```
/// use halfping_engine::{Others, Scope, Within};
/// use halfping_shape::{Bounds, Condition};
///
/// // Own orders, without their margin.
/// let own = Condition::parse("owner == 'u1'", &Bounds::default())?;
/// let order = Within::others(Others::Shown(Scope::All)).but("margin", None);
/// let orders = Within::others(Others::Where(vec![(own, order.into())]));
/// let scope = Scope::from(Within::default().but("orders", Some(orders.into())));
/// assert_eq!(
///     scope.to_string(),
///     r#"{"orders":{?(owner == "u1"){"margin":-,*:all}}}"#
/// );
/// # Ok::<(), halfping_shape::ShapeError>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
pub enum Scope {
    /// All of it.
    All,
    /// An object's members, as far as they are in sight. A value that has no members is shown as an
    /// object without any, unless it is [itself](Within::itself) in sight.
    Part(Box<Within>),
}

/// The members of an object that are in sight.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Within {
    /// Members by name, whatever is in them; `None` for one that is out of sight.
    pub names: BTreeMap<Box<str>, Option<Scope>>,
    /// All other members.
    pub others: Others,
    /// True if a value that has no members is in sight.
    pub itself: bool,
}

/// The members of an object that are not named.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Others {
    /// None is in sight.
    #[default]
    Hidden,
    /// Of each, this.
    Shown(Scope),
    /// Of each, what stands with the first of these conditions that is true of it.
    Where(Vec<(Condition, Scope)>),
}

impl Within {
    /// Nothing but these.
    pub fn others(others: Others) -> Within {
        Within { others, ..Within::default() }
    }

    /// The same, but for a member of this name.
    pub fn but(mut self, name: &str, scope: Option<Scope>) -> Within {
        self.names.insert(name.into(), scope);
        self
    }
}

impl From<Within> for Scope {
    fn from(within: Within) -> Scope {
        Scope::Part(Box::new(within))
    }
}

impl Scope {
    /// Gives the names that lead to each object of which some members are in sight and others are
    /// not, and a condition that is true of those that are.
    pub(crate) fn each_gate(&self, give: &mut impl FnMut(&[&str], Condition)) {
        self.gates(&mut Vec::new(), give);
    }

    /// A condition that is true of all members that are in sight, if only they are.
    pub(crate) fn gate(&self) -> Option<Condition> {
        match self {
            Scope::Part(within) if !within.itself => within.gate(),
            _ => None,
        }
    }

    fn gates<'s>(&'s self, way: &mut Vec<&'s str>, give: &mut impl FnMut(&[&str], Condition)) {
        let Scope::Part(within) = self else { return };
        if let Some(condition) = within.gate() {
            give(way, condition);
        }
        for (name, scope) in &within.names {
            way.push(name);
            scope.iter().for_each(|scope| scope.gates(way, give));
            way.pop();
        }
    }
}

impl Within {
    /// True if [`Scope::each_gate`] gives it.
    pub(crate) fn is_gate(&self) -> bool {
        match &self.others {
            Others::Shown(_) => false,
            Others::Hidden => self.names.values().any(Option::is_some),
            Others::Where(cases) => !cases.is_empty() || self.names.values().any(Option::is_some),
        }
    }

    /// A condition that is true of the members that are in sight, if it does not take more than
    /// their names to tell which may have left: they may be forgotten.
    fn gate(&self) -> Option<Condition> {
        let shown = self.names.iter().filter(|(_, scope)| scope.is_some());
        let named = shown.map(|(name, _)| Condition::of_key(name));
        let cases = match &self.others {
            Others::Shown(_) => return None,
            Others::Hidden => [].as_slice(),
            Others::Where(cases) => cases,
        };
        let cases = cases.iter().map(|(condition, _)| condition.clone());
        named.chain(cases).reduce(Condition::or)
    }
}

/// Writes the normal form: equal for equal scopes.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Scope::Part(within) = self else { return f.write_str("all") };
        f.write_str(if within.itself { "{." } else { "{" })?;
        let mut first = true;
        let mut between = |f: &mut Formatter<'_>| match std::mem::take(&mut first) {
            true => Ok(()),
            false => f.write_str(","),
        };
        for (name, scope) in &within.names {
            between(f)?;
            write!(f, "{name:?}:")?;
            match scope {
                Some(scope) => scope.fmt(f)?,
                None => f.write_str("-")?,
            }
        }
        match &within.others {
            Others::Hidden => {}
            Others::Shown(scope) => {
                between(f)?;
                write!(f, "*:{scope}")?;
            }
            Others::Where(cases) => {
                for (condition, scope) in cases {
                    between(f)?;
                    write!(f, "?({condition}){scope}")?;
                }
            }
        }
        f.write_str("}")
    }
}
