//! The journals of a world: memory, or the real store on a virtual disk; and between them and the
//! committer, faults that are planted.

use halfping_engine::{Corrupt, Revision};
use halfping_journal::{Contents, Fault, FaultKind, Header, Journal, Memory, Store, Transaction};

use crate::disk::{AfterSync, Disk, Plan};
use crate::script::Fate;

type Backend = Box<dyn Fn() -> Disk + Send>;

/// The journal of a world. It outlives engines.
pub(crate) struct Kept {
    inner: Inner,
    mutant: &'static str,
    /// Transactions that were said to be written, and were not yet: only when that fault is
    /// planted.
    late: Option<Transaction>,
    fate: Fate,
    has_failed: bool,
}

enum Inner {
    Memory(Memory),
    Store(Box<Store<Backend>>, Disk),
}

/// Remains of a journal whose program is gone.
pub(crate) enum Remains {
    Memory(Memory),
    Disk(Disk),
}

/// Remains of a journal that could not be opened, and the reason.
pub(crate) type NotOpened = Box<(Remains, Fault)>;

impl Remains {
    pub(crate) fn new(store: bool, epoch: u64, mutant: &'static str) -> Remains {
        if !store {
            return Remains::Memory(Memory::new(epoch));
        }
        let disk = Disk::default();
        disk.misbehave(mutant == "disk-reorders", mutant == "fsync-skipped");
        Remains::Disk(disk)
    }

    /// Opens the remains. If that fails, it can be tried again.
    pub(crate) fn open(
        self,
        epoch: u64,
        mutant: &'static str,
        fate: Fate,
    ) -> Result<Kept, NotOpened> {
        let kept = |inner| Kept { inner, mutant, late: None, fate, has_failed: false };
        match self {
            Remains::Memory(memory) => Ok(kept(Inner::Memory(memory))),
            Remains::Disk(disk) => {
                let (plan, left) = plan(fate);
                disk.plan(plan, left);
                let own = disk.clone();
                let backend: Backend = Box::new(move || own.clone());
                match Store::with_backend(backend, epoch) {
                    Ok(store) => Ok(kept(Inner::Store(Box::new(store), disk))),
                    Err(fault) => {
                        disk.plan(Plan::Works, 0);
                        Err(Box::new((Remains::Disk(disk), fault)))
                    }
                }
            }
        }
    }
}

fn plan(fate: Fate) -> (Plan, usize) {
    match fate {
        Fate::Works => (Plan::Works, 0),
        Fate::Fails { access, full, .. } => (Plan::Fails { full }, access),
        Fate::FailsSync { after } => (Plan::FailsSync { after }, 0),
        Fate::Crashes { access, .. } => (Plan::Off, access),
    }
}

impl Kept {
    /// Sets the fate of what is written or mended next.
    pub(crate) fn fate(&mut self, fate: Fate) {
        self.fate = fate;
        if let Inner::Store(_, disk) = &self.inner {
            let (plan, left) = plan(fate);
            disk.plan(plan, left);
        }
    }

    /// True if power has failed.
    pub(crate) fn is_off(&self) -> bool {
        matches!(self.fate, Fate::Crashes { .. }) && self.has_failed
            || matches!(&self.inner, Inner::Store(_, disk) if disk.is_off())
    }

    /// The disk, if the journal is on one.
    pub(crate) fn spare(&self) -> Option<Disk> {
        match &self.inner {
            Inner::Memory(_) => None,
            Inner::Store(_, disk) => Some(disk.clone()),
        }
    }

    /// Ends the program abruptly.
    pub(crate) fn crash(self, seed: u64) -> Remains {
        match self.inner {
            Inner::Memory(memory) => Remains::Memory(memory),
            Inner::Store(store, disk) => {
                disk.off();
                drop(store);
                disk.on(seed);
                Remains::Disk(disk)
            }
        }
    }

    /// Ends the program properly.
    pub(crate) fn close(self) -> Remains {
        match self.inner {
            Inner::Memory(mut memory) => {
                if let Some(late) = self.late {
                    let _ = memory.write(&late);
                }
                Remains::Memory(memory)
            }
            Inner::Store(store, disk) => {
                drop(store);
                Remains::Disk(disk)
            }
        }
    }

