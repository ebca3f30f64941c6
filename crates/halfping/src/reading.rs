//! Reading once. A large value is copied in steps, so that nobody waits long for the engine (see `copy.rs` in the engine).

use halfping_engine::{Copied, Copying, Path, Read, Reading, Refusal};
use parking_lot::MutexGuard;

use crate::access::is_own;
use crate::aside::{Turns, aside};
use crate::own;
use crate::shared::Shared;

/// A copy on its way, which ends with its owner.
struct Copy<'s> {
    shared: &'s Shared,
    copying: Option<Copying>,
}

impl Shared {
    /// The value at a path, if that is not more than so many bytes, which are few; else how many it is, at most.
    pub(crate) fn read_small(
        &self,
        path: &Path,
        depth: u32,
        bytes: usize,
    ) -> Result<Result<Reading, Refusal>, usize> {
        if is_own(path) {
            own::refresh(self);
        }
        let engine = &self.lock().engine;
        match engine.value_bytes(path).min(self.limits.value_bytes) {
            len if len > bytes => Err(len),
            _ => Ok(engine.read(path, depth)),
        }
    }

    /// The same for any number of bytes. `client`: in whose turn a large value is put together.
    pub(crate) async fn read_within(
        &self,
        client: &Turns,
        path: &Path,
        depth: u32,
        bytes: usize,
    ) -> Result<Result<Reading, Refusal>, usize> {
        let len = self.with_engine(|engine| engine.value_bytes(path)).min(self.limits.value_bytes);
        if len > bytes {
            return Err(len);
        }
        Ok(self.read(client, path, depth).await)
    }

    async fn read(&self, client: &Turns, path: &Path, depth: u32) -> Result<Reading, Refusal> {
        let mut copy = match self.begin_to_read(path, depth)? {
            Ok(reading) => return Ok(reading),
            Err(copy) => copy,
        };
        let copied = loop {
            tokio::task::yield_now().await;
            if let Some(copied) = copy.go_on()? {
                break copied;
            }
        };
        drop(copy);
        Ok(aside(client, copied.bytes(), move || copied.into_reading()).await)
    }

    /// The value at a path, for a program's own thread, which waits for it.
    pub(crate) fn read_here(&self, path: &Path, depth: u32) -> Result<Reading, Refusal> {
        let mut copy = match self.begin_to_read(path, depth)? {
            Ok(reading) => return Ok(reading),
            Err(copy) => copy,
        };
        loop {
            if let Some(copied) = copy.go_on()? {
                return Ok(copied.into_reading());
            }
        }
    }

    fn begin_to_read(&self, path: &Path, depth: u32) -> Result<Result<Reading, Copy<'_>>, Refusal> {
        if is_own(path) {
            own::refresh(self);
        }
        match self.with_state(|state| state.engine.read_in_steps(path, depth))? {
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
        // Whoever waits comes first: this task is back at once.
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
