//! A buffer that the sockets of one thread share for reading, so that an idle socket needs none.

use std::cell::Cell;

/// Bytes taken from a connection at once.
const READ_BYTES: usize = 16 << 10;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's buffer for reading.
pub(crate) fn with_read<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = READ.take();
    buffer.resize(READ_BYTES, 0);
    let result = work(&mut buffer);
    READ.set(buffer);
    result
}
