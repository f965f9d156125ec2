//! The result as JSON. The doc comments are the descriptions in the published schema.

use knobgate_events::StreamItem;
use knobgate_events::json::to_json;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{ComparedKnob, Drift, Explains, Running, State, Write};

/// What sysctl.d files set, compared with the knobs of a machine. Lines count from 1. Later versions may add members.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "knobgate drift")]
pub struct DriftDocument {
    /// How many knobs are in each state.
    counts: CountsDocument,
    /// The knobs that are configured, by name.
    knobs: Vec<KnobDocument>,
    /// The settings whose glob matches no knob of this machine.
    unmatched: Vec<UnmatchedGlob>,
    /// How many events were left out because they are of another boot of the machine.
    events_of_other_boots: u64,
}

impl DriftDocument {
    /// `drift` as JSON, with the globs that match nothing.
    pub fn new(drift: &Drift, unmatched: Vec<UnmatchedGlob>) -> Self {
        Self {
            counts: CountsDocument {
                same: drift.count(State::Same),
                differs: drift.count(State::Differs),
                no_such_knob: drift.count(State::NoSuchKnob),
                write_only: drift.count(State::WriteOnly),
                unreadable: drift.count(State::Unreadable),
                secret: drift.count(State::Secret),
            },
            knobs: drift.knobs().iter().map(KnobDocument::from).collect(),
            unmatched,
            events_of_other_boots: drift.of_other_boots(),
        }
    }
}

/// The JSON schema of the result.
pub fn json_schema() -> schemars::Schema {
    schemars::schema_for!(DriftDocument)
}

/// A setting whose glob matches no knob of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UnmatchedGlob {
    /// The glob, in the notation of policies.
    pub glob: String,
    /// The name of the file.
    pub file: String,
    /// The line.
    pub line: usize,
}

/// How many knobs are in each state.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct CountsDocument {
    same: usize,
    differs: usize,
    no_such_knob: usize,
    write_only: usize,
    unreadable: usize,
    secret: usize,
}

/// A configured knob.
#[derive(Debug, Serialize, JsonSchema)]
struct KnobDocument {
    /// Its name.
    knob: String,
    /// How it compares.
    state: StateDocument,
    /// The file with the line that counts.
    file: String,
    /// That line.
    line: usize,
    /// The glob of the line, in the notation of policies; null if it names the knob.
    glob: Option<String>,
    /// Whether the line begins with `-`.
    ignores_errors: bool,
    /// The configured value; null if it is secret.
    configured: Option<String>,
    /// The running value, as the knob prints it; null if it was not read.
    running: Option<BytesDocument>,
    /// Why the knob cannot be read; null unless the state is `unreadable`.
    error: Option<String>,
    /// The last write that passed or may have, as far as events say; null unless the state is `differs`.
    written: Option<WriteDocument>,
    /// An earlier write that explains the running value; null if the last one does.
    explained_by: Option<WriteDocument>,
    /// The event of a later write of the configured value that was denied, as schemas/events.schema.json describes it.
    denied: Option<Value>,
}

/// How a knob compares.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum StateDocument {
    /// The running value is what the file sets.
    Same,
    /// It is not.
    Differs,
    /// There is no such knob on this machine.
    NoSuchKnob,
    /// Nobody can read it.
    WriteOnly,
    /// It cannot be read.
    Unreadable,
    /// Its values are secret, and were neither read nor compared.
    Secret,
}

/// A write.
#[derive(Debug, Serialize, JsonSchema)]
struct WriteDocument {
    /// Whether the running value is the one that it wrote; null if that was not recorded, or it is not known whether it passed.
    explains: Option<bool>,
    /// Whether it wrote this knob, and not that of another namespace; null if that is not known.
    here: Option<bool>,
    /// Its event, as schemas/events.schema.json describes it.
    event: Option<Value>,
}

/// Bytes: a string, or hexadecimal for what is not UTF-8.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum BytesDocument {
    /// UTF-8.
    Utf8(String),
    /// Any bytes.
    Hex {
        /// Two digits for each.
        hex: String,
    },
}

impl From<&ComparedKnob> for KnobDocument {
    fn from(knob: &ComparedKnob) -> Self {
        let configured = knob.configured();
        let (running, error) = match knob.running() {
            Some(Running::Value(value)) => (Some(value.as_slice().into()), None),
            Some(Running::Unreadable(error)) => (None, Some(error.clone())),
            Some(Running::NoSuchKnob | Running::WriteOnly) | None => (None, None),
        };
        let writes = knob.writes();
        Self {
            knob: configured.knob.to_string(),
            state: knob.state().into(),
            file: configured.file.clone(),
            line: configured.line,
            glob: configured.glob.clone(),
            ignores_errors: configured.ignores_errors,
            configured: knob.configured_value().map(ToOwned::to_owned),
            running,
            error,
            written: writes.last.as_ref().map(|write| WriteDocument::new(write, knob)),
            explained_by: writes.explaining.as_ref().map(|write| WriteDocument::new(write, knob)),
            denied: writes.denied.as_ref().and_then(event),
        }
    }
}

impl From<State> for StateDocument {
    fn from(state: State) -> Self {
        match state {
            State::Same => Self::Same,
            State::Differs => Self::Differs,
            State::NoSuchKnob => Self::NoSuchKnob,
            State::WriteOnly => Self::WriteOnly,
            State::Unreadable => Self::Unreadable,
            State::Secret => Self::Secret,
        }
    }
}

impl WriteDocument {
    fn new(write: &Write, knob: &ComparedKnob) -> Self {
        let explains = match write.explains {
            Explains::Yes => Some(true),
            Explains::No => Some(false),
            Explains::Unknown | Explains::MayHaveBeenDenied => None,
        };
        let here = write.item.event().and_then(|event| knob.is_accessed_by(&event.event));
        Self { explains, here, event: event(&write.item) }
    }
}

impl From<&[u8]> for BytesDocument {
    fn from(bytes: &[u8]) -> Self {
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        str::from_utf8(bytes).map_or_else(|_| Self::Hex { hex: hex() }, |text| Self::Utf8(text.to_owned()))
    }
}

/// What is written can be read, so there is always one.
fn event(item: &StreamItem) -> Option<Value> {
    serde_json::from_str(&to_json(item)).ok()
}
