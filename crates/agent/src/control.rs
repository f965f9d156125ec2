//! What the service asks of the engine.

use std::time::Duration;

use crate::agent::AgentHandle;
use crate::status::Status;

/// What the service asks of the engine. Each call may wait, and is made where that hurts nobody.
pub(crate) trait Control: Send + Sync + 'static {
    /// How things are; `None` if the engine does not answer within `limit`.
    fn status(&self, limit: Duration) -> Option<Status>;

    /// The same without lists.
    fn summary(&self, limit: Duration) -> Option<Status>;

    /// Whether the engine answers within `limit`.
    fn ping(&self, limit: Duration) -> bool;
}

impl Control for AgentHandle {
    fn status(&self, limit: Duration) -> Option<Status> {
        Self::status(self, limit)
    }

    fn summary(&self, limit: Duration) -> Option<Status> {
        Self::summary(self, limit)
    }

    fn ping(&self, limit: Duration) -> bool {
        Self::ping(self, limit)
    }
}
