//! Contents of the disk after a power cut, at every write of a run: a state that was acknowledged,
//! or the one that was being written, whole.
//!
//! A backend records all writes and syncs. For each place between them, images of the disk are
//! built: all that was synced, and of the rest some writes dropped, kept, kept in part, or torn in
//! the middle. Each image is opened. A failed sync is taken at its worst: readers see the bytes
//! that it was to bring to disk, and no later sync brings them there.
//!
//! By default every 16th place is tried; `HALFPING_POWER_CUT=full` tries all. `HALFPING_SEED`
//! repeats the choices.

// The helpers here are tests too; clippy sees only functions marked so.
#![allow(clippy::unwrap_used)]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use halfping_engine::{
    Action, Condition, Engine, Json, Limits, Path, Regions, Revision, Submitted, Timestamp, Write,
};
use halfping_journal::{Fault, FaultKind, Journal, Store, Transaction, open};

const EPOCH: u64 = 7;
const TRANSACTIONS: usize = 400;
/// Bytes that the disk writes whole.
const SECTOR: usize = 512;

/// A small random number generator (SplitMix64): the same seed, the same numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn seed() -> u64 {
    let seed = std::env::var("HALFPING_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(11);
    println!("HALFPING_SEED={seed} repeats this");
    seed
}

/// A store's operation on its disk.
#[derive(Clone, Debug)]
enum Op {
    Write {
        at: usize,
        data: Vec<u8>,
    },
    SetLen(usize),
    Sync,
    /// A sync that was reported as failed. The disk has any part of the writes before it.
    FailedSync,
}

/// The next fault.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Trouble {
    /// The n-th write from now on, and all after it.
    Write(u32),
    /// The n-th sync.
    Sync(u32),
}

#[derive(Debug, Default)]
struct Disk {
    now: Vec<u8>,
    ops: Vec<Op>,
    trouble: Option<Trouble>,
}

/// A disk that outlives the store on it.
#[derive(Clone, Debug, Default)]
struct Recorded(Arc<Mutex<Disk>>);

fn apply(op: &Op, bytes: &mut Vec<u8>) {
    match op {
        Op::Write { at, data } => {
            if bytes.len() < at + data.len() {
                bytes.resize(at + data.len(), 0);
            }
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
        Op::SetLen(len) => bytes.resize(*len, 0),
        Op::Sync | Op::FailedSync => {}
    }
}

impl Disk {
    fn change(&mut self, op: Op) -> io::Result<()> {
        if let Some(Trouble::Write(left)) = &mut self.trouble {
            if *left == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *left -= 1;
        }
        apply(&op, &mut self.now);
        self.ops.push(op);
        Ok(())
    }
}

impl redb::StorageBackend for Recorded {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let at = offset as usize;
        let found = disk.now.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().change(Op::SetLen(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        match &mut disk.trouble {
            Some(Trouble::Sync(0)) => {
                disk.trouble = None;
                disk.ops.push(Op::FailedSync);
                return Err(io::Error::other("planned: the sync failed"));
            }
            Some(Trouble::Sync(left)) => *left -= 1,
            _ => {}
        }
        disk.ops.push(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().change(Op::Write { at: offset as usize, data: data.to_vec() })
    }
}

/// A state, and the range of disk operations after which a power cut may leave it.
struct State {
    revision: Revision,
    json: String,
    /// True if it was never acknowledged. Then its members may be in another order than here.
    is_doubted: bool,
    from: usize,
    until: usize,
}

impl State {
    fn is(&self, revision: Revision, json: &str) -> bool {
        let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        self.revision == revision
            && (self.json == json || self.is_doubted && value(&self.json) == value(json))
    }
}

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.tombstones_per_object = 6;
        limits.tombstones = 60;
    })
}

fn write(path: &str, action: Action) -> Write {
    Write { path: Path::parse(path, &limits()).unwrap(), action, condition: Condition::default() }
}

fn put(path: &str, json: &str) -> Write {
    write(path, Action::Put(Json::parse(json.as_bytes(), &limits()).unwrap()))
}

