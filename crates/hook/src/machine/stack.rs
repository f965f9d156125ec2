//! The stack: its bytes, which of them are initialized, and which slots hold pointers.

use knobgate_bpf::Size;

use super::fault::Reason;
use super::value::{Region, STACK_BYTES, Value};
use crate::Profile;
use crate::constants::{MAX_BPF_STACK, MAX_CALL_FRAMES};

const SLOT_BYTES: usize = 8;
const SLOTS: usize = STACK_BYTES / SLOT_BYTES;
/// The content of uninitialized stack, which some kernels let programs read: anything, so not zero.
const POISON: u8 = 0xa5;

/// What `round_up_stack_depth()` in kernel/bpf/verifier.c rounds the stack of a function up to. Since 6.8, programs that
/// are compiled to machine code take less.
pub(crate) fn stack_granularity(profile: &Profile) -> usize {
    if profile.version >= (6, 8) { 16 } else { 32 }
}

/// The stack of one run.
#[derive(Debug)]
pub(crate) struct Stack {
    bytes: Box<[u8; STACK_BYTES]>,
    /// A bit for each initialized byte.
    init: [u8; SLOTS],
    /// What a slot points to; [`Region::Number`] if it holds plain bytes.
    regions: Box<[Region; SLOTS]>,
    /// The frame of the innermost function, and how deep each function has accessed its stack.
    frame: usize,
    depths: [usize; MAX_CALL_FRAMES],
    /// How deep each function has stored.
    stored: [usize; MAX_CALL_FRAMES],
    /// In which frame the program of each function starts: a program that was called by a tail call in a function has its
    /// limits for itself.
    starts: [usize; MAX_CALL_FRAMES],
    granularity: usize,
    /// Whether uninitialized stack may be read: everywhere, or above the lowest initialized byte.
    uninit_readable: bool,
    uninit_above_stored: bool,
}

impl Stack {
    pub(crate) fn new(profile: &Profile) -> Self {
        Self {
            bytes: Box::new([POISON; STACK_BYTES]),
            init: [0; SLOTS],
            regions: Box::new([Region::Number; SLOTS]),
            frame: 0,
            depths: [0; MAX_CALL_FRAMES],
            stored: [0; MAX_CALL_FRAMES],
            starts: [0; MAX_CALL_FRAMES],
            granularity: stack_granularity(profile),
            uninit_readable: profile.uninit_stack,
            uninit_above_stored: profile.uninit_above_stored,
        }
    }

    /// The frame pointer of the innermost function.
    pub(crate) fn frame_pointer(&self) -> Value {
        Value { bits: (STACK_BYTES - self.frame * MAX_BPF_STACK) as u64, region: Region::Stack }
    }

    /// Enters a function.
    pub(crate) fn push(&mut self) {
        self.starts[self.frame + 1] = self.starts[self.frame];
        self.frame += 1;
        self.clear();
    }

    /// Starts another program in the frame of the innermost function.
    pub(crate) fn tail_call(&mut self) {
        self.starts[self.frame] = self.frame;
        self.clear();
    }

    /// Leaves a function.
    pub(crate) fn pop(&mut self) {
        self.clear();
        self.frame -= 1;
    }

    /// Clears the frame of the innermost function.
    fn clear(&mut self) {
        if self.depths[self.frame] > 0 {
            let end = (STACK_BYTES - self.frame * MAX_BPF_STACK) / SLOT_BYTES;
            let start = end - MAX_BPF_STACK / SLOT_BYTES;
            self.init[start..end].fill(0);
            self.regions[start..end].fill(Region::Number);
            self.depths[self.frame] = 0;
            self.stored[self.frame] = 0;
        }
    }

