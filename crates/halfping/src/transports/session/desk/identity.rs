//! The identity of a session's client, which may change, and end (PROTOCOL I14 to I18).

use std::task::{Context, Poll, ready};

use futures_core::future::BoxFuture;
use halfping_credentials::Secret;

use super::{Call, Desk, Outbox};
use crate::auth::{Found, Rights, Standing, reason};
use crate::mutants;
use crate::problem::{Kind, Problem};
use crate::transports::session::close::Close;
use crate::transports::session::command::Ref;
use crate::transports::session::message::{self, Answer};

/// Links that are looked at in one step.
const LINKS_AT_ONCE: usize = 64;

/// Links that are to be looked at again.
pub(super) struct Review {
    tags: std::vec::IntoIter<u32>,
    /// The end of the identity that opened them, if it is over.
    why: Option<Kind>,
    /// The rights that opened them.
    before: Rights,
}

/// A token that is verified again when the keys of its issuer were fetched: it names one that is
/// not known.
pub(super) struct Unproven {
    keys: BoxFuture<'static, ()>,
    number: Option<Ref>,
    token: Secret,
}

impl Desk {
    /// Does an `auth`, or has it wait for the key that its token names, or for somebody who is asked
    /// whose it is.
    pub(super) fn auth(
        &mut self,
        number: Option<Ref>,
        token: Option<Secret>,
        out: &mut impl Outbox,
    ) {
        let Some(done) = self.identify(number, token.as_ref()) else { return };
        let is_no_good = |problem: &Problem| problem.kind() == Kind::Unauthorized;
        let rights = self.follower.rights().filter(|_| done.as_ref().is_err_and(is_no_good));
        let auth = rights.map(Rights::auth);
        let keys = auth.zip(token.as_ref()).and_then(|(auth, token)| auth.key_to_wait_for(token));
        match (keys, token, &mut self.work) {
            (Some(keys), Some(token), Some(work)) => {
                work.unproven = Some(Box::new(Unproven { keys, number, token }));
            }
            _ => self.settle(number, done, out),
        }
    }

    /// Does the `auth` that waits, once its keys are there. Ready with nothing if none waits.
    pub(super) fn poll_unproven(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut impl Outbox,
    ) -> Poll<Option<()>> {
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let Some(unproven) = &mut work.unproven else { return Poll::Ready(None) };
        ready!(unproven.keys.as_mut().poll(cx));
        let Some(unproven) = work.unproven.take() else { return Poll::Ready(None) };
        let Unproven { number, token, .. } = *unproven;
        if let Some(done) = self.identify(number, Some(&token)) {
            self.settle(number, done, out);
        }
        Poll::Ready(Some(()))
    }

    /// Takes the identity that a client shows, from here on. One that is no good changes nothing.
    /// `None` if somebody has to be asked first: then the session waits.
    fn identify(
        &mut self,
        number: Option<Ref>,
        token: Option<&Secret>,
    ) -> Option<Result<Answer, Problem>> {
        let Some(rights) = self.follower.rights() else { return Some(Ok(Answer::done())) };
        let (shared, auth) = (self.shared(), rights.auth());
        shared.learn_of_revoked(&auth);
        match rights.find_next(token, shared.limits.auth_timeout_ms) {
            Ok(Found::Known(rights)) => {
                let answer = Answer { rights, ..Answer::done() };
                Some(Ok(self.identified(answer)))
            }
            Ok(Found::Unknown(question)) => {
                shared.follow_asked(&auth);
                let future = Box::pin(async move {
                    Ok(Answer { rights: auth.ask(*question).await?, ..Answer::done() })
                });
                self.call(Call { number, future });
                None
            }
            Err(problem) => Some(Err(problem)),
        }
    }

    /// Takes the rights that come with an answer, which then says whose they are.
    pub(super) fn identified(&mut self, mut answer: Answer) -> Answer {
        if let Some(next) = answer.rights.take() {
            answer.identity = Some(next.told());
            self.take(next, None);
        }
        answer
    }

    /// Looks whether the client's rights are what they were, and takes those that it has now. True
    /// if links have to be looked at again before anything is told.
    pub(super) fn look_at_rights(&mut self) -> Result<bool, Close> {
        let auth_timeout_ms = self.shared().limits.auth_timeout_ms;
        match self.follower.standing(auth_timeout_ms) {
            Standing::Same => return Ok(false),
            Standing::Other(next) => self.take(next, None),
            Standing::Over(why) => self.lapse(why)?,
        }
        Ok(self.is_reviewing())
    }

    /// Takes an identity away that is over. The links go on that anybody may have.
    fn lapse(&mut self, why: Kind) -> Result<(), Close> {
        let next = match self.follower.rights() {
            Some(rights) if why != Kind::Unauthorized => {
                rights.next_of_nobody(self.shared().limits.auth_timeout_ms)
            }
            _ => return Err(Close::Unidentified),
        };
        self.take(next, Some(why));
        Ok(())
    }

    fn take(&mut self, next: Rights, why: Option<Kind>) {
        debug_assert!(!self.is_reviewing(), "nothing is done before a review has ended");
        let Some(before) = self.follower.rights().cloned() else { return };
        let allow_same = before.allow_same(&next);
        self.follower.take_rights(next);
        self.pulls.subscription.is_of(&self.follower);
        self.pulls.take_rights(self.follower.partial());
        if !allow_same {
            let tags = self.pulls.subscription.tags().into_iter();
            self.begin_review(Review { tags, why, before });
        }
    }

    /// Looks at some links again, and ends those that the client may not have any more. Returns the
    /// steps that this counts as.
    pub(super) fn review(&mut self, mut review: Review, out: &mut impl Outbox) -> usize {
        for tag in review.tags.by_ref().take(LINKS_AT_ONCE) {
            let subscription = &mut self.pulls.subscription;
            let Some(path) = subscription.path_of(tag) else { continue };
            let may_go_on = self.follower.may_go_on(&path, &review.before);
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
