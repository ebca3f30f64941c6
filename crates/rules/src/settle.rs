//! Settling scopes: from what each rule says to the normal form.

use std::sync::Arc;

use halfping_shape::Filled;

use crate::access::Access;
use crate::bounds::SCOPES_MAX;
use crate::scope::{SILENT, Scope};

/// Error of a grant with more than [`SCOPES_MAX`] scopes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooManyScopes;

/// The decision of the levels above.
#[derive(Clone, Copy, PartialEq)]
enum Above {
    Nothing,
    /// It depends on their values.
    Something,
    All,
}

/// A scope as rules are put into it: `rest` is about all names, also about those that have scopes
/// of their own.
#[derive(Default)]
pub(crate) struct Draft {
    scope: Scope,
    made: usize,
}

impl Draft {
    /// The scope at the end of these names; `None` stands for all.
    pub(crate) fn at(&mut self, names: &[Option<&str>]) -> Result<&mut Scope, TooManyScopes> {
        let mut scope = &mut self.scope;
        for name in names {
            let mut made = 0;
            let mut make = || {
                made = 1;
                Arc::default()
            };
            scope = Arc::make_mut(match name {
                Some(name) => scope.names.entry(Box::from(*name)).or_insert_with(make),
                None => scope.rest.get_or_insert_with(&mut make),
            });
            self.made += made;
            if self.made > SCOPES_MAX {
                return Err(TooManyScopes);
            }
        }
        Ok(scope)
    }

    /// The scope in its normal form.
    pub(crate) fn settle(mut self) -> Result<Scope, TooManyScopes> {
        let mut room = SCOPES_MAX;
        distribute(&mut self.scope, &mut room)?;
        Ok(normal(self.scope, Above::Nothing))
    }
}

/// Puts what is said about all names into the scopes of names, so that `rest` is about the others.
fn distribute(scope: &mut Scope, room: &mut usize) -> Result<(), TooManyScopes> {
    *room = room.checked_sub(1).ok_or(TooManyScopes)?;
    for member in scope.names.values_mut() {
        let member = Arc::make_mut(member);
        if let Some(rest) = &scope.rest {
            merge(member, rest, room)?;
        }
        distribute(member, room)?;
    }
    match &mut scope.rest {
        Some(rest) => distribute(Arc::make_mut(rest), room),
        None => Ok(()),
    }
}

/// Adds what another scope says.
fn merge(scope: &mut Scope, other: &Scope, room: &mut usize) -> Result<(), TooManyScopes> {
    *room = room.checked_sub(1).ok_or(TooManyScopes)?;
    scope.all.merge(&other.all);
    scope.own.merge(&other.own);
    for (name, other) in &other.names {
        match scope.names.get_mut(name) {
            Some(member) => merge(Arc::make_mut(member), other, room)?,
            None => {
                scope.names.insert(name.clone(), Arc::clone(other));
            }
        }
    }
    match (&mut scope.rest, &other.rest) {
        (Some(rest), Some(other)) => merge(Arc::make_mut(rest), other, room)?,
        (rest @ None, Some(other)) => *rest = Some(Arc::clone(other)),
        (_, None) => {}
    }
    Ok(())
}

/// Leaves out what levels above have decided.
fn normal(mut scope: Scope, above: Above) -> Scope {
    if scope.all.spared == Filled::Never {
        return match above {
            Above::Nothing => SILENT.clone(),
            _ => Scope { all: Access::denied(), ..Scope::default() },
        };
    }
    let above = match (above, &scope.all.allowed) {
        (Above::All, _) => {
            scope.all.allowed = Filled::Never;
            Above::All
        }
        (_, Filled::Always) => Above::All,
        (Above::Nothing, Filled::Never) => Above::Nothing,
        _ => Above::Something,
    };
    if above == Above::All {
        scope.own.allowed = Filled::Never;
    }
    // Beyond what is decided at this level, `own` decides nothing.
    if scope.own.spared == Filled::Never {
        scope.own.allowed = Filled::Never;
    }
    if above == Above::Nothing && scope.own.allowed == Filled::Never {
        scope.own.spared = Filled::Always;
    }
    let member = |scope: Arc<Scope>| Arc::new(normal(Arc::unwrap_or_clone(scope), above));
    scope.rest = scope.rest.map(member).filter(|rest| **rest != SILENT);
    let rest = scope.rest.as_deref().unwrap_or(&SILENT);
    let names = std::mem::take(&mut scope.names).into_iter();
    let names = names.map(|(name, scope)| (name, member(scope)));
    scope.names = names.filter(|(_, scope)| **scope != *rest).collect();
    let is_silent =
        scope.own.allowed == Filled::Never && scope.names.is_empty() && scope.rest.is_none();
    match above == Above::Nothing && is_silent {
        true => SILENT.clone(),
        false => scope,
    }
}
