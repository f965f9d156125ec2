//! Random policies and accesses: `evaluate`, the program on the kernel and the program on the model decide the same.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use knobgate_backend::{Backend, CgroupId, MapId, Placement, Request, SyscallResult, Task};
use knobgate_bpf::{Features, KernelStructs, KnobOwner, Program};
use knobgate_compiler::{
    CompileError, Compiled, Counted, Counter, Degradation, RULE_HITS_MAP, RuleHits, compile, compile_inlining,
};
use knobgate_hook::{KernelBtf, Knob, KnobSet, Knobs};
use knobgate_kernel::probe;
use knobgate_policy::limits::SHORT_VALUE_MAX;
use knobgate_policy::{
    Access, AccessKind, Action, CheckOptions, Condition, DecidedBy, Decision, Errno, EvalError, KnobName,
    KnobNetns, KnobPattern, Mode, Policy, PolicyFile, Rule, Source, Verdict, evaluate, parse, print,
};
use knobgate_testing::{Both, number, profile, seed};
use libtest_mimic::Failed;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::knobs::{KNOBS, PATTERNS, TestKnob};
use crate::large;
use crate::recording_knob::RecordingKnob;
use crate::similar;
use crate::supported::supported;

/// The defaults of `KNOBGATE_POLICIES` and `KNOBGATE_ACCESSES`: random policies, and accesses under each.
const POLICIES: u64 = 120;
const ACCESSES: u64 = 250;

/// The default of `KNOBGATE_ACCESSES` under each large policy.
const LARGE_ACCESSES: u64 = 60;

/// How many bytes a read asks for.
const READ_BYTES: usize = 4096;

/// The kernels that programs are made for, as far as the one at hand can stand in for them.
fn targets() -> [(&'static str, Features); 3] {
    let here = probe().features();
    let Features { set_new_value, current_comm, knob_owner, .. } = here;
    [
        ("this kernel", here),
        (
            "the oldest kernels, but for the name of the task and the network namespace of the knob",
            Features { set_new_value, current_comm, knob_owner, ..Features::BASELINE },
        ),
        ("kernels that drop replaced values", Features { set_new_value: false, ..here }),
    ]
}

/// Random policies, with random accesses each. With `bpf_loop`, every second policy has interpreted conditions: all of them, or
/// those of the first rules of each chain.
///
/// # Errors
///
/// The first difference.
pub(crate) fn random_policies() -> Result<(), Failed> {
    let (seed, policies) = (seed()?, number("KNOBGATE_POLICIES", POLICIES)?);
    let accesses = number("KNOBGATE_ACCESSES", ACCESSES)?;
    println!("KNOBGATE_SEED={seed} KNOBGATE_POLICIES={policies} KNOBGATE_ACCESSES={accesses}");
    let mut comparison = Comparison::new(seed)?;
    let targets = targets();
    for number in 0..policies {
        let (target, features) = targets[(number % 3) as usize];
        let owner = Owner::choose(draw(&mut comparison.runner, any::<bool>()))?;
        let features = owner.of_programs(features);
        let policy = supported(draw(&mut comparison.runner, policy()), &features);
        let file = parsed(&print(&policy))?;
        // The loop is this kernel's, whatever else the program is made for.
        let with_loop = Features { bpf_loop: true, ..features };
        let (encoding, compiled) = if number % 2 == 1 && targets[0].1.bpf_loop {
            let inlined = (number / 6 % 3) as usize;
            ("interpreted", compile_inlining(&file, &with_loop, inlined))
        } else {
            ("inlined", compile(&file, &features))
        };
        comparison.try_program(&file, compiled, (&features, owner), accesses, |_, _, _| {}).map_err(
            |difference| {
                format!("made for {target}, conditions {encoding}: {difference}\n{}", file.source().text())
            },
        )?;
    }
    println!("{policies} policies");
    comparison.tally.print();
    comparison.tally.check_shares(targets[0].1.set_new_value)?;
    comparison.finish()
}

/// The same with two policies that are too much for the verifier with their conditions inlined.
///
/// # Errors
///
/// The first difference.
pub(crate) fn large_policies() -> Result<(), Failed> {
    let (seed, accesses) = (seed()?, number("KNOBGATE_ACCESSES", LARGE_ACCESSES)?);
    println!("KNOBGATE_SEED={seed} KNOBGATE_ACCESSES={accesses}");
    let mut comparison = Comparison::new(seed)?;
    let features = probe().features();
    for large in [large::different_conditions(), large::one_chain()] {
        let file = parsed(&large.text)?;
        match compile(&file, &Features { bpf_loop: false, ..features }) {
            Err(CompileError::TooMuchToVerify { bpf_loop: false, .. }) => {}
            Err(error) => return Err(format!("without bpf_loop: {error}").into()),
            Ok(inlined) => {
                return Err(format!("inlined it is {} steps, not too many", inlined.verifier_steps()).into());
            }
        }
        let owner = Owner::choose(false)?;
        comparison.try_program(&file, compile(&file, &features), (&features, owner), accesses, large.aim)?;
    }
    comparison.tally.print();
    let Tally { tried, allowed, denied, .. } = comparison.tally;
    if tried >= 100 && (allowed == 0 || denied == 0) {
        return Err(TOO_SIMILAR.into());
    }
    comparison.finish()
}

/// Who owns the knobs of the test below `net/`. They are those of the test's own network namespace, which programs take for the
/// host's or for another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    netns: u32,
    is_host: bool,
}

