//! The identity of a session's client, which may change, and end (PROTOCOL I14 to I18).

use halfping_credentials::Secret;
use halfping_rules::Verb;

use super::{Desk, Outbox};
use crate::auth::{Rights, reason};
use crate::mutants;
use crate::problem::{Kind, Problem};
use crate::transports::session::close::Close;
use crate::transports::session::message::{self, Answer};

/// Links that are looked at in one step.
const LINKS_AT_ONCE: usize = 64;

/// Links that are to be looked at again.
pub(super) struct Review {
    tags: std::vec::IntoIter<u32>,
    /// The end of the identity that opened them, if it is over.
    why: Option<Kind>,
    /// The rights that opened them; `None` if these were not always the same.
    before: Option<Rights>,
}

impl Desk {
    /// Takes the identity that a client shows, from here on. One that is no good changes nothing.
    pub(super) fn identify(&mut self, token: Option<&Secret>) -> Result<Answer, Problem> {
        let Some(rights) = self.follower.rights() else { return Ok(Answer::done()) };
        let shared = self.shared();
        shared.learn_of_revoked(&rights.auth());
        let next = rights.of_next(token, shared.limits.auth_timeout_ms)?;
        let identity = Some(next.told());
        self.take(next, None);
        Ok(Answer { identity, ..Answer::done() })
    }

    /// Takes an identity away that is over. The links go on that anybody may have.
    pub(super) fn lapse(&mut self, why: Kind) -> Result<(), Close> {
        let next = match self.follower.rights() {
            Some(rights) if why != Kind::Unauthorized => {
                rights.of_next(None, self.shared().limits.auth_timeout_ms)
            }
            _ => return Err(Close::Unidentified),
        };
        self.take(next.map_err(|_| Close::Unidentified)?, Some(why));
        Ok(())
    }

    fn take(&mut self, next: Rights, why: Option<Kind>) {
        let before = self.follower.rights().cloned();
        let allow_same = before.as_ref().is_some_and(|rights| rights.allow_same(&next));
        self.follower.take_rights(next);
        self.pulls.take_rights(self.follower.partial());
        // A review that is under way looks at all links with these rights.
        if !allow_same {
            let tags = self.pulls.subscription.tags().into_iter();
            let before = before.filter(|_| !self.is_reviewing());
            self.begin_review(Review { tags, why, before });
        }
    }

    /// Looks at some links again, and ends those that the client may not have any more. Returns the
    /// steps that this counts as.
    pub(super) fn review(&mut self, mut review: Review, out: &mut impl Outbox) -> usize {
        for tag in review.tags.by_ref().take(LINKS_AT_ONCE) {
            let subscription = &mut self.pulls.subscription;
            let Some(path) = subscription.path_of(tag) else { continue };
            // Who was shown a part may see another now, or all.
            let has_all = |before: &Rights| before.may(Verb::Read, &path).is_ok();
            let may_go_on = match review.before.as_ref().is_some_and(has_all) {
                true => self.follower.may_go_on(&path),
                false => Err(self.follower.is_another_part(&path)),
            };
            let Err(problem) = may_go_on else { continue };
            if mutants::is("refresh-keeps-links") {
                continue;
            }
            let problem = review.why.map_or(problem, reason);
            subscription.unwatch(tag);
            self.shared().metrics.refused(&problem);
            out.put(|out| message::error(&problem, Some(tag), true, out));
        }
        if review.tags.len() > 0 {
            self.begin_review(review);
        }
        LINKS_AT_ONCE
    }
}
