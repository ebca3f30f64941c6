//! Cost of single steps of the engine: `cargo bench -p halfping-engine`.
//!
//! If a step needs another before it (a delta needs a commit), only the step itself is timed, many
//! at once. The budgets are in `BENCHMARKS.md`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use halfping_engine::{
    Action, Condition, Cursor, Engine, Epoch, Json, Limits, Path, Revision, SessionId, Submitted,
    Tick, Timestamp, Watch, Write,
};

/// Documents that follow one another at one path; enough of them that no cached result is left when
/// one comes again.
const VERSIONS: usize = 64;
/// Members of a large object.
const MANY: usize = 10_000;
/// Readers of one resource.
const READERS: usize = 1000;

fn engine() -> Engine {
    Engine::new(Limits::default(), Epoch::from_random(7), Timestamp(0))
}

fn path(text: &str) -> Path {
    Path::parse(text, &Limits::default()).expect("a good path")
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).expect("good JSON")
}

fn put(at: &str, value: &str) -> Write {
    Write { path: path(at), action: Action::Put(json(value)), condition: Condition::default() }
}

/// A vehicle's telemetry: ten members, of which position, speed and time differ from version to
/// version.
fn document(version: usize) -> String {
    format!(
        r#"{{"id":"bus-0417","route":"801","headsign":"801 TECH RIDGE","latitude":{:.6},"longitude":{:.6},"speed_mps":{:.5},"bearing_deg":184.5,"occupancy":"few","doors":"closed","reported_ms":{}}}"#,
        30.26 + version as f64 * 1e-5,
        -97.74 - version as f64 * 1e-5,
        10.0 + version as f64 * 0.01,
        1_490_072_402_000u64 + version as u64 * 1000,
    )
}

/// Writes of a document at one path, to be committed in turn.
fn versions(at: &str) -> Vec<[Write; 1]> {
    (0..VERSIONS).map(|version| [put(at, &document(version))]).collect()
}

fn commit(engine: &mut Engine, writes: &[Write]) {
    engine.commit(writes, Timestamp(0)).expect("a good commit");
}

/// Opens a session with one link.
fn reader(engine: &mut Engine, at: &str) -> SessionId {
    let session = engine.open();
    engine.watch(session, 0, &Watch::new(path(at)));
    session
}

fn drain(engine: &mut Engine, session: SessionId) -> usize {
    let mut bytes = 0;
    while let Some(update) = engine.next(session, Tick(0)) {
        bytes += update.frame.expect("no limit is reached").body.len();
    }
    bytes
}

fn drain_all(engine: &mut Engine, sessions: &[SessionId]) {
    engine.take_woken();
    for session in sessions {
        drain(engine, *session);
    }
}

/// Times `step` over and over; `before` is not timed.
fn timed<S>(
    rounds: u64,
    state: &mut S,
    mut before: impl FnMut(&mut S),
    mut step: impl FnMut(&mut S),
) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        before(state);
        let start = Instant::now();
        step(state);
        total += start.elapsed();
    }
    total
}

fn parsing(c: &mut Criterion) {
    let text = document(0);
    let limits = Limits::default();
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("10 members", |b| {
        b.iter(|| Json::parse(black_box(text.as_bytes()), &limits).expect("good JSON"));
    });
    group.finish();
}

fn commits(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    let writes = versions("/vehicles/bus-0417");
    group.bench_function("10 members, 4 change, no links", |b| {
        let mut engine = engine();
        let mut turns = writes.iter().cycle();
        b.iter(|| commit(&mut engine, turns.next().expect("endless")));
    });
    group.bench_function("10 members, none changes, no links", |b| {
        let mut engine = engine();
        commit(&mut engine, &writes[0]);
        b.iter(|| commit(&mut engine, &writes[0]));
    });
    group.bench_function("10 members, 4 change, among 10,000 documents", |b| {
        let mut engine = engine();
        let text = document(0);
        for vehicle in 0..MANY {
            commit(&mut engine, &[put(&format!("/vehicles/bus-{vehicle:05}"), &text)]);
        }
        let mut turns = writes.iter().cycle();
        b.iter(|| commit(&mut engine, turns.next().expect("endless")));
    });
    group.bench_function("10 members, 4 change, 1 pending link", |b| {
        let mut engine = engine();
        reader(&mut engine, "/vehicles/bus-0417");
        let mut turns = writes.iter().cycle();
        engine.take_woken();
        b.iter(|| {
            commit(&mut engine, turns.next().expect("endless"));
            engine.take_woken()
        });
    });
    group.finish();
}

