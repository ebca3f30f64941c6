//! Rules as they are generated, and what they say, by an evaluator of their own: it asks each rule
//! at each level of each path, and shares no code with the product.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde_json::Value;

use crate::model::Names;

/// A name, or a variable, of a pattern.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Segment {
    Is(&'static str),
    Any(&'static str),
}

/// A rule. Its condition is `when`, or `unless` if it is `inverse`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Rule {
    pub(crate) allows: bool,
    pub(crate) verbs: Vec<Verb>,
    pub(crate) path: Vec<Segment>,
    pub(crate) condition: Option<Test>,
    pub(crate) inverse: bool,
    pub(crate) beneath: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Read,
    Create,
    Update,
    Delete,
}

/// A condition.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Test {
    /// The claim `roles` has this.
    Role(&'static str),
    /// A claim that nobody has.
    Nobody,
    /// The variable is the claim `sub`.
    IsMe(&'static str),
    /// The variable is one of the claim `teams`.
    IsMine(&'static str),
    /// The member of `resource` (`new`, if true) is the claim `sub`.
    Own(bool, &'static [&'static str]),
    /// The member is this text.
    Equals(bool, &'static [&'static str], &'static str),
    /// The member is greater than this.
    Above(&'static [&'static str], i64),
    /// The list in the member has the claim `sub`.
    Listed(&'static [&'static str]),
    /// The member is true.
    True(&'static [&'static str]),
    Has(&'static str),
    Not(Box<Test>),
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
}

/// Claims of somebody.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Claims {
    pub(crate) sub: &'static str,
    pub(crate) roles: Vec<&'static str>,
    pub(crate) teams: Vec<&'static str>,
}

/// What a condition is asked of.
struct Things<'a> {
    claims: &'a Claims,
    /// The variables of the pattern, and the names for which they stand.
    bound: Vec<(&'static str, &'a str)>,
    resource: Option<&'a Value>,
    new: Option<&'a Value>,
}

