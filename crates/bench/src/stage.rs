//! The place of the measurements: a process of its own in a cgroup and namespaces of its own, on one CPU.

use std::env;
use std::error::Error;
use std::process::{Command, ExitCode};

use knobgate_kernel::{
    Cgroup, Hierarchy, MachineAttachments, Namespaces, ScratchCgroup, start_inside, with_private_namespaces,
};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Says to the process in which cgroup it is.
const CGROUP: &str = "KNOBGATE_BENCH_CGROUP";

/// How the names of our cgroups begin.
const PREFIX: &str = "knobgate-bench-";

/// Where the measuring process is.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The cgroup that it is in, which has nobody else in it.
    pub(crate) here: Cgroup,
    /// One that nobody is in.
    pub(crate) elsewhere: Cgroup,
}

/// Starts this program again, on a stage, and waits for its end.
///
/// # Errors
///
/// The stage cannot be set up, or somebody else's programs are attached on this machine.
pub(crate) fn enter() -> Result<ExitCode, Box<dyn Error>> {
    let attachments = MachineAttachments::find()?;
    if !attachments.is_empty() {
        return Err(
            "programs of this type are attached on this machine: every access pays for them, so that \
                    nothing could be compared with it (knobgate list)"
                .into(),
        );
    }
    let root = Hierarchy::find()?.root()?;
    ScratchCgroup::remove_stale(&root, PREFIX);
    let stage = ScratchCgroup::create(&root, PREFIX)?;
    let (here, _elsewhere) = (stage.create("here")?, stage.create("elsewhere")?);
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).env(CGROUP, stage.path());
    start_inside(&mut command, &here)?;
    with_private_namespaces(
        &mut command,
        Namespaces { net: true, ipc: true, mount: true, ..Namespaces::default() },
    );
    let status = command.status()?;
    stage.finish()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Stage {
    /// Where this process is, if on a stage.
    ///
    /// # Errors
    ///
    /// The cgroups cannot be opened.
    pub(crate) fn find() -> Result<Option<Self>, Box<dyn Error>> {
        let Some(path) = env::var_os(CGROUP) else { return Ok(None) };
        let stage = Cgroup::open(path)?;
        Ok(Some(Self {
            here: Cgroup::open(stage.path().join("here"))?,
            elsewhere: Cgroup::open(stage.path().join("elsewhere"))?,
        }))
    }

    /// From now on this thread, and those that it starts, are on the last CPU alone.
    ///
    /// # Errors
    ///
    /// The CPU cannot be had.
    pub(crate) fn stay_on_one_cpu(&self) -> Result<(), Box<dyn Error>> {
        stay_on(|cpu, last| cpu == last)
    }

    /// From now on this thread is on the other CPUs.
    ///
    /// # Errors
    ///
    /// There are none.
    pub(crate) fn stay_on_other_cpus(&self) -> Result<(), Box<dyn Error>> {
        stay_on(|cpu, last| cpu != last)
    }
}

fn stay_on(is_wanted: impl Fn(usize, usize) -> bool) -> Result<(), Box<dyn Error>> {
    // Those of the machine: this thread may be on one already.
    let cpus = knobgate_kernel::possible_cpus().ok_or("the number of CPUs is not known")?;
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    let last = online.trim().rsplit(['-', ',']).next().and_then(|last| last.parse().ok());
    let last: usize = last.ok_or("it is not known which CPUs there are")?;
    let mut set = CpuSet::new();
    (0..cpus.min(CpuSet::MAX_CPU)).filter(|&cpu| is_wanted(cpu, last)).for_each(|cpu| set.set(cpu));
    Ok(sched_setaffinity(None, &set)?)
}
