//! Keys at URLs: whoever has a client for HTTP is told what to fetch, and hands it over.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use halfping_credentials::{KeySet, Secret};
use tokio::time::{sleep, timeout};

use super::sources::Due;
use super::{Auth, now_ms};

/// Requests and sessions that wait for keys at a time. More are refused at once.
pub(super) const WAITERS_MAX: usize = 1024;
/// The longest wait for a key that a token names and its issuer may have published since.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The longest time between two looks at what is due.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Keys of an issuer, which are to be fetched now. The answer goes to
/// [`Api::take_keys`](crate::Api::take_keys).
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "they are fetched by whoever asked for it"]
pub struct KeysWanted {
    issuer: String,
    url: String,
}

/// Keys as they came from a URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeysFetched {
    /// The body: a JWK set.
    pub text: String,
    /// The seconds for which it is fresh: `max-age` of `Cache-Control`.
    pub max_age: Option<u64>,
}

/// Result of a fetch of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Took {
    /// They cannot be used, or are not wanted any more.
    Nothing,
    /// They are used.
    Keys,
    /// They are used, and do not have all that were there: some who are in may not stay.
    Others,
}

impl KeysWanted {
    /// The name of the issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The URL of its keys: `https`, or `http` on this machine.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Auth {
    /// Waits until keys are to be fetched. `None` if keys were forgotten instead, which could not be
    /// fetched for too long: some who are in may not stay.
    pub(crate) async fn keys_wanted(&self) -> Option<KeysWanted> {
        let Some(inner) = &self.0 else { return pending().await };
        loop {
            let mut wanted = pin!(inner.wanted.notified());
            wanted.as_mut().enable();
            let now = now_ms() / 1000;
            let due = {
                let mut sources = inner.sources.lock();
                match sources.due(now) {
                    Due::Fetch(issuer, url) => return Some(KeysWanted { issuer, url }),
                    Due::Forget(issuer) => {
                        tracing::warn!(
                            issuer,
                            "the keys of an issuer are not used any more: for a day they could not be fetched"
                        );
                        inner.take_keys(&issuer, KeySet::default());
                        return None;
                    }
                    Due::At(due) => due,
                }
            };
            let left = Duration::from_secs(due.saturating_sub(now).max(1)).min(LOOK_MAX);
            tokio::select! {
                () = sleep(left) => {}
                () = wanted => {}
            }
        }
    }

    /// Takes what a fetch of keys came to, or the reason why it failed.
    pub(crate) fn take_keys(
        &self,
        KeysWanted { issuer, url }: &KeysWanted,
        fetched: Result<KeysFetched, String>,
    ) -> Took {
        let Some(inner) = &self.0 else { return Took::Nothing };
        let fetched = fetched.map(|KeysFetched { text, max_age }| (text, max_age));
        let took = {
            // Who waits sees the end of the fetch together with the keys.
            let mut sources = inner.sources.lock();
            let keys = sources.end_fetch((issuer, url), fetched, now_ms() / 1000);
            match keys.map(|keys| inner.take_keys(issuer, keys)) {
                Some(true) => Took::Others,
                Some(false) => Took::Keys,
                None => Took::Nothing,
            }
        };
        inner.fetched.notify_waiters();
        took
    }

    /// The wait for the key that a token names, if its issuer does not have it, and may have
    /// published it since. Then the token is to be verified again. Tokens of known keys wait for
    /// nothing.
    pub(crate) fn key_to_wait_for(&self, token: &Secret) -> Option<BoxFuture<'static, ()>> {
        let inner = self.0.as_ref()?;
        if inner.sources.lock().is_empty() {
            return None;
        }
        let settings = inner.settings();
        let (issuer, kid) = settings.verifier.unknown_key(token.reveal())?;
        let place = inner.waiters.clone().try_acquire_owned().ok()?;
        if !inner.sources.lock().note_unknown(issuer, &kid, now_ms() / 1000) {
            return None;
        }
        inner.wanted.notify_one();
        let (inner, issuer) = (Arc::clone(inner), issuer.to_owned());
        Some(Box::pin(async move {
            let _place = place;
            let fetched = async {
                loop {
                    let mut fetched = pin!(inner.fetched.notified());
                    fetched.as_mut().enable();
                    if !inner.sources.lock().are_fetched(&issuer, now_ms() / 1000) {
                        return;
                    }
                    fetched.await;
                }
            };
            let _ = timeout(WAIT_MAX, fetched).await;
        }))
    }
}
