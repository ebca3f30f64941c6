//! Answers of an authenticator, remembered by the hash of what it was asked about.
//!
//! Equal fields share one question: who comes while it is under way waits for its answer. Streams
//! and sessions hold the [`Source`] of their identity, which is asked again as long as somebody
//! holds it ([`Asked::again`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use halfping_credentials::{Digest, Identity};
use http::{HeaderName, HeaderValue, header};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::authenticate::{AskTerms, Authenticate, Question, Unidentified};
use super::problems;
use crate::problem::{Kind, Problem};

/// Sources that are remembered, and their bytes.
const SOURCES_MAX: usize = 65_536;
const BYTES_MAX: usize = 64 << 20;
/// Questions under way at a time. More of them wait, within the time that an answer may take.
const QUESTIONS_AT_ONCE: usize = 256;
/// The longest time for which a refusal is remembered: who has just logged in asks again.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// Bounds of the time between two looks for sources that are to be asked about again.
const LOOK_MIN: Duration = Duration::from_millis(50);
pub(crate) const LOOK_MAX: Duration = Duration::from_secs(1);
/// The shortest time after which a source is asked about again while somebody holds it.
const AGAIN_MS_MIN: u64 = 1_000;

/// The authenticator, and what it answered.
pub(crate) struct Asked {
    by: Box<dyn Authenticate>,
    terms: AskTerms,
    known: Mutex<Known>,
    questions: Semaphore,
    /// True if those who hold a source have to be looked at again.
    has_news: AtomicBool,
    /// True if the last answer was that there is none now.
    is_silent: AtomicBool,
    /// The fields of requests by which senders are known.
    vary: HeaderValue,
}

#[derive(Default)]
struct Known {
    sources: HashMap<Digest, Arc<Source>>,
    bytes: usize,
}

/// Source of an identity: what was asked about, and the last answers.
pub(crate) struct Source {
    question: Question,
    /// Held while it is asked about, so that others wait for the same answer.
    turn: tokio::sync::Mutex<Option<Told>>,
    state: Mutex<State>,
}

/// The last answer, and when it came.
#[derive(Clone)]
struct Told {
    at: Instant,
    answer: Result<Identity, Unidentified>,
}

/// The identity that streams and sessions of a source have.
#[derive(Default)]
struct State {
    identity: Option<Identity>,
    /// Number of the identity: another one has other claims.
    number: u64,
    /// The time at which it was last confirmed, and that of the last question.
    good_at: Option<Instant>,
    asked_at: Option<Instant>,
    /// The reason why it is over, if it is.
    over: Option<Kind>,
}

impl Asked {
    pub(super) fn new(by: Box<dyn Authenticate>, terms: AskTerms) -> Asked {
        let mut vary = vec![header::AUTHORIZATION.as_str()];
        vary.extend(by.fields().iter().map(HeaderName::as_str));
        vary.sort_unstable();
        vary.dedup();
        let vary = HeaderValue::from_str(&vary.join(", "))
            .unwrap_or_else(|_| HeaderValue::from_static("*"));
        let questions = Semaphore::new(QUESTIONS_AT_ONCE);
        let (known, has_news) = (Mutex::default(), AtomicBool::new(false));
        let is_silent = AtomicBool::new(false);
        Asked { by, terms, known, questions, has_news, is_silent, vary }
    }

    pub(super) fn fields(&self) -> &[HeaderName] {
        self.by.fields()
    }

    pub(super) fn vary(&self) -> &HeaderValue {
        &self.vary
    }

