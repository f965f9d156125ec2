//! The profiles for security modules, as their compilers take them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use knobgate_testing::{Profile, Suite, Test};
use libtest_mimic::Failed;

const APPARMOR: &[Test] = &[("the_profile_for_apparmor_is_valid", apparmor)];
const SELINUX: &[Test] = &[("the_module_for_selinux_is_valid", selinux)];
/// What Debian's selinux-policy-dev has: the interfaces of the reference policy, and how modules are built with them.
const REFERENCE_POLICY: &str = "/usr/share/selinux/devel/Makefile";

pub(crate) fn tests() -> Suite {
    let with_policy = |_: &Profile| {
        let is_there = fs::exists(REFERENCE_POLICY).unwrap_or(false);
        (!is_there).then(|| format!("there is no {REFERENCE_POLICY}, of selinux-policy-dev"))
    };
    let selinux = Suite::default().requiring(with_policy, SELINUX).using("checkmodule");
    Suite::default().requiring(|_| None, APPARMOR).using("apparmor_parser").and(selinux)
}

fn packaging(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../packaging", name].iter().collect()
}

/// Compiles it, without the kernel and without a cache.
fn apparmor() -> Result<(), Failed> {
    let profile = packaging("apparmor/knobgate-agent");
    let parser = |file: &PathBuf| Command::new("apparmor_parser").arg("-QKS").arg(file).output();
    let compiled = parser(&profile)?;
    assert!(compiled.status.success() && !compiled.stdout.is_empty(), "{compiled:?}");
    let text = fs::read_to_string(profile)?;
    // It has a name and no path, so that it confines the agent alone.
    assert!(text.contains("\nprofile knobgate-agent flags=(attach_disconnected) {\n"), "{text}");
    let wrong = tempfile::NamedTempFile::new()?;
    fs::write(wrong.path(), text.replace("capability perfmon", "capability nothing"))?;
    assert!(!parser(&wrong.path().to_owned())?.status.success());
    Ok(())
}

fn selinux() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    for file in ["knobgate.te", "knobgate.fc", "knobgate.if"] {
        fs::copy(packaging("selinux").join(file), directory.path().join(file))?;
    }
    let mut make = Command::new("make");
    let made = make.args(["-f", REFERENCE_POLICY, "knobgate.pp"]).current_dir(&directory).output()?;
    assert!(made.status.success(), "{made:?}");
    assert!(fs::metadata(directory.path().join("knobgate.pp"))?.len() > 1000);
    Ok(())
}
