//! Random policies and accesses: each event says what `evaluate` decides, and there is none where it says so.

use knobgate_backend::{Backend, CgroupId, MapId, Placement, Task};
use knobgate_bpf::{Features, MapDef, MapKind};
use knobgate_compiler::{
    Compiled, EVENT_ACTIVE_MAP, EVENT_READERS_MAP, EVENT_READERS_MAX, EventOptions, compile_with_events,
};
use knobgate_events::record::{TEXT_MAX, decode};
use knobgate_events::{Event, EventText, EventVerdict, RuleRef, reconstruct, secrets};
use knobgate_hook::Knobs;
use knobgate_kernel::probe;
use knobgate_policy::limits::SHORT_VALUE_MAX;
use knobgate_policy::{
    Access, Action, Condition, DecidedBy, Decision, Defaults, Errno, Fallback, FallbackAction, Logging, Mode,
    Policy, PolicyFile, Rule, Verdict, evaluate, print,
};
use knobgate_testing::{Both, number, seed};
use libtest_mimic::Failed;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::agreement::{Owner, access, degraded, draw, parsed, perform, policy};
use crate::knobs::{KNOBS, TestKnob};
use crate::supported::supported;

/// The defaults of `KNOBGATE_POLICIES` and `KNOBGATE_ACCESSES`: random policies, and accesses under each.
const POLICIES: u64 = 48;
const ACCESSES: u64 = 120;

/// # Errors
///
/// The first difference.
pub(crate) fn random_policies() -> Result<(), Failed> {
    let (seed, policies) = (seed()?, number("KNOBGATE_POLICIES", POLICIES)?);
    let accesses = number("KNOBGATE_ACCESSES", ACCESSES)?;
    println!("KNOBGATE_SEED={seed} KNOBGATE_POLICIES={policies} KNOBGATE_ACCESSES={accesses}");
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let probes = probe();
    let here = probes.features();
    let Some(features) = probes.event_features() else { return Err("programs can send no events".into()) };
    let mut both = Both::new(Knobs::new());
    let cgroup = both.kernel.create_cgroup(CgroupId::SCRATCH, "policy").map_err(failed)?;
    let knobs: Vec<&TestKnob> = KNOBS
        .iter()
        .filter(|knob| std::fs::exists(format!("/proc/sys/{}", knob.name)).unwrap_or(false))
        .collect();
    let mut tally = Tally::default();
    for number in 0..policies {
        let features_of_rules =
            if number % 4 == 3 { Features { set_new_value: false, ..here } } else { here };
        let owner = Owner::choose(number % 2 == 0)?;
        let features_of_rules = owner.of_programs(features_of_rules);
        let policy = unlimited(&supported(draw(&mut runner, policy()), &features_of_rules));
        let file = parsed(&print(&policy))?;
        let options = EventOptions { features, observer: number % 5 == 4 };
        let compiled = compile_with_events(&file, &features_of_rules, &options)
            .map_err(|error| format!("cannot compile: {error}\n{}", file.source().text()))?;
        let program = both.kernel.load(compiled.program(), None).map_err(failed)?;
        let maps = both.kernel.maps(program).map_err(failed)?.to_vec();
        let map = |name: &str| {
            let index = compiled.program().maps.iter().position(|map| map.name == name);
            index.map(|index| maps[index]).expect("a program that sends events has it")
        };
        let place = (number % u64::from(EVENT_READERS_MAX)) as u32;
        let ring = both.kernel.add_map("the test", &ring()).map_err(|error| error.to_string())?;
        both.kernel.put_map(map(EVENT_READERS_MAP), &place.to_ne_bytes(), ring).map_err(failed)?;
        let active = (1u64 << place).to_le_bytes();
        both.kernel.update_map(map(EVENT_ACTIVE_MAP), &0u32.to_ne_bytes(), &active).map_err(failed)?;
        let link = both.kernel.link(cgroup, program, &Placement::default()).map_err(failed)?;
        for _ in 0..accesses {
            let knob = draw(&mut runner, select(knobs.clone()));
            if !knob.values.is_empty() {
                let value = draw(&mut runner, select(knob.values));
                both.kernel.set_value(knob.name, value.as_bytes()).map_err(failed)?;
            }
            let before = both.kernel.value(knob.name).map_err(failed)?;
            let mut access = draw(&mut runner, access(file.policy(), knob, before));
            owner.own(&mut access);
            let task = Task { uid: access.task.uid, gid: access.task.gid, comm: access.task.comm.clone() };
            both.kernel.set_task(cgroup, &task).map_err(failed)?;
            perform(&mut both.kernel, cgroup, &access)?;
            let decision = evaluate(file.policy(), &compiled.seen(&access));
            let expected = Expected {
                file: &file,
                access: &access,
                decision: &decision,
                verdict: expected_verdict(&compiled, &file, &features_of_rules, &decision),
                options: &options,
            };
            let mut events = events(&mut both.kernel, ring)?;
            if knob.restarts {
                events.truncate(1);
            }
            tally.count(&decision, &events);
            let differs = match (&events[..], decision.log) {
                ([], false) => None,
                ([], true) if is_limited(file.policy(), &decision) => None,
                ([event], true) => expected.difference(event),
                (events, log) => Some(format!("{} events, where the language says {log}", events.len())),
            };
            if let Some(difference) = differs {
                let text = file.source().text();
                return Err(format!("{difference}\n{access:?}\n{decision:?}\n{events:#?}\n{text}").into());
            }
        }
        both.kernel.close_link(link).map_err(failed)?;
        both.kernel.unload(program).map_err(failed)?;
    }
    tally.check(here.set_new_value)?;
    Ok(both.kernel.finish()?)
}

