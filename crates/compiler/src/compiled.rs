//! A compiled policy, and the effect of the language's decisions in its program.

use std::borrow::Cow;

use knobgate_bpf::Program;
use knobgate_policy::{Access, DecidedBy, Decision, Errno, EvalError, Verdict};

use crate::error::Degradation;
use crate::rule_hits::{Counted, Counter, index_of_default};

/// A policy as a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    pub(crate) program: Program,
    pub(crate) degradations: Vec<Degradation>,
    pub(crate) verifier_steps: usize,
    /// How many bytes the values have at most that the program can look at.
    pub(crate) value_max: usize,
    /// How many rules the policy has.
    pub(crate) rules: usize,
}

/// What the program does for a decision of the language. In audit mode, what it would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effect {
    /// The verdict as it is enforced.
    pub verdict: Verdict,
    /// Why it differs from the verdict of the language, if it does.
    pub degradation: Option<Degradation>,
    /// Which counter is incremented.
    pub counter: Counter,
}

impl Compiled {
    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The program, and where it is [stricter](Self::degradations) than the policy.
    pub fn into_parts(self) -> (Program, Vec<Degradation>) {
        (self.program, self.degradations)
    }

    /// Where it is stricter than the policy, because of the kernel. Callers have to report this.
    pub fn degradations(&self) -> &[Degradation] {
        &self.degradations
    }

    /// About how many instructions the kernel's verifier will process, right within a factor of two. Its limit is
    /// [`INSTRUCTIONS_MAX`](crate::INSTRUCTIONS_MAX).
    pub fn verifier_steps(&self) -> usize {
        self.verifier_steps
    }

    /// The access as the program sees it: on [some kernels](Degradation::LongValuesAreDenied), the values that are too long for a rule
    /// are fewer bytes than elsewhere.
    pub fn seen<'a>(&self, access: &'a Access) -> Cow<'a, Access> {
        access.seen_up_to(self.value_max)
    }

    /// What the program does when [`evaluate`](knobgate_policy::evaluate) returns `decision` for what it [sees](Self::seen).
    pub fn effect(&self, decision: &Decision) -> Effect {
        let degradation = self.degradation(decision);
        let verdict = match degradation {
            Some(_) => Verdict::Deny(Errno::EPERM),
            None => decision.verdict.clone(),
        };
        let (index, counted) = match (decision.by, degradation) {
            // It denies without finding out whether the replacement would fit.
            (
                DecidedBy::EvalError { rule, .. } | DecidedBy::Rule(rule),
                Some(Degradation::VectorClampIsDenied { .. }),
            )
            | (DecidedBy::Rule(rule), _) => (rule, Counted::Decided),
            (DecidedBy::EvalError { rule, .. }, _) => (rule, Counted::EvalError),
            (DecidedBy::Default(kind), _) => (index_of_default(kind, self.rules), Counted::Decided),
        };
        Effect { verdict, degradation, counter: Counter { index, counted } }
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
    use knobgate_policy::{CheckOptions, KnobName, Source, evaluate, parse};

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
            (all, "kernel.x", "1", Verdict::Deny(Errno::EROFS), (0, Counted::Decided)),
            (no_errno, "kernel.x", "1", eperm(), (0, Counted::Decided)),
            (all, "net.core.somaxconn", "9", Verdict::Rewrite(b"2".to_vec()), (1, Counted::Decided)),
            (no_rewrite, "net.core.somaxconn", "9", eperm(), (1, Counted::Decided)),
            (no_rewrite, "net.core.somaxconn", "2", Verdict::Allow, (1, Counted::Decided)),
            (no_rewrite, "net.core.somaxconn", "x", Verdict::Deny(Errno::EINVAL), (1, Counted::EvalError)),
            (no_errno, "net.core.somaxconn", "x", eperm(), (1, Counted::EvalError)),
            (no_list, "net.ipv4.tcp_mem", "9 9", eperm(), (2, Counted::Decided)),
            (no_list, "net.ipv4.tcp_mem", "9", Verdict::Deny(Errno::EINVAL), (2, Counted::EvalError)),
            (all, "vm.swappiness", "9", eperm(), (4, Counted::Decided)),
        ];
        for (features, knob, value, verdict, (index, counted)) in cases {
            let access = Access::write(KnobName::parse(knob).expect("a name"), value);
            let effect =
                compile(&file, &features).expect("a program").effect(&evaluate(file.policy(), &access));
            assert_eq!(
                (effect.verdict, effect.counter),
                (verdict, Counter { index, counted }),
                "{knob} {value:?} {features:?}"
            );
        }
    }
}
