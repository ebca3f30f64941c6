//! The API as a Rust program sees it.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::Poll;

use axum::Router;
use halfping_engine::{
    Action, Condition, Json, JsonError, Limits, Patch, Path, PathError, Pattern, Refusal, Regions,
    Watch as Spec, Write,
};
use halfping_journal::{Fault, FaultKind, Progress, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::access::{Console, Cors, Hosts, Rules};
use crate::clock::Clock;
use crate::http::Front;
use crate::own::Transport;
use crate::problem::Problem;
use crate::shared::{Failure, Shared, Subscription};

/// How an [`Api`] is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Every bound there is.
    pub limits: Limits,
    /// Pages of which origins may use the API.
    pub cors: Cors,
    /// What an [opened](Api::open) API keeps in memory only. Everything else is durable.
    pub ephemeral: Vec<Pattern>,
    /// Who may see at `/_server` what the server is doing and for whom. Nobody, unless you say otherwise. While it is kept, its commits take
    /// revisions from the same sequence as all others: an opened API leaves some free for them.
    pub console: Console,
    /// Names under which it may be asked for: what keeps out pages of other sites that have a name of theirs lead here.
    pub hosts: Hosts,
    /// Nothing can be written through HTTP. This program still can.
    pub read_only: bool,
}

impl Options {
    fn rules(&self) -> Arc<Rules> {
        let Options { cors, console, hosts, read_only, .. } = self.clone();
        Arc::new(Rules { cors, console, hosts, read_only })
    }
}

/// What was found in a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Rows of the tree. A resource is one, or part of one, or many.
    pub rows: u64,
    /// Commits since the last checkpoint, which were applied again.
    pub commits: usize,
    /// Bytes of both.
    pub bytes: u64,
    /// The newest revision.
    pub revision: u64,
}

/// One tree and everybody who reads and writes it. Cheap to clone; all clones are the same API.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use halfping::{Api, Commit, Options};
///
/// let api = Api::new(Options::default());
/// let mut orders = api.watch::<serde_json::Value>("/orders")?;
/// assert_eq!(orders.next().await?, None, "nothing is there yet");
///
/// api.put("/orders/42", &serde_json::json!({ "status": "packed" })).await?;
/// api.commit(Commit::new().put("/orders/42/status", "shipped").put("/orders/43", &7)).await?;
/// assert_eq!(orders.next().await?.unwrap()["42"]["status"], "shipped");
/// # Ok::<(), halfping::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
    rules: Arc<Rules>,
}

/// Why a call of [`Api`] did nothing.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The path is none. A mistake of the caller.
    #[error("{path:?} is no path: {source}")]
    Path {
        /// What was given.
        path: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// The value cannot be written as JSON, or not as JSON that is accepted here. A mistake of the caller.
    #[error("the value cannot be kept: {0}")]
    Value(String),
    /// What is there is not what was asked for.
    #[error("the value at {path} is another than the type asked for: {why}")]
    Type {
        /// Where.
        path: String,
        /// What the type's deserialiser says.
        why: String,
    },
    /// An expected no. Nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be made durable. It has not happened as far as anybody was told; after a crash it may turn out to have.
    #[error("the write could not be made durable: {0}")]
    Storage(#[from] Fault),
    /// Too many links are open.
    #[error("too many links are open")]
    TooManyLinks,
    /// The server is stopping.
    #[error("the server is about to stop")]
    Draining,
}

/// What became of a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// Nothing was there before.
    pub created: bool,
    /// The resource's cursor now: what HTTP clients see as its `ETag`.
    pub cursor: String,
}

/// Several writes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    writes: Vec<(String, Draft)>,
}

#[derive(Clone, Debug)]
enum Draft {
    Put(Result<Vec<u8>, String>),
    Merge(Result<Vec<u8>, String>),
    Patch(Result<Vec<u8>, String>),
    Delete,
}

impl Commit {
    /// A commit without writes.
    pub fn new() -> Commit {
        Commit::default()
    }

    /// Make the resource exactly this value.
    #[must_use]
    pub fn put<T: Serialize + ?Sized>(self, path: &str, value: &T) -> Commit {
        self.with(path, Draft::Put(to_json(value)))
    }

    /// Apply an RFC 7396 merge patch: members that are `null` go, others are set, the rest stays.
    #[must_use]
    pub fn merge<T: Serialize + ?Sized>(self, path: &str, patch: &T) -> Commit {
        self.with(path, Draft::Merge(to_json(patch)))
    }

