//! Turning rows into the columns that `unnest` wants.

use sqlx::{Arguments as _, postgres::PgArguments};

use super::session::Query;

/// What an array takes besides its values, and a value besides its bytes: its length, and a number where it is one.
const ARRAY: usize = 24;
const VALUE: usize = 12;

/// A statement with room for so many columns and values of them, and for what the values have of texts and `bytes`: all
/// are written into one buffer, which would otherwise be moved each time that it grows.
pub(super) fn roomy(sql: &'static str, columns: usize, values: usize, bytes: usize) -> Query {
    let mut arguments = PgArguments::default();
    arguments.reserve(columns, columns * ARRAY + values * VALUE + bytes);
    sqlx::query_with(sql, arguments)
}

/// One column of `rows`.
pub(super) fn column<'a, R, T>(rows: &'a [R], value: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}
