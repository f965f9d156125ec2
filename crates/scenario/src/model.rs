//! Playing on the model of the kernel.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use knobgate_bpf::MapKind;
use knobgate_hook::attach::{Options, Position, Relative};
use knobgate_hook::maps::MapMemory;
use knobgate_hook::{
    AccessMode, CgroupId, Errno, Fault, Hook, Knob, Knobs, LinkId, LoadOptions, LoadedProgram, Map, OpenFile,
    Process, ProcessId, ProgramFault, ProgramId, Rejection, Task,
};

use crate::backend::{Backend, RejectionLog, StepError, StepResult, SyscallResult};
use crate::knob::VALUE_BYTES;
use crate::play::Play;
use crate::processors::{for_processors, of_processor};
use crate::rejection_reason;
use crate::scenario::{File, MapRef, Scenario};

/// Why a scenario cannot be played on the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A map cannot be created.
    #[error("cannot create the map {name}: {source}")]
    Map {
        /// Its name.
        name: String,
        /// Why.
        source: knobgate_hook::MapError,
    },
    /// One knob's name is in the way of another's.
    #[error(transparent)]
    Knob(#[from] knobgate_hook::KnobError),
    /// On the kernel that the model stands for, the knob cannot have the value that it starts with.
    #[error("the knob {name} cannot start with its value on Linux {profile}: {why}")]
    Value {
        /// The knob.
        name: String,
        /// The kernel.
        profile: &'static str,
        /// Why.
        why: String,
    },
    /// A cgroup cannot be created.
    #[error("cannot create the cgroup {name}: {source}")]
    Cgroup {
        /// Its name.
        name: String,
        /// Why.
        source: Errno,
    },
}

/// The name of the cgroup that is made for the scenario, and of the processes inside.
pub(crate) const NAME: &str = "scenario";

impl Scenario {
    /// Plays it on the model: [`knobgate_hook::Hook`].
    ///
    /// # Errors
    ///
    /// A knob, map or cgroup of the scenario cannot exist.
    pub fn play_on_model(&self) -> Result<Play<'_>, ModelError> {
        Ok(Play::new(self, Model::new(self)?))
    }
}

struct Model<'s> {
    scenario: &'s Scenario,
    hook: Hook,
    /// By the scenario's indexes, as all that follows.
    cgroups: Vec<CgroupId>,
    /// One in each cgroup.
    processes: Vec<ProcessId>,
    /// The process that reads values.
    outside: ProcessId,
    maps: Vec<Map>,
    /// For all maps, including those of policies.
    memory: MapMemory,
    loaded: BTreeMap<usize, (ProgramId, LoadedProgram)>,
    links: BTreeMap<usize, LinkId>,
    files: BTreeMap<usize, OpenFile>,
}

impl<'s> Model<'s> {
    fn new(scenario: &'s Scenario) -> Result<Self, ModelError> {
        let profile = scenario.profile.unwrap_or_default();
        let mut knobs = Knobs::new();
        for knob in &scenario.knobs {
            // It was checked for the kernel that the scenario asks for.
            let handler = knob.handler(&profile).map_err(|why| ModelError::Value {
                name: knob.name.clone(),
                profile: profile.name,
                why,
            })?;
            knobs.add(&knob.name, Knob { mode: knob.mode, owner: 0, group: 0, handler })?;
        }
        let mut hook = Hook::new(profile, knobs);
        hook.writes_strict = scenario.strict;
        let memory = MapMemory::new(Scenario::MAPS_MAX);
        let maps = scenario
            .maps
            .iter()
            .map(|def| {
                let made = Map::within(&for_processors(def, 1), 1, &memory);
                made.map_err(|source| ModelError::Map { name: def.name.clone(), source })
            })
            .collect::<Result<_, _>>()?;

        let process =
            || Process { task: Task { comm: NAME.into(), ..Task::default() }, ..Process::default() };
        let failed = |name: &str| {
            let name = name.to_owned();
            move |source| ModelError::Cgroup { name, source }
        };
        let outside = hook.spawn(hook.root(), process()).map_err(failed("/"))?;
        let (mut cgroups, mut processes) = (Vec::new(), Vec::new());
        for described in &scenario.cgroups {
            let (parent, name) = match described.parent {
                Some(parent) => (cgroups[parent], &*described.name),
                None => (hook.root(), NAME),
            };
            let cgroup = hook.create_cgroup(parent, name).map_err(failed(name))?;
            cgroups.push(cgroup);
            processes.push(hook.spawn(cgroup, process()).map_err(failed(name))?);
        }
        Ok(Self {
            scenario,
            hook,
            cgroups,
            processes,
            outside,
            maps,
            memory,
            loaded: BTreeMap::new(),
            links: BTreeMap::new(),
            files: BTreeMap::new(),
        })
    }