impl Owner {
    pub(crate) fn choose(is_host: bool) -> Result<Self, String> {
        Ok(Self { netns: own_netns()?, is_host })
    }

    /// The features for programs that take it so.
    pub(crate) fn of_programs(self, features: Features) -> Features {
        let host = |owner: KnobOwner| if self.is_host { self.netns } else { owner.host };
        let knob_owner = features.knob_owner.map(|owner| KnobOwner { host: host(owner), ..owner });
        Features { knob_owner, ..features }
    }

    /// Says so of the knob of an access.
    pub(crate) fn own(self, access: &mut Access) {
        let netns = if self.is_host { KnobNetns::Host } else { KnobNetns::Other };
        access.knob_netns = access.knob.is_below_net().then_some(netns);
    }
}

/// The number of the test's network namespace.
pub(crate) fn own_netns() -> Result<u32, String> {
    let netns = fs::metadata("/proc/thread-self/ns/net").map_err(|error| error.to_string())?;
    u32::try_from(netns.ino()).map_err(|error| error.to_string())
}

/// Makes the same accesses on the kernel and on the model, and compares them with what the language says.
struct Comparison {
    runner: TestRunner,
    knobs: Vec<&'static TestKnob>,
    both: Both,
    /// All knobs of the model.
    recording: RecordingKnob,
    /// Where this kernel has what programs read of its memory, for the model; `None` without BTF.
    structs: Option<Arc<KernelStructs>>,
    /// The cgroup with the programs. Without a program is what happens in its parent.
    cgroup: CgroupId,
    tally: Tally,
}

/// How accesses were decided.
#[derive(Debug, Default)]
struct Tally {
    tried: u64,
    /// Also where a policy is in audit mode.
    allowed: u64,
    denied: u64,
    /// Of those denied: a condition cannot be evaluated.
    not_evaluated: u64,
    rewritten: u64,
    /// Of those denied: the policy rewrites, and the kernel cannot.
    instead: u64,
    /// A rule decided that looks at the network namespace of the knob: the host's, or another one.
    by_netns: [u64; 2],
    /// It was decided by more of a value than fits on the stack of a program.
    long: u64,
}

impl Comparison {
    fn new(seed: u64) -> Result<Self, String> {
        let mut seed_bytes = [0; 32];
        seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
        let (knobs, absent): (Vec<&TestKnob>, Vec<_>) =
            KNOBS.iter().partition(|knob| fs::exists(format!("/proc/sys/{}", knob.name)).unwrap_or(false));
        for knob in absent {
            println!("this kernel has no {}", knob.name);
        }
        let recording = RecordingKnob::default();
        let mut of_model = Knobs::new();
        for knob in &knobs {
            let set =
                if knob.name.starts_with("net/") { KnobSet::OfNet(own_netns()?) } else { KnobSet::Shared };
            of_model
                .add(knob.name, Knob::new(recording.clone()).in_set(set))
                .map_err(|error| error.to_string())?;
        }
        // So that the model's knobs see whether a value was replaced.
        let mut profile = profile();
        profile.rewrites_are_terminated = false;
        let mut both = Both::with_profile(profile, of_model);
        let cgroup = both.must(|backend| backend.create_cgroup(CgroupId::SCRATCH, "policy"))?;
        let runner = TestRunner::new_with_rng(Config::default(), rng);
        let btf = fs::read("/sys/kernel/btf/vmlinux").ok();
        let btf = btf.map(|btf| KernelBtf::read(&btf)).transpose().map_err(|error| error.to_string())?;
        let structs = btf.map(|btf| Arc::clone(btf.structs()));
        Ok(Self { runner, knobs, both, recording, structs, cgroup, tally: Tally::default() })
    }

