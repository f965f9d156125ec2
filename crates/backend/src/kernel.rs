//! The running kernel as a backend.

mod errors;
mod files;

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use knobgate_bpf::{Features, KnobOwner, MapDef, MapKind, Program};
use knobgate_hook::{AccessMode, AttachMode, Errno};
use knobgate_kernel::{
    self as kernel, Accessor, AttachPosition, BpfObjectError, CgroupError, Link, LoadError, LoadOptions, Map,
    PROC_SYS, PerfEvents, ProgramFd, RingBuffer, ScratchCgroup, create_map, link_create, link_detach,
    link_update, load_with_maps, possible_cpus, probe_cached, prog_attach, prog_detach,
};
use rustix::fs::{OFlags, SeekFrom, seek};

use crate::arguments::{
    check_has_maps, check_knob, check_lists, check_maps, check_request, check_task, check_updates, listed_max,
};
use crate::backend::{Attached, Backend, Entry, Placement, RelativeTo, Request, SyscallResult, Task};
use crate::ids::{CgroupId, FileId, LinkId, MapId, ProcessId, ProgramId, Table};
use crate::per_cpu::for_cpus;
use crate::step_error::{StepError, StepResult};
use crate::{ACCESS_MAX, VALUE_READ_MAX};
use errors::{backend_failed, cgroup_result, map_result, rejected, step_result};
use files::{access, not_directory, open};

const _: () = assert!(ACCESS_MAX <= Accessor::BYTES_MAX);

/// The running kernel's hook, below one cgroup.
///
/// The knobs are the machine's own, or those of the namespaces that this process is in. The processes in the cgroups are
/// children of this one.
#[derive(Debug)]
pub struct KernelBackend {
    files: Table<FileId, File>,
    links: Table<LinkId, Link>,
    programs: Table<ProgramId, Loaded>,
    maps: Table<MapId, (Map, MapDef)>,
    /// Of the maps of perf events: nothing is sent without readers.
    events: BTreeMap<MapId, PerfEvents>,
    cgroups: Table<CgroupId, Cgroup>,
    processes: Table<ProcessId, Accessor>,
    /// `None` after the end.
    scratch: Option<ScratchCgroup>,
    cpus: usize,
}

#[derive(Debug)]
struct Loaded {
    fd: ProgramFd,
    id: u32,
    maps: Vec<MapId>,
    has_own_maps: bool,
}

#[derive(Debug)]
struct Cgroup {
    cgroup: knobgate_kernel::Cgroup,
    task: Task,
    /// It is started on demand.
    accessor: Option<Accessor>,
}

impl KernelBackend {
    /// A backend with a scratch cgroup in `parent`, named after `prefix`.
    ///
    /// # Errors
    ///
    /// The cgroup cannot be created.
    pub fn new(parent: &knobgate_kernel::Cgroup, prefix: &str) -> Result<Self, CgroupError> {
        let scratch = ScratchCgroup::create(parent, prefix)?;
        let mut cgroups = Table::default();
        cgroups.insert(Cgroup::new(knobgate_kernel::Cgroup::open(scratch.path())?));
        Ok(Self {
            files: Table::default(),
            links: Table::default(),
            programs: Table::default(),
            maps: Table::default(),
            events: BTreeMap::new(),
            cgroups,
            processes: Table::default(),
            scratch: Some(scratch),
            cpus: possible_cpus().unwrap_or(1),
        })
    }

    /// How many programs run for the scratch cgroup. Before the first step they are those of others, which
    /// [`effective`](Backend::effective) leaves out.
    ///
    /// # Errors
    ///
    /// The kernel does not list them.
    pub fn count_effective(&self) -> Result<usize, BpfObjectError> {
        self.scratch.as_ref().map_or(Ok(0), |scratch| Ok(scratch.effective()?.len()))
    }