    /// Bytes in memory; `None` on a disk.
    pub(crate) fn bytes(&self) -> Option<usize> {
        match &self.inner {
            Inner::Memory(memory) => Some(memory.bytes()),
            Inner::Store(..) => None,
        }
    }

    fn mutated(&self, transaction: &Transaction) -> Transaction {
        let mut transaction = transaction.clone();
        match self.mutant {
            "lease-not-written" => transaction.lease = None,
            "regions-not-written" => transaction.ephemeral = None,
            "log-cut-too-far" => {
                if let (Some(checkpoint), Some(batch)) =
                    (&mut transaction.checkpoint, &transaction.batch)
                {
                    checkpoint.through = batch.last.max(checkpoint.through);
                }
            }
            "rows-not-removed" => {
                if let Some(checkpoint) = &mut transaction.checkpoint {
                    checkpoint.forgotten.clear();
                }
            }
            _ => {}
        }
        transaction
    }
}

impl Journal for Kept {
    fn write(&mut self, transaction: &Transaction) -> Result<(), Fault> {
        let transaction = &self.mutated(transaction);
        let memory = match &mut self.inner {
            Inner::Memory(memory) => memory,
            Inner::Store(store, _) => return store.write(transaction),
        };
        if self.has_failed {
            return Err(Fault::new(FaultKind::Io, "it failed before, and has not recovered"));
        }
        if self.mutant == "fsync-skipped" {
            if let Some(late) = self.late.replace(transaction.clone()) {
                memory.write(&late)?;
            }
            return Ok(());
        }
        let landed = match self.fate {
            Fate::Works => return memory.write(transaction),
            Fate::Fails { landed, .. } => landed,
            Fate::FailsSync { after } => after == AfterSync::Landed,
            Fate::Crashes { access, .. } => access % 2 == 1,
        };
        self.has_failed = true;
        if landed {
            memory.write(transaction)?;
        }
        let full = matches!(self.fate, Fate::Fails { full: true, .. });
        Err(Fault::new(if full { FaultKind::Full } else { FaultKind::Io }, "as planned"))
    }

    fn read(&mut self, into: &mut dyn Contents) -> Result<(), Fault> {
        let filter = &mut Filter { into, mutant: self.mutant, held: None };
        match &mut self.inner {
            Inner::Memory(memory) => memory.read(filter)?,
            Inner::Store(store, _) => store.read(filter)?,
        }
        Ok(())
    }

    fn recover(&mut self, newest: Revision) -> Result<(), Fault> {
        let newest = if self.mutant == "recover-keeps" { Revision(u64::MAX - 1) } else { newest };
        match &mut self.inner {
            Inner::Memory(memory) => {
                if !matches!(self.fate, Fate::Works) {
                    self.has_failed = true;
                    return Err(Fault::new(FaultKind::Io, "as planned"));
                }
                self.has_failed = false;
                memory.recover(newest)
            }
            Inner::Store(store, _) => store.recover(newest),
        }
    }
}

/// Contents as they are read, without what a planted fault leaves out.
struct Filter<'a> {
    into: &'a mut dyn Contents,
    mutant: &'static str,
    held: Option<(Revision, Vec<u8>)>,
}

impl Contents for Filter<'_> {
    fn header(&mut self, header: Header) -> Result<(), Corrupt> {
        self.into.header(header)
    }

    fn row(&mut self, key: &[u8], place: u64, body: &[u8]) -> Result<(), Corrupt> {
        // After the revision, a number in groups of seven bits, comes what the row is; 0 for a
        // tombstone.
        let kind = body.iter().position(|byte| byte & 0x80 == 0).and_then(|end| body.get(end + 1));
        if self.mutant == "tombstone-row-dropped" && kind == Some(&0) {
            return Ok(());
        }
        self.into.row(key, place, body)
    }

    fn batch(&mut self, last: Revision, body: &[u8]) -> Result<(), Corrupt> {
        if self.mutant == "batch-dropped" {
            // All but the last.
            return match self.held.replace((last, body.to_vec())) {
                Some((last, body)) => self.into.batch(last, &body),
                None => Ok(()),
            };
        }
        self.into.batch(last, body)
    }
}
