//! Where events came from, in as few bytes as that needs. Pure.
//!
//! Ids of requests are UUIDs unless a client gave its own: 16 bytes instead of 36 for what every request costs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use uuid::Uuid;

use super::number;
use crate::event::Origin;

/// It came from no request.
pub(super) const NONE: u8 = 0;
/// It came from the last origin that the segment names before it.
pub(super) const SAME: u8 = 1;
const UUID: u8 = 2;
const TEXT: u8 = 3;

/// What stands where an origin stands.
pub(super) enum Read {
    None,
    Same,
    New(Origin),
}

pub(super) fn write(into: &mut Vec<u8>, origin: &Origin) {
    match uuid(&origin.request) {
        Some(id) => {
            into.push(UUID);
            into.extend_from_slice(id.as_bytes());
        }
        None => {
            into.push(TEXT);
            number::write(into, origin.request.len() as u64);
            into.extend_from_slice(origin.request.as_bytes());
        }
    }
    match origin.source {
        None => into.push(0),
        Some(IpAddr::V4(address)) => {
            into.push(4);
            into.extend_from_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            into.push(16);
            into.extend_from_slice(&address.octets());
        }
    }
}

/// What stands at the start of `input`, which is moved past it; `None` if that is nothing known.
pub(super) fn read(input: &mut &[u8]) -> Option<Read> {
    let form = take(input, 1)?[0];
    let request = match form {
        NONE => return Some(Read::None),
        SAME => return Some(Read::Same),
        UUID => Uuid::from_slice(take(input, 16)?).ok()?.hyphenated().to_string().into(),
        TEXT => {
            let length = usize::try_from(number::read(input)?).ok()?;
            std::str::from_utf8(take(input, length)?).ok()?.into()
        }
        _ => return None,
    };
    let source = match take(input, 1)?[0] {
        0 => None,
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(take(input, 4)?).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(take(input, 16)?).ok()?).into()),
        _ => return None,
    };
    Some(Read::New(Origin { request, source }))
}

/// The id in 16 bytes, if that gives the same text again.
fn uuid(request: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(request).ok()?;
    let mut text = Uuid::encode_buffer();
    (id.hyphenated().encode_lower(&mut text) == request).then_some(id)
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(taken)
}
