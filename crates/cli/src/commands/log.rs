//! `knobgate log`: show what a policy remembers of its events.

mod remembered;

use std::process::ExitCode;

use knobgate::{Attachments, EventMemory};

use crate::attachment_failure::{no_attachments, parse_name, without_memory};
use crate::failure::Failure;
use crate::filter_argument;
use crate::json;
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
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Log {
    /// The name of the attachment
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
        let name = parse_name(&self.name)?;
        let Some(attachments) = Attachments::open()? else { return Err(no_attachments(name)) };
        let state = attachments.read(&name)?;
        let cannot = || Failure::machine(format!("cannot show the events of the attachment \"{name}\""));
        let memory = EventMemory::read(&state.maps).map_err(|error| cannot().because(error))?;
        let Some(memory) = memory else { return Err(without_memory(&name, &state)) };

        let workloads = workload_filter::here(&self.workloads, output)?;
        let filter = match filter_argument::parse_both(workloads, None, output) {
            Ok(filter) => filter.map(|(_, filter)| filter),
            Err(status) => return Ok(status),
        };
        let mut items = MemoryItems::new(name.as_str(), &memory);
        if self.recent {
            let format = if self.json { Format::Json } else { Format::Text };
            let mut printer = Printer::new(output, format, filter, None);
            for event in &memory.recent {
                let mut item = items.item(event.clone());
                if printer.shows(&item) && printer.print_next(&mut item)?.is_break() {
                    break;
                }
            }
            printer.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
        let remembered = Remembered::new(&mut items, state.policy.as_ref(), filter.as_ref());
        if self.json {
            output.line(json::line(&remembered.to_json()))?;
        } else {
            remembered.print(output)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
