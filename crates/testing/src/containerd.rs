//! A containerd for tests, with CRI and NRI, in a mount namespace and below a cgroup of its own.

mod image;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use knobgate_cri_client::messages::{
    ContainerConfig, ContainerMetadata, ImageSpec, LinuxContainerConfig, LinuxContainerSecurityContext,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata,
};
use knobgate_cri_client::{CallError, Client};
use knobgate_kernel::{Cgroup, Hierarchy, Namespaces, ScratchCgroup, start_inside, with_private_namespaces};
use tempfile::TempDir;

use crate::fixtures::scratch;
use crate::processes::Reaped;
use crate::runc::without_runc;

/// The image of the containers: busybox, as `/bin/busybox`.
pub const BUSYBOX_IMAGE: &str = "registry.example/test/busybox:1";

/// The image of pod sandboxes, which sleeps.
const SANDBOX_IMAGE: &str = "registry.example/test/pause:1";

/// The longest that containerd may take to start. It takes half a second.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Where `.ci/containerd` puts it, unless `KNOBGATE_CONTAINERD` says otherwise.
fn directory() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/engines/containerd");
    env::var_os("KNOBGATE_CONTAINERD").map_or_else(default, PathBuf::from)
}

/// What the machine lacks for [`Containerd`].
pub fn without_containerd() -> Option<String> {
    if !directory().join("containerd").is_file() {
        return Some("needs containerd: run .ci/containerd, or set KNOBGATE_CONTAINERD=DIR".to_owned());
    }
    without_runc()
}

/// Keeps the mount namespace, and tidies up when its standard input ends: when the test does, whatever ends that.
/// `$1` is the directory of the files, `$2` that of the cgroup.
const GUARD: &str = r#"
trap '' HUP INT TERM
mount -t tmpfs tmpfs /run/containerd && echo ready
exec >/dev/null
read -r _
processes() { find "$2" -name cgroup.procs -exec cat {} + 2>/dev/null; }
tries=0
while [ -n "$(processes "$@")" ] && [ $tries -lt 100 ]; do
    processes "$@" | xargs -r kill -KILL 2>/dev/null
    tries=$((tries + 1))
    sleep 0.02
done
awk -v below="$1/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | sort -r | xargs -r umount -l
# runc makes cgroups of the same path in each hierarchy.
for top in "$2" /sys/fs/cgroup/*/"${2##*/}"; do
    find "$top" -depth -type d -exec rmdir {} \; 2>/dev/null
done
rm -rf "$1"
"#;

/// A running containerd. On drop, or when the test is killed, it ends with all its containers, and its files and
/// cgroups are removed.
#[derive(Debug)]
pub struct Containerd {
    /// The daemon. It goes first.
    daemon: Mutex<Reaped>,
    /// Holds the mount namespace. Its standard input is what it waits for.
    guard: Guard,
    files: TempDir,
    cgroup: ScratchCgroup,
    cri: Client,
}

