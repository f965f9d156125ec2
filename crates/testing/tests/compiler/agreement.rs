//! The director: random policies and accesses, and what must come of them.

use std::fmt::Write as _;
use std::fs;

use knobgate_bpf::{Features, RULE_HITS_MAP};
use knobgate_compiler::{CompileError, Compiled, Degradation, compile, compile_inlining};
use knobgate_kernel::{Link, LoadOptions, LoadedProgram, ScratchCgroup, load, probe};
use knobgate_policy::{
    Access, AccessKind, Action, CheckOptions, DecidedBy, Decision, Errno, EvalError, KnobPattern, Mode,
    Policy, PolicyFile, Rule, Source, Verdict, evaluate, parse, print,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::actor::{Actor, Outcome, READ_BYTES, perform};
use crate::alike;
use crate::knobs::{KNOBS, PATTERNS, Playground, value_of};
use crate::large;
use crate::model::OnModel;
use crate::words;

/// The argument that makes the test binary a director.
pub(crate) const ARGUMENT: &str = "--be-the-director";
/// The same for large policies.
pub(crate) const LARGE_ARGUMENT: &str = "--be-the-director-of-large-policies";

/// The kernels that programs are made for, as far as the one at hand can stand in for them.
fn targets() -> [(&'static str, Features); 3] {
    let here = probe().features();
    let Features { set_new_value, current_comm, .. } = here;
    [
        ("this kernel", here),
        (
            "the oldest kernels, but for the name of the task",
            Features { set_new_value, current_comm, ..Features::BASELINE },
        ),
        ("kernels that drop replaced values", Features { set_new_value: false, ..here }),
    ]
}

/// Tries `policies` policies with `accesses` accesses each; with `bpf_loop`, every second one has conditions as data: all of
/// them, or those of the first rules of each chain.
///
/// # Errors
/// The first difference, in words.
pub(crate) fn direct(seed: u64, policies: u64, accesses: u64) -> Result<(), String> {
    let mut director = Director::new(seed);
    let targets = targets();
    for number in 0..policies {
        let (target, features) = targets[(number % 3) as usize];
        let policy = words::known(draw(&mut director.runner, policy()), &features);
        let file = parsed(&print(&policy))?;
        // The loop is this kernel's, whatever else the program is made for.
        let with_loop = Features { bpf_loop: true, ..features };
        let (form, compiled) = if number % 2 == 1 && targets[0].1.bpf_loop {
            let inlined = (number / 6 % 3) as usize;
            ("data", compile_inlining(&file, &with_loop, inlined))
        } else {
            ("code", compile(&file, &features))
        };
        director.try_program(&file, compiled, &features, accesses, |_, _, _| {}).map_err(|difference| {
            format!("made for {target}, conditions as {form}: {difference}\n{}", file.source().text())
        })?;
    }
    println!("{policies} policies");
    director.tally.tell();
    director.tally.check_shares(targets[0].1.set_new_value)
}

/// The same with two policies that are too much for the verifier with their conditions as code.
///
/// # Errors
/// The first difference, in words.
pub(crate) fn direct_large(seed: u64, accesses: u64) -> Result<(), String> {
    let mut director = Director::new(seed);
    let features = probe().features();
    for large in [large::different_conditions(), large::one_chain()] {
        let file = parsed(&large.text)?;
        match compile(&file, &Features { bpf_loop: false, ..features }) {
            Err(CompileError::TooMuchToVerify { bpf_loop: false, .. }) => {}
            Err(error) => return Err(format!("without bpf_loop: {error}")),
            Ok(code) => return Err(format!("as code it is {} steps, not too many", code.verifier_steps)),
        }
        director.try_program(&file, compile(&file, &features), &features, accesses, large.aim)?;
    }
    director.tally.tell();
    let Tally { tried, allowed, denied, .. } = director.tally;
    if tried >= 100 && (allowed == 0 || denied == 0) { Err(ALIKE.to_owned()) } else { Ok(()) }
}

/// Whoever has accesses made, and compares what came of them.
struct Director {
    runner: TestRunner,
    knobs: Vec<&'static Playground>,
    actor: Actor,
    cgroup: ScratchCgroup,
    tally: Tally,
}

/// What came of the accesses.
#[derive(Debug, Default)]
struct Tally {
    tried: u64,
    /// Also where a policy is in audit mode.
    allowed: u64,
    denied: u64,
    /// Of those denied: a condition could not be evaluated.
    unreadable: u64,
    rewritten: u64,
    /// Of those denied: the policy rewrites, and the kernel cannot.
    instead: u64,
}

impl Director {
    fn new(seed: u64) -> Self {
        let mut seed_bytes = [0; 32];
        seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
        let knobs: Vec<&Playground> =
            KNOBS.iter().filter(|knob| fs::exists(path(knob)).unwrap_or(false)).collect();
        for absent in KNOBS.iter().filter(|knob| !knobs.iter().any(|present| present.name == knob.name)) {
            println!("this kernel has no {}", absent.name);
        }
        let cgroup = knobgate_testing::scratch();
        Self {
            runner: TestRunner::new_with_rng(Config::default(), rng),
            knobs,
            actor: Actor::start(&cgroup),
            cgroup,
            tally: Tally::default(),
        }
    }

    /// Makes accesses under one program. `aim` may change them first.
    fn try_program(
        &mut self,
        file: &PolicyFile,
        compiled: Result<Compiled, CompileError>,
        features: &Features,
        accesses: u64,
        aim: large::Aim,
    ) -> Result<(), String> {
        let compiled = compiled.map_err(|error| format!("cannot compile: {error}"))?;
        let program = load(&compiled.program, &LoadOptions::default()).map_err(|error| {
            let log = error.log().map_or("", |log| log.text());
            format!("{error}\n{}", &log[log.len().saturating_sub(4000)..])
        })?;
        let model = OnModel::load(&compiled)?;
        let link = Link::create(&program.program, &self.cgroup).map_err(|error| error.to_string())?;
        let policy = file.policy();
        // Accesses look for trouble with every constant, which takes its time.
        let beginning = policy.clone().with_rules(policy.rules().iter().take(50).cloned());
        let mut counters = vec![[0; 2]; policy.rules().len() + 2];
        let mut restarted = counters.clone();
        for _ in 0..accesses {
            let knob = draw(&mut self.runner, select(self.knobs.clone()));
            reset(knob, draw(&mut self.runner, any::<proptest::sample::Index>()));
            let mut access = draw(&mut self.runner, access(&beginning, knob));
            aim(&mut access, knob, draw(&mut self.runner, any::<proptest::sample::Index>()));
            let decision = evaluate(policy, &access);
            let verdict = on(&compiled, file, features, decision.by, decision.verdict.clone());

            let before = value_of(path(knob)).ok();
            let got = (self.actor.perform(&access), value_of(path(knob)).ok());
            let mut counted = since(&mut counters, &program);
            if let [first @ (rule, which), again @ ..] = &counted[..]
                && knob.restarts
                && again.iter().all(|other| other == first)
            {
                restarted[*rule][*which] += again.len() as u64;
                counted.truncate(1);
            }
            let expected = match &verdict {
                Verdict::Deny(errno) => {
                    (Outcome { returned: -(i64::from(errno.number())), data: Vec::new() }, before.clone())
                }
                verdict => {
                    restore(knob, before.as_deref());
                    let mut unpoliced = access.clone();
                    if let Verdict::Rewrite(value) = verdict {
                        unpoliced.new = Some(value.clone());
                    }
                    (perform(&unpoliced), value_of(path(knob)).ok())
                }
            };
            let modelled = model.decide(&access);
            let model_counts = sum(model.counters(), &restarted) == counters;
            if got != expected
                || !says(&counted, decision.by, &compiled)
                || modelled.as_ref() != Ok(&verdict)
                || !model_counts
            {
                let mut words = String::new();
                let _ = writeln!(words, "{access:?}\n{decision:?}, here {verdict:?}");
                let _ = writeln!(words, "got      {got:?}\nexpected {expected:?}\ncounted  {counted:?}");
                let _ = writeln!(words, "model    {modelled:?}, counts alike: {model_counts}");
                return Err(words);
            }
            self.tally.count(&decision, &verdict);
        }
        link.detach().map_err(|error| error.to_string())
    }
}

impl Tally {
    fn count(&mut self, decision: &Decision, verdict: &Verdict) {
        self.tried += 1;
        match verdict {
            Verdict::Allow => self.allowed += 1,
            Verdict::Rewrite(_) => self.rewritten += 1,
            Verdict::Deny(_) => {
                self.denied += 1;
                self.unreadable += u64::from(matches!(decision.by, DecidedBy::EvalError { .. }));
                self.instead += u64::from(matches!(decision.verdict, Verdict::Rewrite(_)));
            }
        }
    }

    /// Says what was tried.
    fn tell(&self) {
        let Self { tried, allowed, denied, unreadable, rewritten, instead } = *self;
        println!(
            "{tried} accesses: {allowed} allowed, {rewritten} rewritten, {denied} denied, of these {unreadable} for what \
             cannot be evaluated and {instead} instead of being rewritten"
        );
    }

    /// Whether what was tried shows something, on a kernel that `rewrites`.
    ///
    /// # Errors
    ///
    /// Too few accesses of a hundred were decided in one of the ways. What few accesses there are may be like that.
    fn check_shares(&self, rewrites: bool) -> Result<(), String> {
        let decided_to_rewrite = self.rewritten + self.instead;
        let shares = [
            ("allowed", 10, self.allowed),
            ("denied", 20, self.denied),
            ("rewritten, or denied where the program is for a kernel that cannot", 5, decided_to_rewrite),
            ("rewritten", if rewrites { 2 } else { 0 }, self.rewritten),
        ];
        for (what, percent, count) in shares {
            if self.tried >= ENOUGH && count * 100 < self.tried * percent {
                return Err(format!("{ALIKE}: {count} of {} are {what}, not {percent}%", self.tried));
            }
        }
        Ok(())
    }
}

const ALIKE: &str = "the accesses are too much alike to show anything";

/// Of so many accesses there must be some of every kind.
const ENOUGH: u64 = 1000;

fn parsed(text: &str) -> Result<PolicyFile, String> {
    parse(Source::new("random.knob", text), &CheckOptions::default())
        .map_err(|diagnostics| format!("{diagnostics:?}\n{text}"))
}

/// Simplifies a rule that rewrites, so that most values can be rewritten.
fn simplified(rule: &Rule) -> Rule {
    let action = match rule.action() {
        Action::Set(_) => Action::set("2").expect("a text"),
        Action::Clamp(ranges) => Action::clamp([ranges[0]]).expect("a range"),
        Action::Ignore => Action::Ignore,
        Action::Allow | Action::Deny(_) => return rule.clone(),
    };
    Rule::new(action, rule.kinds(), rule.patterns().to_vec()).expect("a rule").with_log(rule.log())
}

/// A random policy over the knobs of the playground.
fn policy() -> impl Strategy<Value = Policy> {
    let patterns: Vec<KnobPattern> =
        PATTERNS.iter().map(|text| KnobPattern::parse(text).expect("a pattern")).collect();
    let literals: Vec<KnobPattern> =
        KNOBS.iter().map(|knob| KnobPattern::parse(knob.name).expect("a name is a pattern")).collect();
    let chosen = prop_oneof![3 => subsequence(literals, 1..=4), 1 => subsequence(patterns, 1..=2)];
    let rules = (knobgate_arbitrary::policy_with_rules(1..24), 0..8usize, any::<bool>()).prop_map(
        |(policy, copies, plain)| {
            let mut rules = policy.rules().to_vec();
            if plain {
                rules.iter_mut().for_each(|rule| *rule = simplified(rule));
            }
            for copy in 1..=copies {
                rules.push(alike::like(&rules[copy % rules.len()], copy as u32));
            }
            policy.with_rules(rules)
        },
    );
    rules.prop_flat_map(move |policy| {
        proptest::collection::vec(chosen.clone(), policy.rules().len()).prop_map(move |patterns| {
            let rules = policy.rules().iter().zip(patterns).map(|(rule, patterns)| {
                let moved = Rule::new(rule.action().clone(), rule.kinds(), patterns).expect("a rule");
                let moved = moved.with_condition(rule.condition().cloned()).expect("a condition");
                moved.with_log(rule.log())
            });
            let rules: Vec<Rule> = rules.collect();
            policy.clone().with_rules(rules)
        })
    })
}

/// A random access to `knob` as it is now.
fn access(policy: &Policy, knob: &Playground) -> impl Strategy<Value = Access> + use<> {
    let name = crate::knob(knob.name);
    // What the hook's own read of the knob returns: one page at most.
    let old = value_of(path(knob)).ok().map(|mut value| {
        value.truncate(READ_BYTES);
        value
    });
    let ordinary: Vec<Vec<u8>> = knob
        .values
        .iter()
        .flat_map(|value| [value.as_bytes().to_vec(), format!("{value}\n").into_bytes()])
        .chain([b"1\n".to_vec()])
        .collect();
    let write_only = knob.values.is_empty();
    (knobgate_arbitrary::access(policy), proptest::option::weighted(0.8, select(ordinary))).prop_map(
        move |(mut access, ordinary)| {
            access.knob = name.clone();
            access.old.clone_from(&old);
            if write_only && access.new.is_none() {
                access.new = Some(Vec::new());
            }
            if let (Some(new), Some(ordinary)) = (&mut access.new, ordinary) {
                *new = ordinary;
            }
            // As far as system calls can have it.
            access.pos &= i64::MAX as u64 >> 8;
            access.task.uid = access.task.uid.min(u32::MAX - 1);
            access.task.gid = access.task.gid.min(u32::MAX - 1);
            access.task.comm.retain(|&byte| byte != 0);
            access.task.comm.truncate(15);
            access
        },
    )
}

/// What the program made for `features` must do where the language says `verdict`.
fn on(
    compiled: &Compiled,
    file: &PolicyFile,
    features: &Features,
    by: DecidedBy,
    verdict: Verdict,
) -> Verdict {
    if file.policy().mode() == Mode::Audit {
        return Verdict::Allow;
    }
    match (verdict, by) {
        (Verdict::Deny(errno), _) if errno != Errno::EPERM && !features.set_retval => {
            assert!(compiled.degradations.contains(&Degradation::ErrnoIsEperm(errno)), "it must be said");
            Verdict::Deny(Errno::EPERM)
        }
        (Verdict::Rewrite(value), DecidedBy::Rule(rule)) => {
            let denies = compiled.degradations.iter().any(|degradation| {
                matches!(*degradation,
                    Degradation::RewriteIsDenied { rule: found } | Degradation::VectorClampIsDenied { rule: found }
                        if found == rule)
            });
            assert!(denies || features.set_new_value, "it must be said");
            if denies { Verdict::Deny(Errno::EPERM) } else { Verdict::Rewrite(value) }
        }
        (verdict, _) => verdict,
    }
}

/// The counters of both.
fn sum(mut counters: Vec<[u64; 2]>, others: &[[u64; 2]]) -> Vec<[u64; 2]> {
    for (counters, others) in counters.iter_mut().zip(others) {
        *counters = [counters[0] + others[0], counters[1] + others[1]];
    }
    counters
}

/// The counters that have moved since the last time, `(rule, which of its two)`, each as often as it has.
fn since(before: &mut Vec<[u64; 2]>, program: &LoadedProgram) -> Vec<(usize, usize)> {
    let now = read_counters(program);
    let mut moved = Vec::new();
    for (rule, (was, is)) in before.iter().zip(&now).enumerate() {
        for which in [0, 1] {
            moved.extend((was[which]..is[which]).map(|_| (rule, which)));
        }
    }
    *before = now;
    moved
}

/// Whether exactly the counter of `by` has moved, once.
fn says(counted: &[(usize, usize)], by: DecidedBy, compiled: &Compiled) -> bool {
    let rules = compiled.program.rules.len() - 2;
    let expected = match by {
        DecidedBy::Rule(rule) => (rule, 0),
        // This one is denied before it is known whether the replacement would fit.
        DecidedBy::EvalError { rule, error: EvalError::DoesNotFit { .. } }
            if compiled.degradations.contains(&Degradation::VectorClampIsDenied { rule }) =>
        {
            (rule, 0)
        }
        DecidedBy::EvalError { rule, .. } => (rule, 1),
        DecidedBy::Default(AccessKind::Read) => (rules, 0),
        DecidedBy::Default(AccessKind::Write) => (rules + 1, 0),
    };
    *counted == [expected]
}

fn read_counters(program: &LoadedProgram) -> Vec<[u64; 2]> {
    let map = program.map(RULE_HITS_MAP).expect("every program has it");
    let value = map.lookup(&[0; 4]).expect("can be read").expect("has its one entry");
    let counters: Vec<u64> =
        value.chunks_exact(8).map(|bytes| u64::from_ne_bytes(bytes.try_into().expect("eight"))).collect();
    counters.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect()
}

fn path(knob: &Playground) -> String {
    format!("/proc/sys/{}", knob.name)
}

/// Gives the knob one of its values.
fn reset(knob: &Playground, index: proptest::sample::Index) {
    if !knob.values.is_empty() {
        fs::write(path(knob), index.get(knob.values))
            .unwrap_or_else(|error| panic!("set {}: {error}", knob.name));
    }
}

/// Gives the knob back the value that was read of it.
fn restore(knob: &Playground, value: Option<&[u8]>) {
    if let Some(value) = value {
        fs::write(path(knob), value).unwrap_or_else(|error| panic!("restore {}: {error}", knob.name));
    }
}

fn draw<S: Strategy>(runner: &mut TestRunner, strategy: S) -> S::Value {
    strategy.new_tree(runner).expect("the strategies reject nothing").current()
}
