//! Per-CPU maps. All accesses are made on one processor.

use knobgate_bpf::{MapDef, MapKind};

/// The map with its values in the format of user space: padded to a multiple of eight bytes, once for each processor.
pub(crate) fn for_processors(def: &MapDef, processors: usize) -> MapDef {
    let mut def = def.clone();
    if is_per_processor(&def) {
        for (_, value) in &mut def.contents {
            value.resize(value.len().next_multiple_of(8), 0);
            *value = value.repeat(processors);
        }
    }
    def
}

/// The entries with the values of only one processor.
pub(crate) fn of_processor(
    mut entries: Vec<(Vec<u8>, Vec<u8>)>,
    def: &MapDef,
    processor: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    if is_per_processor(def) {
        let size = def.value_size as usize;
        for (_, value) in &mut entries {
            let start = processor * size.next_multiple_of(8);
            *value = value.get(start..start + size).unwrap_or_default().to_vec();
        }
    }
    entries
}

fn is_per_processor(def: &MapDef) -> bool {
    matches!(def.kind, MapKind::PercpuArray | MapKind::PercpuHash | MapKind::LruPercpuHash)
}
