//! All memory that a program can access, except the context.

use std::sync::MutexGuard;

use knobgate_bpf::{MapDef, Size};

use super::fault::Reason;
use super::kernel_memory::KernelMemory;
use super::stack::Stack;
use super::value::{Region, Value};
use crate::Map;
use crate::maps::MapState;

/// The memory of one run.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) stack: Stack,
    pub(crate) maps: Vec<Map>,
    pub(crate) records: Vec<Reservation>,
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) kernel: KernelMemory,
    pub(crate) dynptrs: Vec<Dynptr>,
    /// What `bpf_dynptr_data` has returned: where it starts, and how many bytes it has.
    pub(crate) slices: Vec<(Value, u32)>,
}

/// A `struct bpf_dynptr_kern`. The program has it on the stack, as [`Region::Dynptr`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dynptr {
    /// `None`: it is null.
    pub(crate) data: Option<Value>,
    pub(crate) size: u32,
    /// Whether it must be submitted or discarded.
    pub(crate) referenced: bool,
}

/// A reserved ring buffer record.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) map: u16,
    pub(crate) number: u64,
    pub(crate) open: bool,
}

impl Memory {
    /// The index of a map in the run, which it joins if it was not in it.
    pub(crate) fn join(&mut self, map: &Map) -> u16 {
        let known = self.maps.iter().position(|known| known.is_same_as(map));
        let index = known.unwrap_or(self.maps.len());
        if known.is_none() {
            self.maps.push(map.clone());
        }
        index as u16
    }

