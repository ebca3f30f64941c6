//! API keys: long random texts. The configuration has their hashes, so it tells nobody a key.

use std::collections::HashMap;

use crate::encoding;
use crate::identity::{Identity, KeyId};
use crate::secret::{Digest, Secret};

/// Beginning of the keys that are made here, by which scanners for secrets know them.
pub const API_KEY_PREFIX: &str = "hpk_";
/// Beginning of the names of keys.
const ID_PREFIX: &str = "api-key#";

/// Makes an API key of random bytes. Its hash goes into the configuration, the key to whoever is to
/// use it, and nowhere else.
///
/// ```
/// use halfping_credentials::{Digest, new_api_key};
///
/// let (key, hash) = new_api_key(&[7; 32]); // of a generator for secrets, not of sevens
/// assert!(key.reveal().starts_with("hpk_"));
/// assert_eq!(hash, Digest::of(key.reveal().as_bytes()));
/// ```
pub fn new_api_key(random: &[u8; 32]) -> (Secret, Digest) {
    let text = format!("{API_KEY_PREFIX}{}", encoding::encode(random));
    let hash = Digest::of(text.as_bytes());
    (Secret::new(text), hash)
}

/// The API keys of a configuration, by their hashes. Hashes are compared in constant time; which
/// bucket of the table is looked into tells of the hash only, and nobody finds a key by that.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApiKeys(HashMap<Digest, Identity>);

impl ApiKeys {
    /// Adds a key. False if it is there already.
    pub(crate) fn add(&mut self, hash: Digest, identity: Identity) -> bool {
        self.0.insert(hash, identity).is_none()
    }

    pub(crate) fn get(&self, hash: &Digest) -> Option<&Identity> {
        self.0.get(hash)
    }

    /// The identity of whoever shows the key of this name.
    pub(crate) fn of(&self, key: &KeyId) -> Option<&Identity> {
        self.get(&Digest::parse(key.as_str().strip_prefix(ID_PREFIX)?)?)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.0.values().filter_map(Identity::key)
    }
}

/// The name of an API key.
pub(crate) fn id(hash: &Digest) -> KeyId {
    KeyId::new(format!("{ID_PREFIX}{}", hash.hex()))
}
