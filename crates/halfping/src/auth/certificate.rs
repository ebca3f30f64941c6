//! Certificates of clients, as proxies that end TLS pass them on (`Client-Cert`, RFC 9440).
//!
//! The proxy has verified the certificate, and that its client has the key. Here it is known by its
//! fingerprint, so nothing of it is parsed. The field says something only if it comes from an
//! address that the settings name: anybody else can write whatever they like into it.

use std::collections::HashMap;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use halfping_credentials::{ClientCert, Digest, Identity};
use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use super::bearer::{Bearer, Voucher};
use super::problems::not_good;
use crate::problem::{Kind, Problem};

/// The field with the certificate.
pub(super) const FIELD: HeaderName = HeaderName::from_static("client-cert");

pub(super) struct Certificates {
    trusted: Vec<Network>,
    known: HashMap<Digest, Map<String, Value>>,
    only_known: bool,
}

/// A network: addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Certificates {
    /// Reads the settings. The error says what is wrong with `trusted`.
    pub(super) fn new(config: &ClientCert) -> Result<Certificates, String> {
        let network = |text: &String| {
            Network::parse(text)
                .ok_or_else(|| format!("{text:?} is no address, and no network such as 10.0.0.0/8"))
        };
        let known = config.known.iter();
        Ok(Certificates {
            trusted: config.trusted.iter().map(network).collect::<Result<_, _>>()?,
            known: known
                .filter_map(|known| Some((known.digest()?, known.claims.clone())))
                .collect(),
            only_known: config.only_known,
        })
    }

    /// The client whose certificate is told by the proxy at this address. `None` if none is told, or
    /// by nobody who is believed.
    pub(super) fn of(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<Option<Bearer>, Problem> {
        let mut fields = headers.get_all(FIELD).iter();
        let Some(field) = fields.next() else { return Ok(None) };
        let Some(peer) = peer.filter(|peer| self.trusts(*peer)) else {
            tracing::debug!("Client-Cert is ignored: it does not come from a trusted address");
            return Ok(None);
        };
        let certificate = match fields.next() {
            None => bytes(field.as_bytes()),
            Some(_) => None,
        };
        let certificate = certificate.ok_or_else(|| {
            let detail = "Client-Cert is one certificate (DER) in base64 between colons (RFC 9440)";
            Problem::new(Kind::BadHeader, detail)
                .hint("have the proxy set it, and remove what clients send under that name")
        })?;
        self.bearer(Digest::of(&certificate), peer).map(Some).ok_or_else(not_good)
    }

    /// The client with this certificate, if the proxy at this address is believed and the
    /// certificate lets somebody in.
    pub(super) fn bearer(&self, digest: Digest, peer: IpAddr) -> Option<Bearer> {
        let mut claims = match self.known.get(&digest) {
            _ if !self.trusts(peer) => return None,
            Some(claims) => claims.clone(),
            None if self.only_known => {
                tracing::debug!(sha256 = digest.hex(), "a certificate is not known");
                return None;
            }
            None => Map::new(),
        };
        claims.entry("sub").or_insert_with(|| format!("cert:{}", digest.hex()).into());
        claims.insert("cert_sha256".to_owned(), digest.hex().into());
        let identity = Identity::new(claims).ok()?;
        Some(Bearer { identity, by: Some(Voucher::Certificate(digest, peer)) })
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.has(peer))
    }
}

/// The bytes of a field that has just those (RFC 9651, 3.3.5), if they are a certificate in DER: one
/// sequence, and nothing after it.
fn bytes(field: &[u8]) -> Option<Vec<u8>> {
    let text = field.trim_ascii().strip_prefix(b":")?.strip_suffix(b":")?;
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let len = match usize::from(*first) {
        short @ ..0x80 => (short, rest.len()),
        long => {
            let size = long - 0x80;
            let len = rest.get(..size).filter(|_| (1..=4).contains(&size))?;
            (len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest.len() - size)
        }
    };
    (*tag == 0x30 && len.0 == len.1).then_some(bytes)
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(max);
        (bits <= max).then_some(Network { address, bits })
    }

    fn has(&self, other: IpAddr) -> bool {
        let same = |one: u128, other: u128, size: u32| {
            self.bits == 0 || one >> (size - self.bits) == other >> (size - self.bits)
        };
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                same(one.to_bits().into(), other.to_bits().into(), 32)
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        for (network, address, expect) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "::1", false),
            ("::1", "::1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.has(address.parse().unwrap()), expect, "{network:?} {address}");
        }
        for wrong in ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0/8", "1.2.3.4/", "1.2.3.4/x"]
        {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_field_is_one_certificate_between_colons() {
        assert_eq!(bytes(b":MAMCAQE=:"), Some(vec![0x30, 3, 2, 1, 1]));
        let long = [&[0x30, 0x82, 1, 0][..], &[0; 256]].concat();
        assert_eq!(bytes(format!(" :{}: ", BASE64_STANDARD.encode(&long)).as_bytes()), Some(long));
        for wrong in
            ["", ":", "::", "MAMCAQE=", ":MAMCAQE=", ":MAMCAQEA:", ":MQMCAQE=:", ":MIAA:", ":-_==:"]
        {
            assert_eq!(bytes(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
