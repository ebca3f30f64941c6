//! Patience with clients that are slow: it runs out with time, and comes back with what they send
//! or take.
//!
//! Time in which the server does not run, as on a machine that sleeps, is not the client's fault:
//! nothing that was sent meanwhile could be read. The server looks often; a look that comes late
//! tells of such time.

use std::time::Duration;

use halfping_engine::Limits;
use tokio::time::Instant;

/// Looks in the time that patience lasts at most.
pub(crate) const LOOKS: u32 = 16;

/// Patience with a client that is to move bytes at a least rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Time at which it is over, if nothing moves until then.
    until: Instant,
    /// Time of the last look.
    looked: Instant,
    /// Its greatest length.
    most: Duration,
    bytes_per_second: usize,
}

/// Progress of a client that takes an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taking {
    patience: Patience,
    /// Time at which it last took something.
    last: Instant,
}

impl Patience {
    /// Patience with a body, or a message, that is on its way.
    pub(crate) fn for_body(limits: &Limits) -> Patience {
        Patience::new(limits.body_timeout_ms, limits.body_bytes_per_second)
    }

    fn new(most_ms: u64, bytes_per_second: usize) -> Patience {
        let most = Duration::from_millis(most_ms);
        let now = Instant::now();
        Patience { until: now + most, looked: now, most, bytes_per_second }
    }

    /// True if it is over. While others want the room of the bytes that have moved, only a quarter
    /// of it counts.
    pub(crate) fn is_over(&mut self, is_wanted: bool) -> bool {
        let now = Instant::now();
        self.look_at(now);
        let renounced = if is_wanted { self.most / 4 * 3 } else { Duration::ZERO };
        now >= self.until - renounced
    }

    /// Time at which the next look is due.
    pub(crate) fn next_look(&self) -> Instant {
        self.until.min(self.looked + self.most / LOOKS)
    }

    /// Adds the time in which nobody looked, beyond that of two looks. Returns it.
    fn look_at(&mut self, now: Instant) -> Duration {
        let lost = now.duration_since(self.looked).saturating_sub(2 * self.most / LOOKS);
        self.until += lost;
        self.looked = now;
        lost
    }

    /// Counts bytes that have moved. False if it was over all the same: bytes that came too late
    /// bring nothing back.
    pub(crate) fn earn(&mut self, bytes: usize) -> bool {
        let now = Instant::now();
        self.look_at(now);
        self.earn_at(now, bytes);
        now < self.until
    }

    fn earn_at(&mut self, now: Instant, bytes: usize) {
        let time = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        self.until = (self.until + time.min(self.most)).min(now + self.most);
    }

    /// Restores all of it, since others do not wait because of the client.
    pub(crate) fn renew(&mut self) {
        self.looked = Instant::now();
        self.until = self.looked + self.most;
    }
}

impl Taking {
    /// Progress of an answer that begins to be taken now.
    pub(crate) fn new(limits: &Limits) -> Taking {
        let patience = Patience::new(limits.answer_timeout_ms, limits.answer_bytes_per_second);
        Taking { patience, last: Instant::now() }
    }

    /// Counts bytes that were taken.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.last = Instant::now();
        self.patience.look_at(self.last);
        // While nobody wanted its room, it could be as slow as it liked.
        self.patience.until = self.patience.until.max(self.last);
        self.patience.earn_at(self.last, bytes);
    }

    /// Time at which the next look is due.
    pub(crate) fn next_look(&self) -> Instant {
        self.patience.looked + self.patience.most / LOOKS
    }

    /// The limit by which the answer is to be given up, if it is. `is_wanted`: others want its
    /// room.
    pub(crate) fn ended_by(&mut self, limits: &Limits, is_wanted: bool) -> Option<&'static str> {
        let now = Instant::now();
        self.last += self.patience.look_at(now);
        if is_wanted && now >= self.patience.until {
            return Some("answer_timeout_ms");
        }
        let idle = Duration::from_millis(limits.answer_idle_ms);
        (now >= self.last + idle).then_some("answer_idle_ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The second in which patience of ten seconds is over for a client that moves so many bytes
    /// each second, of a hundred that are enough.
    fn over_after(seconds: u32, bytes: impl Fn(u32) -> usize) -> Option<u32> {
        let mut patience = Patience::new(10_000, 100);
        let begun = patience.until - patience.most;
        (1..seconds).find(|second| {
            let now = begun + SECOND * *second;
            let is_over = now >= patience.until;
            patience.earn_at(now, bytes(*second));
            is_over
        })
    }

    #[test]
    fn who_is_fast_enough_is_waited_for_as_long_as_it_takes() {
        assert_eq!(over_after(1000, |_| 100), None);
        // Nor is it over for a client that rests now and then.
        assert_eq!(over_after(1000, |second| if second % 9 == 0 { 1000 } else { 0 }), None);
    }

    #[test]
    fn who_sends_nothing_or_little_is_not_waited_for() {
        assert_eq!(over_after(1000, |_| 0), Some(10));
        assert_eq!(over_after(1000, |_| 50), Some(19));
        assert_eq!(over_after(1000, |_| 1), Some(11));
    }

    #[test]
    fn a_byte_now_and_then_does_not_put_off_the_end() {
        let mut patience = Patience::new(10_000, 100);
        patience.until = patience.looked;
        let end = patience.until;
        for _ in 0..1000 {
            assert!(!patience.earn(0));
        }
        assert_eq!(patience.until, end);
    }

    #[test]
    fn time_in_which_nobody_looked_is_not_the_clients() {
        // PROTOCOL O16
        let mut patience = Patience::new(10_000, 100);
        let mut now = patience.looked;
        let end = patience.until;
        patience.look_at(now + SECOND);
        assert_eq!(patience.until, end);
        // A minute, of which it has two looks.
        now += SECOND * 61;
        patience.look_at(now);
        assert_eq!(patience.until, end + SECOND * 60 - 2 * patience.most / LOOKS);
        assert!(now < patience.until);
        // It still runs out.
        while now < patience.until {
            now = patience.next_look();
            patience.look_at(now);
        }
        assert_eq!(patience.until, end + SECOND * 60 - 2 * patience.most / LOOKS);
    }

    #[test]
    fn to_be_fast_at_first_buys_no_more_than_the_usual_patience() {
        assert_eq!(over_after(1000, |second| if second < 5 { 1 << 40 } else { 0 }), Some(14));
    }
}
