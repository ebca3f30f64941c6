//! Two writers make commits to two paths each. A session that watches all four never shows half of
//! a commit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::raw::{Connection, Random, request, seed};
use crate::common::session::{Mirrors, Phase, Session, Told};
use crate::common::{runtime, serve, serve_limited};
use halfping::{Api, Commit};
use serde_json::{Value, json};

/// The sum of the accounts of each writer, always.
const SUM: i64 = 1_000_000;
/// Two accounts a writer, as links 0 to 3.
const ACCOUNTS: [&str; 4] =
    ["/a/one/balance", "/b/one/balance", "/a/two/balance", "/b/two/balance"];

/// Commits of both writers together; set by `HALFPING_COMMITS`.
fn commits() -> u64 {
    std::env::var("HALFPING_COMMITS").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000)
}

/// A reader of all accounts.
struct Auditor {
    session: Session,
    mirrors: Mirrors,
    messages: u64,
    synced: u64,
}

impl Auditor {
    fn new(address: std::net::SocketAddr) -> Auditor {
        let mut session = Session::open(address, "/");
        let pairs =
            Value::from_iter(ACCOUNTS.iter().enumerate().map(|(link, path)| json!([link, path])));
        session.say(&json!({ "watch": pairs }));
        let mut mirrors = Mirrors::default();
        (0..4).for_each(|link| mirrors.open(link, Phase::Open));
        Auditor { session, mirrors, messages: 0, synced: 0 }
    }

    fn balance(&self, link: u64) -> i64 {
        let view = &self.mirrors.views[&link];
        view.value
            .as_ref()
            .and_then(Value::as_i64)
            .unwrap_or_else(|| panic!("link {link} shows {view:?}"))
    }

    /// Takes a message; when it is synced the sums have to be right (PROTOCOL L6).
    #[track_caller]
    fn take(&mut self, message: &Value) -> bool {
        self.messages += 1;
        let synced = self.mirrors.take(message);
        if synced {
            self.synced += 1;
            for (one, other) in [(0, 1), (2, 3)] {
                let (one, other) = (self.balance(one), self.balance(other));
                assert_eq!(one + other, SUM, "{one} and {other} after {message}");
            }
        }
        synced
    }

    /// Reads until told to stop and nothing more comes; `pause` makes it slow.
    fn audit(mut self, stop: &AtomicBool, pause: Duration) -> Auditor {
        loop {
            let stopping = stop.load(Ordering::Acquire);
            match self.session.next_within(Duration::from_millis(300)) {
                Told::Message(message) => drop(self.take(&message)),
                Told::Nothing if stopping => return self,
                Told::Nothing => {}
                other => panic!("{other:?}"),
            }
            thread::sleep(pause);
        }
    }
}

fn open_accounts(api: &Api) {
    let commit = ACCOUNTS.iter().enumerate().fold(Commit::new(), |commit, (link, path)| {
        commit.put(path, &if link % 2 == 0 { SUM } else { 0 })
    });
    runtime().block_on(api.commit(commit)).unwrap();
}

/// Writes with the library: whole commits of two writes.
fn write_in_process(api: &Api, count: u64, mut random: Random) {
    let runtime = runtime();
    for _ in 0..count {
        let balance = random.below(SUM as u64) as i64;
        let commit = Commit::new().put(ACCOUNTS[0], &balance).put(ACCOUNTS[1], &(SUM - balance));
        runtime.block_on(api.commit(commit)).unwrap();
    }
}

/// Writes over HTTP: a merge patch at the root is an atomic write to many paths (PROTOCOL W2).
fn write_over_http(address: std::net::SocketAddr, count: u64, mut random: Random) {
    let mut connection = Connection::open(address);
    for _ in 0..count {
        let balance = random.below(SUM as u64) as i64;
        let patch = json!({
            "a": { "two": { "balance": balance } },
            "b": { "two": { "balance": SUM - balance } },
        });
        let head = "PATCH /\nContent-Type: application/merge-patch+json";
        connection.send(&request(&format!("{head}\n\n{patch}")));
        let answer = connection.answer(false);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn a_session_never_shows_one_half_of_a_commit() {
    // PROTOCOL C1, L5, L6, W2
    let seed = seed();
    let count = commits();
    let server = serve_limited(|limits| limits.writes_per_second = u32::MAX);
    open_accounts(&server.api);
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let auditors = thread::scope(|scope| {
        let audit = |pause: u64| {
            let auditor = Auditor::new(server.address);
            let stop = &stop;
            scope.spawn(move || auditor.audit(stop, Duration::from_millis(pause)))
        };
        let auditors = [audit(0), audit(0), audit(7)];
        let one = scope.spawn(|| write_in_process(&server.api, count / 2, Random(seed)));
        let two = scope.spawn(|| write_over_http(server.address, count - count / 2, Random(!seed)));
        one.join().expect("a writer");
        two.join().expect("a writer");
        stop.store(true, Ordering::Release);
        auditors.map(|auditor| auditor.join().expect("an auditor"))
    });
    let took = begun.elapsed();
    let expected: Vec<Value> =
        ACCOUNTS.map(|path| server.talk().ask(&format!("GET {path}")).json()).into();
    for auditor in &auditors {
        let held: Vec<Value> = (0..4).map(|link| json!(auditor.balance(link))).collect();
        assert_eq!(held, expected, "seed {seed}: at the end");
        assert!(auditor.synced > 100, "seed {seed}: only {} synced messages", auditor.synced);
    }
    let read: Vec<_> = auditors.iter().map(|auditor| (auditor.messages, auditor.synced)).collect();
    println!("{count} commits in {took:?}; messages read, and synced ones: {read:?}");
}

#[test]
fn a_session_that_keeps_up_receives_each_commit_in_one_message() {
    // PROTOCOL L6: by waiting for each message, the reader surely keeps up.
    let server = serve();
    open_accounts(&server.api);
    let mut auditor = Auditor::new(server.address);
    let first = auditor.session.state();
    assert!(auditor.take(&first), "{first}");
    let runtime = runtime();
    let mut random = Random(seed());
    for n in 0..2000 {
        let before = [0, 1, 2, 3].map(|link| auditor.balance(link));
        // Never the present value, which would be no commit.
        let balance = (before[0] + 1 + random.below(1000) as i64) % SUM;
        let other = (before[2] + 1 + random.below(1000) as i64) % SUM;
        let mut commit =
            Commit::new().put(ACCOUNTS[0], &balance).put(ACCOUNTS[1], &(SUM - balance));
        if n % 2 == 0 {
            commit = commit.put(ACCOUNTS[2], &other).put(ACCOUNTS[3], &(SUM - other));
        }
        let written = runtime.block_on(api_commit(&server.api, commit));
        let message = auditor.session.state();
        assert!(
            auditor.take(&message),
            "a reader that waits is synced by every message: {message}"
        );
        assert_eq!(message["rev"], written, "{message}");
        assert_eq!(auditor.balance(0), balance, "{message}");
        assert_eq!(auditor.balance(2), if n % 2 == 0 { other } else { before[2] }, "{message}");
    }
}

async fn api_commit(api: &Api, commit: Commit) -> String {
    api.commit(commit).await.unwrap().remove(0).cursor
}
