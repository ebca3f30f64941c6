//! A journal in memory: the model of a store, for tests and the simulator. It outlives engines, not
//! the process.

use std::collections::BTreeMap;

use halfping_engine::{Key, Revision};

use crate::journal::{Contents, Fault, Header, Journal, Transaction};

/// A journal that keeps everything in memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    header: Header,
    rows: BTreeMap<Vec<u8>, Kept>,
    log: BTreeMap<Revision, (Revision, Vec<u8>)>,
    next_place: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    place: u64,
    object: Option<Revision>,
    body: Vec<u8>,
}

impl Memory {
    /// An empty journal.
    pub fn new(epoch: u64) -> Memory {
        Memory { header: Header { epoch, ..Header::default() }, ..Memory::default() }
    }

    /// Bytes of all contents: the bound of a store's size.
    pub fn bytes(&self) -> usize {
        let rows = self.rows.iter().map(|(key, row)| key.len() + row.body.len());
        rows.chain(self.log.values().map(|(_, body)| body.len())).sum()
    }

    fn remove_beneath(&mut self, key: &[u8]) {
        let beneath: Vec<Vec<u8>> =
            self.rows.range(key.to_vec()..Key::end(key)).map(|(key, _)| key.clone()).collect();
        for found in beneath.iter().filter(|found| *found != key) {
            self.rows.remove(found);
        }
    }
}

impl Journal for Memory {
    fn write(&mut self, transaction: &Transaction) -> Result<(), Fault> {
        if let Some(batch) = &transaction.batch {
            self.log.insert(batch.first, (batch.last, batch.body.clone()));
        }
        if let Some(checkpoint) = &transaction.checkpoint {
            for key in &checkpoint.forgotten {
                self.rows.remove(key.as_bytes());
                self.remove_beneath(key.as_bytes());
            }
            for row in &checkpoint.rows {
                let key = row.key.as_bytes();
                let (place, object) = match self.rows.get(key) {
                    Some(kept) => (kept.place, kept.object),
                    None => (self.next_place, None),
                };
                self.next_place = self.next_place.max(place + 1);
                if object.is_some() && object != row.object {
                    self.remove_beneath(key);
                }
                self.rows.insert(
                    key.to_vec(),
                    Kept { place, object: row.object, body: row.body.clone() },
                );
            }
            self.log.retain(|first, _| *first > checkpoint.through);
            self.header.through = checkpoint.through;
            self.header.times = checkpoint.times.clone();
        }
        self.header.lease = transaction.lease.unwrap_or(self.header.lease);
        self.header.names = transaction.names.unwrap_or(self.header.names);
        if let Some(ephemeral) = &transaction.ephemeral {
            self.header.ephemeral = ephemeral.clone();
        }
        Ok(())
    }

    fn read(&mut self, into: &mut dyn Contents) -> Result<(), Fault> {
        let (rows, batches) = (self.rows.len() as u64, self.log.len() as u64);
        into.header(Header { rows, batches, ..self.header.clone() })?;
        for (key, row) in &self.rows {
            into.row(key, row.place, &row.body)?;
        }
        for (last, body) in self.log.values() {
            into.batch(*last, body)?;
        }
        Ok(())
    }

    fn recover(&mut self, newest: Revision) -> Result<(), Fault> {
        self.log.retain(|first, _| *first <= newest);
        Ok(())
    }
}
