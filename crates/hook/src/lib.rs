//! The kernel's cgroup/sysctl hook in user space.
//!
//! A [`Hook`] models a kernel as far as this hook is concerned: *knobs* with the kernel's own handlers, *cgroups* with
//! programs attached to them, and *processes* in cgroups that read and write knobs. It does what Linux does, down to errno,
//! file positions and stored bytes, without root and on any system. A [`Profile`] describes what differs between kernels.
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
//! Your own programs come from the objects that clang compiles. This one, examples/objects/watch.bpf.c, counts writes, and
//! allows two writes to each knob:
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
//! A test that is not about bytecode can attach any other [`HookProgram`], such as a closure over the [`Invocation`].
//!
//! An access goes through the steps of fs/proc/proc_sysctl.c: first its checks, then all [effective](Hook::effective)
//! programs of the process's cgroup, then the [handler] of the knob.
//!
//! There is no user space memory here, so nothing fails with `EFAULT`.
#![forbid(unsafe_code)]

mod access;
mod arithmetic;
pub mod attach;
mod cgroup_storage;
mod cgroups;
mod constants;
mod context;
mod effective;
mod error;
pub mod features;
pub mod handler;
mod hook;
mod hook_program;
mod ids;
pub mod invocation;
pub mod knobs;
mod loaded_object;
pub mod machine;
pub mod maps;
mod open_file;
mod outcome;
pub mod prelude;
mod proc_sysctl;
mod process;
pub mod profile;
mod program_list;
mod run_array;
mod step;
mod sysctl;
mod verifier;

pub use access::AccessResult;
pub use attach::Mode;
pub use cgroup_storage::CgroupStorage;
pub use error::Error;
pub use handler::{Handler, WritesStrict};
pub use hook::Hook;
pub use hook_program::HookProgram;
pub use ids::{CgroupId, LinkId, ProgramId};
pub use invocation::{Invocation, Task, VALUE_BYTES};
pub use knobgate_bpf::ObjectError;
pub use knobgate_errno::Errno;
pub use knobs::{AccessMode, Knob, KnobError, Knobs};
pub use loaded_object::LoadedObject;
pub use machine::{Fault, LoadOptions, LoadedProgram, RunEnv, RunOptions, TraceStep, Tracer};
pub use maps::{Map, MapError};
pub use open_file::OpenFile;
pub use outcome::Outcome;
pub use process::{Credentials, Process, ProcessId};
pub use profile::{Profile, UnknownProfile};
pub use run_array::{FilterResult, ProgramFault};
pub use verifier::Rejection;
