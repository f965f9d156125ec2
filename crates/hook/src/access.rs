//! One read or write of a knob, from the system call to the handler: `vfs_read` and `vfs_write` in fs/read_write.c,
//! `proc_sys_call_handler` in fs/proc/proc_sysctl.c, `__cgroup_bpf_run_filter_sysctl` in kernel/bpf/cgroup.c.

use std::sync::Arc;

use crate::chain::Running;
use crate::effective::Effective;
use crate::handler::{Surroundings, Written};
use crate::hook::storage_of;
use crate::process::Resident;
use crate::{Decision, Errno, Hook, Invocation, Knob, ProcessId, ProgramFault, VALUE_BYTES, Wanted, chain};

/// `MAX_RW_COUNT`: no system call reads or writes more bytes.
const MAX_COUNT: usize = 0x7fff_f000;

/// What came of a read or a write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What the system call returns: a length, a negative errno, or whatever else a program made of it.
    pub returned: i64,
    /// What was read.
    pub data: Vec<u8>,
    /// What the programs said, if they were asked: the kernel may have failed the access before.
    pub decision: Option<Decision>,
}

impl Outcome {
    /// The errno, if the system call failed with one that has a name. A program can make up others.
    pub fn errno(&self) -> Option<Errno> {
        Errno::from_returned(self.returned)
    }

    fn failed(errno: Errno) -> Self {
        Self { returned: errno.returned(), ..Self::default() }
    }
}

/// What is asked of a knob.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request<'a> {
    Read(usize),
    Write(&'a [u8]),
}

impl Request<'_> {
    fn count(self) -> usize {
        match self {
            Self::Read(count) => count,
            Self::Write(bytes) => bytes.len(),
        }
    }

    pub(crate) fn wanted(self) -> Wanted {
        match self {
            Self::Read(_) => Wanted::Read,
            Self::Write(_) => Wanted::Write,
        }
    }
}

impl Hook {
    /// Does what is asked of the knob `name` at `position`, which moves.
    pub(crate) fn access(
        &mut self,
        process: ProcessId,
        name: &str,
        request: Request<'_>,
        position: &mut i64,
    ) -> Result<Outcome, ProgramFault> {
        let checked = self.check(process, name, request, *position);
        if let Err(errno) = checked {
            return Ok(Outcome::failed(errno));
        }
        let request = match request {
            Request::Read(count) => Request::Read(count.min(MAX_COUNT)),
            Request::Write(bytes) => Request::Write(&bytes[..bytes.len().min(MAX_COUNT)]),
        };
        let programs = self.programs_for(process);
        let around = Surroundings { strict: self.writes_strict, profile: &self.profile };
        let (Some(knob), Some(resident)) = (self.knobs.get_mut(name), self.processes.get(&process)) else {
            return Ok(Outcome::failed(Errno::ENOENT));
        };
        let Some(programs) = programs else { return Ok(handle(knob, request, None, position, around)) };

        let current = knob.handler.read(VALUE_BYTES, &mut 0, &around).unwrap_or_default();
        let (task, profile) = (&resident.process.task, &self.profile);
        let mut invocation = match request {
            Request::Read(_) => Invocation::read(name, &current, task, profile),
            Request::Write(bytes) => Invocation::write(name, &current, bytes, task, profile),
        };
        invocation.position = *position;
        let decision = chain::run(&programs, &mut invocation)?;
        *position = invocation.position;
        let mut outcome = if decision.retval != 0 {
            Outcome { returned: decision.retval.into(), ..Outcome::default() }
        } else {
            let replacement = invocation.new.as_deref().filter(|_| decision.replacement_applied);
            let behind = if self.profile.rewrites_are_terminated {
                vec![0]
            } else {
                let mut behind = std::mem::take(&mut invocation.behind_new);
                let used = replacement.map_or(0, <[u8]>::len);
                behind.resize(VALUE_BYTES.saturating_sub(used), self.stale_byte);
                behind
            };
            let replacement = replacement.map(|bytes| Written { bytes, behind: &behind });
            handle(knob, request, replacement, position, around)
        };
        outcome.decision = Some(decision);
        Ok(outcome)
    }

    /// What fails an access before a program sees it, in the kernel's order.
    fn check(
        &self,
        process: ProcessId,
        name: &str,
        request: Request<'_>,
        position: i64,
    ) -> Result<(), Errno> {
        // rw_verify_area
        let end = i64::try_from(request.count()).ok().and_then(|count| position.checked_add(count));
        if position < 0 || end.is_none() {
            return Err(Errno::EINVAL);
        }
        let knob = self.knobs.get(name).ok_or(Errno::ENOENT)?;
        let Resident { process, .. } = self.processes.get(&process).ok_or(Errno::ESRCH)?;
        if !knob.permits(&process.credentials, request.wanted()) {
            return Err(Errno::EPERM);
        }
        match self.profile.size_limit {
            Some(limit) if request.count() >= limit => Err(Errno::ENOMEM),
            _ => Ok(()),
        }
    }

    /// The programs that are in effect for a process. `None` where nothing is attached to any cgroup at all: then the
    /// kernel does not take the hook's path, which reads the value once more.
    fn programs_for(&self, process: ProcessId) -> Option<Vec<Running>> {
        if !self.cgroups.any_attached() {
            return None;
        }
        let effective = self
            .processes
            .get(&process)
            .and_then(|resident| self.cgroups.get(resident.cgroup).ok())
            .map(|cgroup| cgroup.effective.as_slice())
            .unwrap_or_default();
        let running = |&effective: &Effective| {
            Some(Running {
                effective,
                program: Arc::clone(self.programs.get(effective.program.0 as usize)?),
                storage: storage_of(&self.programs, effective.storage_of),
            })
        };
        Some(effective.iter().filter_map(running).collect())
    }
}

/// Lets the handler do it, with `replacement` for what is written.
fn handle(
    knob: &mut Knob,
    request: Request<'_>,
    replacement: Option<Written<'_>>,
    position: &mut i64,
    around: Surroundings<'_>,
) -> Outcome {
    let done = match request {
        Request::Read(count) => knob.handler.read(count, position, &around),
        Request::Write(bytes) => {
            let written = replacement.unwrap_or(Written::terminated(bytes));
            let returned = knob.handler.write(written, position, &around);
            return match returned {
                Ok(length) => Outcome { returned: length as i64, ..Outcome::default() },
                Err(errno) => Outcome::failed(errno),
            };
        }
    };
    match done {
        Ok(data) => Outcome { returned: data.len() as i64, data, decision: None },
        Err(errno) => Outcome::failed(errno),
    }
}
