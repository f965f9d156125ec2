//! Random mutations of inputs.

use knobgate_bpf::helper_ids;
use knobgate_testing::Random;

use crate::input::{HEADER_BYTES, INSN_BYTES, MAP_BYTES, insns_start};

/// The maximum length of an input.
const LONG: usize = 1 << 16;

/// Changes some bytes anywhere.
pub(crate) fn of_bytes(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    if bytes.is_empty() {
        bytes.push(random.next_u64() as u8);
    }
    let at = place(bytes, random);
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next_u64() as u8,
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..at + random.below(16).min((bytes.len() - at) as u64) as usize)),
        4 if bytes.len() < LONG => {
            let other = &seeds[random.below(seeds.len() as u64) as usize];
            let from = random.below(other.len() as u64 + 1) as usize;
            let length = (random.below(64) as usize).min(other.len() - from);
            bytes.splice(at..at, other[from..from + length].iter().copied());
        }
        _ => {
            let size = random.pick(&[1, 2, 4, 8]).min(bytes.len() - at);
            bytes[at..at + size].copy_from_slice(&random.number().to_le_bytes()[..size]);
        }
    }
}

/// Mostly changes a meaningful part of a program.
pub(crate) fn of_program(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let start = insns_start(bytes);
    let count = (bytes.len() - start) / INSN_BYTES;
    if count == 0 || random.one_in(16) {
        return of_bytes(bytes, seeds, random);
    }
    if start > HEADER_BYTES && random.one_in(8) {
        return of_map(&mut bytes[HEADER_BYTES..start], random);
    }
    let insn = |random: &mut Random| start + random.below(count as u64) as usize * INSN_BYTES;
    let at = insn(random);
    match random.below(8) {
        0 => bytes[at] = bytes[insn(random)],
        1 => bytes[at] = random.next_u64() as u8,
        2 => bytes[at + 1] = (random.below(11) | random.below(11) << 4) as u8,
        3 => bytes[at + 2..at + 4].copy_from_slice(&(random.number() as u16).to_le_bytes()),
        4 => bytes[at + 4..at + 8].copy_from_slice(&(random.number() as u32).to_le_bytes()),
        5 => {
            let any = random.below(220) as u32;
            let helper = random.pick(&[
                helper_ids::MAP_LOOKUP_ELEM,
                helper_ids::MAP_UPDATE_ELEM,
                helper_ids::MAP_DELETE_ELEM,
                helper_ids::SYSCTL_GET_NAME,
                helper_ids::SYSCTL_GET_NEW_VALUE,
                helper_ids::SYSCTL_GET_CURRENT_VALUE,
                helper_ids::SYSCTL_SET_NEW_VALUE,
                helper_ids::STRTOL,
                helper_ids::RINGBUF_OUTPUT,
                helper_ids::RINGBUF_RESERVE,
                helper_ids::RINGBUF_SUBMIT,
                helper_ids::LOOP,
                helper_ids::FOR_EACH_MAP_ELEM,
                helper_ids::SNPRINTF,
                helper_ids::TAIL_CALL,
                any,
            ]);
            bytes[at..at + INSN_BYTES].copy_from_slice(&[
                0x85,
                0,
                0,
                0,
                helper as u8,
                (helper >> 8) as u8,
                0,
                0,
            ]);
        }
        6 => drop(bytes.drain(at..at + INSN_BYTES)),
        _ if bytes.len() < LONG => {
            let copied = insn(random);
            let copy = bytes[copied..copied + INSN_BYTES].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {}
    }
}

/// Changes the definition of a map.
fn of_map(maps: &mut [u8], random: &mut Random) {
    let at = random.below((maps.len() / MAP_BYTES) as u64) as usize * MAP_BYTES;
    match random.below(4) {
        0 => maps[at] = random.next_u64() as u8,
        1 => maps[at + 2..at + 4]
            .copy_from_slice(&(random.pick(&[0, 1, 4, 5, 8, 16, 260, 512]) as u16).to_le_bytes()),
        2 => maps[at + 4..at + 8].copy_from_slice(&(random.number() as u32).to_le_bytes()),
        _ => maps[at + 8..at + 12].copy_from_slice(&(random.number() as u32).to_le_bytes()),
    }
}

fn place(bytes: &[u8], random: &mut Random) -> usize {
    random.below(bytes.len() as u64) as usize
}
