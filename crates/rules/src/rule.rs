//! Rules as they are written.

use serde::{Deserialize, Serialize};

/// A rule as configuration has it. It allows or denies; it has one condition or none.
///
/// ```
/// use halfping_rules::{Rule, Rules};
///
/// let rule = Rule {
///     allow: Some(vec!["read".to_owned()]),
///     path: "/orders/{order}".to_owned(),
///     when: Some("resource.owner == claims.sub".to_owned()),
///     ..Rule::default()
/// };
/// assert!(Rules::new(vec![rule]).is_ok());
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The verbs that it allows: `read`, `create`, `update`, `delete`, or `write` for the last
    /// three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// The verbs that it denies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<String>>,
    /// The pattern of paths that it is about.
    pub path: String,
    /// The condition under which it applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The condition under which it does not apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<String>,
    /// True if it is also about all beneath the paths.
    #[serde(default = "yes")]
    pub beneath: bool,
}

impl Default for Rule {
    /// A rule about the root and all beneath it, which neither allows nor denies yet.
    fn default() -> Rule {
        let path = "/".to_owned();
        Rule { allow: None, deny: None, path, when: None, unless: None, beneath: true }
    }
}

fn yes() -> bool {
    true
}

/// The effect of a rule where it applies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever others allow.
    Deny,
}
