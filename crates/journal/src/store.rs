//! A journal in a file, by redb.
//!
//! A transaction is one transaction of redb, which is on disk whole or not at all: its pages carry
//! checksums, and one header, written last, says which of them count. After a crash redb looks
//! through the whole file; all of it is read then anyway.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use halfping_engine::{Checkpoint, Key, Revision, Row, Timestamp};
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
};

use crate::backend::{Backend, FILE, FileIn, Unsynced, Watched, create, fault, in_use, rewrite};
use crate::journal::{Contents, Fault, FaultKind, Header, Journal, Transaction};

/// The version of the tables' contents. `docs/on-disk-format.md` states it.
const VERSION: u64 = 1;
/// Bytes of pages that redb keeps in memory. Each page is read once, so little is enough.
const CACHE_BYTES: usize = 32 << 20;
/// Bytes from which a file is made smaller when it is opened, if it is also larger than [`SPARE`]
/// times its contents.
const COMPACT_BYTES: u64 = 32 << 20;
const SPARE: u64 = 3;

/// The store's header, by name.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Rows by key. A value is the row's place (8 bytes), the object of its rows (8 bytes, 0 for none),
/// and its body.
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
/// Batches by first revision. A value is the batch's last revision (8 bytes) and its body. All
/// numbers are little-endian.
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// Store: a journal in a file.
pub struct Store<B = FileIn> {
    backend: B,
    /// The open database; none after a fault.
    database: Option<Database>,
    epoch: u64,
    /// The last known writer of the store, and the number that this process writes there. If
    /// another process wrote while the store was closed after a fault, the store is that process's.
    writer: u64,
    own: u64,
    unsynced: Arc<Unsynced>,
}

impl Store {
    /// Opens the store in a directory, or makes both. `epoch`: that of a new store.
    pub fn open(directory: &Path, epoch: u64) -> Result<Store, Fault> {
        if !directory.exists() {
            make_directory(directory)?;
            // The directory's name has to survive a crash as well.
            let above = directory.parent().filter(|above| !above.as_os_str().is_empty());
            File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        let path = directory.join(FILE);
        if !path.exists() {
            Store::make(directory, &path, epoch)?;
        }
        Store::with_backend(FileIn::new(path), epoch)
    }

    /// Makes a store, under another name until it is complete: the remains of an attempt that
    /// crashed are then not taken for a damaged store.
    fn make(directory: &Path, path: &Path, epoch: u64) -> Result<(), Fault> {
        let held = File::open(directory)?;
        // Some file systems cannot lock directories. Then two processes that make a store in one
        // directory at the same time end up with one of the two.
        if matches!(held.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(in_use());
        }
        let partial = directory.join(format!("{FILE}.partial"));
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => create(&partial)?,
        };
        drop(Store::with_backend(FileIn::new(partial.clone()), epoch)?);
        if !path.exists() {
            fs::rename(&partial, path)?;
            held.sync_all()?;
        }
        Ok(())
    }

    /// Opens the existing store in a directory, to read it.
    pub(crate) fn open_to_read(directory: &Path) -> Result<Store, Fault> {
        let mut store = Store::closed(FileIn::new(directory.join(FILE)), 0);
        store.open_database()?;
        Ok(store)
    }

    /// True if a directory has a store.
    pub fn is_in(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }
}

impl<B: Backend> Store<B> {
    /// Opens a backend's store, or makes one.
    pub fn with_backend(backend: B, epoch: u64) -> Result<Store<B>, Fault> {
        let mut store = Store::closed(backend, epoch);
        store.open_database()?;
        Ok(store)
    }

    fn closed(backend: B, epoch: u64) -> Store<B> {
        let unsynced = Arc::new(Unsynced::new(backend.mark()));
        // Any number that no other process has.
        let own = RandomState::new().hash_one(std::process::id()) | 1;
        Store { backend, database: None, epoch, writer: 0, own, unsynced }
    }

    /// The secret of the store, by which nobody else can read what only its server is to know. If
    /// there is none, it is this one from here on.
    pub fn secret(&mut self, new: [u8; 16]) -> Result<[u8; 16], Fault> {
        let known = guarded(|| {
            let read = self.database()?.begin_read().map_err(fault)?;
            bytes(&read.open_table(META).map_err(fault)?, "secret")
        });
        if let Ok(known) = known?.try_into() {
            return Ok(known);
        }
        let kept = guarded(|| {
            let write = self.database()?.begin_write().map_err(fault)?;
            write.open_table(META).map_err(fault)?.insert("secret", &new[..]).map_err(fault)?;
            write.commit().map_err(fault)
        });
        if kept.is_err() {
            // The database may hold another state than the disk.
            self.open_database()?;
        }
        kept.map(|()| new)
    }

