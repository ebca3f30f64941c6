//! Sources of keys: the URLs at which issuers publish theirs, and when each is fetched.

use halfping_credentials::{Issuer, KeySet, Refresh, Source as Of, Step, Unknown};

/// The issuers that publish their keys at a URL.
#[derive(Default)]
pub(super) struct Sources(Vec<Source>);

struct Source {
    issuer: String,
    url: String,
    refresh: Refresh,
    /// True if a fetch is wanted for the sake of an unknown name, and nobody has begun it.
    is_asked: bool,
    /// The reason why the last fetch failed, if it did.
    fault: Option<String>,
}

/// Thing to do for the keys of an issuer.
pub(super) enum Due {
    /// Fetch those of this issuer, at this URL.
    Fetch(String, String),
    /// Those of this issuer are too old to be used.
    Forget(String),
    /// There is nothing to do before this time, in seconds since 1970.
    At(u64),
}

impl Sources {
    pub(super) fn of(issuers: &[Issuer]) -> Sources {
        let at_url = issuers.iter().filter_map(|issuer| match issuer.source() {
            Some(Of::Url(url)) => Some(Source::new(&issuer.issuer, url)),
            _ => None,
        });
        Sources(at_url.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the place of these by others. Returns the issuers that are among both, with the same
    /// URL: what is known of their keys stays.
    pub(super) fn replace(&mut self, new: &Sources) -> Vec<String> {
        let mut kept = Vec::new();
        let next = new.0.iter().map(|new| match self.find(&new.issuer, &new.url) {
            Some(place) => {
                kept.push(new.issuer.clone());
                self.0.swap_remove(place)
            }
            None => Source::new(&new.issuer, &new.url),
        });
        self.0 = next.collect();
        kept
    }

    /// The next thing to do.
    pub(super) fn due(&mut self, now: u64) -> Due {
        for source in &mut self.0 {
            let fetch = || Due::Fetch(source.issuer.clone(), source.url.clone());
            if std::mem::take(&mut source.is_asked) {
                return fetch();
            }
            match source.refresh.step(now) {
                Some(Step::Ask) => return fetch(),
                Some(Step::Forget) => return Due::Forget(source.issuer.clone()),
                None => {}
            }
        }
        Due::At(self.0.iter().map(|source| source.refresh.due()).min().unwrap_or(u64::MAX))
    }

    /// Takes note that a token names a key that its issuer does not have. False if that will not
    /// change soon.
    pub(super) fn note_unknown(&mut self, issuer: &str, kid: &str, now: u64) -> bool {
        let Some(source) = self.0.iter_mut().find(|source| source.issuer == issuer) else {
            return false;
        };
        match source.refresh.unknown(kid, now) {
            Unknown::Ask => source.is_asked = true,
            Unknown::UnderWay => {}
            Unknown::Refuse => return false,
        }
        true
    }

    /// True if the keys of an issuer are being fetched.
    pub(super) fn are_fetched(&self, issuer: &str, now: u64) -> bool {
        let is_fetched = |it: &Source| it.issuer == issuer && it.refresh.is_under_way(now);
        self.0.iter().any(is_fetched)
    }

    /// Takes what a fetch came to: a text, and the seconds for which it is fresh, or the reason why
    /// it failed. A reason is logged once. Returns keys that can be used.
    pub(super) fn end_fetch(
        &mut self,
        (issuer, url): (&str, &str),
        fetched: Result<(String, Option<u64>), String>,
        now: u64,
    ) -> Option<KeySet> {
        let place = self.find(issuer, url)?;
        let source = &mut self.0[place];
        let keys = match fetched {
            Ok((text, max_age)) => {
                source.refresh.fetched(&text, max_age, now).map_err(|error| error.to_string())
            }
            Err(why) => {
                source.refresh.failed(now);
                Err(why)
            }
        };
        match keys {
            Ok(keys) => {
                match source.fault.take() {
                    Some(_) => tracing::info!(issuer, url, "the keys of an issuer are there again"),
                    None => tracing::debug!(issuer, url, "the keys of an issuer were fetched"),
                }
                warn_of_left_out(issuer, &keys);
                Some(keys)
            }
            Err(why) => {
                if source.fault.as_ref() != Some(&why) {
                    tracing::warn!(
                        issuer,
                        url,
                        "the keys of an issuer cannot be fetched: {why}; those that are known are used for a day"
                    );
                }
                source.fault = Some(why);
                None
            }
        }
    }

    fn find(&self, issuer: &str, url: &str) -> Option<usize> {
        self.0.iter().position(|source| source.issuer == issuer && source.url == url)
    }
}

impl Source {
    fn new(issuer: &str, url: &str) -> Source {
        let refresh = Refresh::new(issuer);
        Source {
            issuer: issuer.to_owned(),
            url: url.to_owned(),
            refresh,
            is_asked: false,
            fault: None,
        }
    }
}

/// Warns of keys of an issuer that cannot be used.
pub(super) fn warn_of_left_out(issuer: &str, keys: &KeySet) {
    for left_out in keys.left_out() {
        let why = &left_out.why;
        tracing::warn!(issuer, place = left_out.place, "a key is left out: {why}");
    }
}
