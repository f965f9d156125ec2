//! Programs that Linux 6.18 accepts or rejects, with the verifier's reason: one for each thing that it looks at.

mod dynptrs;

use knobgate_bpf::helper_ids as id;
use knobgate_bpf::{
    AluOp, Assembler, AtomicOp, Cond, Insn, MapDef, MapKind, Operand, Program, Reg, Size, Width,
};

/// One program.
#[derive(Debug)]
pub struct VerifierCase {
    /// What it does.
    pub name: &'static str,
    /// The program.
    pub program: Program,
    /// Why it is rejected, if it is.
    pub rejected: Option<&'static str>,
}

/// Maps of every program: an array of one value, a hash, a ring buffer, a frozen text without an end, a frozen text, an
/// array of four values, a frozen format.
const VALUE: usize = 0;
const HASH: usize = 1;
const RING: usize = 2;
const ENDLESS: usize = 3;
const TEXT: usize = 4;
const ARRAY: usize = 5;
const FORMAT: usize = 6;

const R0: Reg = Reg::R0;
const R1: Reg = Reg::R1;
const R2: Reg = Reg::R2;
const R3: Reg = Reg::R3;
const R4: Reg = Reg::R4;
const R5: Reg = Reg::R5;
const R6: Reg = Reg::R6;
const R10: Reg = Reg::R10;

fn maps() -> Vec<MapDef> {
    let map = |name: &str, kind, key_size, value_size, max_entries| MapDef {
        name: name.to_owned(),
        kind,
        key_size,
        value_size,
        max_entries,
        ..MapDef::default()
    };
    vec![
        map("value", MapKind::Array, 4, 16, 1),
        map("hash", MapKind::Hash, 8, 8, 4),
        map("ring", MapKind::Ringbuf, 0, 0, 4096),
        MapDef::frozen_value("endless", b"text".to_vec()),
        MapDef::frozen_value("text", b"text\0".to_vec()),
        map("array", MapKind::Array, 4, 8, 4),
        MapDef::frozen_value("format", b"%d\0".to_vec()),
    ]
}

fn case(
    name: &'static str,
    rejected: Option<&'static str>,
    write: impl FnOnce(&mut Assembler),
) -> VerifierCase {
    let mut asm = Assembler::new();
    write(&mut asm);
    let code = asm.finish(true).unwrap_or_else(|error| panic!("{name}: {error}"));
    let program = Program { name: "case".to_owned(), maps: maps(), ..Program::from(code) };
    VerifierCase { name, program, rejected }
}

fn allow(asm: &mut Assembler) {
    asm.mov(R0, 1);
    asm.exit();
}

/// r2 = a number that is not known, of 32 bits.
fn position(asm: &mut Assembler) {
    asm.load(Size::U32, R2, R1, 4);
}

/// r6 = a record of eight bytes, which is not null.
fn reserve(asm: &mut Assembler) {
    asm.load_map(R1, RING);
    asm.mov(R2, 8);
    asm.mov(R3, 0);
    asm.call_helper(id::RINGBUF_RESERVE);
    let reserved = asm.new_label();
    asm.jump_if(Cond::Ne, R0, 0, reserved);
    asm.exit();
    asm.bind(reserved);
    asm.mov(R6, R0);
}

fn submit(asm: &mut Assembler) {
    asm.mov(R1, R6);
    asm.mov(R2, 0);
    asm.call_helper(id::RINGBUF_SUBMIT);
}

/// r0 = the result of a look-up in the hash.
fn look_up(asm: &mut Assembler) {
    asm.store_imm(Size::U64, R10, -8, 9);
    asm.load_map(R1, HASH);
    asm.mov(R2, R10);
    asm.alu(AluOp::Add, R2, -8);
    asm.call_helper(id::MAP_LOOKUP_ELEM);
}

/// Sets the new value to bytes at r2, as many as r3 says.
fn replace(asm: &mut Assembler, bytes: impl FnOnce(&mut Assembler)) {
    asm.load(Size::U32, R3, R1, 4);
    asm.mov(R2, R10);
    asm.alu(AluOp::Add, R2, -8);
    bytes(asm);
    asm.call_helper(id::SYSCTL_SET_NEW_VALUE);
    allow(asm);
}

/// All cases.
pub fn cases() -> Vec<VerifierCase> {
    let groups = [
        registers(),
        arithmetic(),
        memory(),
        stack(),
        arguments(),
        records(),
        functions(),
        loops(),
        dynptrs::dynptrs(),
        dynptrs::kernel_memory(),
    ];
    groups.into_iter().flatten().collect()
}

