//! What programs on tracepoints tell: records in a ring buffer, and how many of them found no room.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use knobgate_bpf::{AluOp, Assembler, Cond, Imm64, Insn, Label, MapDef, MapKind, Reg, Size, helper_ids};

use crate::load::create_map;
use crate::load_error::LoadError;
use crate::map::Map;
use crate::object::BpfObjectError;
use crate::ring_buffer::RingBuffer;
use crate::tracepoint::Tracepoint;
use crate::tracking_error::TrackingError;

/// The records of some programs.
#[derive(Debug)]
pub(crate) struct TracedRecords {
    reader: RingBuffer,
    ring: Map,
    lost: Map,
}

impl TracedRecords {
    /// With a ring buffer of this size. `owner` is named in errors.
    pub(crate) fn create(owner: &str, bytes: u32) -> Result<Self, TrackingError> {
        let ring = create(owner, "records", MapKind::Ringbuf, 0, 0, bytes)?;
        let lost = create(owner, "lost", MapKind::Array, 4, 8, 1)?;
        Ok(Self { reader: RingBuffer::open(&ring)?, ring, lost })
    }

    /// For the programs.
    pub(crate) fn destination(&self) -> RecordDestination<'_> {
        RecordDestination { ring: self.ring.as_fd(), lost: self.lost.as_fd() }
    }

    /// Calls `consume` with each record that is there at the call, and consumes it.
    pub(crate) fn for_each(&mut self, consume: impl FnMut(&[u8])) {
        self.reader.for_each(consume);
    }

    /// How often something found no room.
    pub(crate) fn lost(&self) -> Result<u64, BpfObjectError> {
        let value = self.lost.lookup(&[0; 4])?;
        Ok(value.and_then(|value| Some(u64::from_ne_bytes(*value.first_chunk()?))).unwrap_or_default())
    }
}

impl AsFd for TracedRecords {
    /// Readable when there are records.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// An upper bound of how often the kernel skipped these programs.
pub(crate) fn skipped(tracepoints: &[Tracepoint]) -> Result<u64, BpfObjectError> {
    let skipped: rustix::io::Result<u64> = tracepoints.iter().map(Tracepoint::skipped).sum();
    skipped.map_err(BpfObjectError::failed("query how often a program was skipped"))
}

/// Creates a map without contents. `owner` is named in errors.
pub(crate) fn create(
    owner: &str,
    name: &str,
    kind: MapKind,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
) -> Result<Map, LoadError> {
    let def = MapDef {
        name: name.to_owned(),
        kind,
        key_size,
        value_size,
        max_entries,
        flags: 0,
        contents: Vec::new(),
        frozen: false,
        ..MapDef::default()
    };
    create_map(owner, &def)
}

/// Where programs send records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordDestination<'a> {
    ring: BorrowedFd<'a>,
    /// An array with one number: how often something found no room.
    lost: BorrowedFd<'a>,
}

impl RecordDestination<'_> {
    /// Sends the `size` bytes on the stack at `at`.
    pub(crate) fn send(self, asm: &mut Assembler, at: i16, size: usize) {
        let sent = asm.new_label();
        self.send_then(asm, at, size, sent);
        asm.bind(sent);
    }

    /// The same, and goes to `sent` if there was room.
    pub(crate) fn send_then(self, asm: &mut Assembler, at: i16, size: usize, sent: Label) {
        load_map(asm, Reg::R1, self.ring);
        load_stack_address(asm, Reg::R2, at);
        asm.mov(Reg::R3, size as i32);
        asm.mov(Reg::R4, 0);
        asm.call_helper(helper_ids::RINGBUF_OUTPUT);
        asm.jump_if(Cond::Eq, Reg::R0, 0, sent);
        self.count_lost(asm);
    }

    pub(crate) fn count_lost(self, asm: &mut Assembler) {
        load_number_address(asm, Reg::R1, self.lost);
        asm.mov(Reg::R2, 1);
        asm.atomic_add(Size::U64, Reg::R1, 0, Reg::R2);
    }
}

/// Loads the address of a stack slot.
pub(crate) fn load_stack_address(asm: &mut Assembler, dst: Reg, at: i16) {
    asm.mov(dst, Reg::R10);
    asm.alu(AluOp::Add, dst, i32::from(at));
}

/// Loads the address of the number in an array that has one.
pub(crate) fn load_number_address(asm: &mut Assembler, dst: Reg, array: BorrowedFd<'_>) {
    let fd = array.as_raw_fd();
    for insn in Insn::load_imm64(dst, Imm64::MapValue { fd, offset: 0 }) {
        asm.emit(insn);
    }
}

/// Looks up the key on the stack at `key` in a map: R0 points to the value, or is 0. Clobbers R1 to R5.
pub(crate) fn look_up(asm: &mut Assembler, map: BorrowedFd<'_>, key: i16) {
    load_map(asm, Reg::R1, map);
    load_stack_address(asm, Reg::R2, key);
    asm.call_helper(helper_ids::MAP_LOOKUP_ELEM);
}

/// Stores the value on the stack at `value` in a map. R0 is 0 if that was done. Clobbers R1 to R5.
pub(crate) fn update(asm: &mut Assembler, map: BorrowedFd<'_>, key: i16, value: i16, flags: i32) {
    load_map(asm, Reg::R1, map);
    load_stack_address(asm, Reg::R2, key);
    load_stack_address(asm, Reg::R3, value);
    asm.mov(Reg::R4, flags);
    asm.call_helper(helper_ids::MAP_UPDATE_ELEM);
}

/// Deletes a key from a map. Clobbers R0 to R5.
pub(crate) fn delete(asm: &mut Assembler, map: BorrowedFd<'_>, key: i16) {
    load_map(asm, Reg::R1, map);
    load_stack_address(asm, Reg::R2, key);
    asm.call_helper(helper_ids::MAP_DELETE_ELEM);
}

/// Ends a function at `out`: it returns 0.
pub(crate) fn return_zero(asm: &mut Assembler, out: Label) {
    asm.bind(out);
    asm.mov(Reg::R0, 0);
    asm.exit();
}

/// Loads the address of a map.
pub(crate) fn load_map(asm: &mut Assembler, dst: Reg, map: BorrowedFd<'_>) {
    for insn in Insn::load_imm64(dst, Imm64::Map { fd: map.as_raw_fd() }) {
        asm.emit(insn);
    }
}
