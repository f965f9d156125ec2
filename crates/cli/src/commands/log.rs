//! `knobgate log`: show what a policy remembers of its events.

mod remembered;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::process::ExitCode;

use knobgate::{AttachmentState, EventMemory};
use knobgate_kernel::AttachmentName;
use knobgate_policy::filter::Filter;

use crate::attachment_failure::without_memory;
use crate::attachment_names::{self, named};
use crate::failure::Failure;
use crate::filter_argument;
use crate::json;
use crate::memories;
use crate::output::Output;
use crate::stream::memory_items::MemoryItems;
use crate::stream::printer::{Format, Printer};
use crate::target::WorkloadArgs;
use crate::workload_filter;
use remembered::Remembered;

/// Show what a policy remembers of its events, also of those that nobody was watching
///
/// For each rule and cgroup: how many events there were, and the first and the last one in full, denials first. The memory is in the
/// kernel. It lasts until the policy is detached, or the machine restarts; replacing the policy keeps it. A cgroup that
/// was removed has the name that it had when the policy was attached to it.
///
/// With --container, --unit or --pod, only the events of these workloads are shown, by the names that the memory has. A container that
/// is gone has its id, and its name if knobgate had put the policy on it.
///
/// The lines of events are those of `knobgate watch`. Times are in UTC.
///
/// Privileges: root, CAP_SYS_ADMIN.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Log {
    /// The name of the attachment, or of a policy for containers
    name: String,
    #[command(flatten)]
    workloads: WorkloadArgs,
    /// Show the most recent events instead, at least 128 of them, in the order in which they happened
    #[arg(long)]
    recent: bool,
    /// Print one JSON object; with --recent one for each event, as `watch` does
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  knobgate log web
  knobgate log web --container shop-web-1
  knobgate log web --recent --json | knobgate watch --from - --filter 'comm == \"sh\"'";

impl Log {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let (attachments, names) = attachment_names::find(named(&self.name)?)?;
        let workloads = workload_filter::here(&self.workloads, output)?;
        let filter = match filter_argument::parse_both(workloads, None, output) {
            Ok(filter) => filter.map(|(_, filter)| filter),
            Err(status) => return Ok(status),
        };
        // Versions of a policy share a memory.
        let mut seen = BTreeSet::new();
        for name in names {
            let (state, memory) = memories::read(&attachments, &name)?;
            let Some(memory) = memory else { return Err(without_memory(&name, &state)) };
            if seen.insert(memory.state.origin)
                && self.show(&name, &state, &memory, filter.as_ref(), output)?.is_break()
            {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Shows a memory. Breaks if nobody reads it any more.
    fn show(
        &self,
        name: &AttachmentName,
        state: &AttachmentState,
        memory: &EventMemory,
        filter: Option<&Filter>,
        output: &Output,
    ) -> Result<ControlFlow<()>, Failure> {
        let mut items = MemoryItems::new(name.as_str(), memory);
        if self.recent {
            let format = if self.json { Format::Json } else { Format::Text };
            let mut printer = Printer::new(output, format, filter.cloned(), None);
            for event in &memory.recent {
                let mut item = items.item(event.clone());
                if printer.shows(&item) && printer.print_next(&mut item)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            printer.flush()?;
            return Ok(ControlFlow::Continue(()));
        }
        let remembered = Remembered::new(&mut items, state.policy.as_ref(), filter);
        if self.json {
            output.line(json::line(&remembered.to_json()))?;
        } else {
            remembered.print(output)?;
        }
        Ok(ControlFlow::Continue(()))
    }
}
