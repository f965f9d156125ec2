//! Whether a selector holds, and why.

use std::borrow::Cow;
use std::fmt;

use super::image::in_full;
use super::{FieldTest, Predicate, Selector, SelectorCondition, SelectorField, SelectorFields};
use crate::terminal::escape;
use crate::value::contains;
use crate::{Policy, Text};

/// Whether a [`Selector`] holds, and which of its tests decided that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorDecision<'a> {
    /// Whether it holds; `None` if it cannot be evaluated.
    pub holds: Option<bool>,
    /// The tests that decided it, at least one: all that hold, if it takes all of them; otherwise the one that does not
    /// hold, or cannot be evaluated.
    pub because: Vec<DecidedTest<'a>>,
}

/// A test, and what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedTest<'a> {
    /// The test.
    pub test: &'a FieldTest,
    /// The text of its field: for an image, the name in full. `None` if it is not known.
    pub text: Option<Vec<u8>>,
    /// Whether it holds; `None` if the field is not known.
    pub holds: Option<bool>,
}

impl Selector {
    /// Whether it holds. `None` if it cannot be evaluated, because a field is not known. As in a rule, `and` and `or`
    /// stop as soon as their result is known, and the negation of what cannot be evaluated cannot be evaluated either.
    pub fn holds(&self, fields: &dyn SelectorFields) -> Option<bool> {
        self.condition().holds(fields)
    }

    /// The same, and why.
    pub fn decide(&self, fields: &dyn SelectorFields) -> SelectorDecision<'_> {
        self.condition().decide(fields)
    }
}

impl Policy {
    /// Whether it applies to a container or unit: whether one of its selectors [holds](Selector::holds), in whatever order they
    /// are. `None` if none holds, and one cannot be evaluated. A policy without selectors applies to nothing by itself.
    pub fn applies_to(&self, fields: &dyn SelectorFields) -> Option<bool> {
        let mut applies = Some(false);
        for selector in self.apply_if() {
            match selector.holds(fields) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => applies = None,
            }
        }
        applies
    }
}

impl SelectorCondition {
    fn holds(&self, fields: &dyn SelectorFields) -> Option<bool> {
        match self {
            Self::All(parts) => {
                for part in parts {
                    if !part.holds(fields)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            Self::Any(parts) => {
                for part in parts {
                    if part.holds(fields)? {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Self::Not(negated) => Some(!negated.holds(fields)?),
            Self::Test(test) => test.holds(fields),
        }
    }

    fn decide(&self, fields: &dyn SelectorFields) -> SelectorDecision<'_> {
        let (parts, goes_on) = match self {
            Self::All(parts) => (parts, true),
            Self::Any(parts) => (parts, false),
            Self::Not(negated) => {
                let SelectorDecision { holds, because } = negated.decide(fields);
                return SelectorDecision { holds: holds.map(|holds| !holds), because };
            }
            Self::Test(test) => {
                let text = test.text(fields).map(Cow::into_owned);
                let holds = text.as_deref().map(|text| test.predicate().holds(text));
                return SelectorDecision { holds, because: vec![DecidedTest { test, text, holds }] };
            }
        };
        let mut because = Vec::new();
        for part in parts {
            let decision = part.decide(fields);
            if decision.holds != Some(goes_on) {
                return decision;
            }
            because.extend(decision.because);
        }
        SelectorDecision { holds: Some(goes_on), because }
    }
}

impl FieldTest {
    /// Whether it holds; `None` if the field is not known.
    pub(crate) fn holds(&self, fields: &dyn SelectorFields) -> Option<bool> {
        Some(self.predicate().holds(&self.text(fields)?))
    }

    /// The text that it compares.
    fn text<'a>(&self, fields: &'a dyn SelectorFields) -> Option<Cow<'a, [u8]>> {
        let text = fields.text(self.field())?;
        Some(match (self.field(), text) {
            (SelectorField::Image, Cow::Borrowed(image)) => in_full(image),
            (SelectorField::Image, Cow::Owned(image)) => Cow::Owned(in_full(&image).into_owned()),
            (_, text) => text,
        })
    }
}

impl Predicate {
    fn holds(&self, subject: &[u8]) -> bool {
        match self {
            Self::Equals(text) => subject == text.as_bytes(),
            Self::Differs(text) => subject != text.as_bytes(),
            Self::In(texts) => texts.iter().any(|text| subject == text.as_bytes()),
            Self::StartsWith(text) => subject.starts_with(text.as_bytes()),
            Self::Contains(text) => contains(subject, text.as_bytes()),
            Self::Matches(glob) => glob.matches(subject),
            Self::MatchesPath(glob) => glob.matches(subject),
        }
    }
}

/// What the test found, on one line: `` `namespace == "prod"`: it is "dev" ``. Control characters are escaped.
impl fmt::Display for DecidedTest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let test = escape(self.test.to_string().as_bytes());
        match &self.text {
            None => write!(f, "`{test}`: {} is not known", escape(self.test.field().to_string().as_bytes())),
            Some(text) if text.is_empty() => write!(f, "`{test}`: there is none"),
            Some(text) => {
                write!(f, "`{test}`: it is {}", escape(Text::from(text.as_slice()).to_string().as_bytes()))
            }
        }
    }
}
