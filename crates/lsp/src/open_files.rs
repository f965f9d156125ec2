//! Included files: the client's text of those that are open, and else what is on the disk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use gen_lsp_types::Uri;
use knobgate_policy::{IncludeError, IncludeLoader, IncludedText};

use crate::documents::Documents;
use crate::environment::Environment;
use crate::uri;

/// Loads what the policy at a path includes, and notes what it was.
#[derive(Debug)]
pub(crate) struct OpenFiles<'a> {
    policy: &'a Path,
    documents: &'a Documents,
    environment: &'a dyn Environment,
    disk: Box<dyn IncludeLoader>,
    /// By the names in messages.
    loaded: RefCell<HashMap<String, Uri>>,
}

impl<'a> OpenFiles<'a> {
    pub(crate) fn new(policy: &'a Path, documents: &'a Documents, environment: &'a dyn Environment) -> Self {
        let (disk, loaded) = (environment.files(policy), RefCell::default());
        Self { policy, documents, environment, disk, loaded }
    }

    /// The files that were included, by their names in messages.
    pub(crate) fn into_loaded(self) -> HashMap<String, Uri> {
        self.loaded.into_inner()
    }
}

impl IncludeLoader for OpenFiles<'_> {
    fn policy_id(&self) -> Option<PathBuf> {
        self.disk.policy_id().or_else(|| Some(self.policy.to_owned()))
    }

    fn load(&self, name: &str, from: Option<&Path>, most: usize) -> Result<IncludedText, IncludeError> {
        let path = path(self.policy, name, from);
        let Some(open) = self.documents.at_path(&path, self.environment) else {
            let text = self.disk.load(name, from, most)?;
            let uri = uri_of(&text.path, self.environment);
            self.loaded.borrow_mut().insert(text.name.clone(), uri);
            return Ok(text);
        };
        let name = path.display().to_string();
        if open.text().len() > most {
            return Err(IncludeError::TooLarge { name });
        }
        self.loaded.borrow_mut().insert(name.clone(), open.uri.clone());
        let id = self.environment.canonical(&path).unwrap_or_else(|| path.clone());
        Ok(IncludedText::new(name, path, open.text()).with_id(id))
    }
}

/// The path of the file that `include "NAME"` names in the file at `from`, or in that of the policy.
pub(crate) fn path(policy: &Path, name: &str, from: Option<&Path>) -> PathBuf {
    from.unwrap_or(policy).parent().unwrap_or(Path::new("")).join(name)
}

/// The URI of the file at `path`, as an editor would name it: without `..`, which may lead through links.
pub(crate) fn uri_of(path: &Path, environment: &dyn Environment) -> Uri {
    let is_plain = path.components().all(|part| !matches!(part, Component::ParentDir));
    let canonical = if is_plain { None } else { environment.canonical(path) };
    // This leaves out each `.`.
    uri::uri_of(&canonical.unwrap_or_else(|| path.components().collect()))
}