    /// [`create_cgroup`](Backend::create_cgroup), with the kernel's own error.
    ///
    /// # Errors
    ///
    /// The cgroup cannot be created.
    pub fn add_cgroup(&mut self, parent: CgroupId, name: &str) -> Result<CgroupId, CgroupError> {
        let parent = self.cgroups.get(parent).map_err(|_| CgroupError::NotFound { path: name.into() })?;
        let cgroup = parent.cgroup.create(name)?;
        Ok(self.cgroups.insert(Cgroup::new(cgroup)))
    }

    /// [`create_map`](Backend::create_map), with the kernel's own error, which names `user`.
    ///
    /// # Errors
    ///
    /// The map cannot be created.
    pub fn add_map(&mut self, user: &str, def: &MapDef) -> Result<MapId, LoadError> {
        let map = create_map(user, &for_cpus(def, self.cpus))?;
        self.insert_map(map, def).map_err(|source| LoadError::MapContents { map: def.name.clone(), source })
    }

    fn insert_map(&mut self, map: Map, def: &MapDef) -> Result<MapId, BpfObjectError> {
        let events = (def.kind == MapKind::PerfEventArray).then(|| PerfEvents::open(&map)).transpose()?;
        let id = self.maps.insert((map, def.clone()));
        self.events.extend(events.map(|events| (id, events)));
        Ok(id)
    }
}

impl KernelBackend {
    fn both(
        &self,
        cgroup: CgroupId,
        program: ProgramId,
    ) -> StepResult<(&knobgate_kernel::Cgroup, &ProgramFd)> {
        Ok((&self.cgroups.get(cgroup)?.cgroup, &self.programs.get(program)?.fd))
    }

    fn position(&self, placement: &Placement) -> StepResult<AttachPosition<'_>> {
        let Placement { preorder, before, after, relative_to, replaced, attach_type } = *placement;
        let program = |program| StepResult::Ok(&self.programs.get(program)?.fd);
        let relative_to = match relative_to {
            Some(RelativeTo::Program(relative)) => {
                Some(knobgate_kernel::RelativeTo::Program(program(relative)?))
            }
            Some(RelativeTo::Link(link)) => Some(knobgate_kernel::RelativeTo::Link(self.links.get(link)?)),
            None => None,
        };
        Ok(AttachPosition {
            preorder,
            before,
            after,
            relative_to,
            replaced: replaced.map(program).transpose()?,
            attach_type,
        })
    }

    fn id_of(&self, id: u32) -> Option<ProgramId> {
        self.programs.find(|loaded| loaded.id == id)
    }
}

impl Cgroup {
    fn new(cgroup: knobgate_kernel::Cgroup) -> Self {
        Self { cgroup, task: Task::default(), accessor: None }
    }

    fn accessor(&mut self) -> StepResult<&mut Accessor> {
        if let Some(ref mut accessor) = self.accessor {
            return Ok(accessor);
        }
        let Task { uid, gid, comm } = &self.task;
        let mut accessor = Accessor::start(&self.cgroup).map_err(backend_failed)?;
        accessor.become_task(*uid, *gid, comm).map_err(backend_failed)?;
        Ok(self.accessor.insert(accessor))
    }
}

impl Backend for KernelBackend {
    fn features(&self) -> Features {
        let features = probe_cached().features();
        // The network of the test takes the place of the host's, as in the model, which has only one.
        let own = rustix::fs::stat("/proc/thread-self/ns/net")
            .ok()
            .and_then(|netns| u32::try_from(netns.st_ino).ok());
        let knob_owner = features.knob_owner.zip(own).map(|(owner, host)| KnobOwner { host, ..owner });
        Features { knob_owner, ..features }
    }

    fn create_cgroup(&mut self, parent: CgroupId, name: &str) -> StepResult<CgroupId> {
        self.cgroups.get(parent)?;
        cgroup_result(self.add_cgroup(parent, name))
    }

