//! Programs that the verifier accepts, and programs that it rejects, with the reasons.

use knobgate_bpf::{AluOp, ByteOrder, Cond, Imm64, Insn, Program, Reg, Size, Width, helper_ids};
use knobgate_hook::{LoadOptions, LoadedProgram, Profile};

fn load(insns: &[Insn], profile: &Profile, expected_attach_type: u32) -> Result<(), String> {
    let program = Program { insns: insns.to_vec(), ..Program::default() };
    LoadedProgram::load(&program, profile, &LoadOptions { expected_attach_type, ..LoadOptions::default() })
        .map(|_| ())
        .map_err(|rejection| rejection.to_string())
}

fn mov(register: Reg, value: i32) -> Insn {
    Insn::mov(Width::W64, register, value)
}

#[test]
fn bad_programs_are_rejected_with_the_reason() {
    let exit = Insn::exit();
    let one = mov(Reg::R0, 1);
    let [wide, half] = Insn::load_imm64(Reg::R2, knobgate_bpf::Imm64::Value(0));
    for (insns, reason) in [
        (&[][..], "no instructions"),
        (&[one], "last insn is not an exit or jmp"),
        (&[exit], "R0 !read_ok"),
        (&[Insn::mov(Width::W64, Reg::R0, Reg::R6), exit], "R6 !read_ok"),
        (
            &[mov(Reg::R0, 2), exit],
            "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]",
        ),
        (&[Insn::mov(Width::W32, Reg::R0, -1), exit], "has smin=4294967295 smax=4294967295"),
        (&[Insn::load(Size::U32, Reg::R0, Reg::R1, 4), exit], "has smin=0 smax=4294967295"),
        (&[Insn::call_helper(helper_ids::KTIME_GET_NS), exit], "has unknown scalar value"),
        (
            &[Insn::mov(Width::W64, Reg::R0, Reg::R1), exit],
            "At program exit the register R0 is not a known value (ctx)",
        ),
        (&[one, exit, exit], "unreachable insn 2"),
        (&[one, Insn::jump(5), exit], "jump out of range"),
        (&[one, Insn::jump(-3), exit], "jump out of range"),
        (&[one, Insn::jump(-1), exit], "unreachable insn 2"),
        (
            &[one, Insn::jump_if(Width::W64, Cond::Eq, Reg::R0, 0, 1), wide, half, exit],
            "into the middle of the 64-bit immediate load at instruction 2",
        ),
        (&[mov(Reg::R10, 1), one, exit], "frame pointer is read only"),
        (&[Insn::load(Size::U64, Reg::R2, Reg::R1, 0), one, exit], "invalid bpf_context access off=0 size=8"),
        (&[Insn::load(Size::U16, Reg::R2, Reg::R1, 3), one, exit], "invalid bpf_context access off=3 size=2"),
        (&[Insn::load(Size::U8, Reg::R2, Reg::R1, 8), one, exit], "invalid bpf_context access off=8 size=1"),
        (
            &[one, Insn::store(Size::U32, Reg::R1, 0, Reg::R0), exit],
            "invalid bpf_context access off=0 size=4",
        ),
        (
            &[one, Insn::store(Size::U16, Reg::R1, 4, Reg::R0), exit],
            "invalid bpf_context access off=4 size=2",
        ),
        (
            &[one, Insn::store(Size::U8, Reg::R10, -513, Reg::R0), exit],
            "invalid write to stack R10 off=-513 size=1",
        ),
        (
            &[one, Insn::store(Size::U8, Reg::R10, 0, Reg::R0), exit],
            "invalid write to stack R10 off=0 size=1",
        ),
        (
            &[mov(Reg::R2, 5), Insn::load(Size::U8, Reg::R2, Reg::R2, 0), one, exit],
            "R2 invalid mem access 'scalar'",
        ),
        (&[one, Insn::store(Size::U8, Reg::R0, 0, Reg::R0), exit], "R0 invalid mem access 'scalar'"),
        (&[Insn::call_helper(4), one, exit], "invalid func unknown#4"),
        (&[Insn::call_helper(helper_ids::TIMER_INIT), one, exit], "bpf_timer_init#169 is not modelled"),
        (
            &[Insn::call_helper(helper_ids::COPY_FROM_USER), one, exit],
            "helper call might sleep in a non-sleepable prog (bpf_copy_from_user)",
        ),
        (
            &[Insn::call_helper(helper_ids::COPY_FROM_USER_TASK), one, exit],
            "helper call might sleep in a non-sleepable prog (bpf_copy_from_user_task)",
        ),
        (&[Insn::call_function(-1), one, exit], "the call stack of 9 frames is too deep"),
        (&[Insn::call_kfunc(12, 0), one, exit], "kernel function 12"),
    ] {
        let message = load(insns, &Profile::LINUX_6_18, 18).expect_err(reason);
        assert!(message.contains(reason), "{message:?} is not {reason:?}");
    }
}

