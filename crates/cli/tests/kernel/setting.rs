//! Shared by the tests: policies, runs of knobgate, and checks that nothing is left of them.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use knobgate_bpf::helper_ids;
use knobgate_hook::Profile;
use knobgate_kernel::{Cgroup, Namespaces, ProgramFd, ScratchCgroup, with_private_namespaces};
use knobgate_testing::{eventually, profile, scratch};
use tempfile::{NamedTempFile, TempDir};

pub(crate) const KNOBGATE: &str = env!("CARGO_BIN_EXE_knobgate");

/// What tests of programs with callbacks require.
pub(crate) fn callbacks(profile: &Profile) -> Option<String> {
    let lacks = !profile.has_helper(helper_ids::FOR_EACH_MAP_ELEM);
    lacks.then(|| format!("{profile} does not let programs load the address of a function"))
}

/// What tests of rewrites require.
pub(crate) fn rewriting(profile: &Profile) -> Option<String> {
    (!profile.features().set_new_value).then(|| format!("{profile} drops replacements"))
}

/// What tests of clamped lists require.
pub(crate) fn rewriting_lists(profile: &Profile) -> Option<String> {
    let no_lists = || format!("{profile} does not let programs build lists of numbers");
    rewriting(profile).or_else(|| (!profile.features().variable_stack).then(no_lists))
}

/// What tests of dropped rewrites require.
pub(crate) fn dropped_rewrites(profile: &Profile) -> Option<String> {
    profile.features().set_new_value.then(|| format!("{profile} does not drop replacements"))
}

/// The text of the errno of a denial. On kernels where programs cannot choose it, that is always `EPERM`.
pub(crate) fn denied_with(text: &'static str) -> &'static str {
    if profile().features().set_retval { text } else { "Operation not permitted" }
}

/// A file with this policy.
pub(crate) fn policy(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".knob").expect("a temporary file");
    file.write_all(text.as_bytes()).expect("a policy");
    file
}

/// `knobgate` with these arguments, in network, host name and IPC namespaces of its own.
pub(crate) fn knobgate<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(KNOBGATE);
    command.args(arguments);
    let namespaces = Namespaces { net: true, uts: true, ipc: true, ..Namespaces::default() };
    with_private_namespaces(&mut command, namespaces);
    command
}

/// Runs this script in a mount namespace of its own; `$0` is knobgate.
pub(crate) fn apart(script: &str, arguments: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new("sh");
    command.args(["-c", script, KNOBGATE]).args(arguments);
    with_private_namespaces(&mut command, Namespaces { mount: true, ..Namespaces::default() });
    command.output()
}

/// A directory with a copy of knobgate that every user can execute: the build directory may be closed to others.
pub(crate) fn copy_for_others() -> TempDir {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let copy = tempfile::Builder::new().permissions(mode).tempdir().expect("a temporary directory");
    // Copy with a child process: a process that another test forks at that moment would inherit the open copy, and a
    // file that is open for writing cannot be executed.
    let copied = Command::new("cp").arg(KNOBGATE).arg(copy.path().join("knobgate")).status();
    assert!(copied.is_ok_and(|status| status.success()));
    copy
}

/// A cgroup to run commands in. Nothing must be left of them.
pub(crate) struct Runs {
    pub(crate) parent: ScratchCgroup,
    policy: NamedTempFile,
    name: String,
}

impl Runs {
    /// With this policy, which gets a name that no other test uses.
    pub(crate) fn new(name: &str, rules: &str) -> Self {
        assert!(name.len() <= 15, "the kernel would cut {name}");
        Self {
            parent: scratch(),
            policy: policy(&format!("policy {name}\n{rules}")),
            name: name.replace('-', "_"),
        }
    }

    /// `knobgate run … -- command`.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Command {
        let mut run = knobgate(["run"]);
        run.args(self.arguments()).arg("--").args(command);
        run
    }

    /// The arguments of `run` before `--`.
    pub(crate) fn arguments(&self) -> [&OsStr; 4] {
        let (policy, parent) = (self.policy.path(), self.parent.path());
        ["--policy".as_ref(), policy.as_ref(), "--cgroup".as_ref(), parent.as_ref()]
    }

    /// Runs a shell script to its end.
    pub(crate) fn script(&self, script: &str) -> Output {
        self.command(["sh", "-c", script]).output().expect("knobgate")
    }

    /// Waits until there is no cgroup and no program left.
    pub(crate) fn expect_nothing_left(&self) {
        eventually("the cgroups are gone", || children(&self.parent).is_empty());
        eventually("the program is gone", || !is_loaded(&self.name));
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.expect_nothing_left();
        }
    }
}

/// The names of the child cgroups.
pub(crate) fn children(cgroup: &Cgroup) -> Vec<String> {
    let below = cgroup.descendants().expect("cgroups");
    below.iter().map(|(_, path)| path.display().to_string()).collect()
}

/// Whether the kernel holds a program of this name.
pub(crate) fn is_loaded(name: &str) -> bool {
    let ids = ProgramFd::all_ids().expect("programs");
    ids.into_iter()
        .any(|id| ProgramFd::by_id(id).and_then(|program| program.info()).is_ok_and(|info| info.name == name))
}

/// Standard output of a command.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error of a command.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The end of the message of a command that applies a policy: which hook decides.
pub(crate) fn decided_by_the_kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    format!("decided by the kernel's hook, Linux {}\n", release.trim())
}

/// Runs `knobgate` with these arguments, and returns its output.
///
/// # Panics
/// If it does not end with this status.
pub(crate) fn expect<S: AsRef<OsStr>>(status: i32, arguments: impl IntoIterator<Item = S>) -> Output {
    let output = Command::new(KNOBGATE).args(arguments).output().expect("knobgate");
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    output
}

/// Attaches a policy with the command.
pub(crate) fn attach(file: &Path, cgroup: &Cgroup, name: &str) -> String {
    let arguments: [&OsStr; 7] = [
        "attach".as_ref(),
        "--policy".as_ref(),
        file.as_ref(),
        "--cgroup".as_ref(),
        cgroup.path().as_ref(),
        "--name".as_ref(),
        name.as_ref(),
    ];
    stdout(&expect(0, arguments))
}

/// Detaches an attachment when dropped.
pub(crate) struct DetachOnDrop(pub(crate) &'static str);

impl Drop for DetachOnDrop {
    fn drop(&mut self) {
        let _ = Command::new(KNOBGATE).args(["detach", self.0]).output();
    }
}
