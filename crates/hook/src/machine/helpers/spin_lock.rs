//! The helpers for locks in the values of maps: kernel/bpf/helpers.c. There is one processor here, so they never wait. What the
//! kernel's verifier rejects stops the run (`process_spin_lock()` in kernel/bpf/verifier.c).

use knobgate_bpf::helper_ids;

use super::arguments::Arguments;
use super::{HelperEnv, HelperResult};
use crate::machine::fault::Reason;
use crate::machine::value::{Region, Value};

/// `bpf_spin_lock(lock)`
pub(super) fn lock(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    env.memory.held_lock = Some(arguments.pointer(1));
    // It returns nothing.
    Ok(Value::UNINIT)
}

/// `bpf_spin_unlock(lock)`
pub(super) fn unlock(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    match env.memory.held_lock.take() {
        Some(held) if held == arguments.pointer(1) => Ok(Value::UNINIT),
        Some(_) => Err(Reason::Lock { what: "bpf_spin_unlock of different lock" }),
        None => Err(Reason::Lock { what: "bpf_spin_unlock without taking a lock" }),
    }
}

/// Checks whether a helper can be called: while a lock is held, only `bpf_spin_unlock` (`do_check_insn()` in
/// kernel/bpf/verifier.c).
pub(in crate::machine) fn check_call(env: &HelperEnv<'_, '_>, helper: u32) -> HelperResult<()> {
    match env.memory.held_lock {
        None => Ok(()),
        Some(_) if helper == helper_ids::SPIN_UNLOCK => Ok(()),
        Some(_) => Err(Reason::Lock { what: "function calls are not allowed while holding a lock" }),
    }
}

/// Whether this is the lock of a value.
pub(super) fn is_lock(env: &HelperEnv<'_, '_>, pointer: Value) -> bool {
    match pointer.region {
        Region::MapValue { map, .. } => env.memory.map(map).lock() == Some(pointer.bits),
        _ => false,
    }
}
