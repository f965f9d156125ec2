//! File systems that are mounted below `/proc/sys`.

use std::fs;

use knobgate_hook::Profile;
use knobgate_testing::Test;
use libtest_mimic::Failed;

use crate::setting::{Runs, stderr, stdout};

pub(crate) const TESTS: &[Test] =
    &[("files_on_a_separate_file_system_pass_the_strictest_policy", not_judged)];

/// What tests that mount binfmt_misc require.
pub(crate) fn binfmt_misc(_: &Profile) -> Option<String> {
    let known = fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("\tbinfmt_misc\n"));
    (!known).then(|| "this kernel has no binfmt_misc".to_owned())
}

fn not_judged() -> Result<(), Failed> {
    let runs = Runs::new("t-mounted", "default read deny\ndefault write deny\n");
    let output = runs.script(
        "unshare --mount sh -c 'cat /proc/sys/kernel/ostype
             mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && cat /proc/sys/fs/binfmt_misc/status'",
    );
    let printed = stdout(&output);
    assert!(matches!(printed.as_str(), "enabled\n" | "disabled\n"), "{output:?}");
    assert!(stderr(&output).contains("Operation not permitted"), "{output:?}");
    Ok(())
}
