//! Running the programs that are in effect, one after another: `bpf_prog_run_array_cg` in kernel/bpf/cgroup.c.

use std::error::Error;
use std::sync::Arc;

use crate::effective::Effective;
use crate::{CgroupStorage, Errno, Invocation, ProgramId, Runs};

/// What a program that denies makes the system call return, unless it says otherwise.
const EPERM: i32 = Errno::EPERM.returned() as i32;

/// A program did what no program that the kernel has verified can do.
#[derive(Debug, thiserror::Error)]
#[error("program {} cannot go on", program.0)]
pub struct ProgramFault {
    /// Which one.
    pub program: ProgramId,
    /// Why.
    pub source: Box<dyn Error + Send + Sync>,
}

/// What the programs said of an access.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// The programs in the order in which they ran, with what each returned.
    pub ran: Vec<(ProgramId, u64)>,
    /// What came of it: 0 lets the access go on, anything else is what the system call returns.
    pub retval: i32,
    /// What the programs replaced the new value with, if they did.
    pub replacement: Option<Vec<u8>>,
    /// Whether the replacement was written: kernels drop it when the access is denied, and some always do.
    pub replacement_applied: bool,
}

/// A program that is about to run.
pub(crate) struct Running {
    pub(crate) effective: Effective,
    pub(crate) program: Arc<dyn Runs>,
    /// What was allocated for its attachment.
    pub(crate) storage: Option<CgroupStorage>,
}

/// Runs all of `programs`, whatever the first ones say.
pub(crate) fn run(programs: &[Running], invocation: &mut Invocation<'_>) -> Result<Decision, ProgramFault> {
    let mut decision = Decision::default();
    let mut all_allow = true;
    for Running { effective, program, storage } in programs {
        let id = effective.program;
        invocation.attached_to = effective.cgroup.number();
        invocation.storage.clone_from(storage);
        let r0 = program.run(invocation).map_err(|source| ProgramFault { program: id, source })?;
        decision.ran.push((id, r0));
        // The kernel looks at the low half of r0.
        let allows = r0 as u32 != 0;
        all_allow &= r0 & 1 == 1;
        if !allows && !is_error(invocation.retval) && invocation.profile.retval_helpers {
            invocation.retval = EPERM;
        }
    }
    decision.retval = if invocation.profile.retval_helpers {
        let is_odd = invocation.retval != 0 && !is_error(invocation.retval);
        if is_odd && invocation.profile.odd_retvals_deny { EPERM } else { invocation.retval }
    } else if all_allow {
        0
    } else {
        EPERM
    };
    if invocation.replaced {
        decision.replacement.clone_from(&invocation.new);
        decision.replacement_applied = decision.retval == 0 && invocation.profile.rewrites_are_applied;
    }
    Ok(decision)
}

/// `IS_ERR_VALUE`
fn is_error(retval: i32) -> bool {
    (-4095..=-1).contains(&retval)
}
