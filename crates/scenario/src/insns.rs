//! Programs given as instructions.

use knobgate_bpf::{
    Callee, Function, Imm64, Insn, MapDef, MapReference, Operation, Program, Reg, Relocation, decode, encode,
};

use crate::bytes::Hex;
use crate::program_document::ProgramDocument;

/// A program of these instructions, and the indices of `maps` that it uses, in its order.
pub(crate) fn program(name: &str, bytes: &[u8], maps: &[MapDef]) -> Result<(Program, Vec<usize>), String> {
    let insns = decode(bytes).map_err(|error| error.to_string())?;
    let mut used = Vec::new();
    let mut relocations = Vec::new();
    let mut starts = vec![0];
    let mut at = 0;
    while at < insns.len() {
        // The verifier rejects invalid instructions.
        let Ok(operation) = Operation::at(&insns, at) else {
            at += 1;
            continue;
        };
        let after = at + operation.slots();
        match operation {
            Operation::LoadImm64 { imm, .. } => {
                if let Some((index, target)) = reference(imm) {
                    if index >= maps.len() {
                        return Err(format!(
                            "instruction {at} loads map {index}, and there are {} maps, counted from 0",
                            maps.len()
                        ));
                    }
                    let map = used.iter().position(|&other| other == index).unwrap_or_else(|| {
                        used.push(index);
                        used.len() - 1
                    });
                    relocations.push(Relocation { insn: at, map, target });
                } else if let Imm64::Function { off } = imm {
                    // The address counts from the load's first instruction, unlike jumps.
                    starts.push(at as i64 + 1 + i64::from(off));
                }
            }
            Operation::Call { callee: Callee::Function(off) } => {
                starts.push(after as i64 + i64::from(off));
            }
            _ => {}
        }
        at = after;
    }
    let functions = functions(starts, insns.len());
    let maps = used.iter().map(|&index| maps[index].clone()).collect();
    Ok((Program { name: name.to_owned(), insns, maps, relocations, functions, ..Program::default() }, used))
}

impl From<&Program> for ProgramDocument {
    /// The instructions of a program, whose maps are the first ones of the scenario.
    fn from(program: &Program) -> Self {
        let mut insns = program.insns.clone();
        for relocation in &program.relocations {
            let Some([first, second, ..]) = insns.get_mut(relocation.insn..) else { continue };
            let Some(dst) = Reg::from_number(first.dst()) else { continue };
            let fd = relocation.map as i32;
            let imm = match relocation.target {
                MapReference::Map => Imm64::Map { fd },
                MapReference::Value(offset) => Imm64::MapValue { fd, offset },
            };
            [*first, *second] = Insn::load_imm64(dst, imm);
        }
        Self::Insns { insns: Hex(encode(&insns)), expected_attach_type: None }
    }
}

/// The index of the map that is loaded, and the part of it.
fn reference(imm: Imm64) -> Option<(usize, MapReference)> {
    let (index, target) = match imm {
        Imm64::Map { fd } => (usize::try_from(fd).unwrap_or(usize::MAX), MapReference::Map),
        Imm64::MapValue { fd, offset } => {
            (usize::try_from(fd).unwrap_or(usize::MAX), MapReference::Value(offset))
        }
        Imm64::MapIndex { index } => (index as usize, MapReference::Map),
        Imm64::MapIndexValue { index, offset } => (index as usize, MapReference::Value(offset)),
        Imm64::Value(_) | Imm64::Variable { .. } | Imm64::Function { .. } => return None,
    };
    Some((index, target))
}

/// The functions that start at these instructions. The kernel only needs them if there are callbacks; a program of one
/// function has none.
fn functions(mut starts: Vec<i64>, insns: usize) -> Vec<Function> {
    starts.sort_unstable();
    starts.dedup();
    let starts: Vec<usize> = starts
        .into_iter()
        .filter_map(|start| usize::try_from(start).ok())
        .filter(|&start| start < insns)
        .collect();
    if starts.len() < 2 {
        return Vec::new();
    }
    let name = |start| if start == 0 { "main".to_owned() } else { format!("at_{start}") };
    starts.into_iter().map(|start| Function { name: name(start), start }).collect()
}