impl Test {
    /// The value of the condition; `None` if it has none.
    fn ask(&self, things: &Things<'_>) -> Option<bool> {
        let claims = things.claims;
        let variable = |name: &str| things.bound.iter().find(|(of, _)| *of == name).map(|of| of.1);
        let member = |is_new: bool, names: &[&str]| {
            let thing = if is_new { things.new } else { things.resource };
            names.iter().try_fold(thing?, |value, name| value.as_object()?.get(*name))
        };
        match self {
            Test::Role(role) => Some(claims.roles.contains(role)),
            Test::Nobody => None,
            Test::IsMe(name) => Some(variable(name)? == claims.sub),
            Test::IsMine(name) => Some(claims.teams.contains(&variable(name)?)),
            Test::Own(is_new, names) => Some(member(*is_new, names)?.as_str() == Some(claims.sub)),
            Test::Equals(is_new, names, text) => {
                Some(member(*is_new, names)?.as_str() == Some(*text))
            }
            Test::Above(names, than) => Some(member(false, names)?.as_i64()? > *than),
            Test::Listed(names) => match member(false, names)? {
                Value::Array(list) => Some(list.iter().any(|one| one.as_str() == Some(claims.sub))),
                Value::Object(members) => Some(members.contains_key(claims.sub)),
                _ => None,
            },
            Test::True(names) => member(false, names)?.as_bool(),
            Test::Has(name) => Some(things.resource?.as_object()?.contains_key(*name)),
            Test::Not(test) => test.ask(things).map(|truth| !truth),
            Test::And(one, other) => match (one.ask(things), other.ask(things)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Test::Or(one, other) => match (one.ask(things), other.ask(things)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }

    /// Adds the names of the members of a value that it reads.
    fn members(&self, names: &mut Vec<&'static str>) {
        match self {
            Test::Own(false, path)
            | Test::Equals(false, path, _)
            | Test::Above(path, _)
            | Test::Listed(path)
            | Test::True(path) => names.extend(path.first()),
            Test::Has(name) => names.push(name),
            Test::Not(test) => test.members(names),
            Test::And(one, other) | Test::Or(one, other) => {
                one.members(names);
                other.members(names);
            }
            _ => {}
        }
    }

    /// True if it speaks of names or values.
    fn speaks_of_names(&self) -> bool {
        match self {
            Test::Role(_) | Test::Nobody => false,
            Test::Not(test) => test.speaks_of_names(),
            Test::And(one, other) | Test::Or(one, other) => {
                one.speaks_of_names() || other.speaks_of_names()
            }
            _ => true,
        }
    }

    /// True if it speaks of values.
    fn speaks_of_values(&self) -> bool {
        match self {
            Test::Role(_) | Test::Nobody | Test::IsMe(_) | Test::IsMine(_) => false,
            Test::Not(test) => test.speaks_of_values(),
            Test::And(one, other) | Test::Or(one, other) => {
                one.speaks_of_values() || other.speaks_of_values()
            }
            _ => true,
        }
    }
}

impl Rule {
    /// True if it decides who may read by a value beneath names that are not known. Of what changes
    /// there no lens knows whether it was seen (PROTOCOL I28e).
    pub(crate) fn is_without_lens(&self) -> bool {
        let above = self.path.split_last().map_or(&[][..], |(_, above)| above);
        self.verbs.contains(&Verb::Read)
            && self.condition.as_ref().is_some_and(Test::speaks_of_values)
            && above.iter().any(|segment| matches!(segment, Segment::Any(_)))
    }

    /// True if it decides who may read by a value that stands beneath one by which another does.
    pub(crate) fn is_beneath(&self, other: &Rule) -> bool {
        let by_value = |rule: &Rule| {
            rule.verbs.contains(&Verb::Read)
                && rule.condition.as_ref().is_some_and(Test::speaks_of_values)
        };
        let may_be = |(one, other): (&Segment, &Segment)| match (one, other) {
            (Segment::Is(one), Segment::Is(other)) => one == other,
            _ => true,
        };
        let is_deeper = other.path.len() < self.path.len();
        is_deeper
            && by_value(self)
            && by_value(other)
            && other.path.iter().zip(&self.path).all(may_be)
    }

    /// True if it hides only what a lens of a collection, or names at the root, can tell of.
    pub(crate) fn is_simple(&self) -> bool {
        let is_of_orders = matches!(self.path[..], [Segment::Is("orders"), Segment::Any(_)]);
        !self.verbs.contains(&Verb::Read)
            || self.allows && self.beneath && (is_of_orders || self.path.len() <= 1)
    }

    /// The variables of its pattern, if that begins with these names, or is all of them and no
    /// longer.
    fn bind<'a>(&self, path: &'a [String]) -> Option<Vec<(&'static str, &'a str)>> {
        let mut bound = Vec::new();
        for (segment, name) in self.path.iter().zip(path) {
            match segment {
                Segment::Is(is) if is == name => {}
                Segment::Is(_) => return None,
                Segment::Any(variable) => bound.push((*variable, &**name)),
            }
        }
        Some(bound)
    }

    /// True if it decides so of what is at a path.
    fn applies(
        &self,
        claims: &Claims,
        path: &[String],
        resource: Option<&Value>,
        new: Option<&Value>,
    ) -> bool {
        let reaches = match self.beneath {
            true => self.path.len() <= path.len(),
            false => self.path.len() == path.len(),
        };
        let Some(bound) = self.bind(path).filter(|_| reaches) else { return false };
        let value = match &self.condition {
            None => Some(true),
            Some(test) => {
                let value = test.ask(&Things { claims, bound, resource, new });
                value.map(|truth| truth != self.inverse)
            }
        };
        match self.allows {
            true => value == Some(true),
            false => value != Some(false),
        }
    }
}

/// The value at a path.
pub(crate) fn at<'v>(root: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(root, |value, name| value.as_object()?.get(name))
}

/// Rules, and who asks.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) rules: &'a [Rule],
    pub(crate) claims: &'a Claims,
}

/// What is seen of a value: that it is there, and if it has no members, its text.
pub(crate) type Seen = BTreeMap<Vec<String>, Option<String>>;

