//! Rules: actions for accesses.

use std::convert::Infallible;

use super::value_text::ends_text;
use super::{Condition, EventRate, List, Logging, PolicyError, Range, ValueText};
use crate::{AccessKind, Errno, KnobPattern, NotationError, Verdict, limits};

/// One rule: kinds of access, name patterns, an optional condition, an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    action: Action,
    kinds: Kinds,
    patterns: Vec<KnobPattern>,
    condition: Option<Condition>,
    log: Option<Logging>,
}

/// The kinds of access that a rule applies to; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// `read`
    Read,
    /// `write`
    Write,
    /// `read write`
    Both,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Let the access pass.
    Allow,
    /// Deny it with this errno.
    Deny(Errno),
    /// Write this text instead. Only in rules for writes alone.
    Set(ValueText),
    /// Move each number into its range. Only in rules for writes alone. The new value must hold exactly as many numbers
    /// as there are ranges.
    Clamp(List<Range, 1, { limits::ELEMENTS_MAX }>),
    /// Write the current value again. Only in rules for writes alone.
    Ignore,
}

impl Rule {
    /// The rule without a condition that logs denials and rewrites. Patterns may be given as text.
    ///
    /// ```
    /// use knobgate_policy::{Action, Errno, Kinds, Logging, PolicyError, Rule};
    ///
    /// let rule = Rule::new(Action::Deny(Errno::EACCES), Kinds::Both, ["kernel.**", "vm.*"])?;
    /// let rule = rule.with_log(Logging::Never);
    /// assert_eq!(rule.to_string(), "deny(EACCES) read write kernel.**, vm.* nolog");
    /// assert_eq!(Rule::new(Action::Ignore, Kinds::Both, ["vm.*"]), Err(PolicyError::RewrittenRead));
    /// # Ok::<(), PolicyError>(())
    /// ```
    ///
    /// # Errors
    /// An invalid pattern, or one that matches no sysctl; no patterns; an action that rewrites in a rule that is not
    /// for writes alone.
    pub fn new<P>(
        action: Action,
        kinds: Kinds,
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, PolicyError>
    where
        P: TryInto<KnobPattern>,
        PolicyError: From<P::Error>,
    {
        let patterns = patterns.into_iter().map(P::try_into).collect::<Result<Vec<_>, _>>()?;
        if patterns.is_empty() {
            return Err(PolicyError::NoPatterns);
        }
        patterns.iter().try_for_each(KnobPattern::check_is_sysctl)?;
        check_kinds(kinds, action.rewrites(), false)?;
        Ok(Self { action, kinds, patterns, condition: None, log: None })
    }

    /// The same with this condition, or without one.
    ///
    /// # Errors
    /// One that looks at the new value, if the rule is for reads alone, or at the network namespace of the knob, if a pattern
    /// does not [start with `net/`](KnobPattern::is_below_net); parts nested deeper than [`NESTING_MAX`](limits::NESTING_MAX).
    pub fn with_condition(self, condition: impl Into<Option<Condition>>) -> Result<Self, PolicyError> {
        let condition = condition.into();
        if let Some(condition) = &condition {
            check_kinds(self.kinds, false, condition.looks_at_new())?;
            if condition.looks_at_netns() && !self.patterns.iter().all(KnobPattern::is_below_net) {
                return Err(PolicyError::NetnsOutsideNet);
            }
            if condition.depth() > limits::NESTING_MAX {
                return Err(PolicyError::ConditionTooDeep);
            }
        }
        Ok(Self { condition, ..self })
    }

    /// The same with this as its `log` or `nolog`, or without either.
    #[must_use]
    pub fn with_log(self, log: impl Into<Option<Logging>>) -> Self {
        Self { log: log.into(), ..self }
    }

    /// What it does to an access that it matches.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// The kinds of access that it applies to.
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// The patterns of the knobs that it applies to; never empty.
    pub fn patterns(&self) -> &[KnobPattern] {
        &self.patterns
    }

    /// Its condition.
    pub fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref()
    }

    /// `log` or `nolog` as written; without one, denials and rewrites log.
    pub fn log(&self) -> Option<Logging> {
        self.log
    }

    /// Whether an event is sent when this rule decides so: as written, otherwise for denials and rewrites.
    pub fn logs(&self, verdict: &Verdict) -> bool {
        self.log.map_or(*verdict != Verdict::Allow, Logging::is_on)
    }

    /// The limit of its events in each cgroup: when it decides, and when it cannot be evaluated, which sends an event
    /// even with `nolog`. `None` if there is no limit.
    pub fn event_limit(&self) -> Option<EventRate> {
        self.log.unwrap_or(Logging::DEFAULT).limit()
    }
}

/// Checks that a rule for `kinds` may rewrite, or look at the new value, if it does.
pub(crate) fn check_kinds(kinds: Kinds, rewrites: bool, looks_at_new: bool) -> Result<(), PolicyError> {
    match kinds {
        Kinds::Read | Kinds::Both if rewrites => Err(PolicyError::RewrittenRead),
        Kinds::Read if looks_at_new => Err(PolicyError::NewOfRead),
        _ => Ok(()),
    }
}

impl Kinds {
    /// Whether `kind` is one of them.
    pub fn contains(self, kind: AccessKind) -> bool {
        use AccessKind::{Read, Write};
        matches!((self, kind), (Kinds::Both, _) | (Kinds::Read, Read) | (Kinds::Write, Write))
    }
}

impl Action {
    /// The action that writes `text` instead.
    ///
    /// # Errors
    /// Too many bytes, a NUL, or a newline.
    pub fn set(text: impl Into<Vec<u8>>) -> Result<Self, PolicyError> {
        let text = text.into();
        if text.len() > limits::REPLACED_MAX {
            return Err(PolicyError::ReplacementTooLong { length: text.len() });
        }
        match text.iter().copied().find(|&byte| ends_text(byte)) {
            Some(byte) => Err(PolicyError::ReplacementNotOneLine { byte }),
            None => ValueText::new(text).map(Self::Set),
        }
    }

    /// The action that moves each number into its range.
    ///
    /// # Errors
    /// No ranges, or more than [`ELEMENTS_MAX`](limits::ELEMENTS_MAX).
    pub fn clamp(ranges: impl Into<Vec<Range>>) -> Result<Self, PolicyError> {
        let ranges = ranges.into();
        let error = if ranges.is_empty() { PolicyError::NoRanges } else { PolicyError::TooManyRanges };
        List::new(ranges).map(Self::Clamp).map_err(|_| error)
    }

    /// Whether it can change what is written.
    pub fn rewrites(&self) -> bool {
        matches!(self, Self::Set(_) | Self::Clamp(_) | Self::Ignore)
    }
}

impl TryFrom<&str> for KnobPattern {
    type Error = NotationError;

    fn try_from(text: &str) -> Result<Self, NotationError> {
        Self::parse(text)
    }
}

/// For patterns that are already parsed.
impl From<Infallible> for PolicyError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