    /// Where an attachment goes among the others.
    fn options(&self, attachment: usize) -> Options {
        let described = &self.scenario.attachments[attachment];
        let flags = described.flags;
        let relative =
            described.anchor.filter(|_| !flags.replace).map(|anchor| match self.links.get(&anchor) {
                Some(&link) => Relative::Link(link),
                None => Relative::Program(self.loaded[&self.scenario.attachments[anchor].program].0),
            });
        let position = match (flags.before, flags.after, relative) {
            (false, false, None) => Position::Unspecified,
            (true, false, None) => Position::First,
            (false, true, None) => Position::Last,
            (true, false, Some(relative)) => Position::Before(relative),
            (false, true, Some(relative)) => Position::After(relative),
            (true, true, relative) => Position::BothSides { relative: relative.is_some() },
            (false, false, Some(relative)) => Position::NoSide(relative),
        };
        Options { position, preorder: flags.preorder, expected_revision: None }
    }
}

fn errno(errno: Errno) -> StepError {
    StepError::Errno(errno.number() as i32)
}

fn fault(fault: ProgramFault) -> StepError {
    let crashes = |fault: &Fault| fault.reason.is_crash();
    let message = fault.source.to_string();
    if fault.source.downcast_ref().is_some_and(crashes) {
        StepError::Crash(message)
    } else {
        StepError::Fault(message)
    }
}

