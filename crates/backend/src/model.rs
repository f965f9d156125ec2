//! The model of the kernel's hook as a backend.

use std::error::Error;
use std::sync::Arc;

use knobgate_bpf::uapi::BPF_CGROUP_SYSCTL;
use knobgate_bpf::{Features, MapDef, MapKind, Program};
use knobgate_hook::attach::{Options, Position, Relative};
use knobgate_hook::machine::Coverage;
use knobgate_hook::maps::{self, MapMemory};
use knobgate_hook::{
    AccessMode, AttachMode, Credentials, Errno, Fault, Hook, LoadOptions, LoadedProgram, Map, MapError,
    OpenFile, Process, ProgramFault, Rejection,
};

use crate::arguments::{
    check_has_maps, check_knob, check_lists, check_maps, check_request, check_task, check_updates, listed_max,
};
use crate::backend::{Attached, Backend, Entry, Placement, RelativeTo, Request, SyscallResult, Task};
use crate::ids::{CgroupId, FileId, LinkId, MapId, ProcessId, ProgramId, Table};
use crate::per_cpu::for_cpus;
use crate::step_error::{RejectionLog, StepError, StepResult};
use crate::{MAPS_MAX, VALUE_READ_MAX, rejection_reason};

/// The model of the kernel's hook.
pub struct ModelBackend {
    hook: Hook,
    cpus: u32,
    /// The process for which no program runs.
    outside: knobgate_hook::ProcessId,
    cgroups: Table<CgroupId, Cgroup>,
    processes: Table<ProcessId, knobgate_hook::ProcessId>,
    programs: Table<ProgramId, Loaded>,
    links: Table<LinkId, knobgate_hook::LinkId>,
    files: Table<FileId, OpenFile>,
    maps: Table<MapId, (Map, MapDef)>,
    /// For all maps.
    memory: MapMemory,
}

struct Cgroup {
    id: knobgate_hook::CgroupId,
    process: knobgate_hook::ProcessId,
}

struct Loaded {
    id: knobgate_hook::ProgramId,
    maps: Vec<MapId>,
    has_own_maps: bool,
}

impl ModelBackend {
    /// A backend of this hook, on a machine with this many CPUs. Accesses are made on the first.
    ///
    /// # Errors
    ///
    /// `EEXIST`: the hook has a cgroup `scratch` already.
    pub fn new(mut hook: Hook, cpus: u32) -> Result<Self, Errno> {
        let outside = hook.spawn(hook.root(), process(&Task::default()))?;
        let mut backend = Self {
            hook,
            cpus,
            outside,
            cgroups: Table::default(),
            processes: Table::default(),
            programs: Table::default(),
            links: Table::default(),
            files: Table::default(),
            maps: Table::default(),
            memory: MapMemory::new(MAPS_MAX),
        };
        backend.create_in(backend.hook.root(), "scratch")?;
        Ok(backend)
    }

    /// A map, with all that the model offers to look into it.
    ///
    /// # Errors
    ///
    /// There is no such map.
    pub fn map(&self, map: MapId) -> StepResult<&Map> {
        Ok(&self.maps.get(map)?.0)
    }

    /// [`create_map`](Backend::create_map), with the model's own error.
    ///
    /// # Errors
    ///
    /// The map is rejected.
    pub fn add_map(&mut self, def: &MapDef) -> Result<MapId, MapError> {
        let map = self.new_map(def)?;
        Ok(self.maps.insert((map, def.clone())))
    }

    fn new_map(&self, def: &MapDef) -> Result<Map, MapError> {
        Map::within(&for_cpus(def, self.cpus as usize), self.hook.profile(), self.cpus, &self.memory)
    }

    /// [`create_cgroup`](Backend::create_cgroup), with the model's own error.
    ///
    /// # Errors
    ///
    /// As [`Hook::create_cgroup`], and `EBADF`.
    pub fn add_cgroup(&mut self, parent: CgroupId, name: &str) -> Result<CgroupId, Errno> {
        let parent = self.cgroups.get(parent).map_err(|_| Errno::EBADF)?.id;
        self.create_in(parent, name)
    }

