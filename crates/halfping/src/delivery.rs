//! Who is told that there is news, and how.
//!
//! Most of the cost of a small update is handing it from one task to another, not sending it. So a reader that has a socket of its own is not woken: whoever
//! made the commit also sees to its delivery, with the very steps that the reader's task would take. Large crowds are served by tasks made
//! for it, so that no writer waits for them.

use std::sync::{Arc, Weak};
use std::task::Waker;

/// A reader that can be served by anybody.
pub(crate) trait Deliver: Send + Sync {
    /// Sends what there is to send, as far as the connection takes it. If the reader's own task is at it already, that is told to look again.
    fn deliver(&self);
    /// Has the reader's own task look.
    fn wake(&self);
}

/// Who is to be told that a session has something to say.
#[derive(Default)]
pub(crate) enum Waiter {
    #[default]
    Nobody,
    /// A task, once.
    Task(Waker),
    /// A reader that is there as long as it lives.
    Reader(Weak<dyn Deliver>),
}

/// Everybody who has to be told after a commit.
#[derive(Default)]
pub(crate) struct Woken {
    tasks: Vec<Waker>,
    readers: Vec<Arc<dyn Deliver>>,
}

/// Readers that a commit serves before it is answered: few enough not to be felt by who made it.
const AT_ONCE: usize = 16;
/// Readers that one task serves before it is the turn of others: some tenths of a millisecond.
const PER_TASK: usize = 64;

impl Woken {
    pub(crate) fn add(&mut self, waiter: &mut Waiter) {
        match waiter {
            Waiter::Nobody => {}
            Waiter::Reader(reader) => self.readers.extend(reader.upgrade()),
            Waiter::Task(_) => {
                if let Waiter::Task(waker) = std::mem::take(waiter) {
                    self.tasks.push(waker);
                }
            }
        }
    }

    /// Tells all of them. Not to be called with the engine's lock held.
    pub(crate) fn tell(self) {
        self.tasks.into_iter().for_each(Waker::wake);
        let mut readers = self.readers.into_iter();
        readers.by_ref().take(AT_ONCE).for_each(|reader| reader.deliver());
        if readers.len() == 0 {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // A commit from outside of any runtime.
            return readers.for_each(|reader| reader.wake());
        };
        while readers.len() > 0 {
            let some: Vec<Arc<dyn Deliver>> = readers.by_ref().take(PER_TASK).collect();
            runtime.spawn(async move { some.iter().for_each(|reader| reader.deliver()) });
        }
    }

    /// Has all of them look for themselves.
    pub(crate) fn wake(self) {
        self.tasks.into_iter().for_each(Waker::wake);
        self.readers.iter().for_each(|reader| reader.wake());
    }
}
