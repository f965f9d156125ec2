//! Filters of system calls, as container engines and units have them.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// Lets clone3(2) fail with `errno` in this thread, and in all that it starts from now on. There is no way back.
///
/// # Panics
///
/// If there can be no filter.
pub fn deny_clone3(errno: i32) {
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("an architecture with filters");
    let denied = SeccompAction::Errno(errno.cast_unsigned());
    let rules = [(libc::SYS_clone3, Vec::new())].into();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, arch).expect("a filter");
    let program = BpfProgram::try_from(filter).expect("a program");
    apply_filter(&program).expect("the filter is installed");
}
