//! Decisions: what rules say of one thing that somebody wants to do, and why.

use std::borrow::Cow;
use std::fmt;

use halfping_shape::Template;
use serde_json::Value as Json;

use crate::compiled::{BY_MEMBER, Compiled, NEW};
use crate::rule::Effect;
use crate::subject::Subject;
use crate::verb::Verb;

/// A value of the tree at the first levels of a path: 0 is the root.
pub(crate) type At<'a, 'v> = &'a dyn Fn(usize) -> Option<&'v Json>;

/// A decision. Somebody may do something if a rule allows it and none denies it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// True if it is allowed.
    pub allowed: bool,
    /// Number of the rule that decides, from 1: the first that denies, else the first that allows.
    /// `None` if none allows it.
    pub by: Option<usize>,
}

/// A rule that is about a path and a verb.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Considered {
    /// Its number, from 1.
    pub rule: usize,
    /// Its line, if rules were read from a text.
    pub line: Option<usize>,
    /// Its effect where it applies.
    pub effect: Effect,
    /// Its path.
    pub path: String,
    /// Its condition as it was written, with `when` or `unless`.
    pub condition: Option<String>,
    /// The value of what it says under that word; `None` if it has none.
    pub value: Option<bool>,
    /// True if it applies: an allow if its condition is met, a deny unless that is surely not so.
    pub applies: bool,
}

/// A decision with its reasons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The verb.
    pub verb: Verb,
    /// The decision.
    pub decision: Decision,
    /// All rules that are about the path and the verb, in order.
    pub rules: Vec<Considered>,
}

/// One of the two states of a write: what is at the first levels of a path, before it or after it.
/// Level 0 is the root.
pub trait Side {
    /// True if something is there.
    fn is_there(&self, level: usize) -> bool;

    /// The value, of which at least these members are needed, each by its names. `None` if nothing
    /// is there, or if it cannot be told: then no condition on it has a value.
    fn value(&self, level: usize, members: &mut dyn Iterator<Item = &[Box<str>]>) -> Option<Json>;
}

/// The facts of one thing that somebody wants to do.
pub(crate) trait Facts {
    /// The verb, as this rule sees it.
    fn verb(&self, rule: &Compiled) -> Verb;

    /// The value of `resource` or `new` for such a rule, with what its condition reads.
    fn thing(&self, thing: &str, level: usize, when: &Template) -> Option<Cow<'_, Json>>;
}

/// Facts that are all known: a verb, and whole values.
pub(crate) struct Known<'a, 'v> {
    pub(crate) verb: Verb,
    pub(crate) before: At<'a, 'v>,
    pub(crate) after: At<'a, 'v>,
}

impl Facts for Known<'_, '_> {
    fn verb(&self, _: &Compiled) -> Verb {
        self.verb
    }

    fn thing(&self, thing: &str, level: usize, _: &Template) -> Option<Cow<'_, Json>> {
        let at = if thing == NEW { self.after } else { self.before };
        at(level).map(Cow::Borrowed)
    }
}

/// Facts of reading in one state.
pub(crate) struct OfRead<'a> {
    pub(crate) state: &'a dyn Side,
}

impl Facts for OfRead<'_> {
    fn verb(&self, _: &Compiled) -> Verb {
        Verb::Read
    }

    fn thing(&self, thing: &str, level: usize, when: &Template) -> Option<Cow<'_, Json>> {
        self.state.value(level, &mut when.members_of(thing)).map(Cow::Owned)
    }
}

/// Facts of a write to a resource at level `at`.
pub(crate) struct OfWrite<'a> {
    pub(crate) at: usize,
    pub(crate) before: &'a dyn Side,
    pub(crate) after: &'a dyn Side,
}

impl Facts for OfWrite<'_> {
    /// A rule is about the value at which its pattern ends; or about the resource that is written,
    /// if that is further down and the rule speaks of no values.
    fn verb(&self, rule: &Compiled) -> Verb {
        let level = rule.pattern.segments().len();
        let level = if rule.speaks_of_values() { level } else { level.max(self.at) };
        match (self.before.is_there(level), self.after.is_there(level)) {
            (false, true) => Verb::Create,
            (true, false) => Verb::Delete,
            _ => Verb::Update,
        }
    }

    fn thing(&self, thing: &str, level: usize, when: &Template) -> Option<Cow<'_, Json>> {
        let side = if thing == NEW { self.after } else { self.before };
        side.value(level, &mut when.members_of(thing)).map(Cow::Owned)
    }
}

