//! A knob stores only what its rule allows. The rules are about numbers, on every knob that a namespace can own; what is
//! written is next to their bounds, and next to numbers that wrap around to these, in every notation and in every way.
//! Afterwards, the knob's value satisfies the rule, or is the old one.
//!
//! The *writer* is a process in a cgroup and a user namespace of its own. It draws the policies, asks the test to attach
//! them to that cgroup, and writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use knobgate_bpf::Features;
use knobgate_compiler::compile;
use knobgate_kernel::{Cgroup, Link, LoadOptions, load, probe, start_inside};
use knobgate_policy::{
    CheckOptions, KnobPattern, Normalisation, Relation, Source, Width, known_normalisation, parse,
};
use knobgate_testing::{Reaped, number, scratch, seed};
use libtest_mimic::Failed;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::knobs::value_of;
use crate::ways::{Way, write};

/// The defaults of `KNOBGATE_POLICIES` and `KNOBGATE_WRITES`: policies, and writes under each.
const POLICIES: u64 = 600;
const WRITES: u64 = 60;

/// The argument that makes the test binary the writer.
pub(crate) const WRITER: &str = "--writer";

/// Runs the writer, and attaches the policies that it asks for.
///
/// # Errors
///
/// A policy cannot be attached, or the writer fails.
pub(crate) fn stored_values() -> Result<(), Failed> {
    let (seed, cgroup, features) = (seed()?, scratch(), probe().features());
    let (mut socket, of_writer) = UnixStream::pair()?;
    // With limits of its own for what a user namespace has.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(std::env::current_exe()?).arg(WRITER);
    command.env("KNOBGATE_SEED", seed.to_string()).stdin(OwnedFd::from(of_writer));
    start_inside(&mut command, &cgroup)?;
    let mut writer = Reaped(command.spawn()?);
    // And with it the writer's end of the socket.
    drop(command);

    let mut attached = None;
    for text in BufReader::new(socket.try_clone()?).split(END) {
        let text = String::from_utf8(text?)?;
        drop(attached.take());
        if !text.is_empty() {
            let link = attach(&text, &cgroup, &features).map_err(|error| format!("{error}\n{text}"))?;
            attached = Some(link);
        }
        socket.write_all(&[END])?;
    }
    let status = writer.0.wait()?;
    if status.success() { Ok(()) } else { Err(format!("the writer has failed: {status}").into()) }
}

fn attach(text: &str, cgroup: &Cgroup, features: &Features) -> Result<Link, String> {
    let file = parse(Source::new("stored.knob", text), &CheckOptions::default())
        .map_err(|errors| format!("{errors:?}"))?;
    let compiled = compile(&file, features).map_err(|error| error.to_string())?;
    let loaded = load(compiled.program(), &LoadOptions::default()).map_err(|error| error.to_string())?;
    Link::create(&loaded.program, cgroup).map_err(|error| error.to_string())
}

/// What ends the text of a policy, and the answer when it is attached.
const END: u8 = 0;

/// Has this policy attached instead of the last one, or none if the text is empty.
fn request(socket: &mut UnixStream, text: &str) -> io::Result<()> {
    socket.write_all(text.as_bytes())?;
    socket.write_all(&[END])?;
    socket.read_exact(&mut [0])
}

