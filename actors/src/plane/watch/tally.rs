//! Refused requests of one minute, counted by code and by where they come from. Pure, and of bounded size: codes are
//! our own, and of addresses only those are kept that come most.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use crate::access::{Event, Source};

/// Addresses that are counted at once. One more takes the place, and the count, of the rarest: so none is counted too
/// low, and whoever comes most is among them.
const COUNTED: usize = 64;
/// Addresses that the event names.
const NAMED: usize = 10;

#[derive(Debug)]
pub(super) struct Tally {
    since: i64,
    codes: BTreeMap<&'static str, u64>,
    sources: HashMap<Option<IpAddr>, u64>,
}

impl Tally {
    pub(super) fn new(since: i64) -> Self {
        Self { since, codes: BTreeMap::new(), sources: HashMap::new() }
    }

    pub(super) fn add(&mut self, code: &'static str, source: Option<IpAddr>) {
        *self.codes.entry(code).or_default() += 1;
        let source = source.map(network);
        let inherited = match self.sources.contains_key(&source) || self.sources.len() < COUNTED {
            true => 0,
            false => {
                let rarest = self.sources.iter().min_by_key(|(_, count)| **count);
                let rarest = rarest.map(|(source, _)| *source);
                rarest.and_then(|source| self.sources.remove(&source)).unwrap_or_default()
            }
        };
        *self.sources.entry(source).or_insert(inherited) += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.codes.values().sum()
    }

    pub(super) fn event(self) -> Event {
        let count = self.count();
        let sources = self.sources.into_iter().map(|(address, count)| Source { address, count });
        let mut sources: Vec<_> = sources.collect();
        sources.sort_by_key(|source| (std::cmp::Reverse(source.count), source.address));
        sources.truncate(NAMED);
        let codes = self.codes.into_iter().map(|(code, count)| (code.to_owned(), count)).collect();
        Event::Refused { count, codes, sources, since: self.since }
    }
}

/// Whoever has one IPv6 address has a whole network of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_most_is_named_first_however_many_others_come() {
        let mut tally = Tally::new(7);
        for n in 0..10_000u32 {
            tally.add("bad_token", Some(IpAddr::from(n.to_be_bytes())));
            if n % 4 == 0 {
                tally.add("not_found", Some([203, 0, 113, 9].into()));
            }
        }

        assert_eq!(tally.sources.len(), COUNTED);
        let Event::Refused { count, codes, sources, since } = tally.event() else { unreachable!() };
        assert_eq!((count, since, sources.len()), (12_500, 7, NAMED));
        assert_eq!((codes["bad_token"], codes["not_found"]), (10_000, 2_500));
        assert_eq!(sources[0].address, Some([203, 0, 113, 9].into()));
        assert!(sources[0].count >= 2_500);
    }

    #[test]
    fn network_is_one_source() {
        let mut tally = Tally::new(0);
        for address in ["2001:db8::1", "2001:db8::2:3"] {
            tally.add("bad_token", Some(address.parse().unwrap()));
        }

        assert_eq!(tally.sources[&Some("2001:db8::".parse().unwrap())], 2);
    }
}
