//! The running kernel.

#![deny(unsafe_code)]

mod bpffs;
mod capabilities;
mod cgroup;
mod foreign;
mod guard;
mod hierarchy;
mod link;
mod load;
mod machine;
mod map;
mod mountinfo;
mod object;
mod probe;
mod program;
mod query;
mod scratch;
mod signals;
mod spawn;
mod sweep;
#[allow(unsafe_code)]
mod sys;
mod verifier_log;

pub use bpffs::{AttachmentName, Bpffs, BpffsError, NameError, PinDir};
pub use capabilities::{Capabilities, Capability};
pub use cgroup::{Cgroup, CgroupError};
#[doc(hidden)]
pub use foreign::attach_without_link;
pub use guard::{Guard, GuardError, guard};
pub use hierarchy::Hierarchy;
pub use link::{Link, LinkError, LinkInfo};
pub use load::{LoadError, LoadOptions, LoadedProgram, load};
pub use machine::{Machine, MachineAttachments, SurveyError, knob_names};
pub use map::{Map, MapEntry, MapInfo};
pub use object::ObjectError;
pub use probe::{Outcome, Probes, probe, probe_cached};
pub use program::{ProgramFd, ProgramInfo};
pub use query::{AttachMode, Attached};
pub use rustix::process::Signal;
pub use scratch::ScratchCgroup;
pub use signals::{HeldSignal, HeldSignals};
pub use spawn::{Namespaces, ProcessFd, die_with_parent, start_inside, with_private_namespaces};
pub use verifier_log::{SourceLine, VerifierLog};
