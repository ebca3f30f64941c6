//! Long work, done on threads of its own, so that no other task waits for it.
//!
//! A body of some megabytes takes tens of milliseconds to parse, and a few of them at once would
//! hold up every worker. On threads of its own the work gets the processor time that the others
//! leave.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Texts from this size on are read aside: a shorter one is read in less than a third of a
/// millisecond, and handing it over would cost a good part of that.
pub(crate) const LARGE_BYTES: usize = 64 << 10;
/// Texts up to this size are read in a few milliseconds. One of them may be at work beside the
/// longer ones.
const SHORT_BYTES: usize = 512 << 10;

/// The queue of long work, which runs on half of the processors at most.
static QUEUE: LazyLock<Queue> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Queue::new((processors / 2).max(1), 1)
});

/// The queue of large commits. Each holds the engine for some milliseconds, so they run one by one:
/// a caller that waits for the engine waits behind one of them at most.
static COMMITS: LazyLock<Queue> = LazyLock::new(|| Queue::new(1, 0));

/// Does work that takes longer the more bytes it is about.
///
/// If dropped before its turn, the work is not begun. Work that has begun goes on to its end, and
/// others wait for it.
pub(crate) async fn aside<T: Send + 'static>(
    client: &Turns,
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if bytes < LARGE_BYTES {
        return work();
    }
    // Boxed: what is done at once needs no room for it.
    Box::pin(in_turn(&QUEUE, client, bytes, work)).await.0
}

/// Works on a large commit, which writes so many members. The next one has its turn when the place
/// that comes with the outcome is dropped.
pub(crate) async fn one_by_one<T: Send + 'static>(
    client: &Turns,
    members: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> (T, Room) {
    in_turn(&COMMITS, client, members, work).await
}

async fn in_turn<T: Send + 'static>(
    queue: &'static Queue,
    client: &Turns,
    cost: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> (T, Room) {
    let room = queue.enter(client, cost).await;
    let work = move || {
        // A panic gives it back as well.
        let room = room;
        (work(), room)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            // The panic ends the caller, as it would have without the thread.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime stops, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// One client's part of the queue.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// True if each piece of work counts as a client of its own.
    of_many: bool,
    /// Time at which the last of its work would be done if all clients were served at once. Changed
    /// under the queue's lock only.
    last: AtomicU64,
    /// Pieces of its work that wait. Changed under the queue's lock only.
    waiting: AtomicUsize,
}

impl Turns {
    /// The part of clients that cannot be told apart.
    pub(crate) fn of_many() -> Turns {
        Turns { of_many: true, ..Turns::default() }
    }
}

/// Work that waits for its turn, in the order in which it would be done if all clients were served
/// at once, each with
/// the same share (weighted fair queueing). So little work comes before much,
/// a client with much of it does not hold up the others, and nothing waits for ever.
struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Virtual time: bytes that each client could have had done by now, had it always wanted
    /// something.
    now: u64,
    /// Number of pieces of work that have begun to wait: pieces that are due at the same time go in
    /// this order.
    count: u64,
    /// Clients that wait.
    clients: usize,
    /// Free places for work of any length, and for short work.
    free: [usize; 2],
    /// Long work that waits, and short work.
    waiting: [BTreeMap<Key, Waiting>; 2],
}

/// A piece of work's place in line: its due time, and its number.
type Key = (u64, u64);

struct Waiting {
    bytes: usize,
    turn: oneshot::Sender<Room>,
}

/// Places for work of any length, and for short work only.
const ANY: usize = 0;
const SHORT: usize = 1;

/// A place where work is done; it is free for others when this is dropped.
pub(crate) struct Room {
    queue: &'static Queue,
    lane: usize,
}

/// A piece of work while it waits.
struct Wait<'a> {
    queue: &'static Queue,
    client: &'a Turns,
    key: Key,
    class: usize,
}

impl Queue {
    /// `short`: places for short work beside those for work of any length.
    fn new(places: usize, short: usize) -> Queue {
        Queue { state: Mutex::new(State { free: [places, short], ..State::default() }) }
    }

