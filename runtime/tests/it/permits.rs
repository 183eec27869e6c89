//! Room for load from outside: totals, shares, and giving back.

use fleetward_runtime::{Full, Permit, PermitLimits, Permits, Usage};
use proptest::prelude::*;

const LIMITS: PermitLimits = PermitLimits { count: 6, bytes: 100, share_count: 3, share_bytes: 60 };

#[test]
fn one_keys_share_leaves_room_for_others() {
    let permits = Permits::new(LIMITS);

    let held: Vec<_> = (0..3).map(|_| permits.take(&"greedy", 1).unwrap()).collect();

    assert_eq!(permits.take(&"greedy", 1).unwrap_err(), Full::Share);
    assert!(permits.take(&"modest", 1).is_ok());
    drop(held);
    assert!(permits.take(&"greedy", 1).is_ok());
}

#[test]
fn a_full_system_refuses_everybody() {
    let permits = Permits::new(LIMITS);
    let _held = [permits.take(&1, 50).unwrap(), permits.take(&2, 50).unwrap()];

    assert_eq!(permits.take(&3, 1).unwrap_err(), Full::System);
    assert!(permits.take(&3, 0).is_ok());
}

#[test]
fn an_absurd_size_is_refused_and_not_added_up() {
    let permits = Permits::new(LIMITS);
    let _held = permits.take(&1, 1).unwrap();

    assert_eq!(permits.take(&1, usize::MAX).unwrap_err(), Full::Share);
    assert_eq!(permits.in_use(), Usage { count: 1, bytes: 1 });
}

/// One step of many callers.
#[derive(Debug, Clone)]
enum Step {
    Take { key: u8, bytes: usize },
    GiveBack { nth: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..4, 0usize..50).prop_map(|(key, bytes)| Step::Take { key, bytes }),
        (0usize..8).prop_map(|nth| Step::GiveBack { nth }),
    ]
}

fn sum<'a>(held: impl Iterator<Item = &'a (u8, usize, Permit)>) -> Usage {
    held.fold(Usage::default(), |usage, (_, bytes, _)| Usage {
        count: usage.count + 1,
        bytes: usage.bytes + bytes,
    })
}

proptest! {
    #[test]
    fn what_is_in_use_is_what_is_held_and_within_limits(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let permits = Permits::new(LIMITS);
        let mut held: Vec<(u8, usize, Permit)> = Vec::new();
        for step in steps {
            match step {
                Step::Take { key, bytes } => {
                    let total = sum(held.iter());
                    let share = sum(held.iter().filter(|(holder, ..)| *holder == key));
                    let share_fits = share.count < LIMITS.share_count
                        && share.bytes + bytes <= LIMITS.share_bytes;
                    let total_fits =
                        total.count < LIMITS.count && total.bytes + bytes <= LIMITS.bytes;
                    let expected = match (share_fits, total_fits) {
                        (false, _) => Err(Full::Share),
                        (true, false) => Err(Full::System),
                        (true, true) => Ok(()),
                    };
                    let taken = permits.take(&key, bytes);
                    prop_assert_eq!(taken.as_ref().map(|_| ()).map_err(|full| *full), expected);
                    held.extend(taken.ok().map(|permit| (key, bytes, permit)));
                }
                Step::GiveBack { nth } if nth < held.len() => drop(held.swap_remove(nth)),
                Step::GiveBack { .. } => {}
            }
            prop_assert_eq!(permits.in_use(), sum(held.iter()));
        }
        drop(held);
        prop_assert_eq!(permits.in_use(), Usage::default());
        prop_assert_eq!(permits.in_use_by(&0), Usage::default());
    }
}
