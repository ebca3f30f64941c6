//! An engine from what a journal has.

use std::path::Path;

use halfping_engine::{
    Corrupt, Engine, Epoch, Key, Limits, Pattern, Regions, Restoring, Revision, Timestamp,
};

use crate::backend::FILE;
use crate::committer::Committer;
use crate::journal::{Contents, Fault, FaultKind, Header, Journal};
use crate::store::Store;

/// How far opening has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Rows and batches that have been read.
    pub done: u64,
    /// How many there are.
    pub of: u64,
}

/// A journal that has been opened.
pub struct Opened<J> {
    /// Its state.
    pub engine: Engine,
    /// What writes to it from now on.
    pub committer: Committer<J>,
    /// Commits that were applied again from the log.
    pub replayed: usize,
    /// Rows that were read.
    pub rows: u64,
    /// Bytes of rows and log that were read.
    pub bytes: u64,
    /// Durable values that are where something is to be ephemeral that was not before. The engine does not have them, and the journal will not
    /// either once it is written.
    pub hidden: usize,
}

/// How often progress is told: each so many rows.
const TELL_EVERY: u64 = 4096;

/// Makes an engine from what a journal has, with these parts ephemeral from now on.
pub fn open<J: Journal>(
    mut journal: J,
    limits: Limits,
    regions: Regions,
    now: Timestamp,
    tell: &mut dyn FnMut(Progress),
) -> Result<Opened<J>, Fault> {
    let mut reading = Reading {
        limits,
        now,
        tell,
        restoring: None,
        header: Header::default(),
        has_rows_left: false,
        held_back: None,
        replayed: 0,
        done: 0,
        bytes: 0,
    };
    journal.read(&mut reading)?;
    reading.rows_end()?;
    let Reading { header, restoring, held_back: last, mut replayed, bytes, .. } = reading;
    let Some(mut restoring) = restoring else {
        return Err(Corrupt("the journal says nothing of itself".into()).into());
    };

    // The limits may be tighter than they were.
    let widest = Limits::widest();
    let was_ephemeral = header.ephemeral.iter().map(|text| Pattern::parse(text, &widest));
    let was_ephemeral: Vec<Pattern> = was_ephemeral
        .collect::<Result<_, _>>()
        .map_err(|error| Corrupt(format!("an ephemeral region has no path: {error}")))?;
    let is_same = was_ephemeral == regions.ephemeral();
    let newest = last.as_ref().map_or(header.through, |(last, _)| *last);
    let mut hidden = 0;
    // Where a lease goes beyond what is there, commits may have been made that the journal was not told of.
    let is_leased = header.lease > restoring.revision().max(newest);
    if was_ephemeral.is_empty() && regions.is_empty() && !is_leased {
        if let Some((_, body)) = last {
            replayed += restoring.batch(&body, None)?;
        }
    } else {
        // Such commits may have taken any revision up to the lease, and been seen. The last batch may never have been acknowledged, and
        // then such a commit may have got a later revision than it has, while nobody had seen the batch: so it comes after all of them.
        let mut at = restoring.revision().max(newest).max(header.lease).next();
        if let Some((_, body)) = last {
            replayed += restoring.batch(&body, Some(at))?;
            at = restoring.revision().next();
        }
        let is_new = |pattern: &&Pattern| !was_ephemeral.contains(pattern);
        let new: Vec<Pattern> = regions.ephemeral().iter().filter(is_new).cloned().collect();
        restoring.lose(&was_ephemeral, at);
        hidden = restoring.lose(&new, at);
    }
    let patterns: Vec<String> = regions.ephemeral().iter().map(ToString::to_string).collect();
    let engine = restoring.finish(regions);
    let committer =
        Committer::new(journal, newest, header.lease, header.names, (!is_same).then_some(patterns));
    Ok(Opened { engine, committer, replayed, rows: header.rows, bytes, hidden })
}

/// Reads all of the store in a directory, as if to open it, and has its pages checked as well.
pub fn check(directory: &Path, tell: &mut dyn FnMut(Progress)) -> Result<Opened<Store>, Fault> {
    if !Store::is_in(directory) {
        return Err(Fault::new(FaultKind::Io, format!("there is no {FILE} in it")));
    }
    let mut store = Store::open_to_read(directory)?;
    store.check_pages()?;
    // No limit of a configuration that may be another by now.
    let limits = Limits { tombstones: usize::MAX, ..Limits::widest() };
    open(store, limits, Regions::default(), Timestamp::default(), tell)
}

struct Reading<'a> {
    limits: Limits,
    now: Timestamp,
    tell: &'a mut dyn FnMut(Progress),
    restoring: Option<Restoring>,
    header: Header,
    has_rows_left: bool,
    /// The last batch so far: the very last is treated in a way of its own.
    held_back: Option<(Revision, Vec<u8>)>,
    replayed: usize,
    done: u64,
    bytes: u64,
}

impl Reading<'_> {
    fn step(&mut self, bytes: usize) {
        self.done += 1;
        self.bytes += bytes as u64;
        let of = self.header.rows + self.header.batches;
        if self.done.is_multiple_of(TELL_EVERY) || self.done == of {
            (self.tell)(Progress { done: self.done, of });
        }
    }

    fn rows_end(&mut self) -> Result<(), Corrupt> {
        if std::mem::take(&mut self.has_rows_left)
            && let Some(restoring) = &mut self.restoring
        {
            restoring.rows_end(self.header.through, &self.header.times)?;
        }
        Ok(())
    }
}

impl Contents for Reading<'_> {
    fn header(&mut self, header: Header) -> Result<(), Corrupt> {
        self.restoring =
            Some(Restoring::new(self.limits.clone(), Epoch::from_random(header.epoch), self.now));
        self.has_rows_left = header.rows > 0;
        self.header = header;
        Ok(())
    }

    fn row(&mut self, key: &[u8], place: u64, body: &[u8]) -> Result<(), Corrupt> {
        self.step(key.len() + body.len());
        match &mut self.restoring {
            Some(restoring) => restoring
                .row(key, place, body)
                .map_err(|Corrupt(what)| Corrupt(format!("{}: {what}", Key::display(key)))),
            None => Ok(()),
        }
    }

    fn batch(&mut self, last: Revision, body: &[u8]) -> Result<(), Corrupt> {
        self.rows_end()?;
        self.step(body.len());
        if let (Some(restoring), Some((_, before))) =
            (&mut self.restoring, self.held_back.replace((last, body.to_vec())))
        {
            self.replayed += restoring.batch(&before, None)?;
        }
        Ok(())
    }
}
