//! `--filter`: which events of a stream are shown.

use std::process::ExitCode;

use knobgate_events::StreamItem;
use knobgate_policy::Source;
use knobgate_policy::filter::Filter;

use crate::failure::USAGE;
use crate::output::Output;
use crate::report;

/// The filter, or the exit status if it is wrong, after reporting why.
pub(crate) fn parse(text: String, output: &Output) -> Result<Filter, ExitCode> {
    Filter::parse(Source::new("--filter", text)).map_err(|error| {
        let source = error.text().clone();
        for diagnostic in error {
            output.report(format_args!("{}\n", report::render(&diagnostic, &source)));
        }
        ExitCode::from(USAGE)
    })
}

/// Whether an item is shown: unless the filter certainly does not hold for it.
pub(crate) fn passes(filter: Option<&Filter>, item: &StreamItem) -> bool {
    filter.is_none_or(|filter| filter.matches(item) != Some(false))
}
