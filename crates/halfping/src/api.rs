//! The API as a Rust program sees it.

mod identity;

use std::future::{IntoFuture, poll_fn};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use axum::Router;
use futures_core::future::BoxFuture;
use halfping_engine::{Limits, Path, Pattern, Regions, Write};
use halfping_journal::{Fault, FaultKind, Progress, Store, close_to_others};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Access, Console, Cors, Hosts, NamedViews, Rules};
use crate::auth::{Auth, new_key};
use crate::clock::Clock;
use crate::commit::{Commit, Reading, Written};
use crate::error::{Error, of_view, parse_path};
use crate::http::Front;
use crate::hub::{Failure, MakeOwn, Shared, Subscription};
use crate::own::Own;
use crate::problem::Kind;
use crate::seen::Transport;
use crate::shape::Shape;

/// Settings of an [`Api`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// All bounds.
    pub limits: Limits,
    /// Origins whose pages may use the API.
    pub cors: Cors,
    /// Patterns of what an [opened](Api::open) API keeps in memory only. Everything else is
    /// durable.
    pub ephemeral: Vec<Pattern>,
    /// Clients that may see at `/_server` what the server is doing and for whom. None by default.
    pub console: Console,
    /// Names under which it may be asked for. This keeps out pages of other sites that make a name
    /// of theirs lead here.
    pub hosts: Hosts,
    /// True if nothing can be written through HTTP. This program still can write.
    pub read_only: bool,
    /// True if nothing can be written through HTTP, since everybody could: the server can be reached
    /// from elsewhere, and nobody is told apart. Refusals say what to do about it (`--open`,
    /// `[[rule]]`). [`Options::is_for_everybody`] helps to decide.
    pub closed: bool,
    /// Views with URLs of their own.
    pub views: NamedViews,
    /// Settings of who is told apart, and who may do what. By default nobody is, and everybody may do all that
    /// the other settings allow. This program may do everything, whatever the rules say.
    pub auth: Auth,
}

impl Options {
    fn rules(&self) -> Arc<Rules> {
        let Options { cors, console, hosts, read_only, closed, views, auth, .. } = self.clone();
        let closed = closed && !read_only;
        let read_only = read_only || closed;
        Arc::new(Rules { cors, console, hosts, read_only, closed, views, auth }.canonical())
    }

    /// True if a server at this address lets everybody do everything, whoever reaches it from
    /// elsewhere: nobody is refused, and the address is not one of this machine alone.
    pub fn is_for_everybody(&self, listen: SocketAddr) -> bool {
        !self.auth.refuses_anybody() && !listen.ip().to_canonical().is_loopback()
    }

    /// The maker of the server's own state, if anybody may see it.
    fn own(&self) -> Option<MakeOwn> {
        (self.console != Console::Off).then(|| Own::maker(&self.views))
    }
}

/// Contents that were found in a store.
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

/// One write, done when it is awaited. Before that it takes conditions.
#[must_use = "nothing is written before it is awaited"]
pub struct Writing {
    api: Api,
    commit: Commit,
}

impl Writing {
    /// Write only under the condition of [`Commit::if_match`].
    pub fn if_match(self, cursor: &str) -> Writing {
        Writing { commit: self.commit.if_match(cursor), ..self }
    }

    /// Write only under the condition of [`Commit::if_none_match`].
    pub fn if_none_match(self, cursor: &str) -> Writing {
        Writing { commit: self.commit.if_none_match(cursor), ..self }
    }

    /// Write only under the condition of [`Commit::if_unchanged`].
    pub fn if_unchanged<T>(self, read: &Reading<T>) -> Writing {
        Writing { commit: self.commit.if_unchanged(read), ..self }
    }
}

impl IntoFuture for Writing {
    type Output = Result<Written, Error>;
    type IntoFuture = BoxFuture<'static, Result<Written, Error>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.api.commit(self.commit).await?.remove(0)) })
    }
}

impl Api {
    /// An empty tree in memory.
    ///
    /// # Panics
    /// Panics if a limit has a value that cannot work (see [`Limits::check`]), or if the operating
    /// system has no random numbers.
    pub fn new(options: Options) -> Api {
        if let Err(why) = options.limits.check() {
            panic!("{why}");
        }
        let (rules, own) = (options.rules(), options.own());
        let shared = Shared::new(options.limits, own);
        shared.follow_profiles(&rules.auth);
        shared.follow_revoked(&rules.auth);
        Api { shared, rules }
    }

