//! Links a program with the functions that it calls, and with the kernel that it is for.

use std::collections::HashMap;

use super::core_relocations::{CoreLinker, Missing};
use super::debug_info::Line;
use super::externs::{Address, Extern, Kfunc};
use super::functions::{Function, Reference};
use super::kconfig::{OptionPlace, kconfig};
use super::link_env::LinkEnv;
use super::maps::Map;
use super::target_kernel::TargetKernel;
use super::{Object, ObjectError};
use crate::btf_types::Types;
use crate::uapi::BPF_COMPLEXITY_LIMIT_INSNS;
use crate::{
    Function as FunctionEntry, Imm64, InnerMap, Insn, LineEntry, LineTable, MapDef, MapKind, MapReference,
    Program, Reg, Relocation, TailCall, UnresolvedReason, opcode,
};

/// A map of the object, or the one with options of the kernel's configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum UsedMap {
    /// By index.
    Own(usize),
    Kconfig,
}

/// The maps that are used, in the order in which they were met.
#[derive(Default)]
struct UsedMaps {
    maps: Vec<UsedMap>,
    numbers: HashMap<UsedMap, usize>,
}

impl UsedMaps {
    fn number(&mut self, map: UsedMap) -> usize {
        *self.numbers.entry(map).or_insert_with(|| {
            self.maps.push(map);
            self.maps.len() - 1
        })
    }
}

/// An object, and the kernel that its programs are linked for.
struct Linker<'t, 'k> {
    object: &'t Object,
    types: &'t Types<'t>,
    env: &'t LinkEnv<'k>,
    core: CoreLinker<'t, 'k>,
    used: UsedMaps,
    /// The map with options, and where each is; once one was met.
    kconfig: Option<(MapDef, Vec<OptionPlace>)>,
    /// How much the texts take that say what is missing.
    missing_bytes: usize,
}

/// The most that these may take: enough for ten thousand accesses.
const MISSING_BYTES_MAX: usize = 4 << 20;

/// The program that starts with this function.
pub(super) fn program(
    object: &Object,
    function: usize,
    kernel: &dyn TargetKernel,
) -> Result<Program, ObjectError> {
    let main = &object.functions[function];
    let unsupported = |what: String| ObjectError::Unsupported { program: main.name.clone(), what };
    let types = object.types();
    let env = LinkEnv::new(kernel);
    let core = CoreLinker::new(&types, &env);
    let mut linker = Linker {
        object,
        types: &types,
        env: &env,
        core,
        used: UsedMaps::default(),
        kconfig: None,
        missing_bytes: 0,
    };
    let mut program = linker.code(function)?;

    let mut next = 0;
    let mut bytes = 0;
    while let Some(&map) = linker.used.maps.get(next) {
        next += 1;
        let UsedMap::Own(map) = map else { continue };
        let Map { def, values, name, .. } = &object.maps[map];
        let def = def.as_ref().map_err(|what| unsupported(what.clone()))?;
        for &(index, value) in values {
            let is_inside = def.kind == MapKind::HashOfMaps || index < def.max_entries;
            let value = value.filter(|_| is_inside).ok_or_else(|| {
                let what = if def.kind.has_inner_maps() { "map" } else { "program" };
                unsupported(format!("the map {name} has something at index {index} that is not a {what}"))
            })?;
            if def.kind.has_inner_maps() {
                let map = linker.used.number(UsedMap::Own(value));
                program.inner_maps.push(InnerMap { outer: next - 1, key: index, map });
                continue;
            }
            let callee = linker.code(value)?;
            bytes += callee.bytes();
            if bytes > Object::PROGRAMS_MAX {
                return Err(unsupported(format!(
                    "what it hands on to has more than {} MiB",
                    Object::PROGRAMS_MAX >> 20
                )));
            }
            program.tail_calls.push(TailCall { map: next - 1, index, program: callee });
        }
    }
    // Libbpf binds these to every program, used or not.
    for (index, map) in object.maps.iter().enumerate() {
        if map.is_read_only_data && map.def.is_ok() {
            linker.used.number(UsedMap::Own(index));
        }
    }
    for &map in &linker.used.maps {
        match map {
            UsedMap::Own(map) => program.maps.push(object.maps[map].def.clone().map_err(unsupported)?),
            UsedMap::Kconfig => program.maps.extend(linker.kconfig.iter().map(|(def, _)| def.clone())),
        }
    }
    Ok(program)
}