impl Asked<'_> {
    /// True if all at a path may be read, whatever there is.
    pub(crate) fn may_read_all(&self, path: &[String]) -> bool {
        let nothing = Value::Null;
        // The value of a rule that speaks of claims alone.
        let by_claims = |rule: &Rule| {
            let is_known = rule.condition.as_ref().is_none_or(|test| !test.speaks_of_names());
            let anywhere = Rule { path: Vec::new(), beneath: true, ..rule.clone() };
            is_known.then(|| anywhere.applies(self.claims, &[], Some(&nothing), None))
        };
        let rules = self.rules.iter().filter(|rule| rule.verbs.contains(&Verb::Read));
        let is_denied = |rule: &Rule| rule.bind(path).is_some() && by_claims(rule) != Some(false);
        let is_allowed = |rule: &Rule| {
            let is_above = rule.beneath && rule.path.len() <= path.len();
            is_above && rule.bind(path).is_some() && by_claims(rule) == Some(true)
        };
        !rules.clone().any(|rule| !rule.allows && is_denied(rule))
            && rules.clone().any(|rule| rule.allows && is_allowed(rule))
    }

    /// True if values decide who may write at a path. Else names do, and whether something is there
    /// (PROTOCOL I12b, I28f).
    pub(crate) fn judges_values(&self, path: &[String]) -> bool {
        let is_of_writes = |rule: &&Rule| rule.verbs.iter().any(|verb| *verb != Verb::Read);
        let by_value = |rule: &Rule| rule.condition.as_ref().is_some_and(Test::speaks_of_values);
        let meets = |rule: &&Rule| rule.bind(path).is_some();
        let mut rules = self.rules.iter().filter(is_of_writes).filter(meets);
        rules.clone().any(by_value) && !rules.any(|rule| rule.allows && !by_value(rule))
    }

    /// True if a rule decides about the value at a path alone, by that value or its name.
    pub(crate) fn is_decided_by_itself(&self, path: &[String]) -> bool {
        self.rules.iter().any(|rule| {
            let has_condition = rule.condition.as_ref().is_some_and(Test::speaks_of_names);
            let is_own = !rule.beneath && rule.path.len() == path.len();
            has_condition && is_own && rule.bind(path).is_some()
        })
    }

    /// True if what is at a path may be read.
    pub(crate) fn may_read(&self, root: &Value, path: &[String]) -> bool {
        let mut is_allowed = false;
        for rule in self.rules.iter().filter(|rule| rule.verbs.contains(&Verb::Read)) {
            let level = rule.path.len().min(path.len());
            if rule.applies(self.claims, path, at(root, &path[..level]), None) {
                if !rule.allows {
                    return false;
                }
                is_allowed = true;
            }
        }
        is_allowed
    }

    /// True if a value at a path may be on the way to something that may be read, whatever is
    /// beneath it. True for more than that, as denials beneath are not looked at.
    fn may_lead(&self, root: &Value, path: &[String]) -> bool {
        // What rules above allow beneath it, where the value itself is denied.
        let beneath = [path, &["\u{0}".to_owned()]].concat();
        self.may_read(root, &beneath)
            || self.rules.iter().any(|rule| {
                let leads = rule.allows && rule.verbs.contains(&Verb::Read);
                if !leads || rule.path.len() <= path.len() {
                    return false;
                }
                let Some(bound) = rule.bind(path) else { return false };
                let (claims, resource, new) = (self.claims, None, None);
                // A condition on claims alone decides now.
                match &rule.condition {
                    Some(test @ (Test::Role(_) | Test::Nobody)) => {
                        let value = test.ask(&Things { claims, bound, resource, new });
                        value.is_some_and(|truth| truth != rule.inverse)
                    }
                    _ => true,
                }
            })
    }

    /// What may be seen of all there is, or more.
    pub(crate) fn seen(&self, root: &Value) -> Seen {
        let mut seen = Seen::new();
        self.look(root, root, &mut Vec::new(), &mut seen);
        seen
    }

    /// What a change of which the reader notices: what may be seen, and of what may be seen the
    /// members by which rules decide (PROTOCOL I28e).
    pub(crate) fn exposed(&self, root: &Value, seen: &Seen) -> Vec<(Names, Option<Value>)> {
        let mut exposed = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.verbs.contains(&Verb::Read)) {
            let Some(test) = &rule.condition else { continue };
            let mut members = Vec::new();
            test.members(&mut members);
            let ends = seen.keys().filter(|path| path.len() == rule.path.len());
            // Also of members of other names: what is seen of all is told by one lens.
            let above =
                Rule { path: rule.path[..rule.path.len().max(1) - 1].to_vec(), ..rule.clone() };
            for path in ends.filter(|path| !members.is_empty() && above.bind(path).is_some()) {
                for member in &members {
                    let place = [&path[..], &[(*member).to_owned()]].concat();
                    let value = at(root, &place).cloned();
                    exposed.push((place, value));
                }
            }
        }
        exposed
    }

    fn look(&self, root: &Value, value: &Value, path: &mut Vec<String>, seen: &mut Seen) {
        let may = self.may_read(root, path);
        match value {
            Value::Object(members) => {
                if may || self.may_lead(root, path) {
                    seen.insert(path.clone(), None);
                }
                for (name, value) in members {
                    path.push(name.clone());
                    self.look(root, value, path, seen);
                    path.pop();
                }
            }
            leaf if may => drop(seen.insert(path.clone(), Some(leaf.to_string()))),
            _ if self.may_lead(root, path) => drop(seen.insert(path.clone(), None)),
            _ => {}
        }
    }

    /// The verb and path of a change that rules do not allow, among all that a write to a path
    /// brings about.
    pub(crate) fn not_allowed(
        &self,
        written: &[String],
        before: &Value,
        after: &Value,
    ) -> Option<String> {
        let mut changed = Vec::new();
        differences(at(before, written), at(after, written), &mut written.to_vec(), &mut changed);
        changed.into_iter().find(|path| !self.may_change(written.len(), path, before, after)).map(
            |path| format!("a change at /{} that no rule allows, or one denies", path.join("/")),
        )
    }

    fn may_change(&self, written: usize, path: &[String], before: &Value, after: &Value) -> bool {
        let mut is_allowed = false;
        for rule in self.rules {
            let end = rule.path.len().min(path.len());
            let by_value = rule.condition.as_ref().is_some_and(Test::speaks_of_values);
            let level = if by_value { end } else { end.max(written.min(path.len())) };
            let is_there = |root| at(root, &path[..level]).is_some();
            let verb = match (is_there(before), is_there(after)) {
                (false, true) => Verb::Create,
                (true, false) => Verb::Delete,
                _ => Verb::Update,
            };
            let (resource, new) = (at(before, &path[..end]), at(after, &path[..end]));
            if rule.verbs.contains(&verb) && rule.applies(self.claims, path, resource, new) {
                if !rule.allows {
                    return false;
                }
                is_allowed = true;
            }
        }
        is_allowed
    }
}