    /// The sender that a question is about, its source, and its number there.
    pub(super) async fn ask(
        &self,
        question: Question,
    ) -> Result<(Identity, Arc<Source>, u64), Problem> {
        let came = Instant::now();
        let key = question.digest();
        loop {
            let source = self.source(key, &question)?;
            let mut turn = source.turn.lock().await;
            // An answer that came meanwhile is the answer to this question as well.
            let told = turn.clone().filter(|told| told.at >= came || self.is_fresh(told));
            let told = match told {
                Some(told) => told,
                // It is over, and has been forgotten: this is about another.
                None if source.state.lock().over.is_some() => continue,
                None => self.learn(&source, &mut turn).await,
            };
            // While nobody can have learned anything else.
            let number = source.state.lock().number;
            drop(turn);
            let identity = told.answer.map_err(|why| problems::unidentified(&why))?;
            return Ok((identity, source, number));
        }
    }

    /// Asks about a source again, unless somebody has done so meanwhile.
    pub(crate) async fn again(&self, source: &Arc<Source>) {
        let came = Instant::now();
        let mut turn = source.turn.lock().await;
        if turn.as_ref().is_none_or(|told| told.at < came) {
            self.learn(source, &mut turn).await;
        }
    }

    /// Asks about a source whose turn it is.
    async fn learn(&self, source: &Arc<Source>, turn: &mut Option<Told>) -> Told {
        let told = Told { answer: self.answer(&source.question).await, at: Instant::now() };
        self.log(&told);
        *turn = Some(told.clone());
        if source.stand(&told, self.terms) {
            self.has_news.store(true, Ordering::Release);
        }
        if source.state.lock().over.is_some() {
            // Whoever comes next with the same fields is another.
            self.forget(source);
        }
        told
    }

    /// Logs that there are no answers any more, or again: once, and not for each request.
    fn log(&self, told: &Told) {
        let why = match &told.answer {
            Err(Unidentified::Unavailable(why)) => Some(why),
            _ => None,
        };
        match (self.is_silent.swap(why.is_some(), Ordering::AcqRel), why) {
            (false, Some(why)) => tracing::warn!(
                "who sends requests cannot be found out: {why}. They are refused with 503 until it can; streams and sessions go on for \
                 {} ms",
                self.terms.stale_ms
            ),
            (true, None) => tracing::info!("who sends requests can be found out again"),
            _ => {}
        }
    }

    /// True if those who hold a source have to be looked at again, once.
    pub(crate) fn take_news(&self) -> bool {
        self.has_news.swap(false, Ordering::AcqRel)
    }

    /// The source of these fields.
    fn source(&self, key: Digest, question: &Question) -> Result<Arc<Source>, Problem> {
        let mut known = self.known.lock();
        if let Some(source) = known.sources.get(&key) {
            return Ok(source.clone());
        }
        let bytes = question.bytes();
        let is_full =
            |known: &Known| known.sources.len() >= SOURCES_MAX || known.bytes + bytes > BYTES_MAX;
        if is_full(&known) {
            // Those that are in use are soon there again; those that somebody holds stay.
            known.keep(|source| Arc::strong_count(source) > 1);
        }
        if is_full(&known) {
            return Err(problems::unidentified(&Unidentified::Unavailable(
                "too many are remembered who have streams and sessions".to_owned(),
            )));
        }
        let source = Arc::new(Source {
            question: question.clone(),
            turn: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        });
        known.bytes += bytes;
        known.sources.insert(key, source.clone());
        Ok(source)
    }

    fn forget(&self, source: &Arc<Source>) {
        let key = source.question.digest();
        let mut known = self.known.lock();
        if known.sources.get(&key).is_some_and(|other| Arc::ptr_eq(other, source)) {
            known.sources.remove(&key);
            known.bytes = known.bytes.saturating_sub(source.question.bytes());
        }
    }

    fn is_fresh(&self, told: &Told) -> bool {
        let kept = Duration::from_millis(self.terms.cache_ms);
        let kept = match &told.answer {
            Ok(identity) if is_expired(identity) => return false,
            Ok(_) => kept,
            Err(Unidentified::Unavailable(_)) => return false,
            Err(_) => kept.min(REFUSED_FOR),
        };
        told.at.elapsed() < kept
    }

