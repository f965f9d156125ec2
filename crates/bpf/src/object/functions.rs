//! The functions of an object, programs among them, and what their instructions refer to.

use std::collections::HashMap;
use std::ops::Range;

use object::SymbolKind;

use super::ObjectError;
use super::core_relocations::CoreRelocation;
use super::debug_info::{DebugInfo, Line};
use super::elf::{Elf, FunctionAddresses, Relocation, Role, Section};
use super::externs::Extern;
use super::maps::Map;
use crate::{Insn, decode, opcode};

/// A function.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) section: String,
    /// Whether it is a program, and not only called by some.
    pub(super) is_program: bool,
    pub(super) insns: Vec<Insn>,
    /// By the index of the instruction.
    pub(super) references: Vec<(usize, Reference)>,
    /// With instructions counted from the function's first.
    pub(super) lines: Vec<Line>,
    /// With instructions counted from the function's first.
    pub(super) core_relocations: Vec<CoreRelocation>,
}

/// What an instruction refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    /// A 64-bit load: the map of this index.
    Map(usize),
    /// A 64-bit load: the address of this byte of the only value of a map.
    Value { map: usize, offset: u32 },
    /// A call, or a 64-bit load of the address: the function of this index.
    Function(usize),
    /// A call, or a 64-bit load of this byte of it: the declaration of this index, which is not in the object.
    Extern { index: usize, offset: i64 },
    /// A description of something unsupported.
    Unsupported(String),
}

/// All functions, in the order of sections and addresses, and their addresses.
pub(super) fn read(
    elf: &Elf<'_>,
    debug: &DebugInfo<'_>,
    maps: &[Map],
    externs: &[Extern],
) -> Result<(Vec<Function>, FunctionAddresses), ObjectError> {
    let mut ranges: Vec<(usize, Range<usize>, usize)> = Vec::new();
    let mut addresses = FunctionAddresses::new();
    for (section, role) in elf.sections.iter().map(|section| section.role).enumerate() {
        if role != Role::Functions && role != Role::Programs {
            continue;
        }
        let mut symbols: Vec<_> =
            elf.symbols_in(section).filter(|(_, symbol)| symbol.kind == SymbolKind::Text).collect();
        // Of names for the same place the global one counts.
        symbols.sort_by_key(|(_, symbol)| (symbol.address, symbol.is_local));
        let mut end = 0;
        for (index, symbol) in symbols {
            if addresses.contains_key(&(section, symbol.address)) {
                continue;
            }
            let range = symbol.range();
            if range.start < end || range.is_empty() || range.start % Insn::BYTES != 0 {
                let what = format!("the function {} is empty, or overlaps with another one", symbol.name);
                return Err(ObjectError::damaged(what));
            }
            end = range.end;
            addresses.insert((section, symbol.address), ranges.len());
            ranges.push((section, range, index));
        }
    }
    let of_maps = MapFunctionAddresses::of(maps);
    let externs = externs.iter().enumerate().map(|(index, declared)| (&*declared.name, index)).collect();
    let resolver = Resolver { elf, addresses: &addresses, maps: &of_maps, externs };
    let functions = ranges.into_iter().map(|(index, range, symbol)| {
        let (section, symbol) = (&elf.sections[index], &elf.symbols[symbol]);
        let code = section.data.get(range.clone()).unwrap_or_default();
        let insns = decode(code)
            .map_err(|error| ObjectError::damaged(format!("the function {}: {error}", symbol.name)))?;
        let references = resolver
            .references(index, range.start, &insns)
            .map_err(|what| ObjectError::damaged(format!("the function {}: {what}", symbol.name)))?;
        let first = range.start / Insn::BYTES;
        let of_function = first..first + insns.len();
        let lines = debug.lines(section.name, of_function.clone());
        let core_relocations = debug.core_relocations(section.name, of_function).iter();
        Ok(Function {
            name: symbol.name.to_owned(),
            section: section.name.to_owned(),
            is_program: section.role == Role::Programs && !symbol.is_local,
            references,
            lines: lines.iter().map(|line| Line { insn: line.insn - first, ..*line }).collect(),
            core_relocations: core_relocations
                .map(|relocation| CoreRelocation { insn: relocation.insn - first, ..*relocation })
                .collect(),
            insns,
        })
    });
    Ok((functions.collect::<Result<_, _>>()?, addresses))
}

/// The indices of maps by where they are: sections of data have no address.
struct MapFunctionAddresses(HashMap<(usize, Option<usize>), usize>);

impl MapFunctionAddresses {
    fn of(maps: &[Map]) -> Self {
        Self(maps.iter().enumerate().map(|(index, map)| ((map.section, map.address), index)).collect())
    }
}

struct Resolver<'e, 'a> {
    elf: &'e Elf<'a>,
    addresses: &'e FunctionAddresses,
    maps: &'e MapFunctionAddresses,
    externs: HashMap<&'e str, usize>,
}

