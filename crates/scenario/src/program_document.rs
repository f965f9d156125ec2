//! The format of a program. The doc comments are the descriptions in the published schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::Hex;
use crate::unique;
use crate::variable_value::VariableValue;

/// One program: instructions, an ELF object's, or a policy's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(deny_unknown_fields)]
pub enum ProgramDocument {
    /// Instructions.
    Insns {
        /// Eight bytes each. The immediate of a 64-bit load of a map or of an address in its value (source field 1 or 2) is
        /// an index into `maps`.
        insns: Hex,
        /// The expected attach type; absent, 18, `BPF_CGROUP_SYSCTL`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected_attach_type: Option<u32>,
    },
    /// A program of an ELF object.
    Object {
        /// The file, relative to that of the scenario.
        object: String,
        /// The program's name; absent, the only program.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
        /// What variables of the object start with, constants among them, by name. Programs of an object share its maps if they
        /// set the same.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        set: BTreeMap<String, VariableValue>,
        /// The initial contents of its maps, by name: keys with their values. Programs of the same object share them.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        contents: BTreeMap<String, Vec<(Hex, Hex)>>,
    },
    /// A compiled policy.
    Policy {
        /// The file, relative to that of the scenario.
        policy: String,
    },
}

/// `ProgramDocument` as it is parsed: its fields determine the kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramFields {
    insns: Option<Hex>,
    expected_attach_type: Option<u32>,
    object: Option<String>,
    program: Option<String>,
    #[serde(default, deserialize_with = "unique::map")]
    contents: BTreeMap<String, Vec<(Hex, Hex)>>,
    policy: Option<String>,
    #[serde(default, deserialize_with = "unique::map")]
    set: BTreeMap<String, VariableValue>,
}

impl<'de> Deserialize<'de> for ProgramDocument {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = |what| Err(serde::de::Error::custom(what));
        match ProgramFields::deserialize(deserializer)? {
            ProgramFields {
                insns: Some(insns),
                expected_attach_type,
                object: None,
                program: None,
                contents,
                policy: None,
                set,
            } if set.is_empty() && contents.is_empty() => Ok(Self::Insns { insns, expected_attach_type }),
            ProgramFields {
                insns: None,
                expected_attach_type: None,
                object: Some(object),
                program,
                contents,
                policy: None,
                set,
            } => Ok(Self::Object { object, program, set, contents }),
            ProgramFields {
                insns: None,
                expected_attach_type: None,
                object: None,
                program: None,
                contents,
                policy: Some(policy),
                set,
            } if set.is_empty() && contents.is_empty() => Ok(Self::Policy { policy }),
            ProgramFields { insns: None, object: None, policy: None, .. } => {
                wrong("a program has exactly one of the fields `insns`, `object` and `policy`")
            }
            _ => wrong(
                "these fields do not go together: a program is `insns` with or without `expected_attach_type`, or \
                 `object` with or without `program`, `set` and `contents`, or `policy`",
            ),
        }
    }
}
