//! Playing on the model of the kernel.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use knobgate_bpf::MapKind;
use knobgate_hook::attach::{Anchor, Options, Place as Position};
use knobgate_hook::maps::MapMemory;
use knobgate_hook::{
    CgroupId, Errno, Fault, Hook, Knob, Knobs, LinkId, LoadOptions, LoadedProgram, Map, OpenFile, Process,
    ProcessId, ProgramFault, ProgramId, Rejection, Task, Wanted,
};

use crate::knob::VALUE_BYTES;
use crate::place::{Answer, Outcome, Place, Refusal, Refused};
use crate::play::Play;
use crate::processors::{for_processors, of_processor};
use crate::refusal;
use crate::scenario::{File, MapPlace, Scenario};

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
    /// The knobs do not go together.
    #[error(transparent)]
    Knob(#[from] knobgate_hook::KnobError),
    /// On the kernel that the model is asked to be, the knob cannot have the value that it starts with.
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

/// The name of the cgroup that is made for the scenario, and of the processes in there.
pub(crate) const NAME: &str = "scenario";

impl Scenario {
    /// Plays it on the model: [`knobgate_hook::Hook`].
    ///
    /// # Errors
    ///
    /// Knobs, maps or cgroups that cannot be.
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
    /// For all maps, also those that policies bring along.
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

    /// The place among others that an attachment asks for.
    fn options(&self, attachment: usize) -> Options {
        let described = &self.scenario.attachments[attachment];
        let flags = described.flags;
        let anchor =
            described.anchor.filter(|_| !flags.replace).map(|anchor| match self.links.get(&anchor) {
                Some(&link) => Anchor::Link(link),
                None => Anchor::Program(self.loaded[&self.scenario.attachments[anchor].program].0),
            });
        let place = match (flags.before, flags.after, anchor) {
            (false, false, None) => Position::Unsaid,
            (true, false, None) => Position::First,
            (false, true, None) => Position::Last,
            (true, false, Some(anchor)) => Position::Before(anchor),
            (false, true, Some(anchor)) => Position::After(anchor),
            (true, true, anchor) => Position::BothSides { anchored: anchor.is_some() },
            (false, false, Some(anchor)) => Position::NoSide(anchor),
        };
        Options { place, preorder: flags.preorder, expected_revision: None }
    }
}

fn errno(errno: Errno) -> Refusal {
    Refusal::Errno(errno.number() as i32)
}

fn fault(fault: ProgramFault) -> Refusal {
    let crashes = |fault: &Fault| fault.reason.is_crash();
    let said = fault.source.to_string();
    if fault.source.downcast_ref().is_some_and(crashes) { Refusal::Crash(said) } else { Refusal::Fault(said) }
}

impl Place for Model<'_> {
    fn load(&mut self, program: usize) -> Answer<Vec<String>> {
        let profile = *self.hook.profile();
        let described = &self.scenario.programs[program];
        let made = described.make(&profile.features()).map_err(|error| {
            let full = format!("{}: {error}", described.name);
            Refusal::Load { errno: None, log: Refused { reason: error.to_string(), full } }
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
        let loaded = loaded.map_err(|rejection| Refusal::Load {
            errno: Some(rejection.errno().number() as i32),
            log: Refused {
                reason: refusal::reason(&rejection.to_string()),
                full: format!("the model refuses {}: {rejection}", described.name),
            },
        })?;
        let id = self.hook.load_shared(Arc::new(loaded.clone()));
        self.loaded.insert(program, (id, loaded));
        Ok(made.stricter)
    }

    fn attach(&mut self, attachment: usize) -> Answer<()> {
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
            // BPF_F_REPLACE is not for links, and goes with BPF_F_ALLOW_MULTI alone.
            (_, Some(_)) => Err(errno(Errno::EINVAL)),
        }
    }

    fn update(&mut self, attachment: usize, program: usize) -> Answer<()> {
        let program = self.loaded[&program].0;
        self.hook.update_link(self.links[&attachment], program, None).map_err(errno)
    }

    fn detach(&mut self, attachment: usize) -> Answer<()> {
        if let Some(&link) = self.links.get(&attachment) {
            return self.hook.detach_link(link).map_err(errno);
        }
        let described = &self.scenario.attachments[attachment];
        let (program, cgroup) = (self.loaded[&described.program].0, self.cgroups[described.cgroup]);
        self.hook.detach(cgroup, Some(program), None).map_err(errno)
    }

    fn effective(&mut self, cgroup: usize) -> Answer<Vec<usize>> {
        let running = self.hook.effective(self.cgroups[cgroup]).map_err(errno)?;
        let index = |id: &ProgramId| {
            self.loaded.iter().find(|(_, (loaded, _))| loaded == id).map(|(&index, _)| index)
        };
        Ok(running.iter().filter_map(index).collect())
    }

    fn open(&mut self, file: usize, cgroup: usize) -> Answer<()> {
        let &File { knob, reads, writes, .. } = &self.scenario.files[file];
        let wanted = match (reads, writes) {
            (true, true) => Wanted::ReadWrite,
            (false, true) => Wanted::Write,
            (_, false) => Wanted::Read,
        };
        let name = &self.scenario.knobs[knob].name;
        let opened = self.hook.open(self.processes[cgroup], name, wanted).map_err(errno)?;
        self.files.insert(file, opened);
        Ok(())
    }

    fn seek(&mut self, file: usize, position: i64) -> Answer<()> {
        let file = self.files.get_mut(&file).ok_or(errno(Errno::EBADF))?;
        file.position = position;
        Ok(())
    }

    fn read(&mut self, file: usize, cgroup: usize, count: usize) -> Answer<Outcome> {
        let file = self.files.get_mut(&file).ok_or(errno(Errno::EBADF))?;
        let done = self.hook.read(self.processes[cgroup], file, count).map_err(fault)?;
        // What a program makes of a read is a length without a single byte.
        let mut data = done.data;
        data.resize(usize::try_from(done.returned).unwrap_or(0).min(count), 0);
        Ok(Outcome { returned: done.returned, data, position: file.position })
    }

    fn write(&mut self, file: usize, cgroup: usize, data: &[u8]) -> Answer<Outcome> {
        let file = self.files.get_mut(&file).ok_or(errno(Errno::EBADF))?;
        let done = self.hook.write(self.processes[cgroup], file, data).map_err(fault)?;
        Ok(Outcome { returned: done.returned, data: Vec::new(), position: file.position })
    }

    fn close(&mut self, file: usize) {
        self.files.remove(&file);
    }

    fn value(&mut self, knob: usize) -> Answer<Option<Vec<u8>>> {
        let Ok(mut file) = self.hook.open(self.outside, &self.scenario.knobs[knob].name, Wanted::Read) else {
            return Ok(None);
        };
        let read = self.hook.read(self.outside, &mut file, VALUE_BYTES).map_err(fault)?;
        Ok((read.returned >= 0).then_some(read.data))
    }

    fn entries(&mut self, map: MapPlace) -> Answer<Vec<(Vec<u8>, Vec<u8>)>> {
        let map = match map {
            MapPlace::Shared(map) => &self.maps[map],
            MapPlace::Own { program, map } => {
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
