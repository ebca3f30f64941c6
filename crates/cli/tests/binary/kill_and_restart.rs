//! The server is killed again and again while many write and follow. After each restart every
//! acknowledged write is there, with the cursor that was told. Every unanswered write is there
//! whole or not at all. Readers that resume end with the answer of a fresh `GET`.
//!
//! `HALFPING_CRASH=full` makes it 200 rounds. `HALFPING_SEED` repeats the choices, but not the
//! system's timing.

use crate::common;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::disk::{self, Answer, Http, PATIENCE, Start, more};
use crate::raw::{Random, seed};
use crate::session::{self, Mirrors, Phase, Session, Told};
use halfping_client::{Client, Event, Kind, Mirror, WatchOptions};
use serde_json::{Value, json};
use tokio::sync::watch;

const WATCHED: [&str; 9] =
    ["/", "/", "/put", "/put/3", "/pairs", "/other", "/again", "/counters", "/live"];
const SESSIONS: usize = 2;
/// A value of fewer bytes may be shorter than its own patch (S4).
const SMALL_BYTES: usize = 100;
/// Writes that are acknowledged in a round before the server is killed, however slow the machine
/// is.
const ROUND_WRITES: u64 = 100;

fn rounds() -> u64 {
    match std::env::var("HALFPING_CRASH").as_deref() {
        Ok("full") => 200,
        _ => 6,
    }
}

/// State shared by all threads.
struct World {
    phase: Mutex<Phases>,
    turn: Condvar,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    /// Counters: additions that were acknowledged, and those that were not answered.
    added: Vec<(AtomicU64, AtomicU64)>,
}

#[derive(Default)]
struct Phases {
    /// The current round: writers write until they lose the server.
    round: u64,
    waiting: usize,
    is_over: bool,
}

impl World {
    /// Waits for the next round. False, when there is none.
    fn next(&self, round: &mut u64) -> bool {
        let mut phase = self.phase.lock().unwrap();
        phase.waiting += 1;
        self.turn.notify_all();
        while phase.round == *round && !phase.is_over {
            phase = self.turn.wait(phase).unwrap();
        }
        *round = phase.round;
        !phase.is_over
    }

    fn begin(&self, writers: usize, is_over: bool) {
        let mut phase = self.phase.lock().unwrap();
        while phase.waiting < writers {
            let (now, wait) = self.turn.wait_timeout(phase, PATIENCE).unwrap();
            assert!(!wait.timed_out(), "only {} of {writers} writers are done", now.waiting);
            phase = now;
        }
        (phase.waiting, phase.is_over) = (0, is_over);
        phase.round += 1;
        self.turn.notify_all();
    }

    fn wait_for_all(&self, writers: usize) {
        let mut phase = self.phase.lock().unwrap();
        while phase.waiting < writers {
            let (now, wait) = self.turn.wait_timeout(phase, PATIENCE).unwrap();
            assert!(!wait.timed_out(), "only {} of {writers} writers are done", now.waiting);
            phase = now;
        }
    }
}

/// A writer's knowledge of one resource. `None`: nothing is there.
#[derive(Clone, Debug, Default)]
struct Known {
    value: Option<Value>,
    /// The ETag of the last acknowledged write.
    etag: Option<String>,
    /// The other possible value: that of a write that was not answered.
    doubted: Option<Option<Value>>,
}

/// The knowledge of one writer: resources that it alone writes. A write may be to several at once.
#[derive(Default)]
struct Knowledge {
    resources: HashMap<String, Known>,
    /// True if the last write of several resources was not answered.
    doubted: bool,
}

