//! Reading once. A large value is copied in steps, so that nobody waits long for the engine (see
//! `copy.rs` in the engine), and aside: of many small members a copy takes several times its text,
//! so few are made at a time.

use std::sync::Arc;

use halfping_engine::{Copied, Copying, Path, Read, Reading, Refusal};
use parking_lot::MutexGuard;

use super::Shared;
use crate::access::Allowed;
use crate::aside::{Turns, aside};
use crate::shape::Extent;

/// Bytes that the engine reads at once.
const AT_ONCE_BYTES: usize = 256 << 10;

/// A copy on its way, which ends with its owner.
struct Copy<'s> {
    shared: &'s Shared,
    copying: Option<Copying>,
}

impl Shared {
    /// Reads the value at a path, if it is not more than so many bytes, which are few.
    pub(crate) fn read_small(
        &self,
        path: &Allowed<Path>,
        extent: &Extent,
        bytes: usize,
    ) -> Option<Result<Reading, Refusal>> {
        let is_small = self.with_engine(|engine| engine.value_bytes(path)) <= bytes;
        is_small.then(|| self.read_at_once(path, extent)).flatten()
    }

    /// Reads the value at a path, if it is not more than so many bytes; else returns an upper bound
    /// of its bytes. `client`: the turns in which a large value is copied.
    pub(crate) async fn read_within(
        self: &Arc<Self>,
        client: &Turns,
        path: &Allowed<Path>,
        extent: &Extent,
        bytes: usize,
    ) -> Result<Result<Reading, Refusal>, usize> {
        let len = self.with_engine(|engine| engine.value_bytes(path)).min(self.limits.value_bytes);
        if len > bytes {
            return Err(len);
        }
        // A part of it may be short.
        if (len <= AT_ONCE_BYTES || !extent.is_all())
            && let Some(reading) = self.read_at_once(path, extent)
        {
            return Ok(reading);
        }
        let (shared, path, extent) = (self.clone(), path.clone(), extent.clone());
        Ok(aside(client, len, move || shared.copy(&path, &extent)).await)
    }

    /// Reads the value at a path on a program's own thread, which waits for it.
    pub(crate) fn read_here(
        &self,
        path: &Allowed<Path>,
        extent: &Extent,
    ) -> Result<Reading, Refusal> {
        self.refresh_here(path);
        self.copy(path, extent)
    }

    /// Reads the value at a path, if no copy has to be made of it.
    fn read_at_once(
        &self,
        path: &Allowed<Path>,
        extent: &Extent,
    ) -> Option<Result<Reading, Refusal>> {
        self.begin_to_read(path, extent).map(Result::ok).transpose()
    }

    fn copy(&self, path: &Allowed<Path>, extent: &Extent) -> Result<Reading, Refusal> {
        let mut copy = match self.begin_to_read(path, extent)? {
            Ok(reading) => return Ok(reading),
            Err(copy) => copy,
        };
        let copied = loop {
            if let Some(copied) = copy.go_on()? {
                break copied;
            }
        };
        drop(copy);
        Ok(copied.into_reading())
    }

    fn begin_to_read(
        &self,
        path: &Allowed<Path>,
        Extent { depth, view, .. }: &Extent,
    ) -> Result<Result<Reading, Copy<'_>>, Refusal> {
        match self.with_state(|state| state.engine.read_in_steps(path, *depth, view.as_ref()))? {
            Read::Now(reading) => Ok(Ok(reading)),
            Read::InSteps(copying) => Ok(Err(Copy { shared: self, copying: Some(copying) })),
        }
    }
}

impl Copy<'_> {
    fn go_on(&mut self) -> Result<Option<Copied>, Refusal> {
        let Some(copying) = &mut self.copying else { return Ok(None) };
        let mut state = self.shared.lock();
        let done = state.engine.copy_on(copying);
        // Other threads that wait come first: this one is back at once.
        MutexGuard::unlock_fair(state);
        done
    }
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        if let Some(copying) = self.copying.take() {
            let rest = self.shared.with_state(|state| state.engine.end_copy(copying));
            drop(rest);
        }
    }
}
