//! Waking and serving readers after a commit.
//!
//! Most of the cost of a small update is handing it from one task to another, not sending it. So a
//! reader that has a socket of its own is not woken: the task that made the commit also delivers
//! it, with the very steps that the reader's task would take. Large crowds are served by tasks made
//! for that, so that no writer waits for them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// A reader that any task can serve.
pub(crate) trait Deliver: Send + Sync {
    /// Sends what there is to send, as far as the connection takes it. If the reader's own task is
    /// sending already, it is told to look again.
    fn deliver(&self);
    /// Wakes the reader's own task, to look.
    fn wake(&self);
}

/// The steps of a reader with a socket of its own.
pub(crate) trait Drive: Send + 'static {
    /// Does all there is to do. Ready when the reader is done for good.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// Does what news asks for. False if something else is left to the reader's own task.
    fn deliver(&mut self, cx: &mut Context<'_>) -> bool;
}

/// A reader as a task, that others can serve as well.
pub(crate) struct Reader<D>(Arc<Post<D>>);

/// The meeting place of the reader's task and those who have news for it.
struct Post<D> {
    /// The waker of the task. Everything that the reader waits for has this waker, whichever task
    /// made it wait.
    task: OnceLock<Waker>,
    driver: Mutex<D>,
}

impl<D: Drive> Reader<D> {
    /// A reader with its driver. `set_up` is given the handle under which the reader can be served.
    pub(crate) fn new(driver: D, set_up: impl FnOnce(&mut D, Weak<dyn Deliver>)) -> Reader<D> {
        let post = Arc::new(Post { task: OnceLock::new(), driver: Mutex::new(driver) });
        let handle: Weak<Post<D>> = Arc::downgrade(&post);
        set_up(&mut post.driver.lock(), handle);
        Reader(post)
    }
}

impl<D: Drive> Future for Reader<D> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.task.get_or_init(|| cx.waker().clone());
        self.0.driver.lock().poll(cx)
    }
}

impl<D: Drive> Deliver for Post<D> {
    fn deliver(&self) {
        // Before its first turn the task has not looked at anything yet.
        let Some(task) = self.task.get() else { return };
        let delivered = match self.driver.try_lock() {
            Some(mut driver) => driver.deliver(&mut Context::from_waker(task)),
            None => false,
        };
        if !delivered {
            task.wake_by_ref();
        }
    }

    fn wake(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

/// The task or reader to be told that a session has something to send.
#[derive(Default)]
pub(crate) enum Waiter {
    #[default]
    Nobody,
    /// A task, once.
    Task(Waker),
    /// A reader, as long as it lives.
    Reader(Weak<dyn Deliver>),
}

/// All tasks and readers to be told after a commit.
#[derive(Default)]
pub(crate) struct Woken {
    tasks: Vec<Waker>,
    readers: Vec<Arc<dyn Deliver>>,
}

/// Readers that a commit serves before it is answered: few enough that its writer does not notice.
const AT_ONCE: usize = 16;
/// Readers that a task serves before it is the turn of others: a millisecond or so. Another
/// processor may go on after a turn, with nothing of the rest in its cache, so not too few.
const AT_A_TIME: usize = 256;

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

    /// Adds a reader of the server's own, which is told before all others.
    pub(crate) fn add_first(&mut self, waiter: &Waiter) {
        if let Waiter::Reader(reader) = waiter {
            self.readers.splice(0..0, reader.upgrade());
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
        // Half of the workers at most: sending is the kernel's work, which it mostly does on the
        // same processors.
        let tasks = (runtime.metrics().num_workers() / 2).max(1);
        let share = readers.len().div_ceil(tasks);
        while readers.len() > 0 {
            let some: Vec<Arc<dyn Deliver>> = readers.by_ref().take(share).collect();
            runtime.spawn(async move {
                for some in some.chunks(AT_A_TIME) {
                    some.iter().for_each(|reader| reader.deliver());
                    tokio::task::yield_now().await;
                }
            });
        }
    }

    /// Wakes all of them, to look for themselves.
    pub(crate) fn wake(self) {
        self.tasks.into_iter().for_each(Waker::wake);
        self.readers.iter().for_each(|reader| reader.wake());
    }
}
