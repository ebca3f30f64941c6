//! All attacks: a table of scenarios for each family.

use super::scenario::Scenario;
use super::{http, http2, links, names, patches, queue, slow, sockets, values, views};

static NOTHING: [Scenario; 1] = [Scenario::PLAIN];

/// All scenarios, in the order in which they run.
pub(super) fn all() -> impl Iterator<Item = &'static Scenario> {
    let families: [&'static [Scenario]; 11] = [
        &NOTHING,
        slow::ALL,
        http::ALL,
        values::ALL,
        patches::ALL,
        http2::ALL,
        sockets::ALL,
        links::ALL,
        names::ALL,
        views::ALL,
        queue::ALL,
    ];
    families.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::attack::terms::Terms;

    #[test]
    fn each_attack_has_a_name_of_its_own_and_a_bound() {
        let names: BTreeSet<&str> = all().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all().count());
        let terms = Terms::default();
        for scenario in all() {
            // No attack may take all memory of the machine, which has a few GiB.
            let (bytes, formula) = scenario.bound(&terms);
            assert!(bytes < 2 << 30 && !formula.is_empty(), "{}: {bytes}", scenario.name);
            assert!(scenario.name == "nothing" || !scenario.crew.is_empty(), "{}", scenario.name);
        }
    }
}
