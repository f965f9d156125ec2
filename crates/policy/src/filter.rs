//! Filters of events: conditions like those of rules, over the fields of an event.
//!
//! **In**: the text of a filter, such as `verdict == deny and knob matches net.**`. **Out**: a [`Filter`], which says of
//! the [`Fields`] of an event whether it holds; or a [`ParseError`] with all mistakes and their places.
//!
//! The grammar is that of [conditions](crate::Condition), and so is the meaning. Only the fields are others, and some are
//! compared with words (`verdict == deny`) or with names of knobs (`knob == kernel.panic`).
//!
//! ```
//! use knobgate_policy::filter::{
//!     EventType, Fields, Filter, IntegerField, OutcomeKind, TextField, ValueField, VerdictKind,
//! };
//! use knobgate_policy::{AccessKind, Errno, Mode, Source};
//!
//! /// A denied write of `1\n` to `net.ipv4.ip_forward` by user 1000.
//! struct Denied;
//!
//! impl Fields for Denied {
//!     fn event_type(&self) -> EventType {
//!         EventType::Event
//!     }
//!     fn knob(&self) -> Option<&[u8]> {
//!         Some(b"net/ipv4/ip_forward")
//!     }
//!     fn access(&self) -> Option<AccessKind> {
//!         Some(AccessKind::Write)
//!     }
//!     fn verdict(&self) -> Option<VerdictKind> {
//!         Some(VerdictKind::Deny)
//!     }
//!     fn outcome(&self) -> Option<OutcomeKind> {
//!         Some(OutcomeKind::Denied)
//!     }
//!     fn errno(&self) -> Option<Errno> {
//!         Some(Errno::EPERM)
//!     }
//!     fn mode(&self) -> Option<Mode> {
//!         Some(Mode::Enforce)
//!     }
//!     fn value(&self, field: ValueField) -> Option<&[u8]> {
//!         (field == ValueField::New).then_some(b"1\n")
//!     }
//!     fn integer(&self, field: IntegerField) -> Option<u64> {
//!         (field == IntegerField::Uid).then_some(1000)
//!     }
//!     fn text(&self, _: TextField) -> Option<&[u8]> {
//!         None
//!     }
//! }
//!
//! let filter = |text: &str| Filter::parse(Source::new("--filter", text));
//! assert_eq!(filter("verdict == deny and knob matches net.**")?.matches(&Denied), Some(true));
//! assert_eq!(filter("new == 0 or uid == 0")?.matches(&Denied), Some(false));
//! assert_eq!(filter("comm == \"sh\"")?.matches(&Denied), None, "it is not known");
//! # Ok::<(), knobgate_policy::ParseError>(())
//! ```

mod event;
mod field;
mod matcher;

use crate::check::{Checker, encoding_error};
use crate::parser::{self, ParsedFilter};
use crate::scheme::FILTERS;
use crate::{ParseError, Source};

pub use event::{EventType, Fields};
pub use field::{IntegerField, OutcomeKind, TextField, ValueField, VerdictKind};
use matcher::Matcher;

/// A filter.
#[derive(Debug, Clone)]
pub struct Filter {
    matcher: Matcher,
}

impl Filter {
    /// Parses and checks a filter. Ends of lines are white space.
    ///
    /// # Errors
    /// Everything that is wrong with it; only the first error if it does not fit the grammar.
    pub fn parse(source: Source) -> Result<Self, ParseError> {
        if let Some(error) = encoding_error(&source) {
            return Err(ParseError::new(source, vec![error]));
        }
        let ParsedFilter { condition, errors } = parser::parse_filter(source.text());
        let mut checker = Checker::new(&FILTERS);
        let typed = condition.and_then(|condition| checker.condition(&condition));
        let mut diagnostics = checker.into_diagnostics();
        diagnostics.extend(errors);
        diagnostics.sort_by_key(|diagnostic| diagnostic.primary.span.start);
        match typed {
            Some(typed) if diagnostics.is_empty() => Ok(Self { matcher: Matcher::new(typed) }),
            _ => Err(ParseError::new(source, diagnostics)),
        }
    }

    /// Whether it holds for an event. `None` if it cannot be evaluated: the event has no such field, or the field is not a
    /// number where a number is needed. As in a rule, `and`, `or` and chains of comparisons stop as soon as their result
    /// is known, and the negation of what cannot be evaluated cannot be evaluated either.
    ///
    /// It allocates no memory, unless a pattern is too complex for an automaton.
    pub fn matches(&self, event: &dyn Fields) -> Option<bool> {
        self.matcher.holds(event)
    }
}
