//! The format of a step. The doc comments are the descriptions in the published schema.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::{AttachDocument, MoveDocument, ReadDocument, UpdateDocument, WriteDocument};
use crate::expectation::Expectations;
use crate::id::Id;
use crate::object_only::object_only;

/// One step: an action, and what its line is expected to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(extend("unevaluatedProperties" = false))]
pub struct StepDocument {
    /// What it does.
    #[serde(flatten)]
    pub action: ActionDocument,
    /// What its line is expected to be; absent, anything.
    #[serde(default, skip_serializing_if = "Expectations::is_empty")]
    pub expect: Expectations,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActionDocument {
    /// Load this program.
    Load(String),
    /// Attach a program to a cgroup.
    Attach(AttachDocument),
    /// Replace the program of a link.
    Update(UpdateDocument),
    /// Detach the attachment of this id.
    Detach(Id),
    /// List the programs that run for this cgroup.
    Effective(String),
    /// Read a knob.
    Read(ReadDocument),
    /// Write a knob.
    Write(WriteDocument),
    /// List the entries of this map.
    Map(String),
    /// Move a process into another cgroup.
    Move(MoveDocument),
}

impl ActionDocument {
    /// The member that it is in.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Load(_) => "load",
            Self::Attach(_) => "attach",
            Self::Update(_) => "update",
            Self::Detach(_) => "detach",
            Self::Effective(_) => "effective",
            Self::Read(_) => "read",
            Self::Write(_) => "write",
            Self::Map(_) => "map",
            Self::Move(_) => "move",
        }
    }
}

impl From<ActionDocument> for StepDocument {
    /// A step that expects nothing.
    fn from(action: ActionDocument) -> Self {
        Self { action, expect: Expectations::default() }
    }
}

/// `StepDocument` as it is parsed: one of its members is the action.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFields {
    load: Option<String>,
    attach: Option<AttachDocument>,
    update: Option<UpdateDocument>,
    detach: Option<Id>,
    effective: Option<String>,
    read: Option<ReadDocument>,
    write: Option<WriteDocument>,
    map: Option<String>,
    #[serde(rename = "move")]
    moved: Option<MoveDocument>,
    #[serde(default)]
    expect: Expectations,
}

impl<'de> Deserialize<'de> for StepDocument {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let StepFields { load, attach, update, detach, effective, read, write, map, moved, expect } =
            object_only(deserializer, "a step: an object with its action")?;
        let actions = [
            load.map(ActionDocument::Load),
            attach.map(ActionDocument::Attach),
            update.map(ActionDocument::Update),
            detach.map(ActionDocument::Detach),
            effective.map(ActionDocument::Effective),
            read.map(ActionDocument::Read),
            write.map(ActionDocument::Write),
            map.map(ActionDocument::Map),
            moved.map(ActionDocument::Move),
        ];
        let mut actions = actions.into_iter().flatten();
        match (actions.next(), actions.next()) {
            (Some(action), None) => Ok(Self { action, expect }),
            _ => Err(serde::de::Error::custom(
                "a step has exactly one of the members `load`, `attach`, `update`, `detach`, `effective`, `read`, `write`, `map` and `move`",
            )),
        }
    }
}
