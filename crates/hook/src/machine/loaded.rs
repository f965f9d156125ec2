//! A program that was admitted, with its maps.

use std::error::Error;
use std::sync::Arc;

use knobgate_bpf::{Insn, MapDef, MapKind, Program, TailCall};

use super::decode::decode;
use super::run::Machine;
use super::{Fault, Step, Surroundings, Tracer};
use crate::admission::{self, Rejection};
use crate::{CgroupStorage, Invocation, Map, Profile, Runs};

/// A program that can run. Clones are the same program.
#[derive(Debug, Clone)]
pub struct LoadedProgram(pub(crate) Arc<Loaded>);

#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) insns: Vec<Insn>,
    pub(crate) code: Vec<Step>,
    pub(crate) maps: Vec<Map>,
    pub(crate) storage: CgroupStorage,
    pub(crate) expected_attach_type: u32,
}

/// How a program is loaded, other than what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// `expected_attach_type`: the helpers for the return value want 18, `BPF_CGROUP_SYSCTL`; loaders that leave the
    /// field empty pass 0.
    pub expected_attach_type: u32,
    /// For how many CPUs per-CPU maps have values.
    pub cpus: u32,
}

/// `BPF_CGROUP_SYSCTL`
pub(crate) const CGROUP_SYSCTL: u32 = 18;

impl Default for LoadOptions {
    /// For this hook, on one CPU.
    fn default() -> Self {
        Self { expected_attach_type: CGROUP_SYSCTL, cpus: 1 }
    }
}

/// What a run is given, other than the access.
#[derive(Default)]
pub struct RunOptions<'t> {
    /// How many instructions may run, those included that helpers call back. `None` is what the kernel's verifier follows
    /// of a path, a million; since it follows a callback once, however often it is called, there is a million more as
    /// long as helpers keep calling back.
    pub budget: Option<u64>,
    /// Clocks, chance, processors.
    pub surroundings: Surroundings,
    /// Who gets to see it.
    pub tracer: Option<&'t mut dyn Tracer>,
}

impl LoadedProgram {
    /// Loads `program` with maps of its own.
    ///
    /// # Errors
    ///
    /// The kernel that `profile` describes would not load it, or a helper is called that is not modelled.
    pub fn load(program: &Program, profile: &Profile, options: &LoadOptions) -> Result<Self, Rejection> {
        let maps = program.maps.iter().enumerate().map(|(index, def)| {
            Map::with_cpus(def, options.cpus).map_err(|error| Rejection::Map {
                index,
                name: def.name.clone(),
                error,
            })
        });
        let maps = maps.collect::<Result<_, _>>()?;
        Self::load_with_maps(program, maps, profile, options)
    }

    /// Loads `program` with these maps in place of the ones it defines, in the same order, as a loader does that finds
    /// them pinned.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); and when a map is of another kind or size than the program's.
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
            && program.maps.iter().zip(&maps).all(|(def, map)| shape(def) == shape(&map.def()));
        if !fit {
            return Err(Rejection::OtherMaps);
        }
        if profile.tail_calls_compare_storage
            && let Some((_, map)) = program.foreign_storage()
        {
            return Err(Rejection::ForeignStorage { map: map.name.clone() });
        }
        let loaded = Self::load_code(program, maps, profile, options)?;
        for TailCall { map, index, program: callee } in &program.tail_calls {
            // The callee counts the maps of its caller.
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
        let code = decode(program, profile, options)?;
        admission::check(program, &code, profile)?;
        let storage = CgroupStorage::of(program.relocations.iter().filter_map(|used| maps.get(used.map)));
        Ok(Self(Arc::new(Loaded {
            name: program.name.clone(),
            insns: program.insns.clone(),
            code,
            maps,
            storage,
            expected_attach_type: options.expected_attach_type,
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
        self.0.maps.iter().find(|map| map.state().def().name == name)
    }

    /// Runs on one access, and returns what the program returns: 0 or 1. What it does to the access is in
    /// `invocation` afterwards.
    ///
    /// # Errors
    ///
    /// Where the program does what the verifier would not have let it do, or does not end within the budget, or the kernel
    /// would crash. What it did until then stays.
    pub fn run(&self, invocation: &mut Invocation<'_>, options: &mut RunOptions<'_>) -> Result<u64, Fault> {
        let tracer = options.tracer.as_mut().map(|tracer| &mut **tracer as &mut dyn Tracer);
        Machine::new(self, invocation, &mut options.surroundings, tracer).run(options.budget)
    }
}

impl Runs for LoadedProgram {
    fn run(&self, invocation: &mut Invocation<'_>) -> Result<u64, Box<dyn Error + Send + Sync>> {
        Ok(LoadedProgram::run(self, invocation, &mut RunOptions::default())?)
    }

    fn cgroup_storage(&self) -> Option<CgroupStorage> {
        Some(self.0.storage.clone())
    }
}