#[test]
fn differences_between_kernels_are_in_the_profile() {
    let old: Profile = "5.4".parse().expect("a profile");
    let exit = [mov(Reg::R0, 1), Insn::exit()];
    for (insn, reason) in [
        (Insn::store(Size::U32, Reg::R1, 4, 0), "BPF_ST stores into R1 ctx is not allowed"),
        (
            Insn::call_helper(helper_ids::GET_RETVAL),
            "program of this type cannot use helper bpf_get_retval#186",
        ),
        (Insn::call_helper(helper_ids::KTIME_GET_NS), "cannot use helper bpf_ktime_get_ns#5"),
        (Insn::mov_signed(Width::W64, Size::U8, Reg::R2, Reg::R1), "does not know ISA v4"),
        (Insn::may_goto(0), "does not know may_goto"),
    ] {
        let message = load(&[&[insn], &exit[..]].concat(), &old, 18).expect_err(reason);
        assert!(message.contains(reason), "{message:?} is not {reason:?}");
    }
    let callback = [
        &[mov(Reg::R1, 3)][..],
        &Insn::load_imm64(Reg::R2, Imm64::Function { off: 6 }),
        &[mov(Reg::R3, 0), mov(Reg::R4, 0), Insn::call_helper(helper_ids::LOOP)],
        &exit,
        &[mov(Reg::R0, 0), Insn::exit()],
    ]
    .concat();
    for (kernel, reason) in [
        ("5.10", "unrecognized bpf_ld_imm64 insn"),
        ("5.15", "program of this type cannot use helper bpf_loop#181"),
    ] {
        let message = load(&callback, &kernel.parse().expect("a profile"), 18).expect_err(reason);
        assert!(message.contains(reason), "{message:?} is not {reason:?}");
    }
    assert_eq!(load(&callback, &Profile::LINUX_6_18, 18), Ok(()));
    let retval = [&[Insn::call_helper(helper_ids::GET_RETVAL)], &exit[..]].concat();
    assert_eq!(load(&retval, &Profile::LINUX_6_18, 18), Ok(()));
    assert!(load(&retval, &Profile::LINUX_6_18, 0).is_err());
    let loops = [
        &[mov(Reg::R2, 3), Insn::alu(Width::W64, AluOp::Sub, Reg::R2, 1)][..],
        &[Insn::jump_if(Width::W64, Cond::Ne, Reg::R2, 0, -2)],
        &exit,
    ]
    .concat();
    assert_eq!(load(&loops, &old, 18), Ok(()));
    let mut older = old;
    older.bounded_loops = false;
    assert!(load(&loops, &older, 18).expect_err("a loop").contains("back-edge"));
}

