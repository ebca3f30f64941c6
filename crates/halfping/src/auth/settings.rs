//! Settings of auth. They are exchanged as a whole: whoever looks at them sees those of one moment.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use halfping_credentials::{Forward, Identity, KeySet, Revoked, Verifier};
use halfping_engine::{Cursor, Path};
use parking_lot::RwLock;

use super::Inner;
use super::asked::Asked;
use super::bearer::{Bearer, Voucher};
use super::certificate::Certificates;
use super::grants::Grants;
use super::profiles::ProfilePath;
use crate::problem::Kind;

/// Settings, and the keys and grants that go with them.
#[derive(Clone)]
pub(super) struct Settings {
    /// Number of changes so far after which those who are in have to be looked at again.
    pub(super) generation: u64,
    pub(super) verifier: Verifier,
    /// True if nobody gets in without a credential.
    pub(super) refuses_anonymous: bool,
    pub(super) cookie: Option<String>,
    pub(super) query_token: bool,
    pub(super) expiry_grace_ms: u64,
    /// The path of the revocations.
    pub(super) revoked_at: Option<Path>,
    pub(super) revoked: Arc<RwLock<Revocations>>,
    /// The path of profiles, if rules speak of them.
    pub(super) profile: Option<ProfilePath>,
    /// The one who knows the senders that nobody here knows.
    pub(super) asked: Option<Arc<Asked>>,
    /// The service of the settings that is to be asked, if it is one.
    pub(super) forward: Option<Forward>,
    /// The certificates of clients, as proxies tell them.
    pub(super) certificates: Option<Arc<Certificates>>,
    /// Grants by the rules; `None` where there are no rules.
    pub(super) grants: Option<Arc<Grants>>,
}

/// Revocations, as they were read from the tree in the state that a cursor names.
#[derive(Default)]
pub(super) struct Revocations {
    pub(super) revoked: Revoked,
    pub(super) read: Option<Cursor>,
}

impl Settings {
    pub(super) fn is_revoked(&self, identity: &Identity) -> bool {
        self.revoked_at.is_some() && self.revoked.read().revoked.has(identity)
    }

    /// The bearer whom former settings let in, as these let them in. Otherwise the reason why not.
    pub(super) fn renew(&self, bearer: &Bearer, former: &Settings) -> Result<Bearer, Kind> {
        let renewed = match &bearer.by {
            None => self.verifier.renew(&bearer.identity, &former.verifier).map(Bearer::from),
            Some(Voucher::Certificate(digest, peer)) => {
                self.certificates.as_ref().and_then(|known| known.bearer(*digest, *peer))
            }
            Some(Voucher::Asked(source, _)) => match (&self.asked, &former.asked) {
                (Some(now), Some(before)) if Arc::ptr_eq(now, before) => {
                    let (identity, number) = source.now()?;
                    let by = Some(Voucher::Asked(source.clone(), number));
                    return Ok(Bearer { identity, by });
                }
                // Whoever is asked now may know them as well, when they come again.
                _ => return Err(Kind::TokenExpired),
            },
        };
        renewed.ok_or(Kind::Revoked)
    }
}

impl Inner {
    /// The settings of this moment.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.read().clone()
    }

    /// True if those who were let in by these settings have to be looked at again.
    pub(super) fn has_other_than(&self, settings: &Settings) -> bool {
        self.generation.load(Ordering::Acquire) != settings.generation
    }

    /// Takes the settings of another auth. What was verified before is verified again; tickets stay
    /// good for those whom the new settings let in as well; keys stay that come from the same URL, and
    /// answers of the same service.
    pub(super) fn take_settings(&self, new: &Inner) {
        let mut sources = self.sources.lock();
        let (mut verified, mut tickets) = (self.verified.lock(), self.tickets.lock());
        let mut settings = self.settings.write();
        let mut next = Settings::clone(&new.settings());
        for issuer in sources.replace(&new.sources.lock()) {
            next.verifier.keep_keys(&issuer, &settings.verifier);
        }
        next.generation = settings.generation + 1;
        if next.forward.is_some() && next.forward == settings.forward {
            // It is the same service, and what it answered is still so.
            next.asked = settings.asked.clone();
        }
        if let (Some(new), Some(known)) = (&next.grants, &settings.grants)
            && new.are_by_rules_of(known)
        {
            next.grants = Some(known.clone());
        }
        tickets.renew(|bearer| next.renew(bearer, &settings).ok());
        verified.clear();
        self.generation.store(next.generation, Ordering::Release);
        *settings = Arc::new(next);
        drop((settings, verified, tickets, sources));
        // There may be other URLs, and nobody waits for those that are gone.
        self.wanted.notify_one();
        self.fetched.notify_waiters();
    }

    /// Takes the keys of an issuer. True if those who are in have to be looked at again, since a
    /// key is gone.
    pub(super) fn take_keys(&self, issuer: &str, keys: KeySet) -> bool {
        let (mut verified, mut tickets) = (self.verified.lock(), self.tickets.lock());
        let mut settings = self.settings.write();
        let mut next = Settings::clone(&settings);
        let Some(place) = next.verifier.place(issuer) else { return false };
        if next.verifier.has_keys(place, &keys) {
            return false;
        }
        let gone = next.verifier.set_keys(place, keys);
        if !gone.is_empty() {
            next.generation += 1;
            tickets.renew(|bearer| next.renew(bearer, &settings).ok());
            verified.forget(&gone);
            self.generation.store(next.generation, Ordering::Release);
        }
        *settings = Arc::new(next);
        !gone.is_empty()
    }
}
