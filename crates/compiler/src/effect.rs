//! The effect of a decision of the language in the compiled program.

use knobgate_policy::{DecidedBy, Decision, Errno, EvalError, Verdict};

use crate::program::Counter;
use crate::{Compiled, Degradation};

/// What the program does for a decision of the language. In audit mode, what it would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effect {
    /// The verdict as it is enforced.
    pub verdict: Verdict,
    /// Why it differs from the verdict of the language, if it does.
    pub degradation: Option<Degradation>,
    /// Which counter is incremented: the index of its 8 bytes in the value of [`RULE_HITS_MAP`](crate::RULE_HITS_MAP).
    pub counter: usize,
}

impl Compiled {
    /// What the program does when [`evaluate`](knobgate_policy::evaluate) returns `decision`.
    pub fn effect(&self, decision: &Decision) -> Effect {
        let degradation = self.degradation(decision);
        let verdict = match degradation {
            Some(_) => Verdict::Deny(Errno::EPERM),
            None => decision.verdict.clone(),
        };
        let counter = match (decision.by, degradation) {
            // It denies without finding out whether the replacement would fit.
            (
                DecidedBy::EvalError { rule, .. } | DecidedBy::Rule(rule),
                Some(Degradation::VectorClampIsDenied { .. }),
            )
            | (DecidedBy::Rule(rule), _) => Counter::Decided(rule),
            (DecidedBy::EvalError { rule, .. }, _) => Counter::CannotEvaluate(rule),
            (DecidedBy::Default(kind), _) => Counter::Default(kind),
        };
        Effect { verdict, degradation, counter: counter.offset(self.rules) as usize / 8 }
    }

    fn degradation(&self, decision: &Decision) -> Option<Degradation> {
        let needed = |degradation: &&Degradation| match (**degradation, &decision.verdict, decision.by) {
            (Degradation::ErrnoIsEperm(errno), Verdict::Deny(decided), _) => errno == *decided,
            (
                Degradation::RewriteIsDenied { rule } | Degradation::VectorClampIsDenied { rule },
                Verdict::Rewrite(_),
                DecidedBy::Rule(by),
            ) => rule == by,
            (
                Degradation::VectorClampIsDenied { rule },
                _,
                DecidedBy::EvalError { rule: by, error: EvalError::DoesNotFit { .. } },
            ) => rule == by,
            _ => false,
        };
        // The errno of a denial matters only if nothing else denies first.
        let by_errno = |degradation: &&Degradation| matches!(degradation, Degradation::ErrnoIsEperm(_));
        let mut found = self.degradations.iter().filter(needed);
        let first = found.next()?;
        Some(if by_errno(&first) { *found.next().unwrap_or(first) } else { *first })
    }
}

#[cfg(test)]
mod tests {
    use knobgate_bpf::Features;
    use knobgate_policy::{Access, CheckOptions, KnobName, Source, evaluate, parse};

    use crate::compile;

    use super::*;

    #[test]
    fn what_a_kernel_lacks_turns_into_denials_with_eperm() {
        let text = "policy p\ndefault read allow\ndefault write deny\n\
                    deny(EROFS) write kernel.**\n\
                    clamp write net.core.somaxconn to 1..2\n\
                    clamp write net.ipv4.tcp_mem to [1..2, 1..2]\n";
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
        let eperm = || Verdict::Deny(Errno::EPERM);
        let all = Features::ALL;
        let no_errno = Features { set_retval: false, ..all };
        let no_rewrite = Features { set_new_value: false, ..all };
        let no_list = Features { variable_stack: false, ..all };
        let cases = [
            (all, "kernel.x", "1", Verdict::Deny(Errno::EROFS), 0),
            (no_errno, "kernel.x", "1", eperm(), 0),
            (all, "net.core.somaxconn", "9", Verdict::Rewrite(b"2".to_vec()), 2),
            (no_rewrite, "net.core.somaxconn", "9", eperm(), 2),
            (no_rewrite, "net.core.somaxconn", "2", Verdict::Allow, 2),
            (no_rewrite, "net.core.somaxconn", "x", Verdict::Deny(Errno::EINVAL), 3),
            (no_errno, "net.core.somaxconn", "x", eperm(), 3),
            (no_list, "net.ipv4.tcp_mem", "9 9", eperm(), 4),
            (no_list, "net.ipv4.tcp_mem", "9", Verdict::Deny(Errno::EINVAL), 5),
            (all, "vm.swappiness", "9", eperm(), 8),
        ];
        for (features, knob, value, verdict, counter) in cases {
            let access = Access::write(KnobName::parse(knob).expect("a name"), value);
            let effect =
                compile(&file, &features).expect("a program").effect(&evaluate(file.policy(), &access));
            assert_eq!((effect.verdict, effect.counter), (verdict, counter), "{knob} {value:?} {features:?}");
        }
    }
}
