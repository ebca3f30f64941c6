//! Values that were written, with their times, and their deliveries.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::ages::Ages;

/// Counts that the writer and all readers share.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Write times of the values, by number.
    written: Vec<Instant>,
    ages: Ages,
    /// Readers that have the newest value.
    up_to_date: u32,
    /// Streams that ended after they were open.
    cut: u64,
}

impl Tally {
    /// Notes that a value is about to be written, and returns its number.
    pub(super) fn write(&self) -> u64 {
        let mut inner = self.inner();
        inner.written.push(Instant::now());
        inner.up_to_date = 0;
        inner.written.len() as u64 - 1
    }

    /// Notes that a reader has the value of this number.
    pub(super) fn deliver(&self, number: u64) {
        let mut inner = self.inner();
        let Some(written) = inner.written.get(number as usize).copied() else { return };
        inner.ages.add(written.elapsed());
        inner.up_to_date += u32::from(number as usize + 1 == inner.written.len());
    }

    pub(super) fn cut(&self) {
        self.inner().cut += 1;
    }

    pub(super) fn deliveries(&self) -> u64 {
        self.inner().ages.total()
    }

    pub(super) fn up_to_date(&self) -> u32 {
        self.inner().up_to_date
    }

    pub(super) fn cuts(&self) -> u64 {
        self.inner().cut
    }

    /// Takes the ages so far out of the counts.
    pub(super) fn take_ages(&self) -> Ages {
        std::mem::take(&mut self.inner().ages)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
