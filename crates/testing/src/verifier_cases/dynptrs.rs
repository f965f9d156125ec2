//! Dynptrs, the structs of the kernel, and formats.

use knobgate_bpf::helper_ids as id;
use knobgate_bpf::{AluOp, Assembler, Cond, Reg, Size};

use super::{NEWEST, R0, R1, R2, R3, R4, R5, R6, R10, RING, TEXT, VALUE, VerifierCase, allow, case};

/// Where dynptrs are on the stack.
const PLACE: i32 = -32;

fn address(asm: &mut Assembler, register: Reg, offset: i32) {
    asm.mov(register, R10);
    asm.alu(AluOp::Add, register, offset);
}

/// A dynptr on a value.
fn from_mem(asm: &mut Assembler, place: i32) {
    asm.load_map_value(R1, VALUE, 0);
    asm.mov(R2, 16);
    asm.mov(R3, 0);
    address(asm, R4, place);
    asm.call_helper(id::DYNPTR_FROM_MEM);
}

fn reserve(asm: &mut Assembler) {
    asm.load_map(R1, RING);
    asm.mov(R2, 16);
    asm.mov(R3, 0);
    address(asm, R4, PLACE);
    asm.call_helper(id::RINGBUF_RESERVE_DYNPTR);
}

fn submit(asm: &mut Assembler) {
    address(asm, R1, PLACE);
    asm.mov(R2, 0);
    asm.call_helper(id::RINGBUF_SUBMIT_DYNPTR);
}

fn read(asm: &mut Assembler, place: i32) {
    address(asm, R1, -8);
    asm.mov(R2, 8);
    address(asm, R3, place);
    asm.mov(R4, 0);
    asm.mov(R5, 0);
    asm.call_helper(id::DYNPTR_READ);
    allow(asm);
}

/// r0 = eight bytes of the dynptr, which are there.
fn data(asm: &mut Assembler) {
    address(asm, R1, PLACE);
    asm.mov(R2, 0);
    asm.mov(R3, 8);
    asm.call_helper(id::DYNPTR_DATA);
    let there = asm.new_label();
    asm.jump_if(Cond::Ne, R0, 0, there);
    submit(asm);
    asm.mov(R0, 0);
    asm.exit();
    asm.bind(there);
}

pub(super) fn dynptrs() -> Vec<VerifierCase> {
    vec![
        case("a dynptr is read", None, |asm| {
            from_mem(asm, PLACE);
            read(asm, PLACE);
        }),
        case("a dynptr is read that was not made", Some("Expected an initialized dynptr as arg #2"), |asm| {
            read(asm, PLACE);
        }),
        case(
            "a dynptr is read after it was submitted",
            Some("Expected an initialized dynptr as arg #2"),
            |asm| {
                reserve(asm);
                submit(asm);
                read(asm, PLACE);
            },
        ),
        case(
            "a dynptr is read that was made on one branch only",
            Some("Expected an initialized dynptr as arg #2"),
            |asm| {
                asm.call_helper(id::GET_PRANDOM_U32);
                asm.mov(R6, R0);
                let (without, joined) = (asm.new_label(), asm.new_label());
                asm.jump_if(Cond::Ne, R6, 5, without);
                from_mem(asm, PLACE);
                asm.bind(without);
                asm.jump(joined);
                asm.bind(joined);
                read(asm, PLACE);
            },
        )
        // Seen on 6.1.192: there, dynptrs are not compared where paths meet.
        .accepted_by_kernels((5, 19), (6, 3)),
        case("half of a dynptr is overwritten", Some("Expected an initialized dynptr as arg #2"), |asm| {
            from_mem(asm, PLACE);
            asm.store_imm(Size::U64, R10, PLACE as i16 + 8, 0);
            read(asm, PLACE);
        }),
        case(
            "the second half of a dynptr is given",
            Some("Expected an initialized dynptr as arg #2"),
            |asm| {
                from_mem(asm, PLACE);
                read(asm, PLACE + 8);
            },
        ),
        case("a dynptr is not aligned", Some("cannot pass in dynptr at an offset=-28"), |asm| {
            from_mem(asm, PLACE + 4);
            allow(asm);
        }),
        case("a dynptr is made anew", None, |asm| {
            from_mem(asm, PLACE);
            from_mem(asm, PLACE);
            read(asm, PLACE);
        })
        .rejected_by_kernels((5, 19), (6, 3)),
        case(
            "a dynptr of a ring buffer is never submitted",
            Some("BPF_EXIT instruction in main prog would lead to reference leak"),
            |asm| {
                reserve(asm);
                allow(asm);
            },
        ),
        case("a dynptr of a ring buffer is overwritten", Some("cannot overwrite referenced dynptr"), |asm| {
            reserve(asm);
            asm.store_imm(Size::U32, R10, PLACE as i16, 0);
            allow(asm);
        }),
        case(
            "another dynptr is made over one of a ring buffer",
            Some("cannot overwrite referenced dynptr"),
            |asm| {
                reserve(asm);
                from_mem(asm, PLACE + 8);
                allow(asm);
            },
        ),
        case("a dynptr on a value is submitted", Some("arg 1 is an unacquired reference"), |asm| {
            from_mem(asm, PLACE);
            submit(asm);
            allow(asm);
        }),
        case("a helper writes to a dynptr", Some("potential write to dynptr at off=-32 disallowed"), |asm| {
            from_mem(asm, PLACE);
            address(asm, R1, PLACE);
            asm.mov(R2, 8);
            asm.call_helper(id::GET_CURRENT_COMM);
            allow(asm);
        })
        .accepted_by_kernels((5, 19), (6, 3))
        // Seen on 7.3.4.
        .accepted_by_kernels((7, 3), NEWEST),
        case("a dynptr is loaded", Some("invalid read from stack off -32+0 size 8"), |asm| {
            from_mem(asm, PLACE);
            asm.load(Size::U64, R0, R10, PLACE as i16);
            allow(asm);
        }),
        case("a dynptr on the stack", Some("Unsupported reg type fp for bpf_dynptr_from_mem data"), |asm| {
            address(asm, R1, -8);
            asm.mov(R2, 8);
            asm.mov(R3, 0);
            address(asm, R4, PLACE);
            asm.call_helper(id::DYNPTR_FROM_MEM);
            allow(asm);
        }),
        case("the data of a dynptr is used", None, |asm| {
            reserve(asm);
            data(asm);
            asm.store_imm(Size::U64, R0, 0, 1);
            submit(asm);
            allow(asm);
        }),
        case(
            "more than the data of a dynptr is used",
            Some("R0 min value is outside of the allowed memory range"),
            |asm| {
                reserve(asm);
                data(asm);
                asm.store_imm(Size::U64, R0, 1, 1);
                submit(asm);
                allow(asm);
            },
        ),
        case(
            "the data of a dynptr is used after it was submitted",
            Some("R6 invalid mem access 'scalar'"),
            |asm| {
                reserve(asm);
                data(asm);
                asm.mov(R6, R0);
                submit(asm);
                asm.load(Size::U64, R0, R6, 0);
                allow(asm);
            },
        ),
    ]
}

