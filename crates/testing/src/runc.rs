//! Containers of runc, for tests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use knobgate_hook::Profile;

use crate::engines::program;

/// What the machine lacks for containers of runc.
pub fn without_runc(_: &Profile) -> Option<String> {
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
        let bundle = directory.join("bundle");
        fs::create_dir_all(bundle.join("rootfs/proc"))?;
        fs::create_dir_all(state)?;
        fs::copy(program("busybox").ok_or(io::ErrorKind::NotFound)?, bundle.join("rootfs/busybox"))?;
        let [cgroup, script] = [&cgroup.to_string_lossy(), script].map(json_string);
        let config = format!(
            r#"{{"ociVersion":"1.0.2",
                "process":{{"args":["/busybox","sh","-c",{script}],"cwd":"/","user":{{"uid":0,"gid":0}}}},
                "root":{{"path":"rootfs"}},"mounts":[{{"destination":"/proc","type":"proc","source":"proc"}}],
                "linux":{{"cgroupsPath":{cgroup},"namespaces":[{{"type":"pid"}},{{"type":"mount"}},{{"type":"network"}},
                    {{"type":"uts"}},{{"type":"ipc"}}]}}}}"#
        );
        fs::write(bundle.join("config.json"), config)?;
        let container = Self { name: name.to_owned(), state: state.to_owned(), directory: bundle };
        let run = ["run", "--detach", "--bundle"].map(OsStr::new);
        container.runc(&[&run[..], &[container.directory.as_os_str(), OsStr::new(name)]].concat())?;
        Ok(container)
    }

    fn runc(&self, arguments: &[&OsStr]) -> io::Result<()> {
        let output = self.directory.join("output");
        // The container keeps its standard output open, which nobody may wait for.
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
