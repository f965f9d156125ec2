//! A program that the verifier has accepted, with its maps.

use std::any::Any;
use std::sync::Arc;

use knobgate_bpf::uapi::BPF_CGROUP_SYSCTL;
use knobgate_bpf::{Function, InnerMap, Insn, KernelStructs, LineTable, MapDef, MapKind, Program, TailCall};

use super::coverage::Counters;
use crate::maps::{ArrayProgram, MapState};
use crate::step::Step;
use crate::verifier::{self, Rejection};
use crate::{CgroupStorage, Map, MapError, Profile};

/// A program that can run. Clones are the same program.
#[derive(Debug, Clone)]
pub struct LoadedProgram(pub(crate) Arc<Loaded>);

#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) insns: Vec<Insn>,
    pub(crate) lines: LineTable,
    pub(crate) functions: Vec<Function>,
    pub(super) counters: Counters,
    pub(crate) code: Vec<Step>,
    pub(crate) maps: Vec<Map>,
    pub(crate) storage: CgroupStorage,
    pub(crate) expected_attach_type: u32,
    pub(crate) kernel_structs: Option<Arc<KernelStructs>>,
}

/// Options for loading a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// `expected_attach_type`. The helpers for the return value need 18, `BPF_CGROUP_SYSCTL`. Loaders that leave the field
    /// empty pass 0.
    pub expected_attach_type: u32,
    /// The number of CPUs, for per-CPU maps.
    pub cpus: u32,
}

impl Default for LoadOptions {
    /// For this hook, on one CPU.
    fn default() -> Self {
        Self { expected_attach_type: BPF_CGROUP_SYSCTL, cpus: 1 }
    }
}

impl LoadedProgram {
    /// Loads `program`, and creates its maps.
    ///
    /// # Errors
    ///
    /// The kernel of `profile` would not load it, or it calls a helper that is not modelled.
    pub fn load(program: &Program, profile: &Profile, options: &LoadOptions) -> Result<Self, Rejection> {
        let maps = program.maps.iter().enumerate().map(|(index, def)| {
            Map::for_kernel(def, profile, options.cpus).map_err(|error| Rejection::Map {
                index,
                name: def.name.clone(),
                error,
            })
        });
        let maps = maps.collect::<Result<_, _>>()?;
        Self::load_with_maps(program, maps, profile, options)
    }

    /// Loads `program` with these maps instead of the ones it defines, in the same order, like a loader that finds pinned
    /// maps. The arrays and hashes of maps among them get their initial contents.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); also if a map has another kind or size than the program's.
    pub fn load_with_maps(
        program: &Program,
        maps: Vec<Map>,
        profile: &Profile,
        options: &LoadOptions,
    ) -> Result<Self, Rejection> {
        // A perf event array of 0 entries has one for each CPU.
        let entries = |def: &MapDef| match def.kind {
            MapKind::PerfEventArray if def.max_entries == 0 => options.cpus,
            _ => def.max_entries,
        };
        let shape = |def: &MapDef| (def.kind, def.key_size, def.value_size, entries(def));
        let fit = program.maps.len() == maps.len()
            && program.maps.iter().zip(&maps).all(|(def, map)| shape(def) == shape(map.def()));
        if !fit {
            return Err(Rejection::OtherMaps);
        }
        if profile.tail_calls_compare_storage
            && let Some((_, map)) = program.foreign_storage()
        {
            return Err(Rejection::ForeignStorage { map: map.name.clone() });
        }
        let loaded = Self::load_code(program, maps, profile, options)?;
        for &InnerMap { outer, key, map } in &program.inner_maps {
            let at = |index| loaded.0.maps.get(index).ok_or(Rejection::OtherMaps);
            let (outer, inner) = (at(outer)?, at(map)?);
            outer.put_map(&key.to_le_bytes(), inner).map_err(|error| Rejection::InnerMap {
                outer: outer.def().name.as_str().into(),
                inner: inner.def().name.as_str().into(),
                error,
            })?;
        }
        for TailCall { map, index, program: callee } in &program.tail_calls {
            // The relocations of the callee count the maps of its caller.
            let callee = Program { maps: program.maps.clone(), ..callee.clone() };
            let callee = Self::load_code(&callee, loaded.0.maps.clone(), profile, options)?;
            let array = loaded.0.maps.get(*map).ok_or(Rejection::TailCall { map: *map, index: *index })?;
            array
                .set_program(*index, Some(callee))
                .map_err(|_| Rejection::TailCall { map: *map, index: *index })?;
        }
        Ok(loaded)
    }

    fn load_code(
        program: &Program,
        maps: Vec<Map>,
        profile: &Profile,
        options: &LoadOptions,
    ) -> Result<Self, Rejection> {
        let code = verifier::verify(program, &maps, profile, options)?;
        let storage = CgroupStorage::of(program.relocations.iter().filter_map(|used| maps.get(used.map)));
        Ok(Self(Arc::new(Loaded {
            name: program.name.clone(),
            insns: program.insns.clone(),
            lines: program.lines.clone(),
            functions: program.functions.clone(),
            counters: Counters::new(code.len(), &program.lines),
            code,
            maps,
            storage,
            expected_attach_type: options.expected_attach_type,
            kernel_structs: program.kernel_structs.clone(),
        })))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The expected attach type that it was loaded with.
    pub fn expected_attach_type(&self) -> u32 {
        self.0.expected_attach_type
    }

    /// Its maps, in the order of [`Program::maps`].
    pub fn maps(&self) -> &[Map] {
        &self.0.maps
    }

    /// Its first map of this name.
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.0.maps.iter().find(|map| map.def().name == name)
    }

    /// The program at `index` of a program array.
    pub(super) fn in_array(array: &MapState, index: u32) -> Option<Self> {
        let program: Arc<dyn Any + Send + Sync> = array.program(index)?;
        program.downcast().ok().map(Self)
    }
}

impl ArrayProgram for Loaded {
    fn expected_attach_type(&self) -> u32 {
        self.expected_attach_type
    }
}

impl Map {
    /// Puts a program into a program array, or removes it. If the program uses the same array, both stay in memory until it
    /// is removed.
    ///
    /// # Errors
    ///
    /// [`MapError::TooBig`] beyond the end, [`MapError::Invalid`] for another kind of map, or for a program whose
    /// expected attach type differs from the others'.
    pub fn set_program(&self, index: u32, program: Option<LoadedProgram>) -> Result<(), MapError> {
        self.state().set_program(index, program.map(|program| program.0 as Arc<dyn ArrayProgram>))
    }
}
