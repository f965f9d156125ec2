//! Whether an event may be sent: the key of its rule and cgroup, its counters, and the limit.
//!
//! The functions that send events have these places on their stack, and in R7 the entry of the rule in the table.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R10};
use knobgate_bpf::uapi::BPF_NOEXIST;
use knobgate_bpf::{AluOp, Assembler, Cond, Label, Reg, Size, helper_ids as helper};
use knobgate_events::record::{flag, offset};

use super::EventFacts;
use crate::codegen::verifier;
use crate::events::{EventMap, counters, rules};

/// The key of the rule and the cgroup.
pub(super) const KEY: i16 = -16;
/// The counters of the key.
pub(super) const COUNTERS: i16 = -24;
// At offsets that are no multiples of 8 the verifier does not track what is stored (see `verifier`).
/// The verdict and the errno.
pub(super) const VERDICT: i16 = -36;
/// The flags of the record, of which the caller gives some.
pub(super) const FLAGS: i16 = -44;

const NANOSECONDS: i32 = 1_000_000_000;

/// Emits code that finds the entry of the rule, and makes the key: R1 the context, R2 the offset of the rule's counters, R3 the verdict
/// (16 bits), the errno (16 bits) and flags (32 bits). Afterwards R6 is the context, R7 the entry, and R8 the time.
pub(super) fn key(asm: &mut Assembler, facts: &EventFacts, never: Label) {
    asm.mov(R6, R1);
    asm.store(Size::U32, R10, VERDICT, R3);
    asm.alu(AluOp::Rsh, R3, 32);
    asm.store(Size::U32, R10, FLAGS, R3);
    let last = facts.last_rule * rules::ENTRY_BYTES;
    verifier::prove_counter_offset(asm, R2, last as i32, never);
    asm.load_map_value(R7, facts.map(EventMap::Rules), rules::ENTRIES);
    asm.alu(AluOp::Add, R7, R2);
    asm.alu(AluOp::Rsh, R2, rules::ENTRY_BYTES.ilog2() as i32);
    asm.store(Size::U32, R10, KEY + offset::RULE - offset::KEY, R2);
    asm.mov32(R1, facts.policy_number as i32);
    asm.store(Size::U32, R10, KEY + offset::POLICY - offset::KEY, R1);
    asm.call_helper(helper::GET_CURRENT_CGROUP_ID);
    asm.store(Size::U64, R10, KEY, R0);
    asm.call_helper(helper::KTIME_GET_BOOT_NS);
    asm.mov(R8, R0);
}

/// Makes R0 the counters of the key, which are made if there are none. If there are too many already, it is those that the rule's
/// other cgroups share.
pub(super) fn find_counters(asm: &mut Assembler, facts: &EventFacts, never: Label) {
    let found = asm.new_label();
    look_up_counters(asm, facts);
    asm.jump_if(Cond::Ne, R0, 0, found);
    asm.load_map(R1, facts.map(EventMap::Counters));
    address(asm, R2, KEY);
    asm.load_map_value(R3, facts.map(EventMap::Rules), rules::ZEROS);
    asm.mov(R4, BPF_NOEXIST as i32);
    asm.call_helper(helper::MAP_UPDATE_ELEM);
    look_up_counters(asm, facts);
    asm.jump_if(Cond::Ne, R0, 0, found);
    set_early_flag(asm, flag::SHARED);
    asm.load(Size::U32, R1, R10, KEY + offset::RULE - offset::KEY);
    verifier::prove_at_most(asm, R1, facts.last_rule as i32, never);
    asm.alu(AluOp::Mul, R1, counters::BYTES as i32);
    asm.load_map_value(R0, facts.map(EventMap::Others), 0);
    asm.alu(AluOp::Add, R0, R1);
    asm.bind(found);
}

fn look_up_counters(asm: &mut Assembler, facts: &EventFacts) {
    asm.load_map(R1, facts.map(EventMap::Counters));
    address(asm, R2, KEY);
    asm.call_helper(helper::MAP_LOOKUP_ELEM);
}

/// Sets a flag, before there is a record.
fn set_early_flag(asm: &mut Assembler, flag: u32) {
    asm.load(Size::U32, R1, R10, FLAGS);
    asm.alu(AluOp::Or, R1, flag as i32);
    asm.store(Size::U32, R10, FLAGS, R1);
}

/// Counts the event with the counters in R0, and goes away if the rule has sent enough in this second. Two tasks can take the same
/// second for a new one, so the limit is approximate; the counters are exact.
pub(super) fn limit(asm: &mut Assembler, suppressed: Label) {
    let (unlimited, same_second, goes, known) =
        (asm.new_label(), asm.new_label(), asm.new_label(), asm.new_label());
    asm.load(Size::U64, R1, R0, counters::FIRST);
    asm.jump_if(Cond::Ne, R1, 0, known);
    asm.store(Size::U64, R0, counters::FIRST, R8);
    set_early_flag(asm, flag::FIRST);
    asm.bind(known);
    asm.store(Size::U64, R0, counters::LAST, R8);
    asm.load(Size::U32, R2, R7, rules::LIMIT);
    asm.jump_if(Cond::Eq, R2, 0, unlimited);
    asm.mov(R1, R8);
    asm.alu(AluOp::Div, R1, NANOSECONDS);
    asm.load(Size::U32, R3, R0, counters::SECOND);
    asm.jump32_if(Cond::Eq, R1, R3, same_second);
    asm.store(Size::U32, R0, counters::SECOND, R1);
    asm.mov(R1, 0);
    asm.store(Size::U32, R0, counters::IN_SECOND, R1);
    asm.bind(same_second);
    asm.load(Size::U32, R3, R0, counters::IN_SECOND);
    asm.jump_if(Cond::Lt, R3, R2, goes);
    asm.mov(R1, 1);
    asm.atomic_add(Size::U64, R0, counters::SUPPRESSED, R1);
    asm.jump(suppressed);
    asm.bind(goes);
    asm.mov(R1, 1);
    asm.atomic_add(Size::U32, R0, counters::IN_SECOND, R1);
    asm.bind(unlimited);
    asm.mov(R1, 1);
    asm.atomic_add(Size::U64, R0, counters::SENT, R1);
}

fn address(asm: &mut Assembler, into: Reg, offset: i16) {
    asm.mov(into, R10);
    asm.alu(AluOp::Add, into, i32::from(offset));
}

const _: () = assert!(VERDICT % 8 != 0 && FLAGS % 8 != 0);
