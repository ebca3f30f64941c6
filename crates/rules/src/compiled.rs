//! One rule, understood.

use std::collections::BTreeSet;

use halfping_shape::{Bounds, Template, Things};

use crate::bounds::CONDITION_BYTES_MAX;
use crate::finding::{Finding, Spot};
use crate::pattern::Pattern;
use crate::rule::{Effect, Rule};
use crate::verb::{Verb, verbs_of};

/// Things that a condition may speak of besides variables, all of which may be read.
pub(crate) const KNOWN: [&str; 2] = ["claims", "me"];

/// Things of which a condition may read named members.
pub(crate) const BY_MEMBER: [&str; 2] = [RESOURCE, NEW];
/// The value at which a pattern ends, as it is.
pub(crate) const RESOURCE: &str = "resource";
/// That value as a write would leave it.
pub(crate) const NEW: &str = "new";

/// A rule, understood.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) effect: Effect,
    pub(crate) verbs: BTreeSet<Verb>,
    pub(crate) pattern: Pattern,
    /// The condition under which it applies; always, without one. An allow applies where it is
    /// true, a deny where it is not false.
    pub(crate) when: Option<Template>,
    pub(crate) beneath: bool,
    /// The condition as it was written, with the setting that it was written as.
    pub(crate) written: Option<(&'static str, String)>,
    pub(crate) spots: Spots,
}

/// Places of a rule in a text.
#[derive(Clone, Default, Debug)]
pub(crate) struct Spots {
    pub(crate) rule: Option<Spot>,
    /// Places of the verbs, in order.
    pub(crate) verbs: Vec<Spot>,
    pub(crate) path: Option<Spot>,
    pub(crate) condition: Option<Spot>,
    /// True if the condition stands in the text as it is: then columns are those of the text.
    pub(crate) is_verbatim: bool,
}

impl Spots {
    /// The place of a column of the condition.
    fn in_condition(&self, column: usize) -> Option<Spot> {
        let spot = self.condition?;
        let ahead = if self.is_verbatim { column } else { 0 };
        Some(Spot { column: spot.column + ahead, ..spot })
    }
}

impl Compiled {
    /// Reads a rule; else all that is wrong with it.
    pub(crate) fn read(rule: &Rule, spots: Spots) -> Result<Compiled, Vec<Finding>> {
        let mut wrong = Vec::new();
        let effect = effect(rule, &spots).map_err(|found| wrong.push(found)).ok();
        let verbs = verbs(rule, &spots).map_err(|found| wrong.extend(found)).ok();
        let pattern = Pattern::parse(&rule.path).map_err(|error| {
            wrong.push(Finding::error(format!("'path': {error}")).at(spots.path));
        });
        let written = match (&rule.when, &rule.unless) {
            (Some(_), Some(_)) => {
                let both = Finding::error("a rule has one condition: 'when' or 'unless'");
                let hint = "write both as one, such as when = \"(…) && !(…)\"";
                wrong.push(both.at(spots.condition).hint(hint));
                None
            }
            (Some(when), None) => Some(("when", when.clone())),
            (None, Some(unless)) => Some(("unless", unless.clone())),
            (None, None) => None,
        };
        let mut when = None;
        if let (Ok(pattern), Some((setting, text))) = (&pattern, &written) {
            match condition(pattern, text) {
                Ok(template) if *setting == "when" => when = Some(template),
                Ok(template) => when = Some(template.negated()),
                Err(error) => wrong.push(
                    Finding::error(format!("'{setting}', {error}"))
                        .at(spots.in_condition(error.column)),
                ),
            }
        }
        if let (Some(when), Some(verbs)) = (&when, &verbs)
            && when.speaks_of(NEW)
            && (verbs.contains(&Verb::Read) || verbs.iter().all(|verb| *verb == Verb::Delete))
        {
            let what = "`new` is what a write would leave: there is none in a rule for `read`, \
                        or for `delete` alone";
            let hint = "write a rule of its own for `create` and `update`";
            wrong.push(Finding::error(what).at(spots.condition).hint(hint));
        }
        match (effect, verbs, pattern) {
            (Some(effect), Some(verbs), Ok(pattern)) if wrong.is_empty() => {
                let beneath = rule.beneath;
                Ok(Compiled { effect, verbs, pattern, when, beneath, written, spots })
            }
            _ => Err(wrong),
        }
    }

