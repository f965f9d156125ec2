//! Maps: what a loader creates for a program.

use crate::uapi::BPF_F_RDONLY_PROG;
use crate::{MapBtf, MapKind, map_flag_names};

/// A map that a program needs.
///
/// Later versions add fields. So start from the default, an array without entries, and change what is different.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MapDef {
    /// Its name. The kernel takes at most 15 bytes of letters, digits, `_` and `.`; the loader adapts it.
    pub name: String,
    /// What kind of map.
    pub kind: MapKind,
    /// Bytes in a key.
    pub key_size: u32,
    /// Bytes in a value.
    pub value_size: u32,
    /// The maximum of entries; 0 for a perf event array: one for each CPU.
    pub max_entries: u32,
    /// `BPF_F_…` bits to create it with, other than those that its kind and [`frozen`](Self::frozen) imply.
    pub flags: u32,
    /// Its initial contents: keys and values of the sizes above.
    pub contents: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether programs can only read it, and user space cannot change it after it was filled.
    pub frozen: bool,
    /// For an array or a hash of maps: a map like those that may be in it.
    pub inner: Option<Box<MapDef>>,
    /// The types of its keys and values, if it is created with them.
    pub btf: Option<MapBtf>,
    /// `map_extra` of `BPF_MAP_CREATE`: of a Bloom filter, the number of hash functions.
    pub map_extra: u64,
    /// Whether all programs with a map of this name share it (`LIBBPF_PIN_BY_NAME`).
    pub pinned_by_name: bool,
}

impl MapDef {
    /// An array of one value of `size` bytes, which are 0 until something is stored.
    pub fn value(name: &str, size: u32) -> Self {
        Self {
            name: name.to_owned(),
            kind: MapKind::Array,
            key_size: 4,
            value_size: size,
            max_entries: 1,
            ..Self::default()
        }
    }

    /// An array of one frozen value.
    pub fn frozen_value(name: &str, value: Vec<u8>) -> Self {
        let size = value.len() as u32;
        Self { contents: vec![(vec![0; 4], value)], frozen: true, ..Self::value(name, size) }
    }

    /// What differs between this map and the one that was found under its name, if they cannot be the same map: type, sizes,
    /// flags (`map_is_reuse_compat` in libbpf).
    pub fn differences(&self, found: &Self) -> Option<String> {
        let mut all = Vec::new();
        if found.kind != self.kind {
            all.push(format!("its type is {}, not {}", found.kind.name(), self.kind.name()));
        }
        let numbers = [
            ("key_size", u64::from(found.key_size), u64::from(self.key_size)),
            ("value_size", found.value_size.into(), self.value_size.into()),
            ("max_entries", found.max_entries.into(), self.max_entries.into()),
            ("map_extra", found.map_extra, self.map_extra),
        ];
        for (what, found, wanted) in numbers {
            if found != wanted {
                all.push(format!("its {what} is {found}, not {wanted}"));
            }
        }
        if found.flags != self.flags {
            let names = |flags| if flags == 0 { "0".to_owned() } else { map_flag_names(flags) };
            all.push(format!("its map_flags are {}, not {}", names(found.flags), names(self.flags)));
        }
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// Whether programs may only read it: it is frozen, or has the flag `BPF_F_RDONLY_PROG`.
    pub fn is_read_only(&self) -> bool {
        self.frozen || self.flags & BPF_F_RDONLY_PROG != 0
    }
}
