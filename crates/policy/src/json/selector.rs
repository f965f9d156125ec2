//! Selectors as documents: their shape, and both ways.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::{TextDocument, TextTestDocument};
use super::read::DocumentReader;
use super::write::text;
use crate::selector::{FieldTest, PathGlob, Predicate, Selector, SelectorCondition, SelectorField};
use crate::{Text, TextGlob};

/// A condition on what a container or unit is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SelectorDocument {
    /// All of these hold; two or more.
    All(Vec<SelectorDocument>),
    /// One of these holds; two or more.
    Any(Vec<SelectorDocument>),
    /// This does not hold.
    Not(Box<SelectorDocument>),
    /// The field passes the test.
    Text(FieldTestDocument),
}

/// A test of a field of a container or unit.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldTestDocument {
    /// What is tested.
    operand: SelectorFieldDocument,
    /// The test. Of an engine, only `equals`, `differs` and `in`; in a glob for cgroups, `*` stays in one component.
    test: TextTestDocument,
}

/// A field of a container or unit.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SelectorFieldDocument {
    /// What started it, such as "docker".
    Engine,
    /// The path of its topmost cgroup, from the root of the hierarchy.
    Cgroup,
    /// The systemd unit that contains it.
    Unit,
    /// The name of the container or machine.
    Container,
    /// The name of the pod.
    Pod,
    /// The namespace of Kubernetes, or of containerd.
    Namespace,
    /// The image, with its registry and tag.
    Image,
    /// The label with this key.
    Label(TextDocument),
}

impl DocumentReader {
    pub(super) fn selector(&mut self, document: &SelectorDocument) -> Option<Selector> {
        let condition = self.selector_condition(document)?;
        self.valid(Selector::new(condition))
    }

    fn selector_condition(&mut self, document: &SelectorDocument) -> Option<SelectorCondition> {
        match document {
            SelectorDocument::All(parts) => {
                let parts = self.each("all", parts, Self::selector_condition)?;
                self.at("all", |reader| reader.valid(SelectorCondition::all(parts)))
            }
            SelectorDocument::Any(parts) => {
                let parts = self.each("any", parts, Self::selector_condition)?;
                self.at("any", |reader| reader.valid(SelectorCondition::any(parts)))
            }
            SelectorDocument::Not(negated) => {
                let negated = self.at("not", |reader| reader.selector_condition(negated))?;
                Some(SelectorCondition::Not(Box::new(negated)))
            }
            SelectorDocument::Text(test) => self.at("text", |reader| reader.field_test(test)),
        }
    }

    fn field_test(&mut self, document: &FieldTestDocument) -> Option<SelectorCondition> {
        let field = match &document.operand {
            SelectorFieldDocument::Engine => SelectorField::Engine,
            SelectorFieldDocument::Cgroup => SelectorField::Cgroup,
            SelectorFieldDocument::Unit => SelectorField::Unit,
            SelectorFieldDocument::Container => SelectorField::Container,
            SelectorFieldDocument::Pod => SelectorField::Pod,
            SelectorFieldDocument::Namespace => SelectorField::Namespace,
            SelectorFieldDocument::Image => SelectorField::Image,
            SelectorFieldDocument::Label(key) => {
                SelectorField::Label(self.at("operand.label", |reader| reader.bytes(key))?.into())
            }
        };
        let predicate = self.at("test", |reader| reader.predicate(&field, &document.test))?;
        let test = self.at("test", |reader| reader.valid(FieldTest::new(field, predicate)))?;
        Some(SelectorCondition::Test(test))
    }

    fn predicate(&mut self, field: &SelectorField, document: &TextTestDocument) -> Option<Predicate> {
        let mut text = |name: &str, text: &TextDocument| -> Option<Text> {
            self.at(name, |reader| reader.bytes(text)).map(Text::from)
        };
        Some(match document {
            TextTestDocument::Equals(other) => Predicate::Equals(text("equals", other)?),
            TextTestDocument::Differs(other) => Predicate::Differs(text("differs", other)?),
            TextTestDocument::StartsWith(start) => Predicate::StartsWith(text("starts_with", start)?),
            TextTestDocument::Contains(part) => Predicate::Contains(text("contains", part)?),
            TextTestDocument::In(members) => {
                let members =
                    self.each("in", members, |reader, member| reader.bytes(member).map(Text::from))?;
                self.at("in", |reader| reader.valid(Predicate::one_of(members)))?
            }
            TextTestDocument::Matches(glob) if *field == SelectorField::Cgroup => {
                Predicate::MatchesPath(self.at("matches", |reader| reader.valid(PathGlob::parse(glob)))?)
            }
            TextTestDocument::Matches(glob) => {
                Predicate::Matches(self.at("matches", |reader| reader.valid(TextGlob::parse(glob)))?)
            }
        })
    }
}

/// The document of a selector.
pub(super) fn selector(selector: &Selector) -> SelectorDocument {
    condition(selector.condition())
}

fn condition(part: &SelectorCondition) -> SelectorDocument {
    match part {
        SelectorCondition::All(parts) => SelectorDocument::All(parts.iter().map(condition).collect()),
        SelectorCondition::Any(parts) => SelectorDocument::Any(parts.iter().map(condition).collect()),
        SelectorCondition::Not(negated) => SelectorDocument::Not(Box::new(condition(negated))),
        SelectorCondition::Test(test) => SelectorDocument::Text(FieldTestDocument {
            operand: operand(test.field()),
            test: predicate(test.predicate()),
        }),
    }
}

fn operand(field: &SelectorField) -> SelectorFieldDocument {
    match field {
        SelectorField::Engine => SelectorFieldDocument::Engine,
        SelectorField::Cgroup => SelectorFieldDocument::Cgroup,
        SelectorField::Unit => SelectorFieldDocument::Unit,
        SelectorField::Container => SelectorFieldDocument::Container,
        SelectorField::Pod => SelectorFieldDocument::Pod,
        SelectorField::Namespace => SelectorFieldDocument::Namespace,
        SelectorField::Image => SelectorFieldDocument::Image,
        SelectorField::Label(key) => SelectorFieldDocument::Label(text(key.as_bytes())),
    }
}

fn predicate(predicate: &Predicate) -> TextTestDocument {
    match predicate {
        Predicate::Equals(other) => TextTestDocument::Equals(text(other.as_bytes())),
        Predicate::Differs(other) => TextTestDocument::Differs(text(other.as_bytes())),
        Predicate::In(members) => {
            TextTestDocument::In(members.iter().map(|member| text(member.as_bytes())).collect())
        }
        Predicate::Matches(glob) => TextTestDocument::Matches(glob.to_string()),
        Predicate::MatchesPath(glob) => TextTestDocument::Matches(glob.to_string()),
        Predicate::StartsWith(start) => TextTestDocument::StartsWith(text(start.as_bytes())),
        Predicate::Contains(part) => TextTestDocument::Contains(text(part.as_bytes())),
    }
}
