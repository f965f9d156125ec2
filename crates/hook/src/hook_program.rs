//! What can be attached: anything that runs on an access.

use std::error::Error;

use crate::{CgroupStorage, Invocation, LoadedProgram};

/// Something that runs on accesses: bytecode, or a closure over the [`Invocation`].
///
/// A closure allows an access with 1 and denies it with 0. Instead of calling helpers it changes the invocation:
/// [`Invocation::replace_new`] to rewrite, [`Invocation::retval`] to choose the errno, [`Invocation::position`] to move.
pub trait HookProgram: Send + Sync {
    /// Runs on one access, and returns r0: 1 to allow, 0 to deny.
    ///
    /// # Errors
    ///
    /// The program did something that the kernel's verifier would have rejected. The access then has no result.
    fn run(&self, invocation: &mut Invocation<'_>) -> Result<u64, Box<dyn Error + Send + Sync>>;

    /// The cgroup storage that attaching it allocates. `None`: it is not bytecode, and uses none.
    fn cgroup_storage(&self) -> Option<CgroupStorage> {
        None
    }

    /// The bytecode, if it is any. [`Hook::coverage`](crate::Hook::coverage) asks for it.
    fn bytecode(&self) -> Option<&LoadedProgram> {
        None
    }
}

impl<F> HookProgram for F
where
    F: Fn(&mut Invocation<'_>) -> u64 + Send + Sync,
{
    fn run(&self, invocation: &mut Invocation<'_>) -> Result<u64, Box<dyn Error + Send + Sync>> {
        Ok(self(invocation))
    }
}
