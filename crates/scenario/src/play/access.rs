//! Reads and writes.

use knobgate_backend::{StepError, StepResult, SyscallResult, Task};
use knobgate_hook::AccessMode;

use super::{COMM, Play};
use crate::bytes::Bytes;
use crate::line::Details;
use crate::scenario::{Actor, Request};

impl Play<'_> {
    pub(super) fn access(
        &mut self,
        file: usize,
        by: Actor,
        position: Option<i64>,
        request: &Request,
    ) -> StepResult<Details> {
        let described = &self.scenario.files[file];
        let result = self.on_descriptor(file, by, position, request);
        if !described.has_id
            && let Some(file) = self.files[file].take()
        {
            self.backend.close(file)?;
        }
        let value = self.backend.value(&self.scenario.knobs[described.knob].name)?.map(Bytes);
        match result {
            Ok(SyscallResult { returned, data, position }) => {
                let is_read = matches!(request, Request::Read(_));
                let data = (is_read && returned >= 0).then_some(Bytes(data));
                Ok(Details::Access { ret: returned, data, pos: Some(position), value })
            }
            Err(StepError::Errno(errno)) => {
                Ok(Details::Access { ret: -i64::from(errno), data: None, pos: None, value })
            }
            Err(other) => Err(other),
        }
    }

    fn on_descriptor(
        &mut self,
        file: usize,
        by: Actor,
        position: Option<i64>,
        request: &Request,
    ) -> StepResult<SyscallResult> {
        let by = match by {
            Actor::InCgroup(cgroup) => {
                let cgroup = self.cgroups[cgroup];
                self.backend.set_task(cgroup, &Task { comm: COMM.to_vec(), ..Task::default() })?;
                Ok(cgroup)
            }
            Actor::Process(process) => Err(self.process(process)?),
        };
        let file = match self.files[file] {
            Some(file) => file,
            None => {
                let described = &self.scenario.files[file];
                let mode = match (described.reads, described.writes) {
                    (true, true) => AccessMode::ReadWrite,
                    (false, true) => AccessMode::Write,
                    (_, false) => AccessMode::Read,
                };
                let knob = &self.scenario.knobs[described.knob].name;
                let opened = match by {
                    Ok(cgroup) => self.backend.open(knob, mode, cgroup),
                    Err(process) => self.backend.open_by(process, knob, mode),
                };
                *self.files[file].insert(opened?)
            }
        };
        if let Some(position) = position {
            self.backend.seek(file, position)?;
        }
        let request = match request {
            Request::Read(count) => knobgate_backend::Request::Read { count: *count, fill: 0 },
            Request::Write(data) => knobgate_backend::Request::Write(data),
        };
        match by {
            Ok(cgroup) => self.backend.access(file, cgroup, request, None),
            Err(process) => self.backend.access_by(process, file, request, None),
        }
    }
}
