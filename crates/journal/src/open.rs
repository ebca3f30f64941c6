//! Opening: makes an engine from the contents of a journal.

use std::path::Path;

use halfping_engine::{
    Corrupt, Engine, Epoch, Key, Limits, Pattern, Regions, Restoring, Revision, Timestamp,
};

use crate::backend::FILE;
use crate::committer::Committer;
use crate::journal::{Contents, Fault, FaultKind, Header, Journal};
use crate::store::Store;

/// Progress of opening.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Rows and batches that have been read.
    pub done: u64,
    /// The number of rows and batches to read.
    pub of: u64,
}

/// A journal that has been opened.
pub struct Opened<J> {
    /// The engine with the journal's state.
    pub engine: Engine,
    /// The committer that writes to the journal from now on.
    pub committer: Committer<J>,
    /// Commits that were replayed from the log.
    pub replayed: usize,
    /// Rows that were read.
    pub rows: u64,
    /// Bytes of rows and log that were read.
    pub bytes: u64,
    /// Durable values in parts that have become ephemeral. The engine does not have them, and the
    /// journal will not either once it is written.
    pub hidden: usize,
}

/// Rows and batches between two reports of progress.
const TELL_EVERY: u64 = 4096;

/// Makes an engine from the contents of a journal, with these parts ephemeral from now on.
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

    // The limits may be tighter than before.
    let widest = Limits::widest();
    let was_ephemeral = header.ephemeral.iter().map(|text| Pattern::parse(text, &widest));
    let was_ephemeral: Vec<Pattern> = was_ephemeral
        .collect::<Result<_, _>>()
        .map_err(|error| Corrupt(format!("an ephemeral region has no path: {error}")))?;
    let is_same = was_ephemeral == regions.ephemeral();
    let newest = last.as_ref().map_or(header.through, |(last, _)| *last);
    let mut hidden = 0;
    // If a lease goes beyond the log, commits may have been made that the journal was not told of.
    let is_leased = header.lease > restoring.revision().max(newest);
    if was_ephemeral.is_empty() && regions.is_empty() && !is_leased {
        if let Some((_, body)) = last {
            replayed += restoring.batch(&body, None)?;
        }
    } else {
        // Such commits may have taken any revision up to the lease, and been seen. The last batch
        // may never have been acknowledged; then such a commit may have a later revision than the
        // batch, without the batch having been seen. So the batch comes after all of them.
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

/// Reads the whole store in a directory, as if to open it, and checks its pages too.
pub fn check(directory: &Path, tell: &mut dyn FnMut(Progress)) -> Result<Opened<Store>, Fault> {
    if !Store::is_in(directory) {
        return Err(Fault::new(FaultKind::Io, format!("there is no {FILE} in it")));
    }
    let mut store = Store::open_to_read(directory)?;
    store.check_pages()?;
    // The limits of the configuration do not apply: they may have changed since.
    let limits = Limits::widest().with(|limits| {
        limits.tombstones = usize::MAX;
    });
    open(store, limits, Regions::default(), Timestamp::default(), tell)
}

struct Reading<'a> {
    limits: Limits,
    now: Timestamp,
    tell: &'a mut dyn FnMut(Progress),
    restoring: Option<Restoring>,
    header: Header,
    has_rows_left: bool,
    /// The newest batch so far: the last of all is handled differently.
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
