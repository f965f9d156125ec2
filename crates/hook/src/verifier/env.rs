//! What the verifier knows before it follows any path: `struct bpf_verifier_env`.

use knobgate_bpf::{MapDef, MapKind, Unresolved};

use super::control_flow::ControlFlow;
use super::structure::Functions;
use crate::step::Step;
use crate::{Map, Profile};

/// `BPF_MAX_VAR_OFF`: offsets of pointers are smaller than this.
pub(super) const BPF_MAX_VAR_OFF: i64 = 1 << 29;

/// `BPF_MAX_VAR_SIZ`: sizes of arguments are smaller than this.
pub(super) const BPF_MAX_VAR_SIZ: u64 = 1 << 29;

/// What the verifier knows before it follows any path.
pub(super) struct VerifierEnv<'a> {
    pub(super) profile: &'a Profile,
    pub(super) code: &'a [Step],
    pub(super) functions: &'a Functions,
    pub(super) flow: ControlFlow,
    /// The maps of the program, and after them the inner maps.
    pub(super) maps: Vec<&'a MapDef>,
    /// The values of frozen arrays of one value.
    pub(super) frozen: Vec<Option<Vec<u8>>>,
    /// The instructions that need something that the kernel lacks.
    pub(super) unresolved: &'a [Unresolved],
    /// For each instruction, the registers whose value it or a later one may use, as a mask.
    pub(super) live_registers: Vec<u16>,
    /// How many CPUs there are.
    pub(super) cpus: u32,
}

impl<'a> VerifierEnv<'a> {
    pub(super) fn new(
        profile: &'a Profile,
        code: &'a [Step],
        functions: &'a Functions,
        maps: &'a [Map],
        unresolved: &'a [Unresolved],
        cpus: u32,
    ) -> Self {
        let flow = ControlFlow::new(code, functions);
        let live_registers = super::register_liveness::compute(code, &flow);
        let defs = maps.iter().map(Map::def);
        let inner = maps.iter().filter_map(|map| map.def().inner.as_deref());
        let value = |map: &Map| {
            let def = map.def();
            let is_one = def.frozen && def.kind == MapKind::Array && def.max_entries == 1;
            is_one.then(|| map.lookup(&[0; 4])).flatten()
        };
        let mut frozen: Vec<Option<Vec<u8>>> = maps.iter().map(value).collect();
        let maps: Vec<&MapDef> = defs.chain(inner).collect();
        frozen.resize(maps.len(), None);
        Self { profile, code, functions, flow, maps, frozen, unresolved, live_registers, cpus }
    }

    /// The inner map of an array of maps, by its index.
    pub(super) fn inner_map(&self, map: u16) -> Option<u16> {
        let mut with_inner =
            self.maps.iter().take_while(|def| !std::ptr::eq(**def, self.maps[usize::from(map)]));
        self.maps[usize::from(map)].inner.as_ref()?;
        let before = with_inner.by_ref().filter(|def| def.inner.is_some()).count();
        let programs = self.maps.len() - self.maps.iter().filter(|def| def.inner.is_some()).count();
        u16::try_from(programs + before).ok()
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
