//! Tickets: credentials for one use, for clients that can only send a URL, such as EventSource.

use std::collections::{HashMap, VecDeque};

use crate::encoding;
use crate::identity::Identity;
use crate::secret::{Digest, Secret};

/// Seconds for which a ticket is good.
pub const TICKET_SECONDS: u64 = 60;
/// Tickets that are good at a time, unless another number is wanted.
pub const TICKETS_MAX: usize = 16_384;

/// Tickets that nobody has redeemed yet. Only their hashes are kept.
///
/// ```
/// use halfping_credentials::{Identity, Tickets};
///
/// let mut tickets = Tickets::default();
/// let identity = Identity::new(serde_json::Map::new())?;
/// let random = [7; 32]; // of a generator for secrets, not sevens
/// let ticket = tickets.issue(&random, identity.clone(), 1_000).unwrap();
/// assert_eq!(tickets.redeem(ticket.reveal(), 1_059), Some(identity));
/// assert_eq!(tickets.redeem(ticket.reveal(), 1_059), None);
/// # Ok::<(), halfping_credentials::ClaimsTooLong>(())
/// ```
#[derive(Debug)]
pub struct Tickets {
    good: HashMap<Digest, (Identity, u64)>,
    /// All that were issued, the oldest first. Some may be redeemed already.
    issued: VecDeque<(Digest, u64)>,
    max: usize,
}

impl Default for Tickets {
    fn default() -> Tickets {
        Tickets::new(TICKETS_MAX)
    }
}

impl Tickets {
    /// Keeps at most so many.
    pub fn new(max: usize) -> Tickets {
        Tickets { good: HashMap::new(), issued: VecDeque::new(), max: max.max(1) }
    }

    /// Issues a ticket. `None` while too many are good: nobody's ticket makes room for another's.
    pub fn issue(&mut self, random: &[u8; 32], identity: Identity, now: u64) -> Option<Secret> {
        // Redeemed and expired ones leave from the front.
        while let Some((digest, until)) = self.issued.front()
            && (*until <= now || !self.good.contains_key(digest))
        {
            self.good.remove(digest);
            self.issued.pop_front();
        }
        if self.good.len() >= self.max {
            return None;
        }
        // Half of them at least are redeemed, and wait behind one that is not.
        if self.issued.len() >= 2 * self.max {
            self.issued.retain(|(digest, _)| self.good.contains_key(digest));
        }
        let ticket = Secret::new(encoding::encode(random));
        let (digest, until) = (digest(ticket.reveal()), now.saturating_add(TICKET_SECONDS));
        self.issued.push_back((digest, until));
        self.good.insert(digest, (identity, until));
        Some(ticket)
    }

    /// Gives the tickets the identities that `renew` makes of theirs. Tickets of whom it makes none
    /// of are good no longer.
    pub fn renew(&mut self, renew: impl Fn(&Identity) -> Option<Identity>) {
        self.good.retain(|_, (identity, _)| match renew(identity) {
            Some(renewed) => {
                *identity = renewed;
                true
            }
            None => false,
        });
    }

    /// The identity that a ticket was issued for, once, if neither the ticket nor the identity has
    /// expired. The caller checks that it is not revoked.
    pub fn redeem(&mut self, ticket: &str, now: u64) -> Option<Identity> {
        let (identity, until) = self.good.remove(&digest(ticket))?;
        let is_good = now < until && identity.expires().is_none_or(|expires| now < expires);
        is_good.then_some(identity)
    }
}

fn digest(ticket: &str) -> Digest {
    Digest::of(ticket.as_bytes())
}
