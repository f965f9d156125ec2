//! Presets: rules that come with knobgate, for policies to include.
//!
//! ```
//! use knobgate_policy::{CheckOptions, Source, parse, presets};
//!
//! let preset = presets::find("docker-runtime").unwrap();
//! assert_eq!(preset.to_string(), "docker-runtime@1");
//!
//! let text = "policy web\ninclude preset \"docker-runtime@1\"\n";
//! let file = parse(Source::new("web.knob", text), &CheckOptions::default())?;
//! assert!(!file.policy().rules().is_empty());
//! # Ok::<(), knobgate_policy::ParseError>(())
//! ```

use std::fmt;

use crate::did_you_mean::did_you_mean;
use crate::{Diagnostic, Span};

/// Rules under a name. What one version of it means does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    name: &'static str,
    version: u32,
    summary: &'static str,
    text: &'static str,
}

/// By name, and the versions of one name in their order.
static PRESETS: &[Preset] = &[
    Preset {
        name: "docker-default",
        version: 1,
        summary: "allow writes of the knobs that `docker run --sysctl` sets",
        text: include_str!("../presets/docker-default@1.knob"),
    },
    Preset {
        name: "docker-runtime",
        version: 1,
        summary: "allow what container engines write themselves while they start a container",
        text: include_str!("../presets/docker-runtime@1.knob"),
    },
    Preset {
        name: "host-knobs",
        version: 1,
        summary: "deny writes of the knobs that the whole machine has one of",
        text: include_str!("../presets/host-knobs@1.knob"),
    },
    Preset {
        name: "kubernetes-safe",
        version: 1,
        summary: "allow writes of the knobs that the kubelet lets pods set",
        text: include_str!("../presets/kubernetes-safe@1.knob"),
    },
    Preset {
        name: "node-bounds",
        version: 1,
        summary: "deny values with which knobs exhaust a machine's memory",
        text: include_str!("../presets/node-bounds@1.knob"),
    },
    Preset {
        name: "usermode-helpers",
        version: 1,
        summary: "deny writes of the knobs that name programs for the kernel to run as root",
        text: include_str!("../presets/usermode-helpers@1.knob"),
    },
];

impl Preset {
    /// Its name, without the version.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its version, from 1.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What it does, in one line.
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// Its whole text: rules, and then tests.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// The part of its text that policies include: all of it but the tests. These hold for the preset alone, and an earlier rule of
    /// the policy may well decide otherwise.
    pub fn rules(&self) -> &'static str {
        let end = self.text.find("\ntest ").map_or(self.text.len(), |newline| newline + 1);
        &self.text[..end]
    }
}

/// `name@version`
impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// All presets in all versions, by name.
pub fn all() -> &'static [Preset] {
    PRESETS
}

/// The preset with this name: `NAME@VERSION`, or `NAME` for its latest version.
pub fn find(name: &str) -> Option<&'static Preset> {
    match name.contains('@') {
        true => PRESETS.iter().find(|preset| preset.to_string() == name),
        false => PRESETS.iter().rfind(|preset| preset.name == name),
    }
}

/// The preset that is called `NAME@VERSION`.
///
/// # Errors
/// A name without a version, or one that no preset has.
pub fn named(name: &str) -> Result<&'static Preset, NoPreset> {
    let (base, _) = name.split_once('@').unwrap_or((name, ""));
    if let Some(preset) = find(name).filter(|_| name.contains('@')) {
        return Ok(preset);
    }
    let near = find(base).or_else(|| {
        let near = did_you_mean(base, PRESETS.iter().map(|preset| preset.name))?;
        find(near)
    });
    Err(NoPreset { name: name.to_owned(), near })
}

/// No preset has this name and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPreset {
    name: String,
    near: Option<&'static Preset>,
}

impl NoPreset {
    /// The preset that may have been meant.
    pub fn near(&self) -> Option<&'static Preset> {
        self.near
    }

    /// The error about the name at `span`, which is between quotes.
    pub(crate) fn diagnostic(&self, span: Span) -> Diagnostic {
        let error = Diagnostic::error("unknown-preset", span, self.to_string());
        match self.near {
            Some(near) => error.help(format!("did you mean `{near}`?")).suggest(span, format!("\"{near}\"")),
            None => error.help("`knobgate presets` lists them"),
        }
    }
}

impl fmt::Display for NoPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, near } = self;
        match near {
            Some(near) if near.name == name => write!(f, "the preset `{name}` is named without a version"),
            _ => write!(f, "there is no preset `{name}`"),
        }
    }
}

impl std::error::Error for NoPreset {}
