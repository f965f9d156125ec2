//! From an access of one kind to the first step of its decision.

use std::collections::BTreeSet;

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R7, R10};
use knobgate_bpf::uapi::BPF_F_SYSCTL_BASE_NAME;
use knobgate_bpf::{Cond, Label, Size, helper_ids as helper};
use knobgate_policy::limits::NAME_MAX;

use super::code::Code;
use super::dispatch::Starts;
use super::lookup::{self, Found, Needle};
use crate::ir::{NamedStep, OtherComponents, StepId};
use crate::layout::frame::{LAST_COMPONENT, NAME, NAME_BYTES, ONLY_SLOT, TOO_LONG};
use crate::layout::{Lookup, PlacedDfa, PlacedNames, PlacedOtherNames, PlacedPlan};

/// `BPF_F_SYSCTL_BASE_NAME` in include/uapi/linux/bpf.h: the last component alone.
const BASE_NAME: i32 = BPF_F_SYSCTL_BASE_NAME as i32;

/// Emits the code that goes to the first step.
pub(super) fn emit(code: &mut Code<'_>, starts: &mut Starts<'_>, plan: &PlacedPlan<'_>) {
    let names = match plan {
        PlacedPlan::AnyName(step) => return starts.start(code, *step),
        PlacedPlan::ByName(names) => names,
    };
    let too_long = code.asm.new_label();
    if let OtherComponents::Decided(step) = names.plan.by_last_component.others {
        emit_last_component(code, starts, names, step);
    }
    emit_name(code, starts, names, too_long);
    code.asm.bind(too_long);
    match names.plan.by_last_component.others {
        OtherComponents::Decided(_) => {
            code.asm.load(Size::U32, R0, R10, TOO_LONG);
            starts.start_by_row(code, &steps(&names.plan.by_last_component.known));
        }
        OtherComponents::NeedName(step) => emit_too_long(code, starts, names, step),
    }
}

/// Goes to `otherwise` if the last component of the name shows that no rule matches it. Else stores at `TOO_LONG` where to go
/// if the name is too long.
fn emit_last_component(
    code: &mut Code<'_>,
    starts: &mut Starts<'_>,
    names: &PlacedNames<'_>,
    otherwise: StepId,
) {
    let (known, leave) = (code.asm.new_label(), code.asm.new_label());
    fetch_last_component(code, names, leave);
    if let Some(lookup) = &names.last_components {
        let layout = starts.layout();
        lookup::emit(code, lookup, Needle { at: LAST_COMPONENT, not_found: leave }, &mut |code, found| {
            match found {
                Found::Known(target) => {
                    let row = layout.step(target.step).row;
                    code.asm.store_imm(Size::U32, R10, TOO_LONG, row as i32);
                    if names.knows_slots {
                        code.asm.store_imm(Size::U32, R10, ONLY_SLOT, target.encoded_slot() as i32);
                    }
                }
                Found::InSlot(hash) => {
                    code.asm.store(Size::U32, R10, TOO_LONG, R0);
                    if names.knows_slots {
                        lookup::load_only_slot(code, hash, R1);
                        code.asm.store(Size::U32, R10, ONLY_SLOT, R1);
                    }
                }
            }
            code.asm.jump(known);
        });
    }
    code.asm.bind(leave);
    starts.start(code, otherwise);
    code.asm.bind(known);
}

/// Goes to the step for a name that is too long: the one for its last component, or else `otherwise`.
fn emit_too_long(code: &mut Code<'_>, starts: &mut Starts<'_>, names: &PlacedNames<'_>, otherwise: StepId) {
    if let Some(lookup) = &names.last_components {
        let unknown = code.asm.new_label();
        fetch_last_component(code, names, unknown);
        let candidates = steps(&names.plan.by_last_component.known);
        lookup::emit(code, lookup, Needle { at: LAST_COMPONENT, not_found: unknown }, &mut |code, found| {
            match found {
                Found::Known(target) => starts.start(code, target.step),
                Found::InSlot(_) => starts.start_by_row(code, &candidates),
            }
        });
        code.asm.bind(unknown);
    }
    starts.start(code, otherwise);
}

/// Fetches the last component. Goes to `longer` if it is longer than all that rules spell out.
fn fetch_last_component(code: &mut Code<'_>, names: &PlacedNames<'_>, longer: Label) {
    // A buffer of this size is enough: a longer component is none of these.
    let looked_at = names.last_components.as_deref().map_or(8, Lookup::bytes);
    fetch(code, LAST_COMPONENT, looked_at, looked_at, BASE_NAME);
    // A negative errno is a large number.
    code.asm.jump_if(Cond::Ge, R0, i32::from(looked_at), longer);
}

