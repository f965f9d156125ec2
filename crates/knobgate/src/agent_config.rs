//! The configuration of the agent: what an administrator says about policies that come from elsewhere.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use knobgate_policy::selector::Selector;
use knobgate_policy::{Mode, Source};
use serde::Deserialize;
use toml::Spanned;

use crate::container_error::ContainerError;
use crate::container_policies::{is_absent, read_limited};

/// The largest file, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct AgentConfig {
    bindings: Vec<Binding>,
}

/// What it says about a policy.
#[derive(Debug)]
pub(crate) struct Binding {
    path: PathBuf,
    line: usize,
    name: String,
    mode: Option<Mode>,
    /// Instead of those of the policy.
    apply_if: Option<Vec<Selector>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    policy: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    name: Spanned<String>,
    #[serde(default)]
    apply_if: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    mode: Option<ModeName>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    Audit,
    Enforce,
}

impl AgentConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ContainerError::Read`], [`TooLarge`](ContainerError::TooLarge), [`Line`](ContainerError::Line).
    pub(crate) fn read(path: &Path) -> Result<Self, ContainerError> {
        let bytes = read_limited(path, BYTES_MAX)?;
        let Ok(text) = str::from_utf8(&bytes) else {
            let what = "the file is not UTF-8 from here on".to_owned();
            let line = 1 + bytes.utf8_chunks().next().map_or(0, |chunk| chunk.valid().matches('\n').count());
            return Err(ContainerError::Line { path: path.to_owned(), line, what });
        };
        Self::parse(path, text)
    }

    /// The same; if there is no such file, it says nothing.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn read_if_there(path: &Path) -> Result<Self, ContainerError> {
        match Self::read(path) {
            Err(ContainerError::Read { source, .. })
                if source.kind() == ErrorKind::NotFound && is_absent(path) =>
            {
                Ok(Self::default())
            }
            read => read,
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ContainerError> {
        let line =
            |at: Range<usize>| 1 + text.get(..at.start).map_or(0, |before| before.matches('\n').count());
        let wrong = |at: Range<usize>, what: String| ContainerError::Line {
            path: path.to_owned(),
            line: line(at),
            what,
        };
        let File { policy } = toml::from_str(text).map_err(|error| {
            let what = error.message().lines().collect::<Vec<_>>().join(" ");
            wrong(error.span().unwrap_or_default(), what)
        })?;
        let mut bindings: Vec<Binding> = Vec::new();
        for Table { name, apply_if, mode } in policy {
            let span = name.span();
            if bindings.iter().any(|other| other.name == *name.get_ref()) {
                let what = format!("the policy \"{}\" is bound twice", name.get_ref().escape_debug());
                return Err(wrong(span, what));
            }
            let selector = |condition: Spanned<String>| {
                let span = condition.span();
                Selector::parse(Source::new("apply-if", condition.into_inner()))
                    .map_err(|error| wrong(span, error.to_string()))
            };
            let apply_if = apply_if.map(|all| all.into_iter().map(selector).collect::<Result<_, _>>());
            bindings.push(Binding {
                path: path.to_owned(),
                line: line(span),
                name: name.into_inner(),
                mode: mode.map(|mode| match mode {
                    ModeName::Audit => Mode::Audit,
                    ModeName::Enforce => Mode::Enforce,
                }),
                apply_if: apply_if.transpose()?,
            });
        }
        Ok(Self { bindings })
    }

    /// What it says about each policy.
    pub(crate) fn into_bindings(self) -> Vec<Binding> {
        self.bindings
    }
}

impl Binding {
    /// The name of the policy.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The mode, and to which containers it applies, as far as it says so.
    pub(crate) fn into_parts(self) -> (Option<Mode>, Option<Vec<Selector>>) {
        (self.mode, self.apply_if)
    }

    /// The error that there is no such policy.
    pub(crate) fn without_policy<'a>(
        &self,
        directory: &Path,
        policies: impl Iterator<Item = &'a str>,
    ) -> ContainerError {
        let there: Vec<_> = policies.collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        let what = format!(
            "there is no policy \"{}\" in {} (there is: {there})",
            self.name.escape_debug(),
            directory.display()
        );
        ContainerError::Line { path: self.path.clone(), line: self.line, what }
    }
}
