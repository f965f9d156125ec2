//! The kernel's cgroup/sysctl hook in user space.
//!
//! A [`Hook`] is a kernel as far as this hook goes: *knobs* with the kernel's own handlers, *cgroups* with programs
//! attached to them, and *processes* that live in cgroups and read and write knobs. It does what Linux does, down to
//! errno, file positions and the bytes that are stored, without root and on any system; what differs between kernels
//! is in a [`Profile`].
//!
//! ```
//! use knobgate_bpf::{AluOp, Assembler, Program, Reg, Size};
//! use knobgate_hook::{Errno, Hook, LoadOptions, LoadedProgram, Process, attach::Options};
//!
//! let mut asm = Assembler::new();
//! asm.load(Size::U32, Reg::R0, Reg::R1, 0); // r0 = ctx->write
//! asm.alu(AluOp::And, Reg::R0, 1);
//! asm.alu(AluOp::Xor, Reg::R0, 1); // 1, which allows, for a read, and 0 for a write
//! asm.exit();
//! let program = Program::from(asm.finish(true)?);
//!
//! let mut hook = Hook::default();
//! let service = hook.create_cgroup(hook.root(), "web.service")?;
//! let program = LoadedProgram::load(&program, hook.profile(), &LoadOptions::default())?;
//! let program = hook.load(program);
//! hook.link(service, program, Options::default())?;
//!
//! let process = hook.spawn(service, Process::default())?;
//! assert_eq!(hook.write_knob(process, "net/core/somaxconn", "1")?.errno(), Some(Errno::EPERM));
//! assert_eq!(hook.read_knob(process, "net/core/somaxconn")?.data, b"4096\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program of your own comes from the object that clang makes of it. This one, examples/objects/watch.bpf.c, counts what
//! is written, and allows each knob two writes:
//!
//! ```
//! use knobgate_bpf::Object;
//! use knobgate_hook::{Errno, Hook, LoadOptions, LoadedProgram, Process, attach::Options};
//!
//! let object = Object::read(include_bytes!("../../../examples/objects/watch.bpf.o"))?;
//! let mut hook = Hook::default();
//! let watch = LoadedProgram::load(&object.program(None)?, hook.profile(), &LoadOptions::default())?;
//! let id = hook.load(watch.clone()); // both are the same program, with the same maps
//! hook.link(hook.root(), id, Options::default())?;
//!
//! let process = hook.spawn(hook.root(), Process::default())?;
//! assert_eq!(hook.write_knob(process, "kernel/domainname", "one")?.returned, 3);
//! assert_eq!(hook.write_knob(process, "kernel/domainname", "two")?.returned, 3);
//! assert_eq!(hook.write_knob(process, "kernel/domainname", "three")?.errno(), Some(Errno::EPERM));
//! let [(knob, count)] = &watch.map("writes").expect("a hash table").entries()[..] else { panic!() };
//! assert!(knob.starts_with(b"kernel/domainname\0") && count[0] == 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where a test is not about bytecode, whatever [`Runs`] can be attached too, a closure over the [`Invocation`] for one.
//!
//! An access goes through what fs/proc/proc_sysctl.c does, in this order: its checks, which no program hears of; the
//! programs that are in [effect](Hook::effective) for the process's cgroup, all of them; the [handler] of the knob.
//!
//! There is no memory of user space here, so that nothing fails with `EFAULT`.
#![forbid(unsafe_code)]

mod access;
mod admission;
pub mod attach;
mod calls;
mod cgroup_storage;
mod cgroups;
mod chain;
mod effective;
pub mod features;
pub mod handler;
mod hook;
pub mod invocation;
pub mod knobs;
pub mod machine;
pub mod maps;
mod open_file;
mod process;
pub mod profile;
pub mod runs;

pub use access::Outcome;
pub use admission::Rejection;
pub use attach::{LinkId, Mode, ProgramId};
pub use cgroup_storage::CgroupStorage;
pub use cgroups::CgroupId;
pub use chain::{Decision, ProgramFault};
pub use handler::{Handler, WritesStrict};
pub use hook::Hook;
pub use invocation::{Invocation, Task, VALUE_BYTES};
pub use knobgate_errno::Errno;
pub use knobs::{Knob, KnobError, Knobs, Wanted};
pub use machine::{Fault, LoadOptions, LoadedProgram, RunOptions, Surroundings, TraceStep, Tracer};
pub use maps::{Map, MapError};
pub use open_file::OpenFile;
pub use process::{Credentials, Process, ProcessId};
pub use profile::{Profile, UnknownProfile};
pub use runs::Runs;
