//! One read or write of a knob, from the system call to the handler: `vfs_read` and `vfs_write` in fs/read_write.c,
//! `proc_sys_call_handler` in fs/proc/proc_sysctl.c, `__cgroup_bpf_run_filter_sysctl` in kernel/bpf/cgroup.c.

use std::sync::Arc;

use crate::access::{AccessResult, Request};
use crate::handler::{HandlerEnv, Written};
use crate::hook::{Hook, storage_of};
use crate::process::ProcessEntry;
use crate::program_list::EffectiveProgram;
use crate::run_array::ArrayItem;
use crate::{Errno, Invocation, Knob, OpenFile, ProcessId, ProgramFault, VALUE_BYTES, run_array};

/// `MAX_RW_COUNT`: no system call reads or writes more bytes.
const MAX_COUNT: usize = 0x7fff_f000;

impl Hook {
    /// Performs an access to an open knob at `position`, and moves the position.
    pub(crate) fn access(
        &mut self,
        process: ProcessId,
        file: &OpenFile,
        request: Request<'_>,
        position: &mut i64,
    ) -> Result<AccessResult, ProgramFault> {
        let name = file.name();
        let checked = self.check(process, name, request, *position);
        if let Err(errno) = checked {
            return Ok(AccessResult::failed(errno));
        }
        let request = match request {
            Request::Read(count) => Request::Read(count.min(MAX_COUNT)),
            Request::Write(bytes) => Request::Write(&bytes[..bytes.len().min(MAX_COUNT)]),
        };
        let programs = self.programs_for(process);
        let env = HandlerEnv { strict: self.writes_strict, profile: &self.profile };
        let (Some(knob), Some(entry)) = (self.knobs.get_mut(name), self.processes.get(&process)) else {
            return Ok(AccessResult::failed(Errno::ENOENT));
        };
        let Some(programs) = programs else { return Ok(handle(knob, request, None, position, env)) };

        let current = knob.handler.read(VALUE_BYTES, &mut 0, &env).unwrap_or_default();
        let (task, profile) = (&entry.process.task, &self.profile);
        let mut invocation = match request {
            Request::Read(_) => Invocation::read(name, &current, task, profile),
            Request::Write(bytes) => Invocation::write(name, &current, bytes, task, profile),
        };
        (invocation.position, invocation.set) = (*position, file.set);
        let filter = run_array::run(&programs, &mut invocation)?;
        *position = invocation.position;
        let mut result = if filter.retval != 0 {
            AccessResult { returned: filter.retval.into(), ..AccessResult::default() }
        } else {
            let replacement = invocation.new.as_deref().filter(|_| filter.replacement_applied);
            let after = if self.profile.rewrites_are_terminated {
                vec![0]
            } else {
                let mut after = std::mem::take(&mut invocation.after_new);
                let used = replacement.map_or(0, <[u8]>::len);
                after.resize(VALUE_BYTES.saturating_sub(used), self.stale_byte);
                after
            };
            let replacement = replacement.map(|bytes| Written { bytes, after: &after });
            handle(knob, request, replacement, position, env)
        };
        result.filter = Some(filter);
        Ok(result)
    }

    /// The checks that can fail an access before any program runs, in the kernel's order.
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
        let ProcessEntry { process, .. } = self.processes.get(&process).ok_or(Errno::ESRCH)?;
        if !knob.permits(&process.credentials, request.mode()) {
            return Err(Errno::EPERM);
        }
        match self.profile.size_limit {
            Some(limit) if request.count() >= limit => Err(Errno::ENOMEM),
            _ => Ok(()),
        }
    }

    /// The effective programs of a process. `None` if nothing is attached to any cgroup at all: then the kernel skips the
    /// hook, which would read the value once more.
    fn programs_for(&self, process: ProcessId) -> Option<Vec<ArrayItem>> {
        if !self.cgroups.any_attached() {
            return None;
        }
        let effective = self
            .processes
            .get(&process)
            .and_then(|entry| self.cgroups.get(entry.cgroup).ok())
            .map(|cgroup| cgroup.effective.as_slice())
            .unwrap_or_default();
        let running = |&effective: &EffectiveProgram| {
            Some(ArrayItem {
                effective,
                program: Arc::clone(self.programs.get(effective.program.0 as usize)?),
                storage: storage_of(&self.programs, effective.storage_of),
            })
        };
        Some(effective.iter().filter_map(running).collect())
    }
}

/// Calls the handler, with `replacement` as the written value if there is one.
fn handle(
    knob: &mut Knob,
    request: Request<'_>,
    replacement: Option<Written<'_>>,
    position: &mut i64,
    env: HandlerEnv<'_>,
) -> AccessResult {
    let result = match request {
        Request::Read(count) => knob.handler.read(count, position, &env),
        Request::Write(bytes) => {
            let written = replacement.unwrap_or(Written::terminated(bytes));
            let returned = knob.handler.write(written, position, &env);
            return match returned {
                Ok(length) => AccessResult { returned: length as i64, ..AccessResult::default() },
                Err(errno) => AccessResult::failed(errno),
            };
        }
    };
    match result {
        Ok(data) => AccessResult { returned: data.len() as i64, data, filter: None },
        Err(errno) => AccessResult::failed(errno),
    }
}
