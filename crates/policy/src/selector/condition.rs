//! The condition of a selector as data.

use super::text::{self, Comparison};
use super::{PathGlob, SelectorField};
use crate::{List, PolicyError, Text, TextGlob, limits};

/// `apply if CONDITION`: which containers and units a policy applies to.
///
/// ```
/// use knobgate_policy::Source;
/// use knobgate_policy::selector::{FieldTest, Predicate, Selector, SelectorCondition, SelectorField};
///
/// let parsed = Selector::parse(Source::new("agent.toml", "image == \"nginx\""))?;
/// let test = FieldTest::new(SelectorField::Image, Predicate::Equals("nginx".into()))?;
/// assert_eq!(parsed, Selector::new(SelectorCondition::Test(test))?);
/// assert_eq!(parsed.to_string(), "image == \"docker.io/library/nginx:latest\"");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    condition: SelectorCondition,
}

/// A condition on the fields of a container or unit. It means the same as a [`Condition`](crate::Condition) does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectorCondition {
    /// `… and …`: evaluated from left to right, up to the first that does not hold.
    All(List<SelectorCondition, 2>),
    /// `… or …`: evaluated from left to right, up to the first that holds.
    Any(List<SelectorCondition, 2>),
    /// `not …`
    Not(Box<SelectorCondition>),
    /// A test of one field.
    Test(FieldTest),
}

/// A test of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTest {
    field: SelectorField,
    predicate: Predicate,
}

/// What a field is tested for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predicate {
    /// `== "text"`, or `== docker` of `engine`.
    Equals(Text),
    /// `!= "text"`
    Differs(Text),
    /// `in {"a", "b"}`
    In(List<Text, 1>),
    /// `starts with "text"`
    StartsWith(Text),
    /// `contains "text"`
    Contains(Text),
    /// `matches "glob"`
    Matches(TextGlob),
    /// `matches "/path/*"`, of `cgroup` alone.
    MatchesPath(PathGlob),
}

impl Selector {
    /// `apply if condition`
    ///
    /// # Errors
    /// It is nested more than [`NESTING_MAX`](limits::NESTING_MAX) deep.
    pub fn new(condition: SelectorCondition) -> Result<Self, PolicyError> {
        if condition.depth() > limits::NESTING_MAX {
            return Err(PolicyError::ConditionTooDeep);
        }
        Ok(Self { condition })
    }

    /// The condition.
    pub fn condition(&self) -> &SelectorCondition {
        &self.condition
    }
}

impl SelectorCondition {
    /// `… and …`
    ///
    /// # Errors
    /// Fewer than two parts.
    pub fn all(parts: impl Into<Vec<Self>>) -> Result<Self, PolicyError> {
        List::new(parts).map(Self::All).map_err(|_| PolicyError::TooFewConditions)
    }

    /// `… or …`
    ///
    /// # Errors
    /// Fewer than two parts.
    pub fn any(parts: impl Into<Vec<Self>>) -> Result<Self, PolicyError> {
        List::new(parts).map(Self::Any).map_err(|_| PolicyError::TooFewConditions)
    }

    /// How deep it is nested.
    fn depth(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                1 + parts.iter().map(Self::depth).max().unwrap_or_default()
            }
            Self::Not(negated) => 1 + negated.depth(),
            Self::Test(_) => 0,
        }
    }
}

impl FieldTest {
    /// `field predicate`. Names of images become names in full, and `engine in {docker}` becomes `engine == docker`.
    ///
    /// # Errors
    /// A text that the field never has, such as a path without a `/`, or a predicate that it does not take.
    pub fn new(field: SelectorField, predicate: Predicate) -> Result<Self, PolicyError> {
        let checked = |how, text: Text| text::checked(&field, how, &text).map_err(|invalid| invalid.error);
        let whole = |text| checked(Comparison::Whole, text);
        let predicate = match predicate {
            Predicate::Equals(text) => Predicate::Equals(whole(text)?),
            Predicate::Differs(text) => Predicate::Differs(whole(text)?),
            Predicate::In(texts) => {
                let texts = texts.iter().cloned().map(whole).collect::<Result<Vec<_>, _>>()?;
                match <[Text; 1]>::try_from(texts) {
                    Ok([name]) if field == SelectorField::Engine => Predicate::Equals(name),
                    Ok(only) => Predicate::one_of(only)?,
                    Err(texts) => Predicate::one_of(texts)?,
                }
            }
            _ if field == SelectorField::Engine => return Err(PolicyError::NoSuchTest { field }),
            Predicate::StartsWith(text) => Predicate::StartsWith(checked(Comparison::Start, text)?),
            Predicate::Contains(text) => Predicate::Contains(text),
            Predicate::Matches(glob) if field != SelectorField::Cgroup => {
                text::check_glob(&field, &glob).map_err(|invalid| invalid.error)?;
                Predicate::Matches(glob)
            }
            Predicate::MatchesPath(glob) if field == SelectorField::Cgroup => Predicate::MatchesPath(glob),
            Predicate::Matches(_) | Predicate::MatchesPath(_) => {
                return Err(PolicyError::NoSuchTest { field });
            }
        };
        Ok(Self { field, predicate })
    }

    /// The field.
    pub fn field(&self) -> &SelectorField {
        &self.field
    }

    /// What it is tested for.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }
}

impl Predicate {
    /// `in {"a", "b"}`
    ///
    /// # Errors
    /// No members.
    pub fn one_of(members: impl Into<Vec<Text>>) -> Result<Self, PolicyError> {
        List::new(members).map(Self::In).map_err(|_| PolicyError::EmptySet)
    }
}
