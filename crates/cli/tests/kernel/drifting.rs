//! Knobs that differ from sysctl.d, and their writers.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use knobgate_hook::Profile;
use knobgate_kernel::{Namespaces, with_private_namespaces};
use knobgate_testing::{Suite, Test, scratch, shell};
use libtest_mimic::Failed;
use tempfile::NamedTempFile;

use crate::setting::{DetachOnDrop, KNOBGATE, attach, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("the_writer_of_a_knob_that_drifted_is_named", named),
    ("a_policy_that_keeps_the_configuration_from_being_restored_is_named", denied),
];

const SYSTEMD_SYSCTL: &str = "/usr/lib/systemd/systemd-sysctl";

/// The test that compares with systemd.
pub(crate) fn with_systemd(suite: Suite) -> Suite {
    let need =
        |_: &Profile| (!Path::new(SYSTEMD_SYSCTL).exists()).then(|| format!("there is no {SYSTEMD_SYSCTL}"));
    suite.test("after_systemd_sysctl_nothing_has_drifted", need, systemd)
}

fn conf(text: &str) -> Result<NamedTempFile, Failed> {
    let mut file = NamedTempFile::with_suffix(".conf")?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

const POLICY: &str = "policy t-drift
allow write net.core.somaxconn if new < 1000 log
allow write kernel.domainname log
clamp write net.ipv4.ip_default_ttl to 1..64
";

fn named() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-drift");
    attach(policy(POLICY).path(), &cgroup, "t-drift");
    let conf = conf(
        "net.core.somaxconn = 222\nkernel.domainname = configured\nnet.ipv4.ip_default_ttl = 100\nnet.core.optmem_max = 1234\n",
    )?;
    let script = format!(
        "cd /proc/sys; echo 0x6f > net/core/somaxconn; printf other > kernel/domainname
         echo 200 > net/ipv4/ip_default_ttl
         unshare --net sh -c 'echo 333 > /proc/sys/net/core/somaxconn'
         exec {KNOBGATE} drift {}",
        conf.path().display()
    );
    let output = shell(&cgroup, &script).output()?;
    let printed = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let after = |setting: &str| -> Result<Vec<&str>, Failed> {
        let start = printed.lines().position(|line| line.ends_with(setting)).ok_or(setting)?;
        Ok(printed.lines().skip(start + 1).take_while(|line| line.starts_with(' ')).collect())
    };
    for (setting, running, written) in [
        (":1: net.core.somaxconn = 222", "111", r#"write net.core.somaxconn "0x6f\n" was "#),
        (":2: kernel.domainname = configured", "other", r#"write kernel.domainname "other" was "#),
        (":3: net.ipv4.ip_default_ttl = 100", "64", r#"write net.ipv4.ip_default_ttl "200\n" → "64\n\n""#),
    ] {
        let lines = after(setting)?;
        assert_eq!(lines[0].trim(), format!("running {running}"), "{printed}");
        assert!(lines[1].starts_with("  written 20") && lines[1].contains(written), "{written}: {printed}");
        assert!(lines[1].contains(" sh[") && lines[1].contains("t-drift:"), "{printed}");
        assert_eq!(
            lines[2..].iter().map(|line| line.trim()).collect::<Vec<_>>(),
            ["this is the running value"]
        );
    }
    assert_eq!(after(":4: net.core.optmem_max = 1234")?[1], "  no event says who wrote it", "{printed}");
    assert_eq!(printed.lines().last(), Some("1 file, 4 knobs: 4 different"));
    assert!(stderr(&output).contains("this process's network namespace and UTS namespace"), "{output:?}");
    Ok(())
}

fn denied() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-drift-denied");
    attach(policy(&POLICY.replace("t-drift", "t-drift-2")).path(), &cgroup, "t-drift-denied");
    let conf = conf("net.core.somaxconn = 2222\n")?;
    let path = conf.path().display();
    let script = format!(
        "echo 111 > /proc/sys/net/core/somaxconn; echo 2222 > /proc/sys/net/core/somaxconn
         exec {KNOBGATE} drift {path} --format json"
    );
    let output = shell(&cgroup, &script).output()?;
    let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let knob = &document["knobs"][0];
    assert_eq!(
        (&knob["state"], &knob["written"]["explains"]),
        (&"differs".into(), &true.into()),
        "{document:#}"
    );
    assert_eq!(knob["written"]["event"]["new"]["text"], "111\n");
    assert_eq!(knob["denied"]["outcome"], "denied", "{document:#}");
    assert_eq!(knob["denied"]["attachment"], "t-drift-denied");
    Ok(())
}

/// What systemd leaves in the knobs is what `drift` says that the files set.
fn systemd() -> Result<(), Failed> {
    let script = r#"
        set -e
        mount -t tmpfs t /run && mkdir /run/sysctl.d /run/etc /run/lib
        cd /run
        cat > lib/10-a.conf <<-END
			net.ipv4.conf.*.rp_filter = 2
			net.core.somaxconn = 111
			net.ipv4.ip_default_ttl = 0x20
		END
        printf 'net.core.somaxconn = 222\nnet.ipv4.conf.l*.rp_filter = 1\n' > etc/20-b.conf
        printf 'net.core.somaxconn = 333\n' > lib/20-b.conf
        printf 'net.ipv4.tcp_rmem = 5000\n' | tee lib/30-c.conf > lib/40-d.conf
        : > etc/30-c.conf; ln -s /dev/null etc/40-d.conf
        cat > etc/50-e.conf <<-END
			net.ipv4.conf.*.rp_filter = 2
			-net.ipv4.conf.default.rp_filter
			net/ipv4/conf/all/rp_filter = 0
			net.ipv4.ip_default_ttl = 99
			-net.ipv4.ip_default_ttl
			-net.no.such.knob = 1
			net.ipv4.tcp_wmem = 5000
			net.ipv4.ip_local_reserved_ports = 8080,8081
		END
        printf 'net.ipv4.ip_forward = 1\n' > sysctl.d/60.conf
        mount --bind etc /etc/sysctl.d; mount --bind lib /usr/lib/sysctl.d
        [ ! -d /usr/local/lib/sysctl.d ] || mount -t tmpfs t /usr/local/lib/sysctl.d
        "$0" drift || echo "before: $?"
        "$1" --prefix=net
        "$0" drift
        cat /proc/sys/net/ipv4/ip_default_ttl
    "#;
    let mut command = Command::new("sh");
    command.args(["-c", script, KNOBGATE, SYSTEMD_SYSCTL]);
    let namespaces = Namespaces { net: true, uts: true, ipc: true, mount: true };
    with_private_namespaces(&mut command, namespaces);
    let output = command.output()?;
    let printed = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert!(printed.contains("before: 1\n"), "{printed}");
    let after: Vec<&str> = printed.lines().rev().take(2).collect();
    assert_eq!(after[0], "64", "the later exclusion counts");
    assert_eq!(after[1], "5 files, 7 knobs: 6 as configured, 1 not on this machine", "{printed}");
    Ok(())
}
