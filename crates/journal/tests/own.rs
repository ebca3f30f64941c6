//! A root beside the tree, with a journal: its commits are not in the journal and take no revision
//! of the tree. No cursor of the tree ever hides a durable commit.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use halfping_engine::{
    Action, Condition, Cursor, Engine, Epoch, Json, Kind, Limits, Path, Regions, Revision, RootId,
    Submitted, Tick, Timestamp, Watch, Write,
};
use halfping_journal::{
    Committer, Contents, Fault, FaultKind, Journal, Memory, Settled, Transaction, open,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const EPOCH: u64 = 7;

/// A journal in memory that fails on demand.
struct Disk {
    memory: Memory,
    /// `Some` if a write fails: true if it is there all the same.
    fails: Option<bool>,
}

impl Journal for Disk {
    fn write(&mut self, transaction: &Transaction) -> Result<(), Fault> {
        match self.fails {
            None => self.memory.write(transaction),
            Some(landed) => {
                if landed {
                    self.memory.write(transaction)?;
                }
                Err(Fault::new(FaultKind::Full, "planned"))
            }
        }
    }

    fn read(&mut self, into: &mut dyn Contents) -> Result<(), Fault> {
        self.memory.read(into)
    }

    fn recover(&mut self, newest: Revision) -> Result<(), Fault> {
        match self.fails {
            None => self.memory.recover(newest),
            Some(_) => Err(Fault::new(FaultKind::Full, "planned")),
        }
    }
}

struct Server {
    engine: Engine,
    committer: Committer<Disk>,
    root: Option<RootId>,
    own: u64,
    in_line: Vec<(String, u64)>,
    transaction: Option<Transaction>,
}

fn body(value: &Value) -> Json {
    Json::parse(value.to_string().as_bytes(), &Limits::default()).unwrap()
}

impl Server {
    /// Starts from these contents; if the disk fails, read-only.
    fn start(memory: Memory, keeps_own: bool, fails: Option<bool>) -> Server {
        let disk = Disk { memory, fails };
        let opened =
            open(disk, Limits::default(), Regions::default(), Timestamp(0), &mut |_| {}).unwrap();
        let (mut engine, mut committer) = (opened.engine, opened.committer);
        let epoch = Epoch::from_random(EPOCH + 1);
        let root = keeps_own.then(|| engine.add_root("_server", epoch, Timestamp(0)));
        assert!(committer.start(&mut engine).is_ok() || fails.is_some());
        Server { engine, committer, root, own: 0, in_line: Vec::new(), transaction: None }
    }

    fn commit_own(&mut self) {
        let Some(root) = self.root else { return };
        self.own += 1;
        let before = self.engine.revision();
        self.engine.commit_to(root, &body(&json!({ "n": self.own })), Timestamp(0));
        self.engine.take_woken();
        assert_eq!(self.engine.revision(), before, "it is none of the tree's");
    }

    fn submit(&mut self, name: &str, n: u64) {
        let path = Path::ROOT.child(name);
        let write =
            Write { path, action: Action::Put(body(&json!(n))), condition: Condition::default() };
        if self.engine.submit(&[write], Timestamp(0)) == Submitted::Waits {
            self.in_line.push((name.to_owned(), n));
        }
    }

    /// Writes what is waiting. Returns the journal's answer.
    fn write(&mut self) -> Option<Result<(), Fault>> {
        let transaction = self.committer.begin(&mut self.engine)?;
        assert_eq!(transaction.lease, None);
        if let Some(batch) = &transaction.batch {
            assert_eq!(batch.first, self.engine.revision().next());
        }
        let outcome = self.committer.write(&transaction);
        self.transaction = Some(transaction);
        Some(outcome)
    }

    fn end(&mut self, outcome: Result<(), Fault>) -> Settled {
        let transaction = self.transaction.take().unwrap();
        let settled = self.committer.end(&mut self.engine, &transaction, outcome);
        self.engine.take_woken();
        settled
    }

    fn root(&self) -> Value {
        let reading = self.engine.read(&Path::ROOT, u32::MAX).unwrap();
        serde_json::from_slice(&reading.value.unwrap()).unwrap()
    }

    /// The value that a returning reader of the root ends up with.
    fn resumed(&mut self, mut has: Value, since: Cursor) -> Value {
        let session = self.engine.open();
        self.engine.watch(session, 0, &Watch { since: Some(since), ..Watch::new(Path::ROOT) });
        self.engine.take_woken();
        while let Some(update) = self.engine.next(session, Tick(0)) {
            let frame = update.frame.unwrap();
            let body: Value = serde_json::from_slice(&frame.body).unwrap();
            match frame.kind {
                Kind::Snapshot => has = body,
                // Nothing is ever removed here.
                Kind::Merge => {
                    body.as_object().unwrap().iter().for_each(|(name, n)| has[name] = n.clone());
                }
                kind => panic!("a {kind:?} of plain numbers"),
            }
        }
        self.engine.close(session);
        has
    }

    /// The power goes.
    fn crash(self) -> Memory {
        self.committer.into_journal().memory
    }
}

#[derive(Clone, Debug)]
enum Step {
    Own,
    Submit(u8),
    /// A write, with the disk's answer; then the power may go before anybody is told.
    Write {
        fails: Option<bool>,
        crashes: bool,
    },
    Recover,
    /// A reader is told the current state.
    Look,
    Restart {
        keeps_own: bool,
        fails: Option<bool>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let fails = || prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    prop_oneof![
        3 => Just(Step::Own),
        3 => (0u8..3).prop_map(Step::Submit),
        3 => (fails(), prop::bool::weighted(0.2)).prop_map(|(fails, crashes)| Step::Write { fails, crashes }),
        1 => Just(Step::Recover),
        3 => Just(Step::Look),
        1 => (prop::bool::weighted(0.7), fails()).prop_map(|(keeps_own, fails)| Step::Restart { keeps_own, fails }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_cursor_hides_what_became_durable(steps in proptest::collection::vec(step(), 1..60)) {
        let mut server = Server::start(Memory::new(EPOCH), true, None);
        let mut told: Vec<(Cursor, Value)> = Vec::new();
        // Acknowledged values, and those that may have become durable without being acknowledged.
        let (mut durable, mut doubt) = (json!({}), Vec::new());
        let restart = |server: Server, told: &[(Cursor, Value)], durable: &mut Value, doubt: &mut Vec<(String, u64)>, keeps_own, fails| {
            let mut server = Server::start(server.crash(), keeps_own, fails);
            let root = server.root();
            let mut with_doubt = durable.clone();
            doubt.drain(..).for_each(|(name, n)| with_doubt[name] = n.into());
            assert!(root == *durable || root == with_doubt, "{root} is not {durable} or {with_doubt}");
            *durable = root.clone();
            for (cursor, has) in told {
                assert!(server.engine.revision() >= cursor.revision, "{cursor} is of the future");
                assert_eq!(server.resumed(has.clone(), *cursor), root, "since {cursor}");
            }
            server
        };
        for (i, step) in steps.into_iter().enumerate() {
            match step {
                Step::Own => server.commit_own(),
                Step::Submit(name) => server.submit(&format!("k{name}"), i as u64),
                Step::Write { fails, crashes } => {
                    server.committer.journal_mut().fails = server.committer.journal_mut().fails.or(fails);
                    let Some(outcome) = server.write() else { continue };
                    server.commit_own();
                    let in_line = std::mem::take(&mut server.in_line);
                    if crashes {
                        doubt.extend(in_line);
                        server = restart(server, &told, &mut durable, &mut doubt, true, None);
                        continue;
                    }
                    match server.end(outcome) {
                        Ok(_) => in_line.into_iter().for_each(|(name, n)| durable[name] = n.into()),
                        // A batch that reached the disk can still be there after a crash, unless
                        // the journal recovers first.
                        Err(_) => doubt.extend(in_line),
                    }
                    prop_assert_eq!(server.root(), durable.clone());
                }
                Step::Recover => {
                    server.committer.journal_mut().fails = None;
                    if server.committer.recover().is_ok() {
                        doubt.clear();
                    }
                }
                Step::Look => told.push((server.engine.cursor(server.engine.revision()), server.root())),
                Step::Restart { keeps_own, fails } => {
                    server = restart(server, &told, &mut durable, &mut doubt, keeps_own, fails);
                }
            }
        }
        restart(server, &told, &mut durable, &mut doubt, true, None);
    }
}

#[test]
fn nothing_of_it_is_in_the_journal() {
    let mut server = Server::start(Memory::new(EPOCH), true, None);
    (0..100).for_each(|_| server.commit_own());
    for n in 0..3 {
        server.submit("a", n);
        let before = server.engine.revision();
        server.write().unwrap().unwrap();
        (0..100).for_each(|_| server.commit_own());
        server.end(Ok(())).unwrap();
        assert_eq!(server.engine.revision(), before.next());
    }
    let revision = server.engine.revision();
    for keeps_own in [false, true] {
        server = Server::start(server.crash(), keeps_own, None);
        assert_eq!(server.engine.revision(), revision);
        assert_eq!(server.root(), json!({ "a": 2 }));
        let own = server.engine.read(&Path::ROOT.child("_server"), 9).unwrap().value;
        assert_eq!(own.as_deref(), keeps_own.then_some(&b"{}"[..]), "it is there anew, or not");
    }
}

#[test]
fn a_store_that_can_only_be_read_has_it_too() {
    let mut server = Server::start(Memory::new(EPOCH), true, None);
    server.submit("a", 1);
    server.write().unwrap().unwrap();
    server.end(Ok(())).unwrap();
    let mut server = Server::start(server.crash(), true, Some(false));
    server.commit_own();
    let own = server.engine.read(&Path::ROOT.child("_server"), 9).unwrap().value;
    assert_eq!(own.as_deref(), Some(&br#"{"n":1}"#[..]));
}

#[test]
fn a_store_with_a_lease_for_it_opens_after_the_lease_and_goes_on_by_one() {
    let mut server = Server::start(Memory::new(EPOCH), true, None);
    server.submit("a", 1);
    server.write().unwrap().unwrap();
    server.end(Ok(())).unwrap();
    // As it was written when its commits took revisions of the tree.
    let lease = Revision(1 << 40);
    let leased = Transaction { lease: Some(lease), ..Transaction::default() };
    server.committer.journal_mut().write(&leased).unwrap();
    let mut revision = lease;
    for n in 2..6 {
        server = Server::start(server.crash(), true, None);
        let back = server.engine.revision();
        assert!(
            if n == 2 { back > lease } else { back == revision },
            "{back:?} after {revision:?}"
        );
        server.submit("a", n);
        server.write().unwrap().unwrap();
        server.end(Ok(())).unwrap();
        revision = server.engine.revision();
        assert_eq!(revision, back.next());
        assert_eq!(server.root(), json!({ "a": n }));
    }
}
