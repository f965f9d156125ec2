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

/// The filter that asks for both, with its text: that the events are of some workloads, and what `--filter` says.
pub(crate) fn parse_both(
    workloads: Option<String>,
    text: Option<String>,
    output: &Output,
) -> Result<Option<(String, Filter)>, ExitCode> {
    // Its own errors are about what the user has written.
    let filter = text.clone().map(|text| parse(text, output)).transpose()?;
    let both = match (workloads, text) {
        (None, text) => return Ok(text.zip(filter)),
        (Some(workloads), None) => workloads,
        (Some(workloads), Some(text)) => format!("({workloads}) and ({text})"),
    };
    let filter = parse(both.clone(), output)?;
    Ok(Some((both, filter)))
}

/// Whether an item is shown: unless the filter certainly does not hold for it.
pub(crate) fn passes(filter: Option<&Filter>, item: &StreamItem) -> bool {
    filter.is_none_or(|filter| filter.matches(item) != Some(false))
}
