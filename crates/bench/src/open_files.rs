//! The number of files and connections that this process, and those that it starts, may have open.

use anyhow::{Result, bail};

/// Files that a process has open besides its connections.
pub(crate) const SPARE_FILES: u64 = 64;

/// Raises the number as needed; fails if the system does not allow that.
pub(crate) fn raise(needed: u64) -> Result<()> {
    let allowed = rlimit::increase_nofile_limit(needed)?;
    if allowed < needed {
        bail!(
            "this needs {needed} open files, and the system allows {allowed}: raise the limit \
             (`ulimit -Hn {needed}`, as root), or ask for fewer connections"
        );
    }
    Ok(())
}
