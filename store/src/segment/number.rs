//! Numbers in as few bytes as they need: seven bits each, the lowest first, the top bit set on all
//! but the last. Pure.

/// Ten times seven bits hold any `u64`.
const LONGEST: u32 = 10;

pub(super) fn write(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// The number at the start of `input`, which is moved past it; `None` if there is none.
pub(super) fn read(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..LONGEST {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        number |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte & 0x80 == 0 {
            // The tenth byte has room for one bit.
            return (place + 1 < LONGEST || *byte <= 1).then_some(number);
        }
    }
    None
}

/// Puts small numbers of either sign among the small ones.
pub(super) fn fold_sign(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

pub(super) fn unfold_sign(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_number_comes_back(number: u64, shift in 0u32..64) {
            let number = number >> shift;
            let mut bytes = Vec::new();
            write(&mut bytes, number);
            let mut input = &bytes[..];

            prop_assert_eq!(read(&mut input), Some(number));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_sign_comes_back(number: i64, shift in 0u32..64) {
            prop_assert_eq!(unfold_sign(fold_sign(number >> shift)), number >> shift);
        }
    }

    #[test]
    fn small_numbers_are_short() {
        for (number, length) in [(0, 1), (127, 1), (128, 2), (u64::MAX, 10)] {
            let mut bytes = Vec::new();
            write(&mut bytes, number);

            assert_eq!(bytes.len(), length, "{number}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        let eleven = [0x80; 11];
        let above_64_bits = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        for bad in [&[][..], &[0x80], &eleven, &above_64_bits] {
            assert_eq!(read(&mut &bad[..]), None, "{bad:?}");
        }
    }
}
