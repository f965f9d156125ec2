//! The list as JSON. The doc comments are the descriptions in the published schema.

use knobgate_catalogue::{Kernel, Kernels, Knob, Variant, facts, kernels};
use schemars::JsonSchema;
use serde::Serialize;

use super::entry::{Entry, Here, dotted};
use super::machine::ThisMachine;

/// Knobs: what the catalogue knows about them, and where a machine differs. Names have dots, and a component in angle brackets stands
/// for any one component. Later versions may add members.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "knobgate knobs")]
pub(super) struct KnobsDocument {
    /// The kernel of the machine, such as `6.18.44`; absent if nothing is known about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
    /// The series of the kernels that the catalogue was made from, oldest first.
    catalogue: Vec<&'static str>,
    /// The knobs, by name.
    knobs: Vec<KnobDocument>,
}

/// A knob, or all that a pattern matches.
#[derive(Debug, Serialize, JsonSchema)]
struct KnobDocument {
    /// Its name or pattern.
    knob: String,
    /// What the catalogue knows; absent if it does not have it.
    #[serde(flatten)]
    known: Option<KnownDocument>,
    /// The knobs of the machine.
    here: Vec<HereDocument>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct KnownDocument {
    /// What it does.
    summary: &'static str,
    /// The kernels that have it, of those in `catalogue`.
    kernels: Vec<&'static str>,
    /// Whether a kernel like the machine's has it.
    expected: bool,
    /// Whether each write makes the kernel do something, even if the value stays the same.
    acts: bool,
    /// The one way in which the value can change.
    #[serde(skip_serializing_if = "Option::is_none")]
    one_way: Option<&'static str>,
    /// Whether the value is secret.
    secret: bool,
    /// The knob that has the same value.
    #[serde(skip_serializing_if = "Option::is_none")]
    same_as: Option<String>,
    /// Other knobs whose values a write changes.
    also_sets: Vec<String>,
    /// What the kernels' tables say, newest first.
    variants: Vec<VariantDocument>,
}

/// What the tables of some kernels say.
#[derive(Debug, Serialize, JsonSchema)]
struct VariantDocument {
    /// The kernels; none if it is known from the source alone.
    kernels: Vec<&'static str>,
    /// Whose it is: `host`, or the type of namespace that has its own.
    scope: &'static str,
    /// The mode of the file, such as `0644`.
    mode: String,
    /// The function of the kernel that parses and prints the value.
    handler: &'static str,
    /// What that takes, such as `int` or `text`.
    kind: &'static str,
    /// How many numbers, where that is fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    elements: Option<u32>,
    /// How many bytes the value has in the kernel, where that is fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u32>,
    /// The least number that the handler takes, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    least: Option<i128>,
    /// The greatest number that the handler takes, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    greatest: Option<i128>,
}

/// A knob of the machine.
#[derive(Debug, Serialize, JsonSchema)]
struct HereDocument {
    /// Its name.
    knob: String,
    /// The mode of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    /// Where it differs from the catalogue, in words.
    differs: Vec<String>,
}

impl KnobsDocument {
    pub(super) fn of(entries: &[Entry], machine: &ThisMachine) -> Self {
        Self {
            kernel: machine.release().map(str::to_owned),
            catalogue: kernels().iter().map(Kernel::series).collect(),
            knobs: entries.iter().map(KnobDocument::of).collect(),
        }
    }
}

impl KnobDocument {
    fn of(entry: &Entry) -> Self {
        let known = match entry {
            Entry::Known { knob, is_expected, .. } => Some(KnownDocument::of(knob, *is_expected)),
            Entry::Unknown(_) => None,
        };
        Self { knob: entry.name(), known, here: entry.here().iter().map(HereDocument::of).collect() }
    }
}

impl KnownDocument {
    fn of(knob: &'static Knob, expected: bool) -> Self {
        Self {
            summary: knob.summary(),
            kernels: series(knob.kernels()),
            expected,
            acts: knob.acts(),
            one_way: knob.one_way().map(facts::one_way_name),
            secret: knob.is_secret(),
            same_as: knob.alias_of().map(dotted),
            also_sets: knob.reaches().iter().map(|pattern| dotted(pattern)).collect(),
            variants: knob.variants().iter().map(VariantDocument::of).collect(),
        }
    }
}

impl VariantDocument {
    fn of(variant: &'static Variant) -> Self {
        let (least, greatest) = variant.bounds().unzip();
        Self {
            kernels: series(variant.kernels()),
            scope: variant.scope().name(),
            mode: variant.mode().to_string(),
            handler: variant.handler(),
            kind: variant.kind().name(),
            elements: variant.elements(),
            length: variant.length(),
            least,
            greatest,
        }
    }
}

impl HereDocument {
    fn of(here: &Here) -> Self {
        Self {
            knob: here.name.to_string(),
            mode: here.mode.map(|mode| mode.to_string()),
            differs: here.differences.iter().map(ToString::to_string).collect(),
        }
    }
}

fn series(kernels: Kernels) -> Vec<&'static str> {
    kernels.iter().map(Kernel::series).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::selection::Selection;
    use super::*;

    const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/knobs.schema.json");

    fn schema() -> serde_json::Value {
        schemars::schema_for!(KnobsDocument).into()
    }

    #[test]
    fn the_published_schema_is_up_to_date() {
        let schema = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if std::env::var_os("KNOBGATE_UPDATE_SCHEMA").is_some() {
            fs::write(SCHEMA, &schema).unwrap();
        }
        let published = fs::read_to_string(SCHEMA).unwrap_or_default();
        assert!(
            published == schema,
            "schemas/knobs.schema.json is stale: run this test with KNOBGATE_UPDATE_SCHEMA=1"
        );
    }

    #[test]
    fn the_whole_list_matches_the_schema() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let here = ThisMachine::at(PathBuf::from("/proc/sys")).unwrap();
        let nowhere = ThisMachine::unknown(PathBuf::from("/proc/sys"));
        for machine in [here, nowhere] {
            let selection = Selection::of(&[], &machine).unwrap();
            let document = serde_json::to_value(KnobsDocument::of(&selection.entries, &machine)).unwrap();
            if let Err(error) = validator.validate(&document) {
                panic!("{error}");
            }
            assert_eq!(document["knobs"].as_array().unwrap().len(), selection.entries.len());
        }
    }
}
