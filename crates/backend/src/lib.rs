//! A hook for `/proc/sys` to try programs on: the model of the kernel's, or the running kernel's.
//!
//! Both are a [`Backend`]: programs are loaded, attached to cgroups and run, knobs are read and written by a process in each
//! cgroup, and maps are looked into. [`ModelBackend`] does all that in [`knobgate_hook::Hook`], without root and anywhere.
//! With the feature `kernel`, `KernelBackend` does it below a cgroup of its own on the running kernel. The same steps give
//! the same ids and the same results on both, so that they can be compared.
//!
//! # Words
//!
//! - The **scratch cgroup** ([`CgroupId::SCRATCH`]) is there from the start. All other cgroups are below it.
//! - A **step** is one call of a backend. Its error is a [`StepError`]: the errno of a system call, a program that is
//!   rejected, or a backend that has failed itself.
//! - An **access** is a read or a write by the process in a cgroup, as a [`Task`].
//!
//! ```
//! use knobgate_backend::{Backend, CgroupId, ModelBackend, Placement, Request, StepError};
//! use knobgate_bpf::{Insn, Program, Reg, Width};
//! use knobgate_hook::{AccessMode, Hook};
//!
//! fn denied(backend: &mut dyn Backend) -> Result<i64, StepError> {
//!     let insns = vec![Insn::mov(Width::W64, Reg::R0, 0), Insn::exit()];
//!     let deny = Program { name: "deny".to_owned(), insns, ..Program::default() };
//!     let web = backend.create_cgroup(CgroupId::SCRATCH, "web")?;
//!     let deny = backend.load(&deny, None)?;
//!     backend.link(web, deny, &Placement::default())?;
//!     let file = backend.open("net/core/somaxconn", AccessMode::Write, web)?;
//!     Ok(backend.access(file, web, Request::Write(b"128\n"), None)?.returned)
//! }
//!
//! let mut model = ModelBackend::new(Hook::default(), 1).unwrap();
//! assert_eq!(denied(&mut model).unwrap(), -1);
//! ```
#![forbid(unsafe_code)]

mod arguments;
mod backend;
mod ids;
#[cfg(feature = "kernel")]
mod kernel;
mod model;
mod per_cpu;
mod rejection_reason;
mod step_error;

pub use backend::{Attached, Backend, Entry, Placement, RelativeTo, Request, SyscallResult, Task};
pub use ids::{CgroupId, FileId, LinkId, MapId, ProcessId, ProgramId};
#[cfg(feature = "kernel")]
pub use kernel::KernelBackend;
pub use model::ModelBackend;
pub use step_error::{RejectionLog, StepError, StepResult};

/// The most bytes that are read of a knob's value.
pub const VALUE_READ_MAX: usize = 1 << 16;

/// The most bytes of one read or write. Since Linux 5.9, those of 4 MiB and more fail.
pub const ACCESS_MAX: usize = 8 << 20;

/// The most entries that are listed of a map.
pub const ENTRIES_MAX: u32 = 65_536;

/// The most memory that all maps of the model take, and that all entries take that are listed of a map, in bytes.
pub const MAPS_MAX: u64 = 256 << 20;
