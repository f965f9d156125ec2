//! Prints the items of a stream that pass the filter.

use std::ops::ControlFlow;

use knobgate_events::StreamItem;
use knobgate_events::json::to_json;
use knobgate_policy::filter::Filter;

use super::column::{Column, columns};
use super::length_of_stdout;
use super::line::{About, line};
use super::words::Length;
use crate::failure::Failure;
use crate::filter_argument;
use crate::output::{Lines, Output};
use crate::style::DIM;
use crate::timestamp;

/// How items are printed.
#[derive(Debug)]
pub(crate) enum Format {
    /// A line for people.
    Text,
    /// A line of JSON.
    Json,
    /// These fields.
    Fields(Vec<Column>),
}

/// Prints items.
#[derive(Debug)]
pub(crate) struct Printer {
    lines: Lines,
    format: Format,
    length: Length,
    filter: Option<Filter>,
    /// How many more may be printed.
    left: Option<u64>,
    /// How many were numbered.
    sequence: u64,
    /// The day of the last one.
    day: Option<String>,
}

impl Printer {
    pub(crate) fn new(output: &Output, format: Format, filter: Option<Filter>, count: Option<u64>) -> Self {
        Self {
            lines: output.lines(),
            format,
            length: length_of_stdout(),
            filter,
            left: count,
            sequence: 0,
            day: None,
        }
    }

    /// Whether an item is shown. One for which the filter cannot be evaluated is.
    pub(crate) fn shows(&self, item: &StreamItem) -> bool {
        filter_argument::passes(self.filter.as_ref(), item)
    }

    /// Whether there is a filter.
    pub(crate) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// Prints an item. Breaks after the last one that was asked for.
    pub(crate) fn print(&mut self, item: &StreamItem) -> Result<ControlFlow<()>, Failure> {
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
                self.lines.line(line(item, self.length, About::All))?;
            }
        }
        self.left = self.left.map(|left| left - 1);
        Ok(if self.left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// The same for the next item of a stream that starts here: numbers it.
    pub(crate) fn print_next(&mut self, item: &mut StreamItem) -> Result<ControlFlow<()>, Failure> {
        self.sequence += 1;
        item.sequence = self.sequence;
        self.print(item)
    }

    /// Writes everything that was printed.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.lines.flush()
    }
}
