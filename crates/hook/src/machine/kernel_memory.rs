//! The kernel's memory, as far as programs can read it: the current task and what that leads to, and the context.
//!
//! [`task_btf`](crate::task_btf) says how structs are laid out; [`image`] fills them in. Addresses are those of x86-64: a
//! program gets them as numbers, stores them, and passes them to `bpf_probe_read_kernel`. The same task, cgroup or namespace
//! has the same address in every run.

mod image;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use knobgate_bpf::{KernelStructs, MemberType, Size};

use super::fault::Reason;
use super::value::{Region, Value};
use crate::task_btf::{member_at, own_structs};
use crate::{Errno, Invocation, Profile};

pub(crate) use image::room_for;

/// Where the addresses of the kernel start. Those below are user space's or not canonical
/// (`copy_from_kernel_nofault_allowed()` in arch/x86/mm/maccess.c).
const KERNEL_START: u64 = 0xffff_8000_0000_0000;
/// The end of what is never mapped after that, and the start of what is never mapped at the end: Documentation/arch/x86/x86_64/mm.rst.
const GUARD_HOLE_END: u64 = 0xffff_8800_0000_0000;
const LAST_HOLE: u64 = 0xffff_ffff_ffe0_0000;
/// The page that counts as user space's: `is_vsyscall_vaddr()` in arch/x86/include/asm/vsyscall.h.
const VSYSCALL: Range<u64> = 0xffff_ffff_ff60_0000..0xffff_ffff_ff60_1000;
/// Further away from an object, messages do not name it.
const NEAR: u64 = 1 << 14;

/// What is at which address.
#[derive(Debug)]
pub(crate) struct KernelMemory {
    /// The layout that the program was linked for, if it is not the model's own.
    layout: Option<Arc<KernelStructs>>,
    own: &'static KernelStructs,
    /// Whether nothing can be copied from the page [`VSYSCALL`]: since 6.8. Fixed releases of older series do the same (CVE-2024-26906).
    /// In others it is up to the boot parameters whether something is mapped there.
    rejects_vsyscall: bool,
    /// The objects by their addresses; empty until a program asks for one.
    objects: BTreeMap<u64, Object>,
    /// The pointers with a type that the program has got: where the struct starts, and which one it is.
    typed: Vec<(u64, &'static str)>,
}

/// Something in memory.
#[derive(Debug)]
struct Object {
    /// The name of the struct that it is, if it is one.
    of: Option<&'static str>,
    bytes: Vec<u8>,
}

impl KernelMemory {
    /// The memory of a kernel for a program that was linked for this layout.
    pub(super) fn new(layout: Option<&Arc<KernelStructs>>, profile: &Profile) -> Self {
        Self {
            layout: layout.cloned(),
            own: own_structs(profile),
            rejects_vsyscall: profile.version >= (6, 8),
            objects: BTreeMap::new(),
            typed: Vec::new(),
        }
    }

    /// The same for a program that goes on where another one ends.
    pub(super) fn hand_on(&mut self, layout: Option<&Arc<KernelStructs>>) {
        if self.layout.as_ref() != layout {
            *self = Self { layout: layout.cloned(), objects: BTreeMap::new(), typed: Vec::new(), ..*self };
        }
    }

    fn structs(&self) -> &KernelStructs {
        self.layout.as_deref().unwrap_or(self.own)
    }

    /// Fills in what an access shows, unless that has been done.
    pub(super) fn fill(&mut self, invocation: &Invocation<'_>) {
        if self.objects.is_empty() {
            self.add_task(invocation.task, 0);
        }
    }

    /// The address of the current task.
    pub(super) fn current_task(&mut self, invocation: &Invocation<'_>) -> u64 {
        self.fill(invocation);
        image::task_address(invocation.task, 0)
    }

    /// The context as the kernel has it, `struct bpf_sysctl_kern`, at this moment. Returns its address.
    pub(super) fn context(&mut self, invocation: &Invocation<'_>) -> u64 {
        self.fill(invocation);
        self.add_context(invocation);
        image::CONTEXT
    }

    /// A pointer to the struct of this name at `address`, which may be null.
    pub(super) fn pointer_to(&mut self, address: u64, name: &'static str) -> Value {
        let pointer = (address, name);
        let index = self.typed.iter().position(|known| *known == pointer).unwrap_or_else(|| {
            self.typed.push(pointer);
            self.typed.len() - 1
        });
        Value { bits: address, region: Region::BtfId(index as u32) }
    }

    /// The bytes at an address, if the model has all of them.
    pub(super) fn bytes(&self, address: u64, len: usize) -> Option<&[u8]> {
        let (start, object) = self.objects.range(..=address).next_back()?;
        let offset = address - start;
        let end = offset.checked_add(len as u64)?;
        if object.of.is_some_and(|name| !self.structs().is_modelled(name, offset..end)) {
            return None;
        }
        object.bytes.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
    }

    /// `copy_from_kernel_nofault()`
    ///
    /// # Errors
    ///
    /// A kernel could have something there that the model does not.
    pub(super) fn copy(&self, address: u64, len: usize) -> Result<Result<Vec<u8>, Errno>, Reason> {
        if address < KERNEL_START || (self.rejects_vsyscall && VSYSCALL.contains(&address)) {
            return Ok(Err(Errno::ERANGE));
        }
        if len == 0 {
            return Ok(Ok(Vec::new()));
        }
        if !(GUARD_HOLE_END..LAST_HOLE).contains(&address) {
            return Ok(Err(Errno::EFAULT));
        }
        let bytes = self.bytes(address, len).ok_or_else(|| self.unknown(address, len));
        bytes.map(|bytes| Ok(bytes.to_vec()))
    }

    /// The bytes at an address that the verifier has found to be that of a struct.
    pub(super) fn checked_bytes(&self, address: u64, len: usize) -> Result<&[u8], Reason> {
        match self.bytes(address, len) {
            Some(bytes) => Ok(bytes),
            None if address < KERNEL_START => Err(Reason::Null),
            None => Err(self.unknown(address, len)),
        }
    }

    /// That nothing is known about these bytes.
    fn unknown(&self, address: u64, len: usize) -> Reason {
        let before = self.objects.range(..=address).next_back();
        let of = before.and_then(|(start, object)| Some((object.of?, address - start)));
        Reason::UnknownMemory { address, len, of: of.filter(|(_, offset)| *offset < NEAR) }
    }

    /// A load through a pointer with a type: `btf_struct_access()` in kernel/bpf/btf.c. Through a null pointer it is 0.
    pub(super) fn load(&mut self, pointer: Value, size: Size) -> Result<Value, Reason> {
        let Region::BtfId(index) = pointer.region else { return Err(Reason::Null) };
        let (start, name) = self.typed[index as usize];
        let offset = pointer.bits.wrapping_sub(start);
        let len = size.bytes() as usize;
        let outside = || Reason::StructMember { name, offset: offset as i64, size: len };
        let within = u32::try_from(offset).map_err(|_| outside())?;
        let member = member_at(self.structs().all(), name, within, size.bytes()).ok_or_else(outside)?;
        let bits = match self.checked_bytes(pointer.bits, len) {
            Ok(bytes) => {
                let mut word = [0; 8];
                word[..len].copy_from_slice(bytes);
                u64::from_le_bytes(word)
            }
            Err(Reason::Null) => 0,
            Err(unknown) => return Err(unknown),
        };
        Ok(match member {
            MemberType::Pointer(MemberType::Struct(name)) => self.pointer_to(bits, name),
            _ => Value::number(bits),
        })
    }
}
