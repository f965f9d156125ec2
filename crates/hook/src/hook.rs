//! The whole: knobs, cgroups with programs, and processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access::{Outcome, Request};
use crate::attach::{Attached, Mode, Options};
use crate::cgroups::Cgroups;
use crate::ids::{CgroupId, LinkId, ProgramId};
use crate::process::ProcessEntry;
use crate::{
    CgroupStorage, Errno, HookProgram, Knobs, OpenFile, Process, ProcessId, Profile, ProgramFault, Wanted,
    WritesStrict,
};

/// A kernel, as far as this hook goes.
pub struct Hook {
    /// The knobs.
    pub knobs: Knobs,
    /// `kernel.sysctl_writes_strict`.
    pub writes_strict: WritesStrict,
    /// What the kernel's memory is full of behind a replaced value, where nothing else was before and it is not
    /// terminated. Handlers that read C strings run into it.
    pub stale_byte: u8,
    pub(crate) profile: Profile,
    pub(crate) cgroups: Cgroups,
    pub(crate) programs: Vec<Arc<dyn HookProgram>>,
    pub(crate) processes: BTreeMap<ProcessId, ProcessEntry>,
}

impl Default for Hook {
    /// Linux 6.18 with the knobs of [`Knobs::defaults`].
    fn default() -> Self {
        Self::new(Profile::default(), Knobs::defaults())
    }
}

impl Hook {
    /// This kernel with these knobs, the root cgroup, and nothing attached.
    pub fn new(profile: Profile, knobs: Knobs) -> Self {
        Self {
            knobs,
            writes_strict: WritesStrict::default(),
            stale_byte: b'#',
            profile,
            cgroups: Cgroups::new(profile),
            programs: Vec::new(),
            processes: BTreeMap::new(),
        }
    }

    /// Which kernel it is.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Takes a program in, so that it can be attached.
    pub fn load(&mut self, program: impl HookProgram + 'static) -> ProgramId {
        self.load_shared(Arc::new(program))
    }

    /// Takes in a program that the caller keeps too, to look at its maps.
    pub fn load_shared(&mut self, program: Arc<dyn HookProgram>) -> ProgramId {
        let id = ProgramId(self.programs.len() as u32);
        self.programs.push(program);
        id
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
    /// `ENOENT`: `parent` was removed. `EEXIST`: there is one of that name. `EINVAL`: that is no name.
    pub fn create_cgroup(&mut self, parent: CgroupId, name: &str) -> Result<CgroupId, Errno> {
        self.cgroups.create(parent, name)
    }

    /// Removes a cgroup, as rmdir(2) does. What is attached to it is detached.
    ///
    /// # Errors
    ///
    /// `EBUSY`: it is the root, or there are cgroups or processes in it. `ENOENT`: it was removed.
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
        process.task.cgroups = self.ids_down_to(cgroup)?;
        self.processes.insert(id, ProcessEntry { process, cgroup });
        Ok(id)
    }

    /// Moves a process into `cgroup`. Files that it has open are judged by the new one from then on.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the cgroup was removed. `ESRCH`: the process has ended.
    pub fn move_process(&mut self, process: ProcessId, cgroup: CgroupId) -> Result<(), Errno> {
        let cgroups = self.ids_down_to(cgroup)?;
        let entry = self.processes.get_mut(&process).ok_or(Errno::ESRCH)?;
        entry.cgroup = cgroup;
        entry.process.task.cgroups = cgroups;
        Ok(())
    }

    /// Gives a process other credentials, or its task another name.
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
        let cgroups = entry.process.task.cgroups.clone();
        change(&mut entry.process);
        entry.process.task.cgroups = cgroups;
        Ok(())
    }

    /// Ends a process.
    pub fn end_process(&mut self, process: ProcessId) {
        self.processes.remove(&process);
    }

    fn ids_down_to(&self, cgroup: CgroupId) -> Result<Vec<u64>, Errno> {
        self.cgroups.get(cgroup)?;
        let mut ids: Vec<u64> = self.cgroups.upwards(cgroup).map(|(id, _)| id.number()).collect();
        ids.reverse();
        Ok(ids)
    }
}

/// Attaching.
impl Hook {
    /// Attaches `program` to `cgroup` without a link (`BPF_PROG_ATTACH`). In the modes of one program it takes the place
    /// of one that is there.
    ///
    /// # Errors
    ///
    /// `EPERM`: programs there are in another mode, or one at a cgroup above is in single mode. `EINVAL`: the program is
    /// there already; the anchor is a link, or not as much in preorder; this kernel does not know such options. `E2BIG`:
    /// there are [64](crate::attach::MAX_PROGRAMS). `ENOENT`: there is no such cgroup or anchor. `ESTALE`: the revision is
    /// another one.
    pub fn attach(
        &mut self,
        cgroup: CgroupId,
        program: ProgramId,
        mode: Mode,
        options: Options,
    ) -> Result<(), Errno> {
        self.cgroups.attach(cgroup, program, mode, None, options)
    }

