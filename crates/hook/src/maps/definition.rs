//! The definition of a map: whether the kernel creates such a map, and how much memory it takes.

use std::sync::Arc;

use knobgate_bpf::uapi::BPF_F_RDONLY_PROG;
use knobgate_bpf::{InvalidLock, MapDef, MapKind};

use super::Map;
use super::error::{MapError, NotModelled};
use super::memory::MapMemory;
use super::state::ArrayProgram;
use crate::Profile;

/// The largest map, in bytes.
pub(super) const MEMORY_MAX: u64 = 1 << 30;

/// `struct bpf_spin_lock`
pub(crate) const LOCK_TYPE: &str = "bpf_spin_lock";

/// How many bytes a lock has.
pub(crate) const LOCK_BYTES: u32 = 4;

/// `KMALLOC_MAX_SIZE`: the largest entry of a map, except in arrays.
const ENTRY_MAX: u64 = 4 << 20;

/// Checks the memory that a map takes from the start. The memory of added entries is checked when they are added.
pub(super) fn check_memory(def: &MapDef, cpus: u32) -> Result<(), MapError> {
    let entry = u64::from(def.key_size) + u64::from(def.value_size) * u64::from(cpus);
    if !is_whole_from_the_start(def.kind) && entry > ENTRY_MAX {
        return Err(MapError::TooBig);
    }
    if from_the_start(def, cpus) > MEMORY_MAX { Err(MapError::NoMemory) } else { Ok(()) }
}

fn is_whole_from_the_start(kind: MapKind) -> bool {
    matches!(
        kind,
        MapKind::Array
            | MapKind::PercpuArray
            | MapKind::ProgArray
            | MapKind::CgroupArray
            | MapKind::ArrayOfMaps
    )
}

/// The map that a loader creates for a definition, without contents: an array of perf events has an entry for each processor,
/// unless it says how many.
pub(super) fn created(def: &MapDef, cpus: u32) -> MapDef {
    let max_entries = match (def.kind, def.max_entries) {
        (MapKind::PerfEventArray, 0) => cpus,
        (_, max_entries) => max_entries,
    };
    MapDef { max_entries, contents: Vec::new(), ..def.clone() }
}

/// The memory of a map in another one, without its contents.
pub(super) fn inner_map_bytes(def: &MapDef) -> u64 {
    let of_key = u64::from(def.key_size) + MapMemory::ENTRY;
    size_of::<Option<Map>>() as u64 + if def.kind == MapKind::HashOfMaps { of_key } else { 0 }
}

/// Checks that the kernel accepts the flags of the map, and that the model has all that it has.
pub(super) fn check_modelled(def: &MapDef) -> Result<(), MapError> {
    const BPF_F_NO_COMMON_LRU: u32 = 1 << 1;
    const BPF_F_NUMA_NODE: u32 = 1 << 2;
    const BPF_F_WRONLY_PROG: u32 = 1 << 8;
    let flags = def.flags | if def.frozen { BPF_F_RDONLY_PROG } else { 0 };
    let invalid = def.kind.invalid_flags(flags);
    if invalid != 0 {
        return Err(MapError::Flags { flags: invalid });
    }
    // An LRU list for each processor is not on one node.
    let contradicting = BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE;
    if def.kind == MapKind::LruHash && flags & contradicting == contradicting {
        return Err(MapError::Flags { flags: contradicting });
    }
    // Those that use it are not modelled.
    if def.kind.is_modelled() && def.map_extra != 0 {
        return Err(MapError::Invalid);
    }
    if !def.kind.is_modelled() {
        return Err(NotModelled::Kind(def.kind.name()).into());
    }
    if def.flags & BPF_F_WRONLY_PROG != 0 {
        return Err(NotModelled::Flag("BPF_F_WRONLY_PROG").into());
    }
    Ok(())
}

/// What the kernel makes of the types of a map's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapLock {
    /// The map has no types. Where the kernel rejects them for the map, loaders create it without.
    Untyped,
    /// Values have no `bpf_spin_lock`.
    None,
    /// There is one at this offset.
    At(u32),
}

impl MapLock {
    /// The offset, if there is a lock.
    pub(crate) fn offset(self) -> Option<u32> {
        if let Self::At(at) = self { Some(at) } else { None }
    }
}

