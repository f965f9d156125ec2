//! The running kernel: the place where a [`Program`](knobgate_bpf::Program) decides for real.
//!
//! In goes a program; out comes an attachment, and what there is to know about it and about the machine. Everything
//! else of knobgate is pure; this crate does the I/O, and is the only one with `unsafe` code (bpf(2), fork, and what runs
//! between fork and exec), which is all in one private module.
//!
//! # Words
//!
//! - A **program** ([`ProgramFd`]) and its **maps** ([`Map`]) are objects of the kernel, which live for as long as
//!   something refers to them. [`load()`] makes them; a refusal carries the [verifier's log](VerifierLog) in terms of
//!   the policy's lines.
//! - [`verify()`] asks the kernel's **verifier** alone: its verdict, its reason, and how much work it had.
//! - A **link** ([`Link`]) holds a program on a cgroup. It can be made to hold another one, at once ([`Link::update`]).
//!   What is to go with its cgroup is attached without one ([`attach_until_removed`]), so that nothing has to hold it.
//! - A **pin** keeps a link when the process ends: a file on a bpffs. An **attachment** ([`Attachment`]) is a directory of
//!   ours there with a pinned link for each of its cgroups ([`PinDir`]). Program, maps and cgroups are found through
//!   the links; there is no other state. A [`Change`] is made on all of these cgroups or on none.
//! - A **cgroup** ([`Cgroup`]) is always one of version 2, wherever that is mounted ([`Hierarchy`]). A program
//!   judges the processes in it and below.
//! - A **guard** ([`guard()`]) is a process that ends a command if the one that started it under a policy dies.
//! - The **descendants** of a command ([`Descendants`]) are followed by programs on tracepoints, to notice those that leave
//!   its cgroup.
//! - A **probe** ([`probe()`]) finds out by doing what the kernel can do. Versions do not tell.
//!
//! Errors say what was being done, to what, what went wrong and what to do; the kernel's own answer is their `source()`.
//!
//! # Example
//!
//! A command that cannot write any knob (needs root):
//!
//! ```no_run
//! use std::process::Command;
//!
//! use knobgate_bpf::{Cond, Insn, Program, Reg, Size, Width};
//! use knobgate_kernel::{
//!     Hierarchy, LoadOptions, ScratchCgroup, attach_until_removed, guard, load, start_inside,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // return ctx->write == 0;
//! let insns = vec![
//!     Insn::load(Size::U32, Reg::R1, Reg::R1, 0),
//!     Insn::mov(Width::W64, Reg::R0, 1),
//!     Insn::jump_if(Width::W64, Cond::Eq, Reg::R1, 0, 1),
//!     Insn::mov(Width::W64, Reg::R0, 0),
//!     Insn::exit(),
//! ];
//! let program = Program { name: "read_only".to_owned(), insns, ..Program::default() };
//!
//! let loaded = load(&program, &LoadOptions::default())?;
//! let cgroup = ScratchCgroup::create(&Hierarchy::find()?.root()?, "example-")?;
//! attach_until_removed(&loaded.program, &cgroup)?;
//! let guard = guard(&cgroup)?;
//!
//! let mut command = Command::new("sysctl");
//! command.args(["-w", "kernel.domainname=example"]);
//! start_inside(&mut command, &cgroup)?;
//! assert!(!command.status()?.success());
//!
//! cgroup.finish()?;
//! guard.dismiss()?;
//! # Ok(())
//! # }
//! ```

#![deny(unsafe_code)]

mod accessor;
mod attach;
mod attachment;
mod attachment_name;
mod attempt;
mod bpffs;
mod capabilities;
mod cgroup;
mod cgroup_type;
mod change;
mod descendants;
mod fdinfo;
mod foreign;
mod guard;
mod hierarchy;
mod identity;
mod link;
mod load;
mod load_error;
mod locked_memory;
mod long_path;
mod machine;
mod map;
mod mountinfo;
mod new_attachment;
mod object;
mod pin_dir;
mod pin_owner;
mod probe;
mod process_id;
mod program;
mod query;
mod remembered;
mod replacement;
mod ring_buffer;
mod scratch;
mod signals;
mod spawn;
#[allow(unsafe_code)]
mod sys;
mod teardown;
mod threads;
mod verifier_log;
mod verifier_stats;
mod verify;
#[cfg(feature = "ways")]
#[doc(hidden)]
pub mod ways;

pub use accessor::{Accessor, AccessorError};
pub use attach::{
    Among, Anchor, attach_among, attach_until_removed, detach_link, detach_without_link, link_among,
    update_link,
};
pub use attachment::{Attachment, PinnedLink};
pub use attachment_name::{AttachmentName, NameError};
pub use bpffs::{Bpffs, BpffsError};
pub use capabilities::{Capabilities, Capability, CapabilitySet, Credentials};
pub use cgroup::{Cgroup, CgroupError, name_in_its_namespace};
pub use cgroup_type::CgroupType;
pub use change::Change;
pub use descendants::{Departed, Departure, Descendants, DescendantsError, Lost};
pub use fdinfo::FdInfo;
#[doc(hidden)]
pub use foreign::attach_without_link;
pub use guard::{Guard, GuardError, guard};
pub use hierarchy::Hierarchy;
pub use link::{Link, LinkError, LinkInfo};
pub use load::{LoadOptions, LoadedProgram, create_map, load, load_with_maps};
pub use load_error::LoadError;
pub use machine::{Machine, MachineAttachments, PROC_SYS, SurveyError, kernel_version, knob_names};
pub use map::{Map, MapEntry, MapInfo, possible_cpus};
pub use mountinfo::{Mount, mounts_of};
pub use new_attachment::NewAttachment;
pub use object::ObjectError;
pub use pin_dir::{MovedAway, PinDir};
pub use pin_owner::Distrust;
pub use probe::{
    AttachProbes, InstructionProbes, Outcome, Probes, probe, probe_attaching, probe_cached,
    probe_instructions, probe_invalid_retval,
};
pub use process_id::ProcessId;
pub use program::{ProgramFd, ProgramInfo};
pub use query::{AttachMode, Attached};
pub use ring_buffer::RingBuffer;
pub use rustix::process::Signal;
pub use scratch::ScratchCgroup;
pub use signals::{HeldSignal, HeldSignals};
pub use spawn::{
    Namespaces, ProcessFd, keep_closed_streams, spawn_inside, start_inside, with_private_namespaces,
};
pub use threads::ThreadCount;
pub use verifier_log::{LogLevel, SourceLine, VerifierLog};
pub use verifier_stats::VerifierStats;
pub use verify::{Rejection, Verdict, Verification, verify};