/// A question to rules.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a, S> {
    pub(crate) subject: &'a Subject,
    pub(crate) path: &'a [S],
    pub(crate) facts: &'a dyn Facts,
}

impl<S: AsRef<str>> Question<'_, S> {
    /// The decision of these rules.
    pub(crate) fn decide(&self, rules: &[(usize, Compiled)]) -> Decision {
        let mut allowed_by = None;
        for (number, rule) in rules {
            match (self.applies(rule), rule.effect) {
                (Some((_, true)), Effect::Deny) => {
                    return Decision { allowed: false, by: Some(*number) };
                }
                (Some((_, true)), Effect::Allow) => allowed_by = allowed_by.or(Some(*number)),
                _ => {}
            }
        }
        Decision { allowed: allowed_by.is_some(), by: allowed_by }
    }

    pub(crate) fn explain(&self, verb: Verb, rules: &[(usize, Compiled)]) -> Explanation {
        let considered = rules.iter().filter_map(|(number, rule)| {
            let (value, applies) = self.applies(rule)?;
            let written = rule.written.as_ref();
            let is_unless = written.is_some_and(|(setting, _)| *setting == "unless");
            Some(Considered {
                rule: *number,
                line: rule.spots.rule.map(|spot| spot.line),
                effect: rule.effect,
                path: rule.pattern.to_string(),
                condition: written.map(|(setting, text)| format!("{setting} {text}")),
                value: value.map(|value| value != is_unless),
                applies,
            })
        });
        Explanation { verb, decision: self.decide(rules), rules: considered.collect() }
    }

    /// The value of a rule's condition, and whether the rule applies. `None` if it is about other
    /// paths or verbs.
    fn applies(&self, rule: &Compiled) -> Option<(Option<bool>, bool)> {
        if !rule.reaches(self.path.len()) {
            return None;
        }
        let bound = rule.pattern.bind(self.path)?;
        if !rule.verbs.contains(&self.facts.verb(rule)) {
            return None;
        }
        let Some(when) = &rule.when else { return Some((Some(true), true)) };
        let names = bound.iter().map(|(_, name)| Json::String((*name).to_owned()));
        let names: Vec<Json> = names.collect();
        let mut things: Vec<(&str, &Json)> = self.subject.things().into();
        things.extend(bound.iter().map(|(variable, _)| *variable).zip(&names));
        let level = rule.pattern.segments().len();
        let spoken_of = BY_MEMBER.into_iter().filter(|thing| when.speaks_of(thing));
        let values = spoken_of.map(|thing| (thing, self.facts.thing(thing, level, when)));
        let values: Vec<_> = values.collect();
        things.extend(values.iter().filter_map(|(thing, value)| Some((*thing, value.as_deref()?))));
        let value = when.evaluate(&things);
        Some((
            value,
            match rule.effect {
                Effect::Allow => value == Some(true),
                Effect::Deny => value != Some(false),
            },
        ))
    }
}

/// Writes the decision, and a line for each rule.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { verb, decision, rules } = self;
        match (decision.allowed, decision.by) {
            (true, Some(rule)) => write!(f, "{verb}: allowed by rule {rule}")?,
            (false, Some(rule)) => write!(f, "{verb}: denied by rule {rule}")?,
            (_, None) => write!(f, "{verb}: denied, since no rule allows it")?,
        }
        if rules.is_empty() {
            write!(f, "\n  no rule is about this path and verb")?;
        }
        rules.iter().try_for_each(|rule| write!(f, "\n  {rule}"))
    }
}

impl fmt::Display for Considered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.rule)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        let (word, does) = match self.effect {
            Effect::Allow => ("allow", "allows"),
            Effect::Deny => ("deny", "denies"),
        };
        write!(f, ": {word} {}", self.path)?;
        match (&self.condition, self.value) {
            (None, _) => return write!(f, ": {does}"),
            (Some(condition), Some(value)) => write!(f, " {condition}: that is {value}")?,
            (Some(condition), None) => write!(f, " {condition}: that has no value")?,
        }
        match self.applies {
            true => write!(f, ", so it {does}"),
            false => write!(f, ", so it does not {word}"),
        }
    }
}
