//! Where something stands in its queue. Pure.

/// The lowest goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// What counts: a time less what priority is worth, in microseconds. Nothing starves, because a priority is worth
    /// a fixed time of waiting: whatever has waited longer than that is overtaken no more.
    pub rank: i64,
    /// Unique: between equal ranks the older goes first.
    pub seq: u64,
}

impl Order {
    /// Of things that only their age tells apart.
    pub fn by_age(seq: u64) -> Self {
        Self { rank: 0, seq }
    }
}
