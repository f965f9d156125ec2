//! What a difference between two decisions amounts to.

use knobgate_policy::{DecidedBy, Decision, Errno, Mode, Verdict};

/// How the new policy treats an access differently. The most dangerous comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// It was denied and now succeeds, or it was rewritten and now passes as it was written.
    NewlyAllowed,
    /// The policies may differ: it was not decided whether they do.
    Undecided,
    /// It was written and now is rewritten, or it is rewritten to something else.
    RewrittenDifferently,
    /// It succeeded and now is denied.
    NewlyDenied,
    /// It is denied with another errno.
    Errno,
    /// It has the same verdict, and only one policy logs it.
    Logging,
}

impl Change {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::NewlyAllowed,
        Self::Undecided,
        Self::RewrittenDifferently,
        Self::NewlyDenied,
        Self::Errno,
        Self::Logging,
    ];

    /// The change from one decision about an access to another, if there is one. `modes` are those of the policies that
    /// have decided: if only one of them enforces, its counterpart lets everything pass.
    pub fn between(old: &Decision, new: &Decision, modes: (Mode, Mode)) -> Option<Self> {
        let (old_verdict, new_verdict) = effective(&old.verdict, &new.verdict, modes);
        match (old_verdict, new_verdict) {
            (Verdict::Deny(old), Verdict::Deny(new)) if old != new => Some(Self::Errno),
            (old, new) if old == new => None,
            (Verdict::Deny(_), _) | (Verdict::Rewrite(_), Verdict::Allow) => Some(Self::NewlyAllowed),
            (_, Verdict::Deny(_)) => Some(Self::NewlyDenied),
            (_, Verdict::Rewrite(_)) | (Verdict::Allow, Verdict::Allow) => Some(Self::RewrittenDifferently),
        }
        .or((old.log != new.log).then_some(Self::Logging))
    }
}

/// The verdicts as they take effect.
fn effective<'a>(old: &'a Verdict, new: &'a Verdict, modes: (Mode, Mode)) -> (&'a Verdict, &'a Verdict) {
    match modes {
        (Mode::Audit, Mode::Enforce) => (&Verdict::Allow, new),
        (Mode::Enforce, Mode::Audit) => (old, &Verdict::Allow),
        // Of two policies that only audit, the differences are those that would show if they were enforced.
        (Mode::Audit, Mode::Audit) | (Mode::Enforce, Mode::Enforce) => (old, new),
    }
}

/// What a decision has in common with those about the other accesses of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VerdictKind {
    /// It passes as it is.
    Allow,
    /// It is denied with this errno.
    Deny(Errno),
    /// It is rewritten.
    Rewrite,
}

impl From<&Verdict> for VerdictKind {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Deny(errno) => Self::Deny(*errno),
            Verdict::Rewrite(_) => Self::Rewrite,
        }
    }
}

/// The rule that decided, and whether it could be evaluated; `None` for the default.
pub(crate) fn decider(by: DecidedBy) -> Option<(usize, bool)> {
    match by {
        DecidedBy::Rule(rule) => Some((rule, true)),
        DecidedBy::EvalError { rule, .. } => Some((rule, false)),
        DecidedBy::Default(_) => None,
    }
}