#[test]
fn a_size_must_be_more_than_0_as_far_as_the_kernel_can_tell() {
    // Replaces what is written with as many bytes as the file position says, up to 8, unless `guard` leads away.
    let program = |guard: Option<(Cond, i32)>| {
        let guard = guard.map(|(cond, imm)| Insn::jump_if(Width::W64, cond, Reg::R3, imm, 3));
        let rest = i16::from(guard.is_some()) + 3;
        let before = [
            Insn::load(Size::U32, Reg::R3, Reg::R1, 4),
            Insn::store(Size::U64, Reg::R10, -8, Reg::R3),
            Insn::jump_if(Width::W64, Cond::Gt, Reg::R3, 8, rest),
        ];
        let after = [
            Insn::mov(Width::W64, Reg::R2, Reg::R10),
            Insn::alu(Width::W64, AluOp::Add, Reg::R2, -8),
            Insn::call_helper(helper_ids::SYSCTL_SET_NEW_VALUE),
            mov(Reg::R0, 1),
            Insn::exit(),
        ];
        before.into_iter().chain(guard).chain(after).collect::<Vec<Insn>>()
    };
    let (none, equal, less) = (None, Some((Cond::Eq, 0)), Some((Cond::Lt, 1)));
    for (kernel, guard, is_taken) in [
        ("5.10", none, false),
        ("6.18", none, false),
        ("5.10", equal, false),
        ("5.15", equal, false),
        ("6.1.192", equal, false),
        ("6.8", equal, true),
        ("6.18", equal, true),
        ("5.10", less, true),
        ("6.1.192", less, true),
        ("6.18", less, true),
    ] {
        let message = load(&program(guard), &kernel.parse().expect("a profile"), 18)
            .map_err(|message| message.split_once(": ").map(|(_, reason)| reason.to_owned()));
        let reason = "R3 invalid zero-sized read: u64=[0,8]".to_owned();
        let expected = if is_taken { Ok(()) } else { Err(Some(reason)) };
        assert_eq!(message, expected, "{kernel} {guard:?}");
    }
}

#[test]
fn since_7_2_set_retval_takes_only_a_provable_errno() {
    let r1 = Reg::R1;
    let position = Insn::load(Size::U32, r1, r1, 4);
    let set = |insns: &[Insn]| {
        let end = [Insn::call_helper(helper_ids::SET_RETVAL), mov(Reg::R0, 1), Insn::exit()];
        ["6.18", "7.2"].map(|name| {
            load(&[insns, &end].concat(), &name.parse().expect("a profile"), 18).map_err(|message| {
                message.split_once(": ").map_or(message.clone(), |(_, reason)| reason.to_owned())
            })
        })
    };
    for insns in [
        vec![mov(r1, 0)],
        vec![mov(r1, -4095)],
        // It is an int.
        vec![Insn::mov(Width::W32, r1, -1)],
        vec![position, Insn::alu(Width::W64, AluOp::And, r1, 63), Insn::neg(Width::W64, r1)],
        // What is known on each way, and not of both together.
        vec![position, Insn::jump_if(Width::W64, Cond::Eq, r1, 0, 1), mov(r1, -5)],
    ] {
        assert_eq!(set(&insns), [Ok(()), Ok(())], "{insns:?}");
    }
    for (insns, reason) in [
        (
            vec![mov(r1, 1)],
            "At bpf_set_retval the register R1 has smin=1 smax=1 should have been in [-4095, 0]",
        ),
        (
            vec![mov(r1, -4096)],
            "At bpf_set_retval the register R1 has smin=-4096 smax=-4096 should have been in [-4095, 0]",
        ),
        (
            vec![position],
            "At bpf_set_retval the register R1 has smin=0 smax=4294967295 should have been in [-4095, 0]",
        ),
        (vec![], "R1 is not a scalar"),
        (vec![Insn::mov(Width::W64, r1, Reg::R10)], "R1 is not a scalar"),
    ] {
        assert_eq!(set(&insns), [Ok(()), Err(reason.to_owned())], "{insns:?}");
    }
}

