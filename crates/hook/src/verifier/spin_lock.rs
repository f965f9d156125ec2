//! Spin locks in the values of maps: `process_spin_lock()`. A program holds at most one, and does little meanwhile.

use knobgate_bpf::{Helper, Reg, helper_ids};

use super::check::Verifier;
use super::register::{Kind, Register};
use super::state::State;
use super::violation::Violation;
use crate::Profile;
use crate::maps::{LOCK_BYTES, LOCK_TYPE, MapLock};

/// What is wrong with how a program uses spin locks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are in the messages")]
pub enum LockMisuse {
    /// Where a value has its lock is known before the program runs.
    #[error("R{register} doesn't have constant offset. bpf_spin_lock has to be at the constant offset")]
    VariableOffset { register: u8 },
    /// The types of the values of a map are not known.
    #[error("map '{map}' has to have BTF in order to use bpf_spin_lock")]
    NoTypes { map: String },
    /// The values of a map have no lock.
    #[error("map '{map}' has no valid bpf_spin_lock")]
    NoLock { map: String },
    /// The lock is elsewhere in the value.
    #[error("off {off} doesn't point to 'struct bpf_spin_lock' that is at {at}")]
    Offset { off: i64, at: u32 },
    /// No lock is held.
    #[error("bpf_spin_unlock without taking a lock")]
    NotHeld,
    /// Another lock is held, as far as the verifier knows.
    #[error("bpf_spin_unlock of different lock")]
    Other,
    /// Only `bpf_spin_unlock` is called while a lock is held, and static functions (6.9).
    #[error("function calls are not allowed while holding a lock")]
    Call,
    /// The program ends with a lock held.
    #[error("BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region")]
    Exit,
    /// A field of a value is accessed that only the kernel may access.
    #[error("{field} cannot be accessed directly by load/store")]
    Access { field: &'static str },
}

/// A lock that is held (`active_lock_ptr` and `active_lock_id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeldLock {
    pub(super) map: u16,
    /// The id of the pointer to the value; 0: the map has only one.
    pub(super) id: u32,
}

/// Before 6.2, locks were told apart by the ids of pointers alone.
pub(super) fn have_only_ids(profile: &Profile) -> bool {
    profile.version < (6, 2)
}

impl State {
    /// While a lock is held, helpers other than `bpf_spin_unlock` are not called.
    pub(super) fn check_helper_with_lock(&self, helper: &Helper) -> Result<(), Violation> {
        match self.lock {
            Some(_) if helper.id != helper_ids::SPIN_UNLOCK => Err(LockMisuse::Call.into()),
            _ => Ok(()),
        }
    }

    /// Functions are called while a lock is held since 6.9.
    pub(super) fn check_call_with_lock(&self, profile: &Profile) -> Result<(), Violation> {
        match self.lock {
            Some(_) if profile.version < (6, 9) => Err(LockMisuse::Call.into()),
            _ => Ok(()),
        }
    }

    /// The program does not end with a lock held. Before 6.9, functions do not either.
    pub(super) fn check_exit_with_lock(&self, profile: &Profile) -> Result<(), Violation> {
        match self.lock {
            Some(_) if self.top() == 0 || profile.version < (6, 9) => Err(LockMisuse::Exit.into()),
            _ => Ok(()),
        }
    }
}

impl Verifier<'_> {
    /// Takes or releases the lock that `register` points to.
    pub(super) fn use_lock(&mut self, register: Reg, helper: &Helper) -> Result<(), Violation> {
        let pointer = self.state.get(register);
        let Kind::MapValue(map) = pointer.kind else { return Ok(()) };
        let Some(variable) = pointer.scalar.known() else {
            return Err(LockMisuse::VariableOffset { register: register.number() }.into());
        };
        let name = || self.env.maps[usize::from(map)].name.clone();
        let at = match self.env.locks[usize::from(map)] {
            MapLock::Untyped => return Err(LockMisuse::NoTypes { map: name() }.into()),
            MapLock::None => return Err(LockMisuse::NoLock { map: name() }.into()),
            MapLock::At(at) => at,
        };
        let off = (variable as i64).wrapping_add(i64::from(pointer.off));
        if off != i64::from(at) {
            return Err(LockMisuse::Offset { off, at }.into());
        }
        let (lock, only_ids) = (HeldLock { map, id: pointer.id }, have_only_ids(self.env.profile));
        if helper.id == helper_ids::SPIN_LOCK {
            // The id 0 is none.
            self.state.lock = Some(lock).filter(|lock| !only_ids || lock.id != 0);
            return Ok(());
        }
        let held = self.state.lock.take().ok_or(LockMisuse::NotHeld)?;
        let is_same = if only_ids { held.id == lock.id } else { held == lock };
        if is_same { Ok(()) } else { Err(LockMisuse::Other.into()) }
    }

    /// Whether the values of a map have a lock.
    pub(super) fn has_lock(&self, map: u16) -> bool {
        self.env.locks[usize::from(map)].offset().is_some()
    }

    /// A pointer to a value that exists. Those with a lock are told apart by their ids.
    pub(super) fn existing_value(&mut self, map: u16) -> Register {
        let id = if self.has_lock(map) { self.new_id() } else { 0 };
        Register { id, ..Register::pointer(Kind::MapValue(map)) }
    }

    /// The lock of a value is not accessed but by the kernel: the end of `check_map_access()`.
    pub(super) fn check_special_fields(
        &self,
        map: u16,
        pointer: &Register,
        off: i32,
        size: u32,
    ) -> Result<(), Violation> {
        let Some(at) = self.env.locks[usize::from(map)].offset() else { return Ok(()) };
        let first = pointer.scalar.signed.min.wrapping_add(off.into());
        let end = pointer.scalar.unsigned.max as i64 + i64::from(off) + i64::from(size);
        if first < i64::from(at) + i64::from(LOCK_BYTES) && i64::from(at) < end {
            return Err(LockMisuse::Access { field: LOCK_TYPE }.into());
        }
        Ok(())
    }
}
