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
pub struct Tickets<T = Identity> {
    good: HashMap<Digest, (T, u64)>,
    /// All that were issued, the oldest first. Some may be redeemed already.
    issued: VecDeque<(Digest, u64)>,
    max: usize,
}

/// Holder of tickets.
pub trait Holder {
    /// Seconds since 1970 at which its identity expires.
    fn expires(&self) -> Option<u64>;
}

impl Holder for Identity {
    fn expires(&self) -> Option<u64> {
        Identity::expires(self)
    }
}

impl<T: Holder> Default for Tickets<T> {
    fn default() -> Tickets<T> {
        Tickets::new(TICKETS_MAX)
    }
}

impl<T: Holder> Tickets<T> {
    /// Keeps at most so many.
    pub fn new(max: usize) -> Tickets<T> {
        Tickets { good: HashMap::new(), issued: VecDeque::new(), max: max.max(1) }
    }

    /// Issues a ticket. `None` while too many are good: nobody's ticket makes room for another's.
    pub fn issue(&mut self, random: &[u8; 32], holder: T, now: u64) -> Option<Secret> {
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
        self.good.insert(digest, (holder, until));
        Some(ticket)
    }

    /// Gives the tickets the holders that `renew` makes of theirs. Tickets of whom it makes none
    /// of are good no longer.
    pub fn renew(&mut self, renew: impl Fn(&T) -> Option<T>) {
        self.good.retain(|_, (holder, _)| match renew(holder) {
            Some(renewed) => {
                *holder = renewed;
                true
            }
            None => false,
        });
    }

    /// The holder that a ticket was issued for, once, if neither the ticket nor its identity has
    /// expired. The caller checks that it is not revoked.
    pub fn redeem(&mut self, ticket: &str, now: u64) -> Option<T> {
        let (holder, until) = self.good.remove(&digest(ticket))?;
        let is_good = now < until && holder.expires().is_none_or(|expires| now < expires);
        is_good.then_some(holder)
    }
}

fn digest(ticket: &str) -> Digest {
    Digest::of(ticket.as_bytes())
}