/// A durable commit: made, queued and applied. Each adds a member to one collection, in which this
/// many wait together.
fn waiting(c: &mut Criterion) {
    let mut group = c.benchmark_group("durable commit");
    for waiting in [10, 100, 1000, 10_000] {
        let writes: Vec<[Write; 1]> =
            (0..waiting).map(|member| [put(&format!("/collection/{member}"), "1")]).collect();
        group.bench_function(BenchmarkId::new("as many wait in one collection", waiting), |b| {
            b.iter_custom(|rounds| {
                let batches = rounds.div_ceil(waiting);
                let mut total = Duration::ZERO;
                for _ in 0..batches {
                    let mut engine = engine();
                    commit(&mut engine, &[put("/collection", "{}")]);
                    let start = Instant::now();
                    for write in &writes {
                        assert_eq!(engine.submit(write, Timestamp(0)), Submitted::Waits);
                    }
                    black_box(engine.take_batch());
                    black_box(engine.settle());
                    total += start.elapsed();
                }
                total.mul_f64(rounds as f64 / (batches * waiting) as f64)
            });
        });
    }
    group.finish();
}

/// A commit that finds idle links: it hands each to its session.
fn marking(c: &mut Criterion) {
    let mut group = c.benchmark_group("mark");
    let at = "/vehicles/bus-0417";
    let writes = versions(at);
    for links in [1, READERS] {
        group.throughput(Throughput::Elements(links as u64));
        group.bench_function(
            BenchmarkId::new("commit, idle links of as many sessions", links),
            |b| {
                let mut engine = engine();
                let sessions: Vec<SessionId> =
                    (0..links).map(|_| reader(&mut engine, at)).collect();
                let mut turns = writes.iter().cycle();
                b.iter_custom(|rounds| {
                    timed(
                        rounds,
                        &mut engine,
                        |engine| drain_all(engine, &sessions),
                        |engine| commit(engine, turns.next().expect("endless")),
                    )
                });
            },
        );
    }
    group.throughput(Throughput::Elements(READERS as u64));
    group.bench_function(BenchmarkId::new("commit, idle links of one session", READERS), |b| {
        let mut engine = engine();
        let session = engine.open();
        for tag in 0..READERS {
            engine.watch(session, tag as u32, &Watch::new(path(at)));
        }
        let mut turns = writes.iter().cycle();
        b.iter_custom(|rounds| {
            timed(
                rounds,
                &mut engine,
                |engine| drain_all(engine, &[session]),
                |engine| commit(engine, turns.next().expect("endless")),
            )
        });
    });
    group.finish();
}

/// An object of `members` short members.
fn wide(members: usize) -> String {
    let list: Vec<String> = (0..members).map(|m| format!("\"member-{m:05}\":{m}")).collect();
    format!("{{{}}}", list.join(","))
}

/// One reader each of many alike objects, so that nothing is shared. One member of each changes,
/// then all readers are served.
fn deltas(c: &mut Criterion) {
    let mut group = c.benchmark_group("delta");
    for (members, objects) in [(10, 100), (MANY, 20)] {
        let mut engine = engine();
        let text = wide(members);
        let mut sessions = Vec::new();
        let mut fresh = 0u64;
        for object in 0..objects {
            commit(&mut engine, &[put(&format!("/wide/{object}"), &text)]);
            sessions.push(reader(&mut engine, &format!("/wide/{object}")));
        }
        let writes: Vec<Vec<Write>> = (0..VERSIONS)
            .map(|v| {
                (0..objects)
                    .map(|object| {
                        put(
                            &format!("/wide/{object}/member-{:05}", v % members),
                            &format!("{}", v + 1),
                        )
                    })
                    .collect()
            })
            .collect();
        let mut turns = writes.iter().cycle();
        group.throughput(Throughput::Elements(objects as u64));
        group.bench_function(format!("1 of {members} members changed"), |b| {
            drain_all(&mut engine, &sessions);
            b.iter_custom(|rounds| {
                timed(
                    rounds,
                    &mut engine,
                    |engine| {
                        fresh += 1;
                        let mut writes = turns.next().expect("endless").clone();
                        for write in &mut writes {
                            write.action = Action::Put(json(&(1_000_000 + fresh).to_string()));
                        }
                        commit(engine, &writes);
                        engine.take_woken();
                    },
                    |engine| {
                        for session in &sessions {
                            black_box(engine.next(*session, Tick(0)).expect("each has changed"));
                            assert!(engine.next(*session, Tick(0)).is_none());
                        }
                    },
                )
            });
        });
    }
    group.finish();
}

