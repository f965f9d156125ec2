//! Prints the items of a stream that pass the filter.

use std::io::IsTerminal;
use std::ops::ControlFlow;

use knobgate_events::StreamItem;
use knobgate_events::json::to_json;
use knobgate_policy::filter::Filter;

use crate::failure::Failure;
use crate::output::{Lines, Output};
use crate::stream::column::{Column, columns};
use crate::stream::line::line;
use crate::stream::words::Length;
use crate::style::DIM;
use crate::timestamp;

/// How items are printed.
#[derive(Debug)]
pub(super) enum Format {
    /// A line for people.
    Text,
    /// A line of JSON.
    Json,
    /// These fields.
    Fields(Vec<Column>),
}

/// Prints items.
#[derive(Debug)]
pub(super) struct Printer {
    lines: Lines,
    format: Format,
    length: Length,
    filter: Option<Filter>,
    /// How many more may be printed.
    left: Option<u64>,
    /// The day of the last one.
    day: Option<String>,
}

impl Printer {
    pub(super) fn new(output: &Output, format: Format, filter: Option<Filter>, count: Option<u64>) -> Self {
        let length = if std::io::stdout().is_terminal() { Length::Short } else { Length::Full };
        Self { lines: output.lines(), format, length, filter, left: count, day: None }
    }

    /// Whether an item is shown. One for which the filter cannot be evaluated is.
    pub(super) fn shows(&self, item: &StreamItem) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(item) != Some(false))
    }

    /// Prints an item. Breaks after the last one that was asked for.
    pub(super) fn print(&mut self, item: &StreamItem) -> Result<ControlFlow<()>, Failure> {
        match &self.format {
            Format::Json => self.lines.line(to_json(item))?,
            Format::Fields(fields) => self.lines.line(columns(item, fields))?,
            Format::Text => {
                // Lines have only the time of day.
                let day = item.time.map(timestamp::date);
                if day.is_some() && day != self.day {
                    self.lines
                        .line(format_args!("{DIM}{} UTC{DIM:#}", day.as_deref().unwrap_or_default()))?;
                    self.day = day;
                }
                self.lines.line(line(item, self.length))?;
            }
        }
        self.left = self.left.map(|left| left - 1);
        Ok(if self.left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Writes everything that was printed.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.lines.flush()
    }
}
