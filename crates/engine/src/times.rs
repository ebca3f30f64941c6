//! When revisions were committed, in bounded memory.

use std::collections::VecDeque;

use crate::cursor::Revision;

/// Milliseconds since 1970, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Timestamp(pub u64);

/// Milliseconds on a clock that never goes back; only differences mean anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tick(pub u64);

/// Entries that are kept: a mebibyte of them.
const ENTRIES_MAX: usize = 1 << 16;

/// The first revision of each millisecond. When full, every other entry of the older half goes: recent times stay exact, old ones
/// become earlier than they were (never later), by little compared with their age.
#[derive(Default)]
pub(crate) struct Times {
    entries: VecDeque<(Revision, Timestamp)>,
}

impl Times {
    /// Notes a commit. Time does not run backwards here, whatever the clock does. Returns the time that counts.
    pub(crate) fn note(&mut self, revision: Revision, at: Timestamp) -> Timestamp {
        if let Some((_, last)) = self.entries.back()
            && at <= *last
        {
            return *last;
        }
        if self.entries.len() == ENTRIES_MAX {
            let mut place = 0;
            self.entries.retain(|_| {
                place += 1;
                place > ENTRIES_MAX / 2 || place % 2 == 1
            });
        }
        self.entries.push_back((revision, at));
        at
    }

    /// Some of the entries, oldest first: the newest all, older ones the more sparsely the older they are.
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
        // The first is what all before the second have to go by.
        if let (Some(first), Some(last)) = (self.entries.front(), sample.last())
            && first != last
        {
            sample.push(*first);
        }
        sample.reverse();
        sample
    }

    /// When a revision was committed.
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

    #[test]
    fn a_clock_set_back_does_not_take_the_past_along() {
        let mut times = Times::default();
        assert_eq!(times.note(Revision(1), Timestamp(50)), Timestamp(50));
        assert_eq!(times.note(Revision(2), Timestamp(40)), Timestamp(50));
        assert_eq!(times.of(Revision(2)), Timestamp(50));
    }
}
