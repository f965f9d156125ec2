//! Programs on raw tracepoints.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use crate::locked_memory::with_raised_limit;
use crate::machine::kernel_version;
use crate::object::kernel_name;
use crate::sys::bpf::{self, ProgramInfo, ProgramSpec};

/// A program on its tracepoint, for as long as this value lives.
///
/// The kernel skips a program if the tracepoint fires while another task on the same CPU is preempted inside that
/// program (`__bpf_trace_run()`, kernel/trace/bpf_trace.c). This was seen on 7.3, not on 6.12, and cannot be probed
/// since it is rare. So 7.0 and later get two copies of the program, for which the kernel checks this separately.
#[derive(Debug)]
pub(crate) struct Tracepoint {
    copies: Vec<ProgramCopy>,
}

#[derive(Debug)]
struct ProgramCopy {
    program: OwnedFd,
    _link: OwnedFd,
}

impl Tracepoint {
    /// Attaches a program to a tracepoint. It has to do nothing when it runs a second time.
    pub(crate) fn attach(tracepoint: &CStr, name: &str, insns: &[u8]) -> rustix::io::Result<Self> {
        let copies = if kernel_version() >= (7, 0, 0) { 2 } else { 1 };
        let copies = (0..copies).map(|_| ProgramCopy::attach(tracepoint, name, insns));
        Ok(Self { copies: copies.collect::<rustix::io::Result<_>>()? })
    }

    /// Upper bound of how often all copies of the program were skipped.
    pub(crate) fn skipped(&self) -> rustix::io::Result<u64> {
        let skipped = self.copies.iter().map(|copy| {
            let info: ProgramInfo = bpf::info(copy.program.as_fd())?;
            Ok(info.recursion_misses)
        });
        Ok(skipped.collect::<rustix::io::Result<Vec<_>>>()?.into_iter().min().unwrap_or_default())
    }
}

impl ProgramCopy {
    fn attach(tracepoint: &CStr, name: &str, insns: &[u8]) -> rustix::io::Result<Self> {
        const RAW_TRACEPOINT: u32 = 17;
        let spec = ProgramSpec {
            kind: RAW_TRACEPOINT,
            expected_attach_type: 0,
            insns,
            // bpf_probe_read_kernel is for GPL programs only.
            license: c"Dual MIT/GPL",
            name: kernel_name(name),
            debug: None,
        };
        let program = with_raised_limit(|| bpf::prog_load(&spec, None))?;
        let link = bpf::raw_tracepoint_open(program.as_fd(), tracepoint)?;
        Ok(Self { program, _link: link })
    }
}
