//! The storage of attachments: the maps of type `BPF_MAP_TYPE_CGROUP_STORAGE` and `BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE`.

use knobgate_bpf::MapKind;

use crate::Map;

/// The storage maps of a program, at most one of each type (`prog->aux->cgroup_storage`).
#[derive(Debug, Clone, Default)]
pub struct CgroupStorage {
    shared: Option<Map>,
    per_cpu: Option<Map>,
}

impl CgroupStorage {
    /// The storage maps among `maps`, which are all maps that the program refers to.
    pub fn of<'m>(maps: impl IntoIterator<Item = &'m Map>) -> Self {
        let mut storage = Self::default();
        for map in maps {
            match map.def().kind {
                MapKind::CgroupStorage => storage.shared = Some(map.clone()),
                MapKind::PercpuCgroupStorage => storage.per_cpu = Some(map.clone()),
                _ => {}
            }
        }
        storage
    }

    /// The map of this type.
    pub(crate) fn of_kind(&self, kind: MapKind) -> Option<&Map> {
        if kind.is_per_cpu() { self.per_cpu.as_ref() } else { self.shared.as_ref() }
    }

    /// `cgroup_bpf_storages_compatible` in kernel/bpf/cgroup.c.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let same = |one: &Option<Map>, other: &Option<Map>| match (one, other) {
            (Some(one), Some(other)) => one.is_same_as(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same(&self.shared, &other.shared) && same(&self.per_cpu, &other.per_cpu)
    }
}
