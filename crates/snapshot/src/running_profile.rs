//! The running kernel as a profile.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use knobgate_hook::Profile;
use knobgate_kernel::{
    PROC_SYS, ProbeOutcome, kernel_version, probe, probe_attaching, probe_instructions, probe_invalid_retval,
};
use rustix::io::Errno;

/// Describes the running kernel for the hook in user space, now.
///
/// It takes a little longer than [`probe`], whose probes it uses. For a moment there are cgroups `knobgate-probe-…`.
///
/// These fields are probed:
///
/// - what the verifier accepts: `retval_helpers`, `set_retval_checked`, `uninit_stack`, `uninit_above_stored`,
///   `variable_stack`, `divisions_followed`, `self_comparisons_decided`, `st_ctx`, `atomics`, `isa_v4`, `long_jump`,
///   `may_goto`, `acquire_release`, `bounded_loops`, `call_frames`;
/// - what attaching accepts: `replace`, `links`, `link_detach`, `preorder`, `attach_positions`, `updates_find_their_slot`;
/// - `rewrites_are_applied`, `odd_retvals_deny` and `size_limit`.
///
/// `comm_padded`, `int_map_results` and the available helpers follow from the release. The rest, and what a probe
/// cannot find out (without the capabilities, for example), is what [`Profile::closest`] has for the release: probing
/// it would write to knobs or harm some kernels.
pub fn running_profile() -> Profile {
    static NAME: OnceLock<String> = OnceLock::new();
    let name = NAME.get_or_init(|| rustix::system::uname().release().to_string_lossy().into_owned());
    let (major, minor, patch) = kernel_version();
    let closest = Profile::closest((major, minor, patch));
    let probes = probe();
    let instructions = probe_instructions();
    let attaching = probe_attaching();
    let mut profile = closest;
    profile.name = name;
    profile.version = (major, minor);
    profile.retval_helpers = known(&probes.set_retval, closest.retval_helpers);
    profile.set_retval_checked = known(&instructions.set_retval_checked, closest.set_retval_checked);
    profile.odd_retvals_deny = known(&probe_invalid_retval(), closest.odd_retvals_deny);
    profile.uninit_stack = known(&probes.uninit_stack, closest.uninit_stack);
    profile.uninit_above_stored = known(&instructions.uninit_above_stored, closest.uninit_above_stored);
    profile.variable_stack = known(&probes.variable_stack, closest.variable_stack);
    profile.divisions_followed = known(&instructions.divisions_followed, closest.divisions_followed);
    profile.self_comparisons_decided =
        known(&instructions.self_comparisons_decided, closest.self_comparisons_decided);
    profile.st_ctx = known(&instructions.st_ctx, closest.st_ctx);
    profile.atomics = known(&instructions.atomics, closest.atomics);
    profile.isa_v4 = known(&instructions.isa_v4, closest.isa_v4);
    profile.long_jump = known(&probes.long_jump, closest.long_jump);
    profile.comm_padded = (major, minor) >= (6, 4);
    profile.int_map_results = (major, minor) < (6, 4);
    profile.may_goto = known(&instructions.may_goto, closest.may_goto);
    profile.acquire_release = known(&instructions.acquire_release, closest.acquire_release);
    profile.bounded_loops = known(&instructions.bounded_loops, closest.bounded_loops);
    profile.call_frames = instructions.call_frames.unwrap_or(closest.call_frames);
    profile.rewrites_are_applied = known(&probes.set_new_value, closest.rewrites_are_applied);
    profile.size_limit = size_limit(closest.size_limit);
    profile.links = known(&probes.links, closest.links);
    profile.replace = known(&attaching.replace, closest.replace);
    profile.link_detach = known(&attaching.link_detach, closest.link_detach);
    profile.preorder = known(&attaching.preorder, closest.preorder);
    profile.attach_positions = known(&attaching.attach_positions, closest.attach_positions);
    profile.updates_find_their_slot =
        known(&attaching.updates_find_their_slot, closest.updates_find_their_slot);
    profile
}

/// What the probe found, or else what the closest release does.
fn known(outcome: &ProbeOutcome, closest: bool) -> bool {
    match outcome {
        ProbeOutcome::Yes => true,
        ProbeOutcome::No => false,
        ProbeOutcome::Unknown(_) => closest,
    }
}

/// Tries a read that is larger than kernels with a limit allow.
fn size_limit(closest: Option<usize>) -> Option<usize> {
    /// `KMALLOC_MAX_SIZE` where pages have 4 KiB.
    const LIMIT: usize = 4 << 20;
    let read =
        File::open(format!("{PROC_SYS}/kernel/ostype")).and_then(|knob| knob.read_at(&mut vec![0; LIMIT], 0));
    match read {
        Ok(_) => None,
        Err(error) if error.raw_os_error() == Some(Errno::NOMEM.raw_os_error()) => Some(LIMIT),
        Err(_) => closest,
    }
}
