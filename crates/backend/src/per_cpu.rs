//! Per-CPU maps. All accesses are made on one CPU.

use knobgate_bpf::MapDef;

/// The map with its values in the format of user space: padded to a multiple of eight bytes, once for each CPU.
pub(crate) fn for_cpus(def: &MapDef, cpus: usize) -> MapDef {
    let mut def = def.clone();
    if def.kind.is_per_cpu() {
        for (_, value) in &mut def.contents {
            value.resize(value.len().next_multiple_of(8), 0);
            *value = value.repeat(cpus);
        }
    }
    def
}

/// The entries with the values of only one CPU.
pub(crate) fn of_cpu(
    mut entries: Vec<(Vec<u8>, Vec<u8>)>,
    def: &MapDef,
    cpu: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    if def.kind.is_per_cpu() {
        let size = def.value_size as usize;
        for (_, value) in &mut entries {
            let start = cpu * size.next_multiple_of(8);
            *value = value[start..start + size].to_vec();
        }
    }
    entries
}
