//! Containers of runc, for tests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::engines::program;

/// What the machine lacks for containers of runc.
pub fn without_runc() -> Option<String> {
    let both = program("runc").is_some() && program("busybox").is_some();
    (!both).then(|| "needs runc and a static busybox (Debian's runc and busybox-static)".to_owned())
}

/// A container that runs a script, in its own namespaces, with a writable `/proc/sys`. It is removed on drop.
#[derive(Debug)]
pub struct Container {
    name: String,
    /// What runc keeps of its containers.
    state: PathBuf,
    /// The directory of its bundle.
    directory: PathBuf,
    /// The name of its cgroup.
    cgroup: PathBuf,
}

/// What is in the bundle of a container.
#[derive(Debug, Clone, Copy)]
pub struct Bundle<'a> {
    /// The name of its cgroup in the hierarchy, with a slash in front.
    pub cgroup: &'a Path,
    /// What its shell runs.
    pub script: &'a str,
    /// The knobs that runc writes when it makes the container.
    pub sysctls: &'a [(&'a str, &'a str)],
    /// Its annotations.
    pub annotations: &'a [(&'a str, &'a str)],
    /// A program with its arguments that runc runs at the stages createRuntime and poststop; none if empty.
    pub hook: &'a [&'a str],
}

impl<'a> Bundle<'a> {
    /// One with this script in this cgroup, and nothing else.
    pub fn new(cgroup: &'a Path, script: &'a str) -> Self {
        Self { cgroup, script, sysctls: &[], annotations: &[], hook: &[] }
    }

    /// Writes it to `directory`, with its root file system.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory.join("rootfs/proc"))?;
        fs::copy(program("busybox").ok_or(io::ErrorKind::NotFound)?, directory.join("rootfs/busybox"))?;
        fs::write(directory.join("config.json"), self.config())
    }

    /// Its `config.json`.
    pub fn config(&self) -> String {
        let object = |pairs: &[(&str, &str)]| {
            let pairs =
                pairs.iter().map(|(key, value)| format!("{}:{}", json_string(key), json_string(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        };
        let hooks = match self.hook {
            [] => "{}".to_owned(),
            [path, arguments @ ..] => {
                let arguments: Vec<_> =
                    ["hook"].iter().chain(arguments).map(|one| json_string(one)).collect();
                let hook = format!(r#"[{{"path":{},"args":[{}]}}]"#, json_string(path), arguments.join(","));
                format!(r#"{{"createRuntime":{hook},"poststop":{hook}}}"#)
            }
        };
        let [cgroup, script] = [&self.cgroup.to_string_lossy(), self.script].map(json_string);
        let (sysctls, annotations) = (object(self.sysctls), object(self.annotations));
        format!(
            r#"{{"ociVersion":"1.0.2",
                "process":{{"args":["/busybox","sh","-c",{script}],"cwd":"/","user":{{"uid":0,"gid":0}}}},
                "root":{{"path":"rootfs"}},"mounts":[{{"destination":"/proc","type":"proc","source":"proc"}}],
                "annotations":{annotations},"hooks":{hooks},
                "linux":{{"cgroupsPath":{cgroup},"sysctl":{sysctls},"namespaces":[{{"type":"pid"}},{{"type":"mount"}},
                    {{"type":"network"}},{{"type":"uts"}},{{"type":"ipc"}}]}}}}"#
        )
    }
}

impl Container {
    /// Starts a container of this name in the cgroup `cgroup`, which is the name of one in the hierarchy, with a slash in front. The
    /// root file system is made below `directory`. runc keeps its state in `state`.
    ///
    /// # Errors
    ///
    /// A file cannot be written, or runc fails.
    pub fn start(
        name: &str,
        cgroup: &Path,
        script: &str,
        directory: &Path,
        state: &Path,
    ) -> io::Result<Self> {
        Self::start_bundle(name, &Bundle::new(cgroup, script), directory, state)
    }

    /// The same with this bundle.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start). The error has what runc printed.
    pub fn start_bundle(name: &str, bundle: &Bundle<'_>, directory: &Path, state: &Path) -> io::Result<Self> {
        let container = Self::new(name, bundle, directory, state)?;
        let run = ["run", "--detach", "--bundle"].map(OsStr::new);
        container.runc(&[&run[..], &[container.directory.as_os_str(), OsStr::new(name)]].concat())?;
        Ok(container)
    }

    /// Creates a container that does not run yet.
    ///
    /// # Errors
    ///
    /// As [`start_bundle`](Self::start_bundle).
    pub fn create(name: &str, bundle: &Bundle<'_>, directory: &Path, state: &Path) -> io::Result<Self> {
        let container = Self::new(name, bundle, directory, state)?;
        let create = ["create", "--bundle"].map(OsStr::new);
        container.runc(&[&create[..], &[container.directory.as_os_str(), OsStr::new(name)]].concat())?;
        Ok(container)
    }

    fn new(name: &str, bundle: &Bundle<'_>, directory: &Path, state: &Path) -> io::Result<Self> {
        let directory = directory.join("bundle");
        bundle.write(&directory)?;
        fs::create_dir_all(state)?;
        let (name, state, cgroup) = (name.to_owned(), state.to_owned(), bundle.cgroup.to_owned());
        Ok(Self { name, state, directory, cgroup })
    }

    /// What the container has printed so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.directory.join("output")).unwrap_or_default()
    }

    fn runc(&self, arguments: &[&OsStr]) -> io::Result<()> {
        // The container keeps its standard output open, which nobody may wait for.
        let output = self.directory.join(if arguments[0] == "delete" { "deleting" } else { "output" });
        let file = fs::File::create(&output)?;
        let mut command = Command::new("runc");
        command.arg("--root").arg(&self.state).args(arguments);
        let status = command.stdout(file.try_clone()?).stderr(file).status()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("runc: {}{status}", fs::read_to_string(output)?)))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Err(error) = self.runc(&["delete", "--force", &self.name].map(OsStr::new)) {
            eprintln!("{error}");
        }
        if let Some(above) = self.cgroup.parent() {
            remove_cgroups_of_v1(above);
        }
    }
}

/// Removes the cgroup of this name, with a slash in front, and those above it from the hierarchies of v1, where they are empty. runc
/// makes them there, too, and removes only that of its container. The test has made the one in v2.
pub fn remove_cgroups_of_v1(cgroup: &Path) {
    let Ok(name) = cgroup.strip_prefix("/") else { return };
    for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let is_v1 = hierarchy.path().join("cgroup.clone_children").exists();
        for above in name.ancestors().filter(|above| is_v1 && !above.as_os_str().is_empty()) {
            let _ = fs::remove_dir(hierarchy.path().join(above));
        }
    }
}

/// A string of JSON.
fn json_string(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|char| match char {
            '"' | '\\' => format!("\\{char}"),
            char if char.is_control() => format!("\\u{:04x}", u32::from(char)),
            char => char.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}
