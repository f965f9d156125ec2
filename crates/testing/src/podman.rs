//! Podman, for tests.

use std::io::Result;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use crate::engines::{IMAGE, output, program, write_image};

/// A Podman that this test has for itself, with [`IMAGE`]. Its containers end when this is dropped.
///
/// It has its directories where every Podman of root has them, so the test first makes a [`fresh_machine`](crate::fresh_machine).
#[derive(Debug)]
pub struct Podman {
    /// The OCI runtime: a name or a path.
    runtime: String,
}

/// The directory of its settings.
const SETTINGS: &str = "/run/podman-settings";

impl Podman {
    /// The options of `podman run` with which containers can start everywhere. The default limits need a privilege
    /// (`CAP_SYS_RESOURCE`) and a controller that tests may not have.
    pub const RUN_OPTIONS: [&str; 6] = ["--network", "none", "--ulimit", "host", "--pids-limit", "0"];

    /// Imports the image. Containers are started with `runtime`: `runc`, or a path.
    ///
    /// # Errors
    ///
    /// Podman fails.
    pub fn start(runtime: &str) -> Result<Self> {
        fs::create_dir_all(Path::new(SETTINGS).join("hooks"))?;
        for file in ["containers.conf", "storage.conf", "registries.conf"] {
            fs::write(Path::new(SETTINGS).join(file), if file == "storage.conf" { STORAGE } else { "" })?;
        }
        let podman = Self { runtime: runtime.to_owned() };
        let image = write_image(Path::new(SETTINGS))?;
        output(podman.command(["import"]).arg(image).arg(IMAGE))?;
        Ok(podman)
    }

    /// `podman` with these arguments. The machine's own settings do not count.
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(program("podman").unwrap_or_else(|| "podman".into()));
        let containers = env::vars_os().map(|(name, _)| name);
        for name in containers.filter(|name| name.to_string_lossy().starts_with("CONTAINER")) {
            command.env_remove(name);
        }
        for (name, file) in [
            ("CONTAINERS_CONF", "containers.conf"),
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
            ("CONTAINERS_REGISTRIES_CONF", "registries.conf"),
        ] {
            command.env(name, Path::new(SETTINGS).join(file));
        }
        // Its warnings about controllers, which others take away and give back meanwhile, would be among what containers print.
        command.args(["--log-level=error", "--cgroup-manager=cgroupfs", "--events-backend=none"]);
        command.args(["--runtime", &self.runtime]);
        command.arg("--hooks-dir").arg(Path::new(SETTINGS).join("hooks")).args(arguments);
        command
    }

    /// The directory for files of hooks, which is empty at first.
    pub fn hooks(&self) -> &'static Path {
        Path::new("/run/podman-settings/hooks")
    }

    /// `podman run` with these options: a container with [`IMAGE`] that runs a script. It has a writable `/proc/sys` and no network, and
    /// is below the cgroup `parent`, which is the name of one in the hierarchy, with a slash in front.
    pub fn run(&self, parent: &Path, options: &[&str], script: &str) -> Command {
        let mut command = self.command(["run", "--cgroup-parent"]);
        command
            .arg(parent)
            .args(Self::RUN_OPTIONS)
            .args(["--security-opt", "unmask=/proc/sys"])
            .args(options)
            .args([IMAGE, "sh", "-c", script]);
        command
    }

    /// Starts a container in the background. Its id.
    ///
    /// # Errors
    ///
    /// Podman fails.
    pub fn start_container(&self, name: &str, parent: &Path, script: &str) -> Result<String> {
        output(&mut self.run(parent, &["--detach", "--name", name], script))
    }
}

/// Podman wants to know at least these.
const STORAGE: &str = "[storage]\ndriver = \"overlay\"\ngraphroot = \"/var/lib/containers/storage\"\n\
                       runroot = \"/run/containers/storage\"\n";

impl Drop for Podman {
    fn drop(&mut self) {
        if let Err(error) = output(&mut self.command(["rm", "--all", "--force", "--time", "0"])) {
            eprintln!("{error}");
        }
    }
}
