//! What this kernel can do, found out by trying it.
//!
//! Distributions backport features and omit fixes, so a version number proves nothing: not even whether
//! `bpf_sysctl_set_new_value` has an effect. Each probe loads a program of a few instructions, and some attach it to a
//! cgroup that is made for that.

mod attaching;
mod cache;
mod instructions;
mod programs;
mod retval;
mod rewrite;

use std::fmt;

use knobgate_bpf::{EventFeatures, Features, Insn, TaskOffsets};
use rustix::io::Errno;

use crate::knob_owner::{host_netns, knob_owner};
use crate::program::ProgramFd;
use crate::task_layout::task_offsets;
use crate::token::BpfToken;

pub use attaching::{AttachProbes, probe_attaching};
pub use instructions::{InstructionProbes, probe_instructions};
pub use retval::probe_invalid_retval;

/// How many ids of a task programs look at as the verifier knows them: containers in containers have three.
const TYPED_IDS: u8 = 3;

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It works.
    Yes,
    /// It does not.
    No,
    /// The probe failed, for this reason.
    Unknown(String),
}

impl ProbeOutcome {
    /// Whether it certainly works.
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }
}

impl fmt::Display for ProbeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No => f.write_str("no"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// Defines [`Probes`], which treats all fields alike.
macro_rules! probes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the kernel supports for this process. Some features need `CAP_PERFMON`.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Probes {
            $($(#[$doc])* pub $name: ProbeOutcome,)*
        }

        impl Probes {
            /// Calls `outcome` with the name of each field, in order.
            fn from_names(mut outcome: impl FnMut(&str) -> Option<ProbeOutcome>) -> Option<Self> {
                Some(Self { $($name: outcome(stringify!($name))?,)* })
            }

            fn all(outcome: &ProbeOutcome) -> Self {
                Self { $($name: outcome.clone(),)* }
            }

            /// The name and outcome of each field.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &ProbeOutcome)> {
                [$((stringify!($name), &self.$name)),*].into_iter()
            }
        }
    };
}

probes! {
    /// Programs of this hook can be loaded.
    hook,
    /// Links can attach them.
    links,
    /// They can write to a ring buffer.
    ringbuf,
    /// They can send events: to ring buffers in an array of maps, with a queue of free places.
    events,
    /// They can choose the errno of a denial (`bpf_set_retval`).
    set_retval,
    /// They can read the name of the task.
    current_comm,
    /// They can read the user and group of the task.
    current_uid_gid,
    /// They can read the process and thread id of the task.
    current_pid_tgid,
    /// Their atomic operations can return the old value.
    atomic_fetch,
    /// They can read the namespaces of the task.
    namespaces,
    /// They can look at more than the first of a task's ids as the verifier knows them.
    typed_ids,
    /// They can find the network namespace that owns a knob.
    knob_netns,
    /// If they replace a written value, the kernel stores the replacement.
    set_new_value,
    /// They may pass uninitialised stack to a helper.
    uninit_stack,
    /// They may write to the stack at a variable offset.
    variable_stack,
    /// They may use the `gotol` instruction.
    long_jump,
    /// They may call `bpf_loop`.
    bpf_loop,
    /// The JIT compiles them.
    jit,
    /// They can have line information.
    line_info,
}

impl Probes {
    /// What programs can report in events; `None` if they can send none.
    pub fn event_features(&self) -> Option<EventFeatures> {
        self.events.is_yes().then(|| EventFeatures {
            current_pid_tgid: self.current_pid_tgid.is_yes(),
            task: task_offsets().filter(|_| self.namespaces.is_yes()).map(|offsets| TaskOffsets {
                typed_numbers: if self.typed_ids.is_yes() { TYPED_IDS } else { 1 },
                ..offsets
            }),
        })
    }

    /// The features that certainly work. Which network namespace owns a knob can be found if [the host's](host_netns) is known.
    pub fn features(&self) -> Features {
        Features {
            set_retval: self.set_retval.is_yes(),
            set_new_value: self.set_new_value.is_yes(),
            current_comm: self.current_comm.is_yes(),
            current_uid_gid: self.current_uid_gid.is_yes(),
            uninit_stack: self.uninit_stack.is_yes(),
            variable_stack: self.variable_stack.is_yes(),
            long_jump: self.long_jump.is_yes(),
            bpf_loop: self.bpf_loop.is_yes(),
            atomic_fetch: self.atomic_fetch.is_yes(),
            knob_owner: if self.knob_netns.is_yes() { host_netns().ok().and_then(knob_owner) } else { None },
        }
    }
}

