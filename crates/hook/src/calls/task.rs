//! Helpers that tell who makes the access, or do something to it: kernel/bpf/helpers.c, kernel/trace/bpf_trace.c.

use knobgate_bpf::Reg;

use super::{Called, Helper, errno};
use crate::Errno;
use crate::invocation::SentSignal;
use crate::machine::{Machine, Value};

/// `TASK_COMM_LEN`, its NUL included.
const COMM_BYTES: usize = 16;
/// The process that gets no signals from programs.
const INIT: u32 = 1;
/// `_NSIG`
const SIGNAL_MAX: u32 = 64;

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
        Helper::GET_CGROUP_CLASSID => u64::from(task.classid),
        Helper::CURRENT_TASK_UNDER_CGROUP => return under_cgroup(machine, helper),
        Helper::SEND_SIGNAL | Helper::SEND_SIGNAL_THREAD => return send_signal(machine, helper),
        _ => return comm(machine, helper),
    }))
}

/// `bpf_current_task_under_cgroup(map, index)`
fn under_cgroup(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let map = machine.map_argument(helper, Reg::R1)?;
    machine.check_map_kind(helper, map)?;
    let index = machine.number_argument(helper, Reg::R2)? as u32;
    let cgroup = machine.memory.maps[usize::from(map)].state().cgroup(index);
    Ok(match cgroup {
        Ok(Some(cgroup)) => Value::number(machine.invocation.task.cgroups.contains(&cgroup).into()),
        Ok(None) => errno(Errno::EAGAIN),
        Err(error) => errno(error.errno()),
    })
}

/// `bpf_send_signal(sig)`, `bpf_send_signal_thread(sig)`
fn send_signal(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let number = machine.number_argument(helper, Reg::R1)? as u32;
    if machine.invocation.task.tgid == INIT {
        return Ok(errno(Errno::EPERM));
    }
    if number > SIGNAL_MAX {
        return Ok(errno(Errno::EINVAL));
    }
    let to_thread = helper == Helper::SEND_SIGNAL_THREAD;
    machine.invocation.signals.push(SentSignal { number, to_thread });
    Ok(Value::number(0))
}

/// `bpf_get_current_comm(buf, size)`: `strscpy_pad()` of the name, or `strscpy()`.
fn comm(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let pointer = machine.pointer_argument(helper, Reg::R1)?;
    let size = machine.size_argument(helper, Reg::R2, false)?;
    let comm = &machine.invocation.task.comm;
    let len = comm.len().min(COMM_BYTES - 1).min(size - 1);
    let zeros = if machine.invocation.profile.comm_padded { size } else { len + 1 };
    machine.memory.write(pointer, size, |buffer| {
        buffer[..zeros].fill(0);
        buffer[..len].copy_from_slice(&comm[..len]);
    })?;
    Ok(Value::number(0))
}
