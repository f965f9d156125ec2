//! A checked scenario: all references are resolved to indexes.

use std::collections::BTreeMap;

use knobgate_backend::{CgroupId, Task};
use knobgate_bpf::uapi::BPF_CGROUP_SYSCTL;
use knobgate_bpf::{Features, MapDef, Object};
use knobgate_compiler::{CompileError, Degradation};
use knobgate_hook::{AttachMode, Profile, WritesStrict};
use knobgate_policy::PolicyFile;
use knobgate_policy::limits::SHORT_VALUE_MAX;

use crate::expectation::Expectations;
use crate::id::Id;
use crate::knob::Knob;
use crate::program_file::ProgramFile;

/// A scenario that can be played.
#[derive(Debug)]
pub struct Scenario {
    pub(crate) profile: Option<Profile>,
    pub(crate) strict: WritesStrict,
    pub(crate) knobs: Vec<Knob>,
    pub(crate) maps: Vec<MapDef>,
    pub(crate) programs: Vec<Program>,
    /// The names of maps that are a program's own: `PROGRAM/MAP`.
    pub(crate) own_maps: BTreeMap<MapRef, String>,
    /// Whether the programs of objects are linked for a model.
    #[cfg(feature = "kernel")]
    pub(crate) is_for_model: bool,
    pub(crate) cgroups: Vec<Cgroup>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) files: Vec<File>,
    pub(crate) processes: Vec<Process>,
    pub(crate) steps: Vec<Step>,
    /// By step, like the following field.
    pub(crate) expectations: Vec<Expectations>,
    /// Line and column of each, if the document was a text.
    pub(crate) places: Vec<(usize, usize)>,
}

impl Scenario {
    /// The longest document in JSON, in bytes.
    pub const TEXT_MAX: usize = 16 << 20;

    /// The longest file that `read` may have to return, in bytes: that of an object.
    pub const FILE_MAX: usize = Object::BYTES_MAX;

    /// The most bytes of all files of policies and objects together; an object counts once.
    pub const FILES_MAX: u64 = 256 << 20;

    /// The most bytes of all programs of objects together. Each counts with everything it uses, even if others use it as
    /// well.
    pub const PROGRAMS_MAX: u64 = Object::PROGRAMS_MAX as u64;

    /// The most memory that the maps of a scenario take together, in bytes.
    pub const MAPS_MAX: u64 = knobgate_backend::MAPS_MAX;

    /// The most entries that are listed of a map.
    pub const LISTED_MAX: u32 = knobgate_backend::ENTRIES_MAX;

    /// The kernel that the model stands for, if the scenario says so.
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    /// The same with the model of this kernel.
    #[must_use]
    pub fn with_profile(self, profile: Profile) -> Self {
        Self { profile: Some(profile), ..self }
    }

    /// How many steps it has.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Whether a step expects something, on some kernel.
    pub fn expects(&self, step: usize) -> bool {
        self.expectations.get(step).is_some_and(|expectations| !expectations.is_empty())
    }

    /// A step in a few words, such as `write net/core/somaxconn in /web`.
    pub fn describe(&self, step: usize) -> String {
        let program = |program: usize| &self.programs[program].name;
        let id = |attachment: usize| {
            let attachment = &self.attachments[attachment];
            attachment.id.as_ref().map_or_else(|| program(attachment.program).clone(), Id::to_string)
        };
        match &self.steps[step] {
            Step::Load { program: loaded } => format!("load {}", program(*loaded)),
            Step::Attach { attachment } => {
                let Attachment { program: attached, cgroup, .. } = self.attachments[*attachment];
                format!("attach {} to {}", program(attached), self.cgroup_path(cgroup))
            }
            Step::Update { attachment, program: new } => {
                format!("update {} to {}", id(*attachment), program(*new))
            }
            Step::Detach { attachment } => format!("detach {}", id(*attachment)),
            Step::Effective { cgroup } => format!("effective {}", self.cgroup_path(*cgroup)),
            Step::Access { file, by, request, .. } => {
                let what = if matches!(request, Request::Read(_)) { "read" } else { "write" };
                let knob = &self.knobs[self.files[*file].knob].name;
                match by {
                    Actor::InCgroup(cgroup) => format!("{what} {knob} in {}", self.cgroup_path(*cgroup)),
                    Actor::Process(process) => format!("{what} {knob} by {}", self.processes[*process].name),
                }
            }
            Step::Move { process, cgroup } => {
                format!("move {} to {}", self.processes[*process].name, self.cgroup_path(*cgroup))
            }
            Step::Map { map: MapRef::Shared(map) } => format!("map {}", self.maps[*map].name),
            Step::Map { map } => format!("map {}", self.own_maps[map]),
        }
    }

    fn cgroup_path(&self, cgroup: usize) -> String {
        match &self.cgroups[cgroup] {
            Cgroup { parent: None, .. } => "/".to_owned(),
            Cgroup { name, parent: Some(parent) } => {
                let parent = self.cgroup_path(*parent);
                format!("{}/{name}", parent.strip_suffix('/').unwrap_or(&parent))
            }
        }
    }

    /// Line and column of a step, counted from 1, if the scenario was parsed from a text.
    pub fn place(&self, step: usize) -> Option<(usize, usize)> {
        self.places.get(step).copied()
    }

    /// The program that a step loads, if it is not loaded yet.
    pub(crate) fn loaded_by(&self, step: &Step) -> Option<usize> {
        match *step {
            Step::Load { program } | Step::Update { program, .. } => Some(program),
            Step::Attach { attachment } => Some(self.attachments[attachment].program),
            _ => None,
        }
    }

