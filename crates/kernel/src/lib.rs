//! The running kernel: loads programs, attaches them to cgroups, and queries what is attached.
//!
//! In goes a [`Program`](knobgate_bpf::Program); out comes an attachment, and facts about it and the machine. The rest
//! of knobgate is pure. This crate does the I/O, and is the only one with `unsafe` code (bpf(2), fork, and what runs
//! between fork and exec), in one private module.
//!
//! # Words
//!
//! - A **program** ([`ProgramFd`]) and its **maps** ([`Map`]) are kernel objects, which live while something refers to
//!   them. [`load()`] creates them. If the kernel rejects a program, the error has the [verifier's log](VerifierLog)
//!   with the lines of the policy.
//! - [`verify()`] only asks the **verifier**: for its verdict, the reason, and its statistics.
//! - A **link** ([`Link`]) holds a program on a cgroup, and can replace it atomically ([`Link::update`]). Without a
//!   link, [`attach_until_removed`] attaches a program for the lifetime of a cgroup.
//! - A **pin** is a file on a bpffs that keeps a link after its process has ended. An **attachment** ([`Attachment`])
//!   is a directory there ([`PinDir`]) with a pinned link for each of its cgroups. The links lead to the program, the
//!   maps and the cgroups; there is no other state. A [`Transaction`] changes all of its cgroups or none.
//! - A **cgroup** ([`Cgroup`]) is always of version 2, wherever that is mounted ([`Hierarchy`]). A program judges the
//!   processes in it and below.
//! - A **guard** ([`guard()`]) is a process that kills a command if its parent dies.
//! - **Descendants** ([`Descendants`]) of a command are tracked by programs on tracepoints, to notice those that leave
//!   its cgroup.
//! - **Guarded cgroups** ([`GuardedCgroups`]) are those whose processes should stay there and below: each that leaves is
//!   reported, with who moved it.
//! - A **token** ([`BpfToken`]) lets a process of another user namespace load what was delegated to that.
//! - A **probe** ([`probe()`]) finds out what the kernel supports by trying it. A version number proves nothing.
//!
//! Errors say what failed, on what, and what to do. Their `source()` is the kernel's answer.
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
mod attach_mode;
mod attachment;
mod attachment_name;
mod boot_cache;
mod bpffs;
mod cached_layout;
mod capabilities;
mod cgroup;
mod cgroup_error;
mod cgroup_lookup;
mod cgroup_name;
mod cgroup_type;
mod descendants;
mod dir_lock;
mod fdinfo;
mod guard;
mod guarded_cgroups;
mod hierarchy;
mod identity;
mod knob_owner;
mod link;
mod link_error;
mod link_origin;
mod load;
mod load_error;
mod load_options;
mod load_request;
mod loaded_types;
mod locked_memory;
mod long_path;
mod machine;
mod machine_lock;
mod map;
mod mountinfo;
mod new_attachment;
mod object;
mod perf_events;
mod pin_dir;
mod pin_owner;
mod pinned_map;
mod probe;
mod process_id;
mod program;
mod query;
mod replacement;
mod ring_buffer;
mod running_kernel;
mod scratch;
mod signals;
mod spawn;
mod start_time;
mod started_process;
#[allow(unsafe_code)]
mod sys;
mod syscall_results;
mod task_layout;
mod teardown;
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod test_util;
mod threads;
mod token;
mod traced_records;
mod traced_tasks;
mod tracepoint;
mod tracking_error;
mod tracking_layout;
mod transaction;
mod verifier_log;
mod verifier_stats;
mod verify;

pub use accessor::{Accessor, AccessorError};
pub use attach::{
    AttachPosition, RelativeTo, attach_until_removed, link_create, link_detach, link_update, prog_attach,
    prog_detach,
};
pub use attach_mode::AttachMode;
pub use attachment::{Attachment, PinnedLink, UnopenedLink};
pub use attachment_name::{AttachmentName, NameError};
pub use bpffs::{Bpffs, BpffsError};
pub use capabilities::{Capabilities, Capability, CapabilitySet, Credentials};
pub use cgroup::Cgroup;
pub use cgroup_error::CgroupError;
pub use cgroup_name::name_in_its_namespace;
pub use cgroup_type::CgroupType;
pub use descendants::{Departed, Departure, Descendants, LostEvents};
pub use dir_lock::LockHolder;
pub use fdinfo::FdInfo;
pub use guard::{Guard, GuardError, guard};
pub use guarded_cgroups::{GuardedCgroups, GuardedDeparture, GuardingError, HowItLeft, Mover};
pub use hierarchy::Hierarchy;
pub use knob_owner::host_netns;
pub use link::{Link, LinkInfo};
pub use link_error::LinkError;
pub use link_origin::{LinkOrigin, LinkSource};
pub use load::{LoadedProgram, create_map, load, load_with_maps};
pub use load_error::LoadError;
pub use load_options::LoadOptions;
pub use machine::{
    Machine, MachineAttachments, PROC_SYS, SurveyError, kernel_version, knob_names, knob_names_below,
};
pub use machine_lock::MachineLock;
pub use map::{Map, MapEntry, MapInfo, possible_cpus};
pub use mountinfo::{Mount, mounts_of};
pub use new_attachment::NewAttachment;
pub use object::BpfObjectError;
pub use perf_events::{PerfEvents, PerfEventsError};
pub use pin_dir::{MovedAway, PinDir};
pub use pin_owner::BadOwnership;
pub use probe::{
    AttachProbes, InstructionProbes, ProbeOutcome, Probes, probe, probe_attaching, probe_cached,
    probe_instructions, probe_invalid_retval,
};
pub use process_id::ProcessId;
pub use program::{ProgramFd, ProgramInfo};
pub use query::{Attached, CgroupPrograms};
pub use ring_buffer::RingBuffer;
pub use running_kernel::RunningKernel;
pub use rustix::process::Signal;
pub use scratch::ScratchCgroup;
pub use signals::{BlockedSignals, SignalInfo};
pub use spawn::{
    Namespaces, ProcessFd, keep_closed_streams, spawn_inside, start_inside, with_private_namespaces,
};
pub use started_process::StartedProcess;
pub use syscall_results::{SyscallRecord, SyscallResults, SyscallResultsError};
pub use threads::ThreadCount;
pub use token::{BpfToken, BpfTokenError, Delegation};
pub use tracking_error::TrackingError;
pub use transaction::{Lateness, Transaction};
pub use verifier_log::{LogLevel, SourceLine, VerifierLog};
pub use verifier_stats::VerifierStats;
pub use verify::{Rejection, Verification, VerifierVerdict, verify};
