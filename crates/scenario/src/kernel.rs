//! Playing on the running kernel.

mod knobs;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;

use knobgate_bpf::{Features, MapKind};
use knobgate_hook::Mode;
use knobgate_kernel::{
    Accessor, AttachMode, AttachPosition, Cgroup, CgroupError, Link, LoadError, LoadOptions, LoadedProgram,
    Map, ObjectError, ProgramFd, RelativeTo, RingBuffer, ScratchCgroup, create_map, link_create, link_detach,
    link_update, load_with_maps, possible_cpus, probe_cached, prog_attach, prog_detach,
};
use rustix::fs::{SeekFrom, seek};

use crate::backend::{Backend, RejectionLog, StepError, StepResult, SyscallResult};
use crate::play::{E2BIG, Play};
use crate::processors::{for_processors, of_processor};
use crate::rejection_reason;
use crate::scenario::{MapRef, Scenario};
use knobs::{MachineKnobs, value_of};

pub use knobs::KnobError;

/// Why a scenario cannot be played on the running kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A knob is not what the scenario says, or cannot be set to it.
    #[error(transparent)]
    Knob(#[from] KnobError),
    /// A map cannot be created.
    #[error(transparent)]
    Map(#[from] LoadError),
    /// A cgroup cannot be created.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The kernel does not list the effective programs.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// The descriptor or map does not exist.
const EBADF: i32 = rustix::io::Errno::BADF.raw_os_error();

/// The prefix of the names of the scenarios' cgroups.
const PREFIX: &str = "knobgate-scenario-";

impl Scenario {
    /// Plays it on the running kernel, in a cgroup that is made in `parent`.
    ///
    /// The knobs are the machine's own, or those of the namespaces that this process is in. They are set to the values
    /// of the scenario now, and restored when the play [finishes](Play::finish) or is dropped.
    ///
    /// # Errors
    ///
    /// Every [`KernelError`]; then nothing has changed.
    pub fn play_on_kernel(&self, parent: &Cgroup) -> Result<Play<'_>, KernelError> {
        let kernel = Kernel::new(self, parent)?;
        let mut play = Play::new(self, kernel.backend);
        match kernel.others {
            0 => {}
            1 => play.remark(
                "a program that is not the scenario's runs for all of its accesses, and is not shown"
                    .to_owned(),
            ),
            others => play.remark(format!(
                "{others} programs that are not the scenario's run for all of its accesses, and are not shown"
            )),
        }
        Ok(play)
    }
}

struct Kernel<'s> {
    scenario: &'s Scenario,
    /// By the scenario's indexes, like the following fields. They are started on demand.
    accessors: BTreeMap<usize, Accessor>,
    files: BTreeMap<usize, File>,
    links: BTreeMap<usize, Link>,
    loaded: BTreeMap<usize, Loaded>,
    maps: Vec<Map>,
    knobs: MachineKnobs,
    cgroups: Vec<Cgroup>,
    /// `None` after the end.
    scratch: Option<ScratchCgroup>,
    features: Features,
    processors: usize,
}

struct Loaded {
    program: LoadedProgram,
    id: u32,
}

struct Started<'s> {
    backend: Kernel<'s>,
    /// How many other programs run in all of the cgroups.
    others: usize,
}

