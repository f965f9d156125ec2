//! Overruling the policy with a program on its cgroup or above, which runs after it.

use std::path::Path;

use knobgate_bpf::{Insn, Program, Reg, Size, Width, helper_ids};
use knobgate_kernel::{
    AttachMode, AttachPosition, Cgroup, LoadError, LoadOptions, LoadedProgram, load, prog_attach,
};
use knobgate_testing::Test;
use libtest_mimic::Failed;

use super::{Case, Did, Stage};

pub(super) const TESTS: &[Test] = &[("a_process_overrules_the_policy_exactly_if_doctor_says_so", overruling)];

/// The argument that makes this program attach a program to this cgroup that allows everything, or, on kernels where no
/// program can, one that replaces allowed values by 200.
pub(super) const OVERRULE: &str = "--overrule";

pub(super) fn overrule(cgroup: &Path) -> Did {
    let program = loaded(overturn_denials()).or_else(|_| loaded(replaces_values()))?;
    Ok(prog_attach(&program.program, &Cgroup::open(cgroup)?, AttachMode::Multi, &AttachPosition::default())?)
}

fn loaded(mut insns: Vec<Insn>) -> Result<LoadedProgram, LoadError> {
    insns.extend([Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()]);
    let program = Program { name: "t_overrules".to_owned(), insns, ..Program::default() };
    load(&program, &LoadOptions::default())
}

/// `bpf_set_retval(0)`.
fn overturn_denials() -> Vec<Insn> {
    vec![Insn::mov(Width::W64, Reg::R1, 0), Insn::call_helper(helper_ids::SET_RETVAL)]
}

/// `bpf_sysctl_set_new_value(ctx, "200\n", 4)`.
fn replaces_values() -> Vec<Insn> {
    vec![
        Insn::store(Size::U32, Reg::R10, -4, i32::from_le_bytes(*b"200\n")),
        Insn::mov(Width::W64, Reg::R2, Reg::R10),
        Insn::alu(Width::W64, knobgate_bpf::AluOp::Add, Reg::R2, -4),
        Insn::mov(Width::W64, Reg::R3, 4),
        Insn::call_helper(helper_ids::SYSCTL_SET_NEW_VALUE),
    ]
}

const CASES: &[Case<'_>] = &[
    Case {
        what: "CAP_BPF and CAP_NET_ADMIN",
        setup: "ROOT[,+bpf,+net_admin]",
        tries: "\"$SELF\" --overrule \"$TOP\"",
        works: true,
        says: "possible",
    },
    Case {
        what: "CAP_BPF and CAP_NET_ADMIN of another user, on the cgroup with the policy",
        setup: "USER[,+bpf,+net_admin]",
        tries: "\"$SELF\" --overrule \"$HELD\"",
        works: true,
        says: "possible",
    },
    Case {
        what: "CAP_SYS_ADMIN",
        setup: "ROOT[,+sys_admin]",
        tries: "\"$SELF\" --overrule \"$TOP\"",
        works: true,
        says: "possible",
    },
    Case {
        what: "all capabilities, in a user namespace of its own",
        setup: "exec unshare --user --map-root-user \"$@\"",
        tries: "\"$SELF\" --overrule \"$TOP\"",
        works: false,
        says: "possible",
    },
    Case {
        what: "CAP_BPF alone",
        setup: "ROOT[,+bpf]",
        tries: "\"$SELF\" --overrule \"$TOP\"",
        works: false,
        says: "possible",
    },
    Case {
        what: "CAP_NET_ADMIN alone",
        setup: "ROOT[,+net_admin]",
        tries: "\"$SELF\" --overrule \"$TOP\"",
        works: false,
        says: "possible",
    },
    Case {
        what: "CAP_BPF and CAP_NET_ADMIN, with no cgroups in sight",
        setup: "exec unshare --mount sh -c 'umount -l \"$MOUNT\" && ROOT[,+bpf,+net_admin]' sh \"$@\"",
        tries: "\"$SELF\" --overrule \"$TOP\"",
        works: false,
        says: "possible",
    },
    Case {
        what: "the same, with a cgroup open",
        setup: "exec 9<\"$TOP\"; exec unshare --mount sh -c 'umount -l \"$MOUNT\" && ROOT[,+bpf,+net_admin]' sh \"$@\"",
        tries: "\"$SELF\" --overrule /proc/self/fd/9",
        works: true,
        says: "possible",
    },
    Case {
        what: "CAP_BPF and CAP_NET_ADMIN, that sees nothing above the cgroup with the policy",
        setup: "exec unshare --cgroup --mount sh -c 'NAMESPACE && ROOT[,+bpf,+net_admin]' sh \"$@\"",
        tries: "\"$SELF\" --overrule \"$MOUNT\"",
        works: true,
        says: "possible",
    },
    Case {
        what: "CAP_BPF and CAP_NET_ADMIN, that sees only what is below the cgroup with the policy",
        setup: "mkdir \"$HELD/below\" && echo $$ >\"$HELD/below/cgroup.procs\" &&
            exec unshare --cgroup --mount sh -c 'NAMESPACE && ROOT[,+bpf,+net_admin]' sh \"$@\"",
        tries: "\"$SELF\" --overrule \"$MOUNT\"",
        works: false,
        says: "possible",
    },
];

fn overruling() -> Result<(), Failed> {
    for case in CASES {
        let stage = Stage::new("t-overruling", super::POLICY)?;
        let played = stage.play(case)?;
        played.expect(case, "overruling", stage.is_opened(case, &played.cgroup)?);
    }
    Ok(())
}