/// The paths of all that comes, goes or becomes another.
fn differences(
    before: Option<&Value>,
    after: Option<&Value>,
    path: &mut Vec<String>,
    changed: &mut Vec<Vec<String>>,
) {
    let members = |value: Option<&Value>| -> Vec<String> {
        let object = value.and_then(Value::as_object);
        object.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let is_object = |value: Option<&Value>| value.is_some_and(Value::is_object);
    if before == after {
        return;
    }
    if !(is_object(before) && is_object(after)) {
        changed.push(path.clone());
    }
    let mut names = members(before);
    names.extend(members(after));
    names.sort();
    names.dedup();
    for name in names {
        let [before, after] = [before, after].map(|value| value.and_then(|v| v.get(&name)));
        path.push(name);
        differences(before, after, path, changed);
        path.pop();
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = |is_new: &bool, names: &[&str]| {
            format!("{}.{}", if *is_new { "new" } else { "resource" }, names.join("."))
        };
        match self {
            Test::Role(role) => write!(f, "'{role}' in claims.roles"),
            Test::Nobody => f.write_str("claims.nobody == 1"),
            Test::IsMe(name) => write!(f, "{name} == claims.sub"),
            Test::IsMine(name) => write!(f, "{name} in claims.teams"),
            Test::Own(is_new, names) => write!(f, "{} == claims.sub", member(is_new, names)),
            Test::Equals(is_new, names, text) => write!(f, "{} == '{text}'", member(is_new, names)),
            Test::Above(names, than) => write!(f, "{} > {than}", member(&false, names)),
            Test::Listed(names) => write!(f, "claims.sub in {}", member(&false, names)),
            Test::True(names) => f.write_str(&member(&false, names)),
            Test::Has(name) => write!(f, "has(resource.{name})"),
            Test::Not(test) => write!(f, "!({test})"),
            Test::And(one, other) => write!(f, "({one}) && ({other})"),
            Test::Or(one, other) => write!(f, "({one}) || ({other})"),
        }
    }
}

/// Writes it as in a configuration.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = String::new();
        for segment in &self.path {
            match segment {
                Segment::Is(name) => write!(path, "/{name}")?,
                Segment::Any(name) => write!(path, "/{{{name}}}")?,
            }
        }
        let path = if path.is_empty() { "/" } else { &path };
        let verbs = self.verbs.iter().map(|verb| match verb {
            Verb::Read => "\"read\"",
            Verb::Create => "\"create\"",
            Verb::Update => "\"update\"",
            Verb::Delete => "\"delete\"",
        });
        let verbs = verbs.collect::<Vec<_>>().join(", ");
        let effect = if self.allows { "allow" } else { "deny" };
        write!(f, "[[rule]]\n{effect} = [{verbs}]\npath = \"{path}\"\n")?;
        if let Some(test) = &self.condition {
            let word = if self.inverse { "unless" } else { "when" };
            writeln!(f, "{word} = \"{test}\"")?;
        }
        if !self.beneath {
            writeln!(f, "beneath = false")?;
        }
        Ok(())
    }
}
