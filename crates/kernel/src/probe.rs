//! What this kernel can do, found out by doing it.
//!
//! Distributions carry fixes and features back and leave others out, so that a kernel's version says little; of
//! `bpf_sysctl_set_new_value` not even whether it does anything. Each probe here loads a program of a few instructions,
//! and two attach one to a cgroup made for that.

mod attaching;
mod cache;
mod instructions;
mod programs;
mod retval;
mod rewrite;

use std::fmt;

use knobgate_bpf::{Features, Insn};
use rustix::io::Errno;

use crate::program::ProgramFd;

pub use attaching::{AttachProbes, probe_attaching};
pub use instructions::{InstructionProbes, probe_instructions};
pub use retval::probe_invalid_retval;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Yes,
    /// It does not.
    No,
    /// It could not be found out, for this reason.
    Unknown(String),
}

impl Outcome {
    /// Whether it surely works.
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No => f.write_str("no"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// Defines [`Probes`], which is the same thing for every field.
macro_rules! probes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the kernel takes from this process: some things are for those with `CAP_PERFMON` alone.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Probes {
            $($(#[$doc])* pub $name: Outcome,)*
        }

        impl Probes {
            /// With what `outcome` gives for the name of each field, in their order.
            fn from_names(mut outcome: impl FnMut(&str) -> Option<Outcome>) -> Option<Self> {
                Some(Self { $($name: outcome(stringify!($name))?,)* })
            }

            fn all(outcome: &Outcome) -> Self {
                Self { $($name: outcome.clone(),)* }
            }

            /// Every outcome with the name of its field.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Outcome)> {
                [$((stringify!($name), &self.$name)),*].into_iter()
            }
        }
    };
}

probes! {
    /// Programs for the accesses to `/proc/sys` can be loaded.
    hook,
    /// They can be attached by links.
    links,
    /// They can send events through a ring buffer.
    ringbuf,
    /// They can choose the errno of a denial (`bpf_set_retval`).
    set_retval,
    /// They can ask for the name of the task.
    current_comm,
    /// They can ask for the user and group of the task.
    current_uid_gid,
    /// They can ask for the process and thread id of the task.
    current_pid_tgid,
    /// A value that they put in the place of the one being written is what gets stored.
    set_new_value,
    /// They may hand stack to a helper that they did not write to before.
    uninit_stack,
    /// They may write to the stack at an offset known at run time only.
    variable_stack,
    /// They may use the `gotol` instruction.
    long_jump,
    /// They may have a function called in a loop (`bpf_loop`).
    bpf_loop,
    /// They run as machine code.
    jit,
    /// They can carry the lines of their source.
    line_info,
}

impl Probes {
    /// What a program may make use of: that which surely works.
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
        }
    }
}

/// Probes the running kernel, now.
///
/// Takes some milliseconds. For a moment there is a cgroup `knobgate-probe-…` with a program attached and a process in
/// it, which writes the domain name of a UTS namespace of its own; nothing of the machine's is written.
pub fn probe() -> Probes {
    let base = match load_allow() {
        Ok(base) => base,
        Err(Errno::INVAL) => return Probes::all(&Outcome::No),
        Err(error) => return Probes::all(&Outcome::Unknown(format!("no program can be loaded: {error}"))),
    };
    let (links, set_new_value) = rewrite::probe();
    Probes {
        hook: Outcome::Yes,
        links,
        ringbuf: programs::ring_buffer().map_or_else(outcome_of, |(_map, insns)| loads(&insns)),
        set_retval: loads(&programs::set_retval()),
        current_comm: loads(&programs::current_comm()),
        current_uid_gid: loads(&programs::current_uid_gid()),
        current_pid_tgid: loads(&programs::current_pid_tgid()),
        set_new_value,
        uninit_stack: loads(&programs::uninit_stack()),
        variable_stack: loads(&programs::variable_stack()),
        long_jump: loads(&programs::long_jump()),
        bpf_loop: programs::takes_loops(),
        jit: match base.info() {
            Ok(info) if info.jited_bytes > 0 => Outcome::Yes,
            Ok(_) => Outcome::No,
            Err(error) => Outcome::Unknown(error.to_string()),
        },
        line_info: programs::takes_lines(),
    }
}

/// As [`probe`], or what that found before: once per boot and set of capabilities.
///
/// It is remembered in `/run/knobgate`, which is root's alone, and only if everything could be found out. A file that is
/// not there, not ours or not readable is passed over, and one that cannot be written is done without.
pub fn probe_cached() -> Probes {
    let Some(key) = cache::Key::current() else { return probe() };
    if let Some(found) = cache::read(&key) {
        return found;
    }
    let found = probe();
    cache::write(&key, &found);
    found
}

/// A program that lets everything pass.
pub(crate) fn load_allow() -> rustix::io::Result<ProgramFd> {
    try_load(&programs::allow())
}

fn try_load(insns: &[Insn]) -> rustix::io::Result<ProgramFd> {
    programs::load(insns).map(ProgramFd::from_fd)
}

fn loads(insns: &[Insn]) -> Outcome {
    try_load(insns).map_or_else(outcome_of, |_| Outcome::Yes)
}

/// What a refusal means, after the simplest program was taken.
fn outcome_of(error: Errno) -> Outcome {
    /// What the kernel says to itself of what it does not support.
    const ENOTSUPP: Errno = Errno::from_raw_os_error(524);
    match error {
        Errno::INVAL | Errno::ACCESS | Errno::PERM | Errno::OPNOTSUPP | Errno::TOOBIG | ENOTSUPP => {
            Outcome::No
        }
        error => Outcome::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_use_what_surely_works() {
        assert_eq!(Probes::all(&Outcome::Yes).features(), Features::ALL);
        for outcome in [Outcome::No, Outcome::Unknown("why".into())] {
            let features = Probes::all(&outcome).features();
            let nothing = Features { set_new_value: false, current_uid_gid: false, ..Features::BASELINE };
            assert_eq!(features, nothing);
        }
    }
}