    /// Apply RFC 6902 operations, all or none.
    #[must_use]
    pub fn patch<T: Serialize + ?Sized>(self, path: &str, operations: &T) -> Commit {
        self.with(path, Draft::Patch(to_json(operations)))
    }

    /// Remove the resource. The commit fails if there is none.
    #[must_use]
    pub fn delete(self, path: &str) -> Commit {
        self.with(path, Draft::Delete)
    }

    fn with(mut self, path: &str, draft: Draft) -> Commit {
        self.writes.push((path.to_owned(), draft));
        self
    }
}

fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|e| e.to_string())
}

impl Api {
    /// An empty tree in memory.
    ///
    /// # Panics
    /// When a limit has a value that cannot work (see [`Limits::check`]), or when the operating system has no random numbers.
    pub fn new(options: Options) -> Api {
        if let Err(why) = options.limits.check() {
            panic!("{why}");
        }
        let (rules, keeps_own) = (options.rules(), options.console != Console::Off);
        Api { shared: Shared::new(options.limits, keeps_own), rules }
    }

    /// Opens the store in a directory, or makes one: what is written is durable when that is answered, and is there again when the store
    /// is opened the next time. `tell` is told how far opening has come. It takes as long as reading the store does, so it is not for a thread
    /// that others wait for.
    ///
    /// What comes of it belongs to the tokio runtime that this is called in.
    ///
    /// # Panics
    /// When a limit has a value that cannot work (see [`Limits::check`]).
    pub fn open(
        directory: &std::path::Path,
        options: Options,
        mut tell: impl FnMut(Progress),
    ) -> Result<(Api, Restored), Fault> {
        if let Err(why) = options.limits.check() {
            panic!("{why}");
        }
        let (rules, keeps_own) = (options.rules(), options.console != Console::Off);
        let epoch = getrandom::u64().map_err(|error| Fault::new(FaultKind::Io, error.to_string()))?;
        let store = Store::open(directory, epoch)?;
        let is_all_durable = options.ephemeral.is_empty();
        let (regions, clock) = (Regions::new(options.ephemeral), Clock::new());
        let mut opened = halfping_journal::open(store, options.limits, regions, clock.now(), &mut tell)?;
        if opened.hidden > 0 {
            let what = format!(
                "there is durable state in what is to be ephemeral (values: {}), and it would be lost; delete it first, or leave the regions as \
                 they were",
                opened.hidden
            );
            return Err(Fault::new(FaultKind::Regions, what));
        }
        if keeps_own {
            opened.engine.keep_own(true);
        }
        match opened.committer.start(&mut opened.engine) {
            Ok(()) => opened.committer.tidy(opened.bytes)?,
            // Reading goes on. Not if anything is ephemeral: where that came to would have to be written down first. (The server's own state
            // waits until it has been.)
            Err(fault) if fault.kind.may_pass() && opened.rows > 0 && is_all_durable => {
                tracing::error!(kind = fault.kind.name(), %fault, "the store can be read only: durable writes are refused until it can be written");
            }
            Err(fault) => return Err(fault),
        }
        let restored = Restored {
            rows: opened.rows,
            commits: opened.replayed,
            bytes: opened.bytes,
            revision: opened.engine.revision().0,
        };
        let shared = Shared::durable(opened.engine, opened.committer, keeps_own, clock)?;
        Ok((Api { shared, rules }, restored))
    }

    /// Writes what is left to be written to the store, and closes it. Writes are refused from then on. Without it nothing is lost either; the
    /// next start has a little more to do.
    pub async fn close(&self) {
        self.shared.close().await;
    }

    /// Makes the resource exactly this value. Readers are told what differs.
    pub async fn put<T: Serialize + ?Sized>(&self, path: &str, value: &T) -> Result<Written, Error> {
        self.one(Commit::new().put(path, value)).await
    }

    /// Applies an RFC 7396 merge patch.
    pub async fn merge<T: Serialize + ?Sized>(&self, path: &str, patch: &T) -> Result<Written, Error> {
        self.one(Commit::new().merge(path, patch)).await
    }

    /// Removes a resource.
    pub async fn delete(&self, path: &str) -> Result<Written, Error> {
        self.one(Commit::new().delete(path)).await
    }

    async fn one(&self, commit: Commit) -> Result<Written, Error> {
        Ok(self.commit(commit).await?.remove(0))
    }

