//! The model as a whole: knobs, cgroups with programs, and processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access::{AccessResult, Request};
use crate::attach::{AttachMode, Attached, Options};
use crate::cgroups::Cgroups;
use crate::ids::{CgroupId, LinkId, ProgramId};
use crate::process::ProcessEntry;
use crate::{
    AccessMode, CgroupStorage, Coverage, Errno, HookProgram, Invocation, KnobSet, Knobs, Map, ModelKernel,
    OpenFile, Process, ProcessId, Profile, ProgramFault, Task, WritesStrict,
};

/// A kernel, as far as this hook is concerned.
pub struct Hook {
    /// The knobs.
    pub knobs: Knobs,
    /// `kernel.sysctl_writes_strict`.
    pub writes_strict: WritesStrict,
    /// The content of the kernel's memory after a replaced value, on kernels that do not terminate it. Handlers that parse
    /// C strings read it.
    pub stale_byte: u8,
    /// What the programs of objects are linked for; with options of its configuration if a program reads some (kconfig).
    pub kernel: ModelKernel,
    pub(crate) profile: Profile,
    pub(crate) cgroups: Cgroups,
    pub(crate) programs: Vec<Arc<dyn HookProgram>>,
    pub(crate) processes: BTreeMap<ProcessId, ProcessEntry>,
    /// The maps that are pinned by name.
    pub(crate) pinned_maps: BTreeMap<String, Map>,
}

impl Default for Hook {
    /// Linux 6.18 with the knobs of [`Knobs::defaults`].
    fn default() -> Self {
        Self::new(Profile::default(), Knobs::defaults())
    }
}

impl Hook {
    /// A kernel with this profile and these knobs, the root cgroup, and nothing attached.
    pub fn new(profile: Profile, knobs: Knobs) -> Self {
        Self {
            knobs,
            writes_strict: WritesStrict::default(),
            stale_byte: b'#',
            kernel: ModelKernel::new(profile),
            profile,
            cgroups: Cgroups::new(profile),
            programs: Vec::new(),
            processes: BTreeMap::new(),
            pinned_maps: BTreeMap::new(),
        }
    }

    /// The kernel's profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Loads a program, so that it can be attached.
    pub fn load(&mut self, program: impl HookProgram + 'static) -> ProgramId {
        self.load_shared(Arc::new(program))
    }

    /// Loads a program that the caller keeps as well, to read its maps.
    pub fn load_shared(&mut self, program: Arc<dyn HookProgram>) -> ProgramId {
        let id = ProgramId(self.programs.len() as u32);
        self.programs.push(program);
        id
    }

    /// Which source lines of the loaded programs have run, in all accesses so far.
    ///
    /// ```
    /// use knobgate_hook::prelude::*;
    ///
    /// let mut hook = Hook::default();
    /// hook.attach_object(hook.root(), include_bytes!("../../../examples/limit/limit.bpf.o"))?;
    /// let process = hook.spawn(hook.root(), Process::default())?;
    /// hook.read_sysctl(process, "net.core.somaxconn")?;
    ///
    /// let coverage = hook.coverage();
    /// assert!(coverage.missed().any(|(_, line)| line == 20), "denied++");
    /// std::fs::write(std::env::temp_dir().join("limit.info"), coverage.to_lcov())?; // for genhtml
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn coverage(&self) -> Coverage {
        Coverage::of(self.programs.iter().filter_map(|program| program.bytecode()))
    }

    /// Unloads a program, so that its memory can be used again. Its id is not given out again, and must not be used again.
    ///
    /// # Errors
    ///
    /// `EBUSY`: it is attached. `ENOENT`: this hook has no such program.
    #[doc(hidden)]
    pub fn unload(&mut self, program: ProgramId) -> Result<(), Errno> {
        if self.cgroups.is_attached(program) {
            return Err(Errno::EBUSY);
        }
        let unloaded = self.programs.get_mut(program.0 as usize).ok_or(Errno::ENOENT)?;
        *unloaded = Arc::new(|_: &mut Invocation<'_>| 1);
        Ok(())
    }
}

/// Cgroups.
impl Hook {
    /// The root cgroup.
    pub fn root(&self) -> CgroupId {
        Cgroups::ROOT
    }