/// Where values have their lock: `map_check_btf()` in kernel/bpf/syscall.c.
pub(super) fn lock_of(def: &MapDef, profile: &Profile) -> Result<MapLock, MapError> {
    let Some(btf) = &def.btf else { return Ok(MapLock::Untyped) };
    if let Some(other) = btf.special_fields.iter().find(|field| field.type_name != LOCK_TYPE) {
        return Err(NotModelled::Field(other.type_name).into());
    }
    if btf.special_fields.is_empty() {
        return Ok(MapLock::None);
    }
    let rejected = |invalid| match invalid {
        InvalidLock::TooMany => MapError::from(NotModelled::ManyMembers),
        invalid => MapError::Types(invalid),
    };
    if let Some(invalid) = btf.rejected_lock(profile.version) {
        return Err(rejected(invalid));
    }
    if !btf.fits(def) {
        return Ok(MapLock::Untyped);
    }
    let at = match btf.spin_lock(profile.version) {
        Err(invalid @ InvalidLock::TooMany) => return Err(rejected(invalid)),
        found => found.ok().flatten(),
    };
    let may_have_one = matches!(def.kind, MapKind::Hash | MapKind::Array | MapKind::CgroupStorage);
    Ok(match at {
        Some(at) if at.saturating_add(LOCK_BYTES) > def.value_size => MapLock::None,
        Some(_) if !may_have_one || def.is_read_only() => MapLock::Untyped,
        Some(at) => MapLock::At(at),
        None => MapLock::None,
    })
}

/// How much memory a map takes before anything is in it, in bytes.
pub(super) fn from_the_start(def: &MapDef, cpus: u32) -> u64 {
    let entry = match def.kind {
        MapKind::Array => u64::from(def.value_size),
        MapKind::PercpuArray => u64::from(def.value_size) * u64::from(cpus),
        MapKind::ProgArray => size_of::<Option<Arc<dyn ArrayProgram>>>() as u64,
        MapKind::CgroupArray => size_of::<Option<u64>>() as u64,
        MapKind::ArrayOfMaps => inner_map_bytes(def),
        _ => 0,
    };
    entry.saturating_mul(def.max_entries.into())
}

/// How many entries fit, in a map that takes memory as entries are added.
pub(super) fn room(def: &MapDef, cpus: u32) -> usize {
    let entry = u64::from(def.key_size) + u64::from(def.value_size) * u64::from(cpus);
    (MEMORY_MAX / entry.max(1)).min(def.max_entries.into()) as usize
}

/// Whether a map can have these sizes: `map_alloc_check` of each kind.
pub(super) fn sizes_fit(def: &MapDef) -> bool {
    let MapDef { key_size: key, value_size: value, max_entries: entries, .. } = *def;
    let counted = entries > 0;
    match def.kind {
        MapKind::Ringbuf => key == 0 && value == 0 && entries.is_power_of_two() && entries % 4096 == 0,
        MapKind::Queue | MapKind::Stack => key == 0 && value > 0 && counted,
        MapKind::ArrayOfMaps => key == 4 && value == 4 && counted,
        MapKind::HashOfMaps => key > 0 && value == 4 && counted,
        MapKind::LpmTrie => (5..=260).contains(&key) && value > 0 && counted,
        MapKind::ProgArray | MapKind::PerfEventArray | MapKind::CgroupArray => {
            key == 4 && value == 4 && counted
        }
        MapKind::Array | MapKind::PercpuArray => key == 4 && value > 0 && counted,
        MapKind::CgroupStorage | MapKind::PercpuCgroupStorage => {
            (key == 8 || key == 16) && (1..=4096).contains(&value) && !counted
        }
        _ => key > 0 && value > 0 && counted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(kind: MapKind, value_size: u32, max_entries: u32) -> MapDef {
        let (name, contents) = ("m".to_owned(), Vec::new());
        MapDef {
            name,
            kind,
            key_size: 4,
            value_size,
            max_entries,
            flags: 0,
            contents,
            frozen: false,
            ..MapDef::default()
        }
    }

    #[test]
    fn a_map_has_room_for_a_gib() {
        assert_eq!(from_the_start(&map(MapKind::PercpuArray, 1 << 20, 100), 64), 6400 << 20);
        assert_eq!(from_the_start(&map(MapKind::Hash, 1 << 20, 100), 64), 0);
        assert_eq!(room(&map(MapKind::Hash, 1 << 20, 100), 1), 100);
        assert_eq!(room(&map(MapKind::Hash, 1 << 20, u32::MAX), 1), 1023);
        assert_eq!(room(&map(MapKind::PercpuHash, 1 << 20, u32::MAX), 64), 15);
    }
}
