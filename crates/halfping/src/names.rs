//! Names for what `POST` creates: they sort by time of creation and cannot be guessed.

use halfping_engine::Timestamp;
use parking_lot::Mutex;

/// Letters in order of their bytes, without those that are mistaken for others (Crockford's base
/// 32).
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters of a name: 48 bits of time and 62 of chance.
const LENGTH: usize = 22;
const CHANCE_BITS: u32 = 62;
/// The latest time of a clock that is believed: beyond it is room for names to count on.
const TIME_MAX: u64 = (1 << 48) - (1 << 40);
/// Chance in the distance between two names that the clock does not set apart. One time has room
/// for millions of them.
const STEP_BITS: u32 = 40;

pub(crate) struct Names {
    last: Mutex<u128>,
}

impl Names {
    /// Names that sort after all that have times up to this one.
    pub(crate) fn after(time: Timestamp) -> Names {
        Names { last: Mutex::new((u128::from(time.0.min(TIME_MAX) + 1) << CHANCE_BITS) - 1) }
    }

    /// A name that sorts after all others, whatever the clock reads.
    pub(crate) fn next(&self, now: Timestamp) -> String {
        // Without chance names would only be easier to guess; they stay distinct.
        let chance = getrandom::u64().unwrap_or_default();
        let by_clock = u128::from(now.0.min(TIME_MAX)) << CHANCE_BITS | u128::from(chance >> 2);
        let mut last = self.last.lock();
        *last = by_clock.max(*last + 1 + u128::from(chance >> (u64::BITS - STEP_BITS)));
        let letter = |i: usize| LETTERS[(*last >> (5 * (LENGTH - 1 - i))) as usize & 31] as char;
        (0..LENGTH).map(letter).collect()
    }

    /// The time that the newest name has.
    pub(crate) fn time(&self) -> Timestamp {
        Timestamp((*self.last.lock() >> CHANCE_BITS) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const YEAR: u64 = 365 * 86_400_000;

    fn sort(made: &[String]) -> bool {
        made.windows(2).all(|pair| pair[0] < pair[1])
    }

    #[test]
    fn names_sort_in_order_of_creation() {
        // PROTOCOL W5
        let names = Names::after(Timestamp(0));
        let made: Vec<String> = (0..1000).map(|i| names.next(Timestamp(NOW + i / 100))).collect();
        assert!(sort(&made));
        assert_eq!(made[0].len(), LENGTH);
    }

    #[test]
    fn names_sort_also_when_the_clock_was_ahead_or_is_behind() {
        // PROTOCOL W5
        let ahead = [NOW, NOW + YEAR, NOW + 1];
        let behind = [NOW, NOW - YEAR, NOW - YEAR + 1];
        for readings in [ahead, behind, [NOW, u64::MAX, NOW]] {
            let names = Names::after(Timestamp(0));
            let mut made: Vec<String> = readings
                .iter()
                .flat_map(|now| [names.next(Timestamp(*now)), names.next(Timestamp(*now))])
                .collect();
            // After a restart.
            let names = Names::after(names.time());
            made.extend(readings.iter().map(|now| names.next(Timestamp(*now))));
            assert!(sort(&made), "{made:?}");
        }
    }

    #[test]
    fn names_bear_the_time_again_once_the_clock_has_passed_them() {
        let names = Names::after(Timestamp(NOW));
        names.next(Timestamp(NOW - YEAR));
        assert!(names.time().0 <= NOW + 1);
        names.next(Timestamp(NOW + YEAR));
        assert_eq!(names.time(), Timestamp(NOW + YEAR));
    }

    #[test]
    fn the_next_name_cannot_be_guessed_while_the_clock_is_behind() {
        let names = Names::after(Timestamp(NOW));
        let number = |name: &str| {
            let letter = |c: u8| LETTERS.iter().position(|l| *l == c).unwrap() as u128;
            name.bytes().fold(0, |number, c| number << 5 | letter(c))
        };
        let made: Vec<u128> = (0..100).map(|_| number(&names.next(Timestamp(1)))).collect();
        let mut steps: Vec<u128> = made.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.sort_unstable();
        steps.dedup();
        assert_eq!(steps.len(), made.len() - 1);
        assert!(steps[steps.len() / 2] > 1 << (STEP_BITS - 4), "{steps:?}");
    }
}
