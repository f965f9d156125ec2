//! Mutations of programs, which may still be valid.

use knobgate_bpf::{Insn, Program, helper_ids};
use knobgate_testing::Random;

/// Helpers to exchange for one another.
const HELPERS: [u32; 24] = [
    helper_ids::MAP_LOOKUP_ELEM,
    helper_ids::MAP_UPDATE_ELEM,
    helper_ids::MAP_DELETE_ELEM,
    helper_ids::MAP_PUSH_ELEM,
    helper_ids::MAP_POP_ELEM,
    helper_ids::SYSCTL_GET_NAME,
    helper_ids::SYSCTL_GET_CURRENT_VALUE,
    helper_ids::SYSCTL_SET_NEW_VALUE,
    helper_ids::STRTOL,
    helper_ids::GET_RETVAL,
    helper_ids::RINGBUF_RESERVE,
    helper_ids::RINGBUF_SUBMIT,
    helper_ids::LOOP,
    helper_ids::STRNCMP,
    helper_ids::TAIL_CALL,
    helper_ids::GET_CURRENT_TASK,
    helper_ids::GET_CURRENT_TASK_BTF,
    helper_ids::PROBE_READ_KERNEL,
    helper_ids::DYNPTR_FROM_MEM,
    helper_ids::DYNPTR_READ,
    helper_ids::DYNPTR_WRITE,
    helper_ids::DYNPTR_DATA,
    helper_ids::RINGBUF_RESERVE_DYNPTR,
    helper_ids::RINGBUF_SUBMIT_DYNPTR,
];

/// The operators of comparisons, in opcodes.
const CONDITIONS: [u8; 11] = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0];

/// Changes one instruction of `program`. Returns a description.
pub(crate) fn mutate(program: &mut Program, random: &mut Random) -> String {
    loop {
        let at = random.below(program.insns.len() as u64) as usize;
        let is_second_half = at > 0 && program.insns[at - 1].is_load_imm64();
        if is_second_half {
            continue;
        }
        let before = program.insns[at];
        let is_reference = before.is_load_imm64();
        let after =
            if is_reference { before_with_dst(before, random) } else { changed(before, program, at, random) };
        if after != before {
            program.insns[at] = after;
            return format!("instruction {at} was {before:?} and is now {after:?}");
        }
    }
}

/// A load of a map or a function stays one, for the loader, but gets another destination.
fn before_with_dst(insn: Insn, random: &mut Random) -> Insn {
    let fields = fields(insn);
    Insn::new(fields.0, random.below(11) as u8, fields.2, fields.3, fields.4)
}

fn changed(insn: Insn, program: &Program, at: usize, random: &mut Random) -> Insn {
    let (opcode, dst, src, off, imm) = fields(insn);
    let is_helper_call = opcode == 0x85 && src == 0;
    let class = opcode & 7;
    let is_plain = opcode != 0x85 && opcode != 0x95;
    let computes = matches!(class, 4..=7);
    let has_src = is_plain && (computes && opcode & 8 != 0 || matches!(class, 1 | 3));
    let has_imm = is_plain && (computes && opcode & 8 == 0 || class == 2);
    let has_off = is_plain && matches!(class, 1 | 2 | 3 | 5 | 6);
    let is_branch = is_plain && matches!(class, 5 | 6) && opcode & 0xf0 != 0;
    match random.below(16) {
        // Another size of an access.
        12 if matches!(class, 1..=3) => {
            Insn::new(opcode & !0x18 | random.pick(&[0, 8, 0x10, 0x18]), dst, src, off, imm)
        }
        // Another comparison, or another width of it.
        13 if is_branch => Insn::new(opcode & 0x0f | random.pick(&CONDITIONS), dst, src, off, imm),
        14 if is_branch || matches!(class, 4 | 7) => Insn::new(opcode ^ 3, dst, src, off, imm),
        // A check that is missing.
        15 if is_branch => Insn::jump(0),
        0 | 1 if is_plain => Insn::new(opcode, random.below(11) as u8, src, off, imm),
        2 | 3 if has_src => Insn::new(opcode, dst, random.below(11) as u8, off, imm),
        4 | 5 if has_imm => {
            let imm = match random.below(6) {
                0 => imm.wrapping_add(1),
                1 => imm.wrapping_neg(),
                2 => 0,
                3 => imm.wrapping_mul(2),
                4 => imm.wrapping_add(random.pick(&[-8, -4, -1, 4, 8])),
                _ => random.number() as i32,
            };
            Insn::new(opcode, dst, src, off, imm)
        }
        6 | 7 if has_off => {
            let off = match random.below(5) {
                0 => off.wrapping_add(1),
                1 => off.wrapping_sub(8),
                2 => off.wrapping_neg(),
                3 => off.wrapping_add(random.pick(&[-16, -4, -2, 2, 4, 8])),
                _ => random.number() as i16,
            };
            Insn::new(opcode, dst, src, off, imm)
        }
        8 => Insn::jump(0),
        9 => Insn::exit(),
        // A field that the instruction may not have.
        11 => match random.below(4) {
            0 => Insn::new(opcode, random.below(16) as u8, src, off, imm),
            1 => insn.with_src(random.below(16) as u8),
            2 => insn.with_off(random.number() as i16),
            _ => insn.with_imm(random.number() as i32),
        },
        10 if is_helper_call => Insn::call_helper(random.pick(&HELPERS)),
        _ => {
            let other = random.below(program.insns.len() as u64) as usize;
            let other = program.insns[other];
            // A load of two instructions would include the next one.
            let takes_two = other.is_load_imm64() || fields(other).0 == 0 || at + 1 == program.insns.len();
            if takes_two { insn } else { other }
        }
    }
}

/// Opcode, destination, source, offset and immediate.
fn fields(insn: Insn) -> (u8, u8, u8, i16, i32) {
    let bytes = knobgate_bpf::encode(&[insn]);
    let off = i16::from_le_bytes([bytes[2], bytes[3]]);
    let imm = i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    (bytes[0], insn.dst(), insn.src(), off, imm)
}
