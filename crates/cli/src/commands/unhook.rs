//! `knobgate unhook`: have container engines and systemd do without this program, before it is removed.

mod daemon_json;
mod docker;
mod files;
mod found;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::failure::{BAD, Failure};
use crate::file_output::replace;
use crate::output::Output;
use crate::plural::count;
use crate::printable::printable_path;
use docker::DaemonJson;
use found::Found;

/// Undo what has container engines and systemd run this program, before it is removed
///
/// An engine that runs a program which is gone starts no container any more. So this removes what it finds that runs
/// /usr/bin/knobgate: OCI hooks (of Podman and CRI-O), links to it among the plugins of containerd, and the drop-ins of
/// `knobgate systemd-dropin`. In Docker's daemon.json, its runtimes become the runtimes that they wrap, because Docker does not
/// start a container whose runtime has no name; the file as it was is beside it.
///
/// The plugin itself, as the package's unit knobgate-nri.service, it only mentions: the unit goes with the package.
///
/// What it cannot undo, it prints: then it changes nothing, and the exit status is 1. Other files than these it does not look at.
/// Policies that are in force stay so.
///
/// The package runs this when it is removed.
///
/// Privileges: root.
#[derive(Debug, clap::Args)]
pub(crate) struct Unhook {
    /// Look in the file system of another machine, which is here
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// What the file as it was has behind its name.
const SAVED: &str = "before-knobgate-unhook";

impl Unhook {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        if !self.root.is_dir() {
            return Err(Failure::usage(format!("{} is no directory", printable_path(&self.root))));
        }
        let daemon_json = DaemonJson::read(&self.root)?;
        let found = Found::find(&self.root)?;
        let mut in_the_way = found.in_the_way;
        in_the_way.extend(docker::running(&self.root, &daemon_json.runtimes)?);
        if !in_the_way.is_empty() {
            for one in &in_the_way {
                output.report(one);
            }
            let need = if in_the_way.len() == 1 { "needs" } else { "need" };
            output.report(format_args!(
                "{} {need} knobgate, and only you can change that; nothing was changed",
                count(in_the_way.len(), "place")
            ));
            return Ok(ExitCode::from(BAD));
        }
        let mut changed = false;
        for file in &found.removable {
            std::fs::remove_file(file).map_err(|error| {
                Failure::machine(format!("cannot remove {}", printable_path(file))).because(error)
            })?;
            output.done(format_args!("removed {}", printable_path(file)));
            changed = true;
        }
        if let Some(text) = &daemon_json.changed {
            save(&daemon_json, text)?;
            output.done(format_args!(
                "changed {}, whose runtimes do without knobgate now; as it was: {}",
                printable_path(&daemon_json.path),
                printable_path(&saved(&daemon_json.path))
            ));
            output.note("a running Docker has to read it: systemctl reload docker");
            changed = true;
        }
        if found.nri_unit_runs {
            output.note(
                "knobgate-nri.service runs, which adds hooks to containers: systemctl disable --now knobgate-nri",
            );
            changed = true;
        }
        if !changed {
            output.report("nothing runs /usr/bin/knobgate");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn save(daemon_json: &DaemonJson, text: &str) -> Result<(), Failure> {
    let path = &daemon_json.path;
    let saved = saved(path);
    let cannot = |path: &Path| {
        let what = format!("cannot write {}", printable_path(path));
        move |error: std::io::Error| Failure::machine(what).because(error)
    };
    // With its mode.
    std::fs::copy(path, &saved).map_err(cannot(&saved))?;
    replace(path, |file| file.write_all(text.as_bytes())).map_err(cannot(path))
}

fn saved(path: &Path) -> PathBuf {
    path.with_added_extension(SAVED)
}

/// Whether this is the path of the program, as a package installs it, or a name that leads there.
fn is_knobgate(path: &str) -> bool {
    ["/usr/bin/knobgate", "/bin/knobgate", "knobgate"].contains(&path)
}
