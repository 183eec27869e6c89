//! Cutting a run of events into segments. Pure.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use bytes::Bytes;

use super::{FORMAT, Segment, number, origin};
use crate::{
    chain::Hash,
    event::{Event, Origin, Position},
};

/// Cuts a run that begins at `first` into segments of at most `limit` bytes. An event that is
/// larger is a segment of its own.
pub(crate) fn cut<'a>(
    first: Position,
    events: impl Iterator<Item = (&'a Event, &'a Hash)>,
    limit: usize,
) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut open = Encoder::new(first);
    for (event, hash) in events {
        let before = open.end;
        open.push(event, hash);
        if open.len() > limit && open.end.events > 1 {
            segments.push(open.close(before));
            open.push(event, hash);
        }
    }
    if open.end.events > 0 {
        segments.push(open.close(open.end));
    }
    segments
}

/// The segment that is being filled. Its buffers serve all segments of a run.
struct Encoder<'a> {
    first: Position,
    body: Vec<u8>,
    sealed: Vec<u8>,
    /// The names so far, by number.
    names: HashMap<&'a str, u64>,
    origin: Option<&'a Arc<Origin>>,
    at: i64,
    end: End,
}

/// Where a segment ends, or ended before its latest event.
#[derive(Clone, Copy, Default)]
struct End {
    events: u64,
    body: usize,
    sealed: usize,
    any_sealed: bool,
}

impl<'a> Encoder<'a> {
    fn new(first: Position) -> Self {
        Self {
            first,
            body: vec![FORMAT],
            sealed: Vec::new(),
            names: HashMap::new(),
            origin: None,
            at: 0,
            end: End::default(),
        }
    }

    fn push(&mut self, event: &'a Event, hash: &Hash) {
        self.push_name(&event.stream);
        self.push_name(&event.kind);
        number::write(&mut self.body, event.version.into());
        number::write(&mut self.body, event.codec.number() as u64);
        number::write(&mut self.body, number::fold_sign(event.at.wrapping_sub(self.at)));
        self.at = event.at;
        self.push_name(&event.by);
        self.push_origin(event.origin.as_ref());
        number::write(&mut self.body, event.body.len() as u64);
        self.body.extend_from_slice(&event.body);
        self.body.extend_from_slice(hash.as_bytes());
        number::write(
            &mut self.sealed,
            event.sealed.as_ref().map_or(0, |part| part.len() as u64 + 1),
        );
        self.sealed.extend_from_slice(event.sealed.as_deref().unwrap_or_default());
        self.end = End {
            events: self.end.events + 1,
            body: self.body.len(),
            sealed: self.sealed.len(),
            any_sealed: self.end.any_sealed || event.sealed.is_some(),
        };
    }

    fn push_name(&mut self, name: &'a str) {
        let next = self.names.len() as u64;
        match self.names.get(name) {
            Some(known) => number::write(&mut self.body, 2 * known + 1),
            None => {
                self.names.insert(name, next);
                number::write(&mut self.body, 2 * name.len() as u64);
                self.body.extend_from_slice(name.as_bytes());
            }
        }
    }

    fn push_origin(&mut self, given: Option<&'a Arc<Origin>>) {
        match given {
            None => self.body.push(origin::NONE),
            Some(given) if self.origin == Some(given) => self.body.push(origin::SAME),
            Some(given) => {
                origin::write(&mut self.body, given);
                self.origin = Some(given);
            }
        }
    }

    /// Bytes of the row if it ended here.
    fn len(&self) -> usize {
        self.end.body + if self.end.any_sealed { self.end.sealed } else { 0 }
    }

    /// What was filled up to `end`, which forgets what came after it; the next segment begins.
    fn close(&mut self, end: End) -> Segment {
        let first = self.first;
        self.first += end.events;
        let body = Bytes::copy_from_slice(&self.body[..end.body]);
        let sealed = end.any_sealed.then(|| Bytes::copy_from_slice(&self.sealed[..end.sealed]));
        self.body.truncate(1);
        self.sealed.clear();
        self.names.clear();
        (self.at, self.end, self.origin) = (0, End::default(), None);
        Segment { first, last: self.first - 1, body, sealed }
    }
}
