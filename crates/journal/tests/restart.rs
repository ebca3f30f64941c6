//! Restarts: everything survives that a client could have seen, down to what it is told when it
//! resumes.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use halfping_engine::{
    Action, Condition, Cursor, Engine, Epoch, Json, Limits, Path, Pattern, Regions, Revision,
    Submitted, Tick, Timestamp, Watch, Write,
};
use halfping_journal::{Committer, Journal, Memory, Store, open};
use proptest::prelude::*;
use redb::backends::InMemoryBackend;
use serde_json::Value;

const EPOCH: u64 = 7;

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.tombstones_per_object = 6;
        limits.tombstones = 40;
    })
}

fn path(text: &str) -> Path {
    Path::parse(text, &limits()).unwrap()
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &limits()).unwrap()
}

fn write(path_text: &str, action: Action) -> Write {
    Write { path: path(path_text), action, condition: Condition::default() }
}

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    Write(u8, u8, u8),
    Fill(u8),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        30 => (0u8..30, 0u8..4, 0u8..8).prop_map(|(name, inner, what)| Step::Write(name, inner, what)),
        2 => (0u8..4).prop_map(Step::Fill),
        3 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..120)
}

fn writes(step: &Step, number: usize) -> Vec<Write> {
    let long = "x".repeat(200);
    match step {
        Step::Restart => Vec::new(),
        // More members than one row holds.
        Step::Fill(name) => (0..30)
            .map(|i| {
                write(
                    &format!("/c/big{name}/{i}"),
                    Action::Put(json(&format!("\"{long}{number}\""))),
                )
            })
            .collect(),
        Step::Write(name, inner, what) => {
            let at = match inner {
                0 => format!("/c/{name}"),
                1 => format!("/c/{name}/{what}"),
                2 => format!("/c/big{}/{name}", name % 4),
                _ => format!("/c/big{}", name % 4),
            };
            let action = match what {
                0 | 1 => Action::Delete,
                2 => Action::Put(json(&format!(r#"{{"x":{{"y":{number}}},"\n\u0000":"{long}"}}"#))),
                3 => Action::Merge(json(r#"{"x":{"y":null,"z":2},"w":null}"#)),
                4 => Action::Put(json("null")),
                _ => Action::Put(json(&number.to_string())),
            };
            vec![write(&at, action)]
        }
    }
}

fn restored<J: Journal>(journal: J) -> (Engine, Committer<J>) {
    with_regions(journal, Regions::default())
}

fn with_regions<J: Journal>(journal: J, regions: Regions) -> (Engine, Committer<J>) {
    let mut opened = open(journal, limits(), regions, Timestamp(0), &mut |_| {}).unwrap();
    opened.committer.start(&mut opened.engine).unwrap();
    (opened.engine, opened.committer)
}

fn commit<J: Journal>(
    engine: &mut Engine,
    committer: &mut Committer<J>,
    writes: &[Write],
    at: Timestamp,
) {
    if engine.submit(writes, at) == Submitted::Waits {
        let transaction = committer.begin(engine).expect("a commit is in line");
        let outcome = committer.write(&transaction);
        committer.end(engine, &transaction, outcome).unwrap();
    }
    engine.take_woken();
}

/// The frames that a reader with a cursor is sent.
fn told(
    engine: &mut Engine,
    at: &str,
    since: Option<Cursor>,
) -> Vec<(String, Value, Option<Revision>)> {
    let session = engine.open();
    engine.watch(session, 0, &Watch { since, ..Watch::new(path(at)) });
    engine.take_woken();
    let mut told = Vec::new();
    while let Some(update) = engine.next(session, Tick(0)) {
        let frame = update.frame.unwrap();
        let mut body = serde_json::from_slice(&frame.body).unwrap_or(Value::Null);
        if let Value::Array(operations) = &mut body {
            // The order of changes within one commit is free.
            operations.sort_by_key(ToString::to_string);
        }
        told.push((format!("{:?}", frame.kind), body, frame.revision));
    }
    engine.close(session);
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_restarted_engine_tells_everybody_what_it_would_have_told_them(steps in steps()) {
        let epoch = Epoch::from_random(EPOCH);
        let mut plain = Engine::new(limits(), epoch, Timestamp(0));
        let backend = std::sync::Arc::new(InMemoryBackend::new());
        let shared = move || Shared(backend.clone());
        let (mut engine, mut committer) = restored(Store::with_backend(shared.clone(), EPOCH).unwrap());
        let (mut model, mut model_committer) = restored(Memory::new(EPOCH));
        for (i, step) in steps.iter().enumerate() {
            let at = Timestamp(1000 + i as u64);
            let writes = writes(step, i);
            let _ = plain.commit(&writes, at);
            plain.take_woken();
            commit(&mut engine, &mut committer, &writes, at);
            commit(&mut model, &mut model_committer, &writes, at);
            if let Step::Restart = step {
                drop(committer);
                (engine, committer) = restored(Store::with_backend(shared.clone(), EPOCH).unwrap());
                (model, model_committer) = restored(model_committer.into_journal());
                for engine in [&engine, &model] {
                    prop_assert_eq!(engine.stats(), plain.stats());
                }
            }
        }
        let newest = plain.revision();
        for engine in [&mut engine, &mut model] {
            prop_assert_eq!(engine.revision(), newest);
            for at in ["/", "/c", "/c/3", "/c/big1", "/c/big1/3", "/c/7/x"] {
                let (ours, theirs) = (engine.read(&path(at), u32::MAX).unwrap(), plain.read(&path(at), u32::MAX).unwrap());
                prop_assert_eq!((ours.value, ours.revision), (theirs.value, theirs.revision), "{}", at);
                prop_assert!(ours.time <= theirs.time);
                for since in 0..=newest.0 {
                    let since = (since > 0).then_some(Cursor { epoch, revision: Revision(since) });
                    prop_assert_eq!(told(engine, at, since), told(&mut plain, at, since), "{} {:?}", at, since);
                }
            }
        }
    }
}

/// A backend that outlives its store.
#[derive(Debug, Clone)]
struct Shared(std::sync::Arc<InMemoryBackend>);

impl redb::StorageBackend for Shared {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
}

#[test]
fn what_was_ephemeral_is_gone_after_a_restart_and_its_readers_are_told() {
    let regions = || {
        let patterns = ["/live", "/v/*/p"].iter().map(|p| Pattern::parse(p, &limits()).unwrap());
        Regions::new(patterns.collect())
    };
    let epoch = Epoch::from_random(EPOCH);
    let mut opened =
        open(Memory::new(EPOCH), limits(), regions(), Timestamp(0), &mut |_| {}).unwrap();
    opened.committer.start(&mut opened.engine).unwrap();
    let (mut engine, mut committer) = (opened.engine, opened.committer);
    let put = |at: &str, value: &str| [write(at, Action::Put(json(value)))];
    commit(
        &mut engine,
        &mut committer,
        &put("/v", r#"{"a":{"p":1,"q":2},"b":{"p":1,"q":2}}"#),
        Timestamp(1),
    );
    commit(&mut engine, &mut committer, &put("/live/x", "1"), Timestamp(1));
    commit(&mut engine, &mut committer, &put("/v/a/p", "9"), Timestamp(1));
    commit(&mut engine, &mut committer, &put("/new/a", "9"), Timestamp(1));
    commit(&mut engine, &mut committer, &put("/v/b/p", "10"), Timestamp(1));
    let cursor = Cursor { epoch, revision: engine.revision() };
    let durable = engine.read(&path("/new"), 9).unwrap().revision;

    let mut opened =
        open(committer.into_journal(), limits(), regions(), Timestamp(2), &mut |_| {}).unwrap();
    opened.committer.start(&mut opened.engine).unwrap();
    let mut engine = opened.engine;
    let whole = engine.read(&path("/"), 9).unwrap().value.unwrap();
    assert_eq!(&whole[..], br#"{"v":{"a":{"q":2},"b":{"q":2}},"new":{"a":9}}"#);
    assert!(engine.revision() > cursor.revision);
    assert!(
        engine.read(&path("/new"), 9).unwrap().revision > durable,
        "the last batch comes again"
    );
    let told_of = |engine: &mut Engine, at: &str| {
        let told = told(engine, at, Some(cursor));
        told.into_iter()
            .map(|(kind, body, _)| format!("{kind} {body}"))
            .collect::<Vec<_>>()
            .join("; ")
    };
    assert_eq!(told_of(&mut engine, "/live"), "Gone null");
    assert_eq!(told_of(&mut engine, "/v/a/p"), "Gone null");
    assert_eq!(told_of(&mut engine, "/v/a/q"), "");
    assert_eq!(
        told_of(&mut engine, "/"),
        r#"Snapshot {"new":{"a":9},"v":{"a":{"q":2},"b":{"q":2}}}"#,
        "any member may have been ephemeral as far as a reader of the whole knows"
    );
}

#[test]
fn a_condition_that_held_before_a_restart_holds_after_it_for_what_is_still_there() {
    // PROTOCOL C5
    let regions = || Regions::new(vec![Pattern::parse("/v/*/p", &limits()).unwrap()]);
    let mut opened =
        open(Memory::new(EPOCH), limits(), regions(), Timestamp(0), &mut |_| {}).unwrap();
    opened.committer.start(&mut opened.engine).unwrap();
    let (mut engine, mut committer) = (opened.engine, opened.committer);
    let put = |at: &str, value: &str| [write(at, Action::Put(json(value)))];
    for (at, value) in [("/v", r#"{"a":{"p":1,"q":2}}"#), ("/d", "1"), ("/e", "1"), ("/v/a/p", "9")]
    {
        commit(&mut engine, &mut committer, &put(at, value), Timestamp(1));
    }
    let seen = engine.cursor(engine.revision());
    let holds =
        |engine: &Engine, at: &str| engine.is_among(&[seen], engine.metadata(&path(at)).cursor());
    let all = ["/d", "/v/a/q", "/v/a/p", "/v/a", "/v", "/"];
    assert!(all.iter().all(|at| holds(&engine, at)));

    let opened =
        open(committer.into_journal(), limits(), regions(), Timestamp(2), &mut |_| {}).unwrap();
    let holding: Vec<&str> = all.into_iter().filter(|at| holds(&opened.engine, at)).collect();
    assert_eq!(holding, ["/d", "/v/a/q"], "the others have lost what was ephemeral");
}

#[test]
fn what_came_back_to_hold_what_was_ephemeral_is_left_without_it() {
    let regions = || Regions::new(vec![Pattern::parse("/v/*/p", &limits()).unwrap()]);
    let reopen = |journal| with_regions(journal, regions());
    let (mut engine, mut committer) = reopen(Memory::new(EPOCH));
    commit(&mut engine, &mut committer, &[write("/v/a/q", Action::Put(json("1")))], Timestamp(1));
    commit(&mut engine, &mut committer, &[write("/v/a", Action::Delete)], Timestamp(1));
    // The tombstone is on disk.
    let (mut engine, mut committer) = reopen(committer.into_journal());
    commit(&mut engine, &mut committer, &[write("/v/a/p", Action::Put(json("1")))], Timestamp(1));
    let cursor = engine.cursor(engine.revision());
    let (mut engine, _) = reopen(committer.into_journal());
    let told = told(&mut engine, "/v/a", Some(cursor));
    let told: Vec<_> = told.iter().map(|(kind, body, _)| format!("{kind} {body}")).collect();
    assert_eq!(told, ["Snapshot {}"]);
}

#[test]
fn what_holds_an_ephemeral_part_is_durable() {
    let regions = || Regions::new(vec![Pattern::parse("/v/*/p", &limits()).unwrap()]);
    let opened = |journal| with_regions(journal, regions());
    let (mut engine, mut committer) = opened(Memory::new(EPOCH));
    let put = |at: &str, value: &str| [write(at, Action::Put(json(value)))];
    commit(&mut engine, &mut committer, &put("/v/a/p", "1"), Timestamp(1));
    // The write changes nothing, so nothing is written for it; it is acknowledged all the same.
    commit(&mut engine, &mut committer, &put("/v/a", "{}"), Timestamp(1));
    commit(&mut engine, &mut committer, &put("/v/a/p", "2"), Timestamp(1));
    let (engine, _) = opened(committer.into_journal());
    assert_eq!(&engine.read(&path("/"), 9).unwrap().value.unwrap()[..], br#"{"v":{"a":{}}}"#);
}