    /// True if it is about a path that its pattern covers.
    pub(crate) fn reaches(&self, length: usize) -> bool {
        self.beneath || length == self.pattern.segments().len()
    }

    /// True if it is about another verb than `read`.
    pub(crate) fn is_about_writes(&self) -> bool {
        self.verbs.iter().any(|verb| *verb != Verb::Read)
    }

    /// True if its condition speaks of the value at which its pattern ends.
    pub(crate) fn speaks_of_values(&self) -> bool {
        let when = self.when.as_ref();
        when.is_some_and(|when| BY_MEMBER.into_iter().any(|thing| when.speaks_of(thing)))
    }

    /// True if it is about all that another rule is about, and has no condition.
    pub(crate) fn decides_all_of(&self, other: &Compiled) -> bool {
        let (levels, others) = (self.pattern.segments().len(), other.pattern.segments().len());
        self.when.is_none()
            && self.verbs.is_superset(&other.verbs)
            && self.pattern.contains(other.pattern.segments())
            && (self.beneath || levels == others && !other.beneath)
    }

    /// True if it allows reading.
    pub(crate) fn allows_reading(&self) -> bool {
        self.effect == Effect::Allow && self.verbs.contains(&Verb::Read)
    }
}

fn effect(rule: &Rule, spots: &Spots) -> Result<Effect, Finding> {
    match (&rule.allow, &rule.deny) {
        (Some(_), None) => Ok(Effect::Allow),
        (None, Some(_)) => Ok(Effect::Deny),
        (Some(_), Some(_)) => {
            let both = Finding::error("a rule allows or denies, and this one does both");
            Err(both.at(spots.rule).hint("write two rules"))
        }
        (None, None) => {
            let neither = Finding::error("the rule neither allows nor denies");
            Err(neither.at(spots.rule).hint("write allow = [\"read\"]"))
        }
    }
}

fn verbs(rule: &Rule, spots: &Spots) -> Result<BTreeSet<Verb>, Vec<Finding>> {
    let (mut verbs, mut wrong) = (BTreeSet::new(), Vec::new());
    let lists = [("allow", &rule.allow), ("deny", &rule.deny)];
    let mut place = 0;
    for (setting, words) in lists {
        let Some(words) = words else { continue };
        if words.is_empty() {
            let nothing = Finding::error(format!("'{setting}' has no verbs")).at(spots.rule);
            wrong.push(nothing.hint(format!("write {setting} = [\"read\"]")));
        }
        for word in words {
            let spot = spots.verbs.get(place).copied();
            place += 1;
            match verbs_of(word) {
                Ok(found) => verbs.extend(found),
                Err(meant) => {
                    let all = "the verbs are read, create, update, delete, and write for the last \
                               three"
                        .to_owned();
                    let hint = meant.map_or(all, |meant| format!("did you mean \"{meant}\"?"));
                    let unknown = Finding::error(format!("'{setting}': unknown verb `{word}`"));
                    wrong.push(unknown.at(spot.or(spots.rule)).hint(hint));
                }
            }
        }
    }
    if wrong.is_empty() { Ok(verbs) } else { Err(wrong) }
}

fn condition(pattern: &Pattern, text: &str) -> Result<Template, halfping_shape::ShapeError> {
    let whole: Vec<&str> = KNOWN.into_iter().chain(pattern.variables()).collect();
    let bounds = Bounds { text_bytes: CONDITION_BYTES_MAX, ..Bounds::default() };
    Template::parse(text, &bounds, Things { whole: &whole, by_member: &BY_MEMBER })
}
