//! Whether links work, and whether rewrites have an effect, tried on a cgroup made for that.

use std::os::fd::AsFd;

use rustix::process::{WaitOptions, WaitStatus};

use super::{ProbeOutcome, load_allow, outcome_of, programs, try_load};
use crate::cgroup::Cgroup;
use crate::cgroup_error::CgroupError;
use crate::hierarchy::Hierarchy;
use crate::link::Link;
use crate::link_error::LinkError;
use crate::scratch::ScratchCgroup;
use crate::sys::fork::{ProbeWriter, WriterEnd, fork_probe_writer};

const PREFIX: &str = "knobgate-probe-";

/// The outcomes for links and for rewriting.
pub(super) fn probe() -> (ProbeOutcome, ProbeOutcome) {
    let unknown = |why: String| (ProbeOutcome::Unknown(why.clone()), ProbeOutcome::Unknown(why));
    let cgroup = match scratch_cgroup() {
        Ok(cgroup) => cgroup,
        Err(error) => return unknown(error.to_string()),
    };
    let insns = match programs::rewrite() {
        Ok(insns) => insns,
        Err(error) => return unknown(error.to_string()),
    };
    // If the kernel rejects the rewrite, a simpler program shows whether links work.
    let (program, rejected) = match try_load(&insns) {
        Ok(program) => (Ok(program), None),
        Err(error) => (load_allow(), Some(outcome_of(error))),
    };
    let program = match program {
        Ok(program) => program,
        Err(error) => return unknown(format!("no program can be loaded: {error}")),
    };
    // The link is dropped before the cgroup.
    let link = Link::create(&program, &cgroup);
    match link {
        Ok(_link) => (ProbeOutcome::Yes, rejected.unwrap_or_else(|| is_rewritten(&cgroup))),
        Err(LinkError::Unsupported { .. }) => {
            (ProbeOutcome::No, ProbeOutcome::Unknown("programs cannot be attached by links".to_owned()))
        }
        Err(error) => unknown(error.to_string()),
    }
}

/// At the root, where no policy of a parent applies; in a container that may not do that, below its own cgroup.
pub(super) fn scratch_cgroup() -> Result<ScratchCgroup, CgroupError> {
    let in_cgroup = |parent: Cgroup| {
        ScratchCgroup::remove_stale(&parent, PREFIX);
        ScratchCgroup::create(&parent, PREFIX)
    };
    Hierarchy::find()?
        .root()
        .and_then(in_cgroup)
        .or_else(|error| Cgroup::of_this_process().and_then(in_cgroup).map_err(|_| error))
}

fn is_rewritten(cgroup: &Cgroup) -> ProbeOutcome {
    let unknown = |why: &str| ProbeOutcome::Unknown(why.to_owned());
    let procs = match cgroup.open_procs() {
        Ok(procs) => procs,
        Err(error) => return ProbeOutcome::Unknown(error.to_string()),
    };
    let writer = fork_probe_writer(&ProbeWriter {
        procs: procs.as_fd(),
        knob: c"/proc/sys/kernel/domainname",
        written: programs::WRITTEN,
        replacement: programs::REPLACEMENT,
    });
    let status = match writer {
        Ok(writer) => match writer.wait(WaitOptions::empty()) {
            Ok(ended) => ended.and_then(WaitStatus::exit_status),
            Err(error) => return ProbeOutcome::Unknown(format!("cannot wait for the writer: {error}")),
        },
        Err(error) => return outcome_of(error),
    };
    match status.and_then(WriterEnd::from_status) {
        Some(WriterEnd::Replaced) => ProbeOutcome::Yes,
        Some(WriterEnd::NotReplaced) => ProbeOutcome::No,
        Some(WriterEnd::CannotUnshare) => {
            unknown("no UTS namespace can be made (it takes CAP_SYS_ADMIN, or user namespaces)")
        }
        Some(WriterEnd::CannotEnter) => unknown("the scratch cgroup cannot be entered"),
        Some(WriterEnd::CannotOpen) => unknown("kernel/domainname cannot be opened"),
        Some(WriterEnd::CannotWrite) => {
            unknown("kernel/domainname cannot be written; another program may deny it")
        }
        Some(WriterEnd::CannotReadBack) => unknown("kernel/domainname cannot be read back"),
        Some(WriterEnd::Unexpected) => unknown("an unexpected value was stored; another program interferes"),
        None => unknown("the writer was killed"),
    }
}