    /// Creates the cgroup `name` in `parent`, as mkdir(2) does.
    ///
    /// # Errors
    ///
    /// `ENOENT`: `parent` was removed. `EEXIST`: the name is taken. `EINVAL`: the name is invalid. `ENAMETOOLONG`: it has 4096
    /// bytes or more.
    pub fn create_cgroup(&mut self, parent: CgroupId, name: &str) -> Result<CgroupId, Errno> {
        self.cgroups.create(parent, name)
    }

    /// Removes a cgroup, as rmdir(2) does. Its programs are detached.
    ///
    /// # Errors
    ///
    /// `EBUSY`: it is the root, or has child cgroups or processes. `ENOENT`: it is already removed.
    pub fn remove_cgroup(&mut self, cgroup: CgroupId) -> Result<(), Errno> {
        if self.processes.values().any(|entry| entry.cgroup == cgroup) {
            return Err(Errno::EBUSY);
        }
        self.cgroups.remove(cgroup)
    }

    /// The cgroup at `path` below the root, as in `system.slice/x.service`.
    pub fn cgroup(&self, path: &str) -> Option<CgroupId> {
        let mut names = path.split('/').filter(|name| !name.is_empty());
        names.try_fold(Cgroups::ROOT, |parent, name| self.cgroups.child(parent, name))
    }

    /// Starts a process inside `cgroup`, with the next free pid unless it has one.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the cgroup was removed.
    pub fn spawn(&mut self, cgroup: CgroupId, mut process: Process) -> Result<ProcessId, Errno> {
        let id = ProcessId(self.processes.last_key_value().map_or(1, |(last, _)| last.0 + 1));
        if process.task.pid == 0 {
            (process.task.pid, process.task.tgid) = (id.0, id.0);
        }
        process.effective_ids();
        self.place(&mut process.task, cgroup)?;
        self.processes.insert(id, ProcessEntry { process, cgroup });
        Ok(id)
    }

    /// Moves a process into `cgroup`. Accesses to files that it has open run the programs of the new cgroup from then on.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the cgroup was removed. `ESRCH`: the process has ended.
    pub fn move_process(&mut self, process: ProcessId, cgroup: CgroupId) -> Result<(), Errno> {
        let mut task = self.processes.get(&process).ok_or(Errno::ESRCH)?.process.task.clone();
        self.place(&mut task, cgroup)?;
        let entry = self.processes.get_mut(&process).ok_or(Errno::ESRCH)?;
        entry.cgroup = cgroup;
        entry.process.task = task;
        Ok(())
    }

    /// A process as it is now, such as to start another one as its child (`Process::parent`).
    ///
    /// # Errors
    ///
    /// `ESRCH`: it has ended.
    pub fn process(&self, process: ProcessId) -> Result<&Process, Errno> {
        Ok(&self.processes.get(&process).ok_or(Errno::ESRCH)?.process)
    }

    /// Changes a process: its credentials, or the name of its task.
    ///
    /// # Errors
    ///
    /// `ESRCH`: it has ended.
    pub fn change_process(
        &mut self,
        process: ProcessId,
        change: impl FnOnce(&mut Process),
    ) -> Result<(), Errno> {
        let entry = self.processes.get_mut(&process).ok_or(Errno::ESRCH)?;
        let Task { cgroups, cgroup_names, .. } = entry.process.task.clone();
        change(&mut entry.process);
        entry.process.effective_ids();
        (entry.process.task.cgroups, entry.process.task.cgroup_names) = (cgroups, cgroup_names);
        Ok(())
    }

    /// Ends a process.
    pub fn end_process(&mut self, process: ProcessId) {
        self.processes.remove(&process);
    }

    /// Tells a task the cgroups from the root down to its own.
    fn place(&self, task: &mut Task, cgroup: CgroupId) -> Result<(), Errno> {
        self.cgroups.get(cgroup)?;
        let mut all: Vec<_> = self.cgroups.upwards(cgroup).collect();
        all.reverse();
        task.cgroups = all.iter().map(|(id, _)| id.number()).collect();
        task.cgroup_names = all.iter().map(|(_, cgroup)| cgroup.name.clone()).collect();
        Ok(())
    }
}

/// Attaching.
impl Hook {
    /// Attaches `program` to `cgroup` without a link (`BPF_PROG_ATTACH`). In single and override mode it replaces a program
    /// that is attached.
    ///
    /// # Errors
    ///
    /// `EPERM`: programs are attached in another mode, or an ancestor has one in single mode. `EINVAL`: the program is
    /// already attached; the position is relative to a link, or to a program with another `preorder`; this kernel does not
    /// have these options. `E2BIG`: there are already [64](crate::attach::MAX_PROGRAMS) programs. `ENOENT`: the cgroup does
    /// not exist, or the program that the position is relative to is not attached. `ESTALE`: the list has another revision.
    pub fn attach(
        &mut self,
        cgroup: CgroupId,
        program: ProgramId,
        mode: AttachMode,
        options: Options,
    ) -> Result<(), Errno> {
        self.cgroups.attach(cgroup, program, mode, None, options)
    }

