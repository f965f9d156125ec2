//! What a [`Command`]'s child does between fork and exec. As in [`fork`](super::fork): system calls on prepared data.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{Errno, write};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::signals::{Mask, set_mask};
use crate::process_id::ProcessId;

/// Has the child enter the cgroup of which `procs` is `cgroup.procs`.
pub(crate) fn enter_cgroup(command: &mut Command, procs: OwnedFd) {
    // "0" is the writer itself, whatever its pid is here or there.
    let enter = move || write(&procs, b"0").map(drop).map_err(io::Error::from);
    // SAFETY: one system call; an `io::Error` made of an errno does not allocate.
    unsafe { command.pre_exec(enter) };
}

/// Has the kernel send `signal` to the child when the thread that starts it ends.
pub(crate) fn die_with_parent(command: &mut Command, signal: Signal, parent: ProcessId) {
    let arm = move || {
        set_parent_process_death_signal(Some(signal))?;
        // Who ended before the child got here does not count for the kernel.
        if getppid() != Some(parent.as_pid()) {
            return Err(Errno::SRCH.into());
        }
        Ok(())
    };
    // SAFETY: two system calls; an `io::Error` made of an errno does not allocate.
    unsafe { command.pre_exec(arm) };
}

/// Has the child leave the namespaces of `flags` for fresh ones.
pub(crate) fn unshare(command: &mut Command, flags: UnshareFlags) {
    let leave = move || {
        // SAFETY: a fresh child has one thread, so nobody else has the descriptor table.
        unsafe { unshare_unsafe(flags) }?;
        if flags.contains(UnshareFlags::NEWNS) {
            // Else what is mounted here would appear in the namespace that we came from.
            mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        }
        Ok(())
    };
    // SAFETY: system calls alone; an `io::Error` made of an errno does not allocate.
    unsafe { command.pre_exec(leave) };
}

/// Has the child block the signals of `mask` and no others.
pub(crate) fn restore_signal_mask(command: &mut Command, mask: Mask) {
    let restore = move || {
        set_mask(&mask);
        Ok(())
    };
    // SAFETY: one system call on a copied set.
    unsafe { command.pre_exec(restore) };
}
