//! System call filters, like those of container engines and units.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

/// Makes clone3(2) fail with `errno` for this thread and everything that it starts from now on. This cannot be undone.
///
/// # Panics
///
/// The filter cannot be installed.
pub fn deny_clone3(errno: i32) {
    deny([(libc::SYS_clone3, Vec::new())].into(), errno);
}

/// The same for inotify_add_watch(2).
///
/// # Panics
///
/// The filter cannot be installed.
pub fn deny_inotify_watches(errno: i32) {
    deny([(libc::SYS_inotify_add_watch, Vec::new())].into(), errno);
}

/// The same for a command of bpf(2).
///
/// # Panics
///
/// The filter cannot be installed.
pub fn deny_bpf(command: u32, errno: i32) {
    let is_command = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, command.into())
        .expect("a condition");
    let rule = SeccompRule::new(vec![is_command]).expect("a rule");
    deny([(libc::SYS_bpf, vec![rule])].into(), errno);
}

fn deny(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) {
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("an architecture with filters");
    let denied = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, arch).expect("a filter");
    let program = BpfProgram::try_from(filter).expect("a program");
    apply_filter(&program).expect("the filter is installed");
}