    /// Waits for the turn of work on so many bytes.
    async fn enter(&'static self, client: &Turns, bytes: usize) -> Room {
        let class = if bytes <= SHORT_BYTES { SHORT } else { ANY };
        let (wait, turn) = {
            let mut state = self.state.lock();
            let begin = match client.of_many {
                true => state.now,
                false => client.last.load(Ordering::Relaxed).max(state.now),
            };
            let due = begin + bytes as u64;
            client.last.store(due, Ordering::Relaxed);
            // Short work leaves the other places to work that can have no other.
            let lanes = if class == SHORT { &[SHORT, ANY][..] } else { &[ANY][..] };
            if let Some(lane) = lanes.iter().copied().find(|lane| state.free[*lane] > 0) {
                state.free[lane] -= 1;
                state.advance(bytes);
                return Room { queue: self, lane };
            }
            let (turn, told) = oneshot::channel();
            state.count += 1;
            let key = (due, state.count);
            state.waiting[class].insert(key, Waiting { bytes, turn });
            if client.waiting.fetch_add(1, Ordering::Relaxed) == 0 || client.of_many {
                state.clients += 1;
            }
            (Wait { queue: self, client, key, class }, told)
        };
        let room = turn.await;
        drop(wait);
        room.expect("who waits is told when its turn has come")
    }

    /// Gives a place that has become free to the next in line.
    fn pass_on(&'static self, lane: usize) {
        loop {
            let next = self.state.lock().take(lane);
            let Some(Waiting { turn, .. }) = next else { return };
            match turn.send(Room { queue: self, lane }) {
                Ok(()) => return,
                // The waiter has left meanwhile, and its place is still to be given away.
                Err(room) => std::mem::forget(room),
            }
        }
    }
}

impl State {
    /// Advances the virtual time, since work on so many bytes begins.
    fn advance(&mut self, bytes: usize) {
        // All clients that want something have a share in the work that is done.
        self.now += (bytes / (self.clients + 1)) as u64;
    }

    /// Takes the next work of a lane out of the line; if there is none, the place is free.
    fn take(&mut self, lane: usize) -> Option<Waiting> {
        let first =
            |class: usize| self.waiting[class].first_key_value().map(|(key, _)| (*key, class));
        let next = match lane {
            SHORT => first(SHORT),
            _ => first(ANY).into_iter().chain(first(SHORT)).min(),
        };
        let Some((key, class)) = next else {
            self.free[lane] += 1;
            return None;
        };
        let next = self.waiting[class].remove(&key)?;
        self.advance(next.bytes);
        Some(next)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.waiting[self.class].remove(&self.key);
        if self.client.waiting.fetch_sub(1, Ordering::Relaxed) == 1 || self.client.of_many {
            state.clients -= 1;
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queue.pass_on(self.lane);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const MB: usize = 1 << 20;
    const SMALL: usize = 100 << 10;

    fn queue() -> &'static Queue {
        Box::leak(Box::new(Queue::new(1, 1)))
    }

    #[test]
    fn large_commits_come_one_by_one_however_large() {
        let commits: &Queue = Box::leak(Box::new(Queue::new(1, 0)));
        let mut first = Job::new(commits, "first", client(), 1024);
        let mut second = Job::new(commits, "second", client(), 1024);
        let mut third = Job::new(commits, "third", client(), MB);
        assert!(first.look() && !second.look() && !third.look());
        drop(first);
        assert!(second.look() && !third.look());
        drop(second);
        assert!(third.look());
    }

    /// Work that waits in a queue, or has its place there.
    struct Job {
        name: String,
        waits: Pin<Box<dyn Future<Output = Room>>>,
        room: Option<Room>,
    }

    impl Job {
        fn new(
            queue: &'static Queue,
            name: impl Into<String>,
            client: &'static Turns,
            bytes: usize,
        ) -> Job {
            let waits = Box::pin(queue.enter(client, bytes));
            let mut job = Job { name: name.into(), waits, room: None };
            job.look();
            job
        }

        /// True if it has its place.
        fn look(&mut self) -> bool {
            if self.room.is_none()
                && let Poll::Ready(room) =
                    self.waits.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                self.room = Some(room);
            }
            self.room.is_some()
        }
    }

