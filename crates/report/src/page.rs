//! The page: one HTML document that needs nothing else.

mod data;
mod html;
mod policy;
mod ranked;
mod static_parts;

use std::io::{self, Write};
use std::time::SystemTime;

use crate::report::Report;

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// What a report does not know about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// The names of the streams.
    pub sources: Vec<String>,
    /// The filter that the events passed.
    pub filter: Option<String>,
    /// When the page is made.
    pub made: Option<SystemTime>,
}

/// Writes the page.
///
/// # Errors
/// `output` cannot be written.
pub fn write_page(report: &Report, head: &Head, mut output: impl Write) -> io::Result<()> {
    // Nothing looks for names of parts in what was put in.
    for (index, piece) in TEMPLATE.split("{{").enumerate() {
        let (part, rest) = piece.split_once("}}").filter(|_| index > 0).unwrap_or(("", piece));
        match part {
            "" => {}
            "policy" => output.write_all(policy::content(SCRIPT, STYLE).as_bytes())?,
            "style" => output.write_all(STYLE.as_bytes())?,
            "script" => output.write_all(SCRIPT.as_bytes())?,
            "data" => data::write(report, &mut output)?,
            part => output.write_all(static_parts::part(part, report, head).as_bytes())?,
        }
        output.write_all(rest.as_bytes())?;
    }
    output.flush()
}
