//! Checks a document, and resolves its references.

mod cgroups;
mod expectations;
mod setting;
mod steps;

use std::{fmt, io};

use knobgate_bpf::TargetKernel;
use knobgate_hook::{KernelBtf, WritesStrict};

use crate::document::Document;
use crate::error::{Findings, ScenarioError};
use crate::locate;
use crate::object_only::object_only;
use crate::path::Path;
use crate::scenario::Scenario;

impl Document {
    /// Parses a document; [`Scenario::check`] checks its meaning.
    ///
    /// # Errors
    ///
    /// The first error in the form of the scenario.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        if text.len() > Scenario::TEXT_MAX {
            let message = format!("a scenario has at most {} MiB", Scenario::TEXT_MAX >> 20);
            return Err(ScenarioError { path: String::new(), message, place: None });
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
        let read = object_only(tracked, "a scenario: an object with `steps`");
        let (path, error) = match read {
            Ok(document) => match deserializer.end() {
                Ok(()) => return Ok(document),
                Err(error) => (String::new(), error),
            },
            Err(error) => (track.path().to_string(), error),
        };
        let place = (error.line(), error.column());
        let message = error.to_string();
        let suffix = format!(" at line {} column {}", place.0, place.1);
        Err(ScenarioError {
            path: if path == "." { String::new() } else { path },
            message: message.strip_suffix(&suffix).unwrap_or(&message).to_owned(),
            place: (place.0 > 0).then_some((place.0, place.1.max(1))),
        })
    }
}

impl Scenario {
    /// Reads and checks a scenario in JSON. `read` returns the files of policies and objects that it names.
    ///
    /// # Errors
    ///
    /// The first error in its form, or else all errors.
    pub fn parse(
        text: &str,
        read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Self, Vec<ScenarioError>> {
        let document = Document::parse(text).map_err(|error| vec![error])?;
        check(&document, read, Some(text), LinkFor::Model(None))
    }

    /// The same; `link_for` says which kernel the programs of objects are linked for.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn parse_for(
        text: &str,
        read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
        link_for: LinkFor<'_>,
    ) -> Result<Self, Vec<ScenarioError>> {
        let document = Document::parse(text).map_err(|error| vec![error])?;
        check(&document, read, Some(text), link_for)
    }

    /// Checks a scenario. `read` returns the files of policies and objects that it names.
    ///
    /// # Errors
    ///
    /// All errors.
    pub fn check(
        document: &Document,
        read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Self, Vec<ScenarioError>> {
        check(document, read, None, LinkFor::Model(None))
    }

    /// The same; `link_for` says which kernel the programs of objects are linked for.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn check_for(
        document: &Document,
        read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
        link_for: LinkFor<'_>,
    ) -> Result<Self, Vec<ScenarioError>> {
        check(document, read, None, link_for)
    }
}

/// What the programs of objects are linked for.
#[derive(Clone, Copy)]
pub enum LinkFor<'a> {
    /// The model, with these types if there are any, and otherwise those that the scenario names.
    Model(Option<&'a KernelBtf>),
    /// A kernel.
    Kernel(&'a dyn TargetKernel),
}

impl fmt::Debug for LinkFor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(btf) => f.debug_tuple("Model").field(btf).finish(),
            Self::Kernel(kernel) => f.debug_tuple("Kernel").field(&format_args!("{kernel}")).finish(),
        }
    }
}

/// The scenario of a document; `text` is its text, if there is one.
fn check(
    document: &Document,
    read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
    text: Option<&str>,
    link_for: LinkFor<'_>,
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
            let message = format!("{other} is not a value of this knob; the values are -1, 0 and 1");
            findings.add(&Path::of("sysctl_writes_strict"), message);
            WritesStrict::Strict
        }
    };
    let knobs = setting::knobs(document, &profile.unwrap_or_default(), &mut findings);
    let mut maps = setting::maps(document, &mut findings);
    let own_maps = maps.len();
    let model = setting::kernel(document, profile.unwrap_or_default(), &mut findings);
    let model = match link_for {
        LinkFor::Model(None) => setting::with_btf(model, document, read, &mut findings),
        LinkFor::Model(Some(btf)) => model.btf(btf.clone()),
        LinkFor::Kernel(_) => model,
    };
    let kernel = if let LinkFor::Kernel(kernel) = link_for { kernel } else { &model };
    let programs = setting::programs(document, &mut maps, read, kernel, &mut findings);
    setting::check_memory(&maps, &mut findings);
    let (cgroups, paths) = cgroups::cgroups(document, &mut findings);
    let processes = cgroups::processes(document, &paths, &mut findings);
    let names = steps::Names::of(document, own_maps, &programs, &paths);
    let steps::Checked { steps, attachments, files, .. } =
        steps::check(&document.steps, &names, &knobs, &mut findings);
    let own_maps = names.own_maps;
    findings.finish(text)?;
    let expectations = document.steps.iter().map(|step| step.expect.clone()).collect();
    let places = text.map(|text| locate::elements(text, "steps")).unwrap_or_default();
    Ok(Scenario {
        profile,
        strict,
        knobs,
        maps,
        programs,
        own_maps,
        #[cfg(feature = "kernel")]
        is_for_model: !kernel.has_code(),
        cgroups,
        attachments,
        files,
        processes,
        steps,
        expectations,
        places,
    })
}
