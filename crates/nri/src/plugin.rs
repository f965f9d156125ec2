//! What a plugin is asked.

use std::fmt;
use std::ops::BitOr;

use crate::messages::{Container, Hooks, PodSandbox};
use crate::session::SessionError;

/// A plugin. The runtime waits for each answer, and calls nothing else meanwhile.
pub trait Plugin {
    /// The events for which it wants to be called.
    fn events(&self) -> Events;

    /// The plugin was registered with this runtime.
    fn connected(&mut self, _runtime: &Runtime) {}

    /// The runtime cannot be reached, or no longer. [`run`](crate::run) tries again. Until the plugin is registered, it reports only once
    /// that the socket cannot be connected to.
    fn disconnected(&mut self, _why: &SessionError) {}

    /// All pods and containers that there were when the plugin was registered. Those that are created from then on are
    /// events.
    fn synchronize(&mut self, _pods: &[PodSandbox], _containers: &[Container]) {}

    /// [`CREATE_CONTAINER`](Events::CREATE_CONTAINER): a container is about to be created. It has no cgroup yet.
    ///
    /// # Errors
    ///
    /// It is not created.
    fn create_container(
        &mut self,
        _pod: &PodSandbox,
        _container: &Container,
    ) -> Result<Adjustment, Rejection> {
        Ok(Adjustment::default())
    }

    /// [`START_CONTAINER`](Events::START_CONTAINER): a container is about to be started. It has a cgroup, and its process waits.
    ///
    /// # Errors
    ///
    /// It is not started.
    fn start_container(&mut self, _pod: &PodSandbox, _container: &Container) -> Result<(), Rejection> {
        Ok(())
    }

    /// [`STOP_CONTAINER`](Events::STOP_CONTAINER): a container has ended.
    ///
    /// # Errors
    ///
    /// The runtime reports it.
    fn stop_container(&mut self, _pod: &PodSandbox, _container: &Container) -> Result<(), Rejection> {
        Ok(())
    }

    /// [`REMOVE_CONTAINER`](Events::REMOVE_CONTAINER): a container was removed.
    ///
    /// # Errors
    ///
    /// The runtime reports it.
    fn remove_container(&mut self, _pod: &PodSandbox, _container: &Container) -> Result<(), Rejection> {
        Ok(())
    }

    /// The runtime goes down. The connection ends soon.
    fn shutdown(&mut self) {}
}

/// The events that a plugin wants to be called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events(i32);

impl Events {
    /// [`Plugin::create_container`].
    pub const CREATE_CONTAINER: Self = Self::of(4);
    /// [`Plugin::start_container`].
    pub const START_CONTAINER: Self = Self::of(6);
    /// [`Plugin::stop_container`].
    pub const STOP_CONTAINER: Self = Self::of(10);
    /// [`Plugin::remove_container`].
    pub const REMOVE_CONTAINER: Self = Self::of(11);

    /// The event with this number.
    const fn of(event: i32) -> Self {
        Self(1 << (event - 1))
    }

    /// The event with the number that a [`StateChangeEvent`](crate::messages::StateChangeEvent) has.
    pub(crate) fn numbered(event: i32) -> Option<Self> {
        (1..=31).contains(&event).then(|| Self::of(event))
    }

    /// The mask, as the runtime wants it.
    pub(crate) fn bits(self) -> i32 {
        self.0
    }
}

impl BitOr for Events {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a plugin changes about a container that is created.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Adjustment {
    /// Hooks to add to those that the container has.
    pub hooks: Hooks,
}

/// Why a plugin does not let the runtime go on, in words for its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection(String);

impl Rejection {
    /// A rejection for this reason.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Rejection {}

/// A runtime, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Its name, like `containerd`.
    pub name: String,
    /// Its version.
    pub version: String,
}
