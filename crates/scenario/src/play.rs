//! Playing a scenario: one line for each step.

mod access;
mod rejected;

use std::collections::BTreeMap;
use std::error::Error;

use knobgate_backend::{
    Backend, CgroupId, FileId, LinkId, MapId, Placement, ProcessId, ProgramId, RejectionLog, RelativeTo,
    StepError, StepResult,
};
use knobgate_bpf::uapi::MAX_ERRNO;
use knobgate_hook::machine::Coverage;
use knobgate_policy::Errno;

use crate::bytes::Hex;
use crate::expectation::Outcome;
#[cfg(feature = "kernel")]
use crate::kernel::MachineKnobs;
use crate::kernel_range::KernelVersion;
use crate::line::{Details, Line};
use crate::program_file::ProgramFile;
use crate::scenario::{Actor, MapRef, Scenario, Step};
use crate::unmodelled::{Cause, Situation, Unmodelled};
use rejected::Rejected;

/// A scenario being played on one backend: an iterator over its lines.
///
/// After an error, and where the kernel would crash, there are no more lines.
pub struct Play<'s> {
    scenario: &'s Scenario,
    backend: Box<dyn Backend>,
    kernel: KernelVersion,
    /// The knobs of the machine, which are restored after the backend has ended.
    #[cfg(feature = "kernel")]
    pub(crate) knobs: Option<MachineKnobs>,
    next: usize,
    /// By the scenario's indexes, like the following fields.
    maps: Vec<MapOrNotModelled>,
    cgroups: Vec<CgroupId>,
    programs: Vec<Option<ProgramId>>,
    /// The programs that the model has rejected, which it always does again. `None` on the running kernel.
    pub(crate) rejected: Option<BTreeMap<usize, Rejected>>,
    attached: Vec<Option<RelativeTo>>,
    files: Vec<Option<FileId>>,
    processes: Vec<Option<ProcessId>>,
    /// The cgroups that the processes are in now.
    cgroups_of: Vec<usize>,
    unmodelled: Unmodelled,
    remarks: Vec<String>,
    /// Programs that are loaded and have no line information.
    without_lines: Vec<usize>,
    verify_command: Option<VerifyCommand>,
}

/// The command that prints the whole log of the kernel's verifier for the program of a file.
type VerifyCommand = Box<dyn Fn(&ProgramFile) -> String>;

/// A map of the scenario, or what the model lacks of it.
pub(crate) type MapOrNotModelled = Result<MapId, String>;

