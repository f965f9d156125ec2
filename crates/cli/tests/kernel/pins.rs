use std::os::unix::fs::PermissionsExt;

use knobgate_kernel::ScratchCgroup;
use knobgate_testing::{Test, scratch};
use libtest_mimic::Failed;

use crate::setting::{apart, copy_for_others, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("a_failing_attach_leaves_nothing_on_the_bpffs", no_side_effect),
    ("an_untrusted_directory_is_moved_away_and_not_touched", moved_away),
    ("pins_that_root_does_not_own_are_not_trusted", untrusted),
    ("a_bpffs_that_others_can_change_is_not_used", untrusted_bpffs),
    ("on_a_read_only_bpffs_policies_are_perhaps_pinned", read_only),
];

/// Mounts a new bpffs with the default options.
const BPFFS: &str = "set -e; mount -t bpf bpf /sys/fs/bpf; cd /sys/fs/bpf; ";
/// Starts a command as another user.
const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/// Runs a script in its own mount namespace with its own bpffs. `$attach` attaches to a cgroup as `t-pins`, `$knobgate`
/// is knobgate for every user, and `list` lists what is on that cgroup.
fn with_bpffs(script: &str) -> Result<(String, String), Failed> {
    let (copy, cgroup, file): (_, ScratchCgroup, _) =
        (copy_for_others(), scratch(), policy("policy t-pins\n"));
    std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o644))?;
    let knobgate = copy.path().join("knobgate").display().to_string();
    let (policy, cgroup) = (file.path().display(), cgroup.path().display());
    let script = format!(
        "{BPFFS} knobgate={knobgate}; nobody=\"{NOBODY}\"
         attach=\"$knobgate attach --policy {policy} --cgroup {cgroup}\"
         list() {{ $knobgate list | grep -A1 -x {cgroup}; }}
         {script}"
    );
    let output = apart(&script, &[])?;
    assert!(output.status.success(), "{output:?}");
    Ok((stdout(&output), stderr(&output)))
}

fn no_side_effect() -> Result<(), Failed> {
    let (printed, complaint) = with_bpffs("$nobody $attach || echo status $?; ls | grep knobgate || true")?;
    assert_eq!(printed, "status 3\n", "{complaint}");
    // With the capabilities, but not as root: it could not trust its own pins.
    let capable = "--inh-caps=+bpf,+net_admin,+perfmon --ambient-caps=+bpf,+net_admin,+perfmon";
    let (printed, complaint) =
        with_bpffs(&format!("$nobody {capable} $attach || echo status $?; ls | grep knobgate || true"))?;
    assert_eq!(printed, "status 3\n", "{complaint}");
    assert!(complaint.contains("run it as root"), "{complaint}");
    // Root in a user namespace is not root.
    let (printed, complaint) =
        with_bpffs("unshare --user --map-root-user $attach || echo status $?; ls | grep knobgate || true")?;
    assert_eq!(printed, "status 3\n", "{complaint}");
    Ok(())
}

fn moved_away() -> Result<(), Failed> {
    for squat in [
        "mkdir knobgate",
        "mkdir -p knobgate/t-pins/x knobgate/+1-0",
        "mkdir -m 777 knobgate",
        "ln -s /tmp knobgate",
        "ln -s /no/such/directory knobgate",
    ] {
        let (printed, complaint) = with_bpffs(&format!(
            "$nobody sh -c '{squat}'; $attach >/dev/null
             stat -c '%F %u %a' knobgate; ls knobgate; $knobgate show t-pins >/dev/null; $knobgate detach t-pins >/dev/null
             stat -c '%u' knobgate-of-user-65534-*; ls /tmp/t-pins 2>/dev/null || true"
        ))?;
        assert_eq!(printed, "directory 0 700\n_readers\nt-pins\n65534\n", "{squat}: {complaint}");
        assert!(complaint.contains("warning: /sys/fs/bpf/knobgate belonged to user 65534, and was moved to"));
        assert!(complaint.contains("chmod 700 /sys/fs/bpf"), "{complaint}");
    }
    // A process that has the old directory open and locked does not block others.
    let (printed, complaint) = with_bpffs(
        "mkdir knobgate; chown 65534 knobgate; exec 9<knobgate; flock 9
         timeout 30 $attach >/dev/null 9<&- && echo attached",
    )?;
    assert_eq!(printed, "attached\n", "{complaint}");
    Ok(())
}

fn untrusted() -> Result<(), Failed> {
    for (taken, undone, seen_by_doctor) in [
        ("chown 65534 knobgate", "chown 0 knobgate", "1"),
        ("chmod 777 knobgate", "chmod 700 knobgate", "1"),
        ("chown 65534 knobgate/t-pins", "chown 0 knobgate/t-pins", "0"),
        ("chmod 777 knobgate/t-pins", "chmod 700 knobgate/t-pins", "0"),
        ("chown 65534 knobgate/t-pins/cgroup-*", "chown 0 knobgate/t-pins/cgroup-*", "0"),
    ] {
        let (printed, complaint) = with_bpffs(&format!(
            "$attach >/dev/null; list | grep -c ' t-pins:'; {taken}
             for command in show detach; do $knobgate $command t-pins || echo status $?; done
             list | grep -o 'policy \"t-pins\", perhaps pinned'
             $knobgate doctor | grep -c 'proves nothing' || true
             {undone}; $knobgate detach t-pins >/dev/null"
        ))?;
        let expected =
            format!("1\nstatus 3\nstatus 3\npolicy \"t-pins\", perhaps pinned\n{seen_by_doctor}\n");
        assert_eq!(printed, expected, "{taken}: {complaint}");
        assert_eq!(complaint.matches("so what is pinned there proves nothing").count(), 3, "{complaint}");
    }
    Ok(())
}

fn untrusted_bpffs() -> Result<(), Failed> {
    for made_so in ["chown 65534 .", "chmod 777 ."] {
        let (printed, complaint) =
            with_bpffs(&format!("{made_so}; $attach || echo status $?; ls | grep knobgate || true"))?;
        assert_eq!(printed, "status 3\n", "{made_so}: {complaint}");
        assert!(complaint.contains("chown root /sys/fs/bpf && chmod 700 /sys/fs/bpf"), "{complaint}");
    }
    Ok(())
}

fn read_only() -> Result<(), Failed> {
    let (printed, complaint) = with_bpffs(
        "$attach >/dev/null; mount -o remount,ro /sys/fs/bpf; list | grep 't-pins'; mount -o remount,rw /sys/fs/bpf
         $knobgate detach t-pins >/dev/null",
    )?;
    assert!(printed.contains("policy \"t-pins\", perhaps pinned"), "{printed}");
    assert!(complaint.contains("Read-only file system"), "{complaint}");
    Ok(())
}
