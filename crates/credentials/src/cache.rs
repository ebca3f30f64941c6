//! Verified tokens, remembered so that a reader who comes back costs a hash, not a signature.

use std::collections::{HashMap, VecDeque};

use crate::identity::{Identity, KeyId};
use crate::secret::Digest;

/// Verified tokens that are remembered, unless another number is wanted.
pub const VERIFIED_MAX: usize = 8_192;

/// Verified tokens by their hashes, each until it expires. The oldest makes room for the newest.
///
/// Verification takes time, and is done without holding this. If a key goes meanwhile, what was
/// verified with the former keys must not be remembered: that is what a [`Miss`] is for.
///
/// ```
/// use halfping_credentials::{Identity, Verified};
///
/// let mut verified = Verified::new(2);
/// let miss = verified.get("token", 1_000).unwrap_err();
/// let identity = Identity::new(serde_json::Map::new())?; // of a verifier, outside of any lock
/// verified.insert(miss, identity.clone());
/// // No token is remembered that never expires.
/// assert!(verified.get("token", 1_000).is_err());
/// # Ok::<(), halfping_credentials::ClaimsTooLong>(())
/// ```
#[derive(Debug)]
pub struct Verified {
    tokens: HashMap<Digest, Identity>,
    /// All that were inserted, the oldest first. Some may be forgotten already.
    inserted: VecDeque<Digest>,
    max: usize,
    generation: u64,
}

/// A token that was not found, and which of the changes of keys it was looked up before.
#[derive(Debug)]
pub struct Miss {
    digest: Digest,
    generation: u64,
}

impl Default for Verified {
    fn default() -> Verified {
        Verified::new(VERIFIED_MAX)
    }
}

impl Verified {
    /// Remembers at most so many.
    pub fn new(max: usize) -> Verified {
        let (tokens, inserted) = (HashMap::new(), VecDeque::new());
        Verified { tokens, inserted, max: max.max(1), generation: 0 }
    }

    /// The identity of a token that was verified before, and has not expired.
    pub fn get(&mut self, token: &str, now: u64) -> Result<Identity, Miss> {
        let digest = Digest::of(token.as_bytes());
        let found = self.tokens.get(&digest);
        match found.filter(|identity| identity.expires().is_some_and(|expires| now < expires)) {
            Some(identity) => Ok(identity.clone()),
            None => {
                self.tokens.remove(&digest);
                Err(Miss { digest, generation: self.generation })
            }
        }
    }

    /// Remembers a token that was verified since it was missed, unless keys were forgotten since.
    pub fn insert(&mut self, miss: Miss, identity: Identity) {
        if miss.generation != self.generation || identity.expires().is_none() {
            return;
        }
        while self.inserted.len() >= self.max
            && let Some(oldest) = self.inserted.pop_front()
        {
            self.tokens.remove(&oldest);
        }
        self.inserted.push_back(miss.digest);
        self.tokens.insert(miss.digest, identity);
    }

    /// Forgets what was let in by keys that are gone. The verifier has its new keys before.
    pub fn forget(&mut self, gone: &[KeyId]) {
        self.generation += 1;
        self.tokens.retain(|_, identity| identity.key().is_none_or(|key| !gone.contains(key)));
        self.inserted.retain(|digest| self.tokens.contains_key(digest));
    }

    /// Forgets all, for a new configuration.
    pub fn clear(&mut self) {
        *self = Verified { generation: self.generation + 1, ..Verified::new(self.max) };
    }

    /// The number of tokens that are remembered.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// True if none is remembered.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}
