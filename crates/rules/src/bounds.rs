//! Bounds of rules and of what comes of them. All are "at most".

/// Rules of one text.
pub const RULES_MAX: usize = 1000;

/// Names of a pattern.
pub const PATTERN_DEPTH_MAX: usize = 64;

/// Bytes of a condition.
pub const CONDITION_BYTES_MAX: usize = 1024;

/// Names, or combinations of names, that one rule comes to for a subject: the teams that somebody
/// is in. A rule that would come to more allows nothing, or denies all that its pattern covers.
pub const NAMES_MAX: usize = 4096;

/// Scopes of a grant. A subject whose rules would come to more may read nothing.
pub const SCOPES_MAX: usize = 8_192;