/// Whether the decision has a limit of events, which may be reached.
fn is_limited(policy: &Policy, decision: &Decision) -> bool {
    matches!(decision.by, DecidedBy::EvalError { rule, .. } if policy.rules()[rule].event_limit().is_some())
}

fn failed(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

/// The same policy, but what logs does so without a limit. Rules that do not log keep the limit for what cannot be evaluated.
fn unlimited(policy: &Policy) -> Policy {
    let unlimited = |log: Option<Logging>, allows: bool| match log {
        Some(Logging::Never) => Some(Logging::Never),
        None if allows => None,
        _ => Some(Logging::All),
    };
    let rules: Vec<Rule> = policy
        .rules()
        .iter()
        .map(|rule| rule.clone().with_log(unlimited(rule.log(), *rule.action() == Action::Allow)))
        .collect();
    let default = |default: Fallback| Fallback {
        log: unlimited(default.log, default.action == FallbackAction::Allow),
        ..default
    };
    let Defaults { read, write } = policy.defaults();
    policy.clone().with_rules(rules).with_defaults(Defaults { read: default(read), write: default(write) })
}

/// A ring buffer that holds the events of one access.
fn ring() -> MapDef {
    MapDef {
        name: "reader".to_owned(),
        kind: MapKind::Ringbuf,
        key_size: 0,
        value_size: 0,
        max_entries: 1 << 16,
        flags: 0,
        contents: Vec::new(),
        frozen: false,
        ..MapDef::default()
    }
}

fn events(backend: &mut impl Backend, ring: MapId) -> Result<Vec<Event>, String> {
    let entries = backend.entries(ring).map_err(failed)?;
    entries.iter().map(|(_, record)| decode(record).map_err(|error| error.to_string())).collect()
}

/// What the program does for the decision, whether it is enforced or not.
fn expected_verdict(
    compiled: &Compiled,
    file: &PolicyFile,
    features: &Features,
    decision: &Decision,
) -> Verdict {
    match file.policy().mode() {
        Mode::Audit => match compiled.effect(decision).verdict {
            Verdict::Deny(_) if !features.set_retval => Verdict::Deny(Errno::EPERM),
            verdict => verdict,
        },
        Mode::Enforce => degraded(compiled, file, features, decision.by, decision.verdict.clone()),
    }
}

struct Expected<'a> {
    file: &'a PolicyFile,
    access: &'a Access,
    decision: &'a Decision,
    verdict: Verdict,
    options: &'a EventOptions,
}