    /// Opens the store in a directory, or makes one. A write is durable when it is answered, and is
    /// there again when the store is opened the next time. `tell` is told the progress. Opening
    /// takes as long as reading the store, so do not call it on a thread that others wait for.
    ///
    /// The API belongs to the tokio runtime that this is called in.
    ///
    /// # Panics
    /// Panics if a limit has a value that cannot work (see [`Limits::check`]), or if the operating
    /// system has no random numbers.
    pub fn open(
        directory: &std::path::Path,
        options: Options,
        tell: impl FnMut(Progress),
    ) -> Result<(Api, Restored), Fault> {
        Api::open_by(Clock::new(), directory, options, tell)
    }

    fn open_by(
        clock: Clock,
        directory: &std::path::Path,
        options: Options,
        mut tell: impl FnMut(Progress),
    ) -> Result<(Api, Restored), Fault> {
        if let Err(why) = options.limits.check() {
            panic!("{why}");
        }
        let (rules, own) = (options.rules(), options.own());
        let epoch =
            getrandom::u64().map_err(|error| Fault::new(FaultKind::Io, error.to_string()))?;
        let mut store = Store::open(directory, epoch)?;
        if rules.auth.is_on() {
            let new = new_key();
            let key = store.secret(new).unwrap_or_else(|error| {
                tracing::warn!(%error, "cursors of this run will be good for nothing in the next");
                new
            });
            rules.auth.seal_with(key);
        }
        match close_to_others(directory) {
            Ok(None) => {}
            Ok(Some(mode)) => {
                let was = format!("{mode:04o}");
                tracing::warn!(was, "others could use the store's file; now only its owner can");
            }
            Err(error) => {
                tracing::warn!(%error, "others can use the store's file, and that cannot be changed");
            }
        }
        let is_all_durable = options.ephemeral.is_empty();
        let regions = Regions::new(options.ephemeral);
        let mut opened =
            halfping_journal::open(store, options.limits, regions, clock.now(), &mut tell)?;
        if opened.hidden > 0 {
            let what = format!(
                "there is durable state in what is to be ephemeral (values: {}), and it would be lost; delete it first, or leave the regions as \
                 they were",
                opened.hidden
            );
            return Err(Fault::new(FaultKind::Regions, what));
        }
        match opened.committer.start(&mut opened.engine) {
            Ok(()) => opened.committer.tidy(opened.bytes)?,
            // Readers are served, but not if anything is ephemeral: the lease of its revisions
            // would have to be written first.
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
        let shared = Shared::durable(opened.engine, opened.committer, own, clock)?;
        for path in rules.views.paths() {
            if shared.with_engine(|engine| engine.metadata(&path)).len.is_some() {
                tracing::warn!("there is a view at {path}: what the tree has there cannot be read");
            }
        }
        shared.follow_profiles(&rules.auth);
        shared.follow_revoked(&rules.auth);
        Ok((Api { shared, rules }, restored))
    }

    /// Writes what is left to be written to the store, and closes it. Writes are refused from then
    /// on. Without this call nothing is lost either; the next start has a little more to do.
    pub async fn close(&self) {
        self.shared.close().await;
    }

    /// Makes the resource exactly this value. Readers are told what differs.
    pub fn put<T: Serialize + ?Sized>(&self, path: &str, value: &T) -> Writing {
        self.writing(Commit::new().put(path, value))
    }

    /// Applies an RFC 7396 merge patch.
    pub fn merge<T: Serialize + ?Sized>(&self, path: &str, patch: &T) -> Writing {
        self.writing(Commit::new().merge(path, patch))
    }

    /// Removes a resource.
    pub fn delete(&self, path: &str) -> Writing {
        self.writing(Commit::new().delete(path))
    }

    fn writing(&self, commit: Commit) -> Writing {
        Writing { api: self.clone(), commit }
    }

    /// Applies several writes as one commit; the answers are in their order.
    pub async fn commit(&self, commit: Commit) -> Result<Vec<Written>, Error> {
        let (access, client) = (self.access(), self.shared.foreign.commits());
        let allowed = |Write { path, action, condition }| {
            let write = access.write(path).and_then(|path| path.write(action, condition));
            Ok(write.map_err(|problem| Error::ReadOnly(problem.in_words()))?.write)
        };
        let writes = commit.writes(&self.shared.limits)?.into_iter().map(allowed);
        let writes = writes.collect::<Result<_, Error>>()?;
        let written =
            self.shared.commit(client, writes).await.map_err(|failure| match failure {
                Failure::Refused(refusal) => Error::Refused(refusal),
                Failure::Storage(fault) => Error::Storage(fault),
            })?;
        let cursor = |revision| self.shared.cursor(revision).to_string();
        Ok(written
            .into_iter()
            .map(|w| Written { created: w.created, cursor: cursor(w.revision) })
            .collect())
    }

    /// The value at a path; `None` when nothing is there.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        Ok(self.read(path)?.value)
    }