/// Results of the comparisons after restarts.
#[derive(Default, Debug)]
struct Found {
    lost: u64,
    partial: u64,
    doubted: u64,
    doubted_there: u64,
    /// Resources with a later cursor than was told: allowed after ephemeral commits, for the last
    /// transaction.
    renamed: u64,
    compared: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Job {
    Put,
    Pairs,
    Again,
    Conditional,
    Counter,
    Live,
}

const JOBS: [Job; 20] = {
    use Job::{Again, Conditional, Counter, Live, Pairs, Put};
    [
        Put,
        Put,
        Put,
        Put,
        Put,
        Put,
        Pairs,
        Pairs,
        Pairs,
        Pairs,
        Again,
        Again,
        Again,
        Conditional,
        Conditional,
        Conditional,
        Counter,
        Counter,
        Counter,
        Live,
    ]
};

struct Writer {
    number: usize,
    job: Job,
    world: Arc<World>,
    knowledge: Arc<Mutex<Knowledge>>,
    http: Http,
    random: Random,
    sequence: u64,
}

impl Writer {
    fn run(mut self) {
        let mut round = 0;
        while self.world.next(&mut round) {
            // A stopping server closes connections; the next connection is for the next round.
            while self.step() && self.http.is_open() {}
        }
    }

    /// Makes one write. False, when the server is gone.
    fn step(&mut self) -> bool {
        self.sequence += 1;
        let (w, n) = (self.number, self.sequence);
        match self.job {
            Job::Put => {
                let path = format!("/put/{w}/{}", self.random.below(8));
                // Some are large, so that the log fills and objects are split into rows.
                let pad = "p".repeat(if self.random.below(4) == 0 { 6000 } else { 50 });
                let value = json!({ "n": n, "pad": pad });
                self.write("PUT", &path, &[], &value.to_string(), &[(&path, Some(value.clone()))])
            }
            Job::Pairs => {
                let body = json!({
                    "pairs": { w.to_string(): { "a": n, "b": n } },
                    "other": { w.to_string(): n },
                });
                let there = [
                    (format!("/pairs/{w}"), Some(json!({ "a": n, "b": n }))),
                    (format!("/other/{w}"), Some(json!(n))),
                ];
                let there: Vec<_> =
                    there.iter().map(|(path, value)| (path.as_str(), value.clone())).collect();
                let header = ["Content-Type: application/merge-patch+json"];
                self.write("PATCH", "/", &header, &body.to_string(), &there)
            }
            Job::Again => {
                let path = format!("/again/{w}/{}", self.random.below(5));
                let is_there = self
                    .knowledge
                    .lock()
                    .unwrap()
                    .resources
                    .get(&path)
                    .is_some_and(|k| k.value.is_some());
                match is_there {
                    true => self.write("DELETE", &path, &[], "", &[(&path, None)]),
                    false => {
                        let value = json!({ "n": n, "in": { "deep": [n] } });
                        self.write(
                            "PUT",
                            &path,
                            &[],
                            &value.to_string(),
                            &[(&path, Some(value.clone()))],
                        )
                    }
                }
            }
            Job::Conditional => {
                let path = format!("/put/{w}");
                let etag = self
                    .knowledge
                    .lock()
                    .unwrap()
                    .resources
                    .get(&path)
                    .and_then(|k| k.etag.clone());
                let header =
                    etag.map_or("If-None-Match: *".to_owned(), |etag| format!("If-Match: {etag}"));
                let value = json!({ "n": n });
                self.write(
                    "PUT",
                    &path,
                    &[&header],
                    &value.to_string(),
                    &[(&path, Some(value.clone()))],
                )
            }
            Job::Live => {
                let path = "/live/x".to_owned();
                match self.http.ask("PUT", &path, &[], &n.to_string()) {
                    Ok(answer) => answer.status < 300,
                    Err(_) => false,
                }
            }
            Job::Counter => self.count(),
        }
    }