impl Linker<'_, '_> {
    /// A function and all that it calls as a program without maps.
    fn code(&mut self, function: usize) -> Result<Program, ObjectError> {
        let object = self.object;
        let main = &object.functions[function];
        let unsupported = |what: String| ObjectError::Unsupported { program: main.name.clone(), what };
        let mut placed = vec![function];
        let mut starts = HashMap::from([(function, 0)]);
        let mut length = main.insns.len();
        let mut next = 0;
        while let Some(&caller) = placed.get(next) {
            for (_, reference) in &object.functions[caller].references {
                if let Reference::Function(callee) = *reference
                    && !starts.contains_key(&callee)
                {
                    starts.insert(callee, length);
                    placed.push(callee);
                    length += object.functions[callee].insns.len();
                }
            }
            if length > BPF_COMPLEXITY_LIMIT_INSNS {
                return Err(unsupported(format!(
                    "it has more than {BPF_COMPLEXITY_LIMIT_INSNS} instructions"
                )));
            }
            next += 1;
        }

        let mut program = Program {
            name: main.name.clone(),
            license: Some(object.license.clone()),
            lines: LineTable { file: file_of(self.types, main).to_owned(), entries: Vec::new() },
            kernel_structs: self.env.structs.clone(),
            ..Program::default()
        };
        for function in placed {
            let start = starts[&function];
            let function = &object.functions[function];
            program.functions.push(FunctionEntry { name: function.name.clone(), start });
            let mut insns = function.insns.clone();
            let mut missing = Vec::new();
            for relocation in &function.core_relocations {
                let lacks = self.core.apply(relocation, &mut insns).map_err(unsupported)?;
                if let Some(lacks) = lacks {
                    self.missing_bytes += lacks.what.len();
                    if self.missing_bytes > MISSING_BYTES_MAX {
                        return Err(unsupported(format!(
                            "{} lacks too much that it accesses",
                            self.env.kernel
                        )));
                    }
                    missing.push((relocation.insn, lacks));
                }
            }
            program.insns.extend(insns);
            for (index, reference) in &function.references {
                let in_function =
                    |what| unsupported(format!("the function {} refers to {what}", function.name));
                let at = start + index;
                match reference {
                    Reference::Map(map) => {
                        self.refer_to_map(&mut program, at, UsedMap::Own(*map), MapReference::Map);
                    }
                    Reference::Value { map, offset } => {
                        self.refer_to_map(&mut program, at, UsedMap::Own(*map), MapReference::Value(*offset));
                    }
                    Reference::Function(callee) => refer(&mut program.insns, at, starts[callee]),
                    Reference::Extern { index, offset } => {
                        self.refer_to_extern(&mut program, at, *index, *offset).map_err(in_function)?;
                    }
                    Reference::Unsupported(what) => return Err(in_function(what.clone())),
                }
            }
            for (index, Missing { what, reason }) in missing {
                program.set_unresolved(start + index, what, reason);
            }
            add_lines(self.types, function, start, &mut program.lines);
        }
        program.unresolved.sort_by_key(|unresolved| unresolved.insn);
        Ok(program)
    }

    fn refer_to_map(&mut self, program: &mut Program, at: usize, map: UsedMap, target: MapReference) {
        program.insns[at] = program.insns[at].with_src(0).with_imm(0);
        program.insns[at + 1] = program.insns[at + 1].with_imm(0);
        program.relocations.push(Relocation { insn: at, map: self.used.number(map), target });
    }

