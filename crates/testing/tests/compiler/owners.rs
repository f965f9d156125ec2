//! A descriptor stays with the network namespace in which its knob was opened, whatever namespace its user has moved to. Rules on
//! `netns` are about the former.

use std::fs;
use std::process::{Command, Stdio};

use knobgate_bpf::Features;
use knobgate_compiler::compile;
use knobgate_kernel::{Link, LoadOptions, host_netns, load, probe, start_inside};
use knobgate_testing::scratch;
use libtest_mimic::Failed;

use crate::agreement::{Owner, own_netns, parsed};

const KNOB: &str = "/proc/sys/net/core/somaxconn";

/// Opens the knob, moves to a new network namespace, and says what then still works: with the old descriptors, and with one that
/// is opened there.
const WRITES: &str = "
exec 3>$KNOB 4<$KNOB
exec unshare --net sh -c '
    echo 1001 >&3 && echo old-write
    cat <&4 >/dev/null && echo old-read
    echo 1002 >$KNOB && echo new-write
    true
'";

/// The same without writing.
const READS: &str = "
exec 4<$KNOB
exec unshare --net sh -c '
    cat <&4 >/dev/null && echo old-read
    cat $KNOB >/dev/null && echo new-read
    true
'";

/// Runs a script under this rule, and returns what works.
fn works(rule: &str, features: &Features, script: &str) -> Result<String, Failed> {
    let file = parsed(&format!("policy owners\n{rule}\nallow read write **\n"))?;
    let compiled = compile(&file, features)?;
    let cgroup = scratch();
    let loaded = load(compiled.program(), &LoadOptions::default())?;
    let _link = Link::create(&loaded.program, &cgroup)?;
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("KNOB", KNOB).stderr(Stdio::null());
    start_inside(&mut command, &cgroup)?;
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the script has failed: {}", output.status).into());
    }
    let lines = String::from_utf8(output.stdout)?;
    Ok(lines.lines().collect::<Vec<_>>().join(" "))
}

/// In a network namespace of the test.
///
/// # Errors
///
/// A descriptor is judged by another namespace than that of its knob.
pub(crate) fn descriptors_of_another_namespace() -> Result<(), Failed> {
    let features = probe().features();
    let [of_host, of_another] =
        [true, false].map(|is_host| Owner::choose(is_host).map(|it| it.of_programs(features)));
    let (of_host, of_another) = (of_host?, of_another?);
    for (condition, features, expected) in [
        ("netns == host", of_host, "new-write"),
        ("netns != host", of_host, "old-write old-read"),
        ("netns == host", of_another, "old-write old-read new-write"),
        ("netns != host", of_another, ""),
    ] {
        fs::write(KNOB, "4096")?;
        let found = works(&format!("deny read write net.** if {condition}"), &features, WRITES)?;
        let stored = fs::read_to_string(KNOB)?;
        let expected_stored = if expected.contains("old-write") { "1001\n" } else { "4096\n" };
        if found != expected || stored != expected_stored {
            return Err(format!(
                "{condition}: {found:?} works, and {stored:?} is stored; expected {expected:?}"
            )
            .into());
        }
    }
    Ok(())
}

/// In the network namespace of the machine, whose knobs are only read.
///
/// # Errors
///
/// A knob of the host is taken for another one's, or the other way round.
pub(crate) fn descriptors_of_the_host() -> Result<(), Failed> {
    let features = probe().features();
    // The machine may itself be a container.
    let is_host = own_netns()? == host_netns()?;
    for (condition, expected) in [
        ("netns == host", if is_host { "new-read" } else { "old-read new-read" }),
        ("netns != host", if is_host { "old-read" } else { "" }),
    ] {
        let found = works(&format!("deny read net.** if {condition}"), &features, READS)?;
        if found != expected {
            return Err(format!("{condition}: {found:?} works, expected {expected:?}").into());
        }
    }
    Ok(())
}
