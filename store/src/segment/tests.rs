//! What comes out of segments is what went in, and nothing that is damaged does harm.

use std::sync::Arc;

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    chain::{chain, genesis, verify},
    error::ReadError,
    event::{CellId, Codec, Event, Origin, StoredEvent},
    journal::ReadLimit,
};

const CELL: CellId = CellId(7);
const FIRST: Position = 41;
const EVERYTHING: ReadLimit = ReadLimit { events: usize::MAX, bytes: usize::MAX };

proptest! {
    #[test]
    fn every_event_comes_back(run in run(), limit in 0usize..2_000) {
        let segments = cut_run(&run, limit);

        prop_assert_eq!(read(&segments, Wanted::After(0), EVERYTHING).unwrap(), run);
    }

    #[test]
    fn segments_follow_each_other_and_keep_the_limit(run in run(), limit in 0usize..2_000) {
        let mut next = FIRST;
        for segment in cut_run(&run, limit) {
            prop_assert_eq!(segment.first, next);
            prop_assert!(segment.last >= segment.first);
            prop_assert!(segment.len() <= limit || segment.last == segment.first);
            next = segment.last + 1;
        }
        prop_assert_eq!(next, FIRST + run.len() as u64);
    }

    #[test]
    fn stream_stands_in_its_segment_in_plain_bytes(run in run(), limit in 0usize..2_000) {
        for segment in cut_run(&run, limit) {
            for stored in &run[index(segment.first)..=index(segment.last)] {
                let name = stored.event.stream.as_bytes();
                let mut places = segment.body.windows(name.len().max(1));
                prop_assert!(name.is_empty() || places.any(|place| place == name));
            }
        }
    }

    #[test]
    fn page_is_what_was_asked(
        run in run(),
        cut_at in 0usize..2_000,
        events in 0usize..12,
        bytes in 0usize..300,
        bound in 35u64..70,
    ) {
        let (segments, limit) = (cut_run(&run, cut_at), ReadLimit { events, bytes });
        let after = run.iter().filter(|stored| stored.seq > bound);
        let before = run.iter().rev().filter(|stored| stored.seq < bound);
        let stream = after.clone().filter(|stored| &*stored.event.stream == "a");
        let at = [bound, bound + 3, bound + 4];
        let back: Vec<Segment> = segments.iter().rev().cloned().collect();
        let of_stream = Wanted::Stream { name: "a", after: bound };

        prop_assert_eq!(read(&segments, Wanted::After(bound), limit).unwrap(), taken(after, limit));
        prop_assert_eq!(read(&back, Wanted::Before(bound), limit).unwrap(), taken(before, limit));
        prop_assert_eq!(read(&segments, of_stream, limit).unwrap(), taken(stream, limit));
        prop_assert_eq!(
            read(&segments, Wanted::At(&at), EVERYTHING).unwrap(),
            taken(run.iter().filter(|stored| at.contains(&stored.seq)), EVERYTHING)
        );
    }

    #[test]
    fn cut_off_segment_is_an_error(run in run(), keep in any::<prop::sample::Index>()) {
        let Some(whole) = cut_run(&run, usize::MAX).pop() else { return Ok(()) };
        let body = whole.body.slice(..keep.index(whole.body.len()));
        let sealed = whole.sealed.clone().filter(|sealed| !sealed.is_empty());
        let sealed = sealed.map(|sealed| sealed.slice(..keep.index(sealed.len())));

        let mut damaged = vec![Segment { body, ..whole.clone() }];
        damaged.extend(sealed.map(|sealed| Segment { sealed: Some(sealed), ..whole }));

        for segment in damaged {
            prop_assert!(read(&[segment], Wanted::After(0), EVERYTHING).is_err());
        }
    }

    #[test]
    fn flipped_bit_never_makes_other_events_believed(
        run in run(),
        place in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let Some(whole) = cut_run(&run, usize::MAX).pop() else { return Ok(()) };
        let mut body = whole.body.to_vec();
        body[place.index(whole.body.len())] ^= 1 << bit;
        let damaged = Segment { body: body.into(), ..whole };

        match read(&[damaged], Wanted::After(0), EVERYTHING) {
            Err(ReadError::Unreadable { cell, seq, .. }) => {
                prop_assert!(cell == CELL && index(seq) < run.len());
            }
            Err(other) => panic!("{other:?}"),
            // An empty name has two spellings of one byte that differ in one bit.
            Ok(read) if read == run => {}
            Ok(read) => prop_assert!(verify(CELL, FIRST - 1, genesis(CELL), &read).is_err()),
        }
    }

    #[test]
    fn any_bytes_are_events_or_an_error(
        body in vec(any::<u8>(), 0..200),
        sealed in option::of(vec(any::<u8>(), 0..50)),
        last in FIRST..,
    ) {
        let mut with_format = vec![FORMAT];
        with_format.extend(&body);
        for body in [body, with_format] {
            let sealed = sealed.clone().map(Bytes::from);
            let segment = Segment { first: FIRST, last, body: body.into(), sealed };

            if let Ok(events) = read(&[segment], Wanted::After(0), EVERYTHING) {
                prop_assert_eq!(events.len() as u64, last - FIRST + 1);
            }
        }
    }
}

