//! Folding rules for a subject: what is known of it is worked out, and names are bound.

use std::fmt;

use halfping_shape::{Binding, Bounds, Condition, Filled, Template, Thing, TooManyParts};
use serde_json::Value as Json;

use crate::access::Access;
use crate::bounds::{NAMES_MAX, SCOPES_MAX};
use crate::compiled::{Compiled, RESOURCE};
use crate::pattern::Segment;
use crate::rule::Effect;
use crate::scope::Scope;
use crate::settle::{Draft, TooManyScopes};
use crate::subject::Subject;
use crate::verb::Verb;

/// A rule that is too large for a subject. It shows less than it would.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Number of the rule, from 1.
    pub rule: usize,
    /// The fault.
    pub kind: FaultKind,
}

/// Reasons why a rule is too large.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// A list in its condition is too long.
    Parts,
    /// It is about more than [`NAMES_MAX`] names, or combinations of names.
    Names,
    /// With it, the grant has more than [`SCOPES_MAX`] scopes. The subject may read nothing.
    Scopes,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { rule, kind } = self;
        match kind {
            FaultKind::Parts => write!(f, "rule {rule}: {TooManyParts}"),
            FaultKind::Names => write!(f, "rule {rule}: it is about more than {NAMES_MAX} names"),
            FaultKind::Scopes => {
                write!(f, "rule {rule}: the rules come to more than {SCOPES_MAX} places")
            }
        }
    }
}

/// The places at which a subject may do something by these rules, and the rules that were too large.
pub(crate) fn scope(
    rules: &[(usize, Compiled)],
    subject: &Subject,
    verb: Verb,
) -> (Scope, Vec<Fault>) {
    let mut folding = Folding { draft: Draft::default(), faults: Vec::new(), subject, verb };
    for (number, rule) in rules {
        let is_meant = rule.verbs.contains(&verb) || may_be_about(rule, verb);
        if is_meant && folding.add(*number, rule).is_err() {
            folding.faults.push(Fault { rule: *number, kind: FaultKind::Scopes });
            return (Scope::default(), folding.faults);
        }
    }
    let last = rules.last().map_or(0, |(number, _)| *number);
    let Folding { draft, mut faults, .. } = folding;
    let scope = draft.settle().unwrap_or_else(|TooManyScopes| {
        faults.push(Fault { rule: last, kind: FaultKind::Scopes });
        Scope::default()
    });
    (scope, faults)
}

/// True if a rule about other verbs may be about this one beneath the value at which its pattern
/// ends: what is an `update` of that may create and delete what is in it.
fn may_be_about(rule: &Compiled, verb: Verb) -> bool {
    verb != Verb::Read && rule.speaks_of_values() && rule.is_about_writes()
}

struct Folding<'s> {
    draft: Draft,
    faults: Vec<Fault>,
    subject: &'s Subject,
    verb: Verb,
}

/// Names of a rule's variables: those that are bound.
type Names<'r> = Vec<(&'r str, Json)>;

impl Folding<'_> {
    fn add(&mut self, number: usize, rule: &Compiled) -> Result<(), TooManyScopes> {
        let Some((all, when)) = self.bound(rule) else {
            self.faults.push(Fault { rule: number, kind: FaultKind::Names });
            return match rule.effect {
                Effect::Allow => Ok(()),
                // What cannot be told apart is denied.
                Effect::Deny => self.put(rule, &[], Filled::Never),
            };
        };
        let is_alike = when
            .as_ref()
            .is_none_or(|when| !rule.pattern.variables().any(|variable| when.speaks_of(variable)));
        let mut alike = None;
        for names in all {
            let filled = match alike.clone() {
                Some(filled) => filled,
                None => self.filled(rule, when.as_ref(), &names).unwrap_or_else(|TooManyParts| {
                    self.faults.push(Fault { rule: number, kind: FaultKind::Parts });
                    Filled::Never
                }),
            };
            if is_alike {
                alike = Some(filled.clone());
            }
            self.put(rule, &names, filled)?;
        }
        Ok(())
    }

    /// All combinations of names that the rule leaves to its variables, and what is left of its
    /// condition for them. `None` if there are too many.
    fn bound<'r>(&self, rule: &'r Compiled) -> Option<(Vec<Names<'r>>, Option<Template>)> {
        let (mut all, mut when) = (vec![Vec::new()], rule.when.clone());
        for variable in rule.pattern.variables() {
            let binding = when.as_ref().map(|of| of.binding(variable, &self.subject.things()));
            let Some(Binding::Names { names, rest }) = binding else { continue };
            if all.len().checked_mul(names.len()).is_none_or(|count| count > NAMES_MAX) {
                return None;
            }
            let with = |known: &Names<'r>| -> Vec<Names<'r>> {
                let one = |name: &str| {
                    let name = Json::String(name.to_owned());
                    known.iter().cloned().chain([(variable, name)]).collect()
                };
                names.iter().map(|name| one(name)).collect()
            };
            all = all.iter().flat_map(with).collect();
            when = Some(rest);
        }
        Some((all, when))
    }

    /// The condition under which an allow allows, or a deny does not deny.
    fn filled(
        &self,
        rule: &Compiled,
        when: Option<&Template>,
        names: &Names<'_>,
    ) -> Result<Filled, TooManyParts> {
        let Some(when) = when else {
            return Ok(match rule.effect {
                Effect::Allow => Filled::Always,
                Effect::Deny => Filled::Never,
            });
        };
        if self.verb != Verb::Read && rule.speaks_of_values() {
            return Ok(unknown());
        }
        let mut things = vec![(RESOURCE, Thing::Member)];
        things.extend(self.subject.things().map(|(name, value)| (name, Thing::Known(value))));
        things.extend(names.iter().map(|(name, value)| (*name, Thing::Known(value))));
        // The name at which the pattern ends is that of the member. Any other that is not bound is
        // not spoken of, or bound by something that is not there and so has no value.
        let last = rule.pattern.last_variable();
        let last = last.filter(|last| !names.iter().any(|(name, _)| name == last));
        things.extend(last.map(|last| (last, Thing::Key)));
        match rule.effect {
            Effect::Allow => when.fill(&things),
            Effect::Deny => when.negated().fill(&things),
        }
    }

    fn put(
        &mut self,
        rule: &Compiled,
        names: &[(&str, Json)],
        filled: Filled,
    ) -> Result<(), TooManyScopes> {
        let is_idle = match rule.effect {
            Effect::Allow => filled == Filled::Never,
            Effect::Deny => filled == Filled::Always,
        };
        if is_idle {
            return Ok(());
        }
        let name = |segment: &'_ Segment| match segment {
            Segment::Name(name) => Some(name.to_string()),
            Segment::Variable(variable) => {
                let bound = names.iter().find(|(name, _)| *name == &**variable);
                bound.and_then(|(_, name)| name.as_str()).map(str::to_owned)
            }
        };
        let path: Vec<Option<String>> = rule.pattern.segments().iter().map(name).collect();
        let path: Vec<Option<&str>> = path.iter().map(Option::as_deref).collect();
        let scope = self.draft.at(&path)?;
        let access = if rule.beneath { &mut scope.all } else { &mut scope.own };
        let mut added = Access::default();
        match rule.effect {
            Effect::Allow => added.allowed = filled,
            Effect::Deny => added.spared = filled,
        }
        access.merge(&added);
        Ok(())
    }
}

/// A condition that is decided together with the write.
fn unknown() -> Filled {
    let condition = Condition::parse("has(decided.by.the.write)", &Bounds::default());
    condition.map_or(Filled::Never, Filled::Where)
}
