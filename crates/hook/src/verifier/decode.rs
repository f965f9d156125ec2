//! From instructions to steps: everything that can be looked up before the program runs (`resolve_pseudo_ldimm64()` and
//! parts of `check_subprogs()` and `check_helper_call()` in kernel/bpf/verifier.c).

use std::collections::{BTreeMap, BTreeSet};

use knobgate_bpf::uapi::BPF_CGROUP_SYSCTL;
use knobgate_bpf::{
    Callee, Helper, Imm64, MapKind, MapReference, Operation, Program, Unresolved, helper_ids,
};

use super::Rejection;
use super::insn_fields::{self, Rejected};
use crate::Profile;
use crate::step::Step;

/// `MAX_USED_MAPS`
pub(super) const MAX_USED_MAPS: usize = 64;

/// How many maps may come with a program, used or not.
pub(super) const MAPS_MAX: usize = 1 << 15;

/// A decoded program.
#[derive(Debug)]
pub(super) struct Decoded {
    /// One step for each instruction.
    pub(super) code: Vec<Step>,
    /// Why the program is rejected if a path gets to one of these instructions.
    pub(super) rejected: BTreeMap<usize, Rejection>,
}

/// Decodes a program.
pub(super) fn decode(
    program: &Program,
    profile: &Profile,
    expected_attach_type: u32,
) -> Result<Decoded, Rejection> {
    let mut relocations = BTreeMap::new();
    for relocation in &program.relocations {
        let insn = relocation.insn;
        let def = program.maps.get(relocation.map).ok_or(Rejection::Relocation { insn })?;
        let is_load = program.insns.get(insn).is_some_and(|insn| insn.is_load_imm64());
        let fits = match relocation.target {
            MapReference::Map => true,
            MapReference::Value(offset) => {
                def.kind == MapKind::Array && def.max_entries == 1 && offset < def.value_size
            }
        };
        if !is_load || !fits || relocations.insert(insn, relocation).is_some() {
            return Err(Rejection::Relocation { insn });
        }
    }

    let used: BTreeSet<usize> = program.relocations.iter().map(|relocation| relocation.map).collect();
    if used.len() > MAX_USED_MAPS {
        return Err(Rejection::TooManyUsedMaps);
    }
    // `bpf_cgroup_storage_assign()` in kernel/bpf/local_storage.c.
    for kind in [MapKind::CgroupStorage, MapKind::PercpuCgroupStorage] {
        if used.iter().filter(|&&map| program.maps[map].kind == kind).count() > 1 {
            return Err(Rejection::SeveralStorages);
        }
    }
    // Steps have 16 bits for the number of a map, and each map may have an inner one.
    if program.maps.len() > MAPS_MAX {
        return Err(Rejection::TooManyMaps { maps: program.maps.len() });
    }

    let unresolved = |unresolved: &Unresolved| (unresolved.insn, Rejection::unresolved(unresolved));
    let mut rejected: BTreeMap<usize, Rejection> = program.unresolved.iter().map(unresolved).collect();
    let mut steps = Vec::with_capacity(program.insns.len());
    while steps.len() < program.insns.len() {
        let insn = steps.len();
        let operation = match insn_fields::decode(&program.insns, insn, profile) {
            Ok(operation) => operation,
            Err(found) => {
                let Rejected { reason, similar } = *found;
                let Some(similar) = similar else { return Err(reason) };
                rejected.insert(insn, reason);
                similar
            }
        };
        let after = insn + operation.slots();
        let target = |off: i32| {
            let target = after as i64 + i64::from(off);
            usize::try_from(target)
                .ok()
                .filter(|target| *target < program.insns.len())
                .map(|target| target as u32)
                .ok_or(Rejection::JumpOutOfRange { insn, target })
        };
        let relocation = relocations.get(&insn);
        steps.push(match operation {
            Operation::Alu { width, op, dst, operand } => Step::Alu { width, op, dst, operand },
            Operation::Mov { width, dst, operand } => Step::Mov { width, dst, operand },
            Operation::MovSigned { width, size, dst, src } => Step::MovSigned { width, size, dst, src },
            Operation::Neg { width, dst } => Step::Neg { width, dst },
            Operation::Swap { order, size, dst } => Step::Swap { order, size, dst },
            Operation::Load { size, signed, dst, base, off } => Step::Load { size, signed, dst, base, off },
            Operation::LoadAcquire { size, dst, base, off } => {
                Step::Load { size, signed: false, dst, base, off }
            }
            Operation::Store { size, base, off, operand } => Step::Store { size, base, off, operand },
            Operation::StoreRelease { size, base, off, src } => {
                Step::Store { size, base, off, operand: src.into() }
            }
            Operation::Atomic { op, size, base, off, src } => Step::Atomic { op, size, base, off, src },
            Operation::LoadImm64 { dst, imm } => match (relocation.map(|r| (r.map, r.target)), imm) {
                (Some((map, MapReference::Map)), _) => Step::Map { dst, map: map as u16 },
                (Some((map, MapReference::Value(offset))), _) => {
                    Step::MapValue { dst, map: map as u16, offset }
                }
                (None, Imm64::Value(value)) => Step::Number { dst, value },
                (None, Imm64::Function { .. }) if !profile.has_function_addresses() => {
                    return Err(Rejection::FunctionAddress { insn });
                }
                // The offset of a function counts from the second half of the load.
                (None, Imm64::Function { off }) => Step::Function { dst, start: target(off - 1)? },
                (None, _) => return Err(Rejection::Relocation { insn }),
            },
            Operation::LoadPacket { .. } => {
                rejected.entry(insn).or_insert(Rejection::PacketLoad { insn });
                Step::Rejected
            }
            Operation::Jump { off, .. } => Step::Jump { target: target(off)? },
            Operation::JumpIf { width, cond, dst, operand, off } => {
                Step::JumpIf { width, cond, dst, operand, target: target(i32::from(off))? }
            }
            Operation::MayGoto { off } => Step::MayGoto { target: target(i32::from(off))? },
            Operation::Call { callee: Callee::Helper(_) } if rejected.contains_key(&insn) => Step::Rejected,
            Operation::Call { callee: Callee::Helper(id) } => {
                match helper(id, insn, program, profile, expected_attach_type) {
                    Ok(helper) => Step::Helper { helper },
                    Err(reason) => {
                        rejected.insert(insn, reason);
                        Step::Rejected
                    }
                }
            }
            Operation::Call { callee: Callee::Function(off) } => Step::Call { start: target(off)? },
            Operation::Call { callee: Callee::Kfunc { btf_id, .. } } => {
                rejected.entry(insn).or_insert(Rejection::KernelFunction { insn, btf_id });
                Step::Rejected
            }
            Operation::Exit => Step::Exit,
        });
        if operation.slots() == 2 {
            steps.push(Step::SecondHalf);
        }
    }
    Ok(Decoded { code: steps, rejected })
}

