//! Docker's engine, for tests.

use std::fs::File;
use std::io::{Error, Result};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use knobgate_kernel::ProcessId;
use rustix::process::{Signal, WaitOptions};

use crate::engines::{IMAGE, output, program, write_image};
use crate::processes::Reaped;

/// A `dockerd` that this test has for itself, with [`IMAGE`]. It ends when this is dropped, with all of its containers.
///
/// It has its directories where every Docker has them, so the test first makes a [`fresh_machine`](crate::fresh_machine). It
/// configures no network.
#[derive(Debug)]
pub struct Docker {
    daemon: Reaped,
}

/// Where the daemon listens.
const SOCKET: &str = "/run/docker.sock";
/// What it logs.
const LOG: &str = "/run/dockerd.log";
/// The process id of the daemon's containerd.
const CONTAINERD_PID: &str = "/run/docker/containerd/containerd.pid";
/// The directory of the client's settings, and of the daemon's.
const SETTINGS: &str = "/run/docker-settings";

/// The options of `docker run` with which containers can start everywhere, and have a writable `/proc/sys`.
const RUN: &[&str] = &["--network", "none", "--security-opt", "systempaths=unconfined"];

impl Docker {
    /// Starts the daemon. `settings` is what its `daemon.json` has, for example `{"runtimes": …}`.
    ///
    /// # Errors
    ///
    /// It does not start, or the image cannot be imported.
    pub fn start(settings: &str) -> Result<Self> {
        let mut docker = Self { daemon: Reaped(spawn(settings)?) };
        docker.wait()?;
        let image = write_image(Path::new(SETTINGS))?;
        output(docker.command(["import"]).arg(image).arg(IMAGE))?;
        Ok(docker)
    }

    /// Ends the daemon. It ends its containers, unless its settings say otherwise.
    pub fn stop(&mut self) {
        let start = Instant::now();
        let _ = ProcessId::of_child(&self.daemon.0).send(Signal::TERM);
        while matches!(self.daemon.0.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }

    /// Kills the daemon. Containers keep running.
    pub fn kill(&mut self) {
        let _ = self.daemon.0.kill();
        let _ = self.daemon.0.wait();
        // Its containerd is killed with it. The test is the init process that has to reap it: the next daemon takes a zombie for a
        // running containerd.
        let pid = fs::read_to_string(CONTAINERD_PID).ok().and_then(|pid| pid.trim().parse::<u32>().ok());
        let Some(containerd) = pid.and_then(ProcessId::new) else { return };
        let start = Instant::now();
        while let Ok(None) = containerd.wait(WaitOptions::NOHANG) {
            if start.elapsed() > Duration::from_secs(10) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts the daemon after [`kill`](Self::kill) or [`stop`](Self::stop), with these settings.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn start_again(&mut self, settings: &str) -> Result<()> {
        self.daemon = Reaped(spawn(settings)?);
        self.wait()
    }

    /// Waits until it answers.
    fn wait(&mut self) -> Result<()> {
        let start = Instant::now();
        while output(&mut self.command(["version"])).is_err() {
            let ended = self.daemon.0.try_wait()?;
            if ended.is_some() || start.elapsed() > Duration::from_secs(20) {
                return Err(Error::other(format!("dockerd does not start: {}", fs::read_to_string(LOG)?)));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// `docker` with these arguments.
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(program("docker").unwrap_or_else(|| "docker".into()));
        command.env("DOCKER_CONFIG", SETTINGS).env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        command.args(["--host", &format!("unix://{SOCKET}")]).args(arguments);
        command
    }

    /// `docker run` with these options: a container with [`IMAGE`] that runs a script. It has a writable `/proc/sys` and no network, and
    /// is below the cgroup `parent`, which is the name of one in the hierarchy, with a slash in front.
    pub fn run(&self, parent: &Path, options: &[&str], script: &str) -> Command {
        let mut command = self.command(["run", "--cgroup-parent"]);
        command.arg(parent).args(RUN).args(options).args([IMAGE, "sh", "-c", script]);
        command
    }

    /// Starts a container in the background. Its id.
    ///
    /// # Errors
    ///
    /// Docker fails.
    pub fn start_container(&self, name: &str, parent: &Path, script: &str) -> Result<String> {
        output(&mut self.run(parent, &["--detach", "--name", name], script))
    }
}

/// The daemon, which is about to answer.
fn spawn(settings: &str) -> Result<Child> {
    let settings_file = Path::new(SETTINGS).join("daemon.json");
    fs::create_dir_all(SETTINGS)?;
    fs::write(&settings_file, settings)?;
    let dockerd = program("dockerd").ok_or_else(|| Error::other("there is no dockerd"))?;
    let mut command = Command::new(dockerd);
    command.arg("--config-file").arg(settings_file).args(["--host", &format!("unix://{SOCKET}")]);
    command.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--bridge=none"]);
    command.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
    let log = File::create(LOG)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn()
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Otherwise the daemon would ask them to end, and wait for ten seconds.
        if let Ok(ids) = output(&mut self.command(["ps", "--all", "--quiet"])) {
            let _ = output(&mut self.command(["rm", "--force"].into_iter().chain(ids.lines())));
        }
        self.stop();
    }
}
