//! Buffers that the sockets of one thread share, so that an idle socket needs none.

use std::cell::Cell;

/// Bytes taken from a connection at once.
const READ_BYTES: usize = 16 << 10;
/// A buffer that has grown beyond this is not kept for the next message.
const KEPT_BYTES: usize = 128 << 10;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static WRITE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's buffer for reading.
pub(crate) fn with_read<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = READ.take();
    buffer.resize(READ_BYTES, 0);
    let result = work(&mut buffer);
    READ.set(buffer);
    result
}

/// The thread's buffer for writing, or a new one while another socket has it.
pub(crate) fn take_write() -> Vec<u8> {
    WRITE.take()
}

/// Gives a buffer back, if it is worth keeping.
pub(crate) fn give_write(mut buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT_BYTES {
        buffer.clear();
        WRITE.set(buffer);
    }
}
