//! Reviews of what an attached policy would deny.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use std::{fs, thread};

use knobgate_testing::{Test, scratch, shell};
use libtest_mimic::Failed;

use crate::setting::{DetachOnDrop, attach, knobgate, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("what_an_attached_policy_would_deny_is_reviewed_until_it_enforces", reviewed),
    ("a_policy_that_is_not_attached_has_nothing_to_review", not_attached),
];

const POLICY: &str = "policy t-review
mode audit

default write deny

allow write net.ipv4.ip_default_ttl if new == 100
";

const SCRIPT: &str = "cd /proc/sys
    echo 100 > net/ipv4/ip_default_ttl; echo 101 > net/ipv4/ip_default_ttl
    printf name > kernel/domainname; echo 5 > net/core/somaxconn
    exec cat net/ipv4/ip_default_ttl net/core/somaxconn kernel/domainname";

/// `knobgate learn --review` with these answers.
fn review(path: &Path, answers: &'static str) -> Result<Output, Failed> {
    let mut command = knobgate(["learn", "--review"]);
    command.arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().expect("it is piped");
    // It may end before it has read them.
    let answering = thread::spawn(move || drop(stdin.write_all(answers.as_bytes())));
    let output = child.wait_with_output()?;
    answering.join().expect("no panic");
    Ok(output)
}

fn reviewed() -> Result<(), Failed> {
    let cgroup = scratch();
    let _detached = DetachOnDrop("t-review");
    let file = policy(POLICY);
    attach(file.path(), &cgroup, "t-review");
    let output = shell(&cgroup, SCRIPT).output()?;
    assert_eq!(stdout(&output), "101\n5\nname\n", "{output:?}");

    // The name is allowed, then the length of the queue denied, and the number allowed.
    let output = review(file.path(), "a\nd\na\ny\n")?;
    let printed = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    for expected in [
        "\n1 of 3: write kernel.domainname\n  seen    1 event, 20",
        "\n  by      sh\n  values  \"name\"\n  allow   allow write kernel.domainname if new == \"name\"\n",
        "\n+deny write net.core.somaxconn if new == 5\n",
        "\n+allow write net.ipv4.ip_default_ttl if new == 101\n",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let notes = stderr(&output);
    for expected in
        ["the attachment \"t-review\" is still as it was", "write `mode enforce` for `mode audit`"]
    {
        assert!(notes.contains(expected), "{expected}: {notes}");
    }

    // As the last note says.
    let text = fs::read_to_string(file.path())?;
    fs::write(file.path(), text.replace("mode audit", "mode enforce"))?;
    attach(file.path(), &cgroup, "t-review");
    let output = shell(&cgroup, SCRIPT).output()?;
    let knobs = stdout(&output);
    assert!(
        knobs.starts_with("101\n") && !knobs.contains("\n5\n") && knobs.ends_with("\nname\n"),
        "{output:?}"
    );

    let output = review(file.path(), "")?;
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).ends_with(": there is nothing to review\n"), "{output:?}");
    Ok(())
}

fn not_attached() -> Result<(), Failed> {
    let file = policy(&POLICY.replace("t-review", "t-review-nowhere"));
    let output = review(file.path(), "")?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let expected = "error: no attachment remembers events of the policy \"t-review-nowhere\": attach it";
    assert!(stderr(&output).contains(expected), "{output:?}");
    assert_eq!(fs::read_to_string(file.path())?, POLICY.replace("t-review", "t-review-nowhere"));
    Ok(())
}