/// Fetches the name and finds its step, or goes to `too_long`.
fn emit_name(code: &mut Code<'_>, starts: &mut Starts<'_>, names: &PlacedNames<'_>, too_long: Label) {
    let looked_at = names.literals.as_deref().map_or(0, Lookup::bytes);
    fetch(code, NAME, NAME_BYTES, looked_at, 0);
    code.asm.jump_if(Cond::Gt, R0, NAME_MAX as i32, too_long);

    let by_row = code.asm.new_label();
    let mut found_by_row = BTreeSet::new();
    if matches!(names.others, PlacedOtherNames::Dfa(_)) {
        code.asm.mov(R7, R0);
    }
    if let Some(literals) = &names.literals {
        let not_spelled_out = code.asm.new_label();
        let needle = Needle { at: NAME, not_found: not_spelled_out };
        code.asm.jump_if(Cond::Ge, R0, i32::from(looked_at), not_spelled_out);
        let layout = starts.layout();
        match &**literals {
            Lookup::Hash(hash) if names.knows_slots => {
                lookup::emit_with_known_slot(code, layout, hash, needle, ONLY_SLOT);
                found_by_row.extend(steps(&names.plan.literals));
                code.asm.jump(by_row);
            }
            _ => lookup::emit(code, literals, needle, &mut |code, found| match found {
                Found::Known(target) => starts.start(code, target.step),
                Found::InSlot(_) => {
                    found_by_row.extend(steps(&names.plan.literals));
                    code.asm.jump(by_row);
                }
            }),
        }
        code.asm.bind(not_spelled_out);
    }
    match &names.others {
        PlacedOtherNames::Same(step) => starts.start(code, *step),
        PlacedOtherNames::Prefixes { prefixes, otherwise } => {
            for NamedStep { name: prefix, step } in *prefixes {
                let other = code.asm.new_label();
                emit_prefix(code, prefix, other);
                starts.start(code, *step);
                code.asm.bind(other);
            }
            starts.start(code, *otherwise);
        }
        PlacedOtherNames::Dfa(PlacedDfa { classes, start }) => {
            code.address(R1, NAME);
            code.asm.mov(R2, R7);
            code.asm.mov(R3, *classes as i32);
            code.asm.mov(R4, *start as i32);
            code.subprograms.call_run_dfa(&mut code.asm, NAME_MAX);
            found_by_row.extend(names.plan.others.steps());
            code.asm.jump(by_row);
        }
    }
    if !found_by_row.is_empty() {
        code.asm.bind(by_row);
        starts.start_by_row(code, &found_by_row);
    }
}

/// Fetches the name, or the part that `flags` select, to the stack at `at`. The rest of the first `looked_at` bytes is zero.
fn fetch(code: &mut Code<'_>, at: i16, bytes: i16, looked_at: i16, flags: i32) {
    // The helper writes up to 7 zeros after the name, and leaves the rest of the buffer as it is.
    let zeroed = if code.features.uninit_stack { looked_at } else { bytes };
    for offset in (0..zeroed).step_by(8) {
        code.asm.store_imm(Size::U64, R10, at + offset, 0);
    }
    code.asm.mov(R1, R6);
    code.address(R2, at);
    code.asm.mov(R3, i32::from(bytes));
    code.asm.mov(R4, flags);
    code.asm.call_helper(helper::SYSCTL_GET_NAME);
}

/// Jumps to `other` unless the name starts with `prefix`. A name that is shorter differs where it ends.
fn emit_prefix(code: &mut Code<'_>, prefix: &[u8], other: Label) {
    let mut rest = prefix;
    let mut at = NAME;
    for size in [Size::U64, Size::U32, Size::U16, Size::U8] {
        while let Some((word, after)) = rest.split_at_checked(size.bytes() as usize) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            code.asm.load(size, R1, R10, at);
            code.asm.load_imm64(R2, u64::from_le_bytes(bytes));
            code.asm.jump_if(Cond::Ne, R1, R2, other);
            rest = after;
            at += size.bytes() as i16;
        }
    }
}

fn steps(names: &[NamedStep]) -> BTreeSet<StepId> {
    names.iter().map(|named| named.step).collect()
}
