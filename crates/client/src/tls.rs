//! TLS configuration: rustls with ring, and the roots that the platform trusts.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::Verifier;

/// TLS configuration of an HTTP client.
///
/// It is made here, and not by reqwest from a process-wide default, because a library that installs
/// such a default decides for every other library in the process. Plain http gets a configuration
/// that trusts nobody: loading the platform's roots takes longer than most requests, and may fail
/// where there are none.
pub(crate) fn config(scheme: &str) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let config = if scheme == "https" {
        config.dangerous().with_custom_certificate_verifier(Arc::new(Verifier::new(provider)?))
    } else {
        config.with_root_certificates(RootCertStore::empty())
    };
    Ok(config.with_no_client_auth())
}
