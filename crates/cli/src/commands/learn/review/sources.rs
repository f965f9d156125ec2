//! Where the events of a review come from.

use std::path::Path;

use knobgate::{AttachedPolicy, EventMemory};
use knobgate_learn::DeniedAccesses;
use knobgate_policy::PolicyFile;

use crate::failure::Failure;
use crate::output::Output;
use crate::stream::memory_items::MemoryItems;
use crate::{events_file, memories};

/// Adds the events of a file.
///
/// # Errors
/// [`Failure::Usage`] if it cannot be read, or a line is wrong.
pub(super) fn recorded(path: &Path, denied: &mut DeniedAccesses<'_>, output: &Output) -> Result<(), Failure> {
    events_file::for_each(path, output, |item| denied.add(item))
}

/// Adds the events that the attachments of a policy remember: those whose policy has the same name. Returns their names.
///
/// # Errors
/// [`Failure::Machine`] if the memory cannot be read; [`Failure::Usage`] if there is no such attachment.
pub(super) fn remembered(
    file: &PolicyFile,
    denied: &mut DeniedAccesses<'_>,
    output: &Output,
) -> Result<Vec<String>, Failure> {
    let policy = file.policy().name();
    let (mut names, mut forgotten) = (Vec::new(), 0);
    memories::for_each(output, |name, state, memory| {
        if state.policy.as_ref().and_then(AttachedPolicy::name) != Some(policy) {
            return;
        }
        names.push(name.to_string());
        let items = MemoryItems::new(name.as_str(), memory).all();
        forgotten += happened(memory).saturating_sub(items.len() as u64);
        items.iter().for_each(|item| denied.add(item));
    })?;
    if names.is_empty() {
        let file = file.source().name();
        return Err(Failure::usage(format!("no attachment remembers events of the policy \"{policy}\"")).because(
            format!("attach it (knobgate attach --policy {file} …) and let the workload run, or give recorded events with --from"),
        ));
    }
    if forgotten > 0 {
        output.note(format_args!(
            "{forgotten} more events were counted and not remembered; `knobgate watch --json` records those that are sent, for --from, and `log(all)` sends all"
        ));
    }
    Ok(names)
}

/// How many events a memory has counted.
fn happened(memory: &EventMemory) -> u64 {
    let entries = memory.entries.iter().map(|entry| &entry.counters);
    entries.chain(&memory.others).map(|counters| counters.sent + counters.suppressed).sum()
}
