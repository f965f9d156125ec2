//! Helpers that read memory at any address: kernel/trace/bpf_trace.c, mm/maccess.c.

use knobgate_bpf::helper_ids;

use super::arguments::Arguments;
use super::{HelperEnv, HelperResult, errno, number};
use crate::Errno;
use crate::machine::fault::Reason;
use crate::machine::value::{Region, Value};

/// The end of user space: arch/x86/include/asm/page_64.h.
const TASK_SIZE_MAX: u64 = 0x7fff_ffff_f000;
/// Where processes can have memory: the default of `vm.mmap_min_addr`.
const USER_START: u64 = 4096;

/// `bpf_probe_read_kernel(dst, size, unsafe_ptr)`
pub(super) fn kernel(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (pointer, size) = (arguments.pointer(1), arguments.size(2));
    match copy(env, arguments.pointer(3), size)? {
        Ok(bytes) => {
            store(env, pointer, size, &bytes)?;
            number(0u64)
        }
        Err(failed) => {
            store(env, pointer, size, &[])?;
            Ok(errno(failed))
        }
    }
}

/// `bpf_probe_read_kernel_str(dst, size, unsafe_ptr)`: returns how many bytes it has written, with the NUL.
pub(super) fn kernel_str(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (pointer, size) = (arguments.pointer(1), arguments.size(2));
    match copy_str(env, arguments.pointer(3), size)? {
        Ok(text) => {
            let len = text.len();
            // The helper may write the whole buffer, so all of it counts as initialized.
            if size > 0 {
                env.memory.write(pointer, size, |buffer| buffer[..len].copy_from_slice(&text))?;
            }
            number(len as u64)
        }
        Err(failed) => {
            store(env, pointer, size, &[])?;
            Ok(errno(failed))
        }
    }
}

/// `bpf_probe_read_user(dst, size, unsafe_ptr)`, `bpf_probe_read_user_str(dst, size, unsafe_ptr)`
pub(super) fn user(env: &mut HelperEnv<'_, '_>, arguments: &Arguments<'_>) -> HelperResult {
    let (pointer, size, address) = (arguments.pointer(1), arguments.size(2), arguments.pointer(3));
    if size > 0 {
        check_no_user_memory(address, size)?;
    }
    store(env, pointer, size, &[])?;
    let is_string = arguments.helper.id == helper_ids::PROBE_READ_USER_STR;
    let is_user = address.is_number() && address.bits < TASK_SIZE_MAX;
    if size == 0 && (is_string || is_user) { number(0u64) } else { Ok(errno(Errno::EFAULT)) }
}

/// Checks that there cannot be memory of a process: the model has none.
pub(super) fn check_no_user_memory(address: Value, len: usize) -> HelperResult<()> {
    match address {
        Value { bits, region: Region::Number } if (USER_START..TASK_SIZE_MAX).contains(&bits) => {
            Err(Reason::UnknownMemory { address: bits, len, of: None })
        }
        _ => Ok(()),
    }
}

/// The string at an address, of at most `size` bytes with its NUL: `strncpy_from_kernel_nofault()`.
pub(super) fn copy_str(
    env: &mut HelperEnv<'_, '_>,
    address: Value,
    size: usize,
) -> HelperResult<Result<Vec<u8>, Errno>> {
    let mut text = Vec::new();
    while text.len() < size {
        match copy(env, address.add(text.len() as u64), 1)? {
            Ok(byte) => text.extend(byte),
            Err(failed) => return Ok(Err(failed)),
        }
        if text.last() == Some(&0) {
            return Ok(Ok(text));
        }
    }
    if let Some(last) = text.last_mut() {
        *last = 0;
    }
    Ok(Ok(text))
}

/// The bytes at an address: `copy_from_kernel_nofault()`.
pub(super) fn copy(
    env: &mut HelperEnv<'_, '_>,
    address: Value,
    size: usize,
) -> HelperResult<Result<Vec<u8>, Errno>> {
    let address = match (address.as_number(), address.region) {
        (Some(address), _) => address,
        (None, Region::Context) => env.memory.kernel.context(env.invocation).wrapping_add(address.bits),
        // The program's own memory; the stack may be read before it is written. What is around it depends on addresses.
        (None, left) => {
            let bytes = env.memory.copy(address, size);
            let right = Region::Number;
            return bytes.map(Ok).map_err(|_| Reason::DependsOnAddress { left, right });
        }
    };
    env.memory.kernel.fill(env.invocation);
    env.memory.kernel.copy(address, size)
}

/// Writes `bytes` and zeros after them.
fn store(env: &mut HelperEnv<'_, '_>, pointer: Value, size: usize, bytes: &[u8]) -> HelperResult<()> {
    if size == 0 {
        return Ok(());
    }
    env.memory.write(pointer, size, |buffer| {
        buffer.fill(0);
        buffer[..bytes.len()].copy_from_slice(bytes);
    })
}
