//! Rules: read, checked, and ready to grant.

use std::sync::Arc;

use halfping_shape::Template;

use crate::bounds::RULES_MAX;
use crate::check;
use crate::compiled::{Compiled, Spots};
use crate::finding::{Finding, Refused, Severity};
use crate::grant::Grant;
use crate::rule::Rule;
use crate::source;
use crate::subject::Subject;

/// Rules without errors.
///
/// ```
/// use halfping_rules::Rules;
///
/// let refused = Rules::parse(r#"
/// [[rule]]
/// allow = ["read"]
/// path = "/orders/{order}"
/// when = "owner == claims.sub"
/// "#).unwrap_err();
/// let finding = &refused.findings[0];
/// assert_eq!((finding.rule, finding.line, finding.column), (Some(1), Some(5), Some(9)));
/// assert_eq!(
///     finding.text,
///     "'when', column 1: there is no `owner` here; there are `claims`, `me`, `order`, \
///      `resource`, `new`; a member of the resource is `resource.owner`"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Arc<[(usize, Compiled)]>,
    warnings: Vec<Finding>,
}

impl Default for Rules {
    /// No rules, by which nothing is allowed.
    fn default() -> Rules {
        Rules { rules: Arc::new([]), warnings: Vec::new() }
    }
}

impl Rules {
    /// Checks rules. Findings have no lines.
    pub fn new(rules: Vec<Rule>) -> Result<Rules, Refused> {
        Rules::checked(rules.into_iter().map(|rule| (rule, Spots::default())).collect())
    }

    /// Reads and checks the `[[rule]]` tables of a text in TOML that has nothing else.
    pub fn parse(text: &str) -> Result<Rules, Refused> {
        source::nothing_else(text).and_then(|()| Rules::parse_among(text))
    }

    /// Reads and checks the `[[rule]]` tables of a text in TOML. All else is left to other readers.
    pub fn parse_among(text: &str) -> Result<Rules, Refused> {
        Rules::checked(source::read(text)?)
    }

    fn checked(rules: Vec<(Rule, Spots)>) -> Result<Rules, Refused> {
        if rules.len() > RULES_MAX {
            let many = format!("there are {} rules, and may be {RULES_MAX}", rules.len());
            let hint = "say by variables and claims what is alike";
            return Err(Refused { findings: vec![Finding::error(many).hint(hint)] });
        }
        let (mut compiled, mut findings) = (Vec::new(), Vec::new());
        for (place, (rule, spots)) in rules.into_iter().enumerate() {
            let number = place + 1;
            match Compiled::read(&rule, spots) {
                Ok(rule) => compiled.push((number, rule)),
                Err(wrong) => findings.extend(wrong.into_iter().map(|finding| finding.of(number))),
            }
        }
        // A rule that cannot be read may be the one that others need: they are judged without it.
        let all = (0..compiled.len()).flat_map(|place| check::findings(&compiled, place));
        findings.extend(all);
        findings.sort_by_key(|finding| finding.rule);
        match findings.iter().any(|finding| finding.severity == Severity::Error) {
            true => Err(Refused { findings }),
            false => Ok(Rules { rules: compiled.into(), warnings: findings }),
        }
    }

    /// The number of the first rule, from 1, whose condition speaks of one of these things, such as
    /// `me`. For those who cannot tell what these are.
    pub fn speaks_of(&self, things: &[&str]) -> Option<usize> {
        let speaks = |when: &Template| things.iter().any(|thing| when.speaks_of(thing));
        let mut rules = self.rules.iter();
        rules.find(|(_, rule)| rule.when.as_ref().is_some_and(speaks)).map(|(number, _)| *number)
    }

    /// True if these are the same rules in the same order, wherever they stand in their texts.
    pub fn say_the_same(&self, other: &Rules) -> bool {
        let said = |(_, rule): &(usize, Compiled)| {
            let Compiled { effect, verbs, pattern, beneath, written, .. } = rule.clone();
            (effect, verbs, pattern, beneath, written)
        };
        self.len() == other.len()
            && self.rules.iter().zip(&*other.rules).all(|(one, other)| said(one) == said(other))
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// True if there are none: then nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The findings that are no errors.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// The grant that they come to for a subject.
    pub fn grant(&self, subject: &Subject) -> Grant {
        Grant::new(&self.rules, subject)
    }
}