    /// Closes the bytes, as a fault does. [`Journal::recover`] opens them again.
    pub fn close(&mut self) {
        self.database = None;
    }

    /// Checks all pages against their checksums.
    pub(crate) fn check_pages(&mut self) -> Result<(), Fault> {
        let Some(database) = &mut self.database else { return Ok(()) };
        match guarded(|| Ok(database.check_integrity()))? {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::new(
                FaultKind::Damaged,
                "some pages did not have what was written; they are mended",
            )),
            Err(error) => Err(fault(error)),
        }
    }

    fn open_database(&mut self) -> Result<(), Fault> {
        guarded(|| self.try_open())
    }

    fn try_open(&mut self) -> Result<(), Fault> {
        // The failed database is closed first: it holds the file.
        self.database = None;
        if self.unsynced.is_so() {
            rewrite(&self.backend.open()?)?;
            self.unsynced.end();
        }
        let bytes = Watched { bytes: self.backend.open()?, unsynced: self.unsynced.clone() };
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(bytes)
            .map_err(fault)?;
        let read = database.begin_read().map_err(fault)?;
        match read.open_table(META) {
            Ok(meta) => {
                let version = number(&meta, "version")?;
                if version != VERSION {
                    let what = format!(
                        "the store is of version {version}; this program knows version {VERSION}"
                    );
                    return Err(Fault::new(FaultKind::Version, what));
                }
                self.epoch = number(&meta, "epoch")?;
                self.writer = number_or(&meta, "writer", 0)?;
            }
            Err(redb::TableError::TableDoesNotExist(_)) => {
                let write = database.begin_write().map_err(fault)?;
                {
                    let mut meta = write.open_table(META).map_err(fault)?;
                    put(&mut meta, "version", VERSION)?;
                    put(&mut meta, "epoch", self.epoch)?;
                    write.open_table(ROWS).map_err(fault)?;
                    write.open_table(LOG).map_err(fault)?;
                }
                write.commit().map_err(fault)?;
            }
            Err(error) => return Err(fault(error)),
        }
        self.database = Some(database);
        Ok(())
    }

    fn database(&self) -> Result<&Database, Fault> {
        self.database
            .as_ref()
            .ok_or_else(|| Fault::new(FaultKind::Io, "the store has failed, and is not open"))
    }

    fn try_write(&self, transaction: &Transaction) -> Result<(), Fault> {
        let write = self.database()?.begin_write().map_err(fault)?;
        {
            if self.writer != self.own {
                put(&mut write.open_table(META).map_err(fault)?, "writer", self.own)?;
            }
            if let Some(batch) = &transaction.batch {
                let mut value = batch.last.0.to_le_bytes().to_vec();
                value.extend_from_slice(&batch.body);
                write
                    .open_table(LOG)
                    .map_err(fault)?
                    .insert(batch.first.0, &value[..])
                    .map_err(fault)?;
            }
            if let Some(checkpoint) = &transaction.checkpoint {
                let mut meta = write.open_table(META).map_err(fault)?;
                let mut rows = write.open_table(ROWS).map_err(fault)?;
                let next_place = number_or(&meta, "next place", 0)?;
                let is_again = number_or(&meta, "through", 0)? > checkpoint.since.0;
                let next_place = put_rows(&mut rows, checkpoint, is_again, next_place)?;
                put(&mut meta, "next place", next_place)?;
                put(&mut meta, "through", checkpoint.through.0)?;
                meta.insert("times", &checkpoint.times[..]).map_err(fault)?;
                let mut log = write.open_table(LOG).map_err(fault)?;
                log.retain_in(..=checkpoint.through.0, |_, _| false).map_err(fault)?;
            }
            if let Some(names) = transaction.names {
                put(&mut write.open_table(META).map_err(fault)?, "names", names.0)?;
            }
            if transaction.lease.is_some() || transaction.ephemeral.is_some() {
                let mut meta = write.open_table(META).map_err(fault)?;
                if let Some(lease) = transaction.lease {
                    put(&mut meta, "lease", lease.0)?;
                }
                if let Some(ephemeral) = &transaction.ephemeral {
                    meta.insert("ephemeral", ephemeral.join("\n").as_bytes()).map_err(fault)?;
                }
            }
        }
        write.commit().map_err(fault)
    }
}