/// The writes of one commit. Some are small, some split an object into rows, some remove it, many
/// leave tombstones.
fn some_writes(random: &mut Random, number: usize) -> Vec<Write> {
    let long = "x".repeat(300);
    match random.below(20) {
        0 => {
            let object = format!("/c/big{}", random.below(3));
            (0..20).map(|i| put(&format!("{object}/{i}"), &format!("\"{long}{number}\""))).collect()
        }
        1 => vec![write(&format!("/c/big{}", random.below(3)), Action::Delete)],
        2 => vec![put(&format!("/c/big{}", random.below(3)), &number.to_string())],
        3..=7 => vec![write(&format!("/c/{}", random.below(30)), Action::Delete)],
        8..=10 => vec![put(
            &format!("/c/big{}/{}", random.below(3), random.below(30)),
            &number.to_string(),
        )],
        // Two members at once, which must never differ.
        11..=13 => vec![put("/pair/a", &number.to_string()), put("/pair/b", &number.to_string())],
        _ => vec![put(
            &format!("/c/{}", random.below(30)),
            &format!(r#"{{"n":{number},"x":"{long}"}}"#),
        )],
    }
}

fn json(engine: &Engine) -> String {
    let reading = engine.read(&Path::ROOT, u32::MAX).unwrap();
    String::from_utf8(reading.value.unwrap().to_vec()).unwrap()
}

/// A run's disk operations, and the states that it leads through.
struct Run {
    ops: Vec<Op>,
    states: Vec<State>,
    checkpoints: usize,
    faults: usize,
}

/// Runs a store, with checkpoints and faults.
fn run(random: &mut Random) -> Run {
    let disk = Recorded::default();
    let backend = disk.clone();
    let store = Store::with_backend(move || backend.clone(), EPOCH).unwrap();
    let opened = open(store, limits(), Regions::default(), Timestamp(0), &mut |_| {}).unwrap();
    let (mut engine, mut store) = (opened.engine, opened.committer.into_journal());
    let ops = || disk.0.lock().unwrap().ops.len();
    let first = State {
        revision: engine.revision(),
        json: json(&engine),
        is_doubted: false,
        from: ops(),
        until: usize::MAX,
    };
    // No state before the store was opened was promised to anybody.
    let mut run = Run { ops: Vec::new(), states: vec![first], checkpoints: 0, faults: 0 };
    let mut newest = engine.revision();
    for number in 0..TRANSACTIONS {
        for _ in 0..=random.below(4) {
            engine.submit(&some_writes(random, number), Timestamp(1000 + number as u64));
        }
        let mut transaction = Transaction {
            batch: engine.take_batch().filter(|b| !b.body.is_empty()),
            ..Transaction::default()
        };
        if random.below(12) == 0 {
            transaction.checkpoint = Some(engine.checkpoint());
        }
        if random.below(16) == 0 {
            let after = random.below(12) as u32;
            let trouble =
                if random.below(2) == 0 { Trouble::Write(after) } else { Trouble::Sync(after % 2) };
            disk.0.lock().unwrap().trouble = Some(trouble);
        }
        let from = ops();
        let outcome = match transaction.is_empty() {
            true => Ok(()),
            false => store.write(&transaction),
        };
        let kept = (engine.revision(), json(&engine));
        if outcome.is_ok() {
            disk.0.lock().unwrap().trouble = None;
            engine.settle();
            if let Some(checkpoint) = &transaction.checkpoint {
                engine.complete_checkpoint(checkpoint);
                run.checkpoints += 1;
            }
            newest = transaction.batch.as_ref().map_or(newest, |batch| batch.last);
            run.states.last_mut().unwrap().until = ops();
            run.states.push(State {
                revision: engine.revision(),
                json: json(&engine),
                is_doubted: false,
                from,
                until: usize::MAX,
            });
            continue;
        }
        run.faults += 1;
        // The batch was not acknowledged, but it may be there until the store works again.
        let mut doubted = recreated(&transaction, &engine);
        engine.abandon();
        assert_eq!((engine.revision(), json(&engine)), kept);
        while store.recover(newest).is_err() {
            // Time passes, and the fault with it.
            disk.0.lock().unwrap().trouble = None;
        }
        disk.0.lock().unwrap().trouble = None;
        if let Some(doubted) = &mut doubted {
            (doubted.from, doubted.until) = (from, ops());
        }
        let last = run.states.pop().unwrap();
        run.states.extend(doubted);
        run.states.push(last);
    }
    drop(store);
    run.ops = disk.0.lock().unwrap().ops.clone();
    run
}

/// The state that a transaction would have led to: that of an engine with the same log.
fn recreated(transaction: &Transaction, engine: &Engine) -> Option<State> {
    let batch = transaction.batch.as_ref()?;
    let mut memory = halfping_journal::Memory::new(EPOCH);
    let mut copy = Engine::new(limits(), halfping_engine::Epoch::from_random(EPOCH), Timestamp(0));
    let whole = put("/", &json(engine));
    assert!(matches!(copy.submit(&[whole], Timestamp(0)), Submitted::Waits | Submitted::Done(_)));
    // A tree that is empty again has nothing to write.
    if let Some(base) = copy.take_batch() {
        copy.settle();
        memory.write(&Transaction { batch: Some(base), ..Transaction::default() }).unwrap();
    }
    memory.write(&Transaction { batch: Some(batch.clone()), ..Transaction::default() }).unwrap();
    let opened = open(memory, limits(), Regions::default(), Timestamp(0), &mut |_| {}).unwrap();
    Some(State {
        revision: batch.last,
        json: json(&opened.engine),
        is_doubted: true,
        from: 0,
        until: 0,
    })
}

/// Images of the disk after the first operations, in different cases.
struct Images {
    /// The bytes that are certainly on disk.
    synced: Vec<u8>,
    /// The writes since; true, if a sync of the write has failed.
    pending: Vec<(Op, bool)>,
}

impl Images {
    fn push(&mut self, op: &Op) {
        match op {
            Op::Sync => {
                // No later sync brings to disk what a sync has failed to bring.
                for (op, failed) in std::mem::take(&mut self.pending) {
                    if !failed {
                        apply(&op, &mut self.synced);
                    }
                }
            }
            Op::FailedSync => self.pending.iter_mut().for_each(|(_, failed)| *failed = true),
            op => self.pending.push((op.clone(), false)),
        }
    }

    fn with(&self, mut keeps: impl FnMut(usize) -> bool) -> Vec<u8> {
        let mut image = self.synced.clone();
        for (i, (op, _)) in self.pending.iter().enumerate() {
            if keeps(i) {
                apply(op, &mut image);
            }
        }
        image
    }

    fn all(&self, random: &mut Random) -> Vec<(&'static str, Vec<u8>)> {
        let mut images = vec![("nothing that was not synced", self.synced.clone())];
        if self.pending.is_empty() {
            return images;
        }
        images.push(("all", self.with(|_| true)));
        images.push(("some", self.with(|_| random.below(2) == 0)));
        let last = self.pending.len() - 1;
        images.push(("all but the last", self.with(|i| i != last)));
        if let (Op::Write { at, data }, _) = &self.pending[last]
            && data.len() > SECTOR
        {
            let mut torn = self.with(|i| i != last);
            let whole = self.with(|_| true);
            torn.resize(whole.len(), 0);
            let kept = SECTOR
                * (1 + random.below((data.len() / SECTOR) as u64) as usize)
                    .min(data.len() / SECTOR);
            match random.below(2) {
                0 => torn[*at..at + kept].copy_from_slice(&data[..kept]),
                _ => {
                    torn[at + data.len() - kept..at + data.len()]
                        .copy_from_slice(&data[data.len() - kept..]);
                }
            }
            images.push(("the last torn", torn));
        }
        images
    }
}

/// Opens an image. Returns its state; `goes_on` also writes to it.
fn look(image: Vec<u8>, goes_on: bool) -> Result<(Revision, String), Fault> {
    let disk = Recorded::default();
    disk.0.lock().unwrap().now = image;
    let opened = |disk: &Recorded| {
        let backend = disk.clone();
        let store = Store::with_backend(move || backend.clone(), EPOCH)?;
        open(store, limits(), Regions::default(), Timestamp(0), &mut |_| {})
    };
    let mut first = opened(&disk)?;
    let found = (first.engine.revision(), json(&first.engine));
    if goes_on {
        first.committer.start(&mut first.engine)?;
        first.engine.submit(&[put("/after", "1")], Timestamp(9999));
        let transaction = first.committer.begin(&mut first.engine).unwrap();
        let outcome = first.committer.write(&transaction);
        first.committer.end(&mut first.engine, &transaction, outcome)?;
        let then = json(&first.engine);
        drop(first);
        assert_eq!(json(&opened(&disk)?.engine), then, "it does not go on from there");
    }
    Ok(found)
}

#[test]
fn after_a_power_cut_there_is_a_state_that_was_promised_or_in_doubt() {
    let mut random = Random(seed());
    let every = if std::env::var("HALFPING_POWER_CUT").as_deref() == Ok("full") { 1 } else { 16 };
    let run = run(&mut random);
    println!(
        "{} operations, {} states, {} checkpoints, {} faults",
        run.ops.len(),
        run.states.len(),
        run.checkpoints,
        run.faults
    );
    assert!(run.checkpoints > 5 && run.faults > 3, "too little happened");
    let mut images = Images { synced: Vec::new(), pending: Vec::new() };
    let (mut looked, mut wrong) = (0, Vec::new());
    let begun = run.states[0].from;
    for (i, op) in run.ops.iter().enumerate() {
        images.push(op);
        let at = i + 1;
        if at < begun || !(at + random.below(every) as usize).is_multiple_of(every as usize) {
            continue;
        }
        for (which, image) in images.all(&mut random) {
            looked += 1;
            let goes_on = looked % 8 == 0;
            let found = catch_unwind(AssertUnwindSafe(|| look(image, goes_on)));
            let told = match found {
                Ok(Ok((revision, json))) => {
                    let is_allowed = |state: &State| {
                        state.from <= at && at <= state.until && state.is(revision, &json)
                    };
                    if run.states.iter().any(is_allowed) {
                        continue;
                    }
                    let known = run.states.iter().position(|state| state.json == json);
                    format!("revision {revision:?}, which is that of {known:?}")
                }
                Ok(Err(fault)) => format!("it cannot be opened: {fault}"),
                Err(_) => "it panicked".to_owned(),
            };
            let op: String = format!("{op:?}").chars().take(30).collect();
            wrong.push(format!("operation {at} ({op}), {which}: {told}"));
        }
    }
    println!("{looked} images, {} of them wrong", wrong.len());
    assert!(
        wrong.is_empty(),
        "{} of {looked} images, such as\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

#[test]
fn a_checkpoint_that_failed_and_is_there_all_the_same_keeps_the_order_of_members() {
    // PROTOCOL V4. A member that was forgotten and has come again has its place by when it came.
    let troubles = (0..12).map(Trouble::Write).chain((0..3).map(Trouble::Sync));
    let mut is_there = 0;
    for trouble in troubles {
        let disk = Recorded::default();
        let backend = disk.clone();
        let store = Store::with_backend(move || backend.clone(), EPOCH).unwrap();
        let opened = open(store, limits(), Regions::default(), Timestamp(0), &mut |_| {}).unwrap();
        let (mut engine, mut store) = (opened.engine, opened.committer.into_journal());
        let mut write = |engine: &mut Engine, writes: &[Write], has_checkpoint: bool| {
            for write in writes {
                engine.submit(std::slice::from_ref(write), Timestamp(1000));
            }
            let transaction = Transaction {
                batch: engine.take_batch(),
                checkpoint: has_checkpoint.then(|| engine.checkpoint()),
                ..Transaction::default()
            };
            let newest = engine.revision();
            if store.write(&transaction).is_ok() {
                engine.settle();
                if let Some(checkpoint) = &transaction.checkpoint {
                    engine.complete_checkpoint(checkpoint);
                }
                return;
            }
            engine.abandon();
            while store.recover(newest).is_err() {
                disk.0.lock().unwrap().trouble = None;
            }
            disk.0.lock().unwrap().trouble = None;
        };
        let long = format!("\"{}\"", "x".repeat(300));
        let member = |number: usize| format!("/c/{number}");
        let all: Vec<Write> = (0..20).map(|number| put(&member(number), &long)).collect();
        write(&mut engine, &all, false);
        write(&mut engine, &[put("/d", "0")], true);
        // More leave than are remembered, so the first is forgotten.
        let gone: Vec<Write> =
            (5..13).map(|number| self::write(&member(number), Action::Delete)).collect();
        write(&mut engine, &gone, false);
        write(
            &mut engine,
            &[put(&member(5), "1"), put(&member(30), "1"), put(&member(31), "1")],
            false,
        );
        disk.0.lock().unwrap().trouble = Some(trouble);
        write(&mut engine, &[put("/d", "1")], true);
        disk.0.lock().unwrap().trouble = None;
        let through = engine.stored();
        write(&mut engine, &[put(&member(5), "2")], true);
        is_there += usize::from(through < engine.stored());
        let image = disk.0.lock().unwrap().now.clone();
        assert_eq!(look(image, true).unwrap(), (engine.revision(), json(&engine)), "{trouble:?}");
    }
    assert!(is_there > 0, "no checkpoint failed");
}

#[test]
fn what_a_disk_lacks_is_what_it_says() {
    // The kind of a fault decides what clients are told.
    let disk = Recorded::default();
    let backend = disk.clone();
    let mut store = Store::with_backend(move || backend.clone(), EPOCH).unwrap();
    disk.0.lock().unwrap().trouble = Some(Trouble::Write(0));
    let mut engine =
        Engine::new(limits(), halfping_engine::Epoch::from_random(EPOCH), Timestamp(0));
    engine.submit(&[put("/a", "1")], Timestamp(1));
    let transaction = Transaction { batch: engine.take_batch(), ..Transaction::default() };
    assert_eq!(store.write(&transaction).unwrap_err().kind, FaultKind::Full);
}
