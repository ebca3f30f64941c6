//! Storage of a store's bytes, and the state of its syncs.

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::journal::{Fault, FaultKind};

/// Maps redb's many errors to one fault.
pub(crate) fn fault(error: impl Into<redb::Error>) -> Fault {
    match error.into() {
        redb::Error::Io(error) => error.into(),
        redb::Error::DatabaseAlreadyOpen => in_use(),
        error @ (redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_)) => {
            Fault::new(FaultKind::Damaged, error.to_string())
        }
        error => Fault::new(FaultKind::Io, error.to_string()),
    }
}

/// The fault of a store that another process has open.
pub(crate) fn in_use() -> Fault {
    Fault::new(FaultKind::InUse, "another process has it open")
}

/// Creates a file that only its owner may read. An existing file, or a link of that name, is left
/// alone.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The name of a store's file in its directory.
pub const FILE: &str = "halfping.redb";

/// Removes the permissions of others than the owner from the file of the store in a directory.
/// Returns its mode before, if that was more.
pub fn close_to_others(directory: &Path) -> io::Result<Option<u32>> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.join(FILE);
        let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o700))?;
            return Ok(Some(mode));
        }
    }
    #[cfg(not(unix))]
    let _ = directory;
    Ok(None)
}

/// Place of a store's bytes.
pub trait Backend: Send {
    /// The reader and writer of the bytes.
    type Bytes: StorageBackend;
    /// Opens the bytes. Empty ones become a new store.
    fn open(&self) -> Result<Self::Bytes, Fault>;
    /// The number of bytes.
    fn size(&self) -> u64;
    /// True if the opened bytes are still those that would be opened now.
    fn is_in_place(&self) -> bool {
        true
    }
    /// The path of the mark: a file that exists while the bytes of a failed sync may not be on
    /// disk.
    fn mark(&self) -> Option<PathBuf> {
        None
    }
}

/// A store's file in a directory.
#[derive(Debug)]
pub struct FileIn {
    path: PathBuf,
    /// The number of the opened file, as the system numbers them.
    number: AtomicU64,
}

impl FileIn {
    pub(crate) fn new(path: PathBuf) -> FileIn {
        FileIn { path, number: AtomicU64::new(0) }
    }
}

#[cfg(unix)]
fn number_of(file: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(file)
}

#[cfg(not(unix))]
fn number_of(_: &fs::Metadata) -> u64 {
    0
}

impl Backend for FileIn {
    type Bytes = FileBackend;

    fn open(&self) -> Result<FileBackend, Fault> {
        let file = File::options().read(true).write(true).open(&self.path)?;
        let metadata = file.metadata()?;
        self.number.store(number_of(&metadata), Ordering::Relaxed);
        if metadata.len() == 0 && self.path.ends_with(FILE) {
            // A new store is written under another name first, so an empty file of this name was
            // not made here.
            return Err(Fault::new(FaultKind::Damaged, format!("{FILE} is empty")));
        }
        FileBackend::new(file).map_err(fault)
    }

    fn size(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    fn is_in_place(&self) -> bool {
        // If the system cannot say, the next write will tell.
        let number = self.number.load(Ordering::Relaxed);
        match fs::metadata(&self.path) {
            Ok(file) => number_of(&file) == number,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn mark(&self) -> Option<PathBuf> {
        Some(self.path.with_file_name(format!("{FILE}.unsynced")))
    }
}

impl<S: StorageBackend, F: Fn() -> S + Send> Backend for F {
    type Bytes = S;

    fn open(&self) -> Result<S, Fault> {
        Ok(self())
    }

    fn size(&self) -> u64 {
        self().len().unwrap_or_default()
    }
}

/// Bytes that are rewritten at once, and the size of a piece of them that is left out if it is all
/// zeros: it may be a hole, and need room.
const REWRITE_BYTES: usize = 1 << 20;
const HOLE_BYTES: usize = 4096;

/// Writes all bytes again.
///
/// A sync that fails leaves bytes in the system's cache that readers see, that are not on disk, and
/// that no later sync brings there. If a store went on from them, a crash would lose it, with all
/// that was acknowledged before and since.
pub(crate) fn rewrite(bytes: &impl StorageBackend) -> Result<(), Fault> {
    if let Ok(false) = bytes.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        return Err(in_use());
    }
    let write_again = || -> io::Result<()> {
        let len = bytes.len()?;
        bytes.set_len(len)?;
        let mut block = vec![0; REWRITE_BYTES];
        let mut at = 0;
        while at < len {
            let block = &mut block[..REWRITE_BYTES.min((len - at) as usize)];
            bytes.read(at, block)?;
            for (i, part) in block.chunks(HOLE_BYTES).enumerate() {
                if part.iter().any(|byte| *byte != 0) {
                    bytes.write(at + (i * HOLE_BYTES) as u64, part)?;
                }
            }
            at += block.len() as u64;
        }
        bytes.sync_data()?;
        bytes.close()
    };
    write_again().map_err(Fault::from)
}

/// Record of whether a sync has failed; see [`rewrite`]. The next process has to know it too, as it
/// sees the same cache: for this there is the mark. It need not survive the system, as the cache
/// does not either.
#[derive(Debug)]
pub(crate) struct Unsynced {
    is_so: AtomicBool,
    mark: Option<PathBuf>,
}

impl Unsynced {
    pub(crate) fn new(mark: Option<PathBuf>) -> Unsynced {
        Unsynced { is_so: AtomicBool::new(mark.as_ref().is_some_and(|mark| mark.exists())), mark }
    }

    pub(crate) fn is_so(&self) -> bool {
        self.is_so.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.is_so.store(true, Ordering::Relaxed);
        drop(self.mark.as_deref().map(create));
    }

    pub(crate) fn end(&self) {
        self.is_so.store(false, Ordering::Relaxed);
        drop(self.mark.as_ref().map(fs::remove_file));
    }
}

/// Bytes with a record of whether a sync has failed.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    pub(crate) bytes: S,
    pub(crate) unsynced: Arc<Unsynced>,
}

impl<S: StorageBackend> StorageBackend for Watched<S> {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.bytes.sync_data().inspect_err(|_| self.unsynced.begin())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.bytes.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.bytes.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.bytes.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.bytes.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.bytes.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.bytes.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.bytes.query_lock_range(start, end)
    }
}
