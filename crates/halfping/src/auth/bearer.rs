//! Bearers: identities, and who vouches for them if it is no key.

use std::net::IpAddr;
use std::sync::Arc;

use halfping_credentials::{Digest, Holder, Identity};

use super::asked::Source;

/// Bearer of an identity.
#[derive(Clone)]
pub(crate) struct Bearer {
    pub(super) identity: Identity,
    /// `None`: a key of the settings.
    pub(super) by: Option<Voucher>,
}

/// Voucher for an identity.
#[derive(Clone)]
pub(crate) enum Voucher {
    /// A certificate, told by the proxy at this address.
    Certificate(Digest, IpAddr),
    /// Somebody who was asked about this, with the number that the identity had.
    Asked(Arc<Source>, u64),
}

impl From<Identity> for Bearer {
    fn from(identity: Identity) -> Bearer {
        Bearer { identity, by: None }
    }
}

impl Holder for Bearer {
    fn expires(&self) -> Option<u64> {
        self.identity.expires()
    }
}

impl Voucher {
    /// True if it vouches for the same no more.
    pub(super) fn is_former(&self) -> bool {
        matches!(self, Voucher::Asked(source, number) if source.is_former(*number))
    }

    /// True if it may say that somebody is good for longer.
    pub(super) fn prolongs(&self) -> bool {
        matches!(self, Voucher::Asked(..))
    }
}
