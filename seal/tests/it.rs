//! What is sealed opens for the same key and place, and for nothing else.
#![allow(missing_docs, clippy::unwrap_used)]

use fleetward_seal::{Bound, CannotOpen, Key, append_raw, to_text};
use proptest::collection::vec;
use proptest::prelude::*;

type Place = (String, Vec<u8>, Vec<u8>);

fn place() -> impl Strategy<Value = Place> {
    ("[a-z]{1,8}", vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..20))
}

fn bound((purpose, organisation, subject): &Place) -> Bound {
    Bound::to(purpose, &[organisation, subject])
}

proptest! {
    #[test]
    fn opens_in_its_own_place_only(
        value in vec(any::<u8>(), 0..300),
        here in place(),
        there in place(),
    ) {
        let (key, other) = (Key::fresh(), Key::fresh());
        let token = key.seal(bound(&here), &value);

        prop_assert_eq!(key.open(bound(&here), &token).unwrap(), &value[..]);
        prop_assert_eq!(other.open(bound(&here), &token), Err(CannotOpen));
        if here != there {
            prop_assert_eq!(key.open(bound(&there), &token), Err(CannotOpen));
        }
    }

    #[test]
    fn sealed_again_it_opens_for_the_new_key_in_the_old_place(
        value in vec(any::<u8>(), 0..300),
        here in place(),
    ) {
        let (old, new) = (Key::fresh(), Key::fresh());
        let token = old.reseal(&old.seal(bound(&here), &value), &new).unwrap();

        prop_assert_eq!(new.open(bound(&here), &token).unwrap(), &value[..]);
        prop_assert!(new.made(&token) && !old.made(&token));
    }

    #[test]
    fn changed_bit_closes_it(
        value in vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let key = Key::fresh();
        let here = Bound::to("payload", &[b"a"]);
        let mut raw = Vec::new();
        assert!(append_raw(&key.seal(here, &value), &mut raw));
        let at = at.index(raw.len());
        raw[at] ^= 1 << bit;

        prop_assert_eq!(key.open(here, &to_text(&raw)), Err(CannotOpen));
    }
}
