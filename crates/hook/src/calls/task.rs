//! Helpers that tell who makes the access: kernel/bpf/helpers.c.

use knobgate_bpf::Reg;

use super::{Called, Helper};
use crate::machine::{Machine, Value};

/// `TASK_COMM_LEN`, its NUL included.
const COMM_BYTES: usize = 16;

pub(super) fn call(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let task = machine.invocation.task;
    Ok(Value::number(match helper {
        Helper::GET_CURRENT_PID_TGID => u64::from(task.tgid) << 32 | u64::from(task.pid),
        Helper::GET_CURRENT_UID_GID => u64::from(task.gid) << 32 | u64::from(task.uid),
        Helper::GET_CURRENT_CGROUP_ID => task.cgroups.last().copied().unwrap_or(0),
        Helper::GET_CURRENT_ANCESTOR_CGROUP_ID => {
            let level = machine.number_argument(helper, Reg::R1)? as i32;
            usize::try_from(level).ok().and_then(|level| task.cgroups.get(level).copied()).unwrap_or(0)
        }
        _ => return comm(machine, helper),
    }))
}

/// `bpf_get_current_comm(buf, size)`: `strscpy_pad()` of the name.
fn comm(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let pointer = machine.pointer_argument(helper, Reg::R1)?;
    let size = machine.size_argument(helper, Reg::R2, false)?;
    let comm = &machine.invocation.task.comm;
    let len = comm.len().min(COMM_BYTES - 1).min(size - 1);
    machine.memory.write(pointer, size, |buffer| {
        buffer.fill(0);
        buffer[..len].copy_from_slice(&comm[..len]);
    })?;
    Ok(Value::number(0))
}