    /// Puts `program` in the place of `old`, in multi mode (`BPF_F_REPLACE`).
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach), `E2BIG` too; `ENOENT`: `old` is not there, or only by a link.
    pub fn replace(
        &mut self,
        cgroup: CgroupId,
        old: ProgramId,
        program: ProgramId,
        options: Options,
    ) -> Result<(), Errno> {
        self.cgroups.attach(cgroup, program, Mode::Multi, Some(old), options)
    }

    /// Detaches what was attached without a link (`BPF_PROG_DETACH`): in multi mode `program`, in the others whatever is
    /// there.
    ///
    /// # Errors
    ///
    /// `ENOENT`: nothing is there, or not this program. `EINVAL`: it must be said which one. `ESTALE`: the revision is
    /// another one.
    pub fn detach(
        &mut self,
        cgroup: CgroupId,
        program: Option<ProgramId>,
        expected_revision: Option<u64>,
    ) -> Result<(), Errno> {
        self.cgroups.detach(cgroup, program, expected_revision)
    }

    /// Attaches `program` to `cgroup` by a link (`BPF_LINK_CREATE`), which is multi mode; any number of times.
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach), with links for anchors.
    pub fn link(&mut self, cgroup: CgroupId, program: ProgramId, options: Options) -> Result<LinkId, Errno> {
        self.cgroups.link(cgroup, program, options)
    }

    /// Puts `program` in the place of the link's, if that is `expected` where one is expected (`BPF_LINK_UPDATE`).
    ///
    /// It gets the storage that was allocated for the program that was attached. Some kernels fail where that is not its own
    /// ([`Profile::updates_compare_storage`]). The others crash when it asks for storage that there is not
    /// ([`Reason::is_crash`](crate::machine::Reason::is_crash)).
    ///
    /// # Errors
    ///
    /// `ENOLINK`: the link was detached, or its cgroup removed. `EPERM`: the link's program is another one. `EINVAL`: it has
    /// other storage.
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

    /// Detaches a link (`BPF_LINK_DETACH`), if it still is attached.
    ///
    /// # Errors
    ///
    /// `EINVAL`: this kernel cannot; [`close_link`](Self::close_link) can.
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
    /// Opens the knob `name`, of which programs hear nothing.
    ///
    /// # Errors
    ///
    /// `EACCES`: its mode forbids that. `ENOENT`: there is none. `EISDIR`: that is a directory. `ESRCH`: the process has
    /// ended.
    pub fn open(&self, process: ProcessId, name: &str, wanted: Wanted) -> Result<OpenFile, Errno> {
        let ProcessEntry { process, .. } = self.processes.get(&process).ok_or(Errno::ESRCH)?;
        let knob = self.knobs.lookup(name)?;
        if !knob.permits(&process.credentials, wanted) {
            return Err(Errno::EACCES);
        }
        Ok(OpenFile { name: name.to_owned(), opened_for: wanted, position: 0 })
    }

    /// read(2) of at most `count` bytes.
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]; what fails for the process is in the outcome.
    pub fn read(
        &mut self,
        process: ProcessId,
        file: &mut OpenFile,
        count: usize,
    ) -> Result<Outcome, ProgramFault> {
        let mut position = file.position;
        let outcome = self.access_file(process, file, Request::Read(count), &mut position)?;
        if outcome.returned >= 0 {
            file.position = position;
        }
        Ok(outcome)
    }

    /// write(2).
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]; what fails for the process is in the outcome.
    pub fn write(
        &mut self,
        process: ProcessId,
        file: &mut OpenFile,
        bytes: &[u8],
    ) -> Result<Outcome, ProgramFault> {
        let mut position = file.position;
        let outcome = self.access_file(process, file, Request::Write(bytes), &mut position)?;
        if outcome.returned > 0 || (outcome.returned == 0 && self.profile.empty_writes_move) {
            file.position = position;
        }
        Ok(outcome)
    }

    /// pread(2): at `position`, with the file's own position left alone.
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]; what fails for the process is in the outcome.
    pub fn pread(
        &mut self,
        process: ProcessId,
        file: &OpenFile,
        count: usize,
        mut position: i64,
    ) -> Result<Outcome, ProgramFault> {
        self.access_file(process, file, Request::Read(count), &mut position)
    }

    /// pwrite(2): at `position`, with the file's own position left alone.
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]; what fails for the process is in the outcome.
    pub fn pwrite(
        &mut self,
        process: ProcessId,
        file: &OpenFile,
        bytes: &[u8],
        mut position: i64,
    ) -> Result<Outcome, ProgramFault> {
        self.access_file(process, file, Request::Write(bytes), &mut position)
    }

    /// Opens the knob `name` and reads a page of it. What open(2) fails with is in the outcome too.
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]
    pub fn read_knob(&mut self, process: ProcessId, name: &str) -> Result<Outcome, ProgramFault> {
        match self.open(process, name, Wanted::Read) {
            Ok(mut file) => self.read(process, &mut file, crate::VALUE_BYTES),
            Err(errno) => Ok(Outcome { returned: errno.returned(), ..Outcome::default() }),
        }
    }

    /// Opens the knob `name` and writes to it. What open(2) fails with is in the outcome too.
    ///
    /// # Errors
    ///
    /// [`ProgramFault`]
    pub fn write_knob(
        &mut self,
        process: ProcessId,
        name: &str,
        bytes: impl AsRef<[u8]>,
    ) -> Result<Outcome, ProgramFault> {
        match self.open(process, name, Wanted::Write) {
            Ok(mut file) => self.write(process, &mut file, bytes.as_ref()),
            Err(errno) => Ok(Outcome { returned: errno.returned(), ..Outcome::default() }),
        }
    }

    fn access_file(
        &mut self,
        process: ProcessId,
        file: &OpenFile,
        request: Request<'_>,
        position: &mut i64,
    ) -> Result<Outcome, ProgramFault> {
        if !file.opened_for.includes(request.wanted()) {
            return Ok(Outcome { returned: Errno::EBADF.returned(), ..Outcome::default() });
        }
        self.access(process, &file.name, request, position)
    }
}

/// What is allocated for an attachment of this program.
pub(crate) fn storage_of(programs: &[Arc<dyn HookProgram>], program: ProgramId) -> Option<CgroupStorage> {
    programs.get(program.0 as usize)?.cgroup_storage()
}
