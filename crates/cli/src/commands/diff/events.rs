//! How many recorded events are in each class.

use std::path::Path;
use std::ptr;

use knobgate_diff::{Class, ClassEventsDocument, Diff, DiffDocument, EventsDocument};
use knobgate_policy::PolicyFile;
use knobgate_replay::{DiffEvents, Tally, Unknown};

use super::Compared;
use crate::failure::Failure;
use crate::output::Output;
use crate::stream::tally::{LABEL, count, when, workloads};
use crate::{events_file, timestamp};

/// The events of a file, by class.
pub(super) struct Events {
    /// For each class.
    classes: Vec<Tally>,
    same: u64,
    unknown: u64,
    unknown_inputs: Vec<Unknown>,
    suppressed: u64,
    lost: u64,
}

/// Counts the events at `path` by the classes of `diff`, the diff between `policies`.
///
/// # Errors
/// [`Failure::Usage`] if they cannot be read, or a line is wrong.
pub(super) fn read(
    path: &Path,
    diff: &Diff,
    [old, new]: [&PolicyFile; 2],
    output: &Output,
) -> Result<Events, Failure> {
    let mut counts = DiffEvents::new(diff, old.policy(), new.policy(), LABEL);
    events_file::for_each(path, output, |item| counts.add(item))?;
    let DiffEvents { classes, same, unknown, unknown_inputs, suppressed, lost, .. } = counts;
    Ok(Events { classes, same, unknown, unknown_inputs, suppressed, lost })
}

impl Compared {
    /// The events of one of its classes, in words; `None` if none were given.
    pub(super) fn events_of(&self, class: &Class) -> Option<String> {
        let events = self.events.as_ref()?;
        let index = self.diff.classes().iter().position(|other| ptr::eq(other, class))?;
        Some(events.of_class(index))
    }
}

impl Events {
    /// Those of the class with this index, in words.
    fn of_class(&self, class: usize) -> String {
        let Some(tally) = self.classes.get(class).filter(|tally| tally.events > 0) else {
            return "no events".to_owned();
        };
        let workloads = workloads(tally).map(|workloads| format!(", in {workloads}"));
        format!("{}{}", when(tally), workloads.unwrap_or_default())
    }

    /// All of them, in words.
    pub(super) fn summary(&self) -> String {
        let in_classes: u64 = self.classes.iter().map(|tally| tally.events).sum();
        let mut counts = vec![format!("{in_classes} in these classes"), format!("{} the same", self.same)];
        if self.unknown > 0 {
            let inputs: Vec<String> = self.unknown_inputs.iter().map(ToString::to_string).collect();
            counts.push(format!(
                "{} unknown (the events do not have {})",
                self.unknown,
                inputs.join(", nor ")
            ));
        }
        let others = [(self.suppressed, "suppressed"), (self.lost, "lost")];
        let others = others.into_iter().filter(|(events, _)| *events > 0);
        let others: String = others.map(|(events, what)| format!("; {events} more were {what}")).collect();
        let all = count(in_classes + self.same + self.unknown, "event");
        format!("{all}: {}{others}", counts.join(", "))
    }

    /// A diff as JSON, with the events.
    pub(super) fn add_to(&self, document: DiffDocument) -> DiffDocument {
        let of_class = |tally: &Tally| ClassEventsDocument {
            count: tally.events,
            denied_before: tally.denied_before,
            first: tally.first.map(timestamp::rfc_3339),
            last: tally.last.map(timestamp::rfc_3339),
            workloads: tally.workloads.clone(),
            more_workloads: tally.has_more_workloads,
        };
        let Self { same, unknown, suppressed, lost, .. } = *self;
        let all = EventsDocument { same, unknown, suppressed, lost };
        document.with_events(all, self.classes.iter().map(of_class))
    }
}