    /// The value at a path with its cursor, for a write that depends on it
    /// ([`Commit::if_unchanged`]).
    pub fn read<T: DeserializeOwned>(&self, path: &str) -> Result<Reading<T>, Error> {
        self.read_in(path, &Shape::default())
    }

    pub(crate) fn read_in<T: DeserializeOwned>(
        &self,
        path: &str,
        shape: &Shape,
    ) -> Result<Reading<T>, Error> {
        let (allowed, extent) = self.access().read(self.path(path)?, shape).map_err(of_view)?;
        let read = self.shared.read_here(&allowed, &extent)?;
        let cursor = read.cursor().to_string();
        let value = read.value.map(|value| typed(path, &value)).transpose()?;
        Ok(Reading { value, cursor })
    }

    /// Follows a resource, whether or not anything is there yet.
    pub fn watch<T: DeserializeOwned>(&self, path: &str) -> Result<Watch<T>, Error> {
        self.watch_in(path, &Shape::default())
    }

    pub(crate) fn watch_in<T: DeserializeOwned>(
        &self,
        path: &str,
        shape: &Shape,
    ) -> Result<Watch<T>, Error> {
        let mut shape = shape.clone();
        shape.whole = true;
        let follower = self.access().follow().map_err(of_view)?;
        let links = [follower.watch(self.path(path)?, &shape).map_err(of_view)?];
        self.shared.refresh_here(&links[0].path);
        let connection = &self.shared.foreign;
        let subscription =
            Subscription::new(&self.shared, &follower, connection, Transport::Program, &links);
        let subscription = subscription.map_err(|problem| match problem.kind() {
            Kind::TooManyViews => Error::TooManyViews(problem.detail().to_owned()),
            _ => Error::TooManyLinks,
        })?;
        Ok(Watch { subscription, path: path.to_owned(), value: PhantomData })
    }

    /// The API over HTTP, to be served by [`Server`](crate::Server), or mounted in an application
    /// of your own: `Router::new().nest_service("/live", api.router())`.
    pub fn router(&self) -> Router {
        Router::new().fallback_service(self.front())
    }

    /// Ends all streams so that their readers reconnect elsewhere, and turns new ones away.
    /// [`Server`](crate::Server) does this by itself; a server of your own does it with
    /// [`drain_on`](Api::drain_on).
    pub fn drain(&self) {
        self.shared.drain();
    }

    /// The signal for the graceful shutdown of a server of your own. It [drains](Api::drain) when
    /// `stop` is ready; without that, the server would wait until its last reader leaves.
    ///
    /// ```no_run
    /// # use std::io::Result;
    /// # async fn run<S>(api: halfping::Api, app: axum::Router, stop: S) -> Result<()>
    /// # where S: Future<Output = ()> + Send + 'static {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// axum::serve(listener, app).with_graceful_shutdown(api.drain_on(stop)).await
    /// # }
    /// ```
    pub fn drain_on<S: Future<Output = ()>>(&self, stop: S) -> impl Future<Output = ()> + use<S> {
        let api = self.clone();
        async move {
            stop.await;
            api.drain();
        }
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

    /// The access of this program.
    fn access(&self) -> Access {
        Access::of_program(self.rules.views.clone())
    }

    fn path(&self, path: &str) -> Result<Path, Error> {
        parse_path(path, &self.shared.limits)
    }
}

/// Reads all of a store, and checks all that can be checked. Nothing else may use it meanwhile.
pub fn check(
    directory: &std::path::Path,
    mut tell: impl FnMut(Progress),
) -> Result<Restored, Fault> {
    let found = halfping_journal::check(directory, &mut tell)?;
    Ok(Restored {
        rows: found.rows,
        commits: found.replayed,
        bytes: found.bytes,
        revision: found.engine.revision().0,
    })
}

fn typed<T: DeserializeOwned>(path: &str, value: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(value)
        .map_err(|e| Error::Type { path: path.to_owned(), why: e.to_string() })
}

/// A watch of a resource: always its newest value, and each value at most once. Changes between two
/// calls are not queued.
pub struct Watch<T> {
    subscription: Subscription,
    path: String,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Watch<T> {
    /// The value now, or as soon as it differs from the one last returned; `None` when nothing is
    /// there (any more).
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime};

    use halfping_engine::Json;

    use super::tests::Step::{Post, Restart};
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const YEAR: u64 = 365 * 86_400_000;

    /// A server, at the clock that it goes by.
    struct Server {
        api: Api,
        at: PathBuf,
        wall: fn() -> SystemTime,
    }

