//! Playing a scenario: step after step, each a line.

use std::error::Error;

use knobgate_policy::Errno;

use crate::bytes::{Bytes, Hex};
use crate::line::{Details, Line};
use crate::place::{Answer, Outcome, Place, Refusal};
use crate::scenario::{Request, Scenario, Step};

/// The play of a scenario in one place: an iterator over its lines.
///
/// After an error, and where the kernel would crash, there are no more lines.
pub struct Play<'s> {
    scenario: &'s Scenario,
    place: Box<dyn Place + 's>,
    next: usize,
    loaded: Vec<bool>,
    attached: Vec<bool>,
    open: Vec<bool>,
    remarks: Vec<String>,
}

/// The place in which a scenario is played has failed: there is no saying what comes of the step.
#[derive(Debug, thiserror::Error)]
#[error("cannot play step {step}")]
pub struct PlayError {
    /// Which step, counted from 0.
    pub step: usize,
    /// Why.
    pub source: Box<dyn Error + Send + Sync>,
}

impl<'s> Play<'s> {
    pub(crate) fn new(scenario: &'s Scenario, place: impl Place + 's) -> Self {
        Self {
            scenario,
            place: Box::new(place),
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

    /// What there was to say of the steps until now that is not in their lines: all that the kernel's verifier, or its
    /// model, says of a program that it refuses.
    pub fn take_remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
    }

    /// Ends the play, with steps left or not, and leaves everything as it was before. Dropping the play does that as
    /// well, and cannot say what went wrong with it.
    ///
    /// # Errors
    ///
    /// Something could not be put back: on the running kernel, a knob that does not have its value again.
    pub fn finish(mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.place.finish()
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
            Err(Refusal::Errno(errno)) => line(false, Some(errno), Details::None {}),
            Err(Refusal::Load { errno, log }) => {
                self.remarks.push(format!("step {number}: {}", log.full));
                line(false, errno, Details::Refused { log: log.reason })
            }
            Err(Refusal::Fault(fault)) => line(false, None, Details::Fault { fault }),
            Err(Refusal::Crash(crash)) => {
                self.next = self.scenario.steps.len();
                line(false, None, Details::Crash { crash })
            }
            Err(Refusal::Broken(source)) => {
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

/// What is done with a descriptor that there is none of.
const EBADF: Refusal = Refusal::Errno(9);

/// More entries than are listed.
pub(crate) const E2BIG: Refusal = Refusal::Errno(7);

impl Play<'_> {
    fn play(&mut self, step: &Step) -> Answer<Details> {
        match step {
            &Step::Load { program } => self.load(program)?,
            &Step::Attach { attachment } => {
                let described = &self.scenario.attachments[attachment];
                self.load(described.program)?;
                if described.anchor.is_some_and(|anchor| !self.attached[anchor]) {
                    return Err(EBADF);
                }
                self.place.attach(attachment)?;
                self.attached[attachment] = true;
            }
            &Step::Update { attachment, program } => {
                self.load(program)?;
                self.must_be_attached(attachment)?;
                self.place.update(attachment, program)?;
            }
            &Step::Detach { attachment } => {
                self.must_be_attached(attachment)?;
                self.place.detach(attachment)?;
            }
            &Step::Effective { cgroup } => {
                let programs = self.place.effective(cgroup)?;
                let name = |program: usize| self.scenario.programs[program].name.clone();
                return Ok(Details::Effective { programs: programs.into_iter().map(name).collect() });
            }
            Step::Access { file, cgroup, position, request } => {
                return self.access(*file, *cgroup, *position, request);
            }
            &Step::Map { map } => {
                let entries = self.place.entries(map)?;
                if entries.len() > Scenario::LISTED_MAX as usize {
                    return Err(E2BIG);
                }
                let entries = entries.into_iter().map(|(key, value)| (Hex(key), Hex(value))).collect();
                return Ok(Details::Entries { entries });
            }
        }
        Ok(Details::None {})
    }

    /// Loads a program, unless it is.
    fn load(&mut self, program: usize) -> Answer<()> {
        if !self.loaded[program] {
            let stricter = self.place.load(program)?;
            self.loaded[program] = true;
            let (step, name) = (self.next - 1, &self.scenario.programs[program].name);
            self.remarks.extend(stricter.iter().map(|what| {
                format!("step {step}: {name}: the kernel cannot do all that the policy says: {what}")
            }));
        }
        Ok(())
    }

    fn must_be_attached(&self, attachment: usize) -> Answer<()> {
        if self.attached[attachment] { Ok(()) } else { Err(EBADF) }
    }

    fn access(
        &mut self,
        file: usize,
        cgroup: usize,
        position: Option<i64>,
        request: &Request,
    ) -> Answer<Details> {
        let described = &self.scenario.files[file];
        let done = self.on_descriptor(file, cgroup, position, request);
        if described.id.is_none() && self.open[file] {
            self.place.close(file);
        }
        let value = self.place.value(described.knob)?.map(Bytes);
        match done {
            Ok(Outcome { returned, data, position }) => {
                let is_read = matches!(request, Request::Read(_));
                let data = (is_read && returned >= 0).then_some(Bytes(data));
                Ok(Details::Access { ret: returned, data, pos: Some(position), value })
            }
            Err(Refusal::Errno(errno)) => {
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
    ) -> Answer<Outcome> {
        if !self.open[file] {
            self.place.open(file, cgroup)?;
            self.open[file] = true;
        }
        if let Some(position) = position {
            self.place.seek(file, position)?;
        }
        match request {
            Request::Read(count) => self.place.read(file, cgroup, *count),
            Request::Write(data) => self.place.write(file, cgroup, data),
        }
    }
}
