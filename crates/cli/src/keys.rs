//! Keys of issuers, fetched from the URLs at which these publish them.

use std::time::Duration;

use halfping::{Api, KeysFetched};
use halfping_client::fetch;
use tracing::debug;

/// Bytes of an answer. A set of keys that can be used is shorter, and the server says so.
const BYTES_MAX: usize = 1 << 20;
/// Time for one fetch, from first to last byte.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Fetches keys for a server whenever it wants them, in a task of its own. Where no issuer has a
/// URL, the task sleeps.
pub(crate) fn fetch_for(api: &Api) {
    let api = api.clone();
    tokio::spawn(async move {
        loop {
            let wanted = api.keys_wanted().await;
            let api = api.clone();
            // One that is slow holds up no other.
            tokio::spawn(async move {
                debug!(issuer = wanted.issuer(), url = wanted.url(), "fetching keys");
                let fetched = fetch(wanted.url(), BYTES_MAX, WAIT_MAX).await;
                let fetched = match fetched {
                    Ok(fetched) => Ok(KeysFetched { text: fetched.text, max_age: fetched.max_age }),
                    Err(error) => Err(error.to_string()),
                };
                api.take_keys(&wanted, fetched);
            });
        }
    });
}
