//! Tokens that are asked for again when one has ended.

use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::TokenFault;

/// The longest time that a program may take for a token.
const TOKEN_WAIT_MAX: Duration = Duration::from_secs(8);

type Asked =
    Pin<Box<dyn Future<Output = Result<String, Box<dyn Error + Send + Sync>>> + Send + 'static>>;

/// The function that a program gives tokens by, and the last one that it gave.
pub(crate) struct Tokens {
    ask: Box<dyn Fn() -> Asked + Send + Sync>,
    /// Held while one is asked for, so that all who need another wait for the same.
    known: Mutex<Option<HeaderValue>>,
}

impl Tokens {
    pub(crate) fn new<F, T, E>(ask: F) -> Tokens
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let ask = move || -> Asked {
            let asked = ask();
            Box::pin(async move { asked.await.map_err(Into::into) })
        };
        Tokens { ask: Box::new(ask), known: Mutex::default() }
    }

    /// The header with a token: the last one, unless that is the one that was refused.
    pub(crate) async fn header(
        &self,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, TokenFault> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| Some(*known) != refused) {
            return Ok(known.clone());
        }
        let asked = timeout(TOKEN_WAIT_MAX, (self.ask)()).await;
        let token =
            asked.map_err(|_| TokenFault::Late(TOKEN_WAIT_MAX))?.map_err(TokenFault::Failed)?;
        let header = bearer(&token).ok_or(TokenFault::BadToken)?;
        *known = Some(header.clone());
        Ok(header)
    }
}

/// `Authorization` with a token, which is not in what is printed for debugging. `None` if no header
/// can have its characters.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
