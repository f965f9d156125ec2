//! `knobgate presets`: list presets, or print one.

use std::process::ExitCode;

use knobgate_policy::presets::{self, Preset};
use serde::Serialize;

use crate::failure::Failure;
use crate::json;
use crate::output::Output;

/// List presets, which policies include, or print one
///
/// A preset is rules that come with knobgate. A policy includes them with `include preset "NAME@VERSION"`; what a version means
/// does not change. The tests at the end of a preset are not included: they show what it does alone.
///
/// Privileges: none.
///
/// Exit status: 0 for success, 2 if there is no such preset.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Presets {
    /// Print this one; without a version, the latest
    #[arg(value_name = "NAME[@VERSION]")]
    name: Option<String>,
    /// Print JSON: one object a line, for each preset
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  knobgate presets
  knobgate presets usermode-helpers
  knobgate presets docker-runtime@1 --json";

#[derive(Serialize)]
struct JsonPreset {
    name: &'static str,
    version: u32,
    summary: &'static str,
    /// Rules and tests; absent in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'static str>,
}

impl Presets {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        match &self.name {
            Some(name) => self.print(find(name)?, output)?,
            None => self.list(output)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self, output: &Output) -> Result<(), Failure> {
        let width = presets::all().iter().map(|preset| preset.to_string().len()).max().unwrap_or_default();
        for preset in presets::all() {
            output.line(if self.json {
                json::line(&JsonPreset::of(preset, None))
            } else {
                format!("{:width$}  {}", preset.to_string(), preset.summary())
            })?;
        }
        Ok(())
    }

    fn print(&self, preset: &Preset, output: &Output) -> Result<(), Failure> {
        if self.json {
            return output.line(json::line(&JsonPreset::of(preset, Some(preset.text()))));
        }
        output.raw(preset.text().as_bytes())
    }
}

impl JsonPreset {
    fn of(preset: &Preset, text: Option<&'static str>) -> Self {
        Self { name: preset.name(), version: preset.version(), summary: preset.summary(), text }
    }
}

fn find(name: &str) -> Result<&'static Preset, Failure> {
    if let Some(preset) = presets::find(name) {
        return Ok(preset);
    }
    let unknown = match presets::named(name) {
        Ok(preset) => return Ok(preset),
        Err(unknown) => unknown,
    };
    let help = match unknown.near() {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`knobgate presets` lists them".to_owned(),
    };
    Err(Failure::usage(unknown.to_string()).because(help))
}
