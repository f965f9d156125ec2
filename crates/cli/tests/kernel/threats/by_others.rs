//! Having a process outside write a knob, and taking another name. The kernel judges by the cgroup of the writing
//! process, and a task chooses its name.

use knobgate_hook::Profile;
use knobgate_kernel::start_inside;
use knobgate_testing::Test;
use libtest_mimic::Failed;

use super::{Case, POLICY, Stage};
use crate::setting::{KNOBGATE, policy, stderr};

pub(super) const TESTS: &[Test] = &[
    ("a_write_through_a_passed_descriptor_is_judged_by_the_writers_cgroup", passed_on),
    ("a_helpers_write_is_judged_by_its_own_cgroup", helper),
];

/// Tests of a condition on the task's name.
pub(super) const BY_NAME: &[Test] = &[("a_process_can_take_the_name_in_a_condition_on_comm", by_name)];

/// What they require.
pub(super) fn task_names(profile: &Profile) -> Option<String> {
    (!profile.features().current_comm)
        .then(|| format!("{profile} does not let programs read the name of the task"))
}

const KNOB: &str = "/proc/sys/net/ipv4/ip_default_ttl";

fn passed_on() -> Result<(), Failed> {
    // A child of the process writes, in another cgroup.
    let tries =
        format!("exec 9>{KNOB}; ! echo 200 >&9 && sh -c 'echo 0 >\"$TOP/cgroup.procs\" && echo 200 >&9'");
    let case =
        Case { what: "to the outside", setup: "ROOT[]", tries: &tries, works: true, says: "always possible" };
    let stage = Stage::new("t-passed-on", POLICY)?;
    let played = stage.play(&case)?;
    let value = stage.outside(&format!("cat {KNOB}"))?;
    played.expect(&case, "passing descriptors", value == "200\n");
    assert!(!stage.is_open(&played.cgroup)?, "the policy is in force");

    // The other way round, a knob that was opened outside does not help a process inside.
    let tried = stage.outside(&format!(
        "exec 9>{KNOB}; echo 90 >&9; sh -c 'echo 0 >\"$HELD/cgroup.procs\" && ! echo 200 2>/dev/null >&9' && cat {KNOB}"
    ))?;
    assert_eq!(tried, "90\n");
    Ok(())
}

fn helper() -> Result<(), Failed> {
    let stage = Stage::new("t-helper", POLICY)?;
    // It reads the value from a pipe, to which the process under the policy writes it.
    for (helper_is, written) in [("$TOP", "200\n"), ("$HELD", "64\n")] {
        let printed = stage.outside(&format!(
            "echo 64 >{KNOB}
             sh -c 'echo 0 >\"$HELD/cgroup.procs\"; ! echo 200 2>/dev/null >{KNOB} && echo 200' |
                 sh -c 'echo 0 >\"{helper_is}/cgroup.procs\"; read -r value && echo $value 2>/dev/null >{KNOB}'
             cat {KNOB}"
        ))?;
        assert_eq!(printed, written, "a helper in {helper_is}");
    }
    Ok(())
}

fn by_name() -> Result<(), Failed> {
    let trusting = "default write deny\nallow write net.ipv4.ip_default_ttl if comm == \"trusted\"\n";
    for (rules, name, written) in [
        (trusting, "trusted", "200\n"),
        (trusting, "another", "64\n"),
        // What closes this way.
        (POLICY, "trusted", "64\n"),
    ] {
        let stage = Stage::new("t-comm", rules)?;
        assert!(!stage.is_open(&stage.held)?, "a shell is not called {name}");
        stage.outside(&format!("echo 64 >{KNOB}"))?;
        let mut process =
            stage.shell(&format!("printf {name} >/proc/self/comm; echo 200 2>/dev/null >{KNOB}"))?;
        start_inside(&mut process, &stage.held)?;
        process.status()?;
        let value = stage.outside(&format!("cat {KNOB}"))?;
        assert_eq!(value, written, "{name} under {rules}");
        let file = policy(&format!("policy t-comm\n{rules}"));
        let checked = std::process::Command::new(KNOBGATE).arg("check").arg(file.path()).output()?;
        assert_eq!(stderr(&checked).contains("chosen-comm"), rules == trusting, "{checked:?}");
    }
    Ok(())
}