/// Applies a checkpoint to the rows. Returns the place of the next new row. `is_again`: one before
/// it, whose changes it has too, is there although its failure was reported.
fn put_rows(
    rows: &mut Table<'_, &[u8], &[u8]>,
    checkpoint: &Checkpoint,
    is_again: bool,
    mut next_place: u64,
) -> Result<u64, Fault> {
    let written = checkpoint.rows.iter().filter(|_| is_again).map(|row| row.key.as_bytes());
    let written: HashSet<&[u8]> = written.collect();
    for key in &checkpoint.forgotten {
        // A new member of that name keeps the place that it was given then.
        if written.contains(key.as_bytes()) && is_since(rows, key.as_bytes(), checkpoint.since)? {
            continue;
        }
        rows.remove(key.as_bytes()).map_err(fault)?;
        remove_beneath(rows, key.as_bytes())?;
    }
    let mut value = Vec::new();
    for row in &checkpoint.rows {
        let key = row.key.as_bytes();
        let before = match rows.get(key).map_err(fault)? {
            Some(value) => split(value.value()).map(|(place, object, _)| Some((place, object)))?,
            None => None,
        };
        let place = before.map_or(next_place, |(place, _)| place);
        next_place = next_place.max(place + 1);
        let object = row.object.map_or(0, |born| born.0);
        if before.is_some_and(|(_, before)| before != 0 && before != object) {
            remove_beneath(rows, key)?;
        }
        value.clear();
        value.extend_from_slice(&place.to_le_bytes());
        value.extend_from_slice(&object.to_le_bytes());
        value.extend_from_slice(&row.body);
        rows.insert(key, &value[..]).map_err(fault)?;
    }
    Ok(next_place)
}

/// True if a row is of a later state.
fn is_since(rows: &Table<'_, &[u8], &[u8]>, key: &[u8], since: Revision) -> Result<bool, Fault> {
    let Some(value) = rows.get(key).map_err(fault)? else { return Ok(false) };
    let (_, _, body) = split(value.value())?;
    Ok(Row::changed(body).is_some_and(|changed| changed > since))
}

fn remove_beneath(rows: &mut Table<'_, &[u8], &[u8]>, key: &[u8]) -> Result<(), Fault> {
    let end = Key::end(key);
    let beneath: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Excluded(key), Bound::Excluded(&end));
    rows.retain_in::<&[u8], _>(beneath, |_, _| false).map_err(fault)
}

/// Splits a value into place, object and body of a row.
fn split(value: &[u8]) -> Result<(u64, u64, &[u8]), Fault> {
    match (value.first_chunk(), value.get(8..).and_then(|rest| rest.split_first_chunk())) {
        (Some(place), Some((object, body))) => {
            Ok((u64::from_le_bytes(*place), u64::from_le_bytes(*object), body))
        }
        _ => Err(Fault::new(FaultKind::Damaged, "a row is too short")),
    }
}

impl<B: Backend> Journal for Store<B> {
    fn write(&mut self, transaction: &Transaction) -> Result<(), Fault> {
        let outcome = self.try_write(transaction);
        match outcome {
            Ok(()) => self.writer = self.own,
            // The database may hold another state than the disk.
            Err(_) => self.database = None,
        }
        outcome
    }

    fn read(&mut self, into: &mut dyn Contents) -> Result<(), Fault> {
        guarded(|| self.try_read(into))
    }

    fn tidy(&mut self, live: u64) -> Result<(), Fault> {
        let Some(database) = &mut self.database else { return Ok(()) };
        if self.backend.size() > COMPACT_BYTES.max(SPARE * live) {
            database.compact().map_err(fault)?;
        }
        Ok(())
    }

    fn is_in_place(&self) -> Result<(), Fault> {
        if self.database.is_none() || self.backend.is_in_place() {
            return Ok(());
        }
        Err(Fault::new(
            FaultKind::Io,
            "its file has been removed, or there is another in its place",
        ))
    }

    fn recover(&mut self, newest: Revision) -> Result<(), Fault> {
        let known = (self.epoch, self.writer);
        self.open_database()?;
        let found = (self.epoch, self.writer);
        let is_own = found.0 == known.0 && (found.1 == known.1 || found.1 == self.own);
        if !is_own {
            (self.epoch, self.writer) = known;
            self.database = None;
            let what = match found.0 == known.0 {
                true => {
                    "another process has used it since it failed here; start again to go on from there"
                }
                false => "there is another store in place of the one that was open",
            };
            return Err(Fault::new(FaultKind::InUse, what));
        }
        let recovered = self.has(newest).and_then(|()| self.forget_after(newest));
        if recovered.is_err() {
            self.database = None;
        }
        recovered
    }
}

