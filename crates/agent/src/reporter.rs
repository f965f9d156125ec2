//! To whom the agent reports.

use std::time::Duration;

use crate::notice::Notice;

/// Gets what the agent reports while it works. It must be quick: the agent waits for it.
pub trait Reporter: Send {
    /// Something was seen.
    fn notice(&self, notice: &Notice);

    /// A policy was put on a cgroup that came into being while the agent ran. `latency` is the time since its creation was seen.
    fn attached(&self, latency: Duration);

    /// The policies were read, successfully or not.
    fn reloaded(&self, took: Duration, accepted: bool);
}