    fn create_in(&mut self, parent: knobgate_hook::CgroupId, name: &str) -> Result<CgroupId, Errno> {
        let id = self.hook.create_cgroup(parent, name)?;
        let process = self.hook.spawn(id, process(&Task::default()))?;
        Ok(self.cgroups.insert(Cgroup { id, process }))
    }

    /// The ids of a cgroup and a program in the hook.
    fn both(
        &self,
        cgroup: CgroupId,
        program: ProgramId,
    ) -> StepResult<(knobgate_hook::CgroupId, knobgate_hook::ProgramId)> {
        Ok((self.cgroups.get(cgroup)?.id, self.programs.get(program)?.id))
    }

    fn options(&self, placement: &Placement) -> StepResult<Options> {
        // The type of the program is checked before anything else about it (`bpf_prog_attach` and `link_create` in
        // kernel/bpf/syscall.c).
        if placement.attach_type.is_some_and(|attach_type| attach_type != BPF_CGROUP_SYSCTL) {
            return Err(Errno::EINVAL.into());
        }
        let relative = match placement.relative_to {
            Some(RelativeTo::Link(link)) => Some(Relative::Link(*self.links.get(link)?)),
            Some(RelativeTo::Program(program)) => Some(Relative::Program(self.programs.get(program)?.id)),
            None => None,
        };
        let position = match (placement.before, placement.after, relative) {
            (false, false, None) => Position::Unspecified,
            (true, false, None) => Position::First,
            (false, true, None) => Position::Last,
            (true, false, Some(relative)) => Position::Before(relative),
            (false, true, Some(relative)) => Position::After(relative),
            (true, true, relative) => Position::BothSides { relative: relative.is_some() },
            (false, false, Some(relative)) => Position::NoSide(relative),
        };
        Ok(Options { position, preorder: placement.preorder, expected_revision: None })
    }

    fn open_in_hook(
        &mut self,
        process: knobgate_hook::ProcessId,
        knob: &str,
        mode: AccessMode,
    ) -> StepResult<FileId> {
        check_knob(knob)?;
        let opened = self.hook.open(process, knob, mode)?;
        Ok(self.files.insert(opened))
    }

    fn access_in_hook(
        &mut self,
        file: FileId,
        process: knobgate_hook::ProcessId,
        request: Request<'_>,
        position: Option<i64>,
    ) -> StepResult<SyscallResult> {
        let file = self.files.get_mut(file)?;
        check_request(request)?;
        let result = match (request, position) {
            (Request::Read { count, .. }, None) => self.hook.read(process, file, count),
            (Request::Read { count, .. }, Some(position)) => self.hook.pread(process, file, count, position),
            (Request::Write(bytes), None) => self.hook.write(process, file, bytes),
            (Request::Write(bytes), Some(position)) => self.hook.pwrite(process, file, bytes, position),
        };
        let mut result = result.map_err(fault)?;
        if let Request::Read { count, fill } = request {
            // What a program makes of a read is a length without a single byte.
            result.data.resize(usize::try_from(result.returned).unwrap_or(0).min(count), fill);
        }
        Ok(SyscallResult { returned: result.returned, data: result.data, position: file.position })
    }

    fn ids_of(&self, programs: &[knobgate_hook::ProgramId]) -> Vec<ProgramId> {
        programs.iter().filter_map(|id| self.programs.find(|loaded| loaded.id == *id)).collect()
    }
}

fn process(task: &Task) -> Process {
    let Task { uid, gid, comm } = task.clone();
    Process { task: knobgate_hook::Task { uid, gid, comm, ..Default::default() }, ..Process::default() }
}

fn fault(fault: ProgramFault) -> StepError {
    let message = fault.source.to_string();
    match fault.source.downcast_ref::<Fault>().map(|fault| &fault.reason) {
        Some(reason) if reason.is_crash() => StepError::Crash(message),
        Some(reason) if reason.is_not_modelled() => StepError::NotModelled(message),
        _ => StepError::Fault(message),
    }
}