    /// Applies several writes as one commit; the answers are in their order.
    pub async fn commit(&self, commit: Commit) -> Result<Vec<Written>, Error> {
        let limits = &self.shared.limits;
        let mut writes = Vec::with_capacity(commit.writes.len());
        for (path, draft) in commit.writes {
            let json = |body: Result<Vec<u8>, String>| {
                Json::parse(&body.map_err(Error::Value)?, limits)
                    .map_err(|e: JsonError| Error::Value(e.to_string()))
            };
            let action = match draft {
                Draft::Put(body) => Action::Put(json(body)?),
                Draft::Merge(body) => Action::Merge(json(body)?),
                Draft::Patch(body) => Action::Patch(
                    Patch::parse(&body.map_err(Error::Value)?, limits)
                        .map_err(|error| Error::Value(error.to_string()))?,
                ),
                Draft::Delete => Action::Delete,
            };
            writes.push(Write { path: self.path(&path)?, action, condition: Condition::default() });
        }
        let written = self.shared.commit(&writes).await.map_err(|failure| match failure {
            Failure::Refused(refusal) => Error::Refused(refusal),
            Failure::Storage(fault) => Error::Storage(fault),
        })?;
        let cursor = |revision| self.shared.cursor(revision).to_string();
        Ok(written.into_iter().map(|w| Written { created: w.created, cursor: cursor(w.revision) }).collect())
    }

    /// The value at a path; `None` when nothing is there.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        let reading = self.shared.read_here(&self.path(path)?, u32::MAX)?;
        reading.value.map(|value| typed(path, &value)).transpose()
    }

    /// Follows a resource, whether or not anything is there yet.
    pub fn watch<T: DeserializeOwned>(&self, path: &str) -> Result<Watch<T>, Error> {
        let spec = Spec { whole: true, ..Spec::new(self.path(path)?) };
        let subscription = Subscription::new(&self.shared, &self.shared.foreign, Transport::Program, &[spec]);
        let subscription = subscription.map_err(|_: Problem| Error::TooManyLinks)?;
        Ok(Watch { subscription, path: path.to_owned(), value: PhantomData })
    }

    /// The API over HTTP, to be served by [`Server`](crate::Server), or mounted in an application of your own:
    /// `Router::new().nest_service("/live", api.router())`.
    pub fn router(&self) -> Router {
        Router::new().fallback_service(self.front())
    }

    /// Ends all streams in a way that brings their readers back elsewhere, and turns new ones away. [`Server`](crate::Server) does this by
    /// itself; call it when your own server stops.
    pub fn drain(&self) {
        self.shared.drain();
    }

    pub(crate) fn front(&self) -> Front {
        Front::new(self.shared.clone(), (*self.rules).clone(), None)
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn path(&self, path: &str) -> Result<Path, Error> {
        Path::parse(path, &self.shared.limits).map_err(|source| Error::Path { path: path.to_owned(), source })
    }
}

/// Reads all of a store, and checks all that can be checked. Nothing else may use it meanwhile.
pub fn check(directory: &std::path::Path, mut tell: impl FnMut(Progress)) -> Result<Restored, Fault> {
    let found = halfping_journal::check(directory, &mut tell)?;
    Ok(Restored {
        rows: found.rows,
        commits: found.replayed,
        bytes: found.bytes,
        revision: found.engine.revision().0,
    })
}

fn typed<T: DeserializeOwned>(path: &str, value: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|e| Error::Type { path: path.to_owned(), why: e.to_string() })
}

/// A resource being followed: always its newest value, and each value at most once. What changed while nobody asked is not
/// queued.
pub struct Watch<T> {
    subscription: Subscription,
    path: String,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Watch<T> {
    /// The value now, or as soon as it differs from the one last returned; `None` when nothing is there (any more).
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        let frame = poll_fn(|cx| {
            if self.subscription.shared().is_draining() {
                return Poll::Ready(Err(Error::Draining));
            }
            let mut frame = None;
            self.subscription.pull(cx.waker(), |update| {
                frame = Some(update.frame);
                false
            });
            match frame {
                Some(frame) => Poll::Ready(frame.map_err(Error::from)),
                None => Poll::Pending,
            }
        });
        let frame = frame.await?;
        match frame.kind {
            halfping_engine::Kind::Gone => Ok(None),
            _ => typed(&self.path, &frame.body).map(Some),
        }
    }
}
