//! Warns of policies for containers that deny what an engine writes itself: no container of it would start.

use std::borrow::Cow;

use super::Checker;
use crate::engine_writes::{self, EngineWrite};
use crate::selector::{Engine, SelectorCondition, SelectorField, SelectorFields};
use crate::{DecidedBy, Diagnostic, Input, Mode, Policy, Source, Span, possible};

/// Where the statements of a policy are.
pub(super) struct Places<'a> {
    pub(super) source: &'a Source,
    pub(super) header: Span,
    pub(super) default_write: Option<Span>,
    pub(super) apply_if: &'a [Span],
    pub(super) rules: &'a [Span],
}

impl Checker {
    /// Warns of a policy that denies what an engine writes to whose containers it may apply.
    pub(super) fn denied_engines(&mut self, policy: &Policy, places: &Places<'_>) {
        if policy.mode() == Mode::Audit {
            return;
        }
        let mut denied: Vec<(&EngineWrite, Span)> = Vec::new();
        for write in engine_writes::all() {
            let engine = write.engine();
            if denied.iter().all(|(other, _)| other.engine() != engine)
                && let Some(by) = denied_by(policy, write)
                && may_apply_to(policy, engine)
            {
                denied.push((write, places.of(by)));
            }
        }
        let Some(&(_, first)) = denied.first() else { return };
        let engines = denied.iter().map(|(write, _)| write.engine_name()).collect::<Vec<_>>().join(" or ");
        let message = format!("no container of {engines} starts under this policy");
        let (here, elsewhere): (Vec<_>, Vec<_>) = denied.into_iter().partition(|(_, span)| *span == first);
        let text = |write: &EngineWrite| {
            format!("{} writes {} = {} itself", write.engine_name(), write.knob(), write.value())
        };
        let here = here.into_iter().map(|(write, _)| text(write)).collect::<Vec<_>>().join("; ");
        let warning = Diagnostic::warning("denies-engine", first, message).label(here);
        let warning =
            elsewhere.into_iter().fold(warning, |warning, (write, at)| warning.also(at, text(write)));
        let statement = format!("include preset \"{}\"", engine_writes::PRESET);
        let help = format!(
            "write `{statement}` before all rules: it allows what engines write in each container with a network of its own"
        );
        let (at, text) = places.before_rules(&statement);
        self.report(warning.help(help).suggest(Span::new(at, at), text));
    }
}

impl Places<'_> {
    fn of(&self, by: DecidedBy) -> Span {
        match by {
            DecidedBy::Rule(rule) | DecidedBy::EvalError { rule, .. } => self.rules[rule],
            DecidedBy::Default(_) => self.default_write.unwrap_or(self.header),
        }
    }

    /// Where a statement comes before all rules, in the policy's own file, and its text there.
    fn before_rules(&self, statement: &str) -> (usize, String) {
        match self.rules.first() {
            Some(rule) => {
                let including = self.source.included_by(rule.start).last();
                (including.unwrap_or(*rule).start, format!("{statement}\n"))
            }
            None => {
                let statements = self.apply_if.iter().chain(&self.default_write);
                let end = statements.map(|span| span.end).max();
                (end.unwrap_or(self.header.end), format!("\n{statement}"))
            }
        }
    }
}

/// What denies the write, whoever in the runtime does it, whatever the knob has, and whether the container has a network of its
/// own.
fn denied_by(policy: &Policy, write: &EngineWrite) -> Option<DecidedBy> {
    let unknown = [Input::Old, Input::Comm, Input::Netns].into_iter().collect();
    possible(policy, &write.access(), unknown).denied_by()
}

/// Whether one of the selectors can hold for a container of this engine.
fn may_apply_to(policy: &Policy, engine: Engine) -> bool {
    let cgroups = usual_cgroups(engine).into_iter();
    let mut containers = cgroups.map(|cgroup| SomeContainer { engine, cgroup });
    containers
        .any(|container| policy.apply_if().iter().any(|it| Possible::of(it.condition(), &container).holds))
}

/// Any container of an engine, in a cgroup where the engine puts it unless it is told otherwise.
struct SomeContainer {
    engine: Engine,
    cgroup: String,
}

impl SelectorFields for SomeContainer {
    fn text(&self, field: &SelectorField) -> Option<Cow<'_, [u8]>> {
        match field {
            SelectorField::Engine => Some(self.engine.name().as_bytes().into()),
            SelectorField::Cgroup => Some(self.cgroup.as_bytes().into()),
            // Docker's may be in a pod of Kubernetes. Then only the sandbox has a network of its own.
            SelectorField::Unit | SelectorField::Pod | SelectorField::Namespace => {
                Some(b"".as_slice().into())
            }
            SelectorField::Container | SelectorField::Image | SelectorField::Label(_) => None,
        }
    }
}

/// The cgroups of some container, with each of the engine's cgroup drivers. docs/workloads.md has them.
fn usual_cgroups(engine: Engine) -> Vec<String> {
    let id = "0123456789abcdef".repeat(4);
    match engine {
        Engine::Docker => vec![format!("/docker/{id}"), format!("/system.slice/docker-{id}.scope")],
        Engine::Podman => {
            vec![format!("/libpod_parent/libpod-{id}"), format!("/machine.slice/libpod-{id}.scope")]
        }
        _ => Vec::new(),
    }
}

/// What a condition may come to if a field that is not known can have any text.
#[derive(Clone, Copy)]
struct Possible {
    holds: bool,
    fails: bool,
}

impl Possible {
    fn of(condition: &SelectorCondition, fields: &dyn SelectorFields) -> Self {
        let of = |part| Self::of(part, fields);
        match condition {
            SelectorCondition::All(parts) => {
                parts.iter().map(of).fold(Self { holds: true, fails: false }, |all, part| Self {
                    holds: all.holds && part.holds,
                    fails: all.fails || part.fails,
                })
            }
            SelectorCondition::Any(parts) => {
                parts.iter().map(of).fold(Self { holds: false, fails: true }, |any, part| Self {
                    holds: any.holds || part.holds,
                    fails: any.fails && part.fails,
                })
            }
            SelectorCondition::Not(negated) => {
                let Self { holds, fails } = of(negated);
                Self { holds: fails, fails: holds }
            }
            SelectorCondition::Test(test) => {
                let result = test.holds(fields);
                Self { holds: result != Some(false), fails: result != Some(true) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_that_writes_has_usual_cgroups() {
        for write in engine_writes::all() {
            assert!(!usual_cgroups(write.engine()).is_empty(), "{write:?}");
        }
    }
}
