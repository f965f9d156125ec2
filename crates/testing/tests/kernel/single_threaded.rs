//! Starting commands with clone3(2), from a process with one thread on one CPU, like `knobgate`.
//!
//! The test program has several threads, so each case runs in a process of its own. It also has its own pid namespace:
//! if a failed call's -1 were used as a process id, a signal would reach every process of the machine.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

use knobgate_kernel::{Cgroup, ProcessId, spawn_inside};
use knobgate_testing::{deny_clone3, scratch};
use libtest_mimic::Failed;
use rustix::process::{WaitOptions, WaitStatus};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::spawns::{names, print_cgroup};

pub(crate) const TESTS: &[super::Test] = &[
    ("a_command_is_cloned_into_its_cgroup", cloned),
    ("a_command_without_a_program_leaves_no_process", no_program),
    ("if_clone3_is_filtered_a_command_enters_its_cgroup", filtered),
    ("if_no_process_can_be_created_a_command_is_not_started", no_process),
    ("no_command_starts_in_a_removed_cgroup", gone),
    ("a_command_starts_in_a_threaded_cgroup_and_not_in_an_invalid_one", threaded),
];

/// The argument that makes this program start a command. The other arguments are the case and the cgroup.
pub(crate) const STARTER: &str = "--start-a-command";

/// Runs a case in the process with one thread. It exits with 0 on success.
pub(crate) fn start(case: &str, path: &Path) -> ! {
    assert_eq!(std::fs::read_dir("/proc/self/task").expect("threads").count(), 1);
    let allowed = sched_getaffinity(None).expect("CPUs");
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)).expect("a CPU"));
    sched_setaffinity(None, &one).expect("a CPU");

    let cgroup = Cgroup::open(path).expect("the cgroup");
    match case {
        "cloned" => {
            assert_eq!(end(spawn_inside(&mut print_cgroup(), &cgroup).expect("a command")), Some(0));
        }
        "no program" => {
            let error = spawn_inside(&mut Command::new("/knobgate-test-nothing"), &cgroup);
            assert_eq!(error.expect_err("no command").kind(), ErrorKind::NotFound);
        }
        "ENOSYS" | "EPERM" => {
            deny_clone3(if case == "EPERM" { libc::EPERM } else { libc::ENOSYS });
            assert_eq!(end(spawn_inside(&mut print_cgroup(), &cgroup).expect("a command")), Some(0));
        }
        "no process" => {
            // The first child is the init of a pid namespace. After that has ended, fork(2) fails with ENOMEM.
            assert!(Command::new("true").status().expect("an init").success());
            let error = spawn_inside(&mut print_cgroup(), &cgroup).expect_err("no process");
            assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "{error}");
        }
        "invalid" => {
            let error = spawn_inside(&mut print_cgroup(), &cgroup).expect_err("it cannot have processes");
            assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}");
        }
        "gone" => {
            cgroup.remove().expect("it is empty");
            let error =
                spawn_inside(&mut print_cgroup(), &cgroup).expect_err("there is no cgroup to start in");
            assert!(error.to_string().contains("cgroup.procs"), "{error}");
        }
        other => panic!("there is no case {other}"),
    }
    let children = format!("/proc/self/task/{}/children", std::process::id());
    assert_eq!(std::fs::read_to_string(children).expect("the children"), "", "one was not waited for");
    std::process::exit(0)
}

fn end(child: ProcessId) -> Option<i32> {
    child.wait(WaitOptions::empty()).expect("a child").and_then(WaitStatus::exit_status)
}

/// Runs a case on a cgroup, next to a process that must survive. Returns its output.
fn run(case: &str, cgroup: &Cgroup) -> Output {
    let mut starter = Command::new("unshare");
    starter.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-c"]);
    starter.arg(r#"sleep 1000 & "$@" || exit; kill -0 $! || exit 99; kill $!"#).arg("sh");
    if case == "no process" {
        starter.args(["unshare", "--pid", "--"]);
    }
    starter.arg(std::env::current_exe().expect("this program")).args([STARTER, case]).arg(cgroup.path());
    let output = starter.output().expect("unshare");
    assert!(output.status.success(), "{case}: {output:?}");
    output
}

fn cloned() -> Result<(), Failed> {
    let cgroup = scratch();
    assert!(names(&run("cloned", &cgroup).stdout, &cgroup));
    Ok(())
}

fn no_program() -> Result<(), Failed> {
    run("no program", &scratch());
    Ok(())
}

fn filtered() -> Result<(), Failed> {
    for errno in ["ENOSYS", "EPERM"] {
        let cgroup = scratch();
        assert!(names(&run(errno, &cgroup).stdout, &cgroup), "{errno}");
    }
    Ok(())
}

fn no_process() -> Result<(), Failed> {
    run("no process", &scratch());
    Ok(())
}

fn gone() -> Result<(), Failed> {
    let cgroup = scratch();
    run("gone", &cgroup.create("gone")?);
    Ok(())
}

fn threaded() -> Result<(), Failed> {
    let cgroup = scratch();
    let (threaded, beside) = (cgroup.create("threaded")?, cgroup.create("beside")?);
    std::fs::write(threaded.path().join("cgroup.type"), "threaded")?;
    assert!(names(&run("cloned", &threaded).stdout, &threaded));
    run("invalid", &beside);
    run("invalid", &threaded.create("below")?);
    Ok(())
}
