//! Rights: an identity, what it may do, and until when.

use std::sync::Arc;
use std::time::Duration;

use halfping_credentials::{Identity, Secret};
use halfping_engine::{Cursor, Epoch, Path};
use halfping_rules::{Grant, Reads, Verb};
use serde_json::{Map, Value, json};

use super::authenticate::Question;
use super::bearer::{Bearer, Voucher};
use super::grants::Granted;
use super::looks::Look;
use super::profiles::{Me, Profile};
use super::settings::Settings;
use super::{Auth, Inner, Sight, now_ms, problems};
use crate::problem::{Kind, Problem};
use crate::tag::Given;

/// Rights of one who is told apart, or of nobody. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rights(Arc<Parts>);

struct Parts {
    auth: Arc<Inner>,
    /// The settings by which they were given.
    settings: Arc<Settings>,
    /// `None` for nobody.
    identity: Option<Identity>,
    /// Who vouches for the identity, if it is no key.
    by: Option<Voucher>,
    /// Their profile, if rules speak of it.
    me: Option<Me>,
    power: Power,
    /// The end, in milliseconds since 1970.
    ends_ms: Option<u64>,
    /// The one whose claims these rights are by, if the identity looks as somebody else: it only
    /// reads.
    looks_as: Option<Identity>,
}

/// The sender of a request, as far as it is known at once.
pub(crate) enum Found {
    /// `None` where nobody is told apart.
    Known(Option<Rights>),
    /// Somebody else has to be asked.
    Unknown(Box<Question>),
}

/// The part of the tree that somebody may use.
#[derive(Clone, PartialEq)]
enum Power {
    All,
    Nothing,
    Granted(Granted),
}

/// What has become of rights since they were given.
pub(crate) enum Standing {
    /// They are what they were.
    Same,
    /// They are these now: the settings have changed, the profile, or what is said
    /// of who has them. They may allow the same.
    Other(Rights),
    /// They are over, for this reason: `token-expired`, `revoked`, or `unauthorized` for one who had
    /// to say who they are and did not.
    Over(Kind),
}

/// The bound on a write that is allowed.
#[derive(Clone, Debug)]
pub(crate) enum Bound {
    /// There is none.
    None,
    /// Names and rules decide alone, by whether something is there.
    Only(Box<Only>),
    /// It is allowed as far as these rights allow what it changes.
    Judged(Rights),
}

/// A bound on a write: it is allowed only where nothing is, or only where something is.
#[derive(Clone, Debug)]
pub(crate) struct Only {
    /// True if it is allowed only where nothing is.
    pub(crate) creates: bool,
    /// The refusal elsewhere.
    pub(crate) problem: Problem,
}

impl std::fmt::Debug for Rights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Rights").field(&self.0.identity).finish()
    }
}

impl Rights {
    /// The rights of an identity, as long as its token is good, or whoever vouches for it does.
    pub(super) fn of(auth: &Arc<Inner>, settings: &Arc<Settings>, bearer: Bearer) -> Rights {
        let Bearer { identity, by } = bearer;
        let grace_ms = settings.expiry_grace_ms;
        let ends = |seconds: u64| seconds.saturating_mul(1000).saturating_add(grace_ms);
        let ends_ms = identity.expires().map(ends);
        let (me, power) = Power::of(auth, settings, &identity);
        let (auth, settings, identity) = (auth.clone(), settings.clone(), Some(identity));
        Rights(Arc::new(Parts { auth, settings, identity, by, me, power, ends_ms, looks_as: None }))
    }

    /// The rights of who looks as somebody else, as long as its own token is good.
    pub(super) fn of_look(auth: &Arc<Inner>, settings: &Arc<Settings>, look: Look) -> Rights {
        let ends_ms = Some(look.until.saturating_mul(1000));
        Rights::looking(auth, settings, look.by, look.claims, ends_ms)
    }

    fn looking(
        auth: &Arc<Inner>,
        settings: &Arc<Settings>,
        bearer: Bearer,
        claims: Identity,
        ends_ms: Option<u64>,
    ) -> Rights {
        let (me, power) = Power::of(auth, settings, &claims);
        let (auth, settings) = (auth.clone(), settings.clone());
        let (identity, by, looks_as) = (Some(bearer.identity), bearer.by, Some(claims));
        Rights(Arc::new(Parts { auth, settings, identity, by, me, power, ends_ms, looks_as }))
    }

    /// The rights of everybody who shows nothing.
    pub(super) fn of_anonymous(
        auth: &Arc<Inner>,
        settings: &Arc<Settings>,
        anonymous: &Identity,
    ) -> Rights {
        let (me, power) = Power::of(auth, settings, anonymous);
        Rights::of_none(auth, settings, me, power, None)
    }

