//! Playing a scenario: one line for each step.

use std::error::Error;

use knobgate_policy::Errno;

use crate::backend::{Backend, StepError, StepResult, SyscallResult};
use crate::bytes::{Bytes, Hex};
use crate::line::{Details, Line};
use crate::scenario::{Request, Scenario, Step};

/// A scenario being played on one backend: an iterator over its lines.
///
/// After an error, and where the kernel would crash, there are no more lines.
pub struct Play<'s> {
    scenario: &'s Scenario,
    backend: Box<dyn Backend + 's>,
    next: usize,
    loaded: Vec<bool>,
    attached: Vec<bool>,
    open: Vec<bool>,
    remarks: Vec<String>,
}

/// The backend has failed, so the step has no result.
#[derive(Debug, thiserror::Error)]
#[error("cannot play step {step}")]
#[non_exhaustive]
pub struct PlayError {
    /// Which step, counted from 0.
    pub step: usize,
    /// Why.
    pub source: Box<dyn Error + Send + Sync>,
}

impl<'s> Play<'s> {
    pub(crate) fn new(scenario: &'s Scenario, backend: impl Backend + 's) -> Self {
        Self {
            scenario,
            backend: Box::new(backend),
            next: 0,
            loaded: vec![false; scenario.programs.len()],
            attached: vec![false; scenario.attachments.len()],
            open: vec![false; scenario.files.len()],
            remarks: Vec::new(),
        }
    }

    #[cfg(feature = "kernel")]
    pub(crate) fn remark(&mut self, remark: String) {
        self.remarks.push(remark);
    }

    /// The remarks on the steps until now that are not in their lines: the whole message of the kernel's verifier, or of
    /// its model, about a program that it rejects.
    pub fn take_remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
    }

    /// Ends the play, whether or not steps are left, and restores everything. Dropping the play does that as well, but
    /// cannot report errors.
    ///
    /// # Errors
    ///
    /// Something could not be restored: on the running kernel, the value of a knob.
    pub fn finish(mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.backend.finish()
    }
}

impl Iterator for Play<'_> {
    type Item = Result<Line, PlayError>;

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.next;
        let step = self.scenario.steps.get(number)?;
        self.next += 1;
        let answer = self.play(step);
        let line = |ok, errno: Option<i32>, details| Line {
            step: number,
            ok,
            errno: errno.map(errno_name),
            details,
        };
        Some(Ok(match answer {
            Ok(Details::Access { ret, .. }) if ret < 0 => {
                let errno = i32::try_from(-ret).ok().filter(|errno| (1..=4095).contains(errno));
                line(false, errno, answer.unwrap_or(Details::None {}))
            }
            Ok(details) => line(true, None, details),
            Err(StepError::Errno(errno)) => line(false, Some(errno), Details::None {}),
            Err(StepError::Rejected { errno, log }) => {
                self.remarks.push(format!("step {number}: {}", log.full));
                line(false, errno, Details::Rejected { log: log.reason })
            }
            Err(StepError::Fault(fault)) => line(false, None, Details::Fault { fault }),
            Err(StepError::Crash(crash)) => {
                self.next = self.scenario.steps.len();
                line(false, None, Details::Crash { crash })
            }
            Err(StepError::Backend(source)) => {
                self.next = self.scenario.steps.len();
                return Some(Err(PlayError { step: number, source }));
            }
        }))
    }
}

/// The name of an errno; its number, where it has no name.
fn errno_name(errno: i32) -> String {
    let named = u32::try_from(errno).ok().and_then(Errno::from_number);
    named.map_or_else(|| errno.to_string(), |errno| errno.name().to_owned())
}

/// The descriptor or attachment does not exist.
const EBADF: StepError = StepError::Errno(9);

/// There are more entries than are listed.
pub(crate) const E2BIG: StepError = StepError::Errno(7);

impl Play<'_> {
    fn play(&mut self, step: &Step) -> StepResult<Details> {
        match step {
            &Step::Load { program } => self.load(program)?,
            &Step::Attach { attachment } => {
                let described = &self.scenario.attachments[attachment];
                self.load(described.program)?;
                if described.anchor.is_some_and(|anchor| !self.attached[anchor]) {
                    return Err(EBADF);
                }
                self.backend.attach(attachment)?;
                self.attached[attachment] = true;
            }
            &Step::Update { attachment, program } => {
                self.load(program)?;
                self.must_be_attached(attachment)?;
                self.backend.update(attachment, program)?;
            }
            &Step::Detach { attachment } => {
                self.must_be_attached(attachment)?;
                self.backend.detach(attachment)?;
            }
            &Step::Effective { cgroup } => {
                let programs = self.backend.effective(cgroup)?;
                let name = |program: usize| self.scenario.programs[program].name.clone();
                return Ok(Details::Effective { programs: programs.into_iter().map(name).collect() });
            }
            Step::Access { file, cgroup, position, request } => {
                return self.access(*file, *cgroup, *position, request);
            }
            &Step::Map { map } => {
                let entries = self.backend.entries(map)?;
                if entries.len() > Scenario::LISTED_MAX as usize {
                    return Err(E2BIG);
                }
                let entries = entries.into_iter().map(|(key, value)| (Hex(key), Hex(value))).collect();
                return Ok(Details::Entries { entries });
            }
        }
        Ok(Details::None {})
    }

    /// Loads a program, unless it is loaded.
    fn load(&mut self, program: usize) -> StepResult<()> {
        if !self.loaded[program] {
            let stricter = self.backend.load(program)?;
            self.loaded[program] = true;
            let (step, name) = (self.next - 1, &self.scenario.programs[program].name);
            self.remarks.extend(stricter.iter().map(|what| {
                format!("step {step}: {name}: the kernel cannot do all that the policy says: {what}")
            }));
        }
        Ok(())
    }

    fn must_be_attached(&self, attachment: usize) -> StepResult<()> {
        if self.attached[attachment] { Ok(()) } else { Err(EBADF) }
    }

    fn access(
        &mut self,
        file: usize,
        cgroup: usize,
        position: Option<i64>,
        request: &Request,
    ) -> StepResult<Details> {
        let described = &self.scenario.files[file];
        let result = self.on_descriptor(file, cgroup, position, request);
        if described.id.is_none() && self.open[file] {
            self.backend.close(file);
        }
        let value = self.backend.value(described.knob)?.map(Bytes);
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
        cgroup: usize,
        position: Option<i64>,
        request: &Request,
    ) -> StepResult<SyscallResult> {
        if !self.open[file] {
            self.backend.open(file, cgroup)?;
            self.open[file] = true;
        }
        if let Some(position) = position {
            self.backend.seek(file, position)?;
        }
        match request {
            Request::Read(count) => self.backend.read(file, cgroup, *count),
            Request::Write(data) => self.backend.write(file, cgroup, data),
        }
    }
}