/// The helper of this number, if the program may call it.
fn helper(
    id: u32,
    insn: usize,
    program: &Program,
    profile: &Profile,
    expected_attach_type: u32,
) -> Result<&'static Helper, Rejection> {
    let helper = Helper::find(id).ok_or(Rejection::UnknownHelper { insn, id })?;
    let name = helper.name;
    let is_available = match id {
        // Only the attach type of this hook gives programs its return value.
        helper_ids::GET_RETVAL | helper_ids::SET_RETVAL => {
            profile.retval_helpers && expected_attach_type == BPF_CGROUP_SYSCTL
        }
        _ => helper.since <= profile.version,
    };
    if !is_available {
        return Err(Rejection::UnavailableHelper { insn, id, name });
    }
    if helper.gpl_only && !is_gpl(program) {
        return Err(Rejection::Gpl { insn, name });
    }
    if helper.might_sleep {
        return Err(Rejection::MightSleep { insn, name });
    }
    if helper.proto.is_some() { Ok(helper) } else { Err(Rejection::NotModelled { insn, id, name }) }
}

/// Whether the program may call helpers for the GPL (`license_is_gpl_compatible` in include/linux/license.h). A program
/// that states no license gets such a one from the loader.
fn is_gpl(program: &Program) -> bool {
    const COMPATIBLE: [&str; 6] =
        ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];
    program.license.as_deref().is_none_or(|license| COMPATIBLE.contains(&license))
}
