//! Arrays and hashes of maps: kernel/bpf/map_in_map.c, arraymap.c, hashtab.c.

use std::collections::BTreeMap;

use knobgate_bpf::{MapDef, MapKind};

use super::Map;
use super::definition::MapLock;
use super::error::MapError;

/// A flag of arrays in arrays and hashes of maps: their number of entries may differ.
const BPF_F_INNER_MAP: u32 = 1 << 12;

/// The maps in an array or a hash of maps.
#[derive(Debug)]
pub(super) struct InnerMaps {
    /// What they are like.
    template: MapDef,
    /// Where their values have a lock.
    lock: MapLock,
    maps: Maps,
}

#[derive(Debug)]
enum Maps {
    Array(Vec<Option<Map>>),
    Hash { maps: BTreeMap<Vec<u8>, Map>, max_entries: usize },
}

impl InnerMaps {
    /// Empty, as `def` describes it.
    pub(super) fn new(def: &MapDef, lock: Option<MapLock>) -> Result<Self, MapError> {
        let template = def.inner.as_deref().filter(|inner| can_be_inside(inner.kind));
        let (template, lock) = template.cloned().zip(lock).ok_or(MapError::Invalid)?;
        let max_entries = def.max_entries as usize;
        let maps = match def.kind {
            MapKind::ArrayOfMaps => Maps::Array(vec![None; max_entries]),
            _ => Maps::Hash { maps: BTreeMap::new(), max_entries },
        };
        Ok(Self { template, lock, maps })
    }

    /// How many maps there are; an array has room for all from the start.
    pub(super) fn len(&self) -> usize {
        match &self.maps {
            Maps::Array(maps) => maps.len(),
            Maps::Hash { maps, .. } => maps.len(),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Map> {
        match &self.maps {
            Maps::Array(maps) => maps.get(index(key)?)?.clone(),
            Maps::Hash { maps, .. } => maps.get(key).cloned(),
        }
    }

    /// Puts a map in, or another one in its place.
    pub(super) fn put(&mut self, key: &[u8], map: &Map) -> Result<(), MapError> {
        let fits = is_like(&self.template, map.def()) && self.lock.offset() == map.locks().0.offset();
        match &mut self.maps {
            Maps::Array(maps) => {
                let slot = index(key).and_then(|index| maps.get_mut(index)).ok_or(MapError::TooBig)?;
                *slot = Some(if fits { map.clone() } else { return Err(MapError::Invalid) });
            }
            Maps::Hash { .. } if !fits => return Err(MapError::Invalid),
            Maps::Hash { maps, max_entries } => {
                if maps.len() >= *max_entries && !maps.contains_key(key) {
                    return Err(MapError::TooBig);
                }
                maps.insert(key.to_vec(), map.clone());
            }
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Result<(), MapError> {
        let removed = match &mut self.maps {
            Maps::Array(maps) => {
                index(key).and_then(|index| maps.get_mut(index)).ok_or(MapError::TooBig)?.take()
            }
            Maps::Hash { maps, .. } => maps.remove(key),
        };
        removed.map(drop).ok_or(MapError::NoEntry)
    }
}

fn index(key: &[u8]) -> Option<usize> {
    key.first_chunk().map(|index| u32::from_le_bytes(*index) as usize)
}

/// Whether maps of this kind can be in others: those with a `map_meta_equal`.
fn can_be_inside(kind: MapKind) -> bool {
    kind.is_modelled() && !kind.has_inner_maps() && !kind.is_cgroup_storage() && kind != MapKind::ProgArray
}

/// `bpf_map_meta_equal`, `array_map_meta_equal`, without the locks in values
fn is_like(template: &MapDef, map: &MapDef) -> bool {
    let shape = |def: &MapDef| (def.kind, def.key_size, def.value_size, def.flags, def.frozen);
    let length_fits = template.kind != MapKind::Array
        || template.flags & BPF_F_INNER_MAP != 0
        || template.max_entries == map.max_entries;
    shape(template) == shape(map) && length_fits
}