    /// The index of `len` bytes at `offset`, which must be in one frame of the call chain.
    #[inline]
    fn range(&mut self, offset: u64, len: usize) -> Result<usize, Reason> {
        let below = MAX_BPF_STACK * (MAX_CALL_FRAMES - 1 - self.frame);
        let start = offset as usize;
        let outside = (offset as i64) < below as i64 || offset >= STACK_BYTES as u64;
        if outside || start % MAX_BPF_STACK + len > MAX_BPF_STACK {
            return Err(Reason::StackBounds { offset: offset as i64 - STACK_BYTES as i64, len });
        }
        let frame = MAX_CALL_FRAMES - 1 - start / MAX_BPF_STACK;
        let depth = MAX_BPF_STACK - start % MAX_BPF_STACK;
        if depth > self.depths[frame] {
            self.deepen(frame, depth)?;
        }
        Ok(start)
    }

    #[cold]
    fn deepen(&mut self, frame: usize, depth: usize) -> Result<(), Reason> {
        self.depths[frame] = depth;
        let frames = &self.depths[self.starts[self.frame]..=self.frame];
        let total: usize = frames.iter().map(|depth| depth.next_multiple_of(self.granularity)).sum();
        if total > MAX_BPF_STACK { Err(Reason::StackTotal { bytes: total }) } else { Ok(()) }
    }

    /// Whether the byte at `at` may be read while it is not initialized.
    fn uninit_at(&self, at: usize) -> bool {
        let frame = MAX_CALL_FRAMES - 1 - at / MAX_BPF_STACK;
        self.uninit_readable
            || self.uninit_above_stored && MAX_BPF_STACK - at % MAX_BPF_STACK <= self.stored[frame]
    }

    /// Records a store that starts at `start`.
    #[inline]
    fn note_stored(&mut self, start: usize) {
        let frame = MAX_CALL_FRAMES - 1 - start / MAX_BPF_STACK;
        let depth = (MAX_BPF_STACK - start % MAX_BPF_STACK).next_multiple_of(SLOT_BYTES);
        self.stored[frame] = self.stored[frame].max(depth);
    }

    #[inline]
    pub(crate) fn load(&mut self, offset: u64, size: Size) -> Result<Value, Reason> {
        let len = size.bytes() as usize;
        let start = self.range(offset, len)?;
        if start & (len - 1) != 0 {
            return Err(Reason::Misaligned { size: len });
        }
        let slot = start / SLOT_BYTES;
        let mask = ((1u16 << len) - 1) as u8;
        let is_init = (self.init[slot] >> (start % SLOT_BYTES)) & mask == mask;
        if !is_init && !self.uninit_at(start) {
            return Err(Reason::UninitStack { offset: offset as i64 - STACK_BYTES as i64, len });
        }
        let region = self.regions[slot];
        let is_dynptr = matches!(region, Region::Dynptr { .. });
        if is_dynptr || region != Region::Number && len != SLOT_BYTES {
            return Err(Reason::PartialPointer);
        }
        let bytes = &self.bytes[start..start + len];
        let bits = match size {
            Size::U8 => u64::from(bytes[0]),
            Size::U16 => u64::from(u16::from_le_bytes([bytes[0], bytes[1]])),
            Size::U32 => u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            Size::U64 => u64::from_le_bytes(bytes.try_into().unwrap_or_default()),
        };
        Ok(Value { bits, region })
    }

    #[inline]
    pub(crate) fn store(&mut self, offset: u64, size: Size, value: Value) -> Result<(), Reason> {
        let len = size.bytes() as usize;
        let start = self.range(offset, len)?;
        if start & (len - 1) != 0 {
            return Err(Reason::Misaligned { size: len });
        }
        let slot = start / SLOT_BYTES;
        if !value.is_number() && len != SLOT_BYTES {
            return Err(Reason::PartialPointer);
        }
        if self.regions[slot] != Region::Number {
            overwritable(self.regions[slot])?;
            // The rest of an overwritten pointer becomes uninitialized.
            self.init[slot] = 0;
        }
        self.note_stored(start);
        self.regions[slot] = value.region;
        self.init[slot] |= (((1u16 << len) - 1) as u8) << (start % SLOT_BYTES);
        self.bytes[start..start + len].copy_from_slice(&value.bits.to_le_bytes()[..len]);
        Ok(())
    }

