//! Whether a policy applies to a container or unit, or to that of a process.

use std::borrow::Cow;

use knobgate::workload::Workload;
use knobgate::{WorkloadFields, WorkloadResolver};
use knobgate_policy::PolicyFile;
use knobgate_policy::selector::{DecidedTest, Engine, SelectorDecision, Trust};
use serde::Serialize;

use crate::failure::Failure;
use crate::json::{self, Bytes};
use crate::printable::{printable, printable_path};
use crate::style;
use crate::target::Target;

/// Finds out what runs in a cgroup.
///
/// # Errors
/// [`Failure::Usage`] if it was removed; [`Failure::Machine`].
pub(super) fn workload_of(target: &Target) -> Result<Workload, Failure> {
    let cgroup = target.cgroup();
    let cannot = || format!("cannot find out what runs in {}", printable_path(cgroup.path()));
    let mut resolver = WorkloadResolver::new().map_err(|error| Failure::machine(cannot()).because(error))?;
    let workload = resolver.resolve(cgroup.id());
    let workload = workload.ok_or_else(|| Failure::usage(cannot()).because("it was removed"))?;
    Ok((*workload).clone())
}

/// A process or cgroup, and what the selectors of a policy say about its container or unit.
pub(super) struct Selection<'a> {
    file: &'a PolicyFile,
    /// The process, if one was named.
    pid: Option<u32>,
    workload: &'a Workload,
    fields: WorkloadFields<'a>,
    decisions: Vec<SelectorDecision<'a>>,
    applies: Option<bool>,
}

impl<'a> Selection<'a> {
    pub(super) fn of(file: &'a PolicyFile, target: &Target, workload: &'a Workload) -> Self {
        let fields = WorkloadFields::of(workload);
        let policy = file.policy();
        let decisions = policy.apply_if().iter().map(|selector| selector.decide(&fields)).collect();
        let applies = policy.applies_to(&fields);
        let pid = match target {
            Target::Process(pid, _) => Some(*pid),
            Target::Cgroup(_) | Target::Workload(..) => None,
        };
        Self { file, pid, workload, fields, decisions, applies }
    }

    /// As text, in lines without a newline at the end.
    pub(super) fn text(&self) -> String {
        let (heading, dim) = (style::HEADING, style::DIM);
        let label = self.workload.label();
        let label = printable(&label);
        let mut lines = vec![match self.pid {
            Some(pid) => format!("{heading}process {pid}{heading:#} in {label}"),
            None => format!("{heading}{label}{heading:#}"),
        }];
        let mut row = |name: &str, text: Cow<'_, str>| lines.push(format!("  {dim}{name:<8}{dim:#}  {text}"));
        row("applies", self.applies().into());
        let engine = self.fields.engine().map_or("not known", Engine::name);
        row("engine", engine.into());
        row("cgroup", printable(&self.fields.workload().path));
        if self.fields.workload().path != self.workload.path {
            row("", "what is below that belongs to it, and its names do not count".into());
        }
        for (index, decision) in self.decisions.iter().enumerate() {
            let holds = match decision.holds {
                Some(true) => "holds",
                Some(false) => "does not hold",
                None => "cannot be evaluated",
            };
            lines.push(format!("{}, {holds}:", self.place(index)));
            lines.push(format!("    apply if {}", printable(&self.statement(index))));
            for test in &decision.because {
                lines.push(format!("    {test}"));
                lines.push(format!("      {}", self.trust(test)));
            }
        }
        lines.join("\n")
    }

    fn applies(&self) -> String {
        let painted = |style: anstyle::Style, text: &str| format!("{style}{text}{style:#}");
        match self.applies {
            Some(true) => {
                let by = self.decisions.iter().position(|decision| decision.holds == Some(true));
                format!(
                    "{}, by {}",
                    painted(style::ALLOW, "yes"),
                    by.map_or_else(String::new, |by| self.place(by))
                )
            }
            Some(false) if self.decisions.is_empty() => {
                "to nothing by itself: the policy has no `apply if`; `knobgate attach` attaches it".to_owned()
            }
            Some(false) => painted(style::DENY, "no"),
            None => format!(
                "{}: no statement holds, and one cannot be evaluated",
                painted(style::REWRITE, "not known")
            ),
        }
    }

    fn place(&self, index: usize) -> String {
        let place = self.file.apply_if_place(index).map(|place| place.to_string());
        printable(place.as_deref().unwrap_or(self.file.source().name())).into_owned()
    }

    fn statement(&self, index: usize) -> String {
        self.file.policy().apply_if()[index].to_string()
    }

    /// Who chooses the field of a test.
    fn trust(&self, test: &DecidedTest<'_>) -> String {
        let field = test.test.field();
        let name = field.to_string();
        let name = printable(&name);
        match self.fields.trust(field) {
            Some(Trust::Trusted(who)) => format!("`{name}` is trusted: chosen by {who}"),
            Some(Trust::Chosen(who)) => format!("`{name}` is not trusted: chosen by {who}"),
            Some(Trust::Absent) => format!("{} has no `{name}`", self.engine_name()),
            Some(_) => format!("knobgate cannot find out the `{name}` of {}", self.engine_name()),
            None => format!("who chooses `{name}` depends on the engine, which is not known"),
        }
    }

    fn engine_name(&self) -> &'static str {
        self.fields.engine().map_or("it", Engine::name)
    }

    /// As a line of JSON. Lines count from 1.
    pub(super) fn json(&self) -> String {
        let selectors = self.decisions.iter().enumerate().map(|(index, decision)| JsonSelector {
            line: self.file.apply_if_place(index).map(|place| place.line),
            text: self.statement(index),
            holds: decision.holds,
            because: decision.because.iter().map(|test| self.json_test(test)).collect(),
        });
        json::line(&Object {
            file: self.file.source().name(),
            policy: self.file.policy().name(),
            pid: self.pid,
            workload: String::from_utf8_lossy(&self.workload.label()).into_owned(),
            engine: self.fields.engine().map(Engine::name),
            cgroup: Bytes::from(&*self.fields.workload().path),
            applies: self.applies,
            selectors: selectors.collect(),
        })
    }

    fn json_test<'b>(&self, test: &'b DecidedTest<'a>) -> JsonTest<'b> {
        let (trust, chosen_by) = match self.fields.trust(test.test.field()) {
            Some(Trust::Trusted(who)) => (Some("trusted"), Some(who)),
            Some(Trust::Chosen(who)) => (Some("chosen"), Some(who)),
            Some(Trust::Absent) => (Some("absent"), None),
            _ => (None, None),
        };
        JsonTest {
            test: test.test.to_string(),
            field: test.test.field().to_string(),
            value: test.text.as_deref().map(Bytes::from),
            holds: test.holds,
            trust,
            chosen_by,
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    file: &'a str,
    policy: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    workload: String,
    engine: Option<&'a str>,
    /// Where a policy goes that applies.
    cgroup: Bytes<'a>,
    /// `null` if that cannot be evaluated.
    applies: Option<bool>,
    selectors: Vec<JsonSelector<'a>>,
}

#[derive(Serialize)]
struct JsonSelector<'a> {
    line: Option<usize>,
    text: String,
    holds: Option<bool>,
    because: Vec<JsonTest<'a>>,
}

#[derive(Serialize)]
struct JsonTest<'a> {
    test: String,
    field: String,
    /// Empty if there is none; `null` if it is not known.
    value: Option<Bytes<'a>>,
    holds: Option<bool>,
    trust: Option<&'static str>,
    chosen_by: Option<&'static str>,
}
