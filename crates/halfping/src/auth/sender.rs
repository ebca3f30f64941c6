//! The sender of a request: who shows a credential, who has a certificate, or whom an authenticator
//! names.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::OriginalUri;
use halfping_credentials::{AuthConfig, Identity, Refusal, Secret, Shown, Verifier};
use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::asked::Asked;
use super::authenticate::{AskTerms, Authenticate, Question};
use super::bearer::{Bearer, Voucher};
use super::looks::{self, Look};
use super::problems::{self, not_good, not_shown, reason, revoked};
use super::rights::{Found, Rights};
use super::settings::Settings;
use super::sources::Sources;
use super::{Auth, Begin, Inner, certificate, now_ms};
use crate::problem::Problem;

impl Auth {
    /// Asks an authenticator about senders that nobody here knows. The last that is given is asked.
    /// It is a setting like others: whoever has an API take [another](crate::Api::reload_auth) auth
    /// gives the authenticator to that as well. Those whom the one before named come again then,
    /// unless both are the service of equal settings of `[auth.forward]`.
    #[must_use]
    pub fn asking(self, by: impl Authenticate, terms: AskTerms) -> Auth {
        let auth = if self.is_on() { self } else { Auth::of_nobody() };
        if let Some(inner) = &auth.0 {
            let mut settings = inner.settings.write();
            let asked = Some(Arc::new(Asked::new(Box::new(by), terms)));
            *settings = Arc::new(Settings { asked, ..Settings::clone(&settings) });
        }
        auth
    }

    /// Auth that tells apart whom an authenticator names, and allows everybody everything.
    fn of_nobody() -> Auth {
        let verifier = Verifier::new(&AuthConfig::default()).ok();
        let inner = |verifier| Inner::new(Settings::of(verifier), Sources::of(&[]));
        Auth(verifier.map(|verifier| Arc::new(inner(verifier))))
    }

    /// The sender of a request that shows this credential, or none. `peer`: the address that it
    /// came from.
    pub(crate) fn find<B>(
        &self,
        shown: Option<&Shown>,
        request: &Request<B>,
        peer: Option<IpAddr>,
        begin: Begin,
        timeout_ms: u64,
    ) -> Result<Found, Problem> {
        let Some(inner) = &self.0 else { return Ok(Found::Known(None)) };
        let rights = match shown {
            None => {
                let settings = inner.settings();
                if let Some(question) = settings.question(request, None) {
                    return Ok(Found::Unknown(Box::new(question)));
                }
                let certificates = settings.certificates.as_ref();
                let told = certificates.map(|known| known.of(request.headers(), peer));
                match told.transpose()?.flatten() {
                    Some(bearer) => inner.let_in(&settings, bearer)?,
                    None if settings.refuses_anonymous && begin == Begin::Request => {
                        return Err(not_shown());
                    }
                    None => inner.rights_of_nobody(&settings, timeout_ms),
                }
            }
            Some(Shown::Ticket(ticket)) => inner.redeem(ticket)?,
            Some(shown) => {
                let question = |settings: &Settings| settings.question(request, Some(shown));
                return inner.find_by(shown.secret(), question);
            }
        };
        Ok(Found::Known(Some(rights)))
    }

    /// The rights of somebody about whom an authenticator is asked.
    pub(crate) async fn ask(&self, question: Question) -> Result<Option<Rights>, Problem> {
        let Some(inner) = &self.0 else { return Ok(None) };
        let settings = inner.settings();
        let asked = settings.asked.as_ref().ok_or_else(not_good)?;
        let (identity, source, number) = asked.ask(question).await?;
        let bearer = Bearer { identity, by: Some(Voucher::Asked(source, number)) };
        // They may have changed meanwhile.
        let now = inner.settings();
        let bearer = now.renew(&bearer, &settings).map_err(reason)?;
        inner.let_in(&now, bearer).map(Some)
    }

    /// The authenticator of this moment, and what it answered.
    pub(crate) fn asked(&self) -> Option<Arc<Asked>> {
        self.0.as_ref()?.settings.read().asked.clone()
    }

    /// True if a browser may add to the request of any page what tells who sends this one: a cookie
    /// that somebody is asked about. Whether a cookie of ours was shown is seen by what was shown.
    pub(crate) fn asks_about_cookie(&self, shown: Option<&Shown>, headers: &HeaderMap) -> bool {
        shown.is_none()
            && headers.contains_key(COOKIE)
            && self.is_so(|settings| settings.asks_about(&COOKIE))
    }

    /// True if a browser may add a password of its own, or a certificate.
    pub(crate) fn asks_browser(&self, shown: Option<&Shown>, headers: &HeaderMap) -> bool {
        let has = |name: &HeaderName| headers.contains_key(name);
        shown.is_none()
            && self.is_so(|settings| {
                has(&AUTHORIZATION) && settings.asks_about(&AUTHORIZATION)
                    || has(&certificate::FIELD) && settings.certificates.is_some()
            })
    }

    /// The fields of requests by which senders are known; `None` where nobody is told apart.
    pub(crate) fn vary(&self) -> Option<HeaderValue> {
        let settings = self.0.as_ref()?.settings();
        Some(match &settings.asked {
            Some(asked) if settings.cookie.is_none() || settings.asks_about(&COOKIE) => {
                asked.vary().clone()
            }
            Some(asked) => {
                let both = [asked.vary().as_bytes(), b", cookie"].concat();
                HeaderValue::from_bytes(&both).unwrap_or_else(|_| asked.vary().clone())
            }
            None if settings.cookie.is_some() => HeaderValue::from_static("Authorization, Cookie"),
            None => HeaderValue::from_static("Authorization"),
        })
    }
}

