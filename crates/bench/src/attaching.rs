//! What `knobgate attach` takes for each of many cgroups.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use knobgate_bench::PolicyText;
use rustix::mount::{MountFlags, mount};

use crate::stage::Stage;
use crate::statistics::Spread;
use crate::timing::{milliseconds, time};

const ROUNDS: usize = 11;
const CGROUPS: usize = 1_000;

/// One command for many cgroups.
#[derive(Debug)]
pub(crate) struct Attaching {
    /// How many cgroups.
    pub(crate) cgroups: usize,
    /// Milliseconds to attach a policy to one.
    pub(crate) one: Spread,
    /// Milliseconds to attach it to all.
    pub(crate) all: Spread,
    /// Milliseconds to replace it on all.
    pub(crate) replaced: Spread,
}

impl Attaching {
    /// Microseconds for each cgroup more, in a command that takes this long for all.
    pub(crate) fn for_each(&self, all: Spread) -> f64 {
        (all.median - self.one.median) * 1e3 / (self.cgroups - 1) as f64
    }
}

/// Times it, with a bpffs that nobody else sees.
///
/// # Errors
///
/// There can be no bpffs or cgroup, or the command fails.
pub(crate) fn measure(knobgate: &Path, stage: &Stage) -> Result<Attaching, Box<dyn Error>> {
    mount("bpf", "/sys/fs/bpf", "bpf", MountFlags::empty(), None)?;
    let policies = tempfile::tempdir()?;
    let policy = |rules: usize| -> Result<PathBuf, Box<dyn Error>> {
        let path = policies.path().join(format!("{rules}.knob"));
        std::fs::write(&path, PolicyText::of_literals(rules, "read write", "").text())?;
        Ok(path)
    };
    let (first, second) = (policy(10)?, policy(11)?);
    let cgroups = (0..CGROUPS)
        .map(|number| stage.elsewhere.create(number.to_string()).map(|cgroup| cgroup.path().to_owned()))
        .collect::<Result<Vec<PathBuf>, _>>()?;
    let attach = |policy: &Path, cgroups: &[PathBuf]| {
        let mut command = Command::new(knobgate);
        command.args(["attach", "--name", "bench", "--policy"]).arg(policy);
        command.args(cgroups.iter().flat_map(|cgroup| ["--cgroup".as_ref(), cgroup.as_os_str()]));
        time(&mut command).map(milliseconds)
    };
    let detach = || time(Command::new(knobgate).args(["detach", "bench"]));

    let (mut one, mut all, mut replaced) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        one.push(attach(&first, &cgroups[..1])?);
        detach()?;
        all.push(attach(&first, &cgroups)?);
        replaced.push(attach(&second, &cgroups)?);
        detach()?;
    }
    cgroups.iter().try_for_each(std::fs::remove_dir)?;
    let [one, all, replaced] = [one, all, replaced].map(Spread::of);
    Ok(Attaching { cgroups: CGROUPS, one, all, replaced })
}
