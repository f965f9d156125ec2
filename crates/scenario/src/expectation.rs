//! What the line of a step is expected to be.

use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bytes::{Bytes, Hex};
use crate::kernel_range::{KernelRange, KernelVersion};
use crate::line::{Details, Line};

/// What the line of a step is expected to be: the members that are given. Members that are not given are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectationDocument {
    /// The kernels that it is for; absent, all.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub kernels: Option<KernelRange>,
    /// Whether the step succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub ok: Option<bool>,
    /// The name of the error, or its number as a string if it has no name; null: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub errno: Option<Option<String>>,
    /// Of a program that is rejected: a part of why, in the words of `log` in the line.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub log: Option<String>,
    /// The names of the programs that run for the cgroup, in this order.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub programs: Option<Vec<String>>,
    /// What the system call returns.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub ret: Option<i64>,
    /// What is read; null: nothing, since it fails or is a write.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub data: Option<Option<Bytes>>,
    /// The position of the descriptor afterwards; null: there is no descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub pos: Option<Option<i64>>,
    /// The value of the knob afterwards; null: it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub value: Option<Option<Bytes>>,
    /// The entries of the map.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub entries: Option<Vec<(Hex, Hex)>>,
}

/// A member that is given, of which null is a value or an error.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The expectations of a step: of those that are for the kernel, the first one counts. In JSON, an array, or if there is one,
/// the expectation itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expectations(pub Vec<ExpectationDocument>);

impl Expectations {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that counts on this kernel.
    pub(crate) fn on(&self, kernel: KernelVersion) -> Option<&ExpectationDocument> {
        let is_for = |expectation: &&ExpectationDocument| {
            expectation.kernels.as_ref().is_none_or(|range| range.contains(kernel))
        };
        self.0.iter().find(is_for).filter(|expectation| expectation.compares())
    }
}

/// The outcome of comparing a line with what the step expects.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The step expects nothing.
    Unchecked,
    /// It expects nothing on this kernel.
    OtherKernel,
    /// The line is as expected.
    Passed,
    /// It is not. Each of the mismatches is one.
    Failed(Vec<Mismatch>),
    /// There is nothing to compare, because a program is not modelled: this says what.
    NotModelled(String),
}

/// A member of a line that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// Its name, such as `errno` or `entries[1]`.
    pub member: String,
    /// What is expected, as JSON; `None`: nothing.
    pub expected: Option<String>,
    /// What the line has, as JSON; `None`: nothing.
    pub found: Option<String>,
}

/// The members that can be compared, in the order of the lines.
const MEMBERS: [&str; 9] = ["ok", "errno", "log", "programs", "ret", "data", "pos", "value", "entries"];

impl ExpectationDocument {
    /// Whether it compares anything.
    pub(crate) fn compares(&self) -> bool {
        *self != Self { kernels: self.kernels.clone(), ..Self::default() }
    }

    /// Each given member, with its value as JSON.
    pub(crate) fn given(&self) -> Vec<(&'static str, Value)> {
        let Ok(Value::Object(mut values)) = serde_json::to_value(self) else { return Vec::new() };
        MEMBERS.into_iter().filter_map(|member| Some((member, values.remove(member)?))).collect()
    }

    /// The outcome for this line.
    pub(crate) fn compare(&self, line: &Line) -> Outcome {
        let Ok(Value::Object(found)) = serde_json::to_value(line) else { return Outcome::Unchecked };
        let unexpected = |member: &str, text: &str| {
            let found = Some(Value::from(text).to_string());
            Outcome::Failed(vec![Mismatch { member: member.to_owned(), expected: None, found }])
        };
        match &line.details {
            Details::Fault { fault } => return unexpected("fault", fault),
            Details::Crash { crash } => return unexpected("crash", crash),
            Details::NotModelled { not_modelled } => {
                return Outcome::NotModelled(format!("not modelled: {not_modelled}"));
            }
            Details::Skipped { skipped } => return Outcome::NotModelled(format!("not modelled: {skipped}")),
            _ => {}
        }
        let mut mismatches = Vec::new();
        for (member, expected) in self.given() {
            match (&expected, found.get(member)) {
                (Value::String(part), Some(Value::String(log))) if member == "log" && log.contains(part) => {}
                (Value::Array(expected), Some(Value::Array(found))) => {
                    mismatches.extend(elements(member, expected, found));
                }
                (expected, Some(found)) if *found == *expected => {}
                (expected, found) => mismatches.push(Mismatch {
                    member: member.to_owned(),
                    expected: Some(expected.to_string()),
                    found: found.map(Value::to_string),
                }),
            }
        }
        if mismatches.is_empty() {
            return Outcome::Passed;
        }
        if let (Details::Rejected { log }, None) = (&line.details, &self.log) {
            // Why it is so.
            let found = Some(Value::from(&**log).to_string());
            mismatches.push(Mismatch { member: "log".to_owned(), expected: None, found });
        }
        Outcome::Failed(mismatches)
    }
}

/// The elements that differ, by their places.
fn elements(member: &str, expected: &[Value], found: &[Value]) -> Vec<Mismatch> {
    let places = 0..expected.len().max(found.len());
    let differing = places.filter(|&place| expected.get(place) != found.get(place));
    let mismatch = |place: usize| Mismatch {
        member: format!("{member}[{place}]"),
        expected: expected.get(place).map(Value::to_string),
        found: found.get(place).map(Value::to_string),
    };
    differing.map(mismatch).collect()
}

impl Serialize for Expectations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => one.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Expectations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Expectations;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an expectation, or an array of them")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expectations, A::Error> {
                let one = ExpectationDocument::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Expectations(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Expectations, A::Error> {
                match Vec::deserialize(SeqAccessDeserializer::new(seq))? {
                    all if all.is_empty() => Err(A::Error::invalid_length(0, &self)),
                    all => Ok(Expectations(all)),
                }
            }
        }

        deserializer.deserialize_any(OneOrMore)
    }
}

impl JsonSchema for Expectations {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expectations".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<ExpectationDocument>();
        schemars::json_schema!({
            "description": "What the line of the step is expected to be. Of several, the first one counts that is for the kernel.",
            "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }],
        })
    }
}
