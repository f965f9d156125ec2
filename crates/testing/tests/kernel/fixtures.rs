//! Programs and pins that the tests use.

use knobgate_bpf::{Function, Insn, LineEntry, LineTable, Program, Reg, Size, Width, helper_ids};
use knobgate_kernel::{
    AttachmentName, Bpffs, Cgroup, Link, LoadOptions, LoadedProgram, PinDir, ProgramFd, load,
};
use knobgate_testing::{profile, shell};

/// The pin directory that all tests share, and a name for this test.
pub(crate) fn pins(test: &str) -> (PinDir, AttachmentName) {
    let pins = PinDir::create(&Bpffs::find().expect("a bpffs")).expect("a directory for pins");
    (pins, test.parse().expect("a name"))
}

/// A program with these instructions and no maps.
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

/// Allows everything.
pub(crate) fn allow() -> Program {
    program("allow", [Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()])
}

/// Denies writes, with this errno if the kernel supports that.
pub(crate) fn deny_writes(errno: i32) -> Program {
    let deny = if profile().retval_helpers {
        [Insn::mov(Width::W64, Reg::R1, -errno), Insn::call_helper(helper_ids::SET_RETVAL)]
    } else {
        // Programs with different errnos must still differ.
        [Insn::mov(Width::W64, Reg::R1, -errno), Insn::mov(Width::W64, Reg::R2, 0)]
    };
    program(
        "deny_writes",
        [
            Insn::load(Size::U32, Reg::R6, Reg::R1, 0),
            Insn::mov(Width::W64, Reg::R0, 1),
            Insn::jump_if(Width::W64, knobgate_bpf::Cond::Eq, Reg::R6, 0, 3),
            deny[0],
            deny[1],
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

/// Whether a process inside `cgroup` can write a knob.
pub(crate) fn can_write(cgroup: &Cgroup) -> bool {
    let script = "echo test > /proc/sys/kernel/domainname";
    let output = shell(cgroup, script).output().expect("a shell");
    output.status.success()
}
