//! Whether two loaded programs are the same.

use std::collections::BTreeMap;

use knobgate_bpf::MapKind;

use crate::map::{Map, MapEntry};
use crate::object::BpfObjectError;
use crate::program::ProgramFd;

impl ProgramFd {
    /// Whether this program, which has not run yet, is the same as `other`, which may have run.
    ///
    /// Compares the instructions (by the kernel's hash), the kinds of maps, and the content of those that are input:
    /// frozen maps, global variables that are not initialised to zero, and program arrays. Counters and collected data
    /// may differ.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NotPermitted`], [`Failed`](BpfObjectError::Failed).
    pub fn is_same_as(&self, other: &Self) -> Result<bool, BpfObjectError> {
        if self.info()?.tag != other.info()?.tag {
            return Ok(false);
        }
        let (ours, others) = (self.maps()?, other.maps()?);
        if ours.len() != others.len() {
            return Ok(false);
        }
        for (ours, other) in ours.iter().zip(&others) {
            if !is_same_map(ours, other)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn is_same_map(fresh: &Map, other: &Map) -> Result<bool, BpfObjectError> {
    let mut of_other = other.info();
    let info = fresh.info();
    if info.id == of_other.id {
        return Ok(true);
    }
    of_other.id = info.id;
    if info != of_other || fresh.is_frozen()? != other.is_frozen()? {
        return Ok(false);
    }
    if info.kind == MapKind::ProgArray.number() {
        return Ok(callees(fresh)? == callees(other)?);
    }
    let is_variables = info.kind == MapKind::Array.number() && info.max_entries == 1;
    if !fresh.is_frozen()? && !is_variables {
        return Ok(true);
    }
    let entries = sorted_entries(fresh)?;
    let starts_as_zeroes = entries.iter().all(|entry| entry.value.iter().all(|byte| *byte == 0));
    Ok(!fresh.is_frozen()? && starts_as_zeroes || entries == sorted_entries(other)?)
}

/// Hash tables have no order.
fn sorted_entries(map: &Map) -> Result<Vec<MapEntry>, BpfObjectError> {
    let mut entries = map.entries()?;
    entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    Ok(entries)
}

/// The hashes of the programs in a program array, by index.
fn callees(array: &Map) -> Result<BTreeMap<Vec<u8>, [u8; 8]>, BpfObjectError> {
    let tag = |entry: MapEntry| -> Result<_, BpfObjectError> {
        let id = entry.value.try_into().map_or(0, u32::from_ne_bytes);
        Ok((entry.key, ProgramFd::by_id(id)?.info()?.tag))
    };
    array.entries()?.into_iter().map(tag).collect()
}
