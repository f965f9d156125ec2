//! The limits of the language. They are part of its meaning: a rule cannot be evaluated for a value that exceeds one,
//! and the access is denied (see [`evaluate`](crate::evaluate())).
//!
//! The limits on names and numbers, and on values where programs cannot loop, come from the 512 bytes of stack of a BPF program: the
//! name, the new value and the current value have to fit.

use std::num::NonZeroU32;

/// The longest knob name, in bytes, that a compiled policy can look at. The longest ones of Linux have about
/// 63 bytes, with an interface name of 15.
pub const NAME_MAX: usize = 255;

/// The longest literal last component of a pattern, in bytes, that programs look at. They fetch the last component of
/// the name first, into a buffer of this length.
pub const LAST_COMPONENT_MAX: usize = 63;

/// How many last components of one pattern programs look at.
pub const LAST_COMPONENTS_MAX: usize = 64;

/// The longest new or current value, in bytes (padding included), that a compiled policy can look at. The hook shows programs no
/// longer ones (`PAGE_SIZE` in kernel/bpf/cgroup.c, where pages have 4 KiB).
pub const VALUE_MAX: usize = 4095;

/// The same on kernels where programs cannot loop over a value: before Linux 5.17.
pub const SHORT_VALUE_MAX: usize = 135;

/// The longest new value, in bytes, that can be replaced. A NUL has to follow the replacement.
pub const REPLACED_MAX: usize = VALUE_MAX - 1;

/// How far from its start the numbers of a value may extend, in bytes.
pub const NUMBERS_END_MAX: usize = 63;

/// How many numbers a value may hold.
pub const ELEMENTS_MAX: usize = 8;

/// The longest number in a value, in bytes, including sign and prefix. The kernel's `proc_get_long` takes no longer
/// ones (kernel/sysctl.c, `TMPBUFLEN`).
pub const NUMBER_CHARS_MAX: usize = 20;

/// The longest name of a task, in bytes: the kernel keeps 15 (`TASK_COMM_LEN` without its NUL).
pub const COMM_MAX: usize = 15;

/// How deep conditions, and alternatives inside patterns, may be nested.
pub const NESTING_MAX: usize = 32;

/// The longest pattern for knob names, and the longest text in a policy, in bytes.
pub const PATTERN_MAX: usize = 255;

/// The longest name of a policy, in bytes.
pub const POLICY_NAME_MAX: usize = 63;

/// How many events a second a rule sends in each cgroup, unless it states another limit.
pub const EVENTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// The highest limit of events a second that a rule can state.
pub const EVENTS_PER_SECOND_MAX: u32 = 1_000_000;

/// How deep included files may include others.
pub const INCLUDE_DEPTH_MAX: usize = 8;

/// How many texts a policy may include, each as often as it is included.
pub const INCLUDES_MAX: usize = 1000;

/// The largest policy, in bytes, with all that it includes.
pub const FILE_MAX: usize = 16 << 20;
