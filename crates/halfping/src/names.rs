//! Names for what `POST` creates: they sort by time of creation and cannot be guessed.

use halfping_engine::Timestamp;
use parking_lot::Mutex;

/// Letters in order of their bytes, without those that are mistaken for others (Crockford's base 32).
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 48 bits of time and 62 of chance.
const LENGTH: usize = 22;
const CHANCE_BITS: u32 = 62;

#[derive(Default)]
pub(crate) struct Names {
    last: Mutex<u128>,
}

impl Names {
    pub(crate) fn next(&self, now: Timestamp) -> String {
        // Without chance names would only be easier to guess; they stay distinct.
        let chance = getrandom::u64().unwrap_or_default();
        let wanted = (u128::from(now.0) << CHANCE_BITS) | u128::from(chance >> 2);
        let mut last = self.last.lock();
        *last = wanted.max(*last + 1);
        let letter = |i: usize| LETTERS[(*last >> (5 * (LENGTH - 1 - i))) as usize & 31] as char;
        (0..LENGTH).map(letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_in_order_of_creation() {
        let names = Names::default();
        let made: Vec<String> =
            (0..1000).map(|i| names.next(Timestamp(1_700_000_000_000 + i / 100))).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(made[0].len(), LENGTH);
    }
}
