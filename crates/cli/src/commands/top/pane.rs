//! The lists on the screen, and the orders in which they can be.

/// A list on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Attachments,
    Rules,
    Events,
    Knobs,
}

/// An order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Denials first, then by what happened in the last minute.
    Denials,
    /// Most events in all first.
    Total,
    /// What happened last first.
    Latest,
    /// What happened first comes first.
    Oldest,
    Name,
}

impl Pane {
    /// From top to bottom.
    pub(super) const ALL: [Self; 4] = [Self::Attachments, Self::Rules, Self::Events, Self::Knobs];

    /// The next one, or the previous one.
    pub(super) fn next(self, forward: bool) -> Self {
        Self::ALL[(self as usize + if forward { 1 } else { 3 }) % 4]
    }

    /// Its orders; the first one is the one at the start.
    pub(super) fn orders(self) -> &'static [Order] {
        match self {
            Self::Attachments | Self::Rules => &[Order::Denials, Order::Total, Order::Latest, Order::Name],
            Self::Events => &[Order::Latest, Order::Oldest],
            Self::Knobs => &[Order::Latest, Order::Denials, Order::Total, Order::Name],
        }
    }
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Denials => "denials first",
            Self::Total => "by total",
            Self::Latest => "latest first",
            Self::Oldest => "oldest first",
            Self::Name => "by name",
        }
    }
}
