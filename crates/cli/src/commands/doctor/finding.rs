//! One line of the output.

use serde::Serialize;

use crate::printable::printable;
use crate::style::{ALLOW, DENY, REWRITE};

/// A finding and its consequence.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) state: State,
    /// What was examined.
    pub(super) what: &'static str,
    /// What was found.
    pub(super) found: String,
    /// The consequence, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) consequence: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// A policy can enforce less, or works less well.
    Less,
    /// No policy can be enforced.
    No,
}

impl Finding {
    pub(super) fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { state: State::Ok, what, found: found.into(), consequence: None }
    }

    pub(super) fn less(what: &'static str, found: impl Into<String>, consequence: impl Into<String>) -> Self {
        Self { state: State::Less, what, found: found.into(), consequence: Some(consequence.into()) }
    }

    pub(super) fn no(what: &'static str, found: impl Into<String>, consequence: impl Into<String>) -> Self {
        Self { state: State::No, ..Self::less(what, found, consequence) }
    }

    /// Adds a consequence.
    pub(super) fn so(self, consequence: impl Into<String>) -> Self {
        Self { consequence: Some(consequence.into()), ..self }
    }

    /// The line as text.
    pub(super) fn text(&self) -> String {
        let (style, state) = match self.state {
            State::Ok => (ALLOW, "ok"),
            State::Less => (REWRITE, "less"),
            State::No => (DENY, "no"),
        };
        let found = printable(&self.found);
        let consequence = self.consequence.as_deref().map(printable);
        let consequence = consequence.map_or_else(String::new, |text| format!("\n{:26}{text}", ""));
        format!("{style}{state:<5}{style:#} {:<20}{found}{consequence}", self.what)
    }
}
