//! From a document to a scenario in which all that is referred to is there.

mod setting;
mod steps;

use std::io;

use knobgate_hook::WritesStrict;

use crate::document::Document;
use crate::error::{Findings, Path, ScenarioError};
use crate::scenario::Scenario;

impl Document {
    /// Reads a document; whether it makes sense is for [`Scenario::check`].
    ///
    /// # Errors
    ///
    /// The first thing that is not of the form of a scenario.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        if text.len() > Scenario::TEXT_MAX {
            let message = format!("a scenario has at most {} MiB", Scenario::TEXT_MAX >> 20);
            return Err(ScenarioError { path: String::new(), message, place: None });
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = serde_path_to_error::deserialize(&mut deserializer);
        let (path, error) = match read {
            Ok(document) => match deserializer.end() {
                Ok(()) => return Ok(document),
                Err(error) => (String::new(), error),
            },
            Err(error) => (error.path().to_string(), error.into_inner()),
        };
        let place = (error.line(), error.column());
        let message = error.to_string();
        let told = format!(" at line {} column {}", place.0, place.1);
        Err(ScenarioError {
            path: if path == "." { String::new() } else { path },
            message: message.strip_suffix(&told).unwrap_or(&message).to_owned(),
            place: (place.0 > 0).then_some((place.0, place.1.max(1))),
        })
    }
}

/// The scenario of a document, of which `text` is the text if there is one.
pub(crate) fn check(
    document: &Document,
    read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
    text: Option<&str>,
) -> Result<Scenario, Vec<ScenarioError>> {
    let mut findings = Findings::default();
    let profile = document
        .profile
        .as_ref()
        .and_then(|name| findings.ok(&Path::of("profile"), name.parse().map_err(|error| format!("{error}"))));
    let strict = match document.sysctl_writes_strict {
        None | Some(1) => WritesStrict::Strict,
        Some(0) => WritesStrict::Warn,
        Some(-1) => WritesStrict::Legacy,
        Some(other) => {
            let message = format!("{other} is no value of this knob; it takes -1, 0 and 1");
            findings.add(&Path::of("sysctl_writes_strict"), message);
            WritesStrict::Strict
        }
    };
    let knobs = setting::knobs(document, &profile.unwrap_or_default(), &mut findings);
    let mut maps = setting::maps(document, &mut findings);
    let programs = setting::programs(document, &mut maps, read, &mut findings);
    setting::check_memory(&maps, &mut findings);
    let (cgroups, paths) = setting::cgroups(document, &mut findings);
    let names = steps::Names::of(document, &programs, &paths);
    let steps::Checked { steps, attachments, files } = steps::check(&document.steps, &names, &mut findings);
    findings.finish(text)?;
    Ok(Scenario { profile, strict, knobs, maps, programs, cgroups, attachments, files, steps })
}