    /// Makes accesses under one program. `aim` may change them first.
    fn try_program(
        &mut self,
        file: &PolicyFile,
        compiled: Result<Compiled, CompileError>,
        (features, owner): (&Features, Owner),
        accesses: u64,
        aim: large::Aim,
    ) -> Result<(), String> {
        let compiled = compiled.map_err(|error| format!("cannot compile: {error}"))?;
        let cgroup = self.cgroup;
        let linked = Program { kernel_structs: self.structs.clone(), ..compiled.program().clone() };
        let program = self.both.must(|backend| backend.load(&linked, None))?;
        let link = self.both.must(|backend| backend.link(cgroup, program, &Placement::default()))?;
        let index = compiled.program().maps.iter().position(|map| map.name == RULE_HITS_MAP);
        let index = index.expect("every program has it");
        let hits = self.both.must(|backend| Ok(backend.maps(program)?[index]))?;
        let policy = file.policy();
        // Accesses look for trouble with every constant, which takes its time.
        let beginning = policy.clone().with_rules(policy.rules().iter().take(50).cloned());
        let mut counters = vec![RuleHits::default(); policy.rules().len() + 2];
        let mut restarted = counters.clone();
        for _ in 0..accesses {
            let knob = draw(&mut self.runner, select(self.knobs.clone()));
            if !knob.values.is_empty() {
                let value = draw(&mut self.runner, select(knob.values));
                self.set(knob, value.as_bytes())?;
            }
            let before = self.value(knob)?;
            let mut access = draw(&mut self.runner, access(&beginning, knob, before.clone()));
            aim(&mut access, knob, draw(&mut self.runner, any::<proptest::sample::Index>()));
            owner.own(&mut access);
            let decision = evaluate(policy, &compiled.seen(&access));
            let verdict = degraded(&compiled, file, features, decision.by, decision.verdict.clone());

            let (uid, gid, comm) = (access.task.uid, access.task.gid, access.task.comm.clone());
            let task = Task { uid, gid, comm };
            self.both.must(|backend| backend.set_task(cgroup, &task))?;
            let got = (perform(&mut self.both.kernel, cgroup, &access)?, self.value(knob)?);
            let now = read_counters(&mut self.both.kernel, hits)?;
            let mut counted = RuleHits::incremented(&counters, &now);
            counters = now;
            if let [first, again @ ..] = &counted[..]
                && knob.restarts
                && again.iter().all(|other| other == first)
            {
                let RuleHits { decided, eval_errors } = &mut restarted[first.index];
                let restarted = match first.counted {
                    Counted::Decided => decided,
                    Counted::EvalError => eval_errors,
                };
                *restarted += again.len() as u64;
                counted.truncate(1);
            }
            let expected = match &verdict {
                Verdict::Deny(errno) => {
                    let returned = -i64::from(errno.number());
                    (SyscallResult { returned, data: Vec::new(), position: 0 }, before)
                }
                verdict => {
                    if let Some(before) = before {
                        self.set(knob, &before)?;
                    }
                    let mut unpoliced = access.clone();
                    if let Verdict::Rewrite(value) = verdict {
                        unpoliced.new = Some(value.clone());
                    }
                    let result = perform(&mut self.both.kernel, CgroupId::SCRATCH, &unpoliced)?;
                    (result, self.value(knob)?)
                }
            };
            self.recording.set(access.old.as_deref().unwrap_or_default());
            let on_model = perform(&mut self.both.model, cgroup, &access)?;
            let modelled = self.recording.verdict(&access, &on_model);
            let model_counts = sum(read_counters(&mut self.both.model, hits)?, &restarted) == counters;
            if got != expected
                || !is_counted(&counted, decision.by, policy.rules().len(), compiled.degradations())
                || modelled.as_ref() != Ok(&verdict)
                || !model_counts
            {
                let mut difference = String::new();
                let _ = writeln!(difference, "{access:?}\n{decision:?}, here {verdict:?}");
                let _ = writeln!(difference, "got      {got:?}\nexpected {expected:?}\ncounted  {counted:?}");
                let _ = writeln!(difference, "model    {modelled:?}, same counts: {model_counts}");
                return Err(difference);
            }
            self.tally.count(&decision, &verdict);
            self.tally.count_netns(policy, &decision, owner);
            self.tally.count_long(policy, &decision, &access);
        }
        self.both.must(|backend| backend.close_link(link))?;
        self.both.must(|backend| backend.unload(program))
    }