fn rejected(program: &str, rejection: &Rejection) -> StepError {
    if let Some(what) = rejection.not_modelled() {
        return StepError::NotModelled(what);
    }
    StepError::Rejected {
        errno: Some(rejection.errno_number() as i32),
        log: RejectionLog::new(
            rejection_reason::reason(&rejection.to_string()),
            format!("the model of the verifier rejects the program \"{program}\": {rejection}"),
        ),
    }
}

fn map_rejected(error: MapError) -> StepError {
    if let Some(what) = error.not_modelled() {
        return StepError::NotModelled(what);
    }
    StepError::Rejected {
        errno: Some(error.errno().number() as i32),
        log: RejectionLog::new(error.to_string(), format!("the model rejects a map: {error}")),
    }
}

impl Backend for ModelBackend {
    fn features(&self) -> Features {
        self.hook.profile().features()
    }

    fn create_cgroup(&mut self, parent: CgroupId, name: &str) -> StepResult<CgroupId> {
        Ok(self.add_cgroup(parent, name)?)
    }

    fn remove_cgroup(&mut self, cgroup: CgroupId) -> StepResult<()> {
        let &Cgroup { id, process } = self.cgroups.get(cgroup)?;
        if cgroup == CgroupId::SCRATCH {
            return Err(Errno::EBUSY.into());
        }
        self.hook.move_process(process, self.hook.root())?;
        if let Err(errno) = self.hook.remove_cgroup(id) {
            self.hook.move_process(process, id)?;
            return Err(errno.into());
        }
        self.hook.end_process(process);
        self.cgroups.remove(cgroup).map(drop)
    }

    fn set_task(&mut self, cgroup: CgroupId, task: &Task) -> StepResult<()> {
        let process = self.cgroups.get(cgroup)?.process;
        check_task(task)?;
        Ok(self.hook.change_process(process, |process| {
            (process.task.uid, process.task.gid) = (task.uid, task.gid);
            process.task.comm.clone_from(&task.comm);
        })?)
    }

    fn start_process(&mut self, cgroup: CgroupId, task: &Task, pid: Option<u32>) -> StepResult<ProcessId> {
        let cgroup = self.cgroups.get(cgroup)?.id;
        check_task(task)?;
        let mut started = process(task);
        started.credentials = Credentials { euid: task.uid, egid: task.gid, groups: Vec::new() };
        if let Some(pid) = pid {
            if pid == 0 {
                return Err(Errno::EINVAL.into());
            }
            (started.task.pid, started.task.tgid) = (pid, pid);
        }
        let started = self.hook.spawn(cgroup, started)?;
        Ok(self.processes.insert(started))
    }

    fn move_process(&mut self, process: ProcessId, cgroup: CgroupId) -> StepResult<()> {
        Ok(self.hook.move_process(*self.processes.get(process)?, self.cgroups.get(cgroup)?.id)?)
    }

    fn open_by(&mut self, process: ProcessId, knob: &str, mode: AccessMode) -> StepResult<FileId> {
        let process = *self.processes.get(process)?;
        self.open_in_hook(process, knob, mode)
    }

    fn access_by(
        &mut self,
        process: ProcessId,
        file: FileId,
        request: Request<'_>,
        position: Option<i64>,
    ) -> StepResult<SyscallResult> {
        self.files.get(file)?;
        let process = *self.processes.get(process)?;
        self.access_in_hook(file, process, request, position)
    }

    fn create_map(&mut self, def: &MapDef) -> StepResult<MapId> {
        self.add_map(def).map_err(map_rejected)
    }

