//! Functions, callbacks and loops.

use knobgate_bpf::helper_ids as id;
use knobgate_bpf::{AluOp, Assembler, Cond, Insn, Operand, Size, Width};

use super::{R0, R1, R2, R3, R4, R5, R10, VALUE, VerifierCase, allow, case};

/// A program that calls a function, and the function.
fn calling(
    name: &'static str,
    rejected: Option<&'static str>,
    main: impl FnOnce(&mut Assembler),
    function: impl FnOnce(&mut Assembler),
) -> VerifierCase {
    case(name, rejected, |asm| {
        let start = asm.new_label();
        asm.call(start);
        main(asm);
        asm.begin_function("function");
        asm.bind(start);
        function(asm);
    })
}

pub(super) fn functions() -> Vec<VerifierCase> {
    let nothing = |asm: &mut Assembler| {
        asm.mov(R1, 0);
        asm.exit();
    };
    let uses = |bytes: i16| {
        move |asm: &mut Assembler| {
            asm.store_imm(Size::U64, R10, -bytes, 1);
            allow(asm);
        }
    };
    let with_callback = |name, rejected, returned: i32| {
        case(name, rejected, |asm| {
            let start = asm.new_label();
            asm.mov(R1, 3);
            asm.load_function(R2, start);
            asm.mov(R3, 0);
            asm.mov(R4, 0);
            asm.call_helper(id::LOOP);
            allow(asm);
            asm.begin_function("callback");
            asm.bind(start);
            asm.mov(R0, returned);
            asm.exit();
        })
    };
    vec![
        calling("a function returns nothing", None, allow, nothing),
        calling("what it did not return is used", Some("R0 !read_ok"), Assembler::exit, nothing),
        case("r0 is lost in a call", Some("R0 !read_ok"), |asm| {
            let start = asm.new_label();
            asm.mov(R0, 1);
            asm.call(start);
            asm.exit();
            asm.begin_function("function");
            asm.bind(start);
            asm.mov(R1, 0);
            asm.exit();
        }),
        calling("what it returned is known", None, Assembler::exit, allow),
        calling(
            "a function returns its stack",
            Some("cannot return stack pointer to the caller"),
            allow,
            |asm| {
                asm.mov(R0, R10);
                asm.exit();
            },
        ),
        case("a function stores into the stack of its caller", None, |asm| {
            let start = asm.new_label();
            asm.mov(R1, R10);
            asm.alu(AluOp::Add, R1, -8);
            asm.call(start);
            asm.load(Size::U64, R0, R10, -8);
            asm.exit();
            asm.begin_function("function");
            asm.bind(start);
            asm.store_imm(Size::U64, R1, 0, 1);
            asm.exit();
        }),
        case(
            "a function stores a pointer to its stack there",
            Some("cannot spill pointers to stack into stack frame of the caller"),
            |asm| {
                let start = asm.new_label();
                asm.mov(R1, R10);
                asm.alu(AluOp::Add, R1, -8);
                asm.call(start);
                allow(asm);
                asm.begin_function("function");
                asm.bind(start);
                asm.store(Size::U64, R1, 0, R10);
                asm.exit();
            },
        ),
        case("a function calls itself", Some("the call stack of 9 frames is too deep"), |asm| {
            let start = asm.new_label();
            asm.call(start);
            allow(asm);
            asm.begin_function("function");
            asm.bind(start);
            asm.call(start);
            allow(asm);
        }),
        calling("240 and 272 bytes of stack", None, uses(240), uses(272)),
        calling(
            "256 and 264 bytes of stack",
            Some("combined stack size of 2 calls is 528. Too large"),
            uses(256),
            uses(264),
        ),
        with_callback("a callback goes on", None, 0),
        with_callback(
            "a callback returns 2",
            Some("At callback return the register R0 has smin=2 smax=2 should have been in [0, 1]"),
            2,
        ),
    ]
}

pub(super) fn loops() -> Vec<VerifierCase> {
    let up_to = |name, rejected, last: i32| {
        case(name, rejected, |asm| {
            let again = asm.new_label();
            asm.mov(R2, 0);
            asm.bind(again);
            asm.alu(AluOp::Add, R2, 1);
            asm.jump_if(Cond::Lt, R2, last, again);
            allow(asm);
        })
    };
    vec![
        up_to("1000 rounds", None, 1000),
        up_to("a million rounds", Some("BPF program is too large. Processed 1000001 insn"), 1_000_000),
        case("no way out", Some("unreachable insn 1"), |asm| {
            let again = asm.new_label();
            asm.bind(again);
            asm.jump(again);
            allow(asm);
        }),
        case("a way out that is not taken", Some("infinite loop detected at insn 1"), |asm| {
            let again = asm.new_label();
            asm.bind(again);
            asm.mov(R1, 0);
            asm.jump_if(Cond::Eq, R1, 0, again);
            allow(asm);
        }),
        case("the end depends on data", Some("infinite loop detected at insn 1"), |asm| {
            let again = asm.new_label();
            asm.load(Size::U32, R2, R1, 4);
            asm.bind(again);
            asm.mov(R3, R2);
            asm.jump_if(Cond::Ne, R3, 7, again);
            allow(asm);
        }),
        case("may_goto without an end", None, |asm| {
            let (again, end) = (asm.new_label(), asm.new_label());
            asm.mov(R2, 0);
            asm.bind(again);
            asm.may_goto(end);
            asm.alu(AluOp::Add, R2, 1);
            asm.jump(again);
            asm.bind(end);
            allow(asm);
        }),
        case(
            "an offset that grows with every may_goto",
            Some("R4 min value is outside of the allowed memory range"),
            |asm| {
                let (again, end) = (asm.new_label(), asm.new_label());
                asm.load_map_value(R3, VALUE, 0);
                asm.mov(R2, 0);
                asm.bind(again);
                asm.may_goto(end);
                asm.mov(R4, R3);
                asm.alu(AluOp::Add, R4, R2);
                asm.load(Size::U8, R5, R4, 0);
                asm.emit(Insn::alu(Width::W64, AluOp::Add, R2, Operand::Imm(1)));
                asm.jump(again);
                asm.bind(end);
                allow(asm);
            },
        ),
    ]
}
