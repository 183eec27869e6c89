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

/// Where a poll stands among those of its party. In one line, what is put later stands later, for ever: hints between
/// classes and parties rest on that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which line of the party's polls.
    pub line: u8,
    /// Where in it, and among all polls.
    pub order: Order,
}

impl Place {
    /// Of polls that only their age tells apart.
    pub fn by_age(seq: u64) -> Self {
        Self { line: 0, order: Order::by_age(seq) }
    }
}