    fn client() -> &'static Turns {
        Box::leak(Box::default())
    }

    /// Ends whatever has a place, again and again; the order in which all came to theirs.
    fn order(mut jobs: Vec<Job>) -> Vec<String> {
        let mut order = Vec::new();
        while !jobs.is_empty() {
            let begun = jobs.iter_mut().position(Job::look).expect("somebody has a place");
            order.push(jobs.remove(begun).name);
        }
        order
    }

    /// Whatever comes is due behind it: the place for short work is taken for good.
    fn without_the_short_lane(queue: &'static Queue) {
        std::mem::forget(Job::new(queue, "", client(), SMALL));
    }

    #[test]
    fn short_work_has_a_place_beside_the_long() {
        let queue = queue();
        let mut long = Job::new(queue, "long", client(), 4 * MB);
        let mut next = Job::new(queue, "next", client(), 4 * MB);
        let mut short = Job::new(queue, "short", client(), SMALL);
        assert!(long.look() && short.look() && !next.look());
    }

    #[test]
    fn little_work_comes_before_much() {
        let queue = queue();
        without_the_short_lane(queue);
        let mut jobs: Vec<Job> = (0..40)
            .map(|number| Job::new(queue, format!("large {number}"), client(), 4 * MB))
            .collect();
        jobs.push(Job::new(queue, "small", client(), SMALL));
        assert_eq!(order(jobs)[1], "small");
    }

    #[test]
    fn a_client_with_much_work_does_not_hold_up_the_others() {
        let queue = queue();
        without_the_short_lane(queue);
        let greedy = client();
        let mut jobs: Vec<Job> =
            (0..40).map(|number| Job::new(queue, format!("greedy {number}"), greedy, MB)).collect();
        jobs.push(Job::new(queue, "one", client(), 4 * MB));
        let order = order(jobs);
        let one = order.iter().position(|name| name == "one").unwrap();
        // Each of both has had about the same.
        assert!((4..=9).contains(&one), "{one}: {order:?}");
    }

    #[test]
    fn small_work_without_end_does_not_keep_large_work_waiting_for_ever() {
        let queue = queue();
        without_the_short_lane(queue);
        let mut at_work = Job::new(queue, "small", client(), SMALL);
        let mut large = Job::new(queue, "large", client(), 4 * MB);
        let mut done = 0;
        while !large.look() {
            // There is always somebody new with little to do.
            let next = Job::new(queue, "small", client(), SMALL);
            assert!(at_work.look());
            at_work = next;
            done += SMALL;
            assert!(done < 20 * MB, "it still waits");
        }
        assert!(done > MB, "and it is not before its turn: after {done}");
    }

    #[test]
    fn clients_that_cannot_be_told_apart_are_many() {
        let queue = queue();
        without_the_short_lane(queue);
        let many: &Turns = Box::leak(Box::new(Turns::of_many()));
        let mut jobs: Vec<Job> = (0..10)
            .map(|number| Job::new(queue, format!("large {number}"), many, 4 * MB))
            .collect();
        jobs.push(Job::new(queue, "small", many, SMALL));
        assert_eq!(order(jobs)[1], "small");
    }

    #[test]
    fn work_of_who_has_left_is_not_begun() {
        let queue = queue();
        let mut first = Job::new(queue, "first", client(), MB);
        let left = Job::new(queue, "left", client(), MB);
        let mut last = Job::new(queue, "last", client(), 4 * MB);
        assert!(first.look() && !last.look());
        drop(left);
        drop(first);
        assert!(last.look());
        drop(last);
        let state = queue.state.lock();
        assert_eq!((state.free, state.clients), ([1, 1], 0));
        assert!(state.waiting.iter().all(BTreeMap::is_empty));
    }

    #[test]
    fn a_place_that_was_given_to_who_has_left_is_given_to_the_next() {
        let queue = queue();
        let first = Job::new(queue, "first", client(), MB);
        let left = Job::new(queue, "left", client(), MB);
        let mut last = Job::new(queue, "last", client(), 4 * MB);
        // Told, but it does not look any more.
        drop(first);
        assert!(!last.look());
        drop(left);
        assert!(last.look());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_has_begun_keeps_its_place_until_it_is_done() {
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let client = client();
        // More than there are places: of those that follow, none may begin while these are at it.
        let places = QUEUE.state.lock().free[ANY];
        let ends = std::sync::Arc::new(Mutex::new(ends));
        let work = || {
            let (begun, ends) = (begun.clone(), ends.clone());
            aside(client, MB, move || {
                begun.send(()).unwrap();
                let _ = ends.lock().recv();
            })
        };
        for _ in 0..places {
            let mut begins = Box::pin(work());
            let looked = begins.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(looked.is_pending());
            has_begun.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
            drop(begins); // its client has left
        }
        assert_eq!(QUEUE.state.lock().free[ANY], 0);
        let next = tokio::spawn(work());
        assert_eq!(QUEUE.state.lock().free[ANY], 0);
        assert!(has_begun.try_recv().is_err());
        drop(end);
        next.await.unwrap();
        has_begun.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
    }
}
