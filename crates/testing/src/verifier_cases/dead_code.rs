//! What is checked of instructions that no path gets to, and of functions that nothing calls.

use knobgate_bpf::{Cond, Function, Insn, Size, opcode};

use super::{R0, R2, R10, VerifierCase, allow, case};

/// An instruction, the reason for which it is rejected, and the same for a program in which no path gets to it.
struct Checked {
    what: [&'static str; 2],
    insn: Insn,
    reason: &'static str,
    is_always: bool,
}

/// `BPF_FUNC_skb_load_bytes`
const SKB_LOAD_BYTES: u32 = 26;

/// The opcode of a load of 64 bits.
const LOAD: u8 = opcode::LDX | opcode::MEM | opcode::DW;

const INSNS: [Checked; 14] = [
    Checked {
        what: ["a negation with a number", "a negation with a number, not reached"],
        insn: Insn::new(opcode::ALU64 | opcode::NEG, 0, 0, 0, 1),
        reason: "BPF_NEG uses reserved fields",
        is_always: false,
    },
    Checked {
        what: ["an addition with an offset", "an addition with an offset, not reached"],
        insn: Insn::new(opcode::ALU64, 0, 0, 8, 1),
        reason: "BPF_ALU uses reserved fields",
        is_always: false,
    },
    Checked {
        what: ["a copy of three bytes", "a copy of three bytes, not reached"],
        insn: Insn::new(opcode::ALU64 | opcode::MOV | opcode::X, 0, 0, 24, 0),
        reason: "BPF_MOV uses reserved fields",
        is_always: false,
    },
    Checked {
        what: ["an order of 24 bits", "an order of 24 bits, not reached"],
        insn: Insn::new(opcode::ALU | opcode::END, 0, 0, 0, 24),
        reason: "BPF_END uses reserved fields",
        is_always: false,
    },
    Checked {
        what: ["a store with a source", "a store with a source, not reached"],
        insn: Insn::new(opcode::ST | opcode::MEM | opcode::DW, 10, 1, -8, 1),
        reason: "BPF_ST uses reserved fields",
        is_always: false,
    },
    Checked {
        what: ["a comparison with a source and a number", "a comparison with both, not reached"],
        insn: Insn::new(opcode::JMP | 0x10 | opcode::X, 0, 0, 0, 1),
        reason: "BPF_JMP/JMP32 uses reserved fields",
        is_always: false,
    },
    Checked {
        what: ["a jump with a number", "a jump with a number, not reached"],
        insn: Insn::new(opcode::JMP | opcode::JA, 0, 0, 0, 1),
        reason: "BPF_JA uses reserved fields",
        is_always: false,
    },
    Checked {
        what: ["a call with a destination", "a call with a destination, not reached"],
        insn: Insn::new(opcode::JMP | opcode::CALL, 1, 0, 0, 5),
        reason: "BPF_CALL uses reserved fields",
        is_always: false,
    },
    Checked {
        what: ["an atomic operation that is none", "an atomic operation that is none, not reached"],
        insn: Insn::new(opcode::STX | opcode::ATOMIC | opcode::DW, 10, 0, -8, 0x20),
        reason: "BPF_ATOMIC uses invalid atomic opcode 20",
        is_always: false,
    },
    Checked {
        what: ["a register r11", "a register r11, not reached"],
        insn: Insn::new(opcode::ALU64 | opcode::MOV, 11, 0, 0, 1),
        reason: "R11 is invalid",
        is_always: false,
    },
    Checked {
        what: ["a helper that does not exist", "a helper that does not exist, not reached"],
        insn: Insn::call_helper(100_000),
        reason: "invalid func unknown#100000",
        is_always: false,
    },
    Checked {
        what: ["a read of a packet", "a read of a packet, not reached"],
        insn: Insn::new(opcode::LD | opcode::ABS | opcode::W, 0, 0, 0, 0),
        reason: "BPF_LD_[ABS|IND] instructions not allowed for this program type",
        is_always: false,
    },
    Checked {
        what: ["a load with a number", "a load with a number, not reached"],
        insn: Insn::new(LOAD, 0, 10, -8, 1),
        reason: "BPF_LDX uses reserved fields",
        is_always: true,
    },
    Checked {
        what: ["an opcode that does not exist", "an opcode that does not exist, not reached"],
        insn: Insn::new(0xff, 0, 0, 0, 0),
        reason: "unknown opcode ff",
        is_always: true,
    },
];

pub(super) fn instructions() -> Vec<VerifierCase> {
    let reached = INSNS.iter().map(|checked| {
        case(checked.what[0], Some(checked.reason), |asm| {
            asm.mov(R0, 0);
            asm.store(Size::U64, R10, -8, R0);
            asm.emit(checked.insn);
            allow(asm);
        })
    });
    let beside = |name, rejected, insn| {
        case(name, rejected, |asm| {
            let over = asm.new_label();
            asm.mov(R2, 0);
            asm.jump_if(Cond::Eq, R2, 0, over);
            asm.emit(insn);
            asm.bind(over);
            allow(asm);
        })
    };
    let not_reached = INSNS
        .iter()
        .map(|checked| beside(checked.what[1], checked.is_always.then_some(checked.reason), checked.insn));
    let of_packets = beside("a helper for packets, not reached", None, Insn::call_helper(SKB_LOAD_BYTES));
    let exit = case("an exit with an offset", None, |asm| {
        asm.mov(R0, 1);
        asm.emit(Insn::exit().with_off(3));
    });
    reached.chain(not_reached).chain([of_packets, exit]).collect()
}

const OTHER_COUNT: &str = "number of funcs in func_info doesn't match number of subprogs";

pub(super) fn functions() -> Vec<VerifierCase> {
    let calling = |name, names: fn(&mut Vec<Function>)| {
        let mut calling = case(name, None, |asm| {
            let start = asm.new_label();
            asm.call(start);
            allow(asm);
            asm.begin_function("function");
            asm.bind(start);
            allow(asm);
        });
        names(&mut calling.program.functions);
        calling
    };
    // The functions after main, of which the first is called, and the address of `used` is used.
    let with_address = |name, rejected, count: usize, used: usize| {
        case(name, rejected, |asm| {
            let starts: Vec<_> = (0..count).map(|_| asm.new_label()).collect();
            asm.call(starts[0]);
            asm.load_function(R2, starts[used]);
            allow(asm);
            for start in starts {
                asm.begin_function("function");
                asm.bind(start);
                allow(asm);
            }
        })
    };
    vec![
        with_address("the address of a function is used that is called", None, 1, 0),
        with_address(
            "the address of the last function is used that is not called",
            Some("verifier bug: No program to jit at insn 7 (subprog < 0)"),
            2,
            1,
        ),
        case("the address of a function is used, and no function is called", None, |asm| {
            let start = asm.new_label();
            asm.load_function(R2, start);
            allow(asm);
            asm.begin_function("function");
            asm.bind(start);
            allow(asm);
        }),
        case("a function is not called", Some(OTHER_COUNT), |asm| {
            allow(asm);
            asm.begin_function("function");
            allow(asm);
        }),
        case("a function without an end is not called", Some("last insn is not an exit or jmp"), |asm| {
            allow(asm);
            asm.begin_function("function");
            asm.mov(R0, 1);
        }),
        // The names are left out if they do not fit.
        calling("a function is called that has no name", |names| names.truncate(1)),
        calling("a function starts after its name", |names| names[1].start -= 1),
        calling("no function has a name", Vec::clear),
    ]
}