impl Backend for Model<'_> {
    fn load(&mut self, program: usize) -> StepResult<Vec<String>> {
        let profile = *self.hook.profile();
        let described = &self.scenario.programs[program];
        let made = described.make(&profile.features()).map_err(|error| {
            let full = format!("{}: {error}", described.name);
            StepError::Rejected { errno: None, log: RejectionLog { reason: error.to_string(), full } }
        })?;
        let options =
            LoadOptions { expected_attach_type: made.expected_attach_type, ..LoadOptions::default() };
        let maps: Result<Vec<Map>, Rejection> = match &made.shared {
            Some(shared) => Ok(shared.iter().map(|&map| self.maps[map].clone()).collect()),
            None => {
                let own = made.program.maps.iter().enumerate();
                own.map(|(index, def)| {
                    let map = Map::within(def, options.cpus, &self.memory);
                    map.map_err(|error| Rejection::Map { index, name: def.name.clone(), error })
                })
                .collect()
            }
        };
        let loaded =
            maps.and_then(|maps| LoadedProgram::load_with_maps(&made.program, maps, &profile, &options));
        let loaded = loaded.map_err(|rejection| StepError::Rejected {
            errno: Some(rejection.errno().number() as i32),
            log: RejectionLog {
                reason: rejection_reason::reason(&rejection.to_string()),
                full: format!("the model rejects program {:?}: {rejection}", described.name),
            },
        })?;
        let id = self.hook.load_shared(Arc::new(loaded.clone()));
        self.loaded.insert(program, (id, loaded));
        Ok(made.stricter)
    }

    fn attach(&mut self, attachment: usize) -> StepResult<()> {
        let described = &self.scenario.attachments[attachment];
        let (program, cgroup) = (self.loaded[&described.program].0, self.cgroups[described.cgroup]);
        let options = self.options(attachment);
        let replaced = described.anchor.filter(|_| described.flags.replace);
        let replaced = replaced.map(|anchor| self.loaded[&self.scenario.attachments[anchor].program].0);
        match (described.mode, replaced) {
            (None, None) => {
                let link = self.hook.link(cgroup, program, options).map_err(errno)?;
                self.links.insert(attachment, link);
                Ok(())
            }
            (Some(mode), None) => self.hook.attach(cgroup, program, mode, options).map_err(errno),
            (Some(knobgate_hook::Mode::Multi), Some(old)) => {
                self.hook.replace(cgroup, old, program, options).map_err(errno)
            }
            // BPF_F_REPLACE is not valid for links, nor without BPF_F_ALLOW_MULTI.
            (_, Some(_)) => Err(errno(Errno::EINVAL)),
        }
    }

    fn update(&mut self, attachment: usize, program: usize) -> StepResult<()> {
        let program = self.loaded[&program].0;
        self.hook.update_link(self.links[&attachment], program, None).map_err(errno)
    }

    fn detach(&mut self, attachment: usize) -> StepResult<()> {
        if let Some(&link) = self.links.get(&attachment) {
            return self.hook.detach_link(link).map_err(errno);
        }
        let described = &self.scenario.attachments[attachment];
        let (program, cgroup) = (self.loaded[&described.program].0, self.cgroups[described.cgroup]);
        self.hook.detach(cgroup, Some(program), None).map_err(errno)
    }

    fn effective(&mut self, cgroup: usize) -> StepResult<Vec<usize>> {
        let running = self.hook.effective(self.cgroups[cgroup]).map_err(errno)?;
        let index = |id: &ProgramId| {
            self.loaded.iter().find(|(_, (loaded, _))| loaded == id).map(|(&index, _)| index)
        };
        Ok(running.iter().filter_map(index).collect())
    }

    fn open(&mut self, file: usize, cgroup: usize) -> StepResult<()> {
        let &File { knob, reads, writes, .. } = &self.scenario.files[file];
        let wanted = match (reads, writes) {
            (true, true) => AccessMode::ReadWrite,
            (false, true) => AccessMode::Write,
            (_, false) => AccessMode::Read,
        };
        let name = &self.scenario.knobs[knob].name;
        let opened = self.hook.open(self.processes[cgroup], name, wanted).map_err(errno)?;
        self.files.insert(file, opened);
        Ok(())
    }

    fn seek(&mut self, file: usize, position: i64) -> StepResult<()> {
        let file = self.files.get_mut(&file).ok_or(errno(Errno::EBADF))?;
        file.position = position;
        Ok(())
    }

    fn read(&mut self, file: usize, cgroup: usize, count: usize) -> StepResult<SyscallResult> {
        let file = self.files.get_mut(&file).ok_or(errno(Errno::EBADF))?;
        let result = self.hook.read(self.processes[cgroup], file, count).map_err(fault)?;
        // What a program makes of a read is a length without a single byte.
        let mut data = result.data;
        data.resize(usize::try_from(result.returned).unwrap_or(0).min(count), 0);
        Ok(SyscallResult { returned: result.returned, data, position: file.position })
    }

    fn write(&mut self, file: usize, cgroup: usize, data: &[u8]) -> StepResult<SyscallResult> {
        let file = self.files.get_mut(&file).ok_or(errno(Errno::EBADF))?;
        let result = self.hook.write(self.processes[cgroup], file, data).map_err(fault)?;
        Ok(SyscallResult { returned: result.returned, data: Vec::new(), position: file.position })
    }

    fn close(&mut self, file: usize) {
        self.files.remove(&file);
    }

    fn value(&mut self, knob: usize) -> StepResult<Option<Vec<u8>>> {
        let Ok(mut file) = self.hook.open(self.outside, &self.scenario.knobs[knob].name, AccessMode::Read)
        else {
            return Ok(None);
        };
        let read = self.hook.read(self.outside, &mut file, VALUE_BYTES).map_err(fault)?;
        Ok((read.returned >= 0).then_some(read.data))
    }

    fn entries(&mut self, map: MapRef) -> StepResult<Vec<(Vec<u8>, Vec<u8>)>> {
        let map = match map {
            MapRef::Shared(map) => &self.maps[map],
            MapRef::Own { program, map } => {
                let (_, loaded) = self.loaded.get(&program).ok_or(errno(Errno::EBADF))?;
                &loaded.maps()[map]
            }
        };
        let def = map.def();
        Ok(match def.kind {
            MapKind::Ringbuf => map.drain_records().into_iter().map(|value| (Vec::new(), value)).collect(),
            _ => of_processor(map.entries(), &def, 0),
        })
    }

    fn finish(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}