impl Expected<'_> {
    /// What an event says that is not so.
    fn difference(&self, event: &Event) -> Option<String> {
        let (policy, access) = (self.file.policy(), self.access);
        let rules = policy.rules().len();
        let audits = policy.mode() == Mode::Audit;
        let secret = secrets::is_secret(access.knob.as_bytes());
        let (rule, eval_error) = match self.decision.by {
            DecidedBy::Rule(rule) => (RuleRef::Rule(rule as u32), None),
            DecidedBy::Default(kind) => (RuleRef::Default(kind), None),
            DecidedBy::EvalError { rule, error } => (RuleRef::Rule(rule as u32), Some(error)),
        };
        let (line, text) = match rule {
            RuleRef::Rule(rule) => (
                self.file.rule_place(rule as usize).map(|place| place.line),
                self.file.rule_text(rule as usize).unwrap_or_default().to_owned(),
            ),
            RuleRef::Default(kind) => (
                self.file.default_place(kind).map(|place| place.line),
                self.file
                    .default_span(kind)
                    .map_or_else(String::new, |span| self.file.source().slice(span).to_owned()),
            ),
        };
        let verdict = match &self.verdict {
            Verdict::Allow => EventVerdict::Allow,
            Verdict::Deny(errno) => EventVerdict::Deny(*errno),
            Verdict::Rewrite(_) => EventVerdict::Rewrite,
        };
        let replacement = match &self.verdict {
            Verdict::Rewrite(value) if !secret => Some(value.clone()),
            _ => None,
        };
        let stored = replacement.clone().filter(|_| !audits);
        let new = access.new.clone().filter(|new| !new.is_empty() && !secret);
        let old = access.old.clone().filter(|old| !old.is_empty() && !secret);
        // Where a vector cannot be clamped here, the program denies before it knows whether that would fit.
        let is_evaluated =
            !event.rule.eval_error && eval_error.is_some() && verdict == EventVerdict::Deny(Errno::EPERM);
        let mut task = vec![];
        if let Some(uid) = event.uid {
            task.push(("uid", uid == access.task.uid));
        }
        if let Some(gid) = event.gid {
            task.push(("gid", gid == access.task.gid));
        }
        if let Some(comm) = &event.comm {
            task.push(("comm", *comm == access.task.comm));
        }
        let reconstructed = reconstruct(event);
        let checks = [
            ("knob", event.knob.bytes == access.knob.as_bytes() && event.knob.cut_from.is_none()),
            ("kind", event.kind == access.kind()),
            ("position", event.position == access.pos as u32),
            ("secret", event.secret == secret),
            ("old", is_text(&event.old, &old)),
            ("new", is_text(&event.new, &new)),
            ("stored", is_text(&event.stored, &stored)),
            ("verdict", event.verdict == verdict),
            ("mode", event.mode == policy.mode()),
            ("policy", event.policy == policy.name()),
            (
                "rule",
                event.rule.rule == rule && (rules == 0 || event.rule.line == line.map(|line| line as u32)),
            ),
            (
                "text of the rule",
                // The text of a rule may have a secret in it.
                match event.secret {
                    true => event.rule.text.bytes.is_empty(),
                    false => {
                        text.is_empty() || text.len() > TEXT_MAX || event.rule.text.bytes == text.as_bytes()
                    }
                },
            ),
            ("evaluated", is_evaluated || event.rule.eval_error == eval_error.is_some()),
            ("observer", event.observer == self.options.observer),
            (
                "pid",
                event.pid.is_some()
                    == (self.options.features.current_pid_tgid || self.options.features.task.is_some()),
            ),
            ("namespaces", event.namespaces.is_some() == self.options.features.task.is_some()),
            ("denied before", event.denied_before.is_none()),
            // Texts that were cut do not tell.
            (
                "why it cannot be evaluated",
                reconstructed.eval_error.is_none() || reconstructed.eval_error == eval_error,
            ),
            (
                "what it would be replaced with",
                reconstructed.replacement.is_none() || reconstructed.replacement == replacement,
            ),
            (
                "reconstructed",
                secret
                    || event.rule.text.cut_from.is_some()
                    || is_evaluated
                    // The event does not have the width that the policy declares.
                    || !policy.width_64().is_empty()
                    // Nor has it the network namespace that owns the knob.
                    || policy.rules().iter().filter_map(Rule::condition).any(Condition::looks_at_netns)
                    // Nor all of a long value, or how much of it the program could look at.
                    || [&event.new, &event.old].into_iter().flatten().any(|text| text.bytes.len() > SHORT_VALUE_MAX)
                    || (reconstructed.eval_error.is_some() == eval_error.is_some()
                        && reconstructed.replacement.is_some() == replacement.is_some()),
            ),
        ];
        let mut wrong = checks.into_iter().chain(task).filter(|(_, holds)| !holds).map(|(what, _)| what);
        wrong.next().map(|what| format!("{what} of the event is wrong"))
    }
}

/// Whether a text is this value, as far as records go.
fn is_text(text: &Option<EventText>, value: &Option<Vec<u8>>) -> bool {
    match (text, value) {
        (None, None) => true,
        (Some(text), Some(value)) => {
            text.bytes == value[..value.len().min(TEXT_MAX)]
                && text.cut_from == (value.len() > TEXT_MAX).then_some(value.len().min(4096) as u32)
        }
        _ => false,
    }
}

/// What the events were about.
#[derive(Debug, Default)]
struct Tally {
    accesses: u64,
    events: u64,
    allowed: u64,
    denied: u64,
    rewritten: u64,
    not_evaluated: u64,
}

impl Tally {
    fn count(&mut self, decision: &Decision, events: &[Event]) {
        self.accesses += 1;
        for event in events {
            self.events += 1;
            match event.verdict {
                EventVerdict::Allow => self.allowed += 1,
                EventVerdict::Deny(_) => self.denied += 1,
                EventVerdict::Rewrite => self.rewritten += 1,
            }
            self.not_evaluated += u64::from(matches!(decision.by, DecidedBy::EvalError { .. }));
        }
    }

    /// # Errors
    ///
    /// A kind of event is missing, although there were many, on a kernel that `rewrites` or does not.
    fn check(&self, rewrites: bool) -> Result<(), String> {
        println!("{self:?}");
        let kinds = [self.allowed, self.denied, self.not_evaluated, self.accesses - self.events];
        if self.accesses >= 1000 && (kinds.contains(&0) || rewrites && self.rewritten == 0) {
            return Err("the accesses are too similar to show anything".to_owned());
        }
        Ok(())
    }
}
