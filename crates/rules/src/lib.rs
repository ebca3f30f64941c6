//! Rules: who may see and write what of a tree of JSON.
//!
//! A [`Rule`] allows or denies verbs at a pattern of paths, perhaps under a condition on the claims
//! of whoever asks and on the resource. [`Rules`] are read from TOML and checked. For a [`Subject`]
//! they become a [`Grant`], in which everything that is known of the subject is worked out: what it
//! may read is a [`Scope`], a trie of names with conditions on members. Nothing is allowed unless a
//! rule allows it, a deny wins over every allow, and the order of rules does not matter. A
//! condition that has no value does not allow, and does deny.
//!
//! Nothing here does IO, and nothing depends on the engine.

mod access;
mod bounds;
mod check;
mod compiled;
mod decision;
mod finding;
mod fold;
mod grant;
mod part;
mod pattern;
mod rule;
mod rules;
mod scope;
mod settle;
mod source;
mod subject;
mod verb;

pub use access::Access;
pub use bounds::{CONDITION_BYTES_MAX, NAMES_MAX, PATTERN_DEPTH_MAX, RULES_MAX, SCOPES_MAX};
pub use decision::{Considered, Decision, Explanation, Side};
pub use finding::{Finding, Refused, Severity};
pub use fold::{Fault, FaultKind};
pub use grant::Grant;
pub use part::{Part, Reads};
pub use pattern::{Pattern, PatternError, Segment};
pub use rule::{Effect, Rule};
pub use rules::Rules;
pub use scope::Scope;
pub use subject::Subject;
pub use verb::Verb;
