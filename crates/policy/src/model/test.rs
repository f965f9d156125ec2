//! The tests that come with a policy.

use super::PolicyError;
use crate::{Access, AccessKind, Errno, Text, limits};

/// A `test` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// What the test states.
    pub name: String,
    /// Its accesses, each with the expected verdict. They do not affect each other.
    pub steps: Vec<TestStep>,
}

/// One line of a `test` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestStep {
    access: Access,
    expected: Expected,
}

/// What a test expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// `allow`
    Allow,
    /// `deny` with any errno, or `deny EPERM` with that one.
    Deny(Option<Errno>),
    /// `set "text"`: rewritten to exactly these bytes.
    Set(Text),
}

impl TestStep {
    /// The statement that `access` has this verdict.
    ///
    /// # Errors
    /// A read that is rewritten; a knob that is not a sysctl; the network namespace of a knob that is not below `net/`; a task
    /// whose name is longer than [`COMM_MAX`](limits::COMM_MAX), or holds a NUL.
    pub fn new(access: Access, expected: Expected) -> Result<Self, PolicyError> {
        if access.kind() == AccessKind::Read && matches!(expected, Expected::Set(_)) {
            return Err(PolicyError::ReadExpectedToChange);
        }
        access.knob.check_is_sysctl()?;
        check_comm(&access.task.comm)?;
        if access.knob_netns.is_some() && !access.knob.is_below_net() {
            return Err(PolicyError::NetnsOutsideNet);
        }
        Ok(Self { access, expected })
    }

    /// The access.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The expected verdict.
    pub fn expected(&self) -> &Expected {
        &self.expected
    }
}

/// Whether a task can have this name.
fn check_comm(comm: &[u8]) -> Result<(), PolicyError> {
    if comm.len() > limits::COMM_MAX || comm.contains(&0) { Err(PolicyError::BadComm) } else { Ok(()) }
}