    pub(super) fn to_nothing(auth: &Arc<Inner>) -> Rights {
        Rights::of_none(auth, &auth.settings(), None, Power::Nothing, None)
    }

    /// Rights to nothing, of who has so long to say who they are.
    pub(super) fn to_nothing_until(
        auth: &Arc<Inner>,
        settings: &Arc<Settings>,
        ends_ms: u64,
    ) -> Rights {
        Rights::of_none(auth, settings, None, Power::Nothing, Some(ends_ms))
    }

    /// Rights of nobody in particular.
    fn of_none(
        auth: &Arc<Inner>,
        settings: &Arc<Settings>,
        me: Option<Me>,
        power: Power,
        ends_ms: Option<u64>,
    ) -> Rights {
        let (auth, settings) = (auth.clone(), settings.clone());
        let (identity, by, looks_as) = (None, None, None);
        Rights(Arc::new(Parts { auth, settings, identity, by, me, power, ends_ms, looks_as }))
    }

    /// Whoever shows this token from here on; nobody, if it is none.
    pub(crate) fn find_next(
        &self,
        token: Option<&Secret>,
        timeout_ms: u64,
    ) -> Result<Found, Problem> {
        match token {
            Some(token) => self.0.auth.find_by_token(token),
            None => Ok(Found::Known(Some(self.next_of_nobody(timeout_ms)))),
        }
    }

    /// The rights of whoever is nobody from here on.
    pub(crate) fn next_of_nobody(&self, timeout_ms: u64) -> Rights {
        let auth = &self.0.auth;
        match self.0.identity {
            Some(_) => auth.rights_of_nobody(&auth.settings(), timeout_ms),
            // Who had so long to say who they are has no longer for saying nothing.
            None => self.clone(),
        }
    }

    fn bearer(&self) -> Option<Bearer> {
        let Parts { identity, by, .. } = &*self.0;
        Some(Bearer { identity: identity.clone()?, by: by.clone() })
    }

    pub(crate) fn auth(&self) -> Auth {
        Auth(Some(self.0.auth.clone()))
    }

    /// True if these allow the same as others.
    pub(crate) fn allow_same(&self, other: &Rights) -> bool {
        self.0.power == other.0.power
    }

    /// True if these let the same be read at a path as others.
    pub(crate) fn read_same(&self, other: &Rights, path: &Path) -> bool {
        self.reach(Verb::Read, path) == other.reach(Verb::Read, path)
    }

    /// True if rules say who may do what.
    pub(crate) fn has_rules(&self) -> bool {
        self.0.settings.grants.is_some()
    }

    /// True if nobody in particular has them.
    pub(crate) fn are_of_nobody(&self) -> bool {
        self.0.identity.is_none()
    }

    /// A mark of what they let be read, if that is not all: equal for equal rights.
    fn mark(&self) -> Option<u64> {
        match &self.0.power {
            Power::Granted(granted) => granted.mark,
            Power::Nothing => Some(0),
            Power::All => None,
        }
    }

    /// True if cursors are sealed for who has them, since they do not let all be read.
    pub(crate) fn are_partial(&self) -> bool {
        self.mark().is_some()
    }

    /// A cursor as it is given to who has them.
    pub(crate) fn give(&self, cursor: Cursor) -> Given {
        match self.mark() {
            None => Given::Open(cursor),
            Some(mark) => {
                Given::Sealed(cursor.epoch, self.0.auth.seal().close(cursor.revision, mark))
            }
        }
    }

    /// The cursor of an answer that shows a part of something, or nothing: it tells of nothing
    /// else. `what`: that which is shown, and how.
    pub(crate) fn give_content(&self, epoch: Epoch, what: &str, content: Option<&[u8]>) -> Given {
        let mark = self.mark().unwrap_or_default();
        Given::Sealed(epoch, self.0.auth.seal().of_content(what, content, mark))
    }

    /// The cursor that was given to somebody with the same rights. `None` for any other.
    pub(crate) fn take(&self, given: Given) -> Option<Cursor> {
        match (given, self.mark()) {
            (Given::Open(cursor), None) => Some(cursor),
            (Given::Sealed(epoch, block), Some(mark)) => {
                let revision = self.0.auth.seal().open(block, mark)?;
                Some(Cursor { epoch, revision })
            }
            _ => None,
        }
    }

    /// The profile that they depend on, if they do.
    pub(crate) fn profile(&self) -> Option<&Profile> {
        self.0.me.as_ref().map(|me| &*me.profile)
    }

