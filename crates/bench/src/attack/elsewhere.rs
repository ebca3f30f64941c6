//! Work of the same size as an attack that has nothing to do with the server: what others have to
//! put up with because the machine is busy, whatever the server does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::ground::lower_priority;

/// Time in which each thread works for its share and rests for the remainder: a turn of the server
/// is shorter, a time slice of the system about as long.
const PERIOD: Duration = Duration::from_millis(4);

/// Threads that use processors until this is dropped.
pub(super) struct Elsewhere {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Elsewhere {
    /// Uses as many processors as a server did beyond what it needed before, at the priority that
    /// it had, and as many as its attackers did, at theirs.
    pub(super) fn start([server_cores, attackers_cores]: [f64; 2]) -> Elsewhere {
        let over = Arc::new(AtomicBool::new(false));
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut threads = Vec::new();
        for (cores, is_attacker) in [(server_cores, false), (attackers_cores, true)] {
            let share = (cores / processors as f64).clamp(0.0, 1.0);
            for _ in 0..processors {
                let over = over.clone();
                threads.push(thread::spawn(move || {
                    if is_attacker {
                        lower_priority();
                    }
                    work(share, || !over.load(Ordering::Relaxed));
                }));
            }
        }
        Elsewhere { over, threads }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Uses a share of a processor as long as it `goes_on`.
fn work(share: f64, goes_on: impl Fn() -> bool) {
    while goes_on() {
        let begun = Instant::now();
        while begun.elapsed() < PERIOD.mul_f64(share) {
            std::hint::spin_loop();
        }
        thread::sleep(PERIOD.saturating_sub(begun.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_its_owner() {
        let elsewhere = Elsewhere::start([0.5, 0.5]);
        let over = Arc::downgrade(&elsewhere.over);
        drop(elsewhere);
        assert!(over.upgrade().is_none(), "a thread goes on");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_uses_a_processor_for_its_share() {
        // Time on a processor, of this thread alone.
        let used = || {
            let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a file");
            let nanoseconds = text.split(' ').next().and_then(|time| time.parse().ok());
            Duration::from_nanos(nanoseconds.expect("a number"))
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let before = used();
        let enough = || used() >= before + Duration::from_millis(50);
        work(0.5, || !enough() && Instant::now() < deadline);
        assert!(enough(), "it does nothing");
    }
}
