//! The helpers that programs call.
//!
//! Everything that a helper gets is checked here as the kernel's verifier checks it from the helper's prototype; what
//! it then does is in the modules, one for each kind of helper.

mod arguments;
mod format;
mod number;
mod ring;
mod storage;
mod sysctl;
mod task;
mod text;

use knobgate_bpf::{Program, Reg, helper_ids};

use crate::Errno;
use crate::Profile;
use crate::admission::Rejection;
use crate::machine::LoadOptions;
use crate::machine::{Continuation, Machine, Reason, Value};

/// What a helper does, as far as calling it went well.
type Called<T = Value> = Result<T, Reason>;

macro_rules! modelled {
    ($($helper:ident $since:tt,)*) => {
        /// A helper that is modelled.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "they are the constants of helper_ids")]
        pub(crate) enum Helper {
            $($helper,)*
        }

        /// The helpers with their numbers and the releases that gave them to this type of program.
        const MODELLED: &[(Helper, u32, (u16, u16))] =
            &[$((Helper::$helper, helper_ids::$helper, $since)),*];
    };
}

modelled! {
    MAP_LOOKUP_ELEM (5, 2),
    MAP_UPDATE_ELEM (5, 2),
    MAP_DELETE_ELEM (5, 2),
    KTIME_GET_NS (5, 8),
    TRACE_PRINTK (5, 2),
    GET_PRANDOM_U32 (5, 8),
    GET_SMP_PROCESSOR_ID (5, 8),
    TAIL_CALL (5, 8),
    GET_CURRENT_PID_TGID (6, 1),
    GET_CURRENT_UID_GID (5, 2),
    GET_CURRENT_COMM (6, 1),
    GET_CGROUP_CLASSID (6, 1),
    PERF_EVENT_OUTPUT (5, 8),
    CURRENT_TASK_UNDER_CGROUP (6, 12),
    GET_NUMA_NODE_ID (5, 8),
    GET_CURRENT_CGROUP_ID (5, 2),
    GET_LOCAL_STORAGE (5, 2),
    MAP_PUSH_ELEM (5, 2),
    MAP_POP_ELEM (5, 2),
    MAP_PEEK_ELEM (5, 2),
    SYSCTL_GET_NAME (5, 2),
    SYSCTL_GET_CURRENT_VALUE (5, 2),
    SYSCTL_GET_NEW_VALUE (5, 2),
    SYSCTL_SET_NEW_VALUE (5, 2),
    STRTOL (5, 2),
    STRTOUL (5, 2),
    SEND_SIGNAL (6, 16),
    SEND_SIGNAL_THREAD (6, 16),
    JIFFIES64 (5, 8),
    GET_CURRENT_ANCESTOR_CGROUP_ID (6, 1),
    KTIME_GET_BOOT_NS (5, 8),
    RINGBUF_OUTPUT (5, 8),
    RINGBUF_RESERVE (5, 8),
    RINGBUF_SUBMIT (5, 8),
    RINGBUF_DISCARD (5, 8),
    RINGBUF_QUERY (5, 8),
    KTIME_GET_COARSE_NS (5, 11),
    FOR_EACH_MAP_ELEM (5, 13),
    SNPRINTF (5, 13),
    TRACE_VPRINTK (5, 16),
    LOOP (5, 17),
    STRNCMP (5, 17),
    GET_RETVAL (5, 18),
    SET_RETVAL (5, 18),
    MAP_LOOKUP_PERCPU_ELEM (5, 19),
    KTIME_GET_TAI_NS (6, 1),
}

/// `BPF_MAX_LOOPS` in include/linux/bpf.h.
const LOOPS_MAX: u64 = 8 << 20;

impl Helper {
    /// The helper of this number, if a program may call it.
    pub(crate) fn find(
        id: u32,
        insn: usize,
        profile: &Profile,
        program: &Program,
        options: &LoadOptions,
    ) -> Result<Self, Rejection> {
        let Some(name) = helper_ids::name(id) else { return Err(Rejection::UnknownHelper { insn, id }) };
        let Some(helper) = Self::modelled(id) else { return Err(Rejection::NotModelled { insn, id, name }) };
        let for_this_hook = !matches!(helper, Self::GET_RETVAL | Self::SET_RETVAL)
            || options.expected_attach_type == crate::machine::CGROUP_SYSCTL;
        if !helper.is_in(profile) || !for_this_hook {
            return Err(Rejection::UnavailableHelper { insn, id, name });
        }
        let gpl_only = matches!(
            helper,
            Self::TRACE_PRINTK | Self::TRACE_VPRINTK | Self::SNPRINTF | Self::PERF_EVENT_OUTPUT
        );
        if gpl_only && !is_gpl(program) { Err(Rejection::Gpl { insn, name }) } else { Ok(helper) }
    }

