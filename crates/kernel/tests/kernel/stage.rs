//! What the tests play on.

use std::fmt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use knobgate_bpf::{Function, Insn, LineEntry, LineTable, Program, Reg, Size, Width, helper_ids};
use knobgate_kernel::{
    AttachmentName, Bpffs, Capabilities, Cgroup, Hierarchy, Link, LoadOptions, LoadedProgram, Namespaces,
    Outcome, PinDir, ProgramFd, ScratchCgroup, load, probe, start_inside, with_private_namespaces,
};
use rustix::mount::{MountFlags, mount};

/// What the machine lacks for all of the tests.
pub(crate) enum Missing {
    Capabilities,
    Hierarchy(String),
    Hook(Outcome),
    Mounts(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capabilities => f.write_str("needs root (CAP_BPF and CAP_NET_ADMIN)"),
            Self::Hierarchy(why) => write!(f, "{why}"),
            Self::Hook(outcome) => write!(f, "needs programs for /proc/sys: {outcome}"),
            Self::Mounts(why) => write!(f, "needs a bpffs and a /run of its own: {why}"),
        }
    }
}

/// Makes ready the mounts that the tests share.
pub(crate) fn prepare() -> Option<Missing> {
    if !Capabilities::of_this_process().is_ok_and(Capabilities::can_load) {
        return Some(Missing::Capabilities);
    }
    if let Err(error) = Hierarchy::find().and_then(|hierarchy| hierarchy.root()) {
        return Some(Missing::Hierarchy(error.to_string()));
    }
    if !super::is_inside() {
        return Some(Missing::Mounts("there is no mount namespace".to_owned()));
    }
    let mounts = [("tmpfs", "/run"), ("bpf", "/sys/fs/bpf")];
    for (fs_type, point) in mounts {
        if let Err(error) = mount(fs_type, point, fs_type, MountFlags::empty(), None) {
            return Some(Missing::Mounts(format!("{point}: {error}")));
        }
    }
    let hook = probe().hook;
    (!hook.is_yes()).then_some(Missing::Hook(hook))
}

pub(crate) fn root() -> Cgroup {
    Hierarchy::find().and_then(|hierarchy| hierarchy.root()).expect("the root cgroup")
}

/// A cgroup for one test.
pub(crate) fn scratch() -> ScratchCgroup {
    ScratchCgroup::create(&root(), "knobgate-test-").expect("a scratch cgroup")
}

/// The directory of pins that the tests share, with a name that no other test has.
pub(crate) fn pins(test: &str) -> (PinDir, AttachmentName) {
    let pins = PinDir::create(&Bpffs::find().expect("a bpffs")).expect("a directory for pins");
    (pins, test.parse().expect("a name"))
}

/// A program of these instructions and no maps.
pub(crate) fn program(name: &str, insns: impl IntoIterator<Item = Insn>) -> Program {
    Program {
        name: name.to_owned(),
        insns: insns.into_iter().collect(),
        functions: vec![Function { name: "main".to_owned(), start: 0 }],
        lines: LineTable {
            file: "test.knob".to_owned(),
            entries: vec![LineEntry { insn: 0, line: 1, column: 1, text: "policy test".to_owned() }],
        },
        ..Program::default()
    }
}

/// Lets everything pass.
pub(crate) fn allow() -> Program {
    program("allow", [Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()])
}

/// Denies writes with this errno.
pub(crate) fn deny_writes(errno: i32) -> Program {
    program(
        "deny_writes",
        [
            Insn::load(Size::U32, Reg::R6, Reg::R1, 0),
            Insn::mov(Width::W64, Reg::R0, 1),
            Insn::jump_if(Width::W64, knobgate_bpf::Cond::Eq, Reg::R6, 0, 3),
            Insn::mov(Width::W64, Reg::R1, -errno),
            Insn::call_helper(helper_ids::SET_RETVAL),
            Insn::mov(Width::W64, Reg::R0, 0),
            Insn::exit(),
        ],
    )
}

pub(crate) fn loaded(program: &Program) -> LoadedProgram {
    load(program, &LoadOptions::default()).expect("the program loads")
}

pub(crate) fn id(program: &ProgramFd) -> u32 {
    program.info().expect("info").id
}

pub(crate) fn attach(program: &Program, cgroup: &Cgroup) -> (ProgramFd, Link) {
    let program = loaded(program).program;
    let link = Link::create(&program, cgroup).expect("a link");
    (program, link)
}

/// A shell inside `cgroup` that runs `script`, with host and domain name of its own.
pub(crate) fn shell(cgroup: &Cgroup, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    start_inside(&mut command, cgroup).expect("cgroup.procs");
    with_private_namespaces(&mut command, Namespaces { uts: true, ..Namespaces::default() });
    command
}

/// Whether a process inside `cgroup` can write a knob.
pub(crate) fn can_write(cgroup: &Cgroup) -> bool {
    let script = "echo test > /proc/sys/kernel/domainname";
    let output = shell(cgroup, script).output().expect("a shell");
    output.status.success()
}

/// Waits until `condition` holds; fails after some seconds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "not in ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs, which a zombie does not.
pub(crate) fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])))
}

/// A child that is killed and waited for in the end.
pub(crate) struct Reaped(pub(crate) Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Removes a cgroup, that the code under test should have removed, in the end.
pub(crate) struct RemovedAtLast(pub(crate) PathBuf);

impl Drop for RemovedAtLast {
    fn drop(&mut self) {
        if let Ok(cgroup) = Cgroup::open(&self.0) {
            let _ = cgroup.kill_and_remove();
        }
    }
}