    /// The value of a knob of the kernel, if it can be read.
    fn value(&mut self, knob: &TestKnob) -> Result<Option<Vec<u8>>, String> {
        self.both.kernel.value(knob.name).map_err(|error| format!("{error:?}"))
    }

    /// Sets a knob of the kernel.
    fn set(&mut self, knob: &TestKnob, value: &[u8]) -> Result<(), String> {
        let returned = self.both.kernel.set_value(knob.name, value).map_err(|error| format!("{error:?}"))?;
        let is_set = returned == value.len() as i64;
        if is_set { Ok(()) } else { Err(format!("setting {} returns {returned}", knob.name)) }
    }

    fn finish(mut self) -> Result<(), Failed> {
        Ok(self.both.kernel.finish()?)
    }
}

/// Makes an access. The current value in it plays no part.
pub(crate) fn perform(
    backend: &mut dyn Backend,
    cgroup: CgroupId,
    access: &Access,
) -> Result<SyscallResult, String> {
    let knob = String::from_utf8_lossy(access.knob.as_bytes());
    let request = match &access.new {
        Some(new) => Request::Write(new),
        None => Request::Read { count: READ_BYTES, fill: 0 },
    };
    let position = access.pos.cast_signed();
    backend.access_knob(cgroup, &knob, request, position, false).map_err(|error| format!("{error:?}"))
}

/// The counters of all rules and defaults: decided, and could not be evaluated.
fn read_counters(backend: &mut dyn Backend, hits: MapId) -> Result<Vec<RuleHits>, String> {
    let entries = backend.entries(hits).map_err(|error| format!("{error:?}"))?;
    Ok(RuleHits::in_value(&entries[0].1))
}

impl Tally {
    fn count(&mut self, decision: &Decision, verdict: &Verdict) {
        self.tried += 1;
        match verdict {
            Verdict::Allow => self.allowed += 1,
            Verdict::Rewrite(_) => self.rewritten += 1,
            Verdict::Deny(_) => {
                self.denied += 1;
                self.not_evaluated += u64::from(matches!(decision.by, DecidedBy::EvalError { .. }));
                self.instead += u64::from(matches!(decision.verdict, Verdict::Rewrite(_)));
            }
        }
    }

    /// Counts decisions by rules that look at the network namespace of the knob.
    fn count_netns(&mut self, policy: &Policy, decision: &Decision, owner: Owner) {
        if let DecidedBy::Rule(rule) = decision.by
            && policy.rules()[rule].condition().is_some_and(Condition::looks_at_netns)
        {
            self.by_netns[usize::from(owner.is_host)] += 1;
        }
    }

    /// Counts decisions that are others where values do not fit on the stack of a program.
    fn count_long(&mut self, policy: &Policy, decision: &Decision, access: &Access) {
        self.long += u64::from(*decision != evaluate(policy, &access.seen_up_to(SHORT_VALUE_MAX)));
    }

    fn print(&self) {
        let Self { tried, allowed, denied, not_evaluated, rewritten, instead, by_netns: [other, host], long } =
            *self;
        println!(
            "{tried} accesses: {allowed} allowed, {rewritten} rewritten, {denied} denied, of these {not_evaluated} for what \
             cannot be evaluated and {instead} instead of being rewritten"
        );
        println!("{long} were decided by a value of more than {SHORT_VALUE_MAX} bytes");
        println!(
            "rules that look at `netns` decided {host} accesses to knobs of the host, and {other} to others"
        );
    }

    /// Checks that the accesses show something, on a kernel that `rewrites`.
    ///
    /// # Errors
    ///
    /// A verdict has too small a share of them. If there are only a few accesses, they may be like that.
    fn check_shares(&self, rewrites: bool) -> Result<(), String> {
        let decided_to_rewrite = self.rewritten + self.instead;
        let shares = [
            ("allowed", 10, self.allowed),
            ("denied", 20, self.denied),
            ("rewritten, or denied where the program is for a kernel that cannot", 2, decided_to_rewrite),
            ("rewritten", if rewrites { 1 } else { 0 }, self.rewritten),
        ];
        let [other, host] = self.by_netns;
        let is_missing = (self.tried >= 20 * ENOUGH && other + host == 0)
            || (self.tried >= 40 * ENOUGH && (other == 0 || host == 0));
        if is_missing && probe().features().knob_owner.is_some() {
            return Err(format!("{TOO_SIMILAR}: no rule that looks at `netns` decided"));
        }
        if self.tried >= 40 * ENOUGH && self.long == 0 && probe().features().long_values() {
            return Err(format!("{TOO_SIMILAR}: no long value decided"));
        }
        for (what, percent, count) in shares {
            if self.tried >= ENOUGH && count * 100 < self.tried * percent {
                return Err(format!("{TOO_SIMILAR}: {count} of {} are {what}, not {percent}%", self.tried));
            }
        }
        Ok(())
    }
}

