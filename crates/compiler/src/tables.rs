//! The tables of a program, together in one read-only map.

use std::collections::HashMap;

use knobgate_bpf::Assembler;
use knobgate_bpf::Reg::{R3, R4, R5};

use crate::program::TABLES_MAP;
use crate::table::Table;

/// The tables; equal ones are kept once.
#[derive(Debug)]
pub(crate) struct Tables {
    shape: Table,
    offsets: HashMap<Table, u32>,
    bytes: Vec<u8>,
}

impl Tables {
    /// None yet. `shape` is the one that all values are run through.
    pub(crate) fn new(shape: Table) -> Self {
        Self { shape, offsets: HashMap::new(), bytes: Vec::new() }
    }

    /// Loads `table` into the registers in which the function that runs it wants it.
    pub(crate) fn load(&mut self, asm: &mut Assembler, table: &Table) {
        let offset = match self.offsets.get(table) {
            Some(&offset) => offset,
            None => {
                let offset = self.bytes.len() as u32;
                self.bytes.extend(table.bytes());
                self.offsets.insert(table.clone(), offset);
                offset
            }
        };
        asm.load_map_value(R3, TABLES_MAP, offset);
        asm.load_imm64(R4, table.start().into());
        asm.load_imm64(R5, table.mask().into());
    }

    /// Loads the table that finds the shape of a value.
    pub(crate) fn load_shape(&mut self, asm: &mut Assembler) {
        let shape = self.shape.clone();
        self.load(asm, &shape);
    }

    /// All of them, as they lie in the map.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
