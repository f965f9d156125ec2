//! The helpers that programs call.
//!
//! A call is checked against the helper's prototype as the kernel's verifier checks it. What the helper then does is in the
//! modules, one for each kind of helper. A helper sees the [`HelperEnv`], and not the interpreter: what only the
//! interpreter can do, such as calling back, is returned as [`Control`].

mod arguments;
mod bprintf;
mod bstr_printf;
mod dynptr;
mod maps;
mod probe_read;
mod ring;
mod strtol;
mod sysctl;
mod task;
mod text;

use knobgate_bpf::helper_ids as id;
use knobgate_bpf::uapi::BPF_MAX_LOOPS;

use super::fault::Reason;
use super::memory::Memory;
use super::run_env::RunEnv;
use super::trace::Tracer;
use super::value::Value;
use crate::{Errno, Invocation};
pub(super) use arguments::Arguments;
pub(crate) use bprintf::is_valid_format;

/// What a helper returns, or why the run ends.
type HelperResult<T = Value> = Result<T, Reason>;

/// All that helpers can see and change.
pub(super) struct HelperEnv<'r, 'i> {
    pub(super) memory: Memory,
    pub(super) invocation: &'r mut Invocation<'i>,
    pub(super) run_env: &'r mut RunEnv,
    pub(super) tracer: Option<&'r mut dyn Tracer>,
}

/// How the program continues after the call.
pub(super) enum Control {
    /// With the next instruction, and this in r0.
    Return(Value),
    /// In another program, if there is one at the index.
    TailCall { map: u16, index: u32 },
    /// In a callback, `count` times.
    Loop { callback: u32, count: u64, context: Value },
    /// In a callback, once for each entry.
    ForEachMapElem { callback: u32, map: u16, context: Value },
}

