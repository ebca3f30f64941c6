//! Rules beside each other: those that show names by accident, decide nothing, or cost
//! more than they need to.

use halfping_shape::Template;

use crate::compiled::{BY_MEMBER, Compiled, KNOWN};
use crate::finding::Finding;
use crate::pattern::Segment;
use crate::rule::Effect;
use crate::verb::Verb;

/// Findings of a rule, at this place among the rules.
pub(crate) fn findings(rules: &[(usize, Compiled)], place: usize) -> Vec<Finding> {
    let (number, rule) = &rules[place];
    let mut found = Vec::new();
    if rule.verbs.contains(&Verb::Read) {
        found.extend(levels_above(rules, rule));
        found.extend(unindexed(rule));
    }
    found.extend(without_effect(rules, place));
    found.into_iter().map(|finding| finding.of(*number)).collect()
}

/// Only the level at which a pattern ends can be decided by value. A variable above it is bound to
/// names, or stands for all of them, which then have to be allowed.
fn levels_above(rules: &[(usize, Compiled)], rule: &Compiled) -> Vec<Finding> {
    let segments = rule.pattern.segments();
    let above = segments.split_last().map_or(&[][..], |(_, above)| above);
    let mut found = Vec::new();
    for (level, segment) in above.iter().enumerate() {
        let Segment::Variable(variable) = segment else { continue };
        let mentions = rule.when.as_ref().map_or(0, |when| when.mentions(variable));
        let is_bound = rule.when.as_ref().is_some_and(|when| when.binds(variable, &KNOWN));
        // A deny also applies where its condition has no value: then for all names alike.
        let is_at_most_bound = mentions == 1 || rule.effect == Effect::Allow;
        if mentions > 0 && !(is_bound && is_at_most_bound) {
            let what = format!(
                "the condition reads {{{variable}}}, which stands above the end of the path: of it \
                 can only be asked, once, what it is equal to or in"
            );
            let hint = format!(
                "write `{variable} in me.…` or `{variable} == claims.…`, joined to the rest by `&&`"
            );
            found.push(Finding::error(what).at(rule.spots.condition).hint(hint));
        } else if !is_bound
            && rule.effect == Effect::Allow
            && !rules.iter().any(|(_, other)| names_are_allowed(other, rule, level))
        {
            let (under, path) = (rule.pattern.text_of(level), rule.pattern.text_of(level + 1));
            let what = format!("the rule shows the names under {under}, which no rule allows");
            let hint = format!(
                "allow them to the same people, with path = \"{path}\" and beneath = false; or \
                 bind {{{variable}}}: `{variable} in me.…`, `{variable} == claims.…`"
            );
            found.push(Finding::error(what).at(rule.spots.path).hint(hint));
        }
    }
    found
}

/// True if a rule allows everybody whom another allows something to read the names at a level of
/// its pattern.
fn names_are_allowed(by: &Compiled, rule: &Compiled, level: usize) -> bool {
    let upto = &rule.pattern.segments()[..=level];
    let asks_the_same = by.when.as_ref().is_none_or(|when| {
        let required = rule.when.as_ref().map(Template::conjuncts).unwrap_or_default();
        let speaks_of_others = by.pattern.variables().chain(BY_MEMBER).any(|of| when.speaks_of(of));
        !speaks_of_others && when.conjuncts().iter().all(|part| required.contains(part))
    });
    by.allows_reading() && by.pattern.contains(upto) && by.reaches(upto.len()) && asks_the_same
}

/// A condition that is asked of every member that changes.
fn unindexed(rule: &Compiled) -> Option<Finding> {
    let when = rule.when.as_ref().filter(|_| rule.effect == Effect::Allow)?;
    let last = rule.pattern.last_variable();
    if when.requires_equality(&BY_MEMBER, last) {
        return None;
    }
    let what = "nothing in the condition has to be equal to something: it is asked of every \
                member that changes, for each subject";
    let hint = "add an equality that has to hold, such as `resource.team in me.teams`, if there \
                is one";
    Some(Finding::warning(what).at(rule.spots.condition).hint(hint))
}

/// A rule that another makes superfluous.
fn without_effect(rules: &[(usize, Compiled)], place: usize) -> Option<Finding> {
    let rule = &rules[place].1;
    let makes_superfluous = |other: usize, by: &Compiled| {
        let alike = by.effect == rule.effect
            && by.beneath == rule.beneath
            && by.pattern == rule.pattern
            && by.verbs == rule.verbs
            && by.when == rule.when;
        let is_enough = by.effect == Effect::Deny || by.effect == rule.effect;
        let decides = is_enough && by.decides_all_of(rule);
        // Of two that decide the same, the second is superfluous.
        let is_mutual = alike || decides && by.effect == rule.effect && rule.decides_all_of(by);
        (alike || decides) && (!is_mutual || other < place)
    };
    let others = rules.iter().enumerate().filter(|(other, _)| *other != place);
    let mut others = others.filter(|(other, (_, by))| makes_superfluous(*other, by));
    let (_, (number, by)) = others.next()?;
    let what = match (by.effect, rule.effect) {
        (Effect::Deny, Effect::Allow) => {
            format!("the rule decides nothing: rule {number} denies all that it allows")
        }
        (Effect::Deny, Effect::Deny) => {
            format!("the rule decides nothing: rule {number} denies all that it denies")
        }
        _ => format!("the rule decides nothing: rule {number} allows all that it allows"),
    };
    Some(Finding::warning(what).at(rule.spots.rule).hint("remove it, or narrow the other"))
}
