//! Whether a rule or default sends events, and how many.

use std::num::NonZeroU32;

use super::PolicyError;
use crate::limits;

/// `log`, `log(N/s)`, `log(all)` or `nolog`.
///
/// ```
/// use knobgate_policy::{EventRate, Logging};
///
/// assert_eq!(Logging::DEFAULT.to_string(), "log");
/// assert_eq!(Logging::Limited(EventRate::per_second(100)?).to_string(), "log(100/s)");
/// # Ok::<(), knobgate_policy::PolicyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logging {
    /// `nolog`: no event for a decision.
    Never,
    /// `log(N/s)`: at most so many events. `log` alone is [`Logging::DEFAULT`].
    Limited(EventRate),
    /// `log(all)`: an event for every decision.
    All,
}

/// A limit of events, in each cgroup: from 1 to [`EVENTS_PER_SECOND_MAX`](limits::EVENTS_PER_SECOND_MAX) a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventRate(NonZeroU32);

impl Logging {
    /// `log`: events at the [default rate](EventRate::DEFAULT).
    pub const DEFAULT: Self = Self::Limited(EventRate::DEFAULT);

    /// Whether a decision sends an event.
    pub fn is_on(self) -> bool {
        self != Self::Never
    }

    /// The limit of the events; `None` if there is no limit. With `nolog` it is the default limit: accesses for which
    /// a rule cannot be evaluated send events even then.
    pub fn limit(self) -> Option<EventRate> {
        match self {
            Self::Never => Some(EventRate::DEFAULT),
            Self::Limited(rate) => Some(rate),
            Self::All => None,
        }
    }
}

impl EventRate {
    /// The rate of a rule that states none: [`EVENTS_PER_SECOND`](limits::EVENTS_PER_SECOND).
    pub const DEFAULT: Self = Self(limits::EVENTS_PER_SECOND);

    /// This many events a second.
    ///
    /// # Errors
    /// 0, or more than [`EVENTS_PER_SECOND_MAX`](limits::EVENTS_PER_SECOND_MAX).
    pub fn per_second(events: impl Into<i128>) -> Result<Self, PolicyError> {
        let events = events.into();
        u32::try_from(events)
            .ok()
            .and_then(NonZeroU32::new)
            .filter(|events| events.get() <= limits::EVENTS_PER_SECOND_MAX)
            .map(Self)
            .ok_or(PolicyError::EventRate { events })
    }

    /// How many events a second.
    pub fn get(self) -> NonZeroU32 {
        self.0
    }
}
