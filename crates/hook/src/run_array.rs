//! Running the effective programs, one after another: `bpf_prog_run_array_cg` in kernel/bpf/cgroup.c.

use std::error::Error;
use std::sync::Arc;

use knobgate_bpf::uapi::MAX_ERRNO;

use crate::program_list::EffectiveProgram;
use crate::{CgroupStorage, Errno, HookProgram, Invocation, ProgramId};

/// What a program that denies makes the system call return, unless it sets another value.
const EPERM: i32 = Errno::EPERM.returned() as i32;

/// A program did something that the kernel's verifier would have rejected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("program {} was stopped", program.0)]
pub struct ProgramFault {
    /// Which one.
    pub program: ProgramId,
    /// Why.
    pub source: Box<dyn Error + Send + Sync>,
}

/// What the programs decided about an access.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FilterResult {
    /// The programs in the order in which they ran, with what each returned.
    pub ran: Vec<(ProgramId, u64)>,
    /// The decision: with 0 the access continues; anything else is what the system call returns.
    pub retval: i32,
    /// What the programs replaced the new value with, if anything.
    pub replacement: Option<Vec<u8>>,
    /// Whether the replacement was written: kernels drop it when the access is denied, and some always do.
    pub replacement_applied: bool,
}

/// A program that is about to run (`struct bpf_prog_array_item`).
pub(crate) struct ArrayItem {
    pub(crate) effective: EffectiveProgram,
    pub(crate) program: Arc<dyn HookProgram>,
    /// What was allocated for its attachment.
    pub(crate) storage: Option<CgroupStorage>,
}

/// Runs all of `programs`, whatever the first ones return.
pub(crate) fn run(
    programs: &[ArrayItem],
    invocation: &mut Invocation<'_>,
) -> Result<FilterResult, ProgramFault> {
    let mut result = FilterResult::default();
    let mut all_allow = true;
    for ArrayItem { effective, program, storage } in programs {
        let id = effective.program;
        invocation.attached_to = effective.cgroup.number();
        invocation.storage.clone_from(storage);
        let r0 = program.run(invocation).map_err(|source| ProgramFault { program: id, source })?;
        result.ran.push((id, r0));
        // The kernel only looks at the low half of r0.
        let allows = r0 as u32 != 0;
        all_allow &= r0 & 1 == 1;
        if !allows && !is_error(invocation.retval) && invocation.profile.retval_helpers {
            invocation.retval = EPERM;
        }
    }
    result.retval = if invocation.profile.retval_helpers {
        let is_odd = invocation.retval != 0 && !is_error(invocation.retval);
        if is_odd && invocation.profile.odd_retvals_deny { EPERM } else { invocation.retval }
    } else if all_allow {
        0
    } else {
        EPERM
    };
    if let Some(replacement) = invocation.replacement() {
        result.replacement = Some(replacement.to_vec());
        result.replacement_applied = result.retval == 0 && invocation.profile.rewrites_are_applied;
    }
    Ok(result)
}

/// `IS_ERR_VALUE`
fn is_error(retval: i32) -> bool {
    (-MAX_ERRNO..=-1).contains(&retval)
}
