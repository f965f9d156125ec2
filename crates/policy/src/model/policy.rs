//! Policies, their modes and defaults.

use super::{EventRate, Logging, PolicyError, Rule, Test};
use crate::selector::Selector;
use crate::{AccessKind, Errno, KnobPattern, limits};

/// An ordered list of rules, the defaults, a mode, and tests.
///
/// ```
/// use knobgate_policy::{Action, Condition, Kinds, Logging, Operand, Policy, Range, Rule, Value, print};
///
/// let new = Operand::only(Value::New);
/// let policy = Policy::new("web-tier")?.with_rules([
///     Rule::new(Action::Allow, Kinds::Write, ["net.ipv4.conf.*.rp_filter"])?
///         .with_condition(Condition::in_set(new, [Range::only(1.into()), Range::only(2.into())])?)?,
///     Rule::new(Action::clamp([Range::new(Some(128.into()), None)?])?, Kinds::Write, ["net.core.somaxconn"])?
///         .with_log(Logging::Never),
/// ]);
/// assert!(print(&policy).ends_with(
///     "allow write net.ipv4.conf.*.rp_filter if new in {1, 2}\nclamp write net.core.somaxconn to 128.. nolog\n"
/// ));
/// # Ok::<(), knobgate_policy::PolicyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    name: String,
    mode: Mode,
    defaults: Defaults,
    rules: Vec<Rule>,
    tests: Vec<Test>,
    width_64: Vec<KnobPattern>,
    apply_if: Vec<Selector>,
}

impl Policy {
    /// An empty policy with this name: the [`Defaults`] and no rules.
    ///
    /// # Errors
    /// A name that is empty, contains characters other than letters, digits, `-`, `_` and `.`, or is longer than
    /// [`POLICY_NAME_MAX`](limits::POLICY_NAME_MAX).
    pub fn new(name: impl Into<String>) -> Result<Self, PolicyError> {
        let name = name.into();
        if name.is_empty() || name.chars().any(|c| !is_name_character(c)) {
            return Err(PolicyError::BadName);
        }
        if name.len() > limits::POLICY_NAME_MAX {
            return Err(PolicyError::NameTooLong);
        }
        Ok(Self {
            name,
            mode: Mode::default(),
            defaults: Defaults::default(),
            rules: Vec::new(),
            tests: Vec::new(),
            width_64: Vec::new(),
            apply_if: Vec::new(),
        })
    }

    /// The same in this mode.
    #[must_use]
    pub fn with_mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// The same with these defaults.
    #[must_use]
    pub fn with_defaults(self, defaults: Defaults) -> Self {
        Self { defaults, ..self }
    }

    /// The same with these rules.
    #[must_use]
    pub fn with_rules(self, rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { rules: rules.into_iter().collect(), ..self }
    }

    /// The same with these tests.
    #[must_use]
    pub fn with_tests(self, tests: impl IntoIterator<Item = Test>) -> Self {
        Self { tests: tests.into_iter().collect(), ..self }
    }

    /// The same with these knobs declared to keep 64 bits.
    #[must_use]
    pub fn with_width_64(self, patterns: impl IntoIterator<Item = KnobPattern>) -> Self {
        Self { width_64: patterns.into_iter().collect(), ..self }
    }

    /// The same for containers and units for which one of these holds.
    #[must_use]
    pub fn with_apply_if(self, selectors: impl IntoIterator<Item = Selector>) -> Self {
        Self { apply_if: selectors.into_iter().collect(), ..self }
    }

    /// The name in the header.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether decisions are enforced.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What happens to an access that no rule matches.
    pub fn defaults(&self) -> Defaults {
        self.defaults
    }

    /// The rules, in order: the first that matches decides.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The `test` blocks.
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// `apply if …`: which containers and units it applies to, beside the cgroups that it is attached to by hand. One that
    /// holds is enough. They are no part of what the policy means for an access.
    pub fn apply_if(&self) -> &[Selector] {
        &self.apply_if
    }

    /// `width 64 …`: knobs whose handlers keep 64 bits of a number, besides the [known](crate::Width::all_known) ones.
    pub fn width_64(&self) -> &[KnobPattern] {
        &self.width_64
    }
}

/// Whether policy names may contain this character.
pub(crate) fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Whether decisions are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Decide and enforce.
    #[default]
    Enforce,
    /// Decide and report, but let every access pass unchanged.
    Audit,
}

/// The default for each kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// For reads; by default `allow`.
    pub read: Fallback,
    /// For writes; by default `deny`.
    pub write: Fallback,
}

/// What one default does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// Allow, or deny with an errno.
    pub action: FallbackAction,
    /// `log` or `nolog` as written; without one, a denial logs.
    pub log: Option<Logging>,
}

/// The action of a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackAction {
    /// Let it pass.
    Allow,
    /// Deny it.
    Deny(Errno),
}

impl Fallback {
    /// Whether an event is sent when this default decides: as written, otherwise for denials.
    pub fn logs(&self) -> bool {
        self.log.map_or(self.action != FallbackAction::Allow, Logging::is_on)
    }

    /// The limit of its events in each cgroup; `None` if there is no limit.
    pub fn event_limit(&self) -> Option<EventRate> {
        self.log.unwrap_or(Logging::DEFAULT).limit()
    }
}

impl Defaults {
    /// The default for accesses of `kind`.
    pub fn of(&self, kind: AccessKind) -> Fallback {
        match kind {
            AccessKind::Read => self.read,
            AccessKind::Write => self.write,
        }
    }
}

impl Default for Defaults {
    /// The defaults of a policy that does not state any: `read allow`, `write deny`.
    fn default() -> Self {
        Self {
            read: Fallback { action: FallbackAction::Allow, log: None },
            write: Fallback { action: FallbackAction::Deny(Errno::EPERM), log: None },
        }
    }
}