const TOO_SIMILAR: &str = "the accesses are too similar to show anything";

/// Of so many accesses there must be some of every kind.
const ENOUGH: u64 = 1000;

pub(crate) fn parsed(text: &str) -> Result<PolicyFile, String> {
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

/// A random policy about the knobs of the test.
pub(crate) fn policy() -> impl Strategy<Value = Policy> {
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
                rules.push(similar::with_other_integers(&rules[copy % rules.len()], copy as u32));
            }
            policy.with_rules(rules)
        },
    );
    rules.prop_flat_map(move |policy| {
        proptest::collection::vec(chosen.clone(), policy.rules().len()).prop_map(move |patterns| {
            let rules = policy.rules().iter().zip(patterns).map(|(rule, patterns)| {
                let looks_at_netns = rule.condition().is_some_and(Condition::looks_at_netns);
                let patterns: Vec<KnobPattern> = if looks_at_netns {
                    let below_net = KnobPattern::parse("net.**").expect("a pattern");
                    let found: Vec<_> = patterns.into_iter().filter(KnobPattern::is_below_net).collect();
                    if found.is_empty() { vec![below_net] } else { found }
                } else {
                    patterns
                };
                let rebuilt = Rule::new(rule.action().clone(), rule.kinds(), patterns).expect("a rule");
                let rebuilt = rebuilt.with_condition(rule.condition().cloned()).expect("a condition");
                rebuilt.with_log(rule.log())
            });
            let rules: Vec<Rule> = rules.collect();
            policy.clone().with_rules(rules)
        })
    })
}

/// A random access to `knob`, which has this value.
pub(crate) fn access(
    policy: &Policy,
    knob: &TestKnob,
    old: Option<Vec<u8>>,
) -> impl Strategy<Value = Access> + use<> {
    let name = KnobName::parse(knob.name).expect("the name of a knob");
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

/// What a program for `features` must do if the language decides `verdict`.
pub(crate) fn degraded(
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
            assert!(compiled.degradations().contains(&Degradation::ErrnoIsEperm(errno)), "it is reported");
            Verdict::Deny(Errno::EPERM)
        }
        (Verdict::Rewrite(value), DecidedBy::Rule(rule)) => {
            let denies = compiled.degradations().iter().any(|degradation| {
                matches!(*degradation,
                    Degradation::RewriteIsDenied { rule: found } | Degradation::VectorClampIsDenied { rule: found }
                        if found == rule)
            });
            assert!(denies || features.set_new_value, "it is reported");
            if denies { Verdict::Deny(Errno::EPERM) } else { Verdict::Rewrite(value) }
        }
        (verdict, _) => verdict,
    }
}

/// The counters of both.
fn sum(mut counters: Vec<RuleHits>, others: &[RuleHits]) -> Vec<RuleHits> {
    for (counters, others) in counters.iter_mut().zip(others) {
        counters.decided += others.decided;
        counters.eval_errors += others.eval_errors;
    }
    counters
}

/// Whether exactly the counter of `by` has moved, once, in the program of a policy with so many rules.
fn is_counted(counted: &[Counter], by: DecidedBy, rules: usize, degradations: &[Degradation]) -> bool {
    let (index, which) = match by {
        DecidedBy::Rule(rule) => (rule, Counted::Decided),
        // This one is denied before it is known whether the replacement would fit.
        DecidedBy::EvalError { rule, error: EvalError::DoesNotFit { .. } }
            if degradations.contains(&Degradation::VectorClampIsDenied { rule }) =>
        {
            (rule, Counted::Decided)
        }
        DecidedBy::EvalError { rule, .. } => (rule, Counted::EvalError),
        DecidedBy::Default(AccessKind::Read) => (rules, Counted::Decided),
        DecidedBy::Default(AccessKind::Write) => (rules + 1, Counted::Decided),
    };
    *counted == [Counter { index, counted: which }]
}

pub(crate) fn draw<S: Strategy>(runner: &mut TestRunner, strategy: S) -> S::Value {
    strategy.new_tree(runner).expect("the strategies reject nothing").current()
}
