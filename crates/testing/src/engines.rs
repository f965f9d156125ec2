//! What tests with container engines need: a machine of their own, and an image.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::harness::TestNamespaces;

/// The namespaces of a test with an engine. The engine's daemon, its shims and its containers are in the test's pid namespace, so
/// that all of them end with the test, however that ends.
pub const ENGINE_NAMESPACES: TestNamespaces =
    &["--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// The same, and a cgroup namespace: a program that looks at all cgroups of the machine sees only those of the test.
pub const ENGINE_AND_CGROUP_NAMESPACES: TestNamespaces =
    &["--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--cgroup"];

/// What the machine lacks for tests with Docker.
pub fn without_docker() -> Option<String> {
    lacks(&["dockerd", "docker", "runc", "busybox", "tar"], "docker.io, runc and busybox-static")
}

/// What the machine lacks for tests with Podman.
pub fn without_podman() -> Option<String> {
    lacks(&["podman", "conmon", "runc", "busybox", "tar"], "podman, conmon, runc and busybox-static")
}

/// What the machine lacks for tests with LXC.
pub fn without_lxc() -> Option<String> {
    lacks(&["lxc-start", "busybox"], "lxc and busybox-static")
}

/// What the machine lacks for tests with systemd-nspawn.
pub fn without_nspawn() -> Option<String> {
    lacks(&["systemd-nspawn", "busybox"], "systemd-container and busybox-static")
}

fn lacks(programs: &[&str], packages: &str) -> Option<String> {
    let missing: Vec<&str> = programs.iter().copied().filter(|name| program(name).is_none()).collect();
    (!missing.is_empty()).then(|| format!("needs {} (Debian's {packages})", missing.join(", ")))
}

/// Where a program of a distribution is. Those in `/usr/local` are somebody's own.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    const SYSTEM: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = SYSTEM.into_iter().map(PathBuf::from).chain(env::split_paths(&path));
    directories.map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Makes this mount namespace a machine on which no engine has run yet: with an empty `/run` and `/var/lib`, which the engines use
/// unless they are told otherwise, its own bpffs, and cgroup v2 alone. The test is in [`ENGINE_NAMESPACES`].
///
/// # Errors
///
/// Something cannot be mounted.
pub fn fresh_machine() -> Result<()> {
    for (fs_type, point) in [("tmpfs", "/run"), ("tmpfs", "/var/lib"), ("bpf", "/sys/fs/bpf")] {
        mount(fs_type, point, fs_type, MountFlags::empty(), None)
            .map_err(|error| cannot_mount(point, error))?;
    }
    // Engines would also create cgroups in the hierarchies of v1, and leave some of them behind.
    const CGROUPS: &str = "/sys/fs/cgroup";
    match unmount(CGROUPS, UnmountFlags::DETACH) {
        // Nothing is mounted there.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(cannot_mount(CGROUPS, error)),
    }
    mount("cgroup2", CGROUPS, "cgroup2", MountFlags::empty(), None)
        .map_err(|error| cannot_mount(CGROUPS, error))
}

fn cannot_mount(point: &str, error: Errno) -> Error {
    Error::other(format!("{point}: {error}"))
}

/// The name of the image that each engine gets: busybox, with `sh` and all else in `/bin`.
pub const IMAGE: &str = "knobgate-test";

/// Writes the file system of [`IMAGE`] below `root`.
///
/// # Errors
///
/// A directory or file cannot be written, or there is no busybox.
pub fn write_image_root(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("bin"))?;
    let busybox = root.join("bin/busybox");
    fs::copy(program("busybox").ok_or_else(|| Error::other("there is no busybox"))?, &busybox)?;
    for applet in ["sh", "cat", "echo", "sleep", "true"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
    }
    Ok(())
}

/// Writes the file system of [`IMAGE`] as an archive.
pub(crate) fn write_image(directory: &Path) -> Result<PathBuf> {
    let (root, archive) = (directory.join("image"), directory.join("image.tar"));
    write_image_root(&root)?;
    output(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg("."))?;
    Ok(archive)
}

/// Runs a command to its end. Its standard output, without the line end.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    if status.success() {
        return Ok(text(stdout));
    }
    Err(Error::other(format!("{command:?}: {status}: {}{}", text(stdout), text(stderr))))
}