    /// Whether a step writes this knob.
    #[cfg(feature = "kernel")]
    pub(crate) fn writes(&self, knob: usize) -> bool {
        self.files.iter().any(|file| file.writes && file.knob == knob)
    }

    /// Has its cgroups created, each in its parent. The one without a parent is the backend's.
    pub(crate) fn create_cgroups<E>(
        &self,
        mut create: impl FnMut(CgroupId, &str) -> Result<CgroupId, E>,
    ) -> Result<Vec<CgroupId>, E> {
        let mut cgroups: Vec<CgroupId> = Vec::new();
        for Cgroup { name, parent } in &self.cgroups {
            cgroups.push(match parent {
                Some(parent) => create(cgroups[*parent], name)?,
                None => CgroupId::SCRATCH,
            });
        }
        Ok(cgroups)
    }
}

/// A program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) source: Source,
}

/// The source of a program.
#[derive(Debug)]
pub(crate) enum Source {
    /// The program itself. `shared` are the indexes of its maps among the scenario's, `object` is the file that it comes from.
    Program {
        program: Box<knobgate_bpf::Program>,
        shared: Vec<usize>,
        expected_attach_type: u32,
        object: Option<ProgramFile>,
    },
    /// A policy, to be compiled for the kernel at hand.
    Policy(Box<PolicyFile>),
}

/// A program that is ready to be loaded.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) program: knobgate_bpf::Program,
    /// The indexes of its maps among the scenario's; `None`: it has maps of its own.
    pub(crate) shared: Option<Vec<usize>>,
    pub(crate) expected_attach_type: u32,
    /// Where it is stricter than its policy, because the kernel cannot do better.
    pub(crate) stricter: Vec<String>,
}

impl Program {
    /// The file that it comes from, if it is one.
    pub(crate) fn file(&self) -> Option<ProgramFile> {
        match &self.source {
            Source::Program { object, .. } => object.clone(),
            Source::Policy(file) => Some(ProgramFile::Policy { path: file.source().name().to_owned() }),
        }
    }

    /// The program for a kernel with these features.
    pub(crate) fn make(&self, features: &Features) -> Result<Made, CompileError> {
        Ok(match &self.source {
            Source::Program { program, shared, expected_attach_type, .. } => Made {
                program: (**program).clone(),
                shared: Some(shared.clone()),
                expected_attach_type: *expected_attach_type,
                stricter: Vec::new(),
            },
            Source::Policy(file) => {
                let (program, degradations) = knobgate_compiler::compile(&**file, features)?.into_parts();
                let stricter = degradations.into_iter().map(|degradation| in_words(degradation, file));
                Made {
                    program,
                    shared: None,
                    expected_attach_type: BPF_CGROUP_SYSCTL,
                    stricter: stricter.collect(),
                }
            }
        })
    }
}

/// Describes what a program does where the kernel cannot do what the policy says.
fn in_words(degradation: Degradation, file: &PolicyFile) -> String {
    let rule = |rule| file.rule_text(rule).unwrap_or_default();
    match degradation {
        Degradation::ErrnoIsEperm(errno) => format!("denials with {errno} are EPERM"),
        Degradation::RewriteIsDenied { rule: index } => {
            format!("where `{}` would rewrite, it denies with EPERM", rule(index))
        }
        Degradation::VectorClampIsDenied { rule: index } => {
            format!("where a number is outside of its range, `{}` denies with EPERM", rule(index))
        }
        Degradation::LongValuesAreDenied => {
            format!("rules that look at a value of more than {SHORT_VALUE_MAX} bytes cannot be evaluated")
        }
        other => format!("{other:?}"),
    }
}

/// A cgroup.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// Its name in its parent.
    pub(crate) name: String,
    /// `None` for the one that is created for the scenario. Parents come first.
    pub(crate) parent: Option<usize>,
}

/// An attach step.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) id: Option<Id>,
    pub(crate) program: usize,
    pub(crate) cgroup: usize,
    /// The mode without a link; `None`: by a link.
    pub(crate) mode: Option<AttachMode>,
    pub(crate) flags: Flags,
    /// The attachment that its position is relative to, or that it replaces.
    pub(crate) relative_to: Option<usize>,
    pub(crate) attach_type: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags {
    pub(crate) preorder: bool,
    pub(crate) before: bool,
    pub(crate) after: bool,
    pub(crate) replace: bool,
}

/// A descriptor.
#[derive(Debug)]
pub(crate) struct File {
    /// Whether accesses can share it.
    pub(crate) has_id: bool,
    pub(crate) knob: usize,
    /// The access mode: what all accesses with it do.
    pub(crate) reads: bool,
    pub(crate) writes: bool,
}

#[derive(Debug)]
pub(crate) enum Step {
    Load { program: usize },
    Attach { attachment: usize },
    Update { attachment: usize, program: usize },
    Detach { attachment: usize },
    Effective { cgroup: usize },
    Access { file: usize, by: Actor, position: Option<i64>, request: Request },
    Map { map: MapRef },
    Move { process: usize, cgroup: usize },
}

/// Who makes an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    /// The process that each cgroup has.
    InCgroup(usize),
    /// A process of the scenario.
    Process(usize),
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) cgroup: usize,
    pub(crate) task: Task,
    pub(crate) pid: Option<u32>,
}

#[derive(Debug)]
pub(crate) enum Request {
    Read(usize),
    Write(Vec<u8>),
}

/// A map of the scenario, or one of a program's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MapRef {
    Shared(usize),
    Own { program: usize, map: usize },
}
