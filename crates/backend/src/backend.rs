//! What both backends do.

use std::error::Error;

use knobgate_bpf::uapi::{BPF_CGROUP_SYSCTL, TASK_COMM_LEN};
use knobgate_bpf::{Features, MapDef, Program};
use knobgate_hook::machine::Coverage;
use knobgate_hook::{AccessMode, AttachMode};

use crate::per_cpu::of_cpu;
use crate::{CgroupId, FileId, LinkId, MapId, ProcessId, ProgramId, StepResult};

/// Key and value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A hook that programs are loaded, attached and tried on.
///
/// The errno of a step that fails is the one of the system call on the kernel, and `EBADF` for an id that stands for nothing.
pub trait Backend {
    /// What programs can use here.
    fn features(&self) -> Features;

    /// Creates the cgroup `name` in `parent`.
    ///
    /// # Errors
    ///
    /// The errno; `EINVAL` for a name that is not one path component.
    fn create_cgroup(&mut self, parent: CgroupId, name: &str) -> StepResult<CgroupId>;

    /// Ends the process in a cgroup and removes it, with all that is attached to it.
    ///
    /// # Errors
    ///
    /// `EBUSY`: it has children, or is the [scratch cgroup](CgroupId::SCRATCH). It stays as it is, except that its process
    /// may have been replaced by another one, which is the same [`Task`].
    fn remove_cgroup(&mut self, cgroup: CgroupId) -> StepResult<()>;

    /// What programs see of the process in `cgroup`, from now on. Its privileges stay those of root.
    ///
    /// # Errors
    ///
    /// `EINVAL`: no process can be such a [`Task`].
    fn set_task(&mut self, cgroup: CgroupId, task: &Task) -> StepResult<()>;

    /// Starts a process in `cgroup`, in addition to the one that is there. Its ids are real, effective and saved ones, and
    /// decide what it is permitted to do; it has no other groups. `pid`: its process id; `None`: any.
    ///
    /// # Errors
    ///
    /// `EINVAL`: no process can be such a [`Task`], or has this `pid`. `EOPNOTSUPP`: the backend cannot choose the `pid`.
    fn start_process(&mut self, cgroup: CgroupId, task: &Task, pid: Option<u32>) -> StepResult<ProcessId>;

    /// Moves a process into another cgroup.
    ///
    /// # Errors
    ///
    /// The errno.
    fn move_process(&mut self, process: ProcessId, cgroup: CgroupId) -> StepResult<()>;

    /// [`open`](Self::open) by a process that was started.
    ///
    /// # Errors
    ///
    /// As `open`.
    fn open_by(&mut self, process: ProcessId, knob: &str, mode: AccessMode) -> StepResult<FileId>;

    /// [`access`](Self::access) by a process that was started.
    ///
    /// # Errors
    ///
    /// As `access`.
    fn access_by(
        &mut self,
        process: ProcessId,
        file: FileId,
        request: Request<'_>,
        position: Option<i64>,
    ) -> StepResult<SyscallResult>;

    /// Creates a map. Per-CPU contents are given for one CPU, and are the same on all.
    ///
    /// # Errors
    ///
    /// The map is rejected.
    fn create_map(&mut self, def: &MapDef) -> StepResult<MapId>;

    /// Loads a program with the maps that it defines; with `maps` instead, if there are any, in the order of the definitions.
    /// `expected_attach_type` is that of the hook.
    ///
    /// # Errors
    ///
    /// The program, or one of its maps, is rejected: nothing is left of either. `EINVAL`: there are more or fewer `maps` than
    /// definitions, or one is of another kind or size.
    fn load(&mut self, program: &Program, maps: Option<&[MapId]>) -> StepResult<ProgramId> {
        self.load_as(program, maps, BPF_CGROUP_SYSCTL)
    }