impl<'s> Kernel<'s> {
    #[expect(clippy::new_ret_no_self, reason = "with what there is to say of it")]
    fn new(scenario: &'s Scenario, parent: &Cgroup) -> Result<Started<'s>, KernelError> {
        let processors = possible_cpus().unwrap_or(1);
        let maps = scenario
            .maps
            .iter()
            .map(|def| create_map("the maps of the scenario", &for_processors(def, processors)));
        let maps = maps.collect::<Result<_, _>>()?;

        let scratch = ScratchCgroup::create(parent, PREFIX)?;
        let mut cgroups: Vec<Cgroup> = Vec::new();
        for described in &scenario.cgroups {
            cgroups.push(match described.parent {
                Some(parent) => cgroups[parent].create(&described.name)?,
                None => Cgroup::open(scratch.path())?,
            });
        }
        let others = scratch.effective()?.len();
        let backend = Self {
            scenario,
            accessors: BTreeMap::new(),
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            loaded: BTreeMap::new(),
            maps,
            knobs: MachineKnobs::set(scenario)?,
            cgroups,
            scratch: Some(scratch),
            features: probe_cached().features(),
            processors,
        };
        Ok(Started { backend, others })
    }

    fn program(&self, program: usize) -> &ProgramFd {
        &self.loaded[&program].program.program
    }

    fn accessor(&mut self, cgroup: usize) -> StepResult<&mut Accessor> {
        if !self.accessors.contains_key(&cgroup) {
            let accessor = Accessor::start(&self.cgroups[cgroup]).map_err(backend_failed)?;
            self.accessors.insert(cgroup, accessor);
        }
        self.accessors.get_mut(&cgroup).ok_or(StepError::Errno(EBADF))
    }

    /// The attach position of an attachment.
    fn position(&self, attachment: usize) -> AttachPosition<'_> {
        let described = &self.scenario.attachments[attachment];
        let flags = described.flags;
        let program_of = |anchor: usize| self.program(self.scenario.attachments[anchor].program);
        let relative_to =
            described.anchor.filter(|_| !flags.replace).map(|anchor| match self.links.get(&anchor) {
                Some(link) => RelativeTo::Link(link),
                None => RelativeTo::Program(program_of(anchor)),
            });
        AttachPosition {
            preorder: flags.preorder,
            before: flags.before,
            after: flags.after,
            relative_to,
            replaced: described.anchor.filter(|_| flags.replace).map(program_of),
        }
    }
}

fn backend_failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> StepError {
    StepError::Backend(error.into())
}

/// The result of a system call.
fn step_result<T>(result: io::Result<T>) -> StepResult<T> {
    result.map_err(|error| match error.raw_os_error() {
        Some(errno) => StepError::Errno(errno),
        None => backend_failed(error),
    })
}

/// The error of a program that was not loaded.
fn rejected(error: LoadError) -> StepError {
    let errno = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    let reason = match &error {
        LoadError::NotPermitted { .. } | LoadError::LockedMemory { .. } | LoadError::NoMemory { .. } => {
            return backend_failed(error);
        }
        LoadError::Rejected { log, .. } => rejection_reason::reason(log.reason()),
        LoadError::TooLarge { insns, log, .. } => rejection_reason::too_large(*insns, log.reason()),
        other => other.to_string(),
    };
    let log = error.log().map(|log| format!("\n{}", log.text().trim_end())).unwrap_or_default();
    StepError::Rejected { errno, log: RejectionLog { reason, full: format!("{error}{log}") } }
}