    /// Makes the instruction `at` call something of the kernel, or load its address.
    fn refer_to_extern(
        &mut self,
        program: &mut Program,
        at: usize,
        index: usize,
        offset: i64,
    ) -> Result<(), String> {
        let object = self.object;
        let declared = &object.externs[index];
        let insn = program.insns[at];
        if !insn.is_load_imm64() {
            return self.call_kfunc(program, at, declared);
        }
        if declared.is_option {
            let options = match self.kconfig.take() {
                Some(options) => options,
                None => kconfig(&object.externs, self.types, self.env.kernel)?,
            };
            let (def, places) = self.kconfig.insert(options);
            let place = match places[index] {
                OptionPlace::Offset(place) => u32::try_from(i64::from(place) + offset).ok(),
                OptionPlace::NotAnOption => None,
                OptionPlace::NotModelled => {
                    let name = &declared.name;
                    let what = format!(
                        "the option {name} (kconfig), which has no value as in \"kconfig\": {{\"{name}\": \"y\"}}"
                    );
                    program.set_unresolved(at, what, UnresolvedReason::NotModelled);
                    return Ok(());
                }
            };
            let place = place.filter(|place| *place < def.value_size);
            let place = place.ok_or_else(|| format!("a byte outside of the option {}", declared.name))?;
            self.refer_to_map(program, at, UsedMap::Kconfig, MapReference::Value(place));
            return Ok(());
        }
        let address = match declared.address(self.types, self.env)? {
            Address::Known(address) => address,
            Address::NotModelled => {
                let kind = if declared.is_function { "kernel function" } else { "the variable" };
                let what = format!("{kind} {} (ksym)", declared.name);
                program.set_unresolved(at, what, UnresolvedReason::NotModelled);
                return Ok(());
            }
        };
        let address = match address {
            Imm64::Value(address) if address != 0 => Imm64::Value(address.wrapping_add_signed(offset)),
            Imm64::Variable { .. } if offset != 0 => {
                return Err(format!("a byte inside of the variable {} of the kernel (ksym)", declared.name));
            }
            address => address,
        };
        if let Some(dst) = Reg::from_number(insn.dst()) {
            let [first, second] = Insn::load_imm64(dst, address);
            (program.insns[at], program.insns[at + 1]) = (first, second);
        }
        Ok(())
    }

    fn call_kfunc(&self, program: &mut Program, at: usize, declared: &Extern) -> Result<(), String> {
        let name = &declared.name;
        if !declared.is_function {
            return Err(format!("{name} as a function, which it is not"));
        }
        match declared.kfunc(self.types, self.env)? {
            Kfunc::Found(btf_id) => program.insns[at] = Insn::call_kfunc(btf_id, 0),
            Kfunc::Missing => {
                let what = format!("{name}: {} has no such function (kfunc)", self.env.kernel);
                program.set_unresolved(at, what, UnresolvedReason::KernelLacks);
            }
            Kfunc::NotModelled => {
                let what = format!("kernel function {name}");
                program.set_unresolved(at, what, UnresolvedReason::NotModelled);
            }
        }
        Ok(())
    }
}

/// Makes the instruction `at` call the function that starts at `start`, or load its address.
fn refer(insns: &mut [Insn], at: usize, start: usize) {
    let kind = if insns[at].is_load_imm64() { opcode::PSEUDO_FUNC } else { opcode::PSEUDO_CALL };
    insns[at] = insns[at].with_src(kind).with_imm((start as i64 - at as i64 - 1) as i32);
}

/// The file that the program starts in.
fn file_of<'t>(types: &Types<'t>, main: &Function) -> &'t str {
    main.lines.first().map_or("", |line| types.strings.at(line.file))
}

/// Adds the lines of a function. Code that was inlined from other files or generated by the compiler (line 0) belongs to
/// the line before it.
fn add_lines(types: &Types<'_>, function: &Function, start: usize, lines: &mut LineTable) {
    let strings = types.strings;
    let is_told = |line: &&Line| line.line > 0 && strings.at(line.file) == lines.file;
    for line in function.lines.iter().filter(is_told) {
        let entry = LineEntry {
            insn: start + line.insn,
            line: line.line,
            column: line.column,
            text: strings.at(line.text).trim().to_owned(),
        };
        match lines.entries.last_mut().filter(|last| last.insn == entry.insn) {
            Some(last) => *last = entry,
            None => lines.entries.push(entry),
        }
    }
}
