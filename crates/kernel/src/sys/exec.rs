//! What a [`Command`]'s child does between fork and exec. As in [`fork`](super::fork): system calls on prepared data.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::write;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::Signal;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::signals::{Mask, ignore, set_mask};

/// Has the child enter the cgroup of which `procs` is `cgroup.procs`.
pub(crate) fn enter_cgroup(command: &mut Command, procs: OwnedFd) {
    // "0" is the writer itself, whatever its pid is here or there.
    let enter = move || write(&procs, b"0").map(drop).map_err(io::Error::from);
    // SAFETY: one system call; an `io::Error` made of an errno does not allocate.
    unsafe { command.pre_exec(enter) };
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

/// Has the child block the signals of `mask` and no others, and ignore those of `ignored`.
pub(crate) fn restore_signals(command: &mut Command, mask: Mask, ignored: Vec<Signal>) {
    let restore = move || {
        // Before the mask: what is pending of an ignored signal is dropped.
        ignored.iter().for_each(|&signal| ignore(signal));
        set_mask(&mask);
        Ok(())
    };
    // SAFETY: system calls on data that was prepared before.
    unsafe { command.pre_exec(restore) };
}

/// Has the child close these descriptors.
pub(crate) fn close(command: &mut Command, descriptors: Vec<i32>) {
    let close = move || {
        for &descriptor in &descriptors {
            // SAFETY: the child is about to exec, and nothing there uses them before.
            unsafe { libc::close(descriptor) };
        }
        Ok(())
    };
    // SAFETY: system calls on data that was prepared before.
    unsafe { command.pre_exec(close) };
}
