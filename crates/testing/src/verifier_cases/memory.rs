//! Accesses to values, the context and the stack.

use knobgate_bpf::{AluOp, AtomicOp, Cond, Insn, Size};

use super::{HASH, R0, R1, R2, R3, R6, R10, TEXT, VALUE, VerifierCase, allow, case, look_up, position};

/// A program that uses so many maps.
fn with_maps(name: &'static str, rejected: Option<&'static str>, count: usize) -> VerifierCase {
    let mut many = case(name, rejected, |asm| {
        for map in 0..count {
            asm.load_map(R1, map);
        }
        allow(asm);
    });
    let array = many.program.maps[VALUE].clone();
    many.program.maps = vec![array; count];
    many
}

pub(super) fn many_maps() -> Vec<VerifierCase> {
    vec![
        with_maps("64 maps are used", None, 64),
        with_maps(
            "65 maps are used",
            Some("The total number of maps per program has reached the limit of 64"),
            65,
        ),
    ]
}

pub(super) fn memory() -> Vec<VerifierCase> {
    let at = |name, rejected, size, off: i16| {
        case(name, rejected, |asm| {
            asm.load_map_value(R1, VALUE, 8);
            asm.load(size, R0, R1, off);
            allow(asm);
        })
    };
    let context = |name, rejected, insn: Insn| {
        case(name, rejected, |asm| {
            asm.mov(R0, 1);
            asm.emit(insn);
            allow(asm);
        })
    };
    vec![
        at("the end of a value", None, Size::U64, 0),
        at(
            "beyond the end of a value",
            Some("R1 min value is outside of the allowed memory range"),
            Size::U64,
            1,
        ),
        at("before a value", Some("R1 min value is outside of the allowed memory range"), Size::U8, -9),
        at("not aligned in a value", None, Size::U32, 1),
        case(
            "a frozen value is written",
            Some("write into map forbidden, value_size=5 off=0 size=1"),
            |asm| {
                asm.load_map_value(R1, TEXT, 0);
                asm.store_imm(Size::U8, R1, 0, 1);
                allow(asm);
            },
        ),
        case("a frozen value is known", None, |asm| {
            asm.load_map_value(R1, TEXT, 0);
            asm.load(Size::U8, R0, R1, 4);
            asm.exit();
        }),
        case("a number is no pointer", Some("R2 invalid mem access 'scalar'"), |asm| {
            asm.mov(R2, 5);
            asm.load(Size::U8, R0, R2, 0);
            allow(asm);
        }),
        case("a value that may not exist", Some("R0 invalid mem access 'map_value_or_null'"), |asm| {
            look_up(asm);
            asm.load(Size::U8, R0, R0, 0);
            allow(asm);
        }),
        case("a value that exists, through a copy", None, |asm| {
            look_up(asm);
            asm.mov(R6, R0);
            let none = asm.new_label();
            asm.jump_if(Cond::Eq, R0, 0, none);
            asm.load(Size::U64, R0, R6, 0);
            asm.bind(none);
            allow(asm);
        }),
        case("the description of a map is written", Some("only read from bpf_htab is supported"), |asm| {
            asm.load_map(R1, HASH);
            asm.store_imm(Size::U32, R1, 0, 1);
            allow(asm);
        }),
        context(
            "eight bytes of the context",
            Some("invalid bpf_context access off=0 size=8"),
            Insn::load(Size::U64, R2, R1, 0),
        ),
        context(
            "the context is written",
            Some("invalid bpf_context access off=0 size=4"),
            Insn::store(Size::U32, R1, 0, R0),
        ),
        context("the position is set", None, Insn::store(Size::U32, R1, 4, 0)),
        context(
            "an atomic operation on the context",
            Some("BPF_ATOMIC stores into R1 ctx is not allowed"),
            Insn::atomic(AtomicOp::Add, Size::U32, R1, 4, R0),
        ),
        case(
            "the context with an offset",
            Some("dereference of modified ctx ptr R1 off=4 disallowed"),
            |asm| {
                asm.alu(AluOp::Add, R1, 4);
                asm.load(Size::U32, R2, R1, 0);
                allow(asm);
            },
        ),
        case(
            "the context and a value by one instruction",
            Some("same insn cannot be used with different pointers"),
            |asm| {
                position(asm);
                let other = asm.new_label();
                asm.jump_if(Cond::Eq, R2, 0, other);
                asm.load_map_value(R1, VALUE, 0);
                asm.bind(other);
                asm.load(Size::U32, R2, R1, 4);
                allow(asm);
            },
        ),
        case(
            "an atomic operation that is not aligned",
            Some("misaligned value access off 0+0+1 size 4"),
            |asm| {
                asm.load_map_value(R1, VALUE, 0);
                asm.mov(R2, 1);
                asm.emit(Insn::atomic(AtomicOp::Add, Size::U32, R1, 1, R2));
                allow(asm);
            },
        ),
    ]
}

pub(super) fn stack() -> Vec<VerifierCase> {
    let store = |name, rejected, size, off: i16| {
        case(name, rejected, |asm| {
            asm.store_imm(size, R10, off, 1);
            allow(asm);
        })
    };
    let variable = |name, rejected, size, off: i32| {
        case(name, rejected, |asm| {
            position(asm);
            asm.alu(AluOp::And, R2, 8);
            asm.mov(R3, R10);
            asm.alu(AluOp::Add, R3, R2);
            asm.alu(AluOp::Add, R3, off);
            asm.store_imm(size, R3, 0, 1);
            allow(asm);
        })
    };
    vec![
        store("below the stack", Some("invalid write to stack R10 off=-513 size=1"), Size::U8, -513),
        store("above the stack", Some("invalid write to stack R10 off=0 size=1"), Size::U8, 0),
        store(
            "across the end of the stack",
            Some("misaligned stack access off 0+0+-4 size 8"),
            Size::U64,
            -4,
        ),
        case("what was never written is read", None, |asm| {
            asm.load(Size::U64, R0, R10, -64);
            allow(asm);
        }),
        case("below the stack is read", Some("invalid read from stack R10 off=-520 size=8"), |asm| {
            asm.load(Size::U64, R0, R10, -520);
            allow(asm);
        }),
        variable("somewhere on the stack", None, Size::U64, -16),
        variable(
            "somewhere that is not aligned",
            Some("misaligned stack access off (0x0; 0x8)+-15+0 size 8"),
            Size::U64,
            -15,
        ),
        variable(
            "somewhere above the stack",
            Some("invalid variable-offset write to stack R3 var_off=(0x0; 0x8) off=-8 size=8"),
            Size::U64,
            -8,
        ),
        case(
            "somewhere without bounds",
            Some("invalid unbounded variable-offset write to stack R3"),
            |asm| {
                position(asm);
                asm.mov(R3, R10);
                asm.alu(AluOp::Add, R3, R2);
                asm.store_imm(Size::U8, R3, 0, 1);
                allow(asm);
            },
        ),
        case("half of a pointer is stored", Some("invalid size of register spill"), |asm| {
            asm.store(Size::U32, R10, -8, R1);
            allow(asm);
        }),
        case("half of a pointer is loaded", Some("invalid size of register fill"), |asm| {
            asm.store(Size::U64, R10, -8, R1);
            asm.load(Size::U32, R0, R10, -8);
            allow(asm);
        }),
        case("a number keeps its value on the stack", None, |asm| {
            asm.mov(R1, 1);
            asm.store(Size::U64, R10, -8, R1);
            asm.load(Size::U64, R0, R10, -8);
            asm.exit();
        }),
    ]
}
