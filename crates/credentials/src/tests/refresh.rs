//! Times at which keys are fetched.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::ISSUER;
use crate::{
    FETCH_SECONDS_MAX, FRESH_SECONDS_MAX, FRESH_SECONDS_MIN, Refresh, STALE_SECONDS_MAX, Step,
    UNKNOWN_KID_SECONDS, UNKNOWN_KIDS_MAX, UNKNOWN_SECONDS, Unknown,
};

const EMPTY: &str = r#"{"keys":[]}"#;
const T: u64 = 1_732_371_000;

/// A machine whose keys were fetched at `T`, and are fresh for an hour.
fn fetched() -> Refresh {
    let mut refresh = Refresh::new(ISSUER);
    assert_eq!(refresh.step(T), Some(Step::Ask));
    refresh.fetched(EMPTY, None, T).unwrap();
    refresh
}

#[test]
fn keys_are_fetched_when_they_are_no_longer_fresh() {
    for (max_age, seconds) in [
        (None, FRESH_SECONDS_MAX),
        (Some(0), FRESH_SECONDS_MIN),
        (Some(59), FRESH_SECONDS_MIN),
        (Some(600), 600),
        (Some(u64::MAX), FRESH_SECONDS_MAX),
    ] {
        let mut refresh = fetched();
        refresh.fetched(EMPTY, max_age, T).unwrap();
        assert_eq!(refresh.due(), T + seconds, "{max_age:?}");
        assert_eq!(refresh.step(T + seconds - 1), None);
        assert_eq!(refresh.step(T + seconds), Some(Step::Ask));
        assert_eq!(refresh.step(T + seconds), None, "one at a time");
    }
}

#[test]
fn a_fetch_that_fails_or_is_lost_is_tried_again_later_and_later() {
    let mut refresh = Refresh::new(ISSUER);
    let mut now = T;
    for wait in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
        assert_eq!(refresh.step(now), Some(Step::Ask));
        refresh.failed(now);
        assert_eq!(refresh.due(), now + wait);
        now += wait;
    }
    assert_eq!(refresh.step(now), Some(Step::Ask));
    assert_eq!(refresh.due(), now + FETCH_SECONDS_MAX);
    assert_eq!(refresh.step(now + FETCH_SECONDS_MAX), None);
    assert_eq!(refresh.due(), now + FETCH_SECONDS_MAX + 3600, "it counts as failed");
    refresh.fetched(EMPTY, None, now + 100).unwrap();
    refresh.failed(now + 200);
    assert_eq!(refresh.due(), now + 260, "a success begins anew");
}

#[test]
fn a_broken_set_counts_as_a_failure() {
    let mut refresh = fetched();
    assert!(refresh.fetched("<html>", Some(3600), T + 10).is_err());
    assert_eq!(refresh.due(), T + 70);
}

#[test]
fn keys_that_cannot_be_fetched_are_used_for_a_day() {
    let mut refresh = fetched();
    let forgotten = loop {
        let now = refresh.due();
        match refresh.step(now) {
            Some(Step::Ask) => refresh.failed(now + 1),
            Some(Step::Forget) => break now,
            None => panic!("at {now} there is nothing to do"),
        }
    };
    assert_eq!(forgotten, T + STALE_SECONDS_MAX);
    assert_ne!(refresh.step(forgotten), Some(Step::Forget), "once is enough");
}

#[test]
fn an_unknown_name_asks_once_and_others_wait_for_that_answer() {
    let mut refresh = fetched();
    let later = T + 100;
    assert_eq!(refresh.unknown("new", later), Unknown::Ask);
    assert_eq!(refresh.unknown("new", later), Unknown::UnderWay);
    assert_eq!(refresh.unknown("other", later + 1), Unknown::UnderWay);
    assert_eq!(refresh.step(later + 1), None);
    refresh.fetched(EMPTY, None, later + 2).unwrap();
    assert_eq!(refresh.unknown("new", later + 2), Unknown::Refuse, "it is not there either");
}

#[test]
fn forged_names_make_one_fetch_in_half_a_minute() {
    let mut refresh = fetched();
    let mut asked = 0;
    for second in 0..600 {
        for forged in 0..20 {
            if refresh.unknown(&format!("{second} {forged}"), T + second) == Unknown::Ask {
                asked += 1;
                refresh.fetched(EMPTY, None, T + second).unwrap();
            }
        }
    }
    assert_eq!(asked, 600 / UNKNOWN_SECONDS);
}

#[test]
fn a_name_that_was_looked_for_is_refused_for_ten_minutes() {
    let mut refresh = fetched();
    assert_eq!(refresh.unknown("new", T), Unknown::Ask);
    refresh.fetched(EMPTY, None, T).unwrap();
    for at in [1, UNKNOWN_SECONDS, UNKNOWN_KID_SECONDS - 1] {
        assert_eq!(refresh.unknown("new", T + at), Unknown::Refuse);
    }
    assert_eq!(refresh.unknown("new", T + UNKNOWN_KID_SECONDS), Unknown::Ask);
}

proptest! {
    /// Whatever happens: one fetch at a time, none for an unknown name within half a minute of the
    /// last one, none for the same name within ten minutes, and bounded memory.
    #[test]
    fn fetches_are_rare_whatever_happens(
        events in prop::collection::vec((0_u8..5, 0_u64..40, 0_u8..4), 1..400),
    ) {
        let mut refresh = Refresh::new(ISSUER);
        let (mut now, mut asked, mut last_unknown) = (T, None::<u64>, None::<u64>);
        let mut names: VecDeque<(u8, u64)> = VecDeque::new();
        for (event, seconds, name) in events {
            now += seconds;
            match event {
                0 => match refresh.step(now) {
                    Some(Step::Ask) => {
                        prop_assert!(asked.is_none_or(|at| now >= at + FETCH_SECONDS_MAX));
                        asked = Some(now);
                    }
                    // A lost fetch counts as failed.
                    _ => asked = asked.filter(|at| now < at + FETCH_SECONDS_MAX),
                },
                1 => { refresh.fetched(EMPTY, Some(60), now).unwrap(); asked = None; }
                2 => { refresh.failed(now); asked = None; }
                _ => {
                    let is_under_way = asked.is_some_and(|at| now < at + FETCH_SECONDS_MAX);
                    match refresh.unknown(&name.to_string(), now) {
                        Unknown::Ask => {
                            prop_assert!(!is_under_way);
                            prop_assert!(last_unknown.is_none_or(|at| now >= at + UNKNOWN_SECONDS));
                            let is_recent = |at: u64| now < at + UNKNOWN_KID_SECONDS;
                            let mut same = names.iter().filter(|(other, _)| *other == name);
                            prop_assert!(!same.any(|(_, at)| is_recent(*at)));
                            names.push_back((name, now));
                            (asked, last_unknown) = (Some(now), Some(now));
                        }
                        Unknown::UnderWay => prop_assert!(is_under_way),
                        Unknown::Refuse => prop_assert!(!is_under_way && last_unknown.is_some()),
                    }
                }
            }
            prop_assert!(refresh.unknown_kids() <= UNKNOWN_KIDS_MAX);
        }
    }
}
