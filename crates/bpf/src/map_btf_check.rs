//! Which types the kernel accepts for the keys and values of a map: `map_check_btf()` in kernel/bpf/syscall.c.

use crate::btf_types::{DATASEC, STRUCT, Types, place};
use crate::{MapBtf, MapDef, MapKind};

impl MapBtf {
    /// Whether the kernel accepts these types for keys and values of the map, whatever fields values have: sizes are those of the
    /// definition; the key of an array is a 32-bit integer, and that of cgroup storage what it was made for; only a section has no key
    /// type. Otherwise loaders create the map without types.
    pub fn fits(&self, def: &MapDef) -> bool {
        let Some(types) = Types::read(&self.types) else { return false };
        let value = types.resolved(self.value_type_id);
        let section = value.filter(|of| of.kind == DATASEC);
        let value_size = section.map(|of| of.payload).or_else(|| types.size(self.value_type_id));
        if value_size != Some(def.value_size) {
            return false;
        }
        if self.key_type_id == 0 {
            return def.kind == MapKind::Array && def.max_entries == 1 && section.is_some();
        }
        types.size(self.key_type_id) == Some(def.key_size) && key_fits(&types, self.key_type_id, def)
    }
}

/// `array_map_check_btf()`, `cgroup_storage_check_btf()` and `trie_check_btf()`
fn key_fits(types: &Types<'_>, key: u32, def: &MapDef) -> bool {
    let Some(key) = types.resolved(key) else { return false };
    let is_member = |index, bits, at| {
        let member = types.member(key, index);
        member.is_some_and(|member| {
            place(key, member.offset) == (at, 0)
                && types.resolved(member.of_type).is_some_and(|of| of.is_int_of(bits))
        })
    };
    match def.kind {
        MapKind::Array | MapKind::PercpuArray => key.is_int_of(32),
        MapKind::CgroupStorage | MapKind::PercpuCgroupStorage if def.key_size == 8 => key.is_int_of(64),
        // `struct bpf_cgroup_storage_key`
        MapKind::CgroupStorage | MapKind::PercpuCgroupStorage => {
            key.kind == STRUCT && types.member_count(key) == 2 && is_member(0, 64, 0) && is_member(1, 32, 64)
        }
        MapKind::LpmTrie => key.kind == STRUCT,
        _ => true,
    }
}