    /// The state of a map, by its index in the run. The lock must not outlive the instruction.
    pub(crate) fn map(&self, map: u16) -> MutexGuard<'_, MapState> {
        self.maps[usize::from(map)].state()
    }

    /// The definition of a map, by its index in the run.
    #[inline]
    pub(crate) fn map_def(&self, map: u16) -> &MapDef {
        self.maps[usize::from(map)].def()
    }

    /// Submits or discards a record.
    pub(crate) fn commit(&mut self, record: u32, discard: bool) -> Result<(), Reason> {
        let record = self.records.get_mut(record as usize).filter(|record| record.open);
        let record = record.ok_or(Reason::Released)?;
        record.open = false;
        let (map, number) = (record.map, record.number);
        if let Some(ring) = self.map(map).ring_mut() {
            ring.commit(number, discard);
        }
        Ok(())
    }

    /// Whether something must still be submitted or discarded.
    pub(crate) fn has_references(&self) -> bool {
        self.records.iter().any(|record| record.open) || self.dynptrs.iter().any(|dynptr| dynptr.referenced)
    }

    /// Makes a dynptr on the stack.
    pub(crate) fn init_dynptr(&mut self, place: Value, dynptr: Dynptr) -> Result<(), Reason> {
        let index = self.dynptrs.len() as u32;
        self.stack.store_dynptr(place.bits, Region::Dynptr { index, referenced: dynptr.referenced })?;
        self.dynptrs.push(dynptr);
        Ok(())
    }

    /// The dynptr on the stack.
    pub(crate) fn dynptr(&mut self, place: Value) -> Result<Dynptr, Reason> {
        let index = self.stack.dynptr(place.bits)?;
        Ok(self.dynptrs[index as usize])
    }

    /// Removes the dynptr of a ring buffer from the stack.
    pub(crate) fn release_dynptr(&mut self, place: Value) -> Result<Dynptr, Reason> {
        let index = self.stack.dynptr(place.bits)?;
        let dynptr = &mut self.dynptrs[index as usize];
        if !dynptr.referenced {
            return Err(Reason::DynptrType);
        }
        dynptr.referenced = false;
        let released = *dynptr;
        self.stack.clear_dynptr(place.bits)?;
        Ok(released)
    }

    /// A pointer to `len` bytes at `start`, and no more.
    pub(crate) fn slice(&mut self, start: Value, len: u32) -> Value {
        self.slices.push((start, len));
        Value::start_of(Region::DynptrMem(self.slices.len() as u32 - 1))
    }

    /// A copy of the `len` bytes at `pointer`.
    pub(crate) fn copy(&mut self, pointer: Value, len: usize) -> Result<Vec<u8>, Reason> {
        if len == 0 {
            return Ok(Vec::new());
        }
        self.read(pointer, len, <[u8]>::to_vec)
    }

    #[inline]
    pub(crate) fn load(&mut self, pointer: Value, size: Size) -> Result<Value, Reason> {
        match pointer.region {
            Region::Stack => return self.stack.load(pointer.bits, size),
            Region::BtfId(_) => return self.kernel.load(pointer, size),
            _ => {}
        }
        let bits = self.read(pointer, size.bytes() as usize, |bytes| match *bytes {
            [a] => u64::from(a),
            [a, b] => u64::from(u16::from_le_bytes([a, b])),
            [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
            _ => bytes.try_into().map_or(0, u64::from_le_bytes),
        })?;
        Ok(Value::number(bits))
    }

    #[inline]
    pub(crate) fn store(&mut self, pointer: Value, size: Size, value: Value) -> Result<(), Reason> {
        if let Region::Stack = pointer.region {
            return self.stack.store(pointer.bits, size, value);
        }
        if value.as_number().is_none() {
            return Err(Reason::PointerLeak { region: pointer.region });
        }
        let bytes = value.bits.to_le_bytes();
        let len = size.bytes() as usize;
        self.write(pointer, len, |place| place.copy_from_slice(&bytes[..len]))
    }

    /// Calls `use_bytes` with the `len` bytes at `pointer`.
    pub(crate) fn read<T>(
        &mut self,
        pointer: Value,
        len: usize,
        use_bytes: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Reason> {
        let Value { bits: offset, region } = pointer;
        match region {
            Region::Stack => self.stack.read(offset, len).map(use_bytes),
            Region::MapValue { map, slot } => {
                let state = self.map(map);
                let value = state.value(slot).unwrap_or_default();
                within(region, offset, len, value.len()).map(|range| use_bytes(&value[range]))
            }
            Region::Record(record) => {
                let Reservation { map, number, .. } = self.open_record(record)?;
                let state = self.map(*map);
                let data = state.ring().and_then(|ring| ring.record(*number)).ok_or(Reason::Released)?;
                within(region, offset, len, data.len()).map(|range| use_bytes(&data[range]))
            }
            Region::Key(key) => {
                let key = &self.keys[key as usize];
                within(region, offset, len, key.len()).map(|range| use_bytes(&key[range]))
            }
            Region::DynptrMem(slice) => {
                let (start, size) = self.slices[slice as usize];
                within(region, offset, len, size as usize)?;
                self.read(start.add(offset), len, use_bytes)
            }
            Region::BtfId(_) => self.kernel.checked_bytes(offset, len).map(use_bytes),
            _ => Err(not_memory(pointer)),
        }
    }

    /// Calls `use_bytes` with the `len` bytes at `pointer`, mutable. On the stack they all count as initialized.
    pub(crate) fn write<T>(
        &mut self,
        pointer: Value,
        len: usize,
        use_bytes: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T, Reason> {
        let Value { bits: offset, region } = pointer;
        match region {
            Region::Stack => self.stack.write(offset, len).map(use_bytes),
            Region::MapValue { map, slot } => {
                if self.map_def(map).is_read_only() {
                    return Err(Reason::ReadOnly { region });
                }
                let mut state = self.map(map);
                let value = state.value_mut(slot).unwrap_or_default();
                within(region, offset, len, value.len()).map(|range| use_bytes(&mut value[range]))
            }
            Region::Record(record) => {
                let Reservation { map, number, .. } = self.open_record(record)?;
                let mut state = self.map(*map);
                let data =
                    state.ring_mut().and_then(|ring| ring.record_mut(*number)).ok_or(Reason::Released)?;
                within(region, offset, len, data.len()).map(|range| use_bytes(&mut data[range]))
            }
            Region::DynptrMem(slice) => {
                let (start, size) = self.slices[slice as usize];
                within(region, offset, len, size as usize)?;
                self.write(start.add(offset), len, use_bytes)
            }
            Region::Key(_) | Region::BtfId(_) => Err(Reason::ReadOnly { region }),
            _ => Err(not_memory(pointer)),
        }
    }

    /// The same, if there are any bytes to write.
    pub(crate) fn write_some(
        &mut self,
        pointer: Value,
        len: usize,
        use_bytes: impl FnOnce(&mut [u8]),
    ) -> Result<(), Reason> {
        if len == 0 { Ok(()) } else { self.write(pointer, len, use_bytes) }
    }

    fn open_record(&self, record: u32) -> Result<&Reservation, Reason> {
        self.records.get(record as usize).filter(|record| record.open).ok_or(Reason::Released)
    }
}

#[inline]
fn within(region: Region, offset: u64, len: usize, size: usize) -> Result<std::ops::Range<usize>, Reason> {
    let end = offset.checked_add(len as u64).filter(|end| *end <= size as u64);
    end.map(|end| offset as usize..end as usize).ok_or(Reason::Bounds {
        region,
        offset: offset as i64,
        len,
        size,
    })
}

fn not_memory(pointer: Value) -> Reason {
    match pointer.region {
        Region::Number if pointer.bits == 0 => Reason::Null,
        region => Reason::NotMemory { region },
    }
}
