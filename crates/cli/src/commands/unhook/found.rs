//! What runs knobgate, besides Docker.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::{entries, read};
use super::is_knobgate;
use crate::commands::systemd_dropin::DROP_IN_MARK;
use crate::failure::Failure;
use crate::printable::{printable, printable_path};

/// Where Podman and CRI-O look for hooks: oci-hooks(5).
const HOOKS: [&str; 2] = ["etc/containers/oci/hooks.d", "usr/share/containers/oci/hooks.d"];
/// Where containerd and CRI-O look for plugins that they start.
const NRI_PLUGINS: &str = "opt/nri/plugins";
/// The units of an administrator, with their drop-ins.
const UNITS: &str = "etc/systemd/system";
/// The files of engines that may name knobgate in one of their lines, and directories of such files.
const CONFIGURATION: [&str; 10] = [
    "etc/containerd/config.toml",
    "etc/containerd/conf.d",
    "etc/crio/crio.conf",
    "etc/crio/crio.conf.d",
    "etc/containers/containers.conf",
    "etc/containers/containers.conf.d",
    "etc/lxc",
    "etc/lxc/common.conf.d",
    "usr/share/lxc/config",
    "usr/share/lxc/config/common.conf.d",
];
/// Each container of LXC has a directory with its `config`.
const LXC_CONTAINERS: &str = "var/lib/lxc";
/// Where the package has the program.
const PROGRAM: &str = "/usr/bin/knobgate";
/// Where the package has what hooks refer to.
const OURS: &str = "/usr/share/knobgate/";
/// The package's unit of the plugin, as the last part of the path of its cgroup.
const NRI_UNIT: &str = "/knobgate-nri.service";
/// Pins of programs, which units refer to.
const PINS: &str = "/sys/fs/bpf/knobgate/";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The files without which it is not run.
    pub(super) removable: Vec<PathBuf>,
    /// What has to be changed by hand, a line for each.
    pub(super) in_the_way: Vec<String>,
    /// Whether the package's unit of the plugin runs, which is stopped with the package.
    pub(super) nri_unit_runs: bool,
}

#[derive(Deserialize)]
struct HookFile {
    hook: Hook,
}

#[derive(Deserialize)]
struct Hook {
    path: String,
}

impl Found {
    /// Looks for it below a root.
    ///
    /// # Errors
    /// [`Failure::Machine`] if a file or a directory cannot be read.
    pub(super) fn find(root: &Path) -> Result<Self, Failure> {
        let mut found = Self::default();
        for directory in HOOKS {
            for file in entries(&root.join(directory))? {
                let is_link = fs::read_link(&file).is_ok_and(|target| target.starts_with(OURS));
                if is_link || is_hook(&file)? {
                    found.removable.push(file);
                }
            }
        }
        let plugins = entries(&root.join(NRI_PLUGINS))?.into_iter();
        found.removable.extend(plugins.filter(|plugin| {
            fs::read_link(plugin).is_ok_and(|target| target.to_str().is_some_and(is_knobgate))
        }));
        found.look_at_units(root)?;
        for place in CONFIGURATION {
            let place = root.join(place);
            let files = if place.is_dir() { entries(&place)? } else { vec![place] };
            for file in files {
                found.mentions(&file, |line| line.contains("knobgate"))?;
            }
        }
        for container in entries(&root.join(LXC_CONTAINERS))? {
            let runs = |line: &str| [PROGRAM, OURS].iter().any(|path| line.contains(path));
            found.mentions(&container.join("config"), runs)?;
        }
        found.look_at_plugins(root)?;
        Ok(found)
    }

    fn look_at_units(&mut self, root: &Path) -> Result<(), Failure> {
        for entry in entries(&root.join(UNITS))? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            // The package's own units go with it.
            if name.starts_with("knobgate") || name.ends_with(".wants") || name.ends_with(".requires") {
                continue;
            }
            let files = if entry.is_dir() { entries(&entry)? } else { vec![entry] };
            for file in files {
                // Such as one that is masked, or enabled elsewhere.
                if file.is_symlink() {
                    continue;
                }
                let needs = |line: &str| [PINS, PROGRAM, OURS].iter().any(|path| line.contains(path));
                match read(&file)? {
                    Some(text) if text.starts_with(DROP_IN_MARK) => self.removable.push(file),
                    _ => self.mentions(&file, needs)?,
                }
            }
        }
        Ok(())
    }

    /// Remembers the lines of a file, without comments, for which this holds.
    fn mentions(&mut self, file: &Path, holds: impl Fn(&str) -> bool) -> Result<(), Failure> {
        let text = read(file)?.unwrap_or_default();
        let is_comment = |line: &str| line.trim_start().starts_with(['#', ';']);
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !is_comment(line) && holds(line)) {
            let (file, line) = (printable_path(file), printable(line.trim()).into_owned());
            self.in_the_way.push(format!("{file}:{}: remove this line: {line}", index + 1));
        }
        Ok(())
    }

    /// The processes `knobgate nri`, which add hooks to containers as long as they run.
    fn look_at_plugins(&mut self, root: &Path) -> Result<(), Failure> {
        for process in entries(&root.join("proc"))? {
            let pid = process.file_name().unwrap_or_default().to_string_lossy();
            if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            // The process may have ended. After an upgrade, its program has this behind its name.
            let is_ours = fs::read_link(process.join("exe")).is_ok_and(|program| {
                program.to_str().is_some_and(|program| is_knobgate(program.trim_end_matches(" (deleted)")))
            });
            let command = fs::read(process.join("cmdline")).unwrap_or_default();
            if !is_ours || command.split(|byte| *byte == 0).nth(1) != Some(b"nri") {
                continue;
            }
            let cgroups = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
            if cgroups.lines().any(|line| line.ends_with(NRI_UNIT)) {
                self.nri_unit_runs = true;
            } else {
                self.in_the_way.push(format!(
                    "process {pid} is `knobgate nri`, which adds hooks to containers: stop it, and keep it from starting again"
                ));
            }
        }
        Ok(())
    }
}

/// Whether this is a file that has an engine run knobgate as a hook.
fn is_hook(file: &Path) -> Result<bool, Failure> {
    let text = read(file)?.unwrap_or_default();
    // An engine does not read what is no such file either.
    Ok(serde_json::from_str::<HookFile>(&text).is_ok_and(|file| is_knobgate(&file.hook.path)))
}