pub(super) fn kernel_memory() -> Vec<VerifierCase> {
    vec![
        case("the task is written", Some("only read is supported"), |asm| {
            asm.call_helper(id::GET_CURRENT_TASK_BTF);
            asm.store_imm(Size::U64, R0, 0, 1);
            allow(asm);
        }),
        case(
            "a negative offset in the task",
            Some("R0 is ptr_task_struct invalid negative access: off=-8"),
            |asm| {
                asm.call_helper(id::GET_CURRENT_TASK_BTF);
                asm.load(Size::U64, R0, R0, -8);
                allow(asm);
            },
        ),
        case("the number of the task is used as a pointer", Some("R0 invalid mem access 'scalar'"), |asm| {
            asm.call_helper(id::GET_CURRENT_TASK);
            asm.load(Size::U64, R0, R0, 0);
            allow(asm);
        }),
        case("any pointer is an address for bpf_probe_read_kernel", None, |asm| {
            asm.mov(R3, R1);
            asm.alu(AluOp::Add, R3, 24);
            address(asm, R1, -8);
            asm.mov(R2, 8);
            asm.call_helper(id::PROBE_READ_KERNEL);
            allow(asm);
        }),
        case("the length of a string that was read is at most the size", None, |asm| {
            asm.mov(R3, 0);
            asm.load_map_value(R1, VALUE, 0);
            asm.mov(R2, 16);
            asm.call_helper(id::PROBE_READ_KERNEL_STR);
            let end = asm.new_label();
            asm.jump_if(Cond::SLe, R0, 0, end);
            asm.mov(R3, R0);
            asm.load_map(R1, RING);
            asm.load_map_value(R2, VALUE, 0);
            asm.mov(R4, 0);
            asm.call_helper(id::RINGBUF_OUTPUT);
            asm.bind(end);
            allow(asm);
        }),
        case("a format with arguments that are not given", Some("Invalid format string"), |asm| {
            asm.load_map_value(R1, VALUE, 0);
            asm.mov(R2, 16);
            asm.load_map_value(R3, super::FORMAT, 0);
            asm.mov(R4, 0);
            asm.mov(R5, 0);
            asm.call_helper(id::SNPRINTF);
            allow(asm);
        }),
        case("a text without conversions is a format", None, |asm| {
            asm.load_map_value(R1, VALUE, 0);
            asm.mov(R2, 16);
            asm.load_map_value(R3, TEXT, 0);
            asm.mov(R4, 0);
            asm.mov(R5, 0);
            asm.call_helper(id::SNPRINTF);
            allow(asm);
        }),
    ]
}