    /// `len` bytes for a helper to read.
    pub(crate) fn read(&mut self, offset: u64, len: usize) -> Result<&[u8], Reason> {
        let start = self.range(offset, len)?;
        for (slot, mask) in slots(start, len) {
            if !matches!(self.regions[slot], Region::Number | Region::BtfId(_)) {
                return Err(Reason::PartialPointer);
            }
            let uninit = mask & !self.init[slot];
            let mut bytes = (0..SLOT_BYTES).filter(|byte| uninit >> byte & 1 != 0);
            if uninit != 0
                && let Some(byte) = bytes.find(|byte| !self.uninit_at(slot * SLOT_BYTES + byte))
            {
                let at = slot * SLOT_BYTES + byte;
                return Err(Reason::UninitStack { offset: at as i64 - STACK_BYTES as i64, len: 1 });
            }
        }
        Ok(&self.bytes[start..start + len])
    }

    /// `len` bytes for a helper to write. They hold plain bytes from now on.
    pub(crate) fn write(&mut self, offset: u64, len: usize) -> Result<&mut [u8], Reason> {
        let start = self.range(offset, len)?;
        self.note_stored(start);
        for (slot, mask) in slots(start, len) {
            if let Region::Dynptr { .. } = self.regions[slot] {
                let offset = offset as i64 - STACK_BYTES as i64;
                return Err(Reason::WrittenDynptr { offset, len });
            }
            if self.regions[slot] != Region::Number {
                self.regions[slot] = Region::Number;
                self.init[slot] = 0;
                self.bytes[slot * SLOT_BYTES..][..SLOT_BYTES].fill(POISON);
            }
            self.init[slot] |= mask;
        }
        Ok(&mut self.bytes[start..start + len])
    }

    /// Stores a dynptr: `mark_stack_slots_dynptr()`.
    pub(crate) fn store_dynptr(&mut self, offset: u64, region: Region) -> Result<(), Reason> {
        for half in [0, 8] {
            self.store(offset.wrapping_add(half), Size::U64, Value { bits: half, region })?;
        }
        Ok(())
    }

    /// The dynptr at an offset, both halves of it.
    pub(crate) fn dynptr(&mut self, offset: u64) -> Result<u32, Reason> {
        let start = self.range(offset, 2 * SLOT_BYTES)?;
        let slot = start / SLOT_BYTES;
        let halves = [slot, slot + 1].map(|slot| (self.regions[slot], self.bytes[slot * SLOT_BYTES]));
        match halves {
            [(Region::Dynptr { index, .. }, 0), (Region::Dynptr { index: other, .. }, 8)]
                if index == other && start % SLOT_BYTES == 0 =>
            {
                Ok(index)
            }
            _ => Err(Reason::NotDynptr { offset: offset as i64 - STACK_BYTES as i64 }),
        }
    }

    /// Removes the dynptr at an offset: `unmark_stack_slots_dynptr()`.
    pub(crate) fn clear_dynptr(&mut self, offset: u64) -> Result<(), Reason> {
        let slot = self.range(offset, 2 * SLOT_BYTES)? / SLOT_BYTES;
        self.regions[slot..slot + 2].fill(Region::Number);
        self.init[slot..slot + 2].fill(0);
        self.bytes[slot * SLOT_BYTES..][..2 * SLOT_BYTES].fill(POISON);
        Ok(())
    }
}

/// `destroy_if_dynptr_stack_slot()`: only dynptrs that need not be released can be overwritten.
fn overwritable(region: Region) -> Result<(), Reason> {
    match region {
        Region::Dynptr { referenced: true, .. } => Err(Reason::OverwrittenDynptr),
        _ => Ok(()),
    }
}

/// The slots of `len` bytes at `start`, each with a bit for each of these bytes in it.
fn slots(start: usize, len: usize) -> impl Iterator<Item = (usize, u8)> {
    let end = start + len;
    let after_last = if len == 0 { start / SLOT_BYTES } else { end.div_ceil(SLOT_BYTES) };
    (start / SLOT_BYTES..after_last).map(move |slot| {
        let first = start.saturating_sub(slot * SLOT_BYTES);
        let after = (end - slot * SLOT_BYTES).min(SLOT_BYTES);
        (slot, ((1u16 << after) - (1u16 << first)) as u8)
    })
}