    /// The same with this `expected_attach_type`.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    fn load_as(
        &mut self,
        program: &Program,
        maps: Option<&[MapId]>,
        expected_attach_type: u32,
    ) -> StepResult<ProgramId>;

    /// Unloads a program and the maps that were created with it.
    ///
    /// # Errors
    ///
    /// `EBUSY`: it is attached.
    fn unload(&mut self, program: ProgramId) -> StepResult<()>;

    /// The maps of a loaded program, in the order of its definitions.
    ///
    /// # Errors
    ///
    /// There is no such program.
    fn maps(&self, program: ProgramId) -> StepResult<&[MapId]>;

    /// Attaches a program without a link.
    ///
    /// # Errors
    ///
    /// The errno.
    fn attach(
        &mut self,
        cgroup: CgroupId,
        program: ProgramId,
        mode: AttachMode,
        placement: &Placement,
    ) -> StepResult<()>;

    /// Detaches a program that was attached without a link.
    ///
    /// # Errors
    ///
    /// The errno.
    fn detach(&mut self, cgroup: CgroupId, program: ProgramId) -> StepResult<()>;

    /// Attaches a program by a link.
    ///
    /// # Errors
    ///
    /// The errno.
    fn link(&mut self, cgroup: CgroupId, program: ProgramId, placement: &Placement) -> StepResult<LinkId>;

    /// Replaces the program of a link.
    ///
    /// # Errors
    ///
    /// The errno.
    fn update_link(&mut self, link: LinkId, program: ProgramId) -> StepResult<()>;

    /// Detaches a link, which stays open.
    ///
    /// # Errors
    ///
    /// The errno.
    fn detach_link(&mut self, link: LinkId) -> StepResult<()>;

    /// Closes a link, which detaches it.
    ///
    /// # Errors
    ///
    /// There is no such link.
    fn close_link(&mut self, link: LinkId) -> StepResult<()>;

    /// What is attached to a cgroup itself.
    ///
    /// # Errors
    ///
    /// The errno; or something else is attached there.
    fn attached(&mut self, cgroup: CgroupId) -> StepResult<Attached>;

    /// The programs of this backend that run for a cgroup, in this order.
    ///
    /// # Errors
    ///
    /// The errno.
    fn effective(&mut self, cgroup: CgroupId) -> StepResult<Vec<ProgramId>>;

    /// Opens a knob, as the process in `cgroup`.
    ///
    /// # Errors
    ///
    /// The errno; `EINVAL` for a name that is not a path below `/proc/sys`.
    fn open(&mut self, knob: &str, mode: AccessMode, cgroup: CgroupId) -> StepResult<FileId>;

    /// Moves a descriptor.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the position is negative.
    fn seek(&mut self, file: FileId, position: i64) -> StepResult<()>;

    /// Reads or writes, as the process in `cgroup`: where the descriptor is, which moves it, or at this position, which does
    /// not.
    ///
    /// # Errors
    ///
    /// `E2BIG`: it is more than [`ACCESS_MAX`](crate::ACCESS_MAX) bytes, and was not made. Or a program has done what it must
    /// not. The errno that the process gets is in the result.
    fn access(
        &mut self,
        file: FileId,
        cgroup: CgroupId,
        request: Request<'_>,
        position: Option<i64>,
    ) -> StepResult<SyscallResult>;

    /// Closes a descriptor.
    ///
    /// # Errors
    ///
    /// There is no such descriptor.
    fn close(&mut self, file: FileId) -> StepResult<()>;

    /// The value of a knob, in one read by a process for which no program runs; `None` if that fails.
    ///
    /// # Errors
    ///
    /// The backend has failed.
    fn value(&mut self, knob: &str) -> StepResult<Option<Vec<u8>>>;

    /// Sets the value of a knob, in one write by that process. Returns what the system call did.
    ///
    /// # Errors
    ///
    /// The errno of opening the knob, as [`open`](Self::open).
    fn set_value(&mut self, knob: &str, value: &[u8]) -> StepResult<i64>;

    /// The definition of a map.
    ///
    /// # Errors
    ///
    /// There is no such map.
    fn map_def(&self, map: MapId) -> StepResult<&MapDef>;

    /// The entries of a map: of an array in the order of the indexes, of others sorted. Per-CPU values are those of all CPUs,
    /// each padded to a multiple of eight bytes. What is in a queue, a stack or a ring buffer has no key, and is in its
    /// order. What is in a ring buffer is taken out. So are perf events, which the kernel pads to a length of 8 n + 4 bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL`: they are programs, cgroups or maps. `E2BIG`: there are more than [`ENTRIES_MAX`](crate::ENTRIES_MAX)
    /// entries, or more than [`MAPS_MAX`](crate::MAPS_MAX) bytes.
    fn entries(&mut self, map: MapId) -> StepResult<Vec<Entry>>;

    /// The CPU that accesses are made on.
    fn cpu(&self) -> usize;

    /// The same with the values of [this CPU](Self::cpu) alone.
    ///
    /// # Errors
    ///
    /// As [`entries`](Self::entries).
    fn entries_of_cpu(&mut self, map: MapId) -> StepResult<Vec<Entry>> {
        Ok(of_cpu(self.entries(map)?, self.map_def(map)?, self.cpu()))
    }

    /// Sets an entry of a map. A per-CPU value is as [`entries`](Self::entries) lists it: those of all CPUs.
    ///
    /// # Errors
    ///
    /// The errno; `EINVAL` for a key or a value of the wrong size, and for maps without keys or whose values are not bytes.
    fn update_map(&mut self, map: MapId, key: &[u8], value: &[u8]) -> StepResult<()>;

    /// Puts `inner` into an array or a hash of maps.
    ///
    /// # Errors
    ///
    /// The errno; `EINVAL` for other maps, for a key of the wrong size, and for a map that is not like those that may be in it.
    fn put_map(&mut self, outer: MapId, key: &[u8], inner: MapId) -> StepResult<()>;

    /// Which source lines of its programs have run. `None`: nobody has counted, as on the kernel.
    fn coverage(&self) -> Option<Coverage> {
        None
    }

    /// Ends all processes and removes everything, so that no id stands for anything. Dropping a backend does that as well,
    /// but cannot report errors.
    ///
    /// # Errors
    ///
    /// Something could not be removed.
    fn finish(&mut self) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// One access with a descriptor of its own.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) and [`access`](Self::access).
    fn access_knob(
        &mut self,
        cgroup: CgroupId,
        knob: &str,
        request: Request<'_>,
        position: i64,
        moves: bool,
    ) -> StepResult<SyscallResult> {
        let file = self.open(knob, request.mode(), cgroup)?;
        let sought = if moves { self.seek(file, position) } else { Ok(()) };
        let result = sought.and_then(|()| self.access(file, cgroup, request, (!moves).then_some(position)));
        self.close(file)?;
        result
    }
}

