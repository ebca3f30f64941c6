//! A virtual disk under the real store. Bytes that were written and not synced may be lost when
//! power fails, in any part, sector by sector.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::random::Random;

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Default, Debug)]
struct Inner {
    /// The bytes that would be there if power failed and nothing unsynced had been written.
    safe: Vec<u8>,
    /// The bytes as they are read.
    seen: Vec<u8>,
    /// Changes that are not synced, in order.
    unsynced: Vec<Change>,
    plan: Plan,
    /// Accesses left until the planned fault.
    left: usize,
    off: bool,
    /// True if a sync writes all but the first change, which the next sync writes.
    reorders: bool,
    /// True if a sync does nothing.
    lies: bool,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) enum Plan {
    #[default]
    Works,
    /// Fails at an access, and all that come after it until it is mended.
    Fails { full: bool },
    /// The next sync fails.
    FailsSync { after: AfterSync },
    /// Power fails at an access.
    Off,
}

/// Effect of a sync that failed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum AfterSync {
    /// Everything.
    Landed,
    /// Nothing; the next one will try it again.
    Kept,
    /// Nothing; the written bytes are gone, and are not read any more either.
    Dropped,
    /// Nothing; the written bytes are read as if they were there, and no sync will write them (as
    /// Linux may do with some file systems).
    #[allow(
        dead_code,
        reason = "no program that goes on can know of it; for those who want to see what follows"
    )]
    Forgotten,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn plan(&self, plan: Plan, left: usize) {
        let mut inner = self.lock();
        (inner.plan, inner.left) = (plan, left);
    }

    pub(crate) fn misbehave(&self, reorders: bool, lies: bool) {
        let mut inner = self.lock();
        (inner.reorders, inner.lies) = (reorders, lies);
    }

    /// Cuts the power: nothing that a program does from now on reaches the disk.
    pub(crate) fn off(&self) {
        self.lock().off = true;
    }

    pub(crate) fn is_off(&self) -> bool {
        self.lock().off
    }

    /// Restores the power. Some of the unsynced changes are there.
    pub(crate) fn on(&self, seed: u64) {
        let mut inner = self.lock();
        let random = &mut Random::new(seed);
        // Often all or nothing of it: what lies between is the rarer case with a real disk.
        let odds = *random.pick(&[0, 0, 1, 2, 2, 3, 4]);
        let keep = |random: &mut Random| random.below(4) < odds;
        for change in std::mem::take(&mut inner.unsynced) {
            match change {
                Change::Len(len) if keep(random) => inner.safe.resize(len, 0),
                Change::Len(_) => {}
                Change::Write(offset, data) => {
                    let mut from = 0;
                    while from < data.len() {
                        let to = data.len().min(from + SECTOR - (offset + from) % SECTOR);
                        if keep(random) {
                            let end = (offset + to).max(inner.safe.len());
                            inner.safe.resize(end, 0);
                            inner.safe[offset + from..offset + to].copy_from_slice(&data[from..to]);
                        }
                        from = to;
                    }
                }
            }
        }
        inner.seen = inner.safe.clone();
        (inner.off, inner.plan) = (false, Plan::Works);
    }

    /// Counts an access, which fails if it is to.
    fn access(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.lock();
        if inner.off {
            return Err(io::Error::other("power is off"));
        }
        if matches!(inner.plan, Plan::Fails { .. } | Plan::Off) {
            if inner.left > 0 {
                inner.left -= 1;
                return Ok(inner);
            }
            return match inner.plan {
                Plan::Fails { full: true } => Err(io::ErrorKind::StorageFull.into()),
                Plan::Fails { .. } => Err(io::Error::other("the disk does not work")),
                _ => {
                    inner.off = true;
                    Err(io::Error::other("power is off"))
                }
            };
        }
        Ok(inner)
    }
}

impl Inner {
    fn sync(&mut self) {
        let from = usize::from(self.reorders && self.unsynced.len() > 1);
        for change in self.unsynced.drain(from..) {
            match change {
                Change::Len(len) => self.safe.resize(len, 0),
                Change::Write(offset, data) => {
                    let end = (offset + data.len()).max(self.safe.len());
                    self.safe.resize(end, 0);
                    self.safe[offset..offset + data.len()].copy_from_slice(&data);
                }
            }
        }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.lock();
        if inner.off {
            return Err(io::Error::other("power is off"));
        }
        let offset = offset as usize;
        match inner.seen.get(offset..offset + out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.access()?;
        inner.seen.resize(len as usize, 0);
        inner.unsynced.push(Change::Len(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.access()?;
        if let Plan::FailsSync { after } = inner.plan {
            inner.plan = Plan::Works;
            match after {
                AfterSync::Landed => inner.sync(),
                AfterSync::Kept => {}
                AfterSync::Dropped => {
                    inner.unsynced.clear();
                    inner.seen = inner.safe.clone();
                }
                AfterSync::Forgotten => inner.unsynced.clear(),
            }
            return Err(io::Error::other("the sync failed"));
        }
        if !inner.lies {
            inner.sync();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.access()?;
        let offset = offset as usize;
        if offset + data.len() > inner.seen.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        inner.seen[offset..offset + data.len()].copy_from_slice(data);
        inner.unsynced.push(Change::Write(offset, data.to_vec()));
        Ok(())
    }
}
