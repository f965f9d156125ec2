//! What the child of a [`Command`] does between fork and exec: system calls on prepared data, as in
//! [`fork`](super::fork).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::write;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::Signal;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::signals::{Mask, ignore, set_mask};

/// Makes the child enter a cgroup; `procs` is its `cgroup.procs`.
pub(crate) fn enter_cgroup(command: &mut Command, procs: OwnedFd) {
    // "0" means the writer, in every pid namespace.
    let enter = move || write(&procs, b"0").map(drop).map_err(io::Error::from);
    // SAFETY: one system call; an `io::Error` from an errno does not allocate.
    unsafe { command.pre_exec(enter) };
}

/// Gives the child new namespaces.
pub(crate) fn unshare(command: &mut Command, flags: UnshareFlags) {
    let leave = move || {
        // SAFETY: a new child has one thread, so nothing else uses the descriptor table.
        unsafe { unshare_unsafe(flags) }?;
        if flags.contains(UnshareFlags::NEWNS) {
            // Otherwise, mounts would propagate to the parent namespace.
            mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        }
        Ok(())
    };
    // SAFETY: system calls only; an `io::Error` from an errno does not allocate.
    unsafe { command.pre_exec(leave) };
}

/// Sets the signal mask of the child, and the signals that it ignores.
pub(crate) fn restore_signals(command: &mut Command, mask: Mask, ignored: Vec<Signal>) {
    let restore = move || {
        // Before the mask: this drops pending signals that are ignored.
        ignored.iter().for_each(|&signal| ignore(signal));
        set_mask(&mask);
        Ok(())
    };
    // SAFETY: system calls on prepared data.
    unsafe { command.pre_exec(restore) };
}

/// Makes the child close these descriptors.
pub(crate) fn close(command: &mut Command, descriptors: Vec<i32>) {
    let close = move || {
        for &descriptor in &descriptors {
            // SAFETY: nothing in the child uses them before its exec.
            unsafe { libc::close(descriptor) };
        }
        Ok(())
    };
    // SAFETY: system calls on prepared data.
    unsafe { command.pre_exec(close) };
}
