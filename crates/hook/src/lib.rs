//! The kernel's cgroup/sysctl hook in user space.
//!
//! A [`Hook`] models a kernel as far as this hook is concerned: *knobs* with the kernel's own handlers, *cgroups* with
//! programs attached to them, and *processes* in cgroups that read and write knobs. It does what Linux does, down to errno,
//! file positions and stored bytes, without root and on any system. A [`Profile`] describes what differs between kernels.
//!
//! With it you test your own programs, as clang compiles them. This one, examples/limit/limit.bpf.c, limits
//! `net.core.somaxconn` to 65535, and counts what it denies:
//!
//! ```
//! use knobgate_hook::prelude::*;
//!
//! let mut hook = Hook::default(); // as Linux 6.18
//! let service = hook.create_cgroup(hook.root(), "web.service")?;
//! let limit = hook.attach_object(service, include_bytes!("../../../examples/limit/limit.bpf.o"))?;
//! let process = hook.spawn(service, Process::default())?;
//!
//! assert_eq!(hook.write_sysctl(process, "net.core.somaxconn", "70000")?, Denied(Errno::EPERM));
//! assert_eq!(hook.write_sysctl(process, "net.core.somaxconn", "128")?, Written(3));
//! assert_eq!(hook.read_sysctl(process, "net/core/somaxconn")?, Read("128\n".into()));
//! assert_eq!(limit.variable::<u32>("denied")?, 1);
//! # Ok::<(), Error>(())
//! ```
//!
//! The [`prelude`] has what such tests need:
//!
//! - An [`Outcome`] says who decided an access: the programs ([`Denied`](Outcome::Denied),
//!   [`Replaced`](Outcome::Replaced)), or the knob and the kernel around it ([`Failed`](Outcome::Failed)).
//! - An [`Error`] ends the test: the object cannot be used, there is no such knob, or a program did what the verifier would
//!   have rejected.
//! - A [`LoadedObject`] has the programs, maps and variables of an object, by name.
//!
//! # Closer to the kernel
//!
//! Below that are the operations of the kernel: [`LoadedProgram::load`], [`Hook::attach`] and [`Hook::link`] with all their
//! options, [`Hook::open`], [`Hook::read`], [`Hook::pwrite`]. An [`AccessResult`] is what the system call returns, and what
//! each program did.
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
//! let program = LoadedProgram::load(&program, hook.profile(), &LoadOptions::default())?;
//! let program = hook.load(program);
//! hook.link(hook.root(), program, Options::default())?;
//!
//! let process = hook.spawn(hook.root(), Process::default())?;
//! assert_eq!(hook.write_knob(process, "net/core/somaxconn", "1")?.errno(), Some(Errno::EPERM));
//! assert_eq!(hook.read_knob(process, "net/core/somaxconn")?.data, b"4096\n");
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
mod kernel_btf;
pub mod knob_set;
mod knobs;
mod loaded_object;
pub mod machine;
pub mod maps;
mod model_kernel;
mod namespaces;
mod open_file;
mod outcome;
pub mod prelude;
mod proc_sysctl;
mod process;
pub mod profile;
mod program_list;
mod run_array;
mod source_line;
mod step;
mod sysctl;
pub mod task_btf;
mod typed_map;
mod verifier;

pub use access::AccessResult;
pub use attach::AttachMode;
pub use cgroup_storage::CgroupStorage;
pub use error::Error;
pub use handler::{Handler, WritesStrict};
pub use hook::Hook;
pub use hook_program::HookProgram;
pub use ids::{CgroupId, LinkId, ProgramId};
pub use invocation::{Invocation, Task, VALUE_BYTES};
pub use kernel_btf::{KernelBtf, KernelBtfError};
pub use knob_set::KnobSet;
pub use knobgate_bpf::{Object, ObjectError};
pub use knobgate_errno::Errno;
pub use knobs::{AccessMode, Knob, KnobError, Knobs};
pub use loaded_object::LoadedObject;
pub use machine::{Coverage, Fault, LoadOptions, LoadedProgram, RunEnv, RunOptions, TraceStep, Tracer};
pub use maps::{Map, MapError};
pub use model_kernel::ModelKernel;
pub use namespaces::Namespaces;
pub use open_file::OpenFile;
pub use outcome::Outcome;
pub use process::{Credentials, Process, ProcessId};
pub use profile::{Profile, UnknownProfile};
pub use run_array::{FilterResult, ProgramFault};
pub use verifier::{Bounds, LockMisuse, MalformedInsn, OutOfBounds, Rejection, Violation};
