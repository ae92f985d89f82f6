//! The course of trials, with the time given.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Version number `number`.
fn v(number: u8) -> Digest {
    Digest([number; 32])
}

/// A trial of ten seconds with these bounds in percent, looked at after a hundred queries.
fn settings(min: u32, max: u32) -> CanarySettings {
    CanarySettings {
        clients: Vec::new(),
        time: Duration::from_secs(10),
        max_hits: max * 100,
        min_hits: min * 100,
        min_queries: 100,
    }
}

/// Version 1 for all, version 2 on trial since `now_ms`.
fn trial(now_ms: i64) -> Course {
    let mut course = Course::default();
    assert_eq!(course.look(v(1), false, true, 0), Whom::All, "the first version goes to all");
    assert_eq!(course.look(v(2), false, true, now_ms), Whom::Some);
    assert_eq!(course.news, [News::Started { version: v(2), others: v(1) }]);
    course.news.clear();
    course
}

/// How the only trial ended.
fn outcome(course: &Course) -> CanaryOutcome {
    match &course.news[..] {
        [News::Ended { outcome, .. }] => *outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trial_in_its_bounds_ends_at_its_time_for_all() {
    let mut course = trial(1_000);
    let within = Some((1_000, 50));
    assert!(!course.judge(&settings(0, 5), within, 10_999));
    assert_eq!(course.look(v(2), false, true, 10_999), Whom::Some);
    assert!(course.judge(&settings(0, 5), within, 11_000));
    assert_eq!(outcome(&course), CanaryOutcome::Completed);
    assert_eq!(course.look(v(2), false, true, 11_000), Whom::All);
    assert!(!course.judge(&settings(0, 5), Some((1_000, 1_000)), 99_000), "it is no trial any more");
}

#[test]
fn bounds_are_exact_and_wait_for_enough_queries() {
    for (min, max, queries, hits, ends) in [
        (0, 5, 1_000, 50, false),
        (0, 5, 1_000, 51, true),
        (0, 5, 99, 99, false),
        (0, 5, 100, 6, true),
        (1, 5, 1_000, 10, false),
        (1, 5, 1_000, 9, true),
        (1, 5, 99, 0, false),
        (0, 0, 100, 0, false),
        (0, 0, u64::MAX, 1, true),
        (0, 100, u64::MAX, u64::MAX, false),
    ] {
        let mut course = trial(0);
        assert_eq!(course.judge(&settings(min, max), Some((queries, hits)), 5_000), ends, "{hits} of {queries}");
        if ends {
            assert_eq!(outcome(&course), CanaryOutcome::RolledBack);
            assert_eq!(course.look(v(2), false, true, 6_000), Whom::Nobody);
        }
    }
    let mut late = trial(0);
    assert!(late.judge(&settings(0, 5), Some((100, 6)), 10_000), "out of bounds at its very end");
    assert_eq!(outcome(&late), CanaryOutcome::RolledBack);
}

#[test]
fn what_was_withdrawn_is_not_tried_again_until_the_source_changes() {
    let mut course = trial(0);
    assert!(course.withdraw("bad") && !course.withdraw("again"));
    for _ in 0..2 {
        assert_eq!(course.look(v(2), false, true, 1), Whom::Nobody);
    }
    assert!(!course.judge(&settings(0, 5), Some((100, 0)), 99_000), "time does not bring it back");
    assert_eq!(course.look(v(3), false, true, 2), Whom::Some);
    assert_eq!(course.look(v(2), false, true, 3), Whom::Some, "and then it is new again");
    let mut revived = trial(0);
    assert!(revived.withdraw("bad") && revived.promote(CanaryOutcome::Promoted, "good after all"));
    assert!(matches!(revived.news[..], [News::Ended { .. }, News::Revived { .. }]), "{:?}", revived.news);
    assert_eq!(revived.look(v(2), false, true, 4), Whom::All);
}

#[test]
fn a_newer_version_starts_the_clock_anew_and_the_old_one_ends_the_trial() {
    let mut course = trial(0);
    assert_eq!(course.look(v(3), false, true, 9_000), Whom::Some);
    assert!(!course.judge(&settings(0, 5), None, 18_999) && course.judge(&settings(0, 5), None, 19_000));
    let mut back = trial(0);
    assert_eq!(back.look(v(1), false, true, 1), Whom::All);
    assert_eq!(outcome(&back), CanaryOutcome::Superseded);
    assert!(back.trial().is_none() && !back.promote(CanaryOutcome::Promoted, ""));
}

#[test]
fn a_clock_that_is_set_neither_hangs_a_trial_nor_overflows() {
    let mut course = trial(1_000_000_000);
    assert!(!course.judge(&settings(0, 5), None, 5_000), "set back");
    assert!(!course.judge(&settings(0, 5), None, 14_999) && course.judge(&settings(0, 5), None, 15_000));
    let mut far = trial(i64::MAX - 1);
    assert!(!far.judge(&settings(0, 5), None, i64::MAX - 1) && far.judge(&settings(0, 5), None, i64::MAX));
}

#[test]
fn an_empty_list_is_a_version_like_others_but_nothing_to_go_back_to() {
    let mut course = trial(0);
    assert_eq!(course.look(v(0), true, true, 1), Whom::Some, "the source was emptied");
    assert!(course.promote(CanaryOutcome::Promoted, ""));
    assert_eq!(course.look(v(0), true, true, 2), Whom::All);
    assert_eq!(course.look(v(5), false, true, 3), Whom::All, "the first version after nothing");
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    Look(u8),
    Promote,
    Withdraw,
    Judge(u64, i64),
}

proptest! {
    /// What all have changes only when somebody promotes or a trial in its bounds is over, and news tell every change.
    #[test]
    fn all_get_only_what_was_promoted_or_stood_its_trial(
        steps in proptest::collection::vec(
            prop_oneof![
                (1_u8..4).prop_map(Step::Look),
                Just(Step::Promote),
                Just(Step::Withdraw),
                (0_u64..12, 0_i64..6_000).prop_map(|(hits, ms)| Step::Judge(hits, ms)),
            ],
            0..60,
        )
    ) {
        let (mut course, mut now) = (Course::default(), 0);
        course.look(v(1), false, true, 0);
        // The twin: what all have, the version in the source, since when it is tried and whether it was withdrawn.
        let (mut all, mut source, mut since, mut withdrawn) = (1, 1, 0, false);
        let mut started = 0_i32;
        for step in steps {
            match step {
                Step::Look(number) => {
                    if number != source {
                        (source, since, withdrawn) = (number, now, false);
                    }
                    let whom = course.look(v(number), false, true, now);
                    let expected = if number == all { Whom::All } else if withdrawn { Whom::Nobody } else { Whom::Some };
                    prop_assert_eq!(whom, expected);
                }
                Step::Promote => {
                    prop_assert_eq!(course.promote(CanaryOutcome::Promoted, ""), source != all);
                    all = source;
                }
                Step::Withdraw => {
                    let can = source != all && !withdrawn;
                    prop_assert_eq!(course.withdraw(""), can);
                    withdrawn |= can;
                }
                Step::Judge(hits, ms) => {
                    now += ms;
                    let live = source != all && !withdrawn;
                    let (bad, over) = (hits > 5, now >= since + 10_000);
                    prop_assert_eq!(course.judge(&settings(0, 5), Some((100, hits)), now), live && (bad || over));
                    withdrawn |= live && bad;
                    if live && !bad && over {
                        all = source;
                    }
                }
            }
            prop_assert_eq!(course.settled, Some(v(all)));
            for news in course.news.drain(..) {
                match news {
                    News::Started { .. } => started += 1,
                    News::Ended { .. } => started -= 1,
                    News::Revived { .. } => {}
                }
            }
            prop_assert_eq!(started, i32::from(course.trial().is_some()), "each start has its end");
        }
    }
}
