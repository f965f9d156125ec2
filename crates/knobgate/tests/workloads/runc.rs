//! Containers of runc.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use knobgate::WorkloadResolver;
use knobgate::kernel::{Cgroup, Hierarchy};
use knobgate::workload::{EngineState, Origin, Piece};
use knobgate_testing::{Profile, RemoveOnDrop, Test};
use libtest_mimic::Failed;

pub(crate) const TESTS: &[Test] = &[("a_container_of_runc_is_found_in_any_cgroup", found)];

/// What the machine lacks for these tests.
pub(crate) fn missing(_: &Profile) -> Option<String> {
    let both = program("runc").is_some() && program("busybox").is_some();
    (!both).then(|| "needs runc and a static busybox (Debian's runc and busybox-static)".to_owned())
}

fn program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(name)).find(|path| path.is_file())
}

fn runc(root: &Path, arguments: &[&OsStr]) -> Result<(), Failed> {
    let output = root.join("output");
    // The container keeps its standard output open, which nobody may wait for.
    let file = fs::File::create(&output)?;
    let mut command = Command::new("runc");
    command.arg("--root").arg(root.join("run/runc")).args(arguments);
    let status = command.stdout(file.try_clone()?).stderr(file).status()?;
    if status.success() { Ok(()) } else { Err(format!("{}{status}", fs::read_to_string(output)?).into()) }
}

fn found() -> Result<(), Failed> {
    let root = tempfile::tempdir()?;
    let bundle = root.path().join("bundle");
    fs::create_dir_all(bundle.join("rootfs/proc"))?;
    fs::create_dir_all(root.path().join("run/runc"))?;
    fs::copy(program("busybox").expect("it is required"), bundle.join("rootfs/busybox"))?;
    let name = format!("knobgate-test-runc-{}", std::process::id());
    let config = format!(
        r#"{{"ociVersion":"1.0.2","process":{{"args":["/busybox","sleep","1000"],"cwd":"/","user":{{"uid":0,"gid":0}}}},
            "root":{{"path":"rootfs"}},"mounts":[{{"destination":"/proc","type":"proc","source":"proc"}}],
            "linux":{{"cgroupsPath":"/{name}","namespaces":[{{"type":"pid"}},{{"type":"mount"}}]}}}}"#
    );
    fs::write(bundle.join("config.json"), config)?;
    let directory = Hierarchy::find()?.path().join(&name);
    let _remove = RemoveOnDrop(directory.clone());
    let run = ["run", "--detach", "--bundle"].map(OsStr::new);
    runc(root.path(), &[&run[..], &[bundle.as_os_str(), OsStr::new("web-1")]].concat())?;

    let mut resolver = WorkloadResolver::with_state(EngineState::below(root.path()))?;
    let cgroup = Cgroup::open(&directory)?.id();
    let workload = resolver.resolve(cgroup).expect("it exists");
    runc(root.path(), &["delete", "--force", "web-1"].map(OsStr::new))?;
    assert_eq!(workload.label().escape_ascii().to_string(), "runc/web-1");
    assert_eq!(workload.container_id.as_ref().map(Piece::origin), Some(Origin::State));
    assert_eq!(resolver.resolve(cgroup), Some(workload), "it keeps its name");
    Ok(())
}
