//! Arguments of helpers, and records of ring buffers.

use knobgate_bpf::helper_ids as id;
use knobgate_bpf::{AluOp, Assembler, Size};

use super::{
    ARRAY, ENDLESS, HASH, R0, R1, R2, R3, R4, R6, R10, RING, TEXT, VALUE, VerifierCase, allow, case,
    position, replace, reserve, submit,
};

pub(super) fn arguments() -> Vec<VerifierCase> {
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
            replace(asm, |asm| asm.alu(AluOp::And, R3, 7));
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
            replace(asm, |asm| asm.mov(R3, 9));
        }),
        case("a pointer as a length", Some("R3 type=fp expected=scalar"), |asm| {
            replace(asm, |asm| asm.mov(R3, R10));
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

pub(super) fn records() -> Vec<VerifierCase> {
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
        )
        // Seen on 5.10.262.
        .accepted_by_kernels((5, 8), (5, 15)),
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