    /// Replaces `old` with `program`, in multi mode (`BPF_F_REPLACE`).
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach), including `E2BIG`. `ENOENT`: `old` is not attached, or only by a link.
    pub fn replace(
        &mut self,
        cgroup: CgroupId,
        old: ProgramId,
        program: ProgramId,
        options: Options,
    ) -> Result<(), Errno> {
        self.cgroups.attach(cgroup, program, AttachMode::Multi, Some(old), options)
    }

    /// Detaches a program that was attached without a link (`BPF_PROG_DETACH`): in multi mode `program`, in the other modes
    /// the only one.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the program is not attached. `EINVAL`: multi mode needs a program. `ESTALE`: the list has another
    /// revision.
    pub fn detach(
        &mut self,
        cgroup: CgroupId,
        program: Option<ProgramId>,
        expected_revision: Option<u64>,
    ) -> Result<(), Errno> {
        self.cgroups.detach(cgroup, program, expected_revision)
    }

    /// Attaches `program` to `cgroup` by a link (`BPF_LINK_CREATE`), in multi mode. The same program can have several
    /// links.
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach); positions are relative to links.
    pub fn link(&mut self, cgroup: CgroupId, program: ProgramId, options: Options) -> Result<LinkId, Errno> {
        self.cgroups.link(cgroup, program, options)
    }

    /// Replaces the program of a link, if it is `expected` (`BPF_LINK_UPDATE`).
    ///
    /// The new program uses the cgroup storage that was allocated for the attached one. Some kernels fail if its own
    /// storage maps are others ([`Profile::updates_compare_storage`]). The other kernels crash if it uses storage that was
    /// not allocated ([`Reason::is_crash`](crate::machine::Reason::is_crash)).
    ///
    /// # Errors
    ///
    /// `ENOLINK`: the link was detached, or its cgroup removed. `EPERM`: the link has another program. `EINVAL`: the
    /// programs have different storage.
    pub fn update_link(
        &mut self,
        link: LinkId,
        program: ProgramId,
        expected: Option<ProgramId>,
    ) -> Result<(), Errno> {
        let programs = &self.programs;
        let storage = |program| storage_of(programs, program).unwrap_or_default();
        let compatible = |old, new| storage(old).is_same_as(&storage(new));
        self.cgroups.update(link, program, expected, compatible)
    }

    /// Detaches a link (`BPF_LINK_DETACH`), if it is attached.
    ///
    /// # Errors
    ///
    /// `EINVAL`: this kernel does not have the command; use [`close_link`](Self::close_link).
    pub fn detach_link(&mut self, link: LinkId) -> Result<(), Errno> {
        if self.profile.link_detach { self.cgroups.detach_link(link) } else { Err(Errno::EINVAL) }
    }

    /// Closes the last descriptor of a link, which detaches it.
    pub fn close_link(&mut self, link: LinkId) {
        if self.cgroups.detach_link(link).is_ok() {
            self.cgroups.links.remove(&link);
        }
    }

    /// The cgroup of a link; `None` after it was detached or the cgroup removed.
    pub fn cgroup_of_link(&self, link: LinkId) -> Option<CgroupId> {
        self.cgroups.links.get(&link)?.cgroup
    }

    /// What is attached to `cgroup` itself (`BPF_PROG_QUERY`).
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such cgroup.
    pub fn attached(&self, cgroup: CgroupId) -> Result<Attached, Errno> {
        self.cgroups.attached(cgroup)
    }

    /// The programs that run for processes in `cgroup`, in this order (`BPF_F_QUERY_EFFECTIVE`).
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such cgroup.
    pub fn effective(&self, cgroup: CgroupId) -> Result<Vec<ProgramId>, Errno> {
        Ok(self.cgroups.get(cgroup)?.effective.iter().map(|effective| effective.program).collect())
    }
}

