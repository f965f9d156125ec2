//! Functions, callbacks and loops.

use knobgate_bpf::helper_ids as id;
use knobgate_bpf::{AluOp, Assembler, Cond, Insn, Operand, Size, Width};

use super::{PROGRAMS, R0, R1, R2, R3, R4, R5, R10, VALUE, VerifierCase, allow, case};

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
        with_callback("a callback goes on", None, 0),
        with_callback(
            "a callback returns 2",
            Some("At callback return the register R0 has smin=2 smax=2 should have been in [0, 1]"),
            2,
        ),
    ]
}

/// Main, and `count` functions after it, of which each calls the next one.
fn chain(asm: &mut Assembler, count: usize) {
    let starts: Vec<_> = (0..count).map(|_| asm.new_label()).collect();
    for at in 0..=count {
        if let Some(start) = at.checked_sub(1).map(|at| starts[at]) {
            asm.begin_function("function");
            asm.bind(start);
        }
        if let Some(next) = starts.get(at) {
            asm.call(*next);
        }
        allow(asm);
    }
}

pub(super) fn call_chains() -> Vec<VerifierCase> {
    let uses = |bytes: i16| {
        move |asm: &mut Assembler| {
            asm.store_imm(Size::U64, R10, -bytes, 1);
            allow(asm);
        }
    };
    let deep = |name, rejected, count| case(name, rejected, |asm| chain(asm, count));
    vec![
        calling("240 and 272 bytes of stack", None, uses(240), uses(272)),
        calling("8 and 496 bytes of stack", None, uses(8), uses(496)),
        calling(
            "256 and 264 bytes of stack",
            Some("combined stack size of 2 calls is 528. Too large"),
            uses(256),
            uses(264),
        ),
        deep("a chain of 8 functions", None, 7),
        deep("a chain of 9 functions", Some("the call stack of 9 frames is too deep"), 8),
        case(
            "a chain of 9 functions is never called",
            Some("the call stack of 8 frames is too deep !"),
            |asm| {
                let (start, skips) = (asm.new_label(), asm.new_label());
                asm.mov(R0, 1);
                asm.jump_if(Cond::Eq, R0, 1, skips);
                asm.call(start);
                asm.bind(skips);
                allow(asm);
                asm.begin_function("function");
                asm.bind(start);
                chain(asm, 7);
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
        case(
            "a function calls itself three times",
            Some("the call stack of 8 frames is too deep !"),
            |asm| {
                let (start, ends) = (asm.new_label(), asm.new_label());
                asm.mov(R1, 3);
                asm.call(start);
                allow(asm);
                asm.begin_function("function");
                asm.bind(start);
                asm.jump_if(Cond::Eq, R1, 0, ends);
                asm.alu(AluOp::Add, R1, -1);
                asm.call(start);
                asm.bind(ends);
                allow(asm);
            },
        ),
        case("256 functions", None, |asm| many(asm, 255)),
        case("257 functions", Some("too many subprograms"), |asm| many(asm, 256)),
        tail_calling("a tail call with 240 bytes of stack before it", None, 240),
        tail_calling(
            "a tail call with 256 bytes of stack before it",
            Some("tail_calls are not allowed when call stack of previous frames is 256 bytes. Too large"),
            256,
        ),
    ]
}

/// Main calls `count` functions.
fn many(asm: &mut Assembler, count: usize) {
    let starts: Vec<_> = (0..count).map(|_| asm.new_label()).collect();
    for start in &starts {
        asm.call(*start);
    }
    allow(asm);
    for start in starts {
        asm.begin_function("function");
        asm.bind(start);
        allow(asm);
    }
}

/// Main uses so many bytes of stack, and calls a function that makes a tail call.
fn tail_calling(name: &'static str, rejected: Option<&'static str>, bytes: i16) -> VerifierCase {
    case(name, rejected, |asm| {
        let start = asm.new_label();
        asm.store_imm(Size::U64, R10, -bytes, 1);
        asm.call(start);
        allow(asm);
        asm.begin_function("function");
        asm.bind(start);
        asm.load_map(R2, PROGRAMS);
        asm.mov(R3, 0);
        asm.call_helper(id::TAIL_CALL);
        allow(asm);
    })
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