    /// The answer, in time.
    async fn answer(&self, question: &Question) -> Result<Identity, Unidentified> {
        let timeout = Duration::from_millis(self.terms.timeout_ms);
        let asked = async {
            let Ok(_permit) = self.questions.acquire().await else {
                return Err(Unidentified::Unavailable("the server stops".to_owned()));
            };
            self.by.authenticate(question).await
        };
        let answer = tokio::time::timeout(timeout, asked).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} ms", self.terms.timeout_ms);
            Err(Unidentified::Unavailable(why))
        });
        match answer {
            // One that is over is no good.
            Ok(identity) if is_expired(&identity) => Err(Unidentified::refused()),
            answer => answer,
        }
    }

    /// The time between two looks for sources that are to be asked about again.
    pub(crate) fn look(&self) -> Duration {
        Duration::from_millis(self.terms.cache_ms / 4).clamp(LOOK_MIN, LOOK_MAX)
    }

    /// The sources that somebody holds, and whose last answer is old. Those that nobody holds are
    /// forgotten with their answers.
    pub(crate) fn due(&self) -> Vec<Arc<Source>> {
        let (now, again) = (Instant::now(), Duration::from_millis(self.again_ms()));
        let mut due = Vec::new();
        self.known.lock().keep(|source| {
            let is_held = Arc::strong_count(source) > 1;
            let asked_at = source.state.lock().asked_at;
            let is_old = asked_at.map(|at| now.saturating_duration_since(at) >= again);
            if is_held && is_old == Some(true) {
                due.push(source.clone());
            }
            is_held || is_old == Some(false)
        });
        due
    }

    fn again_ms(&self) -> u64 {
        self.terms.cache_ms.max(AGAIN_MS_MIN)
    }
}

impl Known {
    fn keep(&mut self, mut is_kept: impl FnMut(&Arc<Source>) -> bool) {
        let mut bytes = self.bytes;
        self.sources.retain(|_, source| {
            let stays = is_kept(source);
            if !stays {
                bytes = bytes.saturating_sub(source.question.bytes());
            }
            stays
        });
        self.bytes = bytes;
    }
}

impl Source {
    /// Takes an answer. True if it makes a difference to those whom an earlier one let in.
    fn stand(&self, told: &Told, terms: AskTerms) -> bool {
        let mut state = self.state.lock();
        state.asked_at = Some(told.at);
        match &told.answer {
            Ok(identity) => {
                let known = state.identity.replace(identity.clone());
                state.good_at = Some(told.at);
                let is_another = known.is_some_and(|known| known.claims() != identity.claims());
                state.number += u64::from(is_another);
                is_another
            }
            Err(Unidentified::Unavailable(_)) => {
                let patience = Duration::from_millis(terms.cache_ms.saturating_add(terms.stale_ms));
                let is_lost = |at: Instant| told.at.saturating_duration_since(at) > patience;
                if state.good_at.is_some_and(is_lost) {
                    state.over = Some(Kind::TokenExpired);
                }
                state.over.is_some()
            }
            Err(_) => {
                // Nobody was let in who could be put out.
                let was_good = state.identity.is_some();
                state.over = state.over.or(was_good.then_some(Kind::Revoked));
                was_good
            }
        }
    }

    /// True if the identity that it named with this number is not that any more.
    pub(super) fn is_former(&self, number: u64) -> bool {
        let state = self.state.lock();
        state.over.is_some() || state.number != number
    }

    /// The identity that it names now, with its number, else the reason why it is over.
    pub(super) fn now(&self) -> Result<(Identity, u64), Kind> {
        let state = self.state.lock();
        let is_good = |identity: &&Identity| state.over.is_none() && !is_expired(identity);
        let identity = state.identity.as_ref().filter(is_good).cloned();
        let why = state.over.unwrap_or(Kind::TokenExpired);
        identity.map(|identity| (identity, state.number)).ok_or(why)
    }
}

fn is_expired(identity: &Identity) -> bool {
    identity.expires().is_some_and(|expires| expires <= super::now_ms() / 1000)
}