fn registers() -> Vec<VerifierCase> {
    vec![
        case("nothing is returned", Some("R0 !read_ok"), |asm| asm.exit()),
        case("a call clobbers r1", Some("R1 !read_ok"), |asm| {
            asm.call_helper(id::KTIME_GET_NS);
            asm.mov(R2, R1);
            allow(asm);
        }),
        case("the frame pointer is set", Some("frame pointer is read only"), |asm| {
            asm.mov(R10, 1);
            allow(asm);
        }),
        case(
            "the context is returned",
            Some("At program exit the register R0 is not a known value (ctx)"),
            |asm| {
                asm.mov(R0, R1);
                asm.exit();
            },
        ),
        case(
            "2 is returned",
            Some("At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]"),
            |asm| {
                asm.mov(R0, 2);
                asm.exit();
            },
        ),
    ]
}

fn arithmetic() -> Vec<VerifierCase> {
    let with_context = |name, reason, op, operand: i32| {
        case(name, Some(reason), |asm| {
            asm.mov(R2, R1);
            asm.alu(op, R2, operand);
            allow(asm);
        })
    };
    let by = |name, reason, width, op, by: i32| {
        case(name, Some(reason), |asm| {
            asm.mov(R1, 1);
            asm.emit(Insn::alu(width, op, R1, by));
            allow(asm);
        })
    };
    let value_plus = |name, rejected, bound: Option<i32>, minus: i32| {
        case(name, rejected, |asm| {
            position(asm);
            if let Some(bound) = bound {
                asm.alu(AluOp::And, R2, bound);
            }
            asm.alu(AluOp::Sub, R2, minus);
            asm.load_map_value(R3, VALUE, 0);
            asm.alu(AluOp::Add, R3, R2);
            asm.load(Size::U8, R0, R3, 0);
            allow(asm);
        })
    };
    vec![
        by("a shift by 64", "invalid shift 64", Width::W64, AluOp::Lsh, 64),
        by("a shift by 32 of 32 bits", "invalid shift 32", Width::W32, AluOp::Rsh, 32),
        by("a shift by −1", "invalid shift -1", Width::W64, AluOp::Arsh, -1),
        by("a division by 0", "div by zero", Width::W64, AluOp::Div, 0),
        by("a remainder by 0", "div by zero", Width::W32, AluOp::Mod, 0),
        case("a division by a register that is 0", None, |asm| {
            asm.mov(R0, 1);
            asm.mov(R1, 0);
            asm.alu(AluOp::Div, R0, R1);
            allow(asm);
        }),
        with_context("a pointer times 3", "R2 pointer arithmetic with *= operator prohibited", AluOp::Mul, 3),
        with_context("bits of a pointer", "R2 bitwise operator &= on pointer prohibited", AluOp::And, 7),
        with_context(
            "a large offset",
            "math between ctx pointer and 536870912 is not allowed",
            AluOp::Add,
            1 << 29,
        ),
        case("32 bits of a pointer and 3", Some("R2 32-bit pointer arithmetic prohibited"), |asm| {
            asm.mov(R2, R1);
            asm.alu32(AluOp::Add, R2, 3);
            allow(asm);
        }),
        case("pointers are added", Some("R2 pointer += pointer prohibited"), |asm| {
            asm.mov(R2, R10);
            asm.alu(AluOp::Add, R2, R1);
            allow(asm);
        }),
        case("pointers are subtracted", None, |asm| {
            asm.mov(R2, R10);
            asm.alu(AluOp::Sub, R2, R1);
            allow(asm);
        }),
        case(
            "a pointer is subtracted from a number",
            Some("R2 tried to subtract pointer from scalar"),
            |asm| {
                asm.mov(R2, 1);
                asm.alu(AluOp::Sub, R2, R1);
                allow(asm);
            },
        ),
        case("8 is subtracted from the stack", Some("R2 subtraction from stack pointer prohibited"), |asm| {
            asm.mov(R2, R10);
            asm.alu(AluOp::Sub, R2, 8);
            allow(asm);
        }),
        case("a map is moved on", Some("R2 pointer arithmetic on map_ptr prohibited"), |asm| {
            asm.load_map(R2, HASH);
            asm.alu(AluOp::Add, R2, 8);
            allow(asm);
        }),
        case(
            "a pointer that may be null is moved on",
            Some("R0 pointer arithmetic on map_value_or_null prohibited, null-check it first"),
            |asm| {
                look_up(asm);
                asm.alu(AluOp::Add, R0, 1);
                allow(asm);
            },
        ),
        case(
            "an offset without a lower bound",
            Some("math between map_value pointer and register with unbounded min value is not allowed"),
            |asm| {
                asm.call_helper(id::KTIME_GET_NS);
                asm.load_map_value(R3, VALUE, 0);
                asm.alu(AluOp::Add, R3, R0);
                allow(asm);
            },
        ),
        value_plus("an offset within a value", None, Some(15), 0),
        value_plus(
            "an offset beyond a value",
            Some("R3 max value is outside of the allowed memory range"),
            Some(31),
            0,
        ),
        value_plus(
            "an offset that may be negative",
            Some("R3 min value is negative, either use unsigned index or do a if (index >=0) check."),
            Some(15),
            1,
        ),
        value_plus(
            "an offset without an upper bound",
            Some("R3 unbounded memory access, make sure to bounds check any such access"),
            None,
            0,
        ),
    ]
}