    fn load_as(
        &mut self,
        program: &Program,
        maps: Option<&[MapId]>,
        expected_attach_type: u32,
    ) -> StepResult<ProgramId> {
        let profile = *self.hook.profile();
        let options = LoadOptions { expected_attach_type, cpus: self.cpus };
        let handles: Vec<Map> = match maps {
            Some(shared) => {
                let shared = shared.iter().map(|&id| self.maps.get(id)).collect::<StepResult<Vec<_>>>()?;
                check_maps(program, shared.iter().map(|(_, def)| def), self.cpus as usize)?;
                shared.into_iter().map(|(map, _)| map.clone()).collect()
            }
            None => {
                let made = program.maps.iter().enumerate().map(|(index, def)| {
                    let failed = |error| {
                        rejected(&program.name, &Rejection::Map { index, name: def.name.clone(), error })
                    };
                    self.new_map(def).map_err(failed)
                });
                made.collect::<Result<_, _>>()?
            }
        };
        let loaded = LoadedProgram::load_with_maps(program, handles.clone(), &profile, &options)
            .map_err(|rejection| rejected(&program.name, &rejection))?;
        let id = self.hook.load_shared(Arc::new(loaded));
        let ids = match maps {
            Some(shared) => shared.to_vec(),
            None => handles
                .into_iter()
                .zip(program.maps.iter().cloned())
                .map(|own| self.maps.insert(own))
                .collect(),
        };
        Ok(self.programs.insert(Loaded { id, maps: ids, has_own_maps: maps.is_none() }))
    }

    fn unload(&mut self, program: ProgramId) -> StepResult<()> {
        self.hook.unload(self.programs.get(program)?.id)?;
        let loaded = self.programs.remove(program)?;
        if loaded.has_own_maps {
            loaded.maps.into_iter().try_for_each(|map| self.maps.remove(map).map(drop))?;
        }
        Ok(())
    }

    fn maps(&self, program: ProgramId) -> StepResult<&[MapId]> {
        Ok(&self.programs.get(program)?.maps)
    }

    fn attach(
        &mut self,
        cgroup: CgroupId,
        program: ProgramId,
        mode: AttachMode,
        placement: &Placement,
    ) -> StepResult<()> {
        let (cgroup, program) = self.both(cgroup, program)?;
        let options = self.options(placement)?;
        let done = match (mode, placement.replaced) {
            (mode, None) => self.hook.attach(cgroup, program, mode, options),
            (AttachMode::Multi, Some(old)) => {
                self.hook.replace(cgroup, self.programs.get(old)?.id, program, options)
            }
            // BPF_F_REPLACE is not valid without BPF_F_ALLOW_MULTI.
            (_, Some(_)) => Err(Errno::EINVAL),
        };
        Ok(done?)
    }

    fn detach(&mut self, cgroup: CgroupId, program: ProgramId) -> StepResult<()> {
        let (cgroup, program) = self.both(cgroup, program)?;
        Ok(self.hook.detach(cgroup, Some(program), None)?)
    }

    fn link(&mut self, cgroup: CgroupId, program: ProgramId, placement: &Placement) -> StepResult<LinkId> {
        let (cgroup, program) = self.both(cgroup, program)?;
        // BPF_F_REPLACE is not valid for links.
        if placement.replaced.is_some() {
            return Err(Errno::EINVAL.into());
        }
        let link = self.hook.link(cgroup, program, self.options(placement)?)?;
        Ok(self.links.insert(link))
    }

    fn update_link(&mut self, link: LinkId, program: ProgramId) -> StepResult<()> {
        let program = self.programs.get(program)?.id;
        Ok(self.hook.update_link(*self.links.get(link)?, program, None)?)
    }

    fn detach_link(&mut self, link: LinkId) -> StepResult<()> {
        Ok(self.hook.detach_link(*self.links.get(link)?)?)
    }

    fn close_link(&mut self, link: LinkId) -> StepResult<()> {
        self.hook.close_link(self.links.remove(link)?);
        Ok(())
    }

    fn attached(&mut self, cgroup: CgroupId) -> StepResult<Attached> {
        let attached = self.hook.attached(self.cgroups.get(cgroup)?.id)?;
        // Kernels with attach positions count revisions.
        let revision = self.hook.profile().attach_positions.then_some(attached.revision);
        Ok(Attached { mode: attached.mode, programs: self.ids_of(&attached.programs), revision })
    }

