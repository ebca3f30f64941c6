//! What takes long to read is read aside: nobody else's turn waits for it.
//!
//! A body of some megabytes takes tens of milliseconds to parse, and a few of them at once would hold up every worker. On threads of its own
//! the work gets what processor time the others leave it.

use std::sync::LazyLock;

use tokio::sync::Semaphore;

/// Texts from this size on: what is shorter is read in less than a third of a millisecond, and handing it over would cost a good part of that.
pub(crate) const LARGE_BYTES: usize = 64 << 10;

/// At once on half of the processors at most; the others wait for their turn.
static ROOM: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Semaphore::new((processors / 2).max(1))
});

/// Does something that takes the longer the more bytes it is about.
pub(crate) async fn aside<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes < LARGE_BYTES {
        return work();
    }
    // It is never closed.
    let _room = ROOM.acquire().await;
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            // It ends who asked for it, as it would have without the thread.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime stops, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
