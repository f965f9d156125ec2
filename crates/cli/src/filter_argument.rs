//! The option `--filter`.

use std::process::ExitCode;

use knobgate_policy::Source;
use knobgate_policy::filter::Filter;

use crate::failure::USAGE;
use crate::output::Output;
use crate::report;

/// The filter, or the exit status if it is wrong, after reporting why.
pub(crate) fn parse_filter(text: String, output: &Output) -> Result<Filter, ExitCode> {
    Filter::parse(Source::new("--filter", text)).map_err(|error| {
        let source = error.text().clone();
        for diagnostic in error {
            output.report(format_args!("{}\n", report::render(&diagnostic, &source)));
        }
        ExitCode::from(USAGE)
    })
}