    impl Server {
        fn new(test: &str, wall: fn() -> SystemTime) -> Server {
            let at = std::env::temp_dir().join(format!("halfping-{test}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&at);
            std::fs::create_dir(&at).unwrap();
            Server::open(at, wall)
        }

        fn open(at: PathBuf, wall: fn() -> SystemTime) -> Server {
            let (api, _) =
                Api::open_by(Clock::with(wall), &at, Options::default(), |_| {}).unwrap();
            Server { api, at, wall }
        }

        /// A server that goes on with what is on disk: after this one was closed, or as after a
        /// crash.
        async fn restarted(self, is_closed: bool) -> Server {
            let Server { api, at, wall } = self;
            let next = at.join("next");
            std::fs::create_dir(&next).unwrap();
            if is_closed {
                api.close().await;
            }
            let file = halfping_journal::FILE;
            std::fs::copy(at.join(file), next.join(file)).unwrap();
            Server::open(next, wall)
        }

        /// Posts something; its key.
        async fn post(&self) -> String {
            let shared = self.api.shared();
            let parent = self.api.access().create(self.api.path("/list").unwrap()).unwrap();
            let one = Json::parse(b"1", &shared.limits);
            let made = crate::hub::writing::creation(shared, &parent, one.unwrap());
            let (name, write) = made.unwrap();
            assert!(
                crate::hub::writing::commit(shared, &shared.foreign, write, "").await.unwrap().0
            );
            name
        }

        /// The time of the newest change.
        fn time(&self) -> u64 {
            self.api
                .shared()
                .with_engine(|engine| engine.time_of(engine.cursor(engine.revision())).0)
        }
    }

    /// An event, and the clock's reading at it.
    #[derive(Clone, Copy)]
    enum Step {
        Post(u64),
        Restart(u64),
    }

    /// Goes through steps, each with the time that the newest change has after it. All keys sort.
    async fn live(clock: (&AtomicU64, fn() -> SystemTime), test: &str, steps: &[(Step, u64)]) {
        let (reading, wall) = clock;
        for is_closed in [true, false] {
            reading.store(NOW - 1, Ordering::Relaxed);
            let mut server = Server::new(test, wall);
            let (first, mut keys) = (server.at.clone(), Vec::new());
            for (place, (step, time)) in steps.iter().enumerate() {
                let (Step::Post(reads) | Step::Restart(reads)) = *step;
                reading.store(reads, Ordering::Relaxed);
                match step {
                    Step::Post(_) => keys.extend([server.post().await, server.post().await]),
                    Step::Restart(_) => server = server.restarted(is_closed).await,
                }
                assert_eq!(server.time(), *time, "after step {place}");
            }
            assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
            drop(server);
            let _ = std::fs::remove_dir_all(first);
        }
    }

    fn wall(reading: &AtomicU64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(reading.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_clock_that_was_ahead_is_followed_when_it_is_right_again() {
        // PROTOCOL S10, W5
        static READING: AtomicU64 = AtomicU64::new(0);
        let steps = [
            (Post(NOW), NOW),
            (Post(NOW + YEAR), NOW + YEAR),
            (Post(NOW + 1), NOW + 1),
            (Restart(NOW + 2), NOW + 1),
            (Post(NOW + 3), NOW + 3),
        ];
        live((&READING, || wall(&READING)), "ahead", &steps).await;
    }

    #[tokio::test]
    async fn a_clock_that_was_ahead_until_a_restart_is_followed_from_then_on() {
        // PROTOCOL S10, W5
        static READING: AtomicU64 = AtomicU64::new(0);
        let steps = [
            (Post(NOW + YEAR), NOW + YEAR),
            (Restart(NOW), NOW),
            (Post(NOW + 1), NOW + 1),
            (Restart(NOW + 2), NOW + 1),
            (Post(NOW + 3), NOW + 3),
        ];
        live((&READING, || wall(&READING)), "ahead-until-a-restart", &steps).await;
    }

    #[tokio::test]
    async fn a_clock_that_is_behind_after_a_restart_makes_no_keys_before_older_ones() {
        // PROTOCOL S10, W5
        static READING: AtomicU64 = AtomicU64::new(0);
        let steps = [
            (Post(NOW), NOW),
            (Restart(NOW - YEAR), NOW - YEAR),
            (Post(NOW - YEAR + 1), NOW - YEAR + 1),
            (Restart(NOW - YEAR), NOW - YEAR),
            (Post(NOW - YEAR), NOW - YEAR),
            (Post(NOW + 5), NOW + 5),
        ];
        live((&READING, || wall(&READING)), "behind", &steps).await;
    }
}