    /// The name of who has them.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.0.identity.as_ref()?.subject()
    }

    /// The identity as a session is told of it, in JSON; `null` for nobody.
    pub(crate) fn told(&self) -> String {
        let Some(identity) = &self.0.identity else { return "null".to_owned() };
        let mut told = json!({});
        if let Some(sub) = identity.subject() {
            told["sub"] = sub.into();
        }
        if let Some(left) = self.lasts() {
            told["expires_ms"] = (left.as_millis() as u64).into();
        }
        if let Some(looks_as) = &self.0.looks_as {
            told["as"] = Value::Object(looks_as.claims().clone());
        }
        told.to_string()
    }

    /// The time that is left, if they end.
    pub(crate) fn lasts(&self) -> Option<Duration> {
        self.0.ends_ms.map(|ends| Duration::from_millis(ends.saturating_sub(now_ms())))
    }

    /// What has become of them. `timeout_ms`: the time that is left to say who one is, where
    /// somebody is wanted now.
    pub(crate) fn standing(&self, timeout_ms: u64) -> Standing {
        let Parts { auth, settings, identity, by, me, ends_ms, looks_as, .. } = &*self.0;
        let is_over = ends_ms.is_some_and(|ends| ends <= now_ms());
        let may_go_on = looks_as.is_none() && by.as_ref().is_some_and(Voucher::prolongs);
        let is_former = auth.has_other_than(settings)
            || me.as_ref().is_some_and(Me::is_former)
            || by.as_ref().is_some_and(Voucher::is_former)
            || is_over && may_go_on;
        match identity {
            Some(_) if is_over && !may_go_on => Standing::Over(Kind::TokenExpired),
            None if is_over => Standing::Over(Kind::Unauthorized),
            _ if is_former => self.worked_out_again(timeout_ms),
            Some(identity) if settings.is_revoked(identity) => Standing::Over(Kind::Revoked),
            _ => Standing::Same,
        }
    }

    /// These by the settings, the profile and the answers of this moment.
    fn worked_out_again(&self, timeout_ms: u64) -> Standing {
        let Parts { auth, settings: former, ends_ms, looks_as, .. } = &*self.0;
        let now = auth.settings();
        let bearer = match self.bearer() {
            None if ends_ms.is_some() && now.verifier.anonymous().is_none() => {
                // Who had so long to say who they are has no longer.
                let power = Power::Nothing;
                return Standing::Other(Rights::of_none(auth, &now, None, power, *ends_ms));
            }
            None => return Standing::Other(auth.rights_of_nobody(&now, timeout_ms)),
            Some(bearer) => match now.renew(&bearer, former) {
                Ok(bearer) if now.is_revoked(&bearer.identity) => Err(Kind::Revoked),
                renewed => renewed,
            },
        };
        let rights = match bearer {
            Ok(bearer) => Rights::of(auth, &now, bearer),
            Err(why) => return Standing::Over(why),
        };
        let Some(claims) = looks_as else { return Standing::Other(rights) };
        // Who looks still has to be somebody who may.
        match rights.may_look() {
            Ok(by) => Standing::Other(Rights::looking(auth, &now, by, claims.clone(), *ends_ms)),
            Err(_) => Standing::Over(Kind::Revoked),
        }
    }

    /// A ticket for the URL of a stream or session, good once.
    pub(crate) fn ticket(&self) -> Result<Secret, Problem> {
        let bearer = self.bearer().ok_or_else(problems::not_shown)?;
        match &self.0.looks_as {
            // It would be one of whoever looks.
            Some(_) => Err(problems::only_looks(&Path::ROOT)),
            None => self.0.auth.ticket(&self.0.settings, &bearer),
        }
    }

    /// Checks that who has them may look as somebody else. What others are shown is nothing that
    /// they are not shown themselves.
    pub(crate) fn may_look(&self) -> Result<Bearer, Problem> {
        let bearer = self.bearer().ok_or_else(problems::not_shown)?;
        if !self.has_rules() {
            let detail = "there are no rules here: everybody is shown everything";
            return Err(Problem::new(Kind::NotFound, detail));
        }
        let sees_all = !self.are_partial() && self.0.looks_as.is_none();
        sees_all.then_some(bearer).ok_or_else(problems::no_look)
    }

    /// A token to look as somebody with these claims, and the time for which it is good.
    pub(crate) fn look(&self, claims: Map<String, Value>) -> Result<(Secret, Duration), Problem> {
        let by = self.may_look()?;
        let claims =
            Identity::new(claims).map_err(|error| problems::no_claims(error.to_string()))?;
        let (token, look) = self.0.auth.look(&self.0.settings, by, claims)?;
        let left = look.until.saturating_mul(1000).saturating_sub(now_ms());
        Ok((token, Duration::from_millis(left)))
    }

    /// Checks that all at a path and beneath it may be used so.
    pub(crate) fn may(&self, verb: Verb, path: &Path) -> Result<(), Problem> {
        match self.reach(verb, path) {
            Reads::All => Ok(()),
            reach => Err(self.refusal(verb, path, &reach)),
        }
    }

    /// The part of a path that may be read, if that is not all.
    pub(crate) fn sight(&self, path: &Path) -> Result<Option<Sight>, Problem> {
        let reach = self.reach(Verb::Read, path);
        let sight = match &reach {
            Reads::All => return Ok(None),
            Reads::Nothing => None,
            Reads::Part(part) => Sight::new(path, part),
        };
        sight.map(Some).ok_or_else(|| self.refusal(Verb::Read, path, &reach))
    }

    /// Checks that something at a path or beneath it may be used so.
    pub(crate) fn may_somewhere(&self, verb: Verb, path: &Path) -> Result<(), Problem> {
        match self.reach(verb, path) {
            Reads::Nothing => Err(self.refusal(verb, path, &Reads::Nothing)),
            _ => Ok(()),
        }
    }

    /// The bound on changes of what is at a path: to make it, or to make it another.
    pub(crate) fn may_change(&self, path: &Path) -> Result<Bound, Problem> {
        let reach = |verb| self.reach(verb, path);
        let refusal = |verb| self.refusal(verb, path, &Reads::Nothing);
        let (creates, updates) = (reach(Verb::Create), reach(Verb::Update));
        let is_free = [&creates, &updates, &reach(Verb::Delete)].map(|reach| *reach == Reads::All);
        // What a write makes or removes beneath may be denied by rules about that alone.
        let may_be_denied = is_free != [true; 3]
            && self.grant().is_some_and(|grant| grant.may_deny_writes(path.segments()));
        match (creates, updates) {
            (Reads::Nothing, Reads::Nothing) => Err(refusal(Verb::Update)),
            _ if may_be_denied => Ok(Bound::Judged(self.clone())),
            (Reads::All, Reads::All) => Ok(Bound::None),
            (Reads::All, Reads::Nothing) => {
                Ok(Bound::Only(Box::new(Only { creates: true, problem: refusal(Verb::Update) })))
            }
            (Reads::Nothing, Reads::All) => {
                Ok(Bound::Only(Box::new(Only { creates: false, problem: refusal(Verb::Create) })))
            }
            _ => Ok(Bound::Judged(self.clone())),
        }
    }

    /// The bound on a write that only creates, or only removes, what is at a path.
    pub(crate) fn may_only(&self, verb: Verb, path: &Path) -> Result<Bound, Problem> {
        match self.reach(verb, path) {
            Reads::All => Ok(Bound::None),
            Reads::Nothing => Err(self.refusal(verb, path, &Reads::Nothing)),
            Reads::Part(_) => Ok(Bound::Judged(self.clone())),
        }
    }

    /// The grant by which writes are judged, if rules decide.
    pub(super) fn grant(&self) -> Option<&Grant> {
        match &self.0.power {
            Power::Granted(granted) => Some(&granted.grant),
            Power::All | Power::Nothing => None,
        }
    }

    /// The problem of a write that changes what these rights do not let it change so.
    pub(crate) fn not_so(&self, path: &Path) -> Problem {
        problems::not_so(self.0.identity.is_some(), path)
    }

    fn reach(&self, verb: Verb, path: &Path) -> Reads {
        match &self.0.power {
            _ if self.0.looks_as.is_some() && verb != Verb::Read => Reads::Nothing,
            Power::All => Reads::All,
            Power::Nothing => Reads::Nothing,
            Power::Granted(granted) => granted.grant.at(verb, path.segments()),
        }
    }

    fn refusal(&self, verb: Verb, path: &Path, reach: &Reads) -> Problem {
        match self.0.looks_as.is_some() && verb != Verb::Read {
            true => problems::only_looks(path),
            false => problems::not_allowed(self.0.identity.is_some(), verb, path, reach),
        }
    }
}

impl Power {
    /// The part of somebody, and their profile if that matters.
    fn of(auth: &Inner, settings: &Settings, identity: &Identity) -> (Option<Me>, Power) {
        let Some(grants) = &settings.grants else { return (None, Power::All) };
        let path = settings.profile.as_ref().and_then(|path| path.of(identity.claims()));
        let me = path.and_then(|path| auth.me(&path));
        let granted = grants.of(identity, me.as_ref().map_or(&Value::Null, |me| &*me.value));
        (me, Power::Granted(granted))
    }
}