    fn effective(&mut self, cgroup: CgroupId) -> StepResult<Vec<ProgramId>> {
        Ok(self.ids_of(&self.hook.effective(self.cgroups.get(cgroup)?.id)?))
    }

    fn open(&mut self, knob: &str, mode: AccessMode, cgroup: CgroupId) -> StepResult<FileId> {
        let process = self.cgroups.get(cgroup)?.process;
        self.open_in_hook(process, knob, mode)
    }

    fn seek(&mut self, file: FileId, position: i64) -> StepResult<()> {
        let file = self.files.get_mut(file)?;
        if position < 0 {
            return Err(Errno::EINVAL.into());
        }
        file.position = position;
        Ok(())
    }

    fn access(
        &mut self,
        file: FileId,
        cgroup: CgroupId,
        request: Request<'_>,
        position: Option<i64>,
    ) -> StepResult<SyscallResult> {
        self.files.get(file)?;
        let process = self.cgroups.get(cgroup)?.process;
        self.access_in_hook(file, process, request, position)
    }

    fn close(&mut self, file: FileId) -> StepResult<()> {
        self.files.remove(file).map(drop)
    }

    fn value(&mut self, knob: &str) -> StepResult<Option<Vec<u8>>> {
        let Ok(mut file) = self.hook.open(self.outside, knob, AccessMode::Read) else { return Ok(None) };
        let read = self.hook.read(self.outside, &mut file, VALUE_READ_MAX).map_err(fault)?;
        Ok((read.returned >= 0).then_some(read.data))
    }

    fn set_value(&mut self, knob: &str, value: &[u8]) -> StepResult<i64> {
        check_knob(knob)?;
        let mut file = self.hook.open(self.outside, knob, AccessMode::Write)?;
        Ok(self.hook.write(self.outside, &mut file, value).map_err(fault)?.returned)
    }

    fn map_def(&self, map: MapId) -> StepResult<&MapDef> {
        Ok(&self.maps.get(map)?.1)
    }

    fn entries(&mut self, map: MapId) -> StepResult<Vec<Entry>> {
        let (map, def) = self.maps.get(map)?;
        check_lists(def)?;
        let entries: Vec<Entry> = match def.kind {
            MapKind::PerfEventArray => {
                let padded = |(_, mut event): (u32, Vec<u8>)| {
                    // `perf_prepare_sample()` in kernel/events/core.c: the length is before it, and both are aligned together.
                    let length = (event.len() + size_of::<u32>()).next_multiple_of(8) - size_of::<u32>();
                    event.resize(length, 0);
                    (Vec::new(), event)
                };
                map.drain_events().into_iter().map(padded).collect()
            }
            MapKind::Ringbuf => map.drain_records().into_iter().map(|value| (Vec::new(), value)).collect(),
            _ => map.entries(),
        };
        if entries.len() > listed_max(def, self.cpus as usize) {
            Err(Errno::E2BIG.into())
        } else {
            Ok(entries)
        }
    }

    fn cpu(&self) -> usize {
        0
    }

    fn update_map(&mut self, map: MapId, key: &[u8], value: &[u8]) -> StepResult<()> {
        let (map, def) = self.maps.get(map)?;
        check_updates(def)?;
        map.update(key, value, maps::ANY).map_err(|error| error.errno().into())
    }

    fn put_map(&mut self, outer: MapId, key: &[u8], inner: MapId) -> StepResult<()> {
        let ((outer, def), (inner, _)) = (self.maps.get(outer)?, self.maps.get(inner)?);
        check_has_maps(def)?;
        outer.put_map(key, inner).map_err(|error| error.errno().into())
    }

    fn coverage(&self) -> Option<Coverage> {
        Some(self.hook.coverage())
    }

    fn finish(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.files.clear();
        self.processes.clear();
        self.links.clear();
        self.cgroups.clear();
        self.programs.clear();
        self.maps.clear();
        Ok(())
    }
}