/// Accesses.
impl Hook {
    /// Opens the knob `name`. No program runs.
    ///
    /// # Errors
    ///
    /// `EACCES`: its mode forbids it. `ENOENT`: it does not exist. `EISDIR`: it is a directory. `ENOTDIR`: the name goes on
    /// after that of a knob. `ESRCH`: the process has ended.
    pub fn open(&self, process: ProcessId, name: &str, mode: AccessMode) -> Result<OpenFile, Errno> {
        let ProcessEntry { process, .. } = self.processes.get(&process).ok_or(Errno::ESRCH)?;
        let knob = self.knobs.lookup(name)?;
        if !knob.permits(&process.credentials, mode) {
            return Err(Errno::EACCES);
        }
        let set = knob.set.unwrap_or_else(|| KnobSet::of(name, &process.task.namespaces));
        Ok(OpenFile { name: name.to_owned(), mode, set, position: 0 })
    }

    /// read(2) of at most `count` bytes.
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]; the errno that the process gets is in the result.
    pub fn read(
        &mut self,
        process: ProcessId,
        file: &mut OpenFile,
        count: usize,
    ) -> Result<AccessResult, ProgramFault> {
        let mut position = file.position;
        let result = self.access_file(process, file, Request::Read(count), &mut position)?;
        if result.returned >= 0 {
            file.position = position;
        }
        Ok(result)
    }

    /// write(2).
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]; the errno that the process gets is in the result.
    pub fn write(
        &mut self,
        process: ProcessId,
        file: &mut OpenFile,
        bytes: &[u8],
    ) -> Result<AccessResult, ProgramFault> {
        let mut position = file.position;
        let result = self.access_file(process, file, Request::Write(bytes), &mut position)?;
        if result.returned > 0 || (result.returned == 0 && self.profile.empty_writes_move) {
            file.position = position;
        }
        Ok(result)
    }

    /// pread(2): at `position`, without moving the file's own position.
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]; the errno that the process gets is in the result.
    pub fn pread(
        &mut self,
        process: ProcessId,
        file: &OpenFile,
        count: usize,
        mut position: i64,
    ) -> Result<AccessResult, ProgramFault> {
        self.access_file(process, file, Request::Read(count), &mut position)
    }

    /// pwrite(2): at `position`, without moving the file's own position.
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]; the errno that the process gets is in the result.
    pub fn pwrite(
        &mut self,
        process: ProcessId,
        file: &OpenFile,
        bytes: &[u8],
        mut position: i64,
    ) -> Result<AccessResult, ProgramFault> {
        self.access_file(process, file, Request::Write(bytes), &mut position)
    }

    /// Opens the knob `name`, and reads a page. The errno of open(2) is in the result, too.
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]
    pub fn read_knob(&mut self, process: ProcessId, name: &str) -> Result<AccessResult, ProgramFault> {
        match self.open(process, name, AccessMode::Read) {
            Ok(mut file) => self.read(process, &mut file, crate::VALUE_BYTES),
            Err(errno) => Ok(AccessResult { returned: errno.returned(), ..AccessResult::default() }),
        }
    }

    /// Opens the knob `name`, and writes to it. The errno of open(2) is in the result, too.
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]
    pub fn write_knob(
        &mut self,
        process: ProcessId,
        name: &str,
        bytes: impl AsRef<[u8]>,
    ) -> Result<AccessResult, ProgramFault> {
        match self.open(process, name, AccessMode::Write) {
            Ok(mut file) => self.write(process, &mut file, bytes.as_ref()),
            Err(errno) => Ok(AccessResult { returned: errno.returned(), ..AccessResult::default() }),
        }
    }

    fn access_file(
        &mut self,
        process: ProcessId,
        file: &OpenFile,
        request: Request<'_>,
        position: &mut i64,
    ) -> Result<AccessResult, ProgramFault> {
        // The first check of pread64 and pwrite64.
        if *position < 0 {
            return Ok(AccessResult::failed(Errno::EINVAL));
        }
        if !file.mode.includes(request.mode()) {
            return Ok(AccessResult { returned: Errno::EBADF.returned(), ..AccessResult::default() });
        }
        self.access(process, file, request, position)
    }
}

/// The storage that attaching this program allocates.
pub(crate) fn storage_of(programs: &[Arc<dyn HookProgram>], program: ProgramId) -> Option<CgroupStorage> {
    programs.get(program.0 as usize)?.cgroup_storage()
}
