//! Where a request comes from: the peer of its connection, or what a proxy that is trusted says.
//!
//! `X-Forwarded-For` is read from its end: each proxy appends whom it heard from, so everything before the first address
//! that is no trusted proxy is a client's own word.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::Request;

use crate::socket::Wire;

const HEADER: &str = "x-forwarded-for";

/// A range of addresses, `10.0.0.0/8` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: u128,
    /// How many of the first bits count, of an IPv6 address.
    bits: u32,
}

/// Text that is no range of addresses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("write an address or a range like 10.0.0.0/8 or fd00::/8")]
pub struct NoCidr;

impl Cidr {
    /// Whether the address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(number(address), self.bits) == self.network
    }
}

impl FromStr for Cidr {
    type Err = NoCidr;

    fn from_str(text: &str) -> Result<Self, NoCidr> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.trim().parse().map_err(|_| NoCidr)?;
        let (most, before) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let length = length.map_or(Ok(most), |length| length.trim().parse().map_err(|_| NoCidr))?;
        if length > most {
            return Err(NoCidr);
        }
        let bits = before + length;
        Ok(Self { network: masked(number(address), bits), bits })
    }
}

/// Where a request comes from; unknown where there is no socket.
pub(crate) fn of(request: &Request, trusted: &[Cidr]) -> Option<IpAddr> {
    let peer = request.extensions().get::<Arc<Wire>>()?.peer()?;
    if trusted.is_empty() {
        return Some(peer);
    }
    let said = request.headers().get_all(HEADER).iter().filter_map(|value| value.to_str().ok());
    let said: Vec<&str> = said.flat_map(|value| value.split(',')).map(str::trim).collect();
    Some(behind(peer, &said, trusted))
}

/// The first address from the end that no trusted proxy has. What cannot be read ends the way back.
fn behind(peer: IpAddr, said: &[&str], trusted: &[Cidr]) -> IpAddr {
    let mut seen = peer;
    for text in said.iter().rev() {
        if !trusted.iter().any(|range| range.contains(seen)) {
            break;
        }
        let Some(address) = address(text) else { break };
        seen = address.to_canonical();
    }
    seen
}

/// An address, perhaps with a port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.split_once(']')).map_or(text, |t| t.0);
    bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()))
}

fn number(address: IpAddr) -> u128 {
    let address = match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address),
        IpAddr::V6(address) => address,
    };
    Ipv6Addr::to_bits(address)
}

fn masked(address: u128, bits: u32) -> u128 {
    address & u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("fd00::/8", "fdab::1", true),
        ];
        for (range, address, expected) in table {
            let range: Cidr = range.parse().unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), expected, "{range:?} {address}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/x", "host", "10.0.0.0/-1"] {
            assert_eq!(bad.parse::<Cidr>(), Err(NoCidr), "{bad}");
        }
    }

    #[test]
    fn client_cannot_choose_its_own_address() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let table = [
            ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
            ("10.0.0.1", "203.0.113.9, 10.0.0.7", "203.0.113.9"),
            ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
            ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("10.0.0.1", "nonsense", "10.0.0.1"),
            ("10.0.0.1", "1.1.1.1, nonsense, 10.0.0.7", "10.0.0.7"),
            ("203.0.113.5", "1.1.1.1", "203.0.113.5"),
        ];
        for (peer, said, expected) in table {
            let said: Vec<&str> = said.split(',').map(str::trim).collect();
            let found = behind(peer.parse().unwrap(), &said, &trusted);
            assert_eq!(found.to_string(), expected, "{peer} {said:?}");
        }
    }
}
