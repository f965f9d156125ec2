//! The tables of a program, together in one read-only map.

use std::collections::HashMap;

use crate::table::{Placed, Table};

/// The tables; equal ones are kept once.
#[derive(Debug)]
pub(crate) struct Tables {
    shape: Table,
    placed: HashMap<Table, Placed>,
    bytes: Vec<u8>,
    /// The index of the map.
    pub(crate) map: usize,
}

impl Tables {
    /// None yet, in the map of this index. `shape` is the one that all values are run through.
    pub(crate) fn new(shape: Table, map: usize) -> Self {
        Self { shape, placed: HashMap::new(), bytes: Vec::new(), map }
    }

    /// Where `table` lies.
    pub(crate) fn place(&mut self, table: &Table) -> Placed {
        if let Some(&placed) = self.placed.get(table) {
            return placed;
        }
        let placed = table.append_to(&mut self.bytes);
        self.placed.insert(table.clone(), placed);
        placed
    }

    /// Where the table lies that finds the shape of a value.
    pub(crate) fn place_shape(&mut self) -> Placed {
        let shape = self.shape.clone();
        self.place(&shape)
    }

    /// What the offset of a table's classes is masked with.
    pub(crate) fn byte_mask(&self) -> u32 {
        (self.bytes.len().next_power_of_two() - 1) as u32
    }

    /// What a state is masked with.
    pub(crate) fn entry_mask(&self) -> u32 {
        self.byte_mask() / 4
    }

    /// All of them, as they lie in the map: as much as the masks allow to reach.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        if !bytes.is_empty() {
            bytes.resize(bytes.len().next_power_of_two() + 256, 0);
        }
        bytes
    }
}