/// What the model does for a helper.
pub(super) enum Implementation {
    /// A helper without arguments that returns a number.
    Number(fn(&mut HelperEnv<'_, '_>) -> u64),
    /// A helper that returns to the program.
    Function(fn(&mut HelperEnv<'_, '_>, &Arguments<'_>) -> HelperResult),
    /// A helper that may continue elsewhere.
    Control(fn(&HelperEnv<'_, '_>, &Arguments<'_>) -> Control),
}

/// What the model does for the helper of this number, if it is modelled.
#[inline]
pub(super) fn implementation(helper: u32) -> Option<Implementation> {
    use Implementation::{Control, Function, Number};
    Some(match helper {
        id::TAIL_CALL => Control(tail_call),
        id::LOOP => Control(bpf_loop),
        id::FOR_EACH_MAP_ELEM => Control(for_each_map_elem),
        id::MAP_LOOKUP_ELEM | id::MAP_LOOKUP_PERCPU_ELEM => Function(maps::lookup),
        id::MAP_UPDATE_ELEM => Function(maps::update),
        id::MAP_DELETE_ELEM => Function(maps::delete),
        id::MAP_PUSH_ELEM => Function(maps::push),
        id::MAP_POP_ELEM | id::MAP_PEEK_ELEM => Function(maps::pop),
        id::GET_LOCAL_STORAGE => Function(maps::get_local_storage),
        id::SYSCTL_GET_NAME => Function(sysctl::get_name),
        id::SYSCTL_GET_CURRENT_VALUE => Function(sysctl::get_current_value),
        id::SYSCTL_GET_NEW_VALUE => Function(sysctl::get_new_value),
        id::SYSCTL_SET_NEW_VALUE => Function(sysctl::set_new_value),
        id::GET_RETVAL => Number(|env| i64::from(env.invocation.retval) as u64),
        id::SET_RETVAL => Function(sysctl::set_retval),
        id::STRTOL | id::STRTOUL => Function(strtol::parse),
        id::RINGBUF_OUTPUT => Function(ring::output),
        id::RINGBUF_RESERVE => Function(ring::reserve),
        id::RINGBUF_SUBMIT | id::RINGBUF_DISCARD => Function(ring::commit),
        id::RINGBUF_QUERY => Function(ring::query),
        id::PERF_EVENT_OUTPUT => Function(ring::perf_event_output),
        id::GET_CURRENT_PID_TGID => Number(task::get_current_pid_tgid),
        id::GET_CURRENT_UID_GID => Number(task::get_current_uid_gid),
        id::GET_CURRENT_COMM => Function(task::get_current_comm),
        id::GET_CURRENT_CGROUP_ID => Number(task::get_current_cgroup_id),
        id::GET_CURRENT_ANCESTOR_CGROUP_ID => Function(task::get_current_ancestor_cgroup_id),
        id::CURRENT_TASK_UNDER_CGROUP => Function(task::current_task_under_cgroup),
        id::GET_CGROUP_CLASSID => Number(|env| env.invocation.task.classid.into()),
        id::GET_CURRENT_TASK => Number(task::get_current_task),
        id::GET_CURRENT_TASK_BTF => Function(task::get_current_task_btf),
        id::GET_NS_CURRENT_PID_TGID => Function(task::get_ns_current_pid_tgid),
        id::PROBE_READ_KERNEL => Function(probe_read::kernel),
        id::PROBE_READ_KERNEL_STR => Function(probe_read::kernel_str),
        id::PROBE_READ_USER | id::PROBE_READ_USER_STR => Function(probe_read::user),
        id::DYNPTR_FROM_MEM => Function(dynptr::from_mem),
        id::RINGBUF_RESERVE_DYNPTR => Function(dynptr::reserve),
        id::RINGBUF_SUBMIT_DYNPTR | id::RINGBUF_DISCARD_DYNPTR => Function(dynptr::commit),
        id::DYNPTR_READ => Function(dynptr::read),
        id::DYNPTR_WRITE => Function(dynptr::write),
        id::DYNPTR_DATA => Function(dynptr::data),
        id::SEND_SIGNAL | id::SEND_SIGNAL_THREAD => Function(task::send_signal),
        // One program runs at a time, so nobody waits for a lock. They return nothing.
        id::SPIN_LOCK | id::SPIN_UNLOCK => Function(|_, _| Ok(Value::UNINIT)),
        id::STRNCMP => Function(text::strncmp),
        id::SNPRINTF => Function(text::snprintf),
        id::TRACE_PRINTK => Function(text::trace_printk),
        id::TRACE_VPRINTK => Function(text::trace_vprintk),
        id::KTIME_GET_NS | id::KTIME_GET_COARSE_NS => Number(|env| env.run_env.monotonic_ns),
        id::KTIME_GET_BOOT_NS => Number(|env| env.run_env.boot_ns),
        id::KTIME_GET_TAI_NS => Number(|env| env.run_env.tai_ns),
        id::JIFFIES64 => Number(|env| env.run_env.jiffies),
        id::GET_PRANDOM_U32 => Number(|env| env.run_env.next_random().into()),
        id::GET_SMP_PROCESSOR_ID => Number(|env| env.run_env.processor.into()),
        id::GET_NUMA_NODE_ID => Number(|env| env.run_env.numa_node.into()),
        _ => return None,
    })
}

/// `bpf_tail_call(ctx, map, index)`
fn tail_call(_: &HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> Control {
    Control::TailCall { map: arguments.map(2), index: arguments.number(3) as u32 }
}

/// `bpf_loop(count, callback, context, flags)`
fn bpf_loop(env: &HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> Control {
    let (mut count, mut too_many) = (arguments.number(1), errno(Errno::E2BIG));
    if arguments.number(4) != 0 {
        return Control::Return(errno(Errno::EINVAL));
    }
    // Since 5.19 the verifier replaces the call by a loop (`inline_bpf_loop()` in kernel/bpf/verifier.c) if it knows that the
    // flags are 0, as they always are in practice. That looks at all 64 bits, and moves the error into r0 as 32.
    if env.invocation.profile.version >= (5, 19) {
        too_many = Value::number((Errno::E2BIG.returned() as u32).into());
    } else {
        count &= u64::from(u32::MAX);
    }
    if count > BPF_MAX_LOOPS.into() {
        Control::Return(too_many)
    } else if count == 0 {
        Control::Return(Value::number(0))
    } else {
        let (callback, context) = (arguments.function(2), arguments.pointer(3));
        Control::Loop { callback, count, context }
    }
}

/// `bpf_for_each_map_elem(map, callback, context, flags)`
fn for_each_map_elem(env: &HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> Control {
    if arguments.number(4) != 0 {
        return Control::Return(maps::map_errno(env, Errno::EINVAL));
    }
    let (callback, context) = (arguments.function(2), arguments.pointer(3));
    Control::ForEachMapElem { callback, map: arguments.map(1), context }
}

fn number(number: impl Into<u64>) -> HelperResult {
    Ok(Value::number(number.into()))
}

/// `-errno` as helpers return it.
fn errno(errno: Errno) -> Value {
    Value::number(errno.returned() as u64)
}

#[cfg(test)]
mod tests {
    use knobgate_bpf::Helper;

    use super::*;

    #[test]
    fn exactly_the_helpers_with_a_prototype_are_modelled() {
        for helper in Helper::ALL {
            assert_eq!(implementation(helper.id).is_some(), helper.proto.is_some(), "{}", helper.name);
        }
    }

    #[test]
    fn the_helpers_whose_arguments_are_not_checked_have_none() {
        for helper in Helper::ALL {
            if let Some(Implementation::Number(_)) = implementation(helper.id) {
                assert!(helper.args().is_empty(), "{}", helper.name);
            }
        }
    }
}
