//! One append is one statement for all cells; what it did not move is looked at cell by cell.
//!
//! A statement that fails because of a row says nothing about which: the batch is split by cell,
//! and a cell's events are halved until the first that cannot be stored stands alone.

use std::collections::HashSet;

use sqlx::{Error, Row};

use super::{
    array::{column, roomy},
    error::refusal,
    read::{self, heads_query},
    session::{Query, Session},
};
use crate::{
    attempt::Attempt, error::AppendError, event::CellId, journal::CellHead, row::signed,
    segment::Segment,
};

type Answer = Result<CellHead, AppendError>;

/// A page has 8,192 bytes, of which header, line pointer, row header, two positions, the cell and
/// the lengths take some 90. What is left over is room for a cell's remainder of a batch.
const SEGMENT_BYTES: usize = 7_900;

/// Columns of its statement that have a value for each cell, and for each segment.
const OF_CELLS: usize = 6;
const OF_SEGMENTS: usize = 5;
/// Two of a cell are not numbers.
const HASH_BYTES: usize = 32;

/// How often a cell may be found neither moved nor written nor fenced. Once is a write of ours
/// that was undone between two statements; more is something we do not understand.
const TRIES: usize = 4;

/// Some of the events of one attempt: those from index `from` up to and without `to`.
struct Part<'a> {
    attempt: &'a Attempt,
    from: usize,
    to: usize,
}

impl<'a> Part<'a> {
    fn all(attempt: &'a Attempt) -> Self {
        Self { attempt, from: 0, to: attempt.len() }
    }

    fn rows(&self) -> impl Iterator<Item = (CellId, Segment)> {
        let cell = self.attempt.cell();
        let segments = self.attempt.segments(self.from..self.to, SEGMENT_BYTES);
        segments.into_iter().map(move |segment| (cell, segment))
    }
}

/// The answers in the order of `attempts`; `Err` leaves every cell unknown.
pub(super) async fn append(
    session: &mut Session<'_>,
    attempts: &[Attempt],
) -> Result<Vec<Answer>, Error> {
    // A cell that appears twice has its second part written after the first.
    let mut seen = HashSet::new();
    let firsts = attempts.iter().filter(|attempt| seen.insert(attempt.cell()));
    let parts: Vec<Part<'_>> = firsts.map(Part::all).collect();
    let mut moved = match write(session, &parts).await {
        Ok(moved) => moved,
        Err(error) => refusal(&error).map(|_| HashSet::new()).ok_or(error)?,
    };
    let mut answers = Vec::with_capacity(attempts.len());
    for attempt in attempts {
        let answer = match moved.remove(&attempt.cell()) {
            true => attempt.answer(),
            false => append_alone(session, attempt).await?,
        };
        answers.push(answer);
    }
    Ok(answers)
}

/// One cell, however many statements it takes.
async fn append_alone(session: &mut Session<'_>, attempt: &Attempt) -> Result<Answer, Error> {
    let mut stored = match find(session, attempt).await? {
        Ok(stored) => stored,
        Err(fenced) => return Ok(Err(fenced)),
    };
    // Where a part ended that was refused as a whole: an event before it cannot be stored.
    let mut suspect = None;
    let mut tries = TRIES;
    while stored < attempt.len() {
        let to = attempt.next_stop(stored, suspect);
        match write(session, &[Part { attempt, from: stored, to }]).await {
            Ok(moved) if moved.contains(&attempt.cell()) => stored = to,
            Ok(_) => {
                tries = tries.checked_sub(1).ok_or_else(lost_track)?;
                stored = match find(session, attempt).await? {
                    Ok(found) => found,
                    Err(fenced) => return Ok(Err(fenced)),
                };
            }
            Err(error) => {
                let reason = refusal(&error).ok_or(error)?;
                if to == stored + 1 {
                    return Ok(Err(attempt.refused(stored, reason)));
                }
                suspect = Some(to);
            }
        }
        // Past every suspect: whatever was refused before is not refused any more.
        suspect = suspect.filter(|end| stored < *end);
    }
    Ok(attempt.answer())
}

/// How many of the events the cell's row shows to be in.
async fn find(
    session: &mut Session<'_>,
    attempt: &Attempt,
) -> Result<Result<usize, AppendError>, Error> {
    let rows = session.all(heads_query(&[attempt.cell()])).await?;
    let head = rows.first().map(read::head).transpose();
    let head = head.map_err(|damaged| Error::Decode(Box::new(damaged)))?;
    Ok(attempt.stored(head.as_ref()))
}

fn lost_track() -> Error {
    Error::Protocol("a cell is where it was and yet does not move".into())
}

/// One statement; answers the cells that moved.
async fn write(session: &mut Session<'_>, parts: &[Part<'_>]) -> Result<HashSet<CellId>, Error> {
    let rows = session.all(append_query(parts)).await?;
    rows.iter().map(|row| row.try_get(0).map(CellId)).collect()
}

fn append_query(parts: &[Part<'_>]) -> Query {
    let before: Vec<CellHead> =
        parts.iter().map(|part| part.attempt.head_after(part.from)).collect();
    let after: Vec<CellHead> = parts.iter().map(|part| part.attempt.head_after(part.to)).collect();
    let rows: Vec<(CellId, Segment)> = parts.iter().flat_map(Part::rows).collect();
    let hashes = 2 * HASH_BYTES * parts.len();
    let bytes = hashes + rows.iter().map(|(_, segment)| segment.len()).sum::<usize>();
    let values = OF_CELLS * parts.len() + OF_SEGMENTS * rows.len();
    roomy(include_str!("../sql/postgres/append.sql"), OF_CELLS + OF_SEGMENTS, values, bytes)
        .bind(column(&before, |head| head.cell.0))
        .bind(column(&before, |head| signed(head.epoch)))
        .bind(column(&before, |head| signed(head.head)))
        .bind(column(&before, |head| &head.hash.as_bytes()[..]))
        .bind(column(&after, |head| signed(head.head)))
        .bind(column(&after, |head| &head.hash.as_bytes()[..]))
        .bind(column(&rows, |(cell, _)| cell.0))
        .bind(column(&rows, |(_, segment)| signed(segment.last)))
        .bind(column(&rows, |(_, segment)| signed(segment.first)))
        .bind(column(&rows, |(_, segment)| &segment.body[..]))
        .bind(column(&rows, |(_, segment)| segment.sealed.as_deref()))
}
