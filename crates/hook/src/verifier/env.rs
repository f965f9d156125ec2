//! What the verifier knows before it follows any path: `struct bpf_verifier_env`.

use std::collections::BTreeMap;

use knobgate_bpf::{KernelStructs, MapDef, MapKind, Program};

use super::Rejection;
use super::control_flow::ControlFlow;
use super::structure::Functions;
use crate::maps::MapLock;
use crate::step::Step;
use crate::task_btf::own_structs;
use crate::{Map, Profile};

/// `BPF_MAX_VAR_OFF`: offsets of pointers are smaller than this.
pub(super) const BPF_MAX_VAR_OFF: i64 = 1 << 29;

/// `BPF_MAX_VAR_SIZ`: sizes of arguments are smaller than this.
pub(super) const BPF_MAX_VAR_SIZ: u64 = 1 << 29;

/// What the verifier knows before it follows any path.
pub(super) struct VerifierEnv<'a> {
    pub(super) profile: &'a Profile,
    pub(super) code: &'a [Step],
    pub(super) flow: ControlFlow,
    /// The maps of the program, and after them the inner maps.
    pub(super) maps: Vec<&'a MapDef>,
    /// For each map, the lock in its values.
    pub(super) locks: Vec<MapLock>,
    /// For each map, the index of its inner map.
    pub(super) inner: Vec<Option<u16>>,
    /// The values of frozen arrays of one value.
    pub(super) frozen: Vec<Option<Vec<u8>>>,
    /// Why the program is rejected if a path gets to one of these instructions.
    pub(super) rejected: &'a BTreeMap<usize, Rejection>,
    /// For each instruction, the registers whose value it or a later one may use, as a mask.
    pub(super) live_registers: Vec<u16>,
    /// How many CPUs there are.
    pub(super) cpus: u32,
    /// The structs of the kernel, as the program was linked for them.
    pub(super) structs: &'a KernelStructs,
    /// They are a kernel's, from its BTF, so they end where the kernel's do.
    pub(super) sizes_are_known: bool,
}

impl<'a> VerifierEnv<'a> {
    pub(super) fn new(
        program: &'a Program,
        profile: &'a Profile,
        code: &'a [Step],
        functions: &'a Functions,
        maps: &'a [Map],
        rejected: &'a BTreeMap<usize, Rejection>,
        cpus: u32,
    ) -> Self {
        let flow = ControlFlow::new(code, functions);
        let live_registers = super::register_liveness::compute(code, &flow);
        let value = |map: &Map| {
            let def = map.def();
            let is_one = def.frozen && def.kind == MapKind::Array && def.max_entries == 1;
            is_one.then(|| map.lookup(&[0; 4])).flatten()
        };
        let mut frozen: Vec<Option<Vec<u8>>> = maps.iter().map(value).collect();
        let mut defs: Vec<&MapDef> = maps.iter().map(Map::def).collect();
        let mut locks: Vec<MapLock> = maps.iter().map(|map| map.locks().0).collect();
        let mut inner = Vec::new();
        for map in maps {
            locks.extend(map.locks().1);
            let index = map.def().inner.as_deref().map(|map| {
                defs.push(map);
                defs.len() as u16 - 1
            });
            inner.push(index);
        }
        inner.resize(defs.len(), None);
        frozen.resize(defs.len(), None);
        Self {
            profile,
            code,
            flow,
            maps: defs,
            locks,
            inner,
            frozen,
            rejected,
            live_registers,
            cpus,
            structs: program.kernel_structs.as_deref().unwrap_or_else(|| own_structs(profile)),
            sizes_are_known: program.kernel_structs.is_some(),
        }
    }

    /// The kernel's structure that describes a map.
    pub(super) fn description(&self, map: u16) -> &'static str {
        match self.maps[usize::from(map)].kind {
            MapKind::Hash | MapKind::PercpuHash | MapKind::LruHash | MapKind::LruPercpuHash => "bpf_htab",
            MapKind::LpmTrie => "lpm_trie",
            MapKind::Queue | MapKind::Stack => "bpf_queue_stack",
            MapKind::Ringbuf => "bpf_ringbuf_map",
            MapKind::CgroupStorage | MapKind::PercpuCgroupStorage => "bpf_cgroup_storage_map",
            _ => "bpf_array",
        }
    }
}