#[derive(Debug)]
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Containerd {
    /// Starts one, with the images imported. It is in the network, UTS and IPC namespaces of this process.
    ///
    /// # Errors
    ///
    /// A program is missing, or containerd does not start: the error has what it logged.
    pub fn start() -> io::Result<Self> {
        let files = tempfile::Builder::new().prefix("knobgate-containerd-").tempdir()?;
        let cgroup = scratch();
        for name in ["daemon", "pods"] {
            cgroup.create(name).map_err(io::Error::other)?;
        }
        fs::create_dir_all("/run/containerd")?;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).args([files.path(), cgroup.path()]);
        with_private_namespaces(&mut guard, Namespaces { mount: true, ..Namespaces::default() });
        let mut guard = Guard(guard.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut ready = String::new();
        BufReader::new(guard.0.stdout.take().expect("piped")).read_line(&mut ready)?;
        if ready != "ready\n" {
            return Err(io::Error::other("cannot mount a tmpfs for containerd"));
        }
        fs::write(files.path().join("config.toml"), configuration(files.path()))?;
        let cri = Client::new(files.path().join("containerd.sock"));
        let daemon = Mutex::new(spawn(files.path(), &cgroup, &guard)?);
        let containerd = Self { daemon, guard, files, cgroup, cri };
        containerd.wait_until_ready()?;
        containerd.import_images()?;
        Ok(containerd)
    }

    /// Kills the daemon and starts it again. Containers keep running.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn restart(&self) -> io::Result<()> {
        self.stop();
        self.start_again()
    }

    /// Kills the daemon. Containers keep running.
    pub fn stop(&self) {
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = daemon.0.kill();
        let _ = daemon.0.wait();
    }

    /// Starts the daemon after [`stop`](Self::stop).
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn start_again(&self) -> io::Result<()> {
        let daemon = spawn(self.files.path(), &self.cgroup, &self.guard)?;
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = daemon;
        self.wait_until_ready()
    }

    /// Its client.
    pub fn cri(&self) -> &Client {
        &self.cri
    }

    /// The socket for NRI plugins.
    pub fn nri_socket(&self) -> PathBuf {
        self.files.path().join("nri.sock")
    }

    /// Has programs of this mount namespace find what it keeps of its containers where every containerd keeps that. The test has a
    /// `/run` of its own.
    ///
    /// # Errors
    ///
    /// There is something there already.
    pub fn show_state(&self) -> io::Result<()> {
        const TASKS: &str = "io.containerd.runtime.v2.task";
        symlink(self.files.path().join("state").join(TASKS), Path::new("/run/containerd").join(TASKS))?;
        symlink(self.files.path().join("runc"), "/run/containerd/runc")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }

    /// The OCI configuration of a container that was started: its `config.json`.
    ///
    /// # Errors
    ///
    /// There is no such container, or it has ended.
    pub fn oci_config(&self, container: &str) -> io::Result<String> {
        let tasks = self.files.path().join("state/io.containerd.runtime.v2.task/k8s.io");
        fs::read_to_string(tasks.join(container).join("config.json"))
    }

    /// The processes of the daemon, the shims and what these run, such as the runtime and its hooks.
    pub fn helpers(&self) -> Vec<u32> {
        let procs = fs::read_to_string(self.cgroup.path().join("daemon/cgroup.procs")).unwrap_or_default();
        procs.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// The cgroup of a container that was created.
    pub fn cgroup_of(&self, container: &str) -> PathBuf {
        self.cgroup.path().join("pods").join(container)
    }

    /// Starts a pod of this name in the Kubernetes namespace `test`. It is in the network namespace of this process.
    ///
    /// # Errors
    ///
    /// containerd reports one.
    pub fn pod(&self, name: &str, labels: &[(&str, &str)]) -> Result<Pod, CallError> {
        self.pod_in("test", name, labels)
    }

    /// The same in another Kubernetes namespace.
    ///
    /// # Errors
    ///
    /// containerd reports one.
    pub fn pod_in(&self, namespace: &str, name: &str, labels: &[(&str, &str)]) -> Result<Pod, CallError> {
        let hierarchy = Hierarchy::find().ok();
        let parent = hierarchy.and_then(|hierarchy| hierarchy.name(&self.cgroup.path().join("pods")));
        let namespace_options = Some(namespaces());
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("uid-{name}"),
                namespace: namespace.to_owned(),
            }),
            log_directory: self.files.path().join("logs").join(name).to_string_lossy().into_owned(),
            labels: map(labels),
            annotations: BTreeMap::new(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: parent.unwrap_or_default().to_string_lossy().into_owned(),
                security_context: Some(LinuxSandboxSecurityContext { namespace_options }),
                sysctls: BTreeMap::new(),
            }),
        };
        let id = self.cri.run_pod_sandbox(&config)?;
        Ok(Pod { cri: self.cri.clone(), id, config })
    }

    fn wait_until_ready(&self) -> io::Result<()> {
        let start = Instant::now();
        while let Err(error) = self.cri.version() {
            let ended = self.daemon.lock().unwrap_or_else(PoisonError::into_inner).0.try_wait()?;
            if ended.is_some() || start.elapsed() > START_LIMIT {
                return Err(io::Error::other(format!("containerd does not start: {error}\n{}", self.log())));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn import_images(&self) -> io::Result<()> {
        let archive = image::archive(
            self.files.path(),
            &[(BUSYBOX_IMAGE, &["/bin/busybox"]), (SANDBOX_IMAGE, &["/bin/busybox", "sleep", "1000000"])],
        )?;
        // Without its daemon, it would wait without end if the test is killed.
        let mut import = Command::new("setpriv");
        import
            .args(["--pdeathsig", "KILL"])
            .arg(directory().join("ctr"))
            .arg("--address")
            .arg(self.files.path().join("containerd.sock"));
        import
            .args(["--namespace", "k8s.io", "images", "import", "--local", "--snapshotter", "native"])
            .arg(archive);
        let output = import.output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        // CRI learns of images from events.
        let start = Instant::now();
        for image in [BUSYBOX_IMAGE, SANDBOX_IMAGE] {
            while !self.cri.has_image(image).map_err(io::Error::other)? {
                if start.elapsed() > START_LIMIT {
                    return Err(io::Error::other(format!("containerd does not know {image}")));
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// Containers and sandboxes share the network with the runtime, so that no network plugin is needed.
fn namespaces() -> NamespaceOption {
    NamespaceOption {
        network: NamespaceMode::Node.into(),
        pid: NamespaceMode::Container.into(),
        ipc: NamespaceMode::Pod.into(),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn spawn(files: &Path, cgroup: &ScratchCgroup, guard: &Guard) -> io::Result<Reaped> {
    let directory = directory().canonicalize()?;
    let log = fs::File::options().create(true).append(true).open(files.join("log"))?;
    let mut daemon = Command::new("nsenter");
    daemon.arg(format!("--mount=/proc/{}/ns/mnt", guard.0.id())).arg("--");
    daemon.arg(directory.join("containerd")).arg("--config").arg(files.join("config.toml"));
    // The shim has to be of the same version, and is looked for here first.
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [directory].into_iter().chain(env::split_paths(&path));
    daemon.env("PATH", env::join_paths(path).map_err(io::Error::other)?);
    daemon.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let inside = Cgroup::open(cgroup.path().join("daemon"));
    inside.and_then(|inside| start_inside(&mut daemon, &inside)).map_err(io::Error::other)?;
    Ok(Reaped(daemon.spawn()?))
}

/// The configuration: everything below `files`, no plugin that this machine cannot have, and limits that need no
/// capability which tests may lack.
fn configuration(files: &Path) -> String {
    let files = files.display();
    format!(
        r#"version = 3
root = "{files}/root"
state = "{files}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs"]
[grpc]
address = "{files}/containerd.sock"
[ttrpc]
address = "{files}/containerd.sock.ttrpc"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "native"
pinned_images = {{ sandbox = "{SANDBOX_IMAGE}" }}
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
cni = {{ bin_dirs = ["{files}/cni"], conf_dir = "{files}/cni" }}
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "/usr/sbin/runc"
Root = "{files}/runc"
SystemdCgroup = false
[plugins."io.containerd.nri.v1.nri"]
disable = false
socket_path = "{files}/nri.sock"
plugin_path = "{files}/nri/plugins"
plugin_config_path = "{files}/nri/conf.d"
[plugins."io.containerd.internal.v1.opt"]
path = "{files}/opt"
[plugins."io.containerd.image-verifier.v1.bindir"]
bin_dir = "{files}/image-verifier"
"#
    )
}

/// A pod of a [`Containerd`], which removes it when that is dropped.
#[derive(Debug)]
pub struct Pod {
    cri: Client,
    /// The id of its sandbox.
    pub id: String,
    config: PodSandboxConfig,
}

impl Pod {
    /// Creates a container of this name that runs a script, with a writable `/proc/sys`, and does not start it. Returns its id.
    ///
    /// # Errors
    ///
    /// containerd reports one.
    pub fn create(&self, name: &str, script: &str, labels: &[(&str, &str)]) -> Result<String, CallError> {
        let security_context = Some(LinuxContainerSecurityContext { namespace_options: Some(namespaces()) });
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned() }),
            image: Some(ImageSpec { image: BUSYBOX_IMAGE.to_owned() }),
            command: ["/bin/busybox", "sh", "-c", script].map(str::to_owned).into(),
            labels: map(labels),
            annotations: BTreeMap::new(),
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainerConfig { security_context }),
        };
        self.cri.create_container(&self.id, &self.config, &config)
    }

    /// Creates a container and starts it.
    ///
    /// # Errors
    ///
    /// containerd reports one.
    pub fn start(&self, name: &str, script: &str) -> Result<String, CallError> {
        let id = self.create(name, script, &[])?;
        self.cri.start_container(&id)?;
        Ok(id)
    }

    /// What a container of this name has written, with the time and the stream in front of each line.
    pub fn output(&self, name: &str) -> String {
        let file = Path::new(&self.config.log_directory).join(format!("{name}.log"));
        fs::read_to_string(file).unwrap_or_default()
    }
}
