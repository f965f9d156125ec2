//! `knobgate top`: what happens under the policies of this machine, on one screen.
//!
//! The model ([`model`], [`activity`]) and how it is drawn ([`draw()`]) know no terminal, no kernel and no clock: events, keys, sizes and
//! times go in, cells come out. [`session`] waits for all of these, and [`screen`] has the terminal.
//!
//! This is a part of the command and not a crate of its own, since its rows consist of what `watch` and `log` print: they
//! share [`stream`](crate::stream) and [`mod@printable`](crate::printable).

mod activity;
mod attachments;
mod cells;
mod detail;
mod draw;
mod earlier;
mod keys;
mod layout;
mod line_editor;
mod model;
mod pane;
mod rate;
mod rows;
mod screen;
mod session;
mod shown;
mod table;
mod tallies;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anstream::AutoStream;
use knobgate_kernel::BlockedSignals;

use crate::attachment_names::named;
use crate::failure::Failure;
use crate::filter_argument;
use crate::live_events::LiveEvents;
use crate::output::Output;
use crate::plural::count;
use crate::target::WorkloadArgs;
use crate::timestamp::WallClock;
use crate::workload_filter;
use attachments::AttachmentWatch;
use earlier::Counted;
use model::Model;
use screen::Screen;
use session::{SIGNALS, Session, block_stops, moment};

/// Show what happens under policies on one screen: denials a second, attachments, rules, events and knobs
///
/// It shows the same events as `knobgate watch`, and starts with what the policies remember, as `knobgate log` does; that is
/// marked as earlier. Events that were suppressed or lost are counted. A cgroup that was removed stays for a minute, marked
/// as gone.
///
/// --container, --unit and --pod make the filter that it starts with.
///
/// Keys: Tab for the next pane, the arrows, j and k to choose a row, Enter for its details (of an event or a knob, with the
/// history of its values), / for a filter, s for another order, p to pause, ? for help, q to quit.
///
/// The terminal needs 80 columns and 24 lines. Times are in UTC.
///
/// Privileges: root, CAP_SYS_ADMIN.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Top {
    /// The attachments whose events are shown; without a name, all of them
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    workloads: WorkloadArgs,
    /// Show only events for which this holds, as for `watch`; / changes it
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  knobgate top
  knobgate top web
  knobgate top --container shop-web-1
  knobgate top --filter 'verdict == deny and not knob matches net.**'";

impl Top {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let names = self.names.iter().map(|name| named(name)).collect::<Result<Vec<_>, Failure>>()?;
        let workloads = workload_filter::here(&self.workloads, output)?;
        let filter = match filter_argument::parse_both(workloads, self.filter, output) {
            Ok(filter) => filter,
            Err(status) => return Ok(status),
        };
        for (is_terminal, what) in
            [(io::stdout().is_terminal(), "standard output"), (io::stdin().is_terminal(), "standard input")]
        {
            if !is_terminal {
                return Err(Failure::usage(format!("{what} is not a terminal, and top needs one"))
                    .because("use knobgate watch --json for a pipe or a file"));
            }
        }

        // Blocked before the terminal is taken over, so that every end gives it back.
        let cannot = |error: io::Error| Failure::machine("cannot read events").because(error);
        let signals = BlockedSignals::block(&SIGNALS).map_err(cannot)?;
        let stops = Some(block_stops().map_err(cannot)?);
        let mut events = LiveEvents::open(names, None)?;
        let attachments = AttachmentWatch::new(events.names());
        // Read after the reader has started, so that nothing is missing in between. What is in both is left out once.
        let earlier = attachments.earlier(&mut events)?;
        let now =
            moment(WallClock::now()).ok_or_else(|| Failure::machine("the clock of this machine is wrong"))?;
        let counted = Counted::new(&earlier, now.boot_time);
        let mut model = Model::new(format!("events of {}", events.whose()), filter, earlier, now);
        if events.missing_programs() > 0 {
            model.missing.insert(format!(
                "the events of {} are missing here: all places for their readers are taken",
                count(events.missing_programs(), "program")
            ));
        }

        let has_colours = AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        let mut session = Session { events, attachments, model, counted, signals, stops };
        let mut screen = Screen::take(has_colours)
            .map_err(|error| Failure::machine("cannot use the terminal").because(error))?;
        session.run(&mut screen)?;
        Ok(ExitCode::SUCCESS)
    }
}
