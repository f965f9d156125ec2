//! JUnit XML.

use std::io;

use quick_junit::Report;

use crate::failure::Failure;

/// The document.
///
/// # Errors
/// [`Failure::Output`]; this should not happen.
pub(crate) fn document(report: &Report) -> Result<Vec<u8>, Failure> {
    let mut document = Vec::new();
    report.serialize(&mut document).map_err(|error| Failure::Output(io::Error::other(error)))?;
    Ok(document)
}
