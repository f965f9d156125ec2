//! Helpers that show the current task, or send it a signal: kernel/bpf/helpers.c, kernel/trace/bpf_trace.c.

use knobgate_bpf::helper_ids;
use knobgate_bpf::uapi::TASK_COMM_LEN;

use super::arguments::Arguments;
use super::{HelperEnv, HelperResult, errno, number};
use crate::invocation::SentSignal;
use crate::machine::value::Value;
use crate::{Errno, Task};

/// The process that programs cannot send signals to.
const INIT: u32 = 1;
/// Bytes of `struct bpf_pidns_info`: `pid` and `tgid`.
const PIDNS_INFO_BYTES: usize = 8;
/// `_NSIG`
const SIGNAL_MAX: u32 = 64;

/// `bpf_get_current_pid_tgid()`
pub(super) fn get_current_pid_tgid(env: &mut HelperEnv<'_, '_>) -> u64 {
    let task = env.invocation.task;
    u64::from(task.tgid) << 32 | u64::from(task.pid)
}

/// `bpf_get_ns_current_pid_tgid(dev, ino, nsdata, size)`
pub(super) fn get_ns_current_pid_tgid(
    env: &mut HelperEnv<'_, '_>,
    arguments: &Arguments<'_>,
) -> HelperResult {
    let (dev, ino) = (arguments.number(1), arguments.number(2));
    let (pointer, size) = (arguments.pointer(3), arguments.size(4));
    let Task { namespaces, tgid, pid, ns_ids, .. } = env.invocation.task;
    let (tgid, pid) = ns_ids.unwrap_or((*tgid, *pid));
    let matches = (dev, ino) == (namespaces.device.into(), namespaces.pid.into());
    env.memory.write(pointer, size, |info| {
        info.fill(0);
        if !matches || info.len() != PIDNS_INFO_BYTES {
            return errno(Errno::EINVAL);
        }
        info[..4].copy_from_slice(&pid.to_le_bytes());
        info[4..].copy_from_slice(&tgid.to_le_bytes());
        Value::number(0)
    })
}

/// `bpf_get_current_task()`: the address, as a number.
pub(super) fn get_current_task(env: &mut HelperEnv<'_, '_>) -> u64 {
    env.memory.kernel.current_task(env.invocation)
}

/// `bpf_get_current_task_btf()`: the same as a pointer with a type.
pub(super) fn get_current_task_btf(env: &mut HelperEnv<'_, '_>, _: &Arguments<'_>) -> HelperResult {
    let address = get_current_task(env);
    Ok(env.memory.kernel.pointer_to(address, "task_struct"))
}

/// `bpf_get_current_uid_gid()`
pub(super) fn get_current_uid_gid(env: &mut HelperEnv<'_, '_>) -> u64 {
    let task = env.invocation.task;
    u64::from(task.gid) << 32 | u64::from(task.uid)
}

/// `bpf_get_current_cgroup_id()`
pub(super) fn get_current_cgroup_id(env: &mut HelperEnv<'_, '_>) -> u64 {
    env.invocation.task.cgroups.last().copied().unwrap_or(0)
}

/// `bpf_get_current_ancestor_cgroup_id(level)`
pub(super) fn get_current_ancestor_cgroup_id(
    env: &mut HelperEnv<'_, '_>,
    arguments: &Arguments<'_>,
) -> HelperResult {
    let level = usize::try_from(arguments.number(1) as i32);
    number(level.ok().and_then(|level| env.invocation.task.cgroups.get(level).copied()).unwrap_or(0))
}

/// `bpf_current_task_under_cgroup(map, index)`
pub(super) fn current_task_under_cgroup(
    env: &mut HelperEnv<'_, '_>,
    arguments: &Arguments<'_>,
) -> HelperResult {
    let cgroup = env.memory.map(arguments.map(1)).cgroup(arguments.number(2) as u32);
    Ok(match cgroup {
        Ok(Some(cgroup)) => Value::number(env.invocation.task.cgroups.contains(&cgroup).into()),
        Ok(None) => errno(Errno::EAGAIN),
        Err(error) => errno(error.errno()),
    })
}

/// `bpf_send_signal(sig)`, `bpf_send_signal_thread(sig)`
pub(super) fn send_signal(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let number = arguments.number(1) as u32;
    if env.invocation.task.tgid == INIT {
        return Ok(errno(Errno::EPERM));
    }
    if number > SIGNAL_MAX {
        return Ok(errno(Errno::EINVAL));
    }
    let to_thread = arguments.helper.id == helper_ids::SEND_SIGNAL_THREAD;
    env.invocation.signals.push(SentSignal { number, to_thread });
    Ok(Value::number(0))
}

/// `bpf_get_current_comm(buf, size)`: `strscpy_pad()` of the name, or `strscpy()`.
pub(super) fn get_current_comm(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (pointer, size) = (arguments.pointer(1), arguments.size(2));
    let comm = &env.invocation.task.comm;
    let len = comm.len().min(TASK_COMM_LEN - 1).min(size - 1);
    let zeros = if env.invocation.profile.comm_padded { size } else { len + 1 };
    env.memory.write(pointer, size, |buffer| {
        buffer[..zeros].fill(0);
        buffer[..len].copy_from_slice(&comm[..len]);
    })?;
    Ok(Value::number(0))
}