#[test]
fn return_values_that_are_provably_0_or_1_are_accepted() {
    let (r0, r1, r10) = (Reg::R0, Reg::R1, Reg::R10);
    let position = Insn::load(Size::U32, r0, r1, 4);
    for insns in [
        vec![Insn::load(Size::U32, r0, r1, 0), Insn::alu(Width::W64, AluOp::And, r0, 1)],
        vec![position, Insn::alu(Width::W64, AluOp::Rsh, r0, 31)],
        vec![position, Insn::jump_if(Width::W64, Cond::Le, r0, 1, 1), mov(r0, 0)],
        vec![position, Insn::jump_if(Width::W64, Cond::Eq, r0, 0, 1), mov(r0, 1)],
        vec![mov(r0, 1), Insn::store(Size::U64, r10, -8, r0), mov(r0, 7), Insn::load(Size::U64, r0, r10, -8)],
        vec![mov(r0, 5), Insn::jump_if(Width::W64, Cond::Eq, r0, 5, 1), Insn::jump(-2), mov(r0, 1)],
    ] {
        let insns = [insns, vec![Insn::exit()]].concat();
        assert_eq!(load(&insns, &Profile::LINUX_6_18, 18), Ok(()), "{insns:?}");
    }
}

#[test]
fn newer_verifiers_know_more_of_numbers() {
    let bit = [Insn::load(Size::U32, Reg::R0, Reg::R1, 0), Insn::alu(Width::W64, AluOp::And, Reg::R0, 1)];
    let negated =
        [Insn::neg(Width::W64, Reg::R0), Insn::alu(Width::W64, AluOp::Add, Reg::R0, 1), Insn::exit()];
    let swapped = [
        Insn::swap(ByteOrder::ToBig, Size::U16, Reg::R0),
        Insn::alu(Width::W64, AluOp::Rsh, Reg::R0, 15),
        Insn::exit(),
    ];
    // r0 is known if its copy is, from which something was added or subtracted.
    let linked = |op| {
        [
            Insn::load(Size::U32, Reg::R0, Reg::R1, 4),
            Insn::mov(Width::W64, Reg::R2, Reg::R0),
            Insn::alu(Width::W64, op, Reg::R2, 1),
            Insn::jump_if(Width::W64, Cond::Eq, Reg::R2, if op == AluOp::Add { 2 } else { 0 }, 1),
            mov(Reg::R0, 1),
            Insn::exit(),
        ]
    };
    for (what, insns, since) in [
        ("a negation", [&bit[..], &negated[..]].concat(), (6, 17)),
        ("swapped bytes", [&bit[..], &swapped[..]].concat(), (6, 18)),
        ("a copy plus 1", linked(AluOp::Add).to_vec(), (6, 11)),
        ("a copy minus 1", linked(AluOp::Sub).to_vec(), (6, 18)),
    ] {
        for profile in Profile::ALL {
            let accepted = load(&insns, &profile, 18).is_ok();
            assert_eq!(accepted, profile.version >= since, "{what} on {profile}");
        }
    }
}

#[test]
fn since_7_2_reserved_fields_count_where_no_path_gets() {
    let r0 = Reg::R0;
    let program = [
        mov(r0, 1),
        Insn::jump_if(Width::W64, Cond::Eq, r0, 1, 1),
        Insn::neg(Width::W64, r0).with_imm(1),
        Insn::exit(),
    ];
    for (version, expected) in [
        ("5.10", Ok(())),
        ("6.18", Ok(())),
        ("7.2", Err("instruction 2: BPF_NEG uses reserved fields".to_owned())),
    ] {
        assert_eq!(load(&program, &version.parse().expect("a profile"), 18), expected, "{version}");
    }
}

#[test]
fn helpers_that_the_kernel_lacks_may_be_called_where_no_path_gets() {
    let profile = "5.10".parse().expect("a profile");
    let call = |value: i32| {
        load(
            &[
                mov(Reg::R0, 1),
                Insn::jump_if(Width::W64, Cond::Eq, Reg::R0, value, 1),
                Insn::call_helper(helper_ids::GET_RETVAL),
                mov(Reg::R0, 1),
                Insn::exit(),
            ],
            &profile,
            18,
        )
    };
    assert_eq!(call(1), Ok(()));
    let rejected = "instruction 2: program of this type cannot use helper bpf_get_retval#186";
    assert_eq!(call(2), Err(rejected.to_owned()));
}
