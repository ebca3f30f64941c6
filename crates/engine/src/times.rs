//! Times of commits, in bounded memory.

use std::collections::VecDeque;

use crate::cursor::Revision;
use crate::mutants;

/// Milliseconds since 1970, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Timestamp(pub u64);

/// Milliseconds on a clock that never goes back; only differences have a meaning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tick(pub u64);

/// Entries that are kept: a mebibyte of them.
const ENTRIES_MAX: usize = 1 << 16;

/// The first revision of each millisecond. When full, every other entry of the older half goes:
/// recent times stay exact, old ones become earlier than they were (never later), by little
/// compared with their age.
///
/// The clock may be set back. Then times that it has not reached are false, and become its present
/// reading: none is later than the clock, and later revisions never have earlier times.
#[derive(Default)]
pub(crate) struct Times {
    entries: VecDeque<(Revision, Timestamp)>,
    /// The newest reading of the clock.
    reading: Timestamp,
}

impl Times {
    /// A table without entries, at this reading of the clock.
    pub(crate) fn new(now: Timestamp) -> Times {
        Times { entries: VecDeque::new(), reading: now }
    }

    /// Notes the clock's reading. True if the clock was set back.
    pub(crate) fn read(&mut self, now: Timestamp) -> bool {
        let is_back = now < self.reading;
        self.reading = now;
        if is_back && !mutants::is("clock-set-back") {
            let after = self.entries.partition_point(|(_, at)| *at <= now);
            if let Some((revision, _)) = self.entries.get(after).copied() {
                self.entries.truncate(after);
                self.note(revision, now);
            }
        }
        is_back
    }

    /// Notes a commit. Where some wait for the disk, commits are applied in another order than
    /// they were made in: then the later time counts.
    pub(crate) fn note(&mut self, revision: Revision, at: Timestamp) {
        let at = at.min(self.reading);
        if self.entries.back().is_some_and(|(_, last)| at <= *last) {
            return;
        }
        if self.entries.len() == ENTRIES_MAX {
            let mut place = 0;
            self.entries.retain(|_| {
                place += 1;
                place > ENTRIES_MAX / 2 || place % 2 == 1
            });
        }
        self.entries.push_back((revision, at));
    }

    /// Some of the entries, oldest first: the newest all, older ones the more sparsely the older
    /// they are.
    pub(crate) fn sample(&self, step_after: usize) -> Vec<(Revision, Timestamp)> {
        let mut sample = Vec::new();
        let (mut back, mut step) = (0, 1);
        while back < self.entries.len() {
            sample.push(self.entries[self.entries.len() - 1 - back]);
            if sample.len() % step_after == 0 {
                step *= 2;
            }
            back += step;
        }
        // All revisions before the second entry get the time of the first.
        if let (Some(first), Some(last)) = (self.entries.front(), sample.last())
            && first != last
        {
            sample.push(*first);
        }
        sample.reverse();
        sample
    }

    /// The time at which a revision was committed.
    pub(crate) fn of(&self, revision: Revision) -> Timestamp {
        let after = self.entries.partition_point(|(r, _)| *r <= revision);
        self.entries.get(after.saturating_sub(1)).map_or(Timestamp(0), |(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_times_are_exact_and_old_ones_never_too_late() {
        let mut times = Times::default();
        let commits = 10 * ENTRIES_MAX as u64;
        for r in 1..=commits {
            times.read(Timestamp(1000 + r / 2));
            times.note(Revision(r), Timestamp(1000 + r / 2));
        }
        assert!(times.entries.len() <= ENTRIES_MAX);
        for back in 0..ENTRIES_MAX as u64 / 2 {
            let r = commits - back;
            assert_eq!(times.of(Revision(r)), Timestamp(1000 + r / 2));
        }
        for r in (1..=commits).step_by(97) {
            let (told, true_time) = (times.of(Revision(r)).0, 1000 + r / 2);
            assert!(
                told <= true_time && true_time - told <= (commits - r) / 8 + 2,
                "{r}: {told} {true_time}"
            );
        }
    }

    /// Commits, each of the clock's reading beside it.
    fn made(readings: &[u64]) -> Times {
        let mut times = Times::default();
        for (i, reading) in readings.iter().enumerate() {
            times.read(Timestamp(*reading));
            times.note(Revision(i as u64 + 1), Timestamp(*reading));
        }
        times
    }

    fn told(times: &Times, revisions: u64) -> Vec<u64> {
        (1..=revisions).map(|revision| times.of(Revision(revision)).0).collect()
    }

    #[test]
    fn a_clock_that_was_ahead_is_followed_when_it_is_right_again() {
        // PROTOCOL S10
        assert_eq!(told(&made(&[50, 9050, 9060, 60, 70]), 5), [50, 60, 60, 60, 70]);
        // Also before another commit, and when it was ahead from the beginning.
        let mut times = made(&[9050, 9060]);
        assert!(times.read(Timestamp(60)));
        assert_eq!(told(&times, 2), [60, 60]);
        assert!(!times.read(Timestamp(70)));
        assert_eq!(told(&times, 2), [60, 60]);
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_leaves_older_times_as_they_were() {
        assert_eq!(told(&made(&[50, 60, 70, 65, 66]), 5), [50, 60, 65, 65, 66]);
    }

    #[test]
    fn a_commit_that_waited_for_the_disk_does_not_make_others_older() {
        let mut times = made(&[50]);
        times.read(Timestamp(60));
        times.read(Timestamp(70));
        times.note(Revision(2), Timestamp(70));
        // It was made before that one, and is applied after it.
        times.note(Revision(3), Timestamp(60));
        assert_eq!(told(&times, 3), [50, 70, 70]);
        // The clock is set back while it waits.
        times.read(Timestamp(40));
        times.note(Revision(4), Timestamp(80));
        assert_eq!(told(&times, 4), [40, 40, 40, 40]);
    }
}