/// A read or a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Read into a buffer of `count` bytes, all of them `fill` until then.
    Read {
        /// The size of the buffer.
        count: usize,
        /// What the buffer has where nothing is read: a program can return a length without data.
        fill: u8,
    },
    /// Write these bytes.
    Write(&'a [u8]),
}

impl Request<'_> {
    /// The mode of a descriptor for it.
    pub fn mode(&self) -> AccessMode {
        match self {
            Self::Read { .. } => AccessMode::Read,
            Self::Write(_) => AccessMode::Write,
        }
    }
}

/// The result of a read or a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyscallResult {
    /// What the system call returned: a length, an errno as a negative number, or what a program has set.
    pub returned: i64,
    /// What is in the reader's buffer, as much as was returned.
    pub data: Vec<u8>,
    /// The position of the descriptor afterwards.
    pub position: i64,
}

/// Where a program goes among the others of its cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placement {
    /// It runs before the programs of the cgroups below (`BPF_F_PREORDER`).
    pub preorder: bool,
    /// Before `relative_to`, or first (`BPF_F_BEFORE`).
    pub before: bool,
    /// After `relative_to`, or last (`BPF_F_AFTER`).
    pub after: bool,
    /// What `before` and `after` refer to.
    pub relative_to: Option<RelativeTo>,
    /// The program that it replaces (`BPF_F_REPLACE`).
    pub replaced: Option<ProgramId>,
    /// The hook that it is attached to, as an `enum bpf_attach_type`, instead of this one. Programs of this hook's type are
    /// rejected there with `EINVAL`.
    pub attach_type: Option<u32>,
}

/// A program or link that is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelativeTo {
    /// A program, attached without a link.
    Program(ProgramId),
    /// A link (`BPF_F_LINK`).
    Link(LinkId),
}

/// What is attached to a cgroup itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The mode; `None` if nothing is attached.
    pub mode: Option<AttachMode>,
    /// The programs in their order.
    pub programs: Vec<ProgramId>,
    /// How often the list has changed, from 1; `None` on kernels that do not count.
    pub revision: Option<u64>,
}

/// What programs see of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Real user id; not `u32::MAX`, as the group id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Name; at most [15](Self::COMM_MAX) bytes, without a NUL.
    pub comm: Vec<u8>,
}

impl Task {
    /// The longest name, in bytes.
    pub const COMM_MAX: usize = TASK_COMM_LEN - 1;
}

impl Default for Task {
    /// Root's, with the name `accessor`.
    fn default() -> Self {
        Self { uid: 0, gid: 0, comm: b"accessor".to_vec() }
    }
}