fn memory() -> Vec<VerifierCase> {
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

fn stack() -> Vec<VerifierCase> {
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

fn arguments() -> Vec<VerifierCase> {
    vec![
        case("null instead of a map", Some("R1 type=scalar expected=map_ptr"), |asm| {
            asm.mov(R1, 0);
            asm.mov(R2, 0);
            asm.call_helper(id::MAP_LOOKUP_ELEM);
            allow(asm);
        }),
        case(
            "a number instead of a key",
            Some(
                "R2 type=scalar expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_",
            ),
            |asm| {
                asm.load_map(R1, HASH);
                asm.mov(R2, 0);
                asm.call_helper(id::MAP_LOOKUP_ELEM);
                allow(asm);
            },
        ),
        case("a key that ends above the stack", Some("invalid read from stack R2 off=-4 size=8"), |asm| {
            asm.load_map(R1, HASH);
            asm.mov(R2, R10);
            asm.alu(AluOp::Add, R2, -4);
            asm.call_helper(id::MAP_LOOKUP_ELEM);
            allow(asm);
        }),
        case("a known index of an array is there", None, |asm| {
            asm.store_imm(Size::U32, R10, -8, 3);
            asm.load_map(R1, ARRAY);
            asm.mov(R2, R10);
            asm.alu(AluOp::Add, R2, -8);
            asm.call_helper(id::MAP_LOOKUP_ELEM);
            asm.load(Size::U64, R0, R0, 0);
            allow(asm);
        }),
        case("the index after the last", Some("R0 invalid mem access 'map_value_or_null'"), |asm| {
            asm.store_imm(Size::U32, R10, -8, 4);
            asm.load_map(R1, ARRAY);
            asm.mov(R2, R10);
            asm.alu(AluOp::Add, R2, -8);
            asm.call_helper(id::MAP_LOOKUP_ELEM);
            asm.load(Size::U64, R0, R0, 0);
            allow(asm);
        }),
        case(
            "a record from a hash",
            Some("cannot pass map_type 1 into func bpf_ringbuf_reserve#131"),
            |asm| {
                asm.load_map(R1, HASH);
                asm.mov(R2, 8);
                asm.mov(R3, 0);
                asm.call_helper(id::RINGBUF_RESERVE);
                allow(asm);
            },
        ),
        case(
            "the context with an offset as an argument",
            Some("dereference of modified ctx ptr R1 off=4 disallowed"),
            |asm| {
                asm.alu(AluOp::Add, R1, 4);
                asm.mov(R2, R10);
                asm.alu(AluOp::Add, R2, -8);
                asm.mov(R3, 8);
                asm.call_helper(id::SYSCTL_GET_CURRENT_VALUE);
                allow(asm);
            },
        ),
        case("a length from 1 to 8", None, |asm| {
            replace(asm, |asm| {
                asm.alu(AluOp::And, R3, 7);
                asm.alu(AluOp::Add, R3, 1);
            });
        }),
        case("a length that may be 0", Some("R3 invalid zero-sized read: u64=[0,7]"), |asm| {
            replace(asm, |asm| asm.alu(AluOp::And, R3, 7))
        }),
        case(
            "a length that may be negative",
            Some("R3 min value is negative, either use unsigned or 'var &= const'"),
            |asm| replace(asm, |asm| asm.alu(AluOp::Sub, R3, 1)),
        ),
        case(
            "a length without a bound",
            Some("R3 unbounded memory access, use 'var &= const' or 'if (var < const)'"),
            |asm| replace(asm, |asm| asm.alu(AluOp::Or, R3, 1)),
        ),
        case("a length that is too large", Some("invalid read from stack R2 off=-8 size=9"), |asm| {
            replace(asm, |asm| asm.mov(R3, 9))
        }),
        case("a pointer as a length", Some("R3 type=fp expected=scalar"), |asm| {
            replace(asm, |asm| asm.mov(R3, R10))
        }),
        case(
            "a frozen value is filled",
            Some("write into map forbidden, value_size=5 off=0 size=5"),
            |asm| {
                asm.load_map_value(R2, TEXT, 0);
                asm.mov(R3, 5);
                asm.call_helper(id::SYSCTL_GET_CURRENT_VALUE);
                allow(asm);
            },
        ),
        case("a text that does not end", Some("string is not zero-terminated"), |asm| {
            compare_with(asm, ENDLESS, 0);
        }),
        case("a text that is not constant", Some("R3 does not point to a readonly map'"), |asm| {
            compare_with(asm, VALUE, 0);
        }),
        case("a constant text", None, |asm| compare_with(asm, TEXT, 2)),
        case(
            "a number that is stored where it is not aligned",
            Some("misaligned stack access off 0+-12+0 size 8"),
            |asm| {
                asm.load_map_value(R1, TEXT, 0);
                asm.mov(R2, 5);
                asm.mov(R3, 0);
                asm.mov(R4, R10);
                asm.alu(AluOp::Add, R4, -12);
                asm.call_helper(id::STRTOL);
                allow(asm);
            },
        ),
    ]
}

fn compare_with(asm: &mut Assembler, map: usize, offset: u32) {
    asm.mov(R1, R10);
    asm.alu(AluOp::Add, R1, -8);
    asm.mov(R2, 8);
    asm.load_map_value(R3, map, offset);
    asm.call_helper(id::STRNCMP);
    allow(asm);
}

fn records() -> Vec<VerifierCase> {
    vec![
        case("a record is submitted", None, |asm| {
            reserve(asm);
            asm.store_imm(Size::U64, R6, 0, 1);
            submit(asm);
            allow(asm);
        }),
        case(
            "a record is forgotten",
            Some("BPF_EXIT instruction in main prog would lead to reference leak"),
            |asm| {
                reserve(asm);
                allow(asm);
            },
        ),
        case("a record is submitted twice", Some("R1 type=scalar expected=ringbuf_mem"), |asm| {
            reserve(asm);
            submit(asm);
            submit(asm);
            allow(asm);
        }),
        case("a record is used after that", Some("R6 invalid mem access 'scalar'"), |asm| {
            reserve(asm);
            submit(asm);
            asm.store_imm(Size::U8, R6, 0, 1);
            allow(asm);
        }),
        case(
            "beyond the end of a record",
            Some("R6 min value is outside of the allowed memory range"),
            |asm| {
                reserve(asm);
                asm.store_imm(Size::U64, R6, 8, 1);
                submit(asm);
                allow(asm);
            },
        ),
        case(
            "not the start of a record is submitted",
            Some("R1 must have zero offset when passed to release func or trusted arg to kfunc"),
            |asm| {
                reserve(asm);
                asm.alu(AluOp::Add, R6, 1);
                submit(asm);
                allow(asm);
            },
        ),
        case("the size of a record is not known", Some("R2 is not a known constant'"), |asm| {
            position(asm);
            asm.load_map(R1, RING);
            asm.mov(R3, 0);
            asm.call_helper(id::RINGBUF_RESERVE);
            allow(asm);
        }),
        case("what is submitted is no record", Some("R1 type=fp expected=ringbuf_mem"), |asm| {
            asm.mov(R1, R10);
            asm.mov(R2, 0);
            asm.call_helper(id::RINGBUF_SUBMIT);
            allow(asm);
        }),
    ]
}

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

fn functions() -> Vec<VerifierCase> {
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
        calling("what it did not return is used", Some("R0 !read_ok"), |asm| asm.exit(), nothing),
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
        calling("what it returned is known", None, |asm| asm.exit(), allow),
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

fn loops() -> Vec<VerifierCase> {
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
