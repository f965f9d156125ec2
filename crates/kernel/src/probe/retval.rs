//! What the kernel does with a return value that is neither 0 nor an errno.

use std::fs::File;
use std::os::fd::AsFd;

use knobgate_bpf::{Insn, Reg, Width, helper_ids};

use super::rewrite::scratch_cgroup;
use super::{ProbeOutcome, programs, try_load};
use crate::accessor::Accessor;
use crate::link::Link;
use crate::machine::PROC_SYS;

/// Whether an access is denied if its programs leave a return value that is neither 0 nor an errno. [`ProbeOutcome::No`]
/// where they cannot set such a value.
///
/// A process reads a knob, in a cgroup made for that.
pub fn probe_invalid_retval() -> ProbeOutcome {
    /// Not the length of the knob's value.
    const RETVAL: i32 = 1;
    let insns = programs::returning_one([
        Insn::mov(Width::W64, Reg::R1, RETVAL),
        Insn::call_helper(helper_ids::SET_RETVAL),
    ]);
    let Ok(program) = try_load(&insns) else { return ProbeOutcome::No };
    let read = || -> Result<i64, Box<dyn std::error::Error>> {
        let cgroup = scratch_cgroup()?;
        let knob = File::open(format!("{PROC_SYS}/kernel/ostype"))?;
        let mut reader = Accessor::start(&cgroup)?;
        let _link = Link::create(&program, &cgroup)?;
        Ok(reader.read(knob.as_fd(), None, 64, 0)?.0)
    };
    match read() {
        Ok(returned) if returned == i64::from(RETVAL) => ProbeOutcome::No,
        Ok(returned) if returned == -i64::from(libc::EPERM) => ProbeOutcome::Yes,
        Ok(returned) => {
            ProbeOutcome::Unknown(format!("the read returned {returned}; another program interferes"))
        }
        Err(error) => ProbeOutcome::Unknown(error.to_string()),
    }
}
