//! Reading a scenario, and the files that it names.

use std::path::{Path, PathBuf};

use knobgate_scenario::{LinkFor, Scenario};

use crate::failure::Failure;
use crate::limited;
use crate::policy_file;

/// A file with a scenario.
#[derive(Debug)]
pub(super) struct ScenarioFile {
    /// Its name in messages.
    pub(super) name: String,
    /// The scenario, or what is wrong with it.
    pub(super) scenario: Result<Scenario, Vec<Failure>>,
    /// The file itself, and those that the scenario names.
    pub(super) files: Vec<PathBuf>,
}

impl ScenarioFile {
    /// Reads a scenario.
    pub(super) fn read(path: &Path, link_for: LinkFor<'_>) -> Self {
        let name = policy_file::name(path);
        let mut files = vec![path.to_owned()];
        let scenario = parse(path, &name, link_for, &mut files);
        Self { name, scenario, files }
    }

    /// What the paths in the scenario are relative to.
    pub(super) fn directory(&self) -> PathBuf {
        self.files.first().map(|path| directory_of(path).to_owned()).unwrap_or_default()
    }
}

/// What the paths in a scenario are relative to.
fn directory_of(scenario: &Path) -> &Path {
    scenario.parent().unwrap_or(Path::new(""))
}

fn parse(
    path: &Path,
    name: &str,
    link_for: LinkFor<'_>,
    files: &mut Vec<PathBuf>,
) -> Result<Scenario, Vec<Failure>> {
    let cannot_read = |error| vec![Failure::usage(format!("cannot read {name}")).because(error)];
    let bytes = limited::read(path, Scenario::TEXT_MAX).map_err(cannot_read)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| vec![Failure::usage(format!("cannot read {name}: it is not UTF-8"))])?;
    let directory = directory_of(path);
    let mut read = |file: &str| {
        let path = directory.join(file);
        files.push(path.clone());
        limited::read_file(&path, Scenario::FILE_MAX)
    };
    Scenario::parse_for(&text, &mut read, link_for)
        .map_err(|errors| errors.into_iter().map(|error| Failure::bad(format!("{name}: {error}"))).collect())
}