fn snapshots(c: &mut Criterion) {
    let mut group = c.benchmark_group("snapshot");
    let mut engine = engine();
    commit(&mut engine, &[put("/document", &document(0))]);
    commit(&mut engine, &[put("/wide", &wide(MANY))]);
    for (name, at) in [("read, 10 members", "/document"), ("read, 10,000 members", "/wide")] {
        let at = path(at);
        let len =
            engine.read(&at, u32::MAX).expect("small enough").value.expect("it is there").len();
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |b| b.iter(|| engine.read(black_box(&at), u32::MAX)));
    }
    for (name, at) in [
        ("first sight, 10 members", "/document"),
        ("first sight in slices, 10,000 members", "/wide"),
    ] {
        let watch = Watch::new(path(at));
        let session = reader(&mut engine, at);
        group.throughput(Throughput::Bytes(drain(&mut engine, session) as u64));
        engine.close(session);
        let session = engine.open();
        group.bench_function(name, |b| {
            b.iter(|| {
                engine.watch(session, 0, &watch);
                engine.take_woken();
                let bytes = drain(&mut engine, session);
                engine.unwatch(session, 0);
                bytes
            });
        });
        engine.close(session);
    }
    group.finish();
}

/// A reader resumes after 1,000 commits that touched `k` of 10,000 members: the cost must grow with
/// `k` alone.
fn resuming(c: &mut Criterion) {
    let mut group = c.benchmark_group("resume");
    for touched in [10, 100] {
        let mut engine = engine();
        commit(&mut engine, &[put("/wide", &wide(MANY))]);
        let since = engine.revision();
        for round in 0..1000 {
            let member = (round % touched) * (MANY / touched);
            commit(
                &mut engine,
                &[put(&format!("/wide/member-{member:05}"), &format!("\"new {round}\""))],
            );
        }
        let since: Option<Cursor> = Some(engine.cursor(since));
        let watch = Watch { since, ..Watch::new(path("/wide")) };
        let mut resume = move || {
            let session = engine.open();
            engine.watch(session, 0, &watch);
            engine.take_woken();
            let bytes = drain(&mut engine, session);
            engine.close(session);
            assert!(engine.revision() > Revision::NONE);
            bytes
        };
        group.throughput(Throughput::Bytes(resume() as u64));
        group.bench_function(
            format!("1,000 commits missed, {touched} of 10,000 members touched"),
            |b| {
                b.iter(&mut resume);
            },
        );
    }
    group.finish();
}

/// All readers of one resource take the frame that was made for the first of them.
fn sharing(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out");
    let at = "/vehicles/bus-0417";
    let writes = versions(at);
    let mut engine = engine();
    let sessions: Vec<SessionId> = (0..READERS).map(|_| reader(&mut engine, at)).collect();
    drain_all(&mut engine, &sessions);
    let mut turns = writes.iter().cycle();
    group.throughput(Throughput::Elements(READERS as u64));
    group.bench_function(BenchmarkId::new("next, shared by readers", READERS), |b| {
        b.iter_custom(|rounds| {
            timed(
                rounds,
                &mut engine,
                |engine| {
                    commit(engine, turns.next().expect("endless"));
                    engine.take_woken();
                },
                |engine| {
                    for session in &sessions {
                        black_box(engine.next(*session, Tick(0)));
                    }
                },
            )
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = parsing, commits, waiting, marking, deltas, snapshots, resuming, sharing
}
criterion_main!(benches);