    fn remove_cgroup(&mut self, cgroup: CgroupId) -> StepResult<()> {
        let removed = self.cgroups.get_mut(cgroup)?;
        if cgroup == CgroupId::SCRATCH {
            return Err(Errno::EBUSY.into());
        }
        removed.accessor = None;
        cgroup_result(removed.cgroup.remove())?;
        let removed = self.cgroups.remove(cgroup)?.cgroup.id();
        // The kernel detaches what was attached there later (`cgroup_bpf_release()` in kernel/bpf/cgroup.c).
        let leads_there = |link: &Link| link.info().is_ok_and(|info| info.cgroup_id == Some(removed));
        let start = Instant::now();
        while self.links.values().any(leads_there) {
            if start.elapsed() > Duration::from_secs(10) {
                return Err(backend_failed("a link still leads to a cgroup that was removed"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn set_task(&mut self, cgroup: CgroupId, task: &Task) -> StepResult<()> {
        let cgroup = self.cgroups.get_mut(cgroup)?;
        check_task(task)?;
        if let Some(accessor) = &mut cgroup.accessor
            && cgroup.task != *task
        {
            accessor.become_task(task.uid, task.gid, &task.comm).map_err(backend_failed)?;
        }
        cgroup.task.clone_from(task);
        Ok(())
    }

    fn start_process(&mut self, cgroup: CgroupId, task: &Task, pid: Option<u32>) -> StepResult<ProcessId> {
        let cgroup = &self.cgroups.get(cgroup)?.cgroup;
        check_task(task)?;
        if pid.is_some() {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let mut accessor = Accessor::start(cgroup).map_err(backend_failed)?;
        accessor.become_user(task.uid, task.gid, &task.comm).map_err(backend_failed)?;
        Ok(self.processes.insert(accessor))
    }

    fn move_process(&mut self, process: ProcessId, cgroup: CgroupId) -> StepResult<()> {
        cgroup_result(self.processes.get(process)?.enter(&self.cgroups.get(cgroup)?.cgroup))
    }

    fn open_by(&mut self, process: ProcessId, knob: &str, mode: AccessMode) -> StepResult<FileId> {
        let accessor = self.processes.get_mut(process)?;
        check_knob(knob)?;
        let flags = match mode {
            AccessMode::Read => OFlags::RDONLY,
            AccessMode::Write => OFlags::WRONLY,
            AccessMode::ReadWrite => OFlags::RDWR,
        };
        let path = CString::new(format!("{PROC_SYS}/{knob}")).map_err(backend_failed)?;
        let opened = accessor.open(&path, flags).map_err(backend_failed)?;
        let file = File::from(step_result(opened.map_err(io::Error::from))?);
        not_directory(&file)?;
        Ok(self.files.insert(file))
    }

    fn access_by(
        &mut self,
        process: ProcessId,
        file: FileId,
        request: Request<'_>,
        position: Option<i64>,
    ) -> StepResult<SyscallResult> {
        let file = self.files.get(file)?;
        access(self.processes.get_mut(process)?, file, request, position)
    }

    fn create_map(&mut self, def: &MapDef) -> StepResult<MapId> {
        self.add_map(&def.name, def).map_err(rejected)
    }

    fn load_as(
        &mut self,
        program: &Program,
        maps: Option<&[MapId]>,
        expected_attach_type: u32,
    ) -> StepResult<ProgramId> {
        let options = LoadOptions { expected_attach_type, ..LoadOptions::default() };
        let handles = match maps {
            Some(shared) => {
                let shared = shared.iter().map(|&id| self.maps.get(id)).collect::<StepResult<Vec<_>>>()?;
                check_maps(program, shared.iter().map(|(_, def)| def), self.cpus)?;
                let clones = shared.iter().map(|(map, _)| map.try_clone());
                clones.collect::<Result<_, _>>().map_err(backend_failed)?
            }
            None => {
                let made =
                    program.maps.iter().map(|def| create_map(&program.name, &for_cpus(def, self.cpus)));
                made.collect::<Result<_, _>>().map_err(rejected)?
            }
        };
        let loaded = load_with_maps(program, handles, &options).map_err(rejected)?;
        let id = loaded.program.info().map_err(backend_failed)?.id;
        let ids = match maps {
            Some(shared) => shared.to_vec(),
            None => {
                let own = loaded.maps.into_iter().zip(&program.maps);
                own.map(|((_, map), def)| self.insert_map(map, def))
                    .collect::<Result<_, _>>()
                    .map_err(backend_failed)?
            }
        };
        Ok(self.programs.insert(Loaded { fd: loaded.program, id, maps: ids, has_own_maps: maps.is_none() }))
    }

    fn unload(&mut self, program: ProgramId) -> StepResult<()> {
        let id = self.programs.get(program)?.id;
        for cgroup in self.cgroups.values() {
            if cgroup.cgroup.attached().map_err(backend_failed)?.program_ids.contains(&id) {
                return Err(Errno::EBUSY.into());
            }
        }
        let loaded = self.programs.remove(program)?;
        if loaded.has_own_maps {
            for map in loaded.maps {
                self.maps.remove(map)?;
                self.events.remove(&map);
            }
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
        let mode = match mode {
            AttachMode::Single => kernel::AttachMode::Single,
            AttachMode::Override => kernel::AttachMode::Override,
            AttachMode::Multi => kernel::AttachMode::Multi,
        };
        let (cgroup, program) = self.both(cgroup, program)?;
        step_result(prog_attach(program, cgroup, mode, &self.position(placement)?))
    }

    fn detach(&mut self, cgroup: CgroupId, program: ProgramId) -> StepResult<()> {
        let (cgroup, program) = self.both(cgroup, program)?;
        step_result(prog_detach(program, cgroup))
    }

    fn link(&mut self, cgroup: CgroupId, program: ProgramId, placement: &Placement) -> StepResult<LinkId> {
        let (cgroup, program) = self.both(cgroup, program)?;
        let link = step_result(link_create(program, cgroup, &self.position(placement)?))?;
        Ok(self.links.insert(link))
    }

    fn update_link(&mut self, link: LinkId, program: ProgramId) -> StepResult<()> {
        step_result(link_update(self.links.get(link)?, &self.programs.get(program)?.fd))
    }

    fn detach_link(&mut self, link: LinkId) -> StepResult<()> {
        step_result(link_detach(self.links.get(link)?))
    }

    fn close_link(&mut self, link: LinkId) -> StepResult<()> {
        self.links.remove(link).map(drop)
    }

    fn attached(&mut self, cgroup: CgroupId) -> StepResult<Attached> {
        let attached = self.cgroups.get(cgroup)?.cgroup.attached().map_err(backend_failed)?;
        let mode = attached.mode.map(|mode| match mode {
            kernel::AttachMode::Single => AttachMode::Single,
            kernel::AttachMode::Override => AttachMode::Override,
            kernel::AttachMode::Multi => AttachMode::Multi,
        });
        let known =
            |&id| self.id_of(id).ok_or_else(|| backend_failed("somebody else has attached a program"));
        let programs = attached.program_ids.iter().map(known).collect::<Result<_, _>>()?;
        Ok(Attached { mode, programs, revision: attached.revision })
    }

    fn effective(&mut self, cgroup: CgroupId) -> StepResult<Vec<ProgramId>> {
        let ids = self.cgroups.get(cgroup)?.cgroup.effective().map_err(backend_failed)?;
        Ok(ids.into_iter().filter_map(|id| self.id_of(id)).collect())
    }

    /// No program runs when a knob is opened, so any process can do it.
    fn open(&mut self, knob: &str, mode: AccessMode, cgroup: CgroupId) -> StepResult<FileId> {
        self.cgroups.get(cgroup)?;
        Ok(self.files.insert(open(knob, mode)?))
    }

    fn seek(&mut self, file: FileId, position: i64) -> StepResult<()> {
        let sought = seek(self.files.get(file)?, SeekFrom::Start(position as u64));
        step_result(sought.map_err(io::Error::from)).map(drop)
    }

    fn access(
        &mut self,
        file: FileId,
        cgroup: CgroupId,
        request: Request<'_>,
        position: Option<i64>,
    ) -> StepResult<SyscallResult> {
        let file = self.files.get(file)?;
        let cgroup = self.cgroups.get_mut(cgroup)?;
        check_request(request)?;
        access(cgroup.accessor()?, file, request, position)
    }

    fn close(&mut self, file: FileId) -> StepResult<()> {
        self.files.remove(file).map(drop)
    }

    fn value(&mut self, knob: &str) -> StepResult<Option<Vec<u8>>> {
        let mut value = vec![0; VALUE_READ_MAX];
        // A second read of a number would return nothing.
        let read = open(knob, AccessMode::Read).and_then(|mut file| step_result(file.read(&mut value)));
        Ok(read.ok().map(|length| {
            value.truncate(length);
            value
        }))
    }

    fn set_value(&mut self, knob: &str, value: &[u8]) -> StepResult<i64> {
        let mut file = open(knob, AccessMode::Write)?;
        match step_result(file.write(value)) {
            Ok(length) => Ok(length as i64),
            Err(StepError::Errno(errno)) => Ok(-i64::from(errno)),
            Err(other) => Err(other),
        }
    }

    fn map_def(&self, map: MapId) -> StepResult<&MapDef> {
        Ok(&self.maps.get(map)?.1)
    }

    fn entries(&mut self, map: MapId) -> StepResult<Vec<Entry>> {
        let events = self.events.get_mut(&map);
        let (map, def) = self.maps.get(map)?;
        check_lists(def)?;
        let no_key = |value: Vec<u8>| (Vec::new(), value);
        let most = listed_max(def, self.cpus);
        let entries: Vec<Entry> = match def.kind {
            MapKind::PerfEventArray => {
                let events = events.map(|events| events.drain(map)).transpose().map_err(backend_failed)?;
                events.unwrap_or_default().into_iter().map(no_key).collect()
            }
            MapKind::Ringbuf => {
                let mut ring = RingBuffer::open(map).map_err(backend_failed)?;
                ring.drain().into_iter().map(no_key).collect()
            }
            MapKind::Queue | MapKind::Stack => {
                let queued = map.queued().map_err(backend_failed)?;
                queued.into_iter().map(no_key).collect()
            }
            kind => {
                // One more, to notice if there are too many.
                let entries = map.first_entries(most + 1).map_err(backend_failed)?;
                let mut entries: Vec<_> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
                // Arrays are in the order of their indexes already.
                if !matches!(kind, MapKind::Array | MapKind::PercpuArray) {
                    entries.sort();
                }
                entries
            }
        };
        if entries.len() > most { Err(Errno::E2BIG.into()) } else { Ok(entries) }
    }

    fn cpu(&self) -> usize {
        self.cgroups
            .values()
            .filter_map(|cgroup| cgroup.accessor.as_ref())
            .chain(self.processes.values())
            .next()
            .map_or(0, Accessor::cpu)
            .min(self.cpus - 1)
    }

    fn update_map(&mut self, map: MapId, key: &[u8], value: &[u8]) -> StepResult<()> {
        let (map, def) = self.maps.get(map)?;
        check_updates(def)?;
        map_result(map.update(key, value))
    }

    fn put_map(&mut self, outer: MapId, key: &[u8], inner: MapId) -> StepResult<()> {
        let ((outer, def), (inner, _)) = (self.maps.get(outer)?, self.maps.get(inner)?);
        check_has_maps(def)?;
        map_result(outer.put_map(key, inner))
    }

    fn finish(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.files.clear();
        self.processes.clear();
        self.links.clear();
        self.cgroups.clear();
        self.programs.clear();
        self.maps.clear();
        self.events.clear();
        match self.scratch.take() {
            Some(scratch) => Ok(scratch.finish()?),
            None => Ok(()),
        }
    }
}
