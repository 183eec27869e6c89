//! Reading the events of a segment. Pure.
//!
//! Nothing that is read is believed: every length is checked against what is left, and nothing is
//! made larger than that.

use std::{ops::RangeInclusive, str, sync::Arc};

use bytes::Bytes;

use super::{FORMAT, Segment, number, origin};
use crate::{
    chain::Hash,
    error::ReadError,
    event::{CellId, Codec, Event, Origin, Position, StoredEvent},
};

const HASH_BYTES: usize = 32;

type Reason = String;

impl Segment {
    /// Those of its events in `range` that `wanted` picks by position and stream, oldest first. The
    /// first error names the event that cannot be read; nothing after it can be. What comes after
    /// `range` is not looked at.
    pub(super) fn decode<'a>(
        &'a self,
        cell: CellId,
        range: RangeInclusive<Position>,
        mut wanted: impl FnMut(Position, &str) -> bool + 'a,
    ) -> impl Iterator<Item = Result<StoredEvent, ReadError>> + 'a {
        let mut decoder = Decoder::new(self);
        let positions = self.first..=self.last.min(*range.end());
        positions.filter_map(move |seq| match decoder.next(seq == self.last) {
            Ok(outline) => {
                let stream = decoder.names[outline.stream].text;
                let picked = range.contains(&seq) && wanted(seq, stream);
                picked.then(|| Ok(decoder.fill(cell, seq, &outline)))
            }
            Err(reason) => Some(Err(ReadError::Unreadable { cell, seq, reason })),
        })
    }
}

struct Decoder<'a> {
    segment: &'a Segment,
    /// What is left of the body; none before its format was read.
    body: Option<&'a [u8]>,
    sealed: Option<&'a [u8]>,
    names: Vec<Name<'a>>,
    /// The last one that was named.
    origin: Option<Arc<Origin>>,
    at: i64,
}

struct Name<'a> {
    text: &'a str,
    /// Made when the first event needs it; the others share it.
    shared: Option<Arc<str>>,
}

/// An event that was found and not yet copied.
struct Outline<'a> {
    /// Numbers of names.
    stream: usize,
    kind: usize,
    by: usize,
    has_origin: bool,
    version: u16,
    codec: Codec,
    at: i64,
    body: &'a [u8],
    sealed: Option<&'a [u8]>,
    hash: Hash,
}

impl<'a> Decoder<'a> {
    fn new(segment: &'a Segment) -> Self {
        let sealed = segment.sealed.as_deref();
        Self { segment, body: None, sealed, names: Vec::new(), origin: None, at: 0 }
    }

    /// The next event; the last must be the end of the segment.
    fn next(&mut self, is_last: bool) -> Result<Outline<'a>, Reason> {
        let mut body = match self.body {
            Some(rest) => rest,
            None => after_format(&self.segment.body)?,
        };
        let stream = self.name(&mut body)?;
        let kind = self.name(&mut body)?;
        let version = next_number(&mut body)?;
        let codec = next_number(&mut body)?;
        let at = self.at.wrapping_add(number::unfold_sign(next_number(&mut body)?));
        let by = self.name(&mut body)?;
        let has_origin = self.origin(&mut body)?;
        let length = next_number(&mut body)?;
        let contents = take(&mut body, length)?;
        let hash = take(&mut body, HASH_BYTES as u64)?;
        let sealed = self.sealed.as_mut().map(sealed_part).transpose()?.flatten();
        if is_last && !(body.is_empty() && self.sealed.is_none_or(<[u8]>::is_empty)) {
            return Err("its segment goes on after its last event".into());
        }
        (self.body, self.at) = (Some(body), at);
        let known = i64::try_from(codec).ok().and_then(Codec::from_number);
        Ok(Outline {
            stream,
            kind,
            by,
            has_origin,
            version: version
                .try_into()
                .map_err(|_| format!("version {version} is out of range"))?,
            codec: known.ok_or_else(|| format!("codec {codec} is unknown"))?,
            at,
            body: contents,
            sealed,
            hash: Hash::from_bytes(hash.try_into().map_err(|_| cut_off())?),
        })
    }

    /// The number of the name that comes next.
    fn name(&mut self, body: &mut &'a [u8]) -> Result<usize, Reason> {
        let tag = next_number(body)?;
        if tag & 1 == 1 {
            let known = usize::try_from(tag >> 1).ok().filter(|known| *known < self.names.len());
            return known.ok_or_else(|| "a name of it is missing".into());
        }
        let text = str::from_utf8(take(body, tag >> 1)?).map_err(|_| "a name of it is no text")?;
        self.names.push(Name { text, shared: None });
        Ok(self.names.len() - 1)
    }

    /// Whether there is one; it is the last one then.
    fn origin(&mut self, body: &mut &'a [u8]) -> Result<bool, Reason> {
        match origin::read(body).ok_or_else(cut_off)? {
            origin::Read::None => return Ok(false),
            origin::Read::Same if self.origin.is_none() => {
                return Err("the origin of it is missing".into());
            }
            origin::Read::Same => {}
            origin::Read::New(origin) => self.origin = Some(origin.into()),
        }
        Ok(true)
    }

    fn fill(&mut self, cell: CellId, seq: Position, outline: &Outline<'a>) -> StoredEvent {
        let event = Event {
            stream: self.names[outline.stream].share(),
            kind: self.names[outline.kind].text.to_owned().into(),
            version: outline.version,
            codec: outline.codec,
            at: outline.at,
            by: self.names[outline.by].share(),
            origin: self.origin.clone().filter(|_| outline.has_origin),
            // Read and let go: it may hold on to the whole segment for that long.
            body: self.segment.body.slice_ref(outline.body),
            // May wait in memory with the thing it belongs to, and must cost what it counts.
            sealed: outline.sealed.map(Bytes::copy_from_slice),
        };
        StoredEvent { cell, seq, event, hash: outline.hash }
    }
}

impl Name<'_> {
    fn share(&mut self) -> Arc<str> {
        Arc::clone(self.shared.get_or_insert_with(|| self.text.into()))
    }
}

fn after_format(body: &[u8]) -> Result<&[u8], Reason> {
    match body.split_first() {
        Some((&FORMAT, rest)) => Ok(rest),
        Some((other, _)) => Err(format!("its segment has format {other}, which is unknown")),
        None => Err(cut_off()),
    }
}

fn sealed_part<'a>(sealed: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Reason> {
    match next_number(sealed)? {
        0 => Ok(None),
        length => take(sealed, length - 1).map(Some),
    }
}

fn next_number(input: &mut &[u8]) -> Result<u64, Reason> {
    number::read(input).ok_or_else(cut_off)
}

fn take<'a>(input: &mut &'a [u8], length: u64) -> Result<&'a [u8], Reason> {
    let taken = usize::try_from(length).ok().and_then(|length| input.split_at_checked(length));
    let (taken, rest) = taken.ok_or_else(cut_off)?;
    *input = rest;
    Ok(taken)
}

fn cut_off() -> Reason {
    "its segment is cut off or damaged".into()
}
