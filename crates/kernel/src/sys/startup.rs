//! What this process inherited, and Rust's runtime changes before `main`: it ignores `SIGPIPE`, and opens `/dev/null`
//! for closed standard streams (`init` in library/std/src/sys/pal/unix/mod.rs).

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

static IGNORES_SIGPIPE: AtomicBool = AtomicBool::new(false);
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Whether the process was started with `SIGPIPE` ignored.
pub(crate) fn ignores_sigpipe() -> bool {
    IGNORES_SIGPIPE.load(Ordering::Relaxed)
}

/// The standard streams that were closed.
pub(crate) fn closed_streams() -> impl Iterator<Item = i32> {
    (0..).zip(&CLOSED).filter(|(_, closed)| closed.load(Ordering::Relaxed)).map(|(stream, _)| stream)
}

/// Called by the C library before Rust's runtime starts.
#[used]
// SAFETY: the section holds functions of this type, which the C library calls one after the other.
#[unsafe(link_section = ".init_array")]
static RECORDER: extern "C" fn() = record;

extern "C" fn record() {
    let mut pipe = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action, sigaction only fills `pipe`, for which zeros are valid too. fcntl just fails for a
    // closed descriptor.
    unsafe {
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), pipe.as_mut_ptr());
        IGNORES_SIGPIPE.store(pipe.assume_init().sa_sigaction == libc::SIG_IGN, Ordering::Relaxed);
        for (stream, closed) in (0..).zip(&CLOSED) {
            closed.store(libc::fcntl(stream, libc::F_GETFD) == -1, Ordering::Relaxed);
        }
    }
}
