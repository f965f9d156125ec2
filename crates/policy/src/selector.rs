//! Selectors: which containers and units a policy applies to.
//!
//! **In**: the `apply if` statements of a [policy](crate::Policy::apply_if), or the text of one [`Selector`]; and the
//! [`SelectorFields`] of a container or unit. **Out**: whether the selector holds, and which of its tests decided that.
//!
//! The grammar is that of [conditions](crate::Condition), and so is the meaning. A selector is no part of what a policy
//! means for an access: [`evaluate`](crate::evaluate()) and compiled programs know nothing of it.
//!
//! ```
//! use std::borrow::Cow;
//!
//! use knobgate_policy::Source;
//! use knobgate_policy::selector::{Selector, SelectorField, SelectorFields};
//!
//! /// A container of a pod in the namespace `prod`, of which nothing else is known.
//! struct Container;
//!
//! impl SelectorFields for Container {
//!     fn text(&self, field: &SelectorField) -> Option<Cow<'_, [u8]>> {
//!         (*field == SelectorField::Namespace).then_some(Cow::Borrowed(b"prod"))
//!     }
//! }
//!
//! let holds = |text: &str| Ok(Selector::parse(Source::new("apply-if", text))?.holds(&Container));
//! assert_eq!(holds("namespace in {\"prod\", \"staging\"}")?, Some(true));
//! assert_eq!(holds("namespace == \"dev\" and label(\"app\") == \"web\"")?, Some(false));
//! assert_eq!(holds("label(\"app\") == \"web\"")?, None, "it is not known");
//! # Ok::<(), knobgate_policy::ParseError>(())
//! ```
//!
//! # Whom to trust
//!
//! Some fields are chosen by whoever starts the container. [`trust()`] says of each which they are.

mod condition;
mod engine;
mod evaluate;
mod field;
mod image;
mod path_glob;
mod text;
mod trust;

use crate::check::{Checker, encoding_error};
use crate::parser;
use crate::scheme::SELECTORS;
use crate::{ParseError, Severity, Source};

pub use condition::{FieldTest, Predicate, Selector, SelectorCondition};
pub use engine::Engine;
pub use evaluate::{DecidedTest, SelectorDecision};
pub use field::{SelectorField, SelectorFields};
pub use image::{ImageError, ImageReference};
pub use path_glob::PathGlob;
pub(crate) use text::{Comparison, Invalid, check_glob, checked};
pub(crate) use trust::is_always_chosen;
pub use trust::{Trust, trust};

impl Selector {
    /// Parses and checks one: what comes after `apply if` in a policy. Ends of lines are white space. Warnings are left out.
    ///
    /// # Errors
    /// Everything that is wrong with it; only the first error if it does not fit the grammar.
    pub fn parse(source: Source) -> Result<Self, ParseError> {
        if let Some(error) = encoding_error(&source) {
            return Err(ParseError::new(source, vec![error]));
        }
        let (condition, errors) = parser::parse_selector(source.text());
        let mut checker = Checker::new(&SELECTORS);
        let selector = condition.and_then(|condition| checker.selector(&condition));
        let mut diagnostics = checker.into_diagnostics();
        diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
        diagnostics.extend(errors);
        diagnostics.sort_by_key(|diagnostic| diagnostic.primary.span.start);
        match selector {
            Some(selector) if diagnostics.is_empty() => Ok(selector),
            _ => Err(ParseError::new(source, diagnostics)),
        }
    }
}