    /// The helper of this number, if it is modelled.
    pub(crate) fn modelled(id: u32) -> Option<Self> {
        MODELLED.iter().find(|(_, number, _)| *number == id).map(|(helper, ..)| *helper)
    }

    /// Whether the kernel gives it to programs for this hook.
    pub(crate) fn is_in(self, profile: &Profile) -> bool {
        match self {
            Self::GET_RETVAL | Self::SET_RETVAL => profile.retval_helpers,
            _ => self.since() <= profile.version,
        }
    }

    /// The release that gave it to this type of program.
    pub(crate) fn since(self) -> (u16, u16) {
        MODELLED.iter().find(|(helper, ..)| *helper == self).map_or((0, 0), |(.., since)| *since)
    }

    /// What the kernel calls it.
    pub(crate) fn name(self) -> &'static str {
        let number = MODELLED.iter().find(|(helper, ..)| *helper == self).map_or(0, |(_, number, _)| *number);
        helper_ids::name(number).unwrap_or("unknown")
    }

    /// How many arguments it takes.
    pub(crate) fn arity(self) -> u8 {
        match self {
            Self::KTIME_GET_NS
            | Self::GET_PRANDOM_U32
            | Self::GET_SMP_PROCESSOR_ID
            | Self::GET_CURRENT_PID_TGID
            | Self::GET_CURRENT_UID_GID
            | Self::GET_CGROUP_CLASSID
            | Self::GET_NUMA_NODE_ID
            | Self::GET_CURRENT_CGROUP_ID
            | Self::JIFFIES64
            | Self::KTIME_GET_BOOT_NS
            | Self::KTIME_GET_COARSE_NS
            | Self::KTIME_GET_TAI_NS
            | Self::GET_RETVAL => 0,
            Self::GET_CURRENT_ANCESTOR_CGROUP_ID
            | Self::SEND_SIGNAL
            | Self::SEND_SIGNAL_THREAD
            | Self::SET_RETVAL => 1,
            Self::MAP_LOOKUP_ELEM
            | Self::MAP_DELETE_ELEM
            | Self::MAP_POP_ELEM
            | Self::MAP_PEEK_ELEM
            | Self::GET_CURRENT_COMM
            | Self::CURRENT_TASK_UNDER_CGROUP
            | Self::GET_LOCAL_STORAGE
            | Self::RINGBUF_SUBMIT
            | Self::RINGBUF_DISCARD
            | Self::RINGBUF_QUERY
            | Self::TRACE_PRINTK => 2,
            Self::TAIL_CALL
            | Self::MAP_PUSH_ELEM
            | Self::SYSCTL_GET_CURRENT_VALUE
            | Self::SYSCTL_GET_NEW_VALUE
            | Self::SYSCTL_SET_NEW_VALUE
            | Self::RINGBUF_RESERVE
            | Self::STRNCMP
            | Self::MAP_LOOKUP_PERCPU_ELEM => 3,
            Self::MAP_UPDATE_ELEM
            | Self::SYSCTL_GET_NAME
            | Self::STRTOL
            | Self::STRTOUL
            | Self::RINGBUF_OUTPUT
            | Self::FOR_EACH_MAP_ELEM
            | Self::TRACE_VPRINTK
            | Self::LOOP => 4,
            Self::PERF_EVENT_OUTPUT | Self::SNPRINTF => 5,
        }
    }

    /// The register with the size of its memory, where that may not be 0 (`ARG_CONST_SIZE`).
    pub(crate) fn size(self) -> Option<Reg> {
        match self {
            Self::SYSCTL_GET_NAME
            | Self::SYSCTL_GET_CURRENT_VALUE
            | Self::SYSCTL_GET_NEW_VALUE
            | Self::SYSCTL_SET_NEW_VALUE => Some(Reg::R3),
            Self::STRTOL
            | Self::STRTOUL
            | Self::STRNCMP
            | Self::GET_CURRENT_COMM
            | Self::TRACE_PRINTK
            | Self::TRACE_VPRINTK => Some(Reg::R2),
            _ => None,
        }
    }

    /// Calls it: reads its arguments, sets r0, and goes on to the next instruction, or to a callback's or another
    /// program's first one.
    pub(crate) fn call(self, machine: &mut Machine<'_, '_>) -> Called<()> {
        let returned = match self {
            Self::TAIL_CALL => {
                machine.context_argument(self, Reg::R1)?;
                let map = machine.map_argument(self, Reg::R2)?;
                machine.check_map_kind(self, map)?;
                let index = machine.number_argument(self, Reg::R3)? as u32;
                machine.tail_call(map, index);
                return Ok(());
            }
            Self::LOOP => {
                let count = u64::from(machine.number_argument(self, Reg::R1)? as u32);
                let callback = machine.function_argument(self, Reg::R2)?;
                let context = machine.callback_context(self, Reg::R3)?;
                let flags = machine.number_argument(self, Reg::R4)?;
                if flags != 0 {
                    errno(Errno::EINVAL)
                } else if count > LOOPS_MAX {
                    errno(Errno::E2BIG)
                } else if count == 0 {
                    Value::number(0)
                } else {
                    return machine.call_back(Continuation::Loop { callback, index: 0, count, context });
                }
            }
            Self::FOR_EACH_MAP_ELEM => {
                let map = machine.map_argument(self, Reg::R1)?;
                machine.check_map_kind(self, map)?;
                let callback = machine.function_argument(self, Reg::R2)?;
                let context = machine.callback_context(self, Reg::R3)?;
                if machine.number_argument(self, Reg::R4)? != 0 {
                    storage::failed(machine, Errno::EINVAL)
                } else {
                    return machine.for_each(callback, map, None, 0, context);
                }
            }
            Self::MAP_LOOKUP_ELEM | Self::MAP_LOOKUP_PERCPU_ELEM => storage::lookup(machine, self)?,
            Self::MAP_UPDATE_ELEM => storage::update(machine, self)?,
            Self::MAP_DELETE_ELEM => storage::delete(machine, self)?,
            Self::GET_LOCAL_STORAGE => storage::local(machine, self)?,
            Self::MAP_PUSH_ELEM => storage::push(machine, self)?,
            Self::MAP_POP_ELEM | Self::MAP_PEEK_ELEM => storage::take(machine, self)?,
            Self::SYSCTL_GET_NAME => sysctl::get_name(machine, self)?,
            Self::SYSCTL_GET_CURRENT_VALUE => sysctl::get_current_value(machine, self)?,
            Self::SYSCTL_GET_NEW_VALUE => sysctl::get_new_value(machine, self)?,
            Self::SYSCTL_SET_NEW_VALUE => sysctl::set_new_value(machine, self)?,
            Self::GET_RETVAL => Value::number(i64::from(machine.invocation.retval) as u64),
            Self::SET_RETVAL => sysctl::set_retval(machine, self)?,
            Self::STRTOL | Self::STRTOUL => number::parse(machine, self)?,
            Self::RINGBUF_OUTPUT => ring::output(machine, self)?,
            Self::RINGBUF_RESERVE => ring::reserve(machine, self)?,
            Self::RINGBUF_SUBMIT | Self::RINGBUF_DISCARD => ring::settle(machine, self)?,
            Self::RINGBUF_QUERY => ring::query(machine, self)?,
            Self::PERF_EVENT_OUTPUT => ring::perf_event_output(machine, self)?,
            Self::GET_CURRENT_PID_TGID
            | Self::GET_CURRENT_UID_GID
            | Self::GET_CURRENT_COMM
            | Self::GET_CURRENT_CGROUP_ID
            | Self::GET_CGROUP_CLASSID
            | Self::GET_CURRENT_ANCESTOR_CGROUP_ID
            | Self::CURRENT_TASK_UNDER_CGROUP
            | Self::SEND_SIGNAL
            | Self::SEND_SIGNAL_THREAD => task::call(machine, self)?,
            Self::STRNCMP => text::compare(machine, self)?,
            Self::SNPRINTF => text::snprintf(machine, self)?,
            Self::TRACE_PRINTK => text::trace_printk(machine, self)?,
            Self::TRACE_VPRINTK => text::trace_vprintk(machine, self)?,
            Self::KTIME_GET_NS | Self::KTIME_GET_COARSE_NS => {
                Value::number(machine.surroundings.monotonic_ns)
            }
            Self::KTIME_GET_BOOT_NS => Value::number(machine.surroundings.boot_ns),
            Self::KTIME_GET_TAI_NS => Value::number(machine.surroundings.tai_ns),
            Self::JIFFIES64 => Value::number(machine.surroundings.jiffies),
            Self::GET_PRANDOM_U32 => Value::number(u64::from(machine.surroundings.next_random())),
            Self::GET_SMP_PROCESSOR_ID => Value::number(u64::from(machine.surroundings.processor)),
            Self::GET_NUMA_NODE_ID => Value::number(u64::from(machine.surroundings.numa_node)),
        };
        machine.finish_helper(returned);
        Ok(())
    }
}

/// Whether the program's license gives it the helpers for the GPL (`license_is_gpl_compatible`, include/linux/license.h);
/// a program that states none gets one from the loader that does.
fn is_gpl(program: &Program) -> bool {
    const COMPATIBLE: [&str; 6] =
        ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];
    program.license.as_deref().is_none_or(|license| COMPATIBLE.contains(&license))
}

/// `-errno` as helpers return it.
fn errno(errno: Errno) -> Value {
    Value::number(errno.returned() as u64)
}
