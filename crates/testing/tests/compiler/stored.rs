//! What is stored is what was judged: rules about numbers on every knob that a namespace can own, numbers next to their
//! bounds and next to what wraps around to these, spelled in every way and written in every way. What the knob holds in the
//! end satisfies the rule, or is what it held before.
//!
//! The *writer*, in a cgroup of its own, thinks of a policy, has the *director* put it on that cgroup, and writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use knobgate_compiler::compile;
use knobgate_kernel::{Link, LoadOptions, load, probe, start_inside};
use knobgate_policy::{CheckOptions, KnobPattern, Normalisation, Relation, Source, Width, parse};
use knobgate_testing::Reaped;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::knobs::value_of;
use crate::ways::{Way, write};

/// The argument that makes the test binary a director.
pub(crate) const ARGUMENT: &str = "--be-the-director-of-a-writer";
/// The argument that makes it a writer.
pub(crate) const WRITER_ARGUMENT: &str = "--be-the-writer";

/// Puts on the writer's cgroup what it asks for, until it has tried `policies` policies with `writes` writes each.
///
/// # Errors
///
/// What was stored and satisfies no rule, in words.
pub(crate) fn direct(seed: u64, policies: u64, writes: u64) -> Result<(), String> {
    let cgroup = knobgate_testing::scratch();
    // With limits of its own for what a user namespace has.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(std::env::current_exe().expect("this binary"));
    command.arg(WRITER_ARGUMENT).args([seed, policies, writes].map(|number| number.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    start_inside(&mut command, &cgroup).expect("the scratch cgroup can be entered");
    let mut writer = Reaped(command.spawn().expect("start the writer"));
    let (mut to, from) = (writer.0.stdin.take().expect("piped"), writer.0.stdout.take().expect("piped"));
    let mut from = BufReader::new(from);
    let features = probe().features();

    let mut link = None;
    let said = loop {
        let mut line = String::new();
        from.read_line(&mut line).map_err(|error| error.to_string())?;
        let Some((what, length)) = line.trim_end().split_once(' ') else {
            break Err(format!("the writer has ended: {line:?}"));
        };
        let mut text = vec![0; length.parse().expect("a length")];
        from.read_exact(&mut text).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&text).into_owned();
        match what {
            POLICY => {
                let file = parse(Source::new("stored.knob", text.as_str()), &CheckOptions::default())
                    .map_err(|errors| format!("{errors:?}\n{text}"))?;
                let compiled = compile(&file, &features).map_err(|error| format!("{error}\n{text}"))?;
                let loaded =
                    load(&compiled.program, &LoadOptions::default()).map_err(|error| error.to_string())?;
                link = Some(Link::create(&loaded.program, &cgroup).map_err(|error| error.to_string())?);
            }
            NO_POLICY => drop(link.take()),
            WRONG => break Err(text),
            _ => {
                println!("{text}");
                break Ok(());
            }
        }
        to.write_all(b"\n").map_err(|error| error.to_string())?;
    };
    drop(to);
    let ended = writer.0.wait().map_err(|error| error.to_string())?;
    said.and_then(|()| if ended.success() { Ok(()) } else { Err(format!("the writer: {ended}")) })
}

/// What the writer says: put this policy on the cgroup; take it off; this is wrong; this is all.
const POLICY: &str = "policy";
const NO_POLICY: &str = "no-policy";
const WRONG: &str = "wrong";
const ALL: &str = "all";

/// The writer's life.
pub(crate) fn live(seed: u64, policies: u64, writes: u64) -> io::Result<()> {
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
        say(POLICY, &rule.policy(knob))?;
        let wrong = try_rule(&mut runner, knob, &rule, writes, &mut tally);
        say(NO_POLICY, "")?;
        if let Err(wrong) = wrong {
            return tell(WRONG, &format!("{wrong}\n{}", rule.policy(knob)));
        }
        // Not all take everything again that they have given.
        let _ = fs::write(&knob.path, spaced(&numbers));
    }
    if tally.writes >= ENOUGH && tally.changed * 100 < tally.writes {
        return tell(
            WRONG,
            &format!(
                "{} of {} writes change something: they are too much alike",
                tally.changed, tally.writes
            ),
        );
    }
    // A kernel may have no io_uring and no AIO, which the counts show.
    let never = tally.ways.iter().find(|(way, count)| **count == 0 && !["io_uring", "aio"].contains(way));
    if let Some((way, _)) = never.filter(|_| tally.writes >= ENOUGH_FOR_EVERY_WAY) {
        return tell(WRONG, &format!("no write by way of {way} has succeeded"));
    }
    tell(
        ALL,
        &format!(
            "{policies} policies on {} knobs, {} writes: {} succeeded, {} changed the value, of {} knobs; succeeded by way: {:?}",
            knobs.len(),
            tally.writes,
            tally.succeeded,
            tally.changed,
            tally.knobs.len(),
            tally.ways
        ),
    )
}

/// Of so many writes some must change a value.
const ENOUGH: u64 = 1000;

/// Of so many some must succeed by every way.
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

/// Says something, and waits until it is done.
fn say(what: &str, text: &str) -> io::Result<()> {
    tell(what, text)?;
    io::stdin().lock().read_exact(&mut [0])
}

fn tell(what: &str, text: &str) -> io::Result<()> {
    let mut to = io::stdout().lock();
    write!(to, "{what} {}\n{text}", text.len())?;
    to.flush()
}

/// A knob of numbers that is this process's own.
#[derive(Debug)]
pub(crate) struct Knob {
    pub(crate) name: String,
    pub(crate) path: String,
    /// By how much what it stores may differ from what is written.
    tolerance: i128,
}

impl Knob {
    pub(crate) fn new(name: String) -> Self {
        let literal = KnobPattern::parse(&name).expect("a name is a pattern");
        let tolerance = match Normalisation::known(&literal) {
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

/// Those of [`own`] that store what is written, or nearly: of others, nothing that is stored says which rule let it pass.
pub(crate) fn knobs() -> Vec<Knob> {
    let mut knobs = own();
    knobs.retain(|knob| {
        let literal = KnobPattern::parse(&knob.name).expect("a name is a pattern");
        matches!(
            Normalisation::known(&literal),
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

/// How the rule says so.
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

    /// Whether what a knob holds may have come of what it held.
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

/// Writes odd numbers to `knob` while `rule` is in force.
///
/// # Errors
///
/// What it holds then, if the rule does not allow it.
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

/// What is written: numbers near the bounds, and near what wraps around to these, in every spelling.
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
    // What is added wraps around, in a handler that keeps so many bits or multiplies before.
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
    let one_other = (number.clone(), 0..14u8).prop_map(move |(number, style)| {
        let mut numbers: Vec<String> = held.iter().map(i128::to_string).collect();
        numbers[element] = spelled(number, style);
        format!("{}\n", numbers.join(" ")).into_bytes()
    });
    let spelled = (number, 0..14u8).prop_map(|(number, style)| spelled(number, style)).boxed();
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
            proptest::collection::vec(spelled.clone(), count).prop_map(move |numbers| {
                format!("{start}{}{}{end}", " ".repeat(blanks), numbers.join(separator)).into_bytes()
            })
        },
    );
    prop_oneof![20 => one_other, 20 => numbers, 1 => proptest::collection::vec(any::<u8>(), 0..12)].boxed()
}

/// One number.
fn spelled(number: i128, style: u8) -> String {
    let (sign, magnitude) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    match style {
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