/// Runs as the writer.
pub(crate) fn run_writer() -> ExitCode {
    match write_under_policies() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            println!("{}", failed.message().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

fn write_under_policies() -> Result<(), Failed> {
    let (seed, writes) = (seed()?, number("KNOBGATE_WRITES", WRITES)?);
    let policies = number("KNOBGATE_POLICIES", POLICIES)?;
    println!("KNOBGATE_SEED={seed} KNOBGATE_POLICIES={policies} KNOBGATE_WRITES={writes}");
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let knobs = knobs();
    let mut tally = Tally::default();
    for number in 0..policies {
        // Each of them, before one comes again.
        let knob = &knobs[number as usize % knobs.len()];
        // A knob may go with what it belongs to.
        let Some(numbers) = knob.read() else { continue };
        let rule = draw(&mut runner, &rule(knob, &numbers));
        let policy = rule.policy(knob);
        request(&mut socket, &policy)?;
        try_rule(&mut runner, knob, &rule, writes, &mut tally)
            .map_err(|wrong| format!("{wrong}\n{policy}"))?;
        request(&mut socket, "")?;
        // Not all take everything again that they have given.
        let _ = fs::write(&knob.path, spaced(&numbers));
    }
    let Tally { writes, succeeded, changed, ways, knobs: changed_knobs } = &tally;
    if *writes >= ENOUGH && changed * 100 < *writes {
        return Err(format!("only {changed} of {writes} writes change something").into());
    }
    // A kernel may have no io_uring and no AIO, which the counts show.
    let never = ways.iter().find(|(way, count)| **count == 0 && !["io_uring", "aio"].contains(way));
    if let Some((way, _)) = never.filter(|_| *writes >= ENOUGH_FOR_EVERY_WAY) {
        return Err(format!("no write by way of {way} has succeeded").into());
    }
    println!(
        "{policies} policies on {} knobs, {writes} writes: {succeeded} succeeded, {changed} changed the value, of {} knobs; \
         succeeded by way: {ways:?}",
        knobs.len(),
        changed_knobs.len(),
    );
    Ok(())
}

/// Of so many writes some must change a value.
const ENOUGH: u64 = 1000;

/// Of so many some must succeed in every way.
const ENOUGH_FOR_EVERY_WAY: u64 = 30_000;

#[derive(Debug, Default)]
struct Tally {
    writes: u64,
    succeeded: u64,
    changed: u64,
    /// For each way, how often it succeeded.
    ways: BTreeMap<&'static str, u64>,
    /// Knobs of which some write changed the value.
    knobs: BTreeSet<String>,
}

/// A knob of numbers that is this process's own.
#[derive(Debug)]
pub(crate) struct Knob {
    pub(crate) name: String,
    pub(crate) path: String,
    /// How much the stored number may differ from the written one.
    tolerance: i128,
}

impl Knob {
    pub(crate) fn new(name: String) -> Self {
        let literal = KnobPattern::parse(&name).expect("a name is a pattern");
        let tolerance = match known_normalisation(&literal) {
            Some(Normalisation::Milliseconds) => 10,
            Some(Normalisation::UserTicks) => 1,
            _ => 0,
        };
        Self { path: format!("/proc/sys/{name}"), name, tolerance }
    }

    /// The numbers that it holds.
    pub(crate) fn read(&self) -> Option<Vec<i128>> {
        let value = String::from_utf8(value_of(&self.path).ok()?).ok()?;
        let numbers: Option<Vec<i128>> = value.split_whitespace().map(|number| number.parse().ok()).collect();
        numbers.filter(|numbers| (1..=8).contains(&numbers.len()))
    }
}

/// Those of [`own`] that store what is written, or nearly. The value of others does not show whether the rule was obeyed.
pub(crate) fn knobs() -> Vec<Knob> {
    let mut knobs = own();
    knobs.retain(|knob| {
        let literal = KnobPattern::parse(&knob.name).expect("a name is a pattern");
        matches!(
            known_normalisation(&literal),
            None | Some(Normalisation::Milliseconds | Normalisation::UserTicks)
        )
    });
    knobs
}

/// Those in the namespaces of this process that hold numbers and can be written.
pub(crate) fn own() -> Vec<Knob> {
    const OF_IPC: &str = "{shmmax,shmall,shmmni,shm_rmid_forced,msgmax,msgmnb,msgmni,auto_msgmni,sem}";
    let own = ["net.**", "user.**", "fs.mqueue.*", &format!("kernel.{OF_IPC}")]
        .map(|pattern| KnobPattern::parse(pattern).expect("a pattern"));
    let mut knobs = Vec::new();
    for name in knobgate_kernel::knob_names().expect("there is a /proc/sys") {
        if !own.iter().any(|pattern| pattern.matches(name.as_bytes())) {
            continue;
        }
        let knob = Knob::new(name);
        let Some(numbers) = knob.read() else { continue };
        if fs::write(&knob.path, spaced(&numbers)).is_ok() && knob.read() == Some(numbers) {
            knobs.push(knob);
        }
    }
    assert!(knobs.len() >= 50, "only {} knobs of numbers are this process's own", knobs.len());
    knobs
}

pub(crate) fn spaced(numbers: &[i128]) -> String {
    numbers.iter().map(i128::to_string).collect::<Vec<_>>().join(" ")
}

/// A rule about one number of a knob.
#[derive(Debug, Clone)]
struct Rule {
    element: usize,
    /// How many numbers the knob has.
    elements: usize,
    test: Test,
    form: Form,
}

/// What must hold of the number.
#[derive(Debug, Clone)]
enum Test {
    Compares(Relation, i128),
    Between(i128, i128),
    OneOf(Vec<i128>),
    /// With the current one.
    Ratchet(Relation),
}

/// The form of the rule.
#[derive(Debug, Clone, Copy)]
enum Form {
    Allow,
    Deny,
    Clamp,
}

impl Test {
    fn holds(&self, new: i128, old: i128) -> bool {
        match self {
            Self::Compares(relation, bound) => relation.holds(new, *bound),
            Self::Between(low, high) => (*low..=*high).contains(&new),
            Self::OneOf(members) => members.contains(&new),
            Self::Ratchet(relation) => relation.holds(new, old),
        }
    }

    fn bounds(&self) -> Vec<i128> {
        match self {
            Self::Compares(_, bound) => vec![*bound],
            Self::Between(low, high) => vec![*low, *high],
            Self::OneOf(members) => members.clone(),
            Self::Ratchet(_) => Vec::new(),
        }
    }
}

impl Rule {
    /// The text of the policy.
    fn policy(&self, knob: &Knob) -> String {
        let name = &knob.name;
        let element = |value: &str| {
            if self.elements == 1 { value.to_owned() } else { format!("{value}[{}]", self.element) }
        };
        let (new, old) = (element("new"), element("old"));
        let condition = match &self.test {
            Test::Compares(relation, bound) => format!("{new} {relation} {bound}"),
            Test::Between(low, high) => format!("{low} <= {new} <= {high}"),
            Test::OneOf(members) => {
                let members: Vec<String> = members.iter().map(i128::to_string).collect();
                format!("{new} in {{{}}}", members.join(", "))
            }
            Test::Ratchet(relation) => format!("{new} {relation} {old}"),
        };
        let rules = match (self.form, &self.test) {
            (Form::Clamp, Test::Compares(Relation::LessOrEqual, high)) => {
                self.clamp(name, &format!("..{high}"))
            }
            (Form::Clamp, Test::Compares(Relation::GreaterOrEqual, low)) => {
                self.clamp(name, &format!("{low}.."))
            }
            (Form::Clamp, Test::Between(low, high)) => self.clamp(name, &format!("{low}..{high}")),
            (Form::Deny, _) => format!("deny write {name} if not {condition}\nallow write {name}"),
            _ => format!("allow write {name} if {condition}"),
        };
        format!("policy stored\n{rules}\n")
    }

    fn clamp(&self, name: &str, range: &str) -> String {
        let ranges: Vec<&str> =
            (0..self.elements).map(|element| if element == self.element { range } else { ".." }).collect();
        let ranges = ranges.join(", ");
        if self.elements == 1 {
            format!("clamp write {name} to {ranges}")
        } else {
            format!("clamp write {name} to [{ranges}]")
        }
    }

    /// Whether a write may have changed the knob from `before` to `after`.
    fn allows(&self, knob: &Knob, before: &[i128], after: &[i128]) -> bool {
        match (before.get(self.element), after.get(self.element)) {
            // A write may hold fewer numbers, and leave this one as it is.
            (Some(old), Some(new)) => {
                old == new || (-knob.tolerance..=knob.tolerance).any(|off| self.test.holds(new + off, *old))
            }
            _ => before == after,
        }
    }
}

/// A rule about `knob`, which holds `numbers`: with bounds near these, and others.
fn rule(knob: &Knob, numbers: &[i128]) -> BoxedStrategy<Rule> {
    let elements = numbers.len();
    let (low, high) = width(knob).bounds();
    let (low, high) = (low.get(), high.get());
    let mut near: Vec<i128> =
        numbers.iter().flat_map(|number| [number - 1, *number, number + 1, number * 2, number / 2]).collect();
    near.extend([-1, 0, 1, 2, 100, 1000, 65_535, i128::from(i32::MAX), i128::from(u32::MAX), low, high]);
    let bound = select(near).prop_map(move |bound| bound.clamp(low, high));
    let relation = select(vec![
        Relation::Less,
        Relation::LessOrEqual,
        Relation::LessOrEqual,
        Relation::Equal,
        Relation::NotEqual,
        Relation::GreaterOrEqual,
        Relation::GreaterOrEqual,
        Relation::Greater,
    ]);
    let ratchet =
        select(vec![Relation::LessOrEqual, Relation::GreaterOrEqual, Relation::Less, Relation::Greater]);
    let test = prop_oneof![
        4 => (relation, bound.clone()).prop_map(|(relation, bound)| Test::Compares(relation, bound)),
        2 => (bound.clone(), bound.clone()).prop_map(|(one, other)| Test::Between(one.min(other), one.max(other))),
        1 => proptest::collection::vec(bound, 1..4).prop_map(Test::OneOf),
        2 => ratchet.prop_map(Test::Ratchet),
    ];
    let form = select(vec![Form::Allow, Form::Allow, Form::Deny, Form::Clamp]);
    (0..elements, test, form)
        .prop_map(move |(element, test, form)| Rule { element, elements, test, form })
        .boxed()
}

pub(crate) fn width(knob: &Knob) -> Width {
    let pattern = KnobPattern::parse(&knob.name).expect("a name is a pattern");
    pattern.literal().and_then(Width::known).unwrap_or_default()
}

/// Writes odd numbers to `knob` while `rule` is attached.
///
/// # Errors
///
/// The first value that the rule does not allow.
fn try_rule(
    runner: &mut TestRunner,
    knob: &Knob,
    rule: &Rule,
    writes: u64,
    tally: &mut Tally,
) -> Result<(), String> {
    let Some(mut before) = knob.read() else { return Ok(()) };
    let values = value(rule, &before);
    let ways = crate::ways::any();
    for _ in 0..writes {
        let (value, way): (Vec<u8>, Way) = (draw(runner, &values), draw(runner, &ways));
        let succeeded = write(&knob.path, &value, way).is_ok();
        let Some(after) = knob.read() else { return Ok(()) };
        tally.writes += 1;
        tally.succeeded += u64::from(succeeded);
        tally.changed += u64::from(after != before);
        *tally.ways.entry(way.name()).or_default() += u64::from(succeeded);
        if after != before {
            tally.knobs.insert(knob.name.clone());
        }
        if !rule.allows(knob, &before, &after) {
            return Err(format!(
                "{} held {before:?} and holds {after:?} after \"{}\", written by {way:?}",
                knob.name,
                value.escape_ascii()
            ));
        }
        before = after;
    }
    Ok(())
}

/// What is written: numbers near the bounds, and near those that wrap around to them, in every notation.
fn value(rule: &Rule, current: &[i128]) -> BoxedStrategy<Vec<u8>> {
    let mut near = rule.test.bounds();
    near.extend(current);
    near.extend([
        0,
        1,
        i128::from(i32::MAX),
        i128::from(u32::MAX),
        i128::from(i64::MAX),
        i128::from(u64::MAX),
    ]);
    // Adding these wraps around in a handler that keeps so many bits, or that multiplies first.
    let turns: Vec<i128> = (-2..=2)
        .flat_map(|turns| [31, 32, 33, 63, 64].map(|bits| turns << bits))
        .chain(
            [25, 10, 4, 250, 100, 1000]
                .into_iter()
                .flat_map(|factor| [(1 << 32) / factor, (1 << 31) / factor, (1 << 64) / factor]),
        )
        .collect();
    let number = prop_oneof![
        3 => (select(near.clone()), -2..=2i128).prop_map(|(number, off)| number + off),
        4 => (select(near), select(turns), -1..=1i128).prop_map(|(number, turn, off)| number + turn + off),
        1 => any::<i64>().prop_map(i128::from),
        1 => any::<u32>().prop_map(i128::from),
    ];
    // What the knob holds, but for one number.
    let (element, held) = (rule.element, current.to_vec());
    let one_other = (number.clone(), 0..14u8).prop_map(move |(number, notation)| {
        let mut numbers: Vec<String> = held.iter().map(i128::to_string).collect();
        numbers[element] = in_notation(number, notation);
        format!("{}\n", numbers.join(" ")).into_bytes()
    });
    let number = (number, 0..14u8).prop_map(|(number, notation)| in_notation(number, notation)).boxed();
    let start = prop_oneof![12 => Just(""), 4 => select(vec![" ", "\t", "\n", "\u{b}", "\r", "\0", "+", "-", "0", "00000000000000000000", "          "])];
    let separator = prop_oneof![8 => Just(" "), 2 => Just("\t"), 2 => select(vec!["  ", "\n", ",", "-", "\0", " \t ", "\r\n"])];
    let end = prop_oneof![
        6 => Just(""),
        6 => Just("\n"),
        6 => select(vec![" ", "\0", "\n\n", "\n1", "\0 7", " 7", "\t-1\n", "x", "\r\n", ".5", "e3", "K", ";", "\u{b}", "\u{a0}"]),
    ];
    let count = current.len();
    let counts = prop_oneof![6 => Just(count), 1 => 1..=count, 1 => Just(count + 1)];
    let blanks = prop_oneof![12 => Just(0usize), 1 => 40..80usize, 1 => 120..150usize, 1 => Just(4094), 1 => Just(4096)];
    let numbers = (counts, start, separator, end, blanks).prop_flat_map(
        move |(count, start, separator, end, blanks)| {
            proptest::collection::vec(number.clone(), count).prop_map(move |numbers| {
                format!("{start}{}{}{end}", " ".repeat(blanks), numbers.join(separator)).into_bytes()
            })
        },
    );
    prop_oneof![20 => one_other, 20 => numbers, 1 => proptest::collection::vec(any::<u8>(), 0..12)].boxed()
}

/// The number in one of several notations.
fn in_notation(number: i128, notation: u8) -> String {
    let (sign, magnitude) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    match notation {
        0 => format!("{sign}{magnitude:#x}"),
        1 => format!("{sign}0X{magnitude:X}"),
        2 => format!("{sign}0{magnitude:o}"),
        3 => format!("{sign}0{magnitude}"),
        4 => format!("-{magnitude}"),
        5 => format!("{sign}{magnitude:020}"),
        _ => number.to_string(),
    }
}

fn draw<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    strategy.new_tree(runner).expect("the strategies reject nothing").current()
}