impl Resolver<'_, '_> {
    /// What the instructions of a function refer to.
    fn references(
        &self,
        section: usize,
        start: usize,
        insns: &[Insn],
    ) -> Result<Vec<(usize, Reference)>, String> {
        let end = start + insns.len() * Insn::BYTES;
        let mut relocations = self.elf.sections[section].relocations_in(start..end).iter().peekable();
        let mut references = Vec::new();
        let mut index = 0;
        while let Some(&insn) = insns.get(index) {
            let offset = start + index * Insn::BYTES;
            let slots = if insn.is_load_imm64() { 2 } else { 1 };
            let relocation = relocations.next_if(|relocation| relocation.offset == offset);
            let reference = match relocation {
                Some(relocation) if insn.is_load_imm64() && index + 1 < insns.len() => {
                    Some(self.loaded(insn, relocation))
                }
                Some(relocation) if is_call(insn) => Some(self.called(insn, relocation)),
                Some(_) => return Err(format!("nothing can be relocated at instruction {index}")),
                None if is_call(insn) && insn.src() == opcode::PSEUDO_CALL => {
                    let target = offset as i64 + (i64::from(insn.imm) + 1) * Insn::BYTES as i64;
                    Some(self.function(section, target))
                }
                None if is_call(insn) && insn.src() != 0 => {
                    Some(Reference::Unsupported(format!("a kernel function, at instruction {index}")))
                }
                None if insn.is_load_imm64() && insn.src() != 0 => Some(Reference::Unsupported(format!(
                    "a number at instruction {index} that was put in by a loader"
                ))),
                None => None,
            };
            references.extend(reference.map(|reference| (index, reference)));
            index += slots;
        }
        match relocations.next() {
            None => Ok(references),
            Some(relocation) => {
                Err(format!("nothing can be relocated at byte {}", relocation.offset - start))
            }
        }
    }

    fn called(&self, insn: Insn, relocation: &Relocation) -> Reference {
        let symbol = &self.elf.symbols[relocation.symbol];
        let Some(section) = symbol.section else { return self.undefined(symbol.name, 0) };
        // Calls count from the next instruction, in instructions, whatever they are relocated to.
        let distance = relocation.addend.unwrap_or(i64::from(insn.imm));
        let target = distance.checked_add(1).and_then(|distance| distance.checked_mul(Insn::BYTES as i64));
        self.function(
            section,
            target.and_then(|target| target.checked_add(symbol.address as i64)).unwrap_or(-1),
        )
    }

    fn loaded(&self, insn: Insn, relocation: &Relocation) -> Reference {
        let symbol = &self.elf.symbols[relocation.symbol];
        let addend = relocation.addend.unwrap_or(i64::from(insn.imm));
        let Some(index) = symbol.section else { return self.undefined(symbol.name, addend) };
        let section = &self.elf.sections[index];
        let target = (symbol.address as i64).checked_add(addend).unwrap_or(-1);
        match section.role {
            Role::Functions | Role::Programs => self.function(index, target),
            Role::Data | Role::ReadOnlyData => self.value(index, section, target),
            Role::Maps | Role::LegacyMaps => {
                let map = usize::try_from(target).ok().and_then(|at| self.maps.0.get(&(index, Some(at))));
                map.map_or_else(
                    || Reference::Unsupported(format!("something inside of the section {}", section.name)),
                    |map| Reference::Map(*map),
                )
            }
            _ => Reference::Unsupported(format!("the section {}", section.name)),
        }
    }

    fn undefined(&self, name: &str, offset: i64) -> Reference {
        match self.externs.get(name) {
            Some(&index) => Reference::Extern { index, offset },
            None => Reference::Unsupported(format!(
                "\"{name}\", which is neither in the object nor declared as something of the kernel (__ksym or __kconfig)"
            )),
        }
    }

    fn value(&self, index: usize, section: &Section<'_>, target: i64) -> Reference {
        let offset = u32::try_from(target).ok().filter(|offset| (*offset as usize) < section.size);
        match self.maps.0.get(&(index, None)).zip(offset) {
            Some((&map, offset)) => Reference::Value { map, offset },
            None => Reference::Unsupported(format!("a place outside of the section {}", section.name)),
        }
    }

    fn function(&self, section: usize, address: i64) -> Reference {
        let place = usize::try_from(address).ok().and_then(|address| self.addresses.get(&(section, address)));
        place.map_or_else(
            || {
                let name = self.elf.sections[section].name;
                Reference::Unsupported(format!("an address in {name} where no function starts"))
            },
            |function| Reference::Function(*function),
        )
    }
}

fn is_call(insn: Insn) -> bool {
    insn.opcode == opcode::JMP | opcode::CALL
}