/// The name of processes that have no other.
pub(crate) const COMM: &[u8] = b"scenario";

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
    /// On a backend that has the scenario's maps and cgroups, and its knobs.
    pub(crate) fn new(
        scenario: &'s Scenario,
        backend: impl Backend + 'static,
        kernel: KernelVersion,
        maps: Vec<MapOrNotModelled>,
        cgroups: Vec<CgroupId>,
    ) -> Self {
        Self {
            scenario,
            backend: Box::new(backend),
            kernel,
            #[cfg(feature = "kernel")]
            knobs: None,
            next: 0,
            maps,
            cgroups,
            programs: vec![None; scenario.programs.len()],
            rejected: None,
            attached: vec![None; scenario.attachments.len()],
            files: vec![None; scenario.files.len()],
            processes: vec![None; scenario.processes.len()],
            cgroups_of: scenario.processes.iter().map(|process| process.cgroup).collect(),
            unmodelled: Unmodelled::default(),
            remarks: Vec::new(),
            without_lines: Vec::new(),
            verify_command: None,
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

    /// Has remarks that leave out lines of the verifier's log end with a command that prints all of it.
    pub fn set_verify_command(&mut self, command: impl Fn(&ProgramFile) -> String + 'static) {
        self.verify_command = Some(Box::new(command));
    }

    /// Which source lines of the programs have run until now. On the running kernel, `None`: nobody counts there.
    pub fn coverage(&self) -> Option<Coverage> {
        self.backend.coverage()
    }

    /// The names of the programs that were loaded and have no source lines.
    pub fn without_lines(&self) -> impl Iterator<Item = &str> {
        self.without_lines.iter().map(|&program| self.scenario.programs[program].name.as_str())
    }

    /// Compares a line with what its step expects on this kernel.
    pub fn outcome(&self, line: &Line) -> Outcome {
        let expectations = &self.scenario.expectations[line.step];
        match expectations.on(self.kernel) {
            Some(expectation) => expectation.compare(line),
            None if expectations.is_empty() => Outcome::Unchecked,
            None => Outcome::OtherKernel,
        }
    }

    /// Ends the play, whether or not steps are left, and restores everything. Dropping the play does that as well, but
    /// cannot report errors.
    ///
    /// # Errors
    ///
    /// Something could not be restored: on the running kernel, the value of a knob.
    pub fn finish(mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let finished = self.backend.finish();
        #[cfg(feature = "kernel")]
        if let Some(mut knobs) = self.knobs.take() {
            knobs.restore()?;
        }
        finished
    }
}

impl Iterator for Play<'_> {
    type Item = Result<Line, PlayError>;

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.next;
        let step = self.scenario.steps.get(number)?;
        self.next += 1;
        let answer = self.play_unless_unmodelled(step);
        let line = |ok, errno: Option<String>, details| Line { step: number, ok, errno, details };
        Some(Ok(match answer {
            Ok(Details::Skipped { .. }) => line(false, None, answer.unwrap_or(Details::None {})),
            Ok(Details::Access { ret, .. }) if ret < 0 => {
                let errno = i32::try_from(-ret).ok().filter(|errno| (1..=MAX_ERRNO).contains(errno));
                let errno = errno.and_then(|errno| StepError::Errno(errno).errno_name());
                line(false, errno, answer.unwrap_or(Details::None {}))
            }
            Ok(details) => line(true, None, details),
            Err(error @ StepError::Errno(_)) => line(false, error.errno_name(), Details::None {}),
            Err(ref error @ StepError::Rejected { ref log, .. }) => {
                self.remarks.push(format!(
                    "step {number}: {}{}",
                    log.full,
                    self.rest_of_log(step, log.omitted)
                ));
                line(false, error.errno_name(), Details::Rejected { log: log.reason.clone() })
            }
            Err(StepError::NotModelled(not_modelled)) => {
                line(false, None, Details::NotModelled { not_modelled })
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

impl Play<'_> {
    /// Plays a step, unless what the kernel does depends on what is not modelled.
    fn play_unless_unmodelled(&mut self, step: &Step) -> StepResult<Details> {
        let running = match step {
            Step::Access { by, .. } if !self.unmodelled.is_empty() => self.running(*by)?,
            _ => Vec::new(),
        };
        let situation =
            Situation { scenario: self.scenario, cgroups_of: &self.cgroups_of, running: &running };
        if let Some(cause) = self.unmodelled.behind(step, &situation) {
            self.unmodelled.skipped(step, cause, &situation);
            let what = match cause {
                Cause::Program(program) => self.scenario.programs[program].name.clone(),
                Cause::Access(step) => format!("step {step}"),
            };
            return Ok(Details::Skipped { skipped: format!("it depends on {what}, which is not modelled") });
        }
        let played = self.play(step);
        if let Err(StepError::NotModelled(_)) = played {
            let running = match step {
                Step::Access { by, .. } => self.running(*by)?,
                _ => Vec::new(),
            };
            let situation =
                Situation { scenario: self.scenario, cgroups_of: &self.cgroups_of, running: &running };
            match self.scenario.loaded_by(step) {
                Some(program) => self.unmodelled.not_modelled(step, program, &situation),
                None => self.unmodelled.skipped(step, Cause::Access(self.next - 1), &situation),
            }
        }
        played
    }

    /// The programs of the scenario that run for accesses like this.
    fn running(&mut self, by: Actor) -> StepResult<Vec<usize>> {
        let cgroup = match by {
            Actor::InCgroup(cgroup) => cgroup,
            Actor::Process(process) => self.cgroups_of[process],
        };
        let running = self.backend.effective(self.cgroups[cgroup])?;
        let index = |id| self.programs.iter().position(|program| *program == Some(id));
        Ok(running.into_iter().filter_map(index).collect())
    }

    /// Where the rest of the verifier's log is, of which so many lines are left out.
    fn rest_of_log(&self, step: &Step, omitted: usize) -> String {
        let file = self.scenario.loaded_by(step).and_then(|program| self.scenario.programs[program].file());
        let command = self.verify_command.as_ref().zip(file).map(|(command, file)| command(&file));
        match (omitted, command) {
            (0, _) => String::new(),
            (omitted, Some(command)) => format!("\n({omitted} more lines of the log: {command})"),
            (omitted, None) => format!("\n({omitted} more lines of the log are left out)"),
        }
    }

    fn play(&mut self, step: &Step) -> StepResult<Details> {
        match step {
            &Step::Load { program } => {
                self.load(program)?;
            }
            &Step::Attach { attachment } => self.attach(attachment)?,
            &Step::Update { attachment, program } => {
                let program = self.load(program)?;
                self.backend.update_link(self.link(attachment)?, program)?;
            }
            &Step::Detach { attachment } => match self.attached(attachment)? {
                RelativeTo::Link(link) => self.backend.detach_link(link)?,
                RelativeTo::Program(program) => {
                    let cgroup = self.scenario.attachments[attachment].cgroup;
                    self.backend.detach(self.cgroups[cgroup], program)?;
                }
            },
            &Step::Effective { cgroup } => {
                let programs = self.backend.effective(self.cgroups[cgroup])?;
                let index = |id| self.programs.iter().position(|program| *program == Some(id));
                let name = |index: usize| self.scenario.programs[index].name.clone();
                return Ok(Details::Effective {
                    programs: programs.into_iter().filter_map(index).map(name).collect(),
                });
            }
            Step::Access { file, by, position, request } => {
                return self.access(*file, *by, *position, request);
            }
            &Step::Move { process, cgroup } => {
                let id = self.process(process)?;
                self.backend.move_process(id, self.cgroups[cgroup])?;
                self.cgroups_of[process] = cgroup;
            }
            &Step::Map { map } => {
                let map = match map {
                    MapRef::Shared(map) => self.map_id(map)?,
                    MapRef::Own { program, map } => {
                        self.backend.maps(self.programs[program].ok_or(Errno::EBADF)?)?[map]
                    }
                };
                let entries = self.backend.entries_of_cpu(map)?;
                let entries = entries.into_iter().map(|(key, value)| (Hex(key), Hex(value))).collect();
                return Ok(Details::Entries { entries });
            }
        }
        Ok(Details::None {})
    }

    /// Loads a program, unless it is loaded.
    fn load(&mut self, program: usize) -> StepResult<ProgramId> {
        if let Some(loaded) = self.programs[program] {
            return Ok(loaded);
        }
        if let Some(rejected) = self.rejected.as_ref().and_then(|all| all.get(&program)) {
            return Err(rejected.clone().into());
        }
        let loaded = self.load_anew(program);
        if let (Some(all), Err(error)) = (&mut self.rejected, &loaded)
            && let Some(rejected) = Rejected::of(error)
        {
            all.insert(program, rejected);
        }
        loaded
    }

    fn load_anew(&mut self, program: usize) -> StepResult<ProgramId> {
        let described = &self.scenario.programs[program];
        let made = described.make(&self.backend.features()).map_err(|error| {
            let full = format!("{}: {error}", described.name);
            StepError::Rejected {
                errno: None,
                log: RejectionLog { reason: error.to_string(), full, omitted: 0 },
            }
        })?;
        let maps = |shared: Vec<usize>| shared.into_iter().map(|map| self.map_id(map)).collect();
        let shared: Option<Vec<MapId>> = made.shared.map(maps).transpose()?;
        let id = self.backend.load_as(&made.program, shared.as_deref(), made.expected_attach_type)?;
        self.programs[program] = Some(id);
        if made.program.lines.entries.is_empty() {
            self.without_lines.push(program);
        }
        let (step, name) = (self.next - 1, &described.name);
        self.remarks.extend(made.stricter.iter().map(|what| {
            format!("step {step}: {name}: the kernel cannot do all that the policy says: {what}")
        }));
        Ok(id)
    }

    fn map_id(&self, map: usize) -> StepResult<MapId> {
        self.maps[map].clone().map_err(StepError::NotModelled)
    }

    fn attach(&mut self, attachment: usize) -> StepResult<()> {
        let described = &self.scenario.attachments[attachment];
        let program = self.load(described.program)?;
        let flags = described.flags;
        let relative_to = described.relative_to.map(|attachment| self.attached(attachment)).transpose()?;
        let placement = Placement {
            preorder: flags.preorder,
            before: flags.before,
            after: flags.after,
            relative_to: relative_to.filter(|_| !flags.replace),
            attach_type: described.attach_type,
            replaced: described
                .relative_to
                .filter(|_| flags.replace)
                .and_then(|replaced| self.programs[self.scenario.attachments[replaced].program]),
        };
        let cgroup = self.cgroups[described.cgroup];
        self.attached[attachment] = Some(match described.mode {
            None => RelativeTo::Link(self.backend.link(cgroup, program, &placement)?),
            Some(mode) => {
                self.backend.attach(cgroup, program, mode, &placement)?;
                RelativeTo::Program(program)
            }
        });
        Ok(())
    }

    fn attached(&self, attachment: usize) -> StepResult<RelativeTo> {
        Ok(self.attached[attachment].ok_or(Errno::EBADF)?)
    }

    fn link(&self, attachment: usize) -> StepResult<LinkId> {
        match self.attached(attachment)? {
            RelativeTo::Link(link) => Ok(link),
            RelativeTo::Program(_) => Err(Errno::EBADF.into()),
        }
    }

    /// Starts a process, unless it runs.
    fn process(&mut self, process: usize) -> StepResult<ProcessId> {
        if let Some(started) = self.processes[process] {
            return Ok(started);
        }
        let described = &self.scenario.processes[process];
        let cgroup = self.cgroups[described.cgroup];
        let started = self.backend.start_process(cgroup, &described.task, described.pid)?;
        Ok(*self.processes[process].insert(started))
    }
}