impl Inner {
    /// Whoever shows this token, as a session names itself.
    pub(super) fn find_by_token(self: &Arc<Self>, token: &Secret) -> Result<Found, Problem> {
        self.find_by(token, |settings| {
            Question::of_token(token, settings.asked.as_ref()?.fields().iter())
        })
    }

    /// Whoever shows this, which may be the token of a look. One of whom nobody here has heard may
    /// be known to somebody else.
    fn find_by(
        self: &Arc<Self>,
        credential: &Secret,
        question: impl FnOnce(&Settings) -> Option<Question>,
    ) -> Result<Found, Problem> {
        if looks::is_look(credential.reveal()) {
            return Ok(Found::Known(Some(self.rights_of_look(credential)?)));
        }
        let (verified, settings) = self.verify(credential);
        let refusal = match verified {
            Ok(identity) => {
                return Ok(Found::Known(Some(self.let_in(&settings, identity.into())?)));
            }
            Err(refusal) => refusal,
        };
        let is_unheard_of = refusal.issuer.is_none();
        match is_unheard_of.then(|| question(&settings)).flatten() {
            Some(question) => Ok(Found::Unknown(Box::new(question))),
            None => Err(problems::refused(&refusal)),
        }
    }

    /// The rights of who looks as somebody else.
    fn rights_of_look(self: &Arc<Self>, token: &Secret) -> Result<Rights, Problem> {
        let look = self.looks.lock().get(token.reveal(), now_ms() / 1000);
        let look = look.ok_or_else(not_good)?;
        // Who looks still has to be somebody who may, by the settings of this moment.
        let settings = self.settings();
        let by = settings.renew(&look.by, &look.settings).map_err(reason)?;
        self.let_in(&settings, by.clone())?.may_look()?;
        Ok(Rights::of_look(self, &settings, Look { by, ..look }))
    }

    pub(super) fn rights_of_nobody(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        timeout_ms: u64,
    ) -> Rights {
        match settings.verifier.anonymous() {
            Some(anonymous) => Rights::of_anonymous(self, settings, anonymous),
            None => Rights::to_nothing_until(self, settings, now_ms().saturating_add(timeout_ms)),
        }
    }

    /// The identity whom a token or an API key is of, with the settings that it is verified by.
    fn verify(&self, credential: &Secret) -> (Result<Identity, Refusal>, Arc<Settings>) {
        let now = now_ms() / 1000;
        let (known, settings) = {
            let mut verified = self.verified.lock();
            (verified.get(credential.reveal(), now), self.settings())
        };
        let identity = known.or_else(|miss| {
            let identity = settings.verifier.verify(credential.reveal(), now)?;
            self.verified.lock().insert(miss, identity.clone());
            Ok(identity)
        });
        (identity, settings)
    }

    /// The rights of whom a ticket is of. It is good no longer.
    fn redeem(self: &Arc<Self>, ticket: &Secret) -> Result<Rights, Problem> {
        let (bearer, settings) = {
            let mut tickets = self.tickets.lock();
            (tickets.redeem(ticket.reveal(), now_ms() / 1000), self.settings())
        };
        // Somebody else may have said another thing meanwhile.
        let bearer = settings.renew(&bearer.ok_or_else(not_good)?, &settings).map_err(reason)?;
        self.let_in(&settings, bearer)
    }

    /// The rights of an identity, unless it is revoked.
    fn let_in(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        bearer: Bearer,
    ) -> Result<Rights, Problem> {
        match settings.is_revoked(&bearer.identity) {
            true => Err(revoked()),
            false => Ok(Rights::of(self, settings, bearer)),
        }
    }
}

impl Settings {
    /// The question about a request that shows this credential, or none, if there is somebody to be
    /// asked. Who shows a token is asked about by that, and not by a cookie: that may have been
    /// added by a browser, which nobody has looked at then.
    fn question<B>(&self, request: &Request<B>, shown: Option<&Shown>) -> Option<Question> {
        let asked = self.asked.as_ref()?;
        let (by, by_query) = match shown {
            None => (None, None),
            Some(Shown::Cookie(_)) => (Some(COOKIE), None),
            Some(Shown::Bearer(_)) => (Some(AUTHORIZATION), None),
            Some(Shown::Query(token)) => (Some(AUTHORIZATION), Some(token)),
            Some(Shown::Ticket(_)) => return None,
        };
        if by.as_ref().is_some_and(|by| !asked.fields().contains(by)) {
            return None;
        }
        let is_token = by == Some(AUTHORIZATION);
        let fields = asked.fields().iter().filter(|name| !is_token || **name != COOKIE);
        let uri = request.extensions().get::<OriginalUri>().map_or(request.uri(), |uri| &uri.0);
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or(request.uri().authority().map(http::uri::Authority::as_str));
        let request_line = (request.method().clone(), uri.clone(), host.map(str::to_owned));
        Question::of(request_line, request.headers(), fields, by_query)
    }

    pub(super) fn asks_about(&self, name: &HeaderName) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.fields().contains(name))
    }
}
