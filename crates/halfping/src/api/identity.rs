//! Rules and keys that change while clients are there.

use super::Api;
use crate::auth::{Auth, AuthError, KeysFetched, KeysWanted, Took};

impl Api {
    /// Takes other settings of who is told apart and who may do what, from one moment to the next.
    /// Those who are in are looked at again: links and streams end that they may not have any more,
    /// or that show another part than before; all others go on, and are sent nothing. Tickets,
    /// cursors and revocations stay good.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use halfping::{Api, Auth, AuthConfig, Options, Rules};
    ///
    /// let auth = |rules: &str| {
    ///     let rules = Rules::parse(rules).map_err(|refused| refused.to_string())?;
    ///     let config = AuthConfig::default();
    ///     Auth::new(&config, rules, |file| std::fs::read(file)).map_err(|error| error.to_string())
    /// };
    /// let all = "[[rule]]\nallow = [\"read\", \"write\"]\npath = \"/\"";
    /// let api = Api::new(Options { auth: auth(all)?, ..Options::default() });
    /// api.reload_auth(&auth("[[rule]]\nallow = [\"read\"]\npath = \"/public\"")?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Whether anybody is told apart at all cannot change: an API that was made without
    /// [`Options::auth`](crate::Options::auth) stays so, and one that was made with it. Then
    /// nothing has changed.
    pub fn reload_auth(&self, auth: &Auth) -> Result<(), AuthError> {
        let (shared, ours) = (&self.shared, &self.rules.auth);
        // Nobody who is revoked by the new settings is let in by them.
        shared.learn_before(auth);
        if let Err(error) = ours.replace(auth) {
            self.reload_failed();
            return Err(error);
        }
        shared.follow_revoked(ours);
        shared.wake_all();
        shared.metrics.reloads.of("ok").inc();
        Ok(())
    }

    /// Counts a reload that failed before there was an [`Auth`], for the metrics.
    pub fn reload_failed(&self) {
        self.shared.metrics.reloads.of("failed").inc();
    }

    /// Waits until the keys of an issuer that publishes them at a URL are to be fetched. It returns
    /// at once for each such issuer when the server starts, later when they are not fresh any more,
    /// and when somebody shows a token of a key that is not known. Whoever has a client for HTTP
    /// calls this in a loop, in one task, and tells [`take_keys`](Api::take_keys) what came. A fetch
    /// that takes more than a minute counts as failed. An issuer that is down is asked again later
    /// each time, up to an hour, and the keys that are known are used for a day.
    ///
    /// The URL is of `https`, or of `http` on this machine. Do not follow redirects to other hosts,
    /// and read no more than 256 KiB.
    ///
    /// ```no_run
    /// # async fn get(_url: &str) -> Result<halfping::KeysFetched, String> { todo!() }
    /// # async fn run(api: halfping::Api) {
    /// loop {
    ///     let wanted = api.keys_wanted().await;
    ///     let api = api.clone();
    ///     tokio::spawn(async move {
    ///         let fetched = get(wanted.url()).await;
    ///         api.take_keys(&wanted, fetched);
    ///     });
    /// }
    /// # }
    /// ```
    pub async fn keys_wanted(&self) -> KeysWanted {
        loop {
            match self.rules.auth.keys_wanted().await {
                Some(wanted) => return wanted,
                None => self.shared.wake_all(),
            }
        }
    }

    /// Takes the keys of an issuer, or the reason why they could not be fetched, which is logged
    /// once. Streams and sessions of whom a key let in that is not among them any more end like
    /// those of a revoked token.
    pub fn take_keys(&self, wanted: &KeysWanted, fetched: Result<KeysFetched, String>) {
        let took = self.rules.auth.take_keys(wanted, fetched);
        let outcome = if took == Took::Nothing { "failed" } else { "ok" };
        self.shared.metrics.key_fetches.of(outcome).inc();
        if took == Took::Others {
            self.shared.wake_all();
        }
    }
}
