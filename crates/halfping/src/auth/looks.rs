//! Looks: what another identity would be shown, for who may read everything anyway (PROTOCOL I33).
//!
//! A look has a token of its own, so it is shown, and ends, like any identity. It only reads.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use halfping_credentials::{Digest, Identity, Secret};

use super::settings::Settings;

/// Beginning of the tokens of looks, by which they are told from others.
const PREFIX: &str = "hpl_";
/// Seconds for which a look is good at most.
const LOOK_SECONDS: u64 = 600;
/// Looks that are good at a time.
const LOOKS_MAX: usize = 256;

/// A look at what somebody with these claims would be shown.
#[derive(Clone)]
pub(super) struct Look {
    /// The settings by which the one who looks was let in.
    pub(super) settings: Arc<Settings>,
    /// The one who looks.
    pub(super) by: Identity,
    /// The claims by which it is shown what it is shown.
    pub(super) claims: Identity,
    /// The end, in seconds since 1970.
    pub(super) until: u64,
}

/// Looks that are good. Only the hashes of their tokens are kept.
#[derive(Default)]
pub(super) struct Looks(HashMap<Digest, Look>);

impl Looks {
    /// Begins a look. `None` while too many are good.
    pub(super) fn begin(
        &mut self,
        random: &[u8; 32],
        settings: &Arc<Settings>,
        by: Identity,
        claims: Identity,
        now: u64,
    ) -> Option<(Secret, Look)> {
        self.0.retain(|_, look| look.until > now);
        if self.0.len() >= LOOKS_MAX {
            return None;
        }
        let mut token = PREFIX.to_owned();
        for byte in random {
            let _ = write!(token, "{byte:02x}");
        }
        let until = now + LOOK_SECONDS;
        let until = by.expires().map_or(until, |expires| expires.min(until));
        let look = Look { settings: settings.clone(), by, claims, until };
        self.0.insert(Digest::of(token.as_bytes()), look.clone());
        Some((Secret::new(token), look))
    }

    /// The look of a token, while it is good.
    pub(super) fn get(&self, token: &str, now: u64) -> Option<Look> {
        self.0.get(&Digest::of(token.as_bytes())).filter(|look| look.until > now).cloned()
    }
}

/// True if a token is one of a look, good or not.
pub(super) fn is_look(token: &str) -> bool {
    token.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Arc<Settings> {
        let rules = halfping_rules::Rules::parse("").unwrap();
        let config = halfping_credentials::AuthConfig::default();
        let auth = super::super::Auth::new(&config, rules, |_| unreachable!("it names no files"));
        auth.unwrap().0.unwrap().settings()
    }

    #[test]
    fn a_look_ends_and_there_are_only_so_many() {
        let nobody = || Identity::new(serde_json::Map::new()).unwrap();
        let settings = settings();
        let mut looks = Looks::default();
        let begin = |looks: &mut Looks, n: usize, now| {
            let mut random = [0; 32];
            random[..8].copy_from_slice(&n.to_le_bytes());
            looks.begin(&random, &settings, nobody(), nobody(), now).map(|(token, _)| token)
        };
        let first = begin(&mut looks, 0, 1_000).unwrap();
        assert!(is_look(first.reveal()) && !is_look("hpk_x"));
        assert!(looks.get(first.reveal(), 1_599).is_some());
        assert!(looks.get(first.reveal(), 1_600).is_none() && looks.get("hpl_", 1_000).is_none());
        for n in 1..LOOKS_MAX {
            assert!(begin(&mut looks, n, 1_001).is_some());
        }
        assert!(begin(&mut looks, LOOKS_MAX, 1_599).is_none());
        assert!(begin(&mut looks, LOOKS_MAX, 1_600).is_some(), "the first has ended");
    }
}