/// Probes the running kernel, now.
///
/// This takes some milliseconds. For a moment, there is a cgroup `knobgate-probe-…` with a program attached and a
/// process in it. The process writes the domain name of its own UTS namespace, and nothing of the host.
pub fn probe() -> Probes {
    let base = match load_allow() {
        Ok(base) => base,
        Err(Errno::INVAL) => return Probes::all(&ProbeOutcome::No),
        Err(error) => {
            return Probes::all(&ProbeOutcome::Unknown(format!("no program can be loaded: {error}")));
        }
    };
    let (links, set_new_value) = rewrite::probe();
    Probes {
        hook: ProbeOutcome::Yes,
        links,
        ringbuf: programs::ring_buffer().map_or_else(outcome_of, |(_map, insns)| loads(&insns)),
        set_retval: loads(&programs::set_retval()),
        current_comm: loads(&programs::current_comm()),
        current_uid_gid: loads(&programs::current_uid_gid()),
        current_pid_tgid: loads(&programs::current_pid_tgid()),
        events: programs::readers().map_or_else(outcome_of, |(_maps, insns)| loads(&insns)),
        atomic_fetch: loads(&programs::atomic_fetch()),
        namespaces: task_offsets()
            .map_or(ProbeOutcome::No, |offsets| loads(&programs::namespaces(&offsets, 1))),
        typed_ids: task_offsets()
            .map_or(ProbeOutcome::No, |offsets| loads(&programs::namespaces(&offsets, TYPED_IDS))),
        knob_netns: knob_owner(0).map_or(ProbeOutcome::No, |owner| loads(&programs::knob_netns(&owner))),
        set_new_value,
        uninit_stack: loads(&programs::uninit_stack()),
        variable_stack: loads(&programs::variable_stack()),
        long_jump: loads(&programs::long_jump()),
        bpf_loop: programs::bpf_loop(),
        jit: match base.info() {
            Ok(info) if info.jited_bytes > 0 => ProbeOutcome::Yes,
            // That takes capabilities in the initial user namespace.
            Ok(_) if BpfToken::of_this_process().is_some() => {
                ProbeOutcome::Unknown("the kernel does not tell this user namespace".to_owned())
            }
            Ok(_) => ProbeOutcome::No,
            Err(error) => ProbeOutcome::Unknown(error.to_string()),
        },
        line_info: programs::line_info(),
    }
}

/// The result of [`probe`], cached per boot and set of capabilities.
///
/// The cache is in `/run/knobgate`, which only root can use. It is written if no probe failed. If it is unusable, this
/// probes again.
pub fn probe_cached() -> Probes {
    let Some(key) = cache::Key::current() else { return probe() };
    if let Some(found) = cache::read(&key) {
        return found;
    }
    let found = probe();
    cache::write(&key, &found);
    found
}

/// Loads a program that allows everything.
pub(crate) fn load_allow() -> rustix::io::Result<ProgramFd> {
    try_load(&programs::allow())
}

fn try_load(insns: &[Insn]) -> rustix::io::Result<ProgramFd> {
    programs::load(insns).map(ProgramFd::from_fd)
}

fn loads(insns: &[Insn]) -> ProbeOutcome {
    try_load(insns).map_or_else(outcome_of, |_| ProbeOutcome::Yes)
}

/// What an error means, after the simplest program was accepted.
fn outcome_of(error: Errno) -> ProbeOutcome {
    /// An errno that is internal to the kernel.
    const ENOTSUPP: Errno = Errno::from_raw_os_error(524);
    match error {
        Errno::INVAL | Errno::ACCESS | Errno::PERM | Errno::OPNOTSUPP | Errno::TOOBIG | ENOTSUPP => {
            ProbeOutcome::No
        }
        error => ProbeOutcome::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_features_that_certainly_work_are_used() {
        let all = Probes::all(&ProbeOutcome::Yes).features();
        assert_eq!(Features { knob_owner: None, ..all }, Features::ALL);
        for outcome in [ProbeOutcome::No, ProbeOutcome::Unknown("why".into())] {
            let features = Probes::all(&outcome).features();
            let nothing = Features { set_new_value: false, current_uid_gid: false, ..Features::BASELINE };
            assert_eq!(features, nothing);
        }
    }
}
