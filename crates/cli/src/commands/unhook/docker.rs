//! What there is of knobgate in Docker.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::daemon_json::without_knobgate;
use super::files::{entries, read, read_bytes};
use crate::failure::Failure;
use crate::printable::{printable, printable_path};

/// Docker's configuration.
#[derive(Debug)]
pub(super) struct DaemonJson {
    pub(super) path: PathBuf,
    /// The names of the runtimes that are knobgate.
    pub(super) runtimes: Vec<String>,
    /// The text without these; `None` if it has none.
    pub(super) changed: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    runtime: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    name: String,
    state: State,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
}

impl DaemonJson {
    /// Reads it. A file that is missing has no runtimes, and neither has one that does not mention knobgate.
    ///
    /// # Errors
    /// [`Failure::Machine`]; [`Failure::Bad`] if it is not the JSON that it should be.
    pub(super) fn read(root: &Path) -> Result<Self, Failure> {
        let path = root.join("etc/docker/daemon.json");
        let bytes = read_bytes(&path)?.unwrap_or_default();
        if !String::from_utf8_lossy(&bytes).contains("knobgate") {
            return Ok(Self { path, runtimes: Vec::new(), changed: None });
        }
        let cannot = |error: &dyn Error| {
            let what = format!("cannot change {}", printable_path(&path));
            Failure::bad(what)
                .because(format!("{error}; remove the runtimes from it that run knobgate, and reload Docker"))
        };
        let text = str::from_utf8(&bytes).map_err(|error| cannot(&error))?;
        let changes = without_knobgate(text).map_err(|error| cannot(&error))?;
        Ok(Self { path, runtimes: changes.runtimes, changed: changes.text })
    }
}

/// The containers that run with one of these runtimes: Docker needs it to stop them. One for each line.
///
/// # Errors
/// [`Failure::Machine`].
pub(super) fn running(root: &Path, runtimes: &[String]) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    if runtimes.is_empty() {
        return Ok(lines);
    }
    for directory in entries(&root.join("var/lib/docker/containers"))? {
        // A container may be removed in the meantime, and what cannot be read is none that runs.
        let member = |file: &str| read(&directory.join(file)).ok().flatten();
        let (Some(host), Some(config)) = (member("hostconfig.json"), member("config.v2.json")) else {
            continue;
        };
        let (Ok(host), Ok(config)) =
            (serde_json::from_str::<HostConfig>(&host), serde_json::from_str::<Config>(&config))
        else {
            continue;
        };
        if config.state.running && runtimes.contains(&host.runtime) {
            let name = printable(config.name.trim_start_matches('/')).into_owned();
            lines.push(format!(
                "the container {name} of Docker runs with the runtime \"{}\", which Docker needs to stop it: docker stop {name}",
                printable(&host.runtime)
            ));
        }
    }
    Ok(lines)
}