#[test]
fn layout_of_a_segment_never_changes() {
    let event = |at, sealed: Option<&'static str>| Event {
        stream: "task/1".into(),
        kind: "opened".into(),
        version: 1,
        codec: Codec::Json,
        at,
        by: "ann".into(),
        origin: None,
        body: "{}".into(),
        sealed: sealed.map(Bytes::from),
    };
    let run = chained(vec![event(1_000, None), event(998, Some("hush"))]);

    let segment = cut_run(&run, usize::MAX).remove(0);

    let mut expected = b"\x02\x0ctask/1\x0copened\x01\x01\xd0\x0f\x06ann\x00\x02{}".to_vec();
    expected.extend(run[0].hash.as_bytes());
    expected.extend(b"\x01\x03\x01\x01\x03\x05\x00\x02{}");
    expected.extend(run[1].hash.as_bytes());
    assert_eq!(segment.body, expected);
    assert_eq!(segment.sealed, Some(Bytes::from_static(b"\x00\x05hush")));
}

#[test]
fn error_names_the_event_and_those_before_it_are_read() {
    let run = chained(["a", "b", "c"].map(|body| event("s", body)).into());
    let whole = cut_run(&run, usize::MAX).remove(0);
    // The third event refers to names; the second ends with its hash.
    let length = whole.body.len();
    let damaged = Segment { body: whole.body.slice(..length - 1), ..whole };

    let first_two = read(
        std::slice::from_ref(&damaged),
        Wanted::After(0),
        ReadLimit { events: 2, ..EVERYTHING },
    );
    let all = read(&[damaged], Wanted::After(0), EVERYTHING);

    assert_eq!(first_two.unwrap(), run[..2]);
    assert!(matches!(all, Err(ReadError::Unreadable { cell: CELL, seq: 43, .. })), "{all:?}");
}

#[test]
fn unknown_format_is_said() {
    let body = Bytes::from_static(&[9, 0]);
    let segment = Segment { first: 1, last: 1, body, sealed: None };

    let error = read(&[segment], Wanted::After(0), EVERYTHING).unwrap_err();

    assert!(error.to_string().contains("format 9"), "{error}");
}

fn run() -> impl Strategy<Value = Vec<StoredEvent>> {
    let name = prop_oneof![Just("a".to_owned()), Just(String::new()), "[a-zü/]{0,40}"];
    let part = vec(any::<u8>(), 0..60);
    let event = (name.clone(), name.clone(), name, any::<(u16, bool, i64)>(), part.clone());
    let event = (event, option::of(part), origin()).prop_map(
        |((stream, kind, by, (version, json, at), body), sealed, origin)| Event {
            stream: stream.into(),
            kind: kind.into(),
            version,
            codec: if json { Codec::Json } else { Codec::Bincode },
            at,
            by: by.into(),
            origin,
            body: body.into(),
            sealed: sealed.map(Bytes::from),
        },
    );
    vec(event, 0..25).prop_map(chained)
}

/// Few different ones, so that neighbours often have the same.
fn origin() -> impl Strategy<Value = Option<Arc<Origin>>> {
    let id = "018f0000-0000-7000-8000-0000000000ab";
    let request = prop_oneof![Just(id.to_owned()), Just(id.to_uppercase()), "[a-c]{0,2}"];
    let source = prop_oneof![Just("1.2.3.4"), Just("::ffff:1.2.3.4")];
    let source = option::of(source.prop_map(|address| address.parse().unwrap()));
    let origin = (request, source)
        .prop_map(|(request, source)| Arc::new(Origin { request: request.into(), source }));
    option::of(origin)
}

#[test]
fn request_costs_21_bytes_once() {
    let request = "018f0000-0000-7000-8000-0000000000ab".into();
    let origin = Arc::new(Origin { request, source: Some([10, 0, 0, 1].into()) });
    let length = |origins: [Option<&Arc<Origin>>; 2]| {
        let events = origins.map(|origin| Event { origin: origin.cloned(), ..event("s", "") });
        cut_run(&chained(events.into()), usize::MAX)[0].len()
    };

    let none = length([None, None]);
    assert_eq!(length([Some(&origin), None]) - none, 21);
    assert_eq!(length([Some(&origin), Some(&origin)]) - none, 21);
}

fn event(stream: &str, body: &'static str) -> Event {
    Event {
        stream: stream.into(),
        kind: "kind".into(),
        version: 1,
        codec: Codec::Json,
        at: 0,
        by: "ann".into(),
        origin: None,
        body: body.into(),
        sealed: None,
    }
}

fn chained(events: Vec<Event>) -> Vec<StoredEvent> {
    let mut hash = genesis(CELL);
    let stored = events.into_iter().zip(FIRST..).map(|(event, seq)| {
        hash = chain(&hash, CELL, seq, &event);
        StoredEvent { cell: CELL, seq, event, hash }
    });
    stored.collect()
}

fn cut_run(run: &[StoredEvent], limit: usize) -> Vec<Segment> {
    cut(FIRST, run.iter().map(|stored| (&stored.event, &stored.hash)), limit)
}

fn read(
    segments: &[Segment],
    wanted: Wanted<'_>,
    limit: ReadLimit,
) -> Result<Vec<StoredEvent>, ReadError> {
    let mut page = Page::new(limit);
    segments.iter().try_for_each(|segment| page.add(CELL, segment, wanted))?;
    Ok(page.into_events())
}

/// As many as the limit allows, and always the first.
fn taken<'a>(events: impl Iterator<Item = &'a StoredEvent>, limit: ReadLimit) -> Vec<StoredEvent> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for stored in events.take(limit.events) {
        bytes += stored.event.size();
        if bytes > limit.bytes && !taken.is_empty() {
            break;
        }
        taken.push(stored.clone());
    }
    taken
}

fn index(seq: Position) -> usize {
    (seq - FIRST) as usize
}