impl<B: Backend> Store<B> {
    fn try_read(&self, into: &mut dyn Contents) -> Result<(), Fault> {
        let read = self.database()?.begin_read().map_err(fault)?;
        let meta = read.open_table(META).map_err(fault)?;
        let rows = read.open_table(ROWS).map_err(fault)?;
        let log = read.open_table(LOG).map_err(fault)?;
        let ephemeral = bytes(&meta, "ephemeral")?;
        let ephemeral = String::from_utf8_lossy(&ephemeral);
        into.header(Header {
            epoch: self.epoch,
            through: Revision(number_or(&meta, "through", 0)?),
            lease: Revision(number_or(&meta, "lease", 0)?),
            ephemeral: ephemeral.lines().map(str::to_owned).collect(),
            names: Timestamp(number_or(&meta, "names", 0)?),
            times: bytes(&meta, "times")?,
            rows: rows.len().map_err(fault)?,
            batches: log.len().map_err(fault)?,
        })?;
        for row in rows.iter().map_err(fault)? {
            let (key, value) = row.map_err(fault)?;
            let (place, _, body) = split(value.value())?;
            into.row(key.value(), place, body)?;
        }
        for batch in log.iter().map_err(fault)? {
            let (_, value) = batch.map_err(fault)?;
            let Some((last, body)) = value.value().split_first_chunk() else {
                return Err(Fault::new(FaultKind::Damaged, "a batch is too short"));
            };
            into.batch(Revision(u64::from_le_bytes(*last)), body)?;
        }
        Ok(())
    }

    /// Checks that everything is there that was written up to a revision. It is not in an old copy,
    /// or on a disk that has lost synced bytes.
    fn has(&self, newest: Revision) -> Result<(), Fault> {
        let read = self.database()?.begin_read().map_err(fault)?;
        let through = number_or(&read.open_table(META).map_err(fault)?, "through", 0)?;
        let log = read.open_table(LOG).map_err(fault)?;
        let last = match log.last().map_err(fault)? {
            Some((_, batch)) => {
                batch.value().first_chunk().map_or(0, |last| u64::from_le_bytes(*last))
            }
            None => 0,
        };
        match through.max(last) >= newest.0 {
            true => Ok(()),
            false => {
                let what = format!(
                    "it lacks what was written to it: it ends at {}, not {}",
                    through.max(last),
                    newest.0
                );
                Err(Fault::new(FaultKind::Damaged, what))
            }
        }
    }

    /// Removes batches after a revision from the log. Doing so also shows that the log can be
    /// written again.
    fn forget_after(&self, newest: Revision) -> Result<(), Fault> {
        let write = self.database()?.begin_write().map_err(fault)?;
        {
            let mut log = write.open_table(LOG).map_err(fault)?;
            log.retain_in(newest.0 + 1.., |_, _| false).map_err(fault)?;
            let mut meta = write.open_table(META).map_err(fault)?;
            put(&mut meta, "version", VERSION)?;
        }
        write.commit().map_err(fault)
    }
}

/// Runs `work`, and makes a fault of a panic: redb panics on some damaged files instead of
/// returning an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Fault::of_panic(FaultKind::Damaged, &*panic)))
}

fn put(meta: &mut Table<'_, &str, &[u8]>, name: &str, number: u64) -> Result<(), Fault> {
    meta.insert(name, &number.to_le_bytes()[..]).map_err(fault)?;
    Ok(())
}

fn bytes(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Vec<u8>, Fault> {
    Ok(meta.get(name).map_err(fault)?.map(|value| value.value().to_vec()).unwrap_or_default())
}

fn number(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<u64, Fault> {
    match bytes(meta, name)?.try_into() {
        Ok(bytes) => Ok(u64::from_le_bytes(bytes)),
        Err(_) => Err(Fault::new(FaultKind::Damaged, format!("the store does not say its {name}"))),
    }
}

fn number_or(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
    default: u64,
) -> Result<u64, Fault> {
    if bytes(meta, name)?.is_empty() { Ok(default) } else { number(meta, name) }
}

/// Makes a directory for a store, which only its owner may read.
fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}