    /// Adds one to a counter that others add to as well.
    fn count(&mut self) -> bool {
        let which = self.random.below(self.world.added.len() as u64) as usize;
        let path = format!("/counters/{which}");
        let Ok(answer) = self.http.ask("GET", &path, &[], "") else { return false };
        let (value, condition) = match answer.status {
            200 => (answer.json().as_u64().unwrap(), format!("If-Match: {}", answer.etag())),
            404 => (0, "If-None-Match: *".to_owned()),
            _ => return false,
        };
        let (surely, perhaps) = &self.world.added[which];
        match self.http.ask("PUT", &path, &[&condition], &(value + 1).to_string()) {
            Ok(answer) if answer.status < 300 => {
                self.world.acknowledged.fetch_add(1, Ordering::Relaxed);
                surely.fetch_add(1, Ordering::Relaxed);
                true
            }
            Ok(answer) if answer.status == 412 => true,
            Ok(answer) => {
                assert_eq!(answer.problem(), "draining", "{answer:?}");
                false
            }
            Err(_) => {
                perhaps.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// Writes, and records the result. False, when the server is gone.
    fn write(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
        then: &[(&str, Option<Value>)],
    ) -> bool {
        let outcome = self.http.ask(method, path, headers, body);
        let mut knowledge = self.knowledge.lock().unwrap();
        match outcome {
            Ok(Answer { status: 200..300, headers, .. }) => {
                self.world.acknowledged.fetch_add(1, Ordering::Relaxed);
                let etag =
                    headers.into_iter().find(|(name, _)| name == "etag").map(|(_, etag)| etag);
                for (at, value) in then {
                    // The ETag is that of the written path: it is unknown for the others.
                    let etag = etag.clone().filter(|_| *at == path && value.is_some());
                    let known = Known { value: value.clone(), etag, doubted: None };
                    knowledge.resources.insert((*at).to_owned(), known);
                }
                true
            }
            Ok(answer) => {
                assert_eq!(answer.problem(), "draining", "{method} {path} {headers:?}: {answer:?}");
                self.world.refused.fetch_add(1, Ordering::Relaxed);
                false
            }
            Err(_) => {
                knowledge.doubted = true;
                for (at, value) in then {
                    knowledge.resources.entry((*at).to_owned()).or_default().doubted =
                        Some(value.clone());
                }
                false
            }
        }
    }
}

/// Compares a writer's knowledge with the server's state, and replaces it by that.
fn compare(knowledge: &mut Knowledge, http: &mut Http, is_renaming: bool, found: &mut Found) {
    let mut doubts = Vec::new();
    for (path, known) in &mut knowledge.resources {
        let answer = http.ask("GET", path, &[], "").unwrap();
        let value = (answer.status == 200).then(|| answer.json());
        found.compared += 1;
        let is_known = value == known.value;
        match known.doubted.take() {
            Some(doubted) if doubted == value => doubts.push(!is_known),
            Some(_) if is_known => doubts.push(false),
            None if is_known => {
                if let (Some(told), true) = (&known.etag, value.is_some())
                    && *told != answer.etag()
                {
                    let is_later = session::revision(answer.etag().trim_matches('"'))
                        > session::revision(told.trim_matches('"'));
                    assert!(is_renaming && is_later, "{path} was {told}, and is {}", answer.etag());
                    found.renamed += 1;
                }
            }
            doubted => {
                println!("LOST: {path} is {value:?}, not {:?} or {doubted:?}", known.value);
                found.lost += 1;
            }
        }
        known.etag = value.is_some().then(|| answer.etag());
        known.value = value;
    }
    if std::mem::take(&mut knowledge.doubted) {
        found.doubted += 1;
        found.doubted_there += u64::from(doubts.iter().all(|there| *there));
        if doubts.iter().any(|there| *there != doubts[0]) {
            println!("PARTIAL: {:?}", knowledge.resources);
            found.partial += 1;
        }
    }
}

/// The expected states of readers.
#[derive(Default)]
struct Expected {
    round: u64,
    states: HashMap<String, (Option<String>, Option<Value>)>,
}

/// Counts of resumed readers.
#[derive(Default)]
struct Resumed {
    /// Restarts after which a reader resumed with a cursor.
    all: AtomicU64,
    /// Those after which it was sent no snapshot.
    without_snapshot: AtomicU64,
}

/// Follows a path through restarts.
async fn follow(
    client: Client,
    path: &'static str,
    mut up: watch::Receiver<bool>,
    mut expected: watch::Receiver<Arc<Expected>>,
    done: Sender<String>,
    resumed: Arc<Resumed>,
) {
    let mut mirror = Mirror::new();
    let mut since = None;
    let mut told = 0;
    loop {
        if up.wait_for(|up| *up).await.is_err() {
            return;
        }
        let has_cursor = since.is_some();
        let mut stream =
            client.watch(path, WatchOptions { since, ..WatchOptions::default() }).unwrap();
        let (mut is_synced, mut has_snapshot) = (false, false);
        loop {
            let want = expected.borrow_and_update().clone();
            if want.round > told && is_synced && mirror.is_complete() {
                let (cursor, value) = &want.states[path];
                let is_named = value.is_none()
                    || mirror.cursor().map(halfping_client::Cursor::as_str) == cursor.as_deref();
                if is_named && mirror.value() == value.as_ref() {
                    told = want.round;
                    if has_cursor {
                        resumed.all.fetch_add(1, Ordering::Relaxed);
                        resumed
                            .without_snapshot
                            .fetch_add(u64::from(!has_snapshot), Ordering::Relaxed);
                    }
                    let _ = done.send(path.to_owned());
                }
            }
            let event = tokio::select! {
                event = stream.next() => event.unwrap(),
                changed = expected.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            match event {
                Event::Connected { .. } => {}
                Event::Frame(frame) => {
                    let len = frame.value.as_ref().map_or(0, |value| value.get().len());
                    has_snapshot |= !is_synced && frame.kind == Kind::Snapshot && len > SMALL_BYTES;
                    is_synced |= frame.kind == Kind::Synced;
                    mirror.apply(&frame).unwrap();
                }
                Event::Lost { .. } => break,
            }
        }
        since = stream.cursor().cloned();
        // The flag is cleared after the server is killed, and a server that is being killed may
        // still take connections.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A session with a link to each path, through restarts.
fn follow_by_session(
    address: SocketAddr,
    is_over: &AtomicBool,
    expected: &watch::Receiver<Arc<Expected>>,
    done: &Sender<String>,
    resumed: &Resumed,
) {
    let paths = &WATCHED[1..];
    let mut mirrors = Mirrors::new(false);
    let mut told = 0;
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut session) = Session::try_open(address, "/") else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let since = mirrors.synced.clone();
        let pairs =
            Value::from_iter(paths.iter().enumerate().map(|(link, path)| json!([link, path])));
        let mut command = json!({ "ref": 1, "watch": pairs });
        if let Some(since) = &since {
            command["since"] = json!(since);
        }
        for link in 0..paths.len() as u64 {
            if !mirrors.views.contains_key(&link) {
                mirrors.open(link, Phase::Opening);
            }
        }
        if session.try_say(&command).is_err() {
            continue;
        }
        let (mut is_synced, mut snapshots) = (false, 0);
        while !is_over.load(Ordering::Relaxed) {
            let want = expected.borrow().clone();
            let is_there = |(link, path): (usize, &&str)| {
                let value = &mirrors.views[&(link as u64)].value;
                *value == want.states[*path].1
            };
            if want.round > told && is_synced && paths.iter().enumerate().all(is_there) {
                told = want.round;
                if since.is_some() {
                    resumed.all.fetch_add(paths.len() as u64, Ordering::Relaxed);
                    resumed
                        .without_snapshot
                        .fetch_add(paths.len() as u64 - snapshots, Ordering::Relaxed);
                }
                let _ = done.send("a session".to_owned());
            }
            match session.next_within(Duration::from_millis(20)) {
                Told::Message(message) if message.get("ref").is_some() => {
                    assert_eq!(message["status"], 200, "{message}");
                    mirrors.views.values_mut().for_each(|view| view.phase = Phase::Open);
                }
                Told::Message(message) => {
                    let changes = message["set"].as_array().map_or(&[][..], Vec::as_slice);
                    if !is_synced {
                        let is_snapshot =
                            |c: &&Value| c[1] == "snapshot" && c[2].to_string().len() > SMALL_BYTES;
                        snapshots += changes.iter().filter(is_snapshot).count() as u64;
                    }
                    is_synced |= mirrors.take(&message);
                }
                Told::Nothing => {}
                Told::Closed(_) | Told::Cut => break,
            }
        }
        mirrors.cut();
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nobody_has_to_begin_anew() {
    // PROTOCOL C1, C2, C4, S8, L6, W6
    let mut random = Random(seed());
    let data = disk::directory("kill_and_restart");
    let address = disk::address();
    let ephemeral = data.join("ephemeral.toml");
    std::fs::write(&ephemeral, "[regions]\nephemeral = [\"/live\"]\n").unwrap();
    let mut start = Start::new(&data.join("data"), address);

    let world = Arc::new(World {
        phase: Mutex::default(),
        turn: Condvar::new(),
        acknowledged: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        added: (0..2).map(|_| Default::default()).collect(),
    });
    let mut known = Vec::new();
    let mut threads = Vec::new();
    for (number, job) in JOBS.into_iter().enumerate() {
        let knowledge = Arc::<Mutex<Knowledge>>::default();
        known.push(knowledge.clone());
        let writer = Writer {
            number,
            job,
            world: world.clone(),
            knowledge,
            http: Http::new(address),
            random: Random(random.next()),
            sequence: 0,
        };
        threads.push(thread::spawn(move || writer.run()));
    }
    let writers = threads.len();

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let client = Client::new(&format!("http://{address}")).unwrap();
    let (up, is_up) = watch::channel(false);
    let (expect, expected) = watch::channel(Arc::new(Expected::default()));
    let (done, dones) = channel();
    let resumed = Arc::<Resumed>::default();
    for path in WATCHED {
        let reader = follow(
            client.clone(),
            path,
            is_up.clone(),
            expected.clone(),
            done.clone(),
            resumed.clone(),
        );
        runtime.spawn(reader);
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let by_session = Arc::<Resumed>::default();
    for _ in 0..SESSIONS {
        let (is_over, expected, done, resumed) =
            (is_over.clone(), expected.clone(), done.clone(), by_session.clone());
        threads.push(thread::spawn(move || {
            follow_by_session(address, &is_over, &expected, &done, &resumed);
        }));
    }

    let mut found = Found::default();
    let (mut asked, mut early, mut slowest) = (0, 0, Duration::ZERO);
    let mut was_ephemeral = false;
    // For the whole run: a durable value cannot become ephemeral later.
    start.config = (random.below(2) == 0).then_some(ephemeral);
    let has_own = random.below(2) == 0;
    start.console = Some(if has_own { "on" } else { "off" });
    let rounds = rounds();
    for round in 1..=rounds + 1 {
        // Some servers are killed before they serve, the very first among them.
        while random.below(3) == 0 {
            let server = start.begin();
            thread::sleep(Duration::from_micros(random.below(40_000)));
            server.kill();
            early += 1;
        }
        let began = Instant::now();
        let server = start.serve();
        slowest = slowest.max(began.elapsed());
        up.send_replace(true);

        let is_ephemeral = start.config.is_some();
        let mut http = Http::new(address);
        world.wait_for_all(writers);
        if is_ephemeral || was_ephemeral {
            assert_eq!(
                http.ask("GET", "/live", &[], "").unwrap().status,
                404,
                "what is ephemeral came back"
            );
        }
        for knowledge in &known {
            let is_renaming = is_ephemeral || was_ephemeral;
            compare(&mut knowledge.lock().unwrap(), &mut http, is_renaming, &mut found);
        }
        let pairs = http.ask("GET", "/", &[], "").unwrap().json();
        for (name, pair) in pairs["pairs"].as_object().into_iter().flatten() {
            assert!(
                pair["a"] == pair["b"] && pair["a"] == pairs["other"][name],
                "half a commit: {name}: {pair}"
            );
        }
        for (which, (surely, perhaps)) in world.added.iter().enumerate() {
            let value = pairs["counters"][which.to_string()].as_u64().unwrap_or(0);
            let surely = surely.load(Ordering::Relaxed);
            let perhaps = perhaps.load(Ordering::Relaxed);
            assert!(
                surely <= value && value <= surely + perhaps,
                "{surely} + {perhaps} make {value}"
            );
        }

        let states = WATCHED.iter().map(|path| {
            let answer = http.ask("GET", path, &[], "").unwrap();
            let state = match answer.status {
                200 => (Some(answer.etag().trim_matches('"').to_owned()), Some(answer.json())),
                404 => (None, None),
                other => panic!("{other}"),
            };
            ((*path).to_owned(), state)
        });
        expect.send_replace(Arc::new(Expected { round, states: states.collect() }));
        let mut missing: Vec<&str> =
            WATCHED.iter().copied().chain(["a session"; SESSIONS]).collect();
        while !missing.is_empty() {
            let Ok(one) = dones.recv_timeout(PATIENCE) else {
                panic!("in round {round}, these do not hold what is there: {missing:?}")
            };
            let at = missing.iter().position(|path| *path == one).unwrap();
            missing.remove(at);
        }
        assert_eq!((found.lost, found.partial), (0, 0), "{found:?}");

        // The own state takes no revision of the tree.
        let own = http.ask("GET", "/_server/status", &[], "").unwrap();
        assert_eq!(own.status, if has_own { 200 } else { 404 });
        world.begin(writers, round > rounds);
        if round > rounds {
            break;
        }
        // A different moment each time, and not before some writes.
        let moment = Duration::from_millis(100 + random.below(500));
        more("writes are acknowledged in this round", &world.acknowledged, ROUND_WRITES);
        thread::sleep(moment);
        up.send_replace(false);
        match random.below(5) {
            0 => {
                asked += 1;
                assert!(server.stop().success());
            }
            _ => drop(server.kill()),
        }
        was_ephemeral = is_ephemeral;
    }
    is_over.store(true, Ordering::Relaxed);
    drop((up, expect));
    for thread in threads {
        thread.join().unwrap();
    }
    let share = |resumed: &Resumed| {
        let (all, without) =
            (resumed.all.load(Ordering::Relaxed), resumed.without_snapshot.load(Ordering::Relaxed));
        (without as f64 / all.max(1) as f64, all)
    };
    let acknowledged = world.acknowledged.load(Ordering::Relaxed);
    println!(
        "{rounds} rounds ({asked} by SIGTERM) and {early} kills during start-up; {acknowledged} writes acknowledged, {} refused; {found:?}",
        world.refused.load(Ordering::Relaxed)
    );
    println!(
        "resumed without a snapshot: streams {:.3} of {}, links of sessions {:.3} of {}; slowest start {slowest:?}",
        share(&resumed).0,
        share(&resumed).1,
        share(&by_session).0,
        share(&by_session).1
    );
    assert!(acknowledged >= ROUND_WRITES * rounds, "too little happened");
    assert!(asked == rounds || found.doubted > 0, "no kill left a write in doubt");
    for resumed in [&resumed, &by_session] {
        assert!(share(resumed).0 >= 0.9, "too many had to begin anew");
    }
}

#[test]
fn whenever_it_is_asked_to_a_server_stops() {
    let mut random = Random(seed());
    let data = disk::directory("asked_to_stop");
    let start = Start::new(&data.join("data"), disk::address());
    for round in 0..rounds() {
        let server = match round % 2 {
            // As soon as the server says that it listens, or at any time before.
            0 => start.serve(),
            _ => {
                let server = start.begin();
                thread::sleep(Duration::from_micros(random.below(30_000)));
                server
            }
        };
        let status = server.stop();
        // Before the server listens for signals, a signal ends it.
        assert!(status.success() || status.code().is_none(), "{status}");
    }
    let mut demo = common::halfping();
    demo.args(["demo", "--listen", &start.address.to_string(), "--data"]).arg(data.join("demo"));
    let demo = start.of(demo).unwrap_or_else(|said| panic!("{said}"));
    let mut http = Http::new(start.address);
    assert_eq!(http.ask("GET", "/fleet", &[], "").unwrap().status, 200);
    assert!(demo.stop().success());
}
