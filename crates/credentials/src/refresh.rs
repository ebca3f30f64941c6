//! Times at which the keys of an issuer are fetched. The fetching is the caller's: this says when, and is told
//! how it went.

use crate::key_set::{KeySet, KeySetError};
use crate::secret::Digest;

/// Seconds between two fetches, at least, where the issuer says how long its keys are fresh.
pub const FRESH_SECONDS_MIN: u64 = 60;
/// Seconds between two fetches, at most.
pub const FRESH_SECONDS_MAX: u64 = 60 * 60;
/// Seconds between two fetches for the sake of names that are unknown.
pub const UNKNOWN_SECONDS: u64 = 30;
/// Seconds for which a name that was fetched for is remembered. Then its key may have been
/// published after all: some issuers sign before they publish.
pub const UNKNOWN_KID_SECONDS: u64 = 600;
/// Names that are remembered. More cannot be fetched for in that time.
pub const UNKNOWN_KIDS_MAX: usize = (UNKNOWN_KID_SECONDS / UNKNOWN_SECONDS) as usize;
/// Seconds for which keys are used that cannot be fetched again.
pub const STALE_SECONDS_MAX: u64 = 24 * 60 * 60;
/// Seconds after which a fetch counts as lost.
pub const FETCH_SECONDS_MAX: u64 = 60;

/// State of the keys of one issuer: how fresh they are, and who asks for others. Times are seconds
/// since 1970.
///
/// ```
/// use halfping_credentials::{Refresh, Step, Unknown};
///
/// let mut refresh = Refresh::new("https://id.example.org/");
/// assert_eq!(refresh.step(1_000), Some(Step::Ask));
/// assert_eq!(refresh.step(1_000), None); // one fetch at a time
/// let keys = refresh.fetched(r#"{"keys":[]}"#, Some(300), 1_001)?;
/// assert_eq!(refresh.due(), 1_301);
/// // A token names a key that is not among them: one fetch for it, and no second one.
/// assert_eq!(refresh.unknown("new", 1_040), Unknown::Ask);
/// refresh.failed(1_041);
/// assert_eq!(refresh.unknown("new", 1_100), Unknown::Refuse);
/// # Ok::<(), halfping_credentials::KeySetError>(())
/// ```
#[derive(Debug)]
pub struct Refresh {
    issuer: String,
    /// The time for the next fetch.
    due: u64,
    /// The time of a fetch that is under way.
    asked: Option<u64>,
    /// The time of the last fetch for the sake of an unknown name.
    asked_for_unknown: Option<u64>,
    /// The time at which the keys in use were fetched.
    fetched: Option<u64>,
    /// Fetches that failed since then.
    failures: u32,
    /// Names that were fetched for, by their hashes, with the times.
    unknown: Vec<(Digest, u64)>,
}

/// Thing to do for the keys of an issuer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Fetch them, and tell [`Refresh::fetched`] or [`Refresh::failed`].
    Ask,
    /// Use them no longer: they are older than [`STALE_SECONDS_MAX`].
    Forget,
}

/// Answer to whoever shows a token that names an unknown key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unknown {
    /// Fetch the keys, and verify the token again when they have come.
    Ask,
    /// Somebody fetches them already: wait for that, and verify the token again.
    UnderWay,
    /// The token is refused: such a key was looked for not long ago.
    Refuse,
}

impl Refresh {
    /// An issuer whose keys have not been fetched yet: they are due.
    pub fn new(issuer: &str) -> Refresh {
        Refresh {
            issuer: issuer.to_owned(),
            due: 0,
            asked: None,
            asked_for_unknown: None,
            fetched: None,
            failures: 0,
            unknown: Vec::new(),
        }
    }

    /// The time at which [`Refresh::step`] has something to do, if nothing happens before.
    pub fn due(&self) -> u64 {
        let next = self.asked.map_or(self.due, |asked| asked.saturating_add(FETCH_SECONDS_MAX));
        self.fetched.map_or(next, |at| next.min(at.saturating_add(STALE_SECONDS_MAX)))
    }

    /// That which is to be done now. Call it at [`Refresh::due`], until it has nothing to do.
    pub fn step(&mut self, now: u64) -> Option<Step> {
        if self.fetched.is_some_and(|at| now >= at.saturating_add(STALE_SECONDS_MAX)) {
            self.fetched = None;
            return Some(Step::Forget);
        }
        if self.asked.is_some() && !self.is_under_way(now) {
            self.failed(now);
        }
        if now < self.due || self.is_under_way(now) {
            return None;
        }
        self.asked = Some(now);
        Some(Step::Ask)
    }

    /// Takes note that a token names an unknown key. Tokens of known keys are verified meanwhile.
    pub fn unknown(&mut self, kid: &str, now: u64) -> Unknown {
        let kid = Digest::of(kid.as_bytes());
        self.unknown.retain(|(_, at)| now < at.saturating_add(UNKNOWN_KID_SECONDS));
        if self.is_under_way(now) {
            return Unknown::UnderWay;
        }
        let is_early = |at: u64| now < at.saturating_add(UNKNOWN_SECONDS);
        if self.asked_for_unknown.is_some_and(is_early)
            || self.unknown.iter().any(|(known, _)| *known == kid)
        {
            return Unknown::Refuse;
        }
        self.unknown.push((kid, now));
        self.asked_for_unknown = Some(now);
        self.asked = Some(now);
        Unknown::Ask
    }

    /// Takes what was fetched, and how many seconds it is fresh for (`max-age` of
    /// `Cache-Control`). A text that is no set of keys counts as a failure: the keys that are in
    /// use stay.
    pub fn fetched(
        &mut self,
        text: &str,
        max_age: Option<u64>,
        now: u64,
    ) -> Result<KeySet, KeySetError> {
        let set = KeySet::parse(&self.issuer, text).inspect_err(|_| self.failed(now))?;
        let fresh = max_age.unwrap_or(FRESH_SECONDS_MAX);
        self.due = now.saturating_add(fresh.clamp(FRESH_SECONDS_MIN, FRESH_SECONDS_MAX));
        self.asked = None;
        self.fetched = Some(now);
        self.failures = 0;
        Ok(set)
    }

    /// Takes note that a fetch failed. The next one is after a minute, then after two, and so on.
    pub fn failed(&mut self, now: u64) {
        let wait = FRESH_SECONDS_MIN.checked_shl(self.failures).unwrap_or(FRESH_SECONDS_MAX);
        self.due = now.saturating_add(wait.min(FRESH_SECONDS_MAX));
        self.asked = None;
        self.failures = (self.failures + 1).min(16);
    }

    /// True while a fetch has begun and may still end.
    pub fn is_under_way(&self, now: u64) -> bool {
        self.asked.is_some_and(|asked| now < asked.saturating_add(FETCH_SECONDS_MAX))
    }

    #[cfg(test)]
    pub(crate) fn unknown_kids(&self) -> usize {
        self.unknown.len()
    }
}
