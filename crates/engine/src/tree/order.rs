//! The order in which the members of a large object last changed.
//!
//! Each change is an entry at the end. An older entry of the same member is stale from then on.
//! Stale entries must not pile up: each change takes a few of them out. Those among the newest go
//! soon, so a few members that change all the time leave next to nothing. A sweep takes the others,
//! in steps.

use crate::cursor::Revision;

/// New entries after which they are looked through, in a large object and in a small one.
const WINDOW_MAX: usize = 1024;
const WINDOW_MIN: usize = 16;
/// Entries that a sweep goes through for each new one.
const SWEPT_EACH: usize = 8;

/// The order of changes of one object.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// Entries of revision and slot, by revision.
    entries: Vec<(Revision, u32)>,
    /// The first entry that has not been looked through.
    tail: usize,
    /// End of the entries that a sweep has kept; it goes on at `next`. There is nothing between the
    /// two.
    kept: usize,
    next: usize,
}

impl Order {
    /// The order of members that are there.
    pub(crate) fn new(mut entries: Vec<(Revision, u32)>) -> Order {
        entries.sort_unstable();
        Order { tail: entries.len(), entries, kept: 0, next: 0 }
    }

    /// Adds a change of a member of an object of `slots` slots. `current`: the number of entries
    /// that are not stale. `is_current`: true if one is of the last change of its member.
    pub(crate) fn push(
        &mut self,
        at: Revision,
        slot: u32,
        slots: usize,
        current: usize,
        is_current: impl Fn(Revision, u32) -> bool,
    ) {
        self.entries.push((at, slot));
        let window = (slots / 4).clamp(WINDOW_MIN, WINDOW_MAX);
        if self.entries.len() - self.tail >= window {
            self.tidy(current, window, is_current);
        }
    }

    /// Entries after a revision, in order. Some may be stale.
    pub(crate) fn since(&self, since: Revision) -> impl Iterator<Item = (Revision, u32)> {
        let after = |entries: &'_ [(Revision, u32)]| entries.partition_point(|(r, _)| *r <= since);
        let (kept, rest) = (&self.entries[..self.kept], &self.entries[self.next..]);
        kept[after(kept)..].iter().chain(&rest[after(rest)..]).copied()
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - (self.next - self.kept)
    }

    fn tidy(&mut self, current: usize, window: usize, is_current: impl Fn(Revision, u32) -> bool) {
        self.tail = self.keep(self.tail, self.tail..self.entries.len(), &is_current);
        self.entries.truncate(self.tail);
        if self.next == 0 && self.len() <= current + current / 4 + WINDOW_MIN {
            return;
        }
        let end = self.tail.min(self.next + SWEPT_EACH * window);
        self.kept = self.keep(self.kept, self.next..end, &is_current);
        self.next = end;
        if end == self.tail {
            self.entries.truncate(self.kept);
            (self.tail, self.kept, self.next) = (self.kept, 0, 0);
        }
    }

    /// Moves the entries of a range that are not stale down to `to`. Returns their end.
    fn keep(
        &mut self,
        mut to: usize,
        range: std::ops::Range<usize>,
        is_current: impl Fn(Revision, u32) -> bool,
    ) -> usize {
        for from in range {
            let (revision, slot) = self.entries[from];
            if is_current(revision, slot) {
                self.entries[to] = (revision, slot);
                to += 1;
            }
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members, of which some change again and again.
    struct Model {
        /// The revision at which each last changed.
        changed: Vec<Revision>,
        order: Order,
        now: Revision,
    }

    impl Model {
        fn new(count: u32) -> Model {
            let now = Revision(1);
            let order = Order::new((0..count).map(|slot| (now, slot)).collect());
            Model { changed: vec![now; count as usize], order, now }
        }

        fn write(&mut self, slot: u32) {
            self.now = self.now.next();
            self.changed[slot as usize] = self.now;
            let (changed, count) = (&self.changed, self.changed.len());
            self.order.push(self.now, slot, count, count, |at, slot| changed[slot as usize] == at);
        }

        #[track_caller]
        fn check(&self, since: Revision) {
            let current =
                self.order.since(since).filter(|(at, slot)| self.changed[*slot as usize] == *at);
            let current: Vec<_> = current.collect();
            let changed = self.changed.iter().copied().zip(0..);
            let mut changed: Vec<_> = changed.filter(|(revision, _)| *revision > since).collect();
            changed.sort_unstable();
            assert_eq!(current, changed, "since {since:?}");
        }
    }

    #[test]
    fn it_has_every_member_once_and_in_order_however_they_change() {
        for count in [17, 100, 3000] {
            let mut model = Model::new(count);
            let mut random = 7_u32;
            let mut longest = 0;
            for round in 0..60_000_u32 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Now all of them, now a few.
                let among = if round / 20_000 == 1 { count / 4 } else { count };
                model.write((random >> 8) % among);
                longest = longest.max(model.order.len());
                if round % 997 == 0 {
                    let back = u64::from(random >> 8) % (model.now.0 + 1);
                    for since in [model.now.0 - back, model.now.0, 0] {
                        model.check(Revision(since));
                    }
                }
            }
            let (count, most) = (count as usize, count as usize * 3 / 2 + 4 * WINDOW_MIN);
            assert!((count..=most).contains(&longest), "{longest} of {count}");
        }
    }

    #[test]
    fn members_that_change_all_the_time_leave_next_to_nothing() {
        let mut model = Model::new(100_000);
        for round in 0..90_000 {
            model.write(round % 8);
        }
        let left = model.order.since(Revision(1)).count();
        assert!(left < 2 * WINDOW_MAX, "{left} entries of 8 members");
        model.check(Revision(1));
    }

    #[test]
    fn no_change_pays_for_all_that_were_before_it() {
        let mut model = Model::new(50_000);
        let mut sweeps = 0;
        for round in 0..200_000 {
            let (tail, next) = (model.order.tail, model.order.next);
            model.write(round * 7919 % 50_000);
            let order = &model.order;
            assert!(order.entries.len() - order.tail < WINDOW_MAX);
            let swept = match order.next {
                0 if next > 0 => {
                    sweeps += 1;
                    tail + WINDOW_MAX - next
                }
                now => now - next,
            };
            assert!(swept <= (SWEPT_EACH + 1) * WINDOW_MAX, "{swept} entries for one change");
        }
        assert!(sweeps > 1, "{sweeps}");
    }
}