impl Backend for Kernel<'_> {
    fn load(&mut self, program: usize) -> StepResult<Vec<String>> {
        let described = &self.scenario.programs[program];
        let made = described.make(&self.features).map_err(|error| {
            let full = format!("{}: {error}", described.name);
            StepError::Rejected { errno: None, log: RejectionLog { reason: error.to_string(), full } }
        })?;
        let options =
            LoadOptions { expected_attach_type: made.expected_attach_type, ..LoadOptions::default() };
        let loaded = match &made.shared {
            Some(shared) => {
                let maps = shared.iter().map(|&map| self.maps[map].try_clone());
                let maps = maps.collect::<Result<_, _>>().map_err(backend_failed)?;
                load_with_maps(&made.program, maps, &options)
            }
            None => knobgate_kernel::load(&made.program, &options),
        };
        let loaded = loaded.map_err(rejected)?;
        let id = loaded.program.info().map_err(backend_failed)?.id;
        self.loaded.insert(program, Loaded { program: loaded, id });
        Ok(made.stricter)
    }

    fn attach(&mut self, attachment: usize) -> StepResult<()> {
        let described = &self.scenario.attachments[attachment];
        let (program, cgroup) = (self.program(described.program), &self.cgroups[described.cgroup]);
        let position = self.position(attachment);
        let mode = match described.mode {
            None => {
                let link = step_result(link_create(program, cgroup, &position))?;
                self.links.insert(attachment, link);
                return Ok(());
            }
            Some(Mode::Single) => AttachMode::Single,
            Some(Mode::Override) => AttachMode::Override,
            Some(Mode::Multi) => AttachMode::Multi,
        };
        step_result(prog_attach(program, cgroup, mode, &position))
    }

    fn update(&mut self, attachment: usize, program: usize) -> StepResult<()> {
        step_result(link_update(&self.links[&attachment], self.program(program)))
    }

    fn detach(&mut self, attachment: usize) -> StepResult<()> {
        if let Some(link) = self.links.get(&attachment) {
            return step_result(link_detach(link));
        }
        let described = &self.scenario.attachments[attachment];
        step_result(prog_detach(self.program(described.program), &self.cgroups[described.cgroup]))
    }

    fn effective(&mut self, cgroup: usize) -> StepResult<Vec<usize>> {
        let ids = self.cgroups[cgroup].effective().map_err(backend_failed)?;
        let index = |id: u32| self.loaded.iter().find(|(_, loaded)| loaded.id == id).map(|(&index, _)| index);
        Ok(ids.into_iter().filter_map(index).collect())
    }

    /// No program runs when a knob is opened, so any process can do it.
    fn open(&mut self, file: usize, _cgroup: usize) -> StepResult<()> {
        let described = &self.scenario.files[file];
        let path = self.knobs.path(described.knob);
        let opened =
            step_result(OpenOptions::new().read(described.reads).write(described.writes).open(path))?;
        self.files.insert(file, opened);
        Ok(())
    }

    fn seek(&mut self, file: usize, position: i64) -> StepResult<()> {
        step_result(seek(&self.files[&file], SeekFrom::Start(position as u64)).map_err(io::Error::from))
            .map(drop)
    }

    fn read(&mut self, file: usize, cgroup: usize, count: usize) -> StepResult<SyscallResult> {
        let opened = self.files[&file].try_clone().map_err(backend_failed)?;
        let (returned, data) = self.accessor(cgroup)?.read(opened.as_fd(), count).map_err(backend_failed)?;
        Ok(SyscallResult { returned, data, position: position(&opened)? })
    }

    fn write(&mut self, file: usize, cgroup: usize, data: &[u8]) -> StepResult<SyscallResult> {
        let opened = self.files[&file].try_clone().map_err(backend_failed)?;
        let returned = self.accessor(cgroup)?.write(opened.as_fd(), data).map_err(backend_failed)?;
        Ok(SyscallResult { returned, data: Vec::new(), position: position(&opened)? })
    }

    fn close(&mut self, file: usize) {
        self.files.remove(&file);
    }

    fn value(&mut self, knob: usize) -> StepResult<Option<Vec<u8>>> {
        Ok(value_of(self.knobs.path(knob)).ok())
    }

    fn entries(&mut self, map: MapRef) -> StepResult<Vec<(Vec<u8>, Vec<u8>)>> {
        let (map, def) = match map {
            MapRef::Shared(index) => (&self.maps[index], self.scenario.maps[index].clone()),
            MapRef::Own { program, map } => {
                let loaded = self.loaded.get(&program).ok_or(StepError::Errno(EBADF))?;
                let made = self.scenario.programs[program].make(&self.features).map_err(backend_failed)?;
                (&loaded.program.maps[map].1, made.program.maps[map].clone())
            }
        };
        let no_key = |value: Vec<u8>| (Vec::new(), value);
        Ok(match def.kind {
            MapKind::Ringbuf => {
                let mut ring = RingBuffer::open(map).map_err(backend_failed)?;
                ring.drain().into_iter().map(no_key).collect()
            }
            MapKind::Queue | MapKind::Stack => {
                map.queued().map_err(backend_failed)?.into_iter().map(no_key).collect()
            }
            kind => {
                // One more, to notice if there are too many.
                let bytes = u64::from(def.key_size) + u64::from(def.value_size) * self.processors as u64;
                let most = (Scenario::MAPS_MAX / bytes.max(1)).min(Scenario::LISTED_MAX.into()) as usize;
                let entries = map.first_entries(most + 1).map_err(backend_failed)?;
                if entries.len() > most {
                    return Err(E2BIG);
                }
                let mut entries: Vec<_> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
                // Arrays are in the order of their indexes already.
                if !matches!(kind, MapKind::Array | MapKind::PercpuArray) {
                    entries.sort();
                }
                let processor = self.accessors.values().next().map_or(0, Accessor::cpu);
                of_processor(entries, &def, processor.min(self.processors - 1))
            }
        })
    }

    fn finish(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.accessors.clear();
        self.files.clear();
        self.links.clear();
        let restored = self.knobs.restore();
        if let Some(scratch) = self.scratch.take() {
            scratch.finish()?;
        }
        Ok(restored?)
    }
}

fn position(file: &File) -> StepResult<i64> {
    seek(file, SeekFrom::Current(0))
        .map(u64::cast_signed)
        .map_err(|error| backend_failed(io::Error::from(error)))
}
