//! What one access costs under which program.

use std::error::Error;

use knobgate_bench::{PolicyText, literal};
use knobgate_bpf::uapi::BPF_F_SYSCTL_BASE_NAME;
use knobgate_kernel::LoadedProgram;

use crate::pairs::{Access, Attached, Times, take_turns};
use crate::programs;
use crate::stage::Stage;
use crate::statistics::Spread;

/// How many rules.
pub(crate) const SIZES: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// `bpf_sysctl_get_name()` without a flag.
const FULL_NAME: u32 = 0;

pub(crate) const SHORT: &str = "kernel/msgmax";
pub(crate) const LONG: &str = "net/ipv4/conf/default/igmpv3_unsolicited_report_interval";

/// What a policy says of the access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// Nothing: no rule has a name like it.
    Miss,
    /// Nothing, and no two rules have the same last component.
    MissApart,
    /// Nothing, but every rule has its last component.
    Namesake,
    /// Nothing: all rules are about writes.
    OtherKind,
    /// One of the rules spells it out and lets it pass.
    Hit,
    /// All rules have a condition on one integer, which holds.
    Bound,
    /// One of the rules clamps its value, which is not within the range.
    Rewrite,
    /// Nothing: no pattern matches.
    GlobMiss,
    /// A pattern among others lets it pass.
    GlobHit,
    /// [`Miss`](Self::Miss) in C.
    MissByHand,
    /// [`Hit`](Self::Hit) in C.
    HitByHand,
    /// [`Hit`](Self::Hit) in C, with no count of what the rule decided.
    HitUncounted,
    /// [`Bound`](Self::Bound) in C.
    BoundByHand,
    /// [`Rewrite`](Self::Rewrite) in C.
    RewriteByHand,
    /// No policy: the last component of the name is fetched.
    BaseName,
    /// No policy: the last component of the name is fetched, and then all of it.
    BothNames,
    /// No policy: a counter is moved.
    Counter,
    /// No policy: the length and the handler of the knob are read from its `ctl_table`, which would tell its width.
    Table,
}

impl Case {
    /// In a few words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Miss => "no rule names it",
            Self::MissApart => "no rule names it, and each has a last component of its own",
            Self::Namesake => "all rules name its namesakes",
            Self::OtherKind => "all rules are about writes",
            Self::Hit => "one rule names it",
            Self::Bound => "one rule names it and bounds an integer",
            Self::Rewrite => "one rule names it and rewrites the value",
            Self::GlobMiss => "all rules are globs, none matches",
            Self::GlobHit => "all rules are globs, one matches",
            Self::MissByHand => "no rule names it: in C",
            Self::HitByHand => "one rule names it: in C",
            Self::HitUncounted => "one rule names it: in C, without counters",
            Self::BoundByHand => "one rule names it and bounds an integer: in C",
            Self::RewriteByHand => "one rule names it and rewrites the value: in C",
            Self::BaseName => "none: fetches the base name and returns 1",
            Self::BothNames => "none: fetches the base name, then the full name, and returns 1",
            Self::Counter => "none: increments one counter and returns 1",
            Self::Table => "none: reads the knob's ctl_table and returns 1",
        }
    }

    /// Whether there are rules.
    pub(crate) fn is_a_policy(self) -> bool {
        !matches!(self, Self::BaseName | Self::BothNames | Self::Counter | Self::Table)
    }

    /// The program that decides so, with so many rules.
    fn program(self, rules: usize, access: Access) -> Result<LoadedProgram, Box<dyn Error>> {
        let knob = access.knob;
        let (directory, leaf) = knob.rsplit_once('/').unwrap_or(("", knob));
        let policy = match self {
            Self::Miss => PolicyText::of_literals(rules, "read write", ""),
            Self::MissApart => PolicyText::of_literals_apart(rules, "read write"),
            Self::Namesake => PolicyText::of_namesakes(rules, "read write", leaf),
            Self::OtherKind => PolicyText::of_literals(rules, "write", ""),
            Self::Hit => PolicyText::of_literals(rules, "read write", "")
                .with_rule(&format!("allow read write {knob}")),
            Self::Bound => PolicyText::of_literals(rules, "write", " if new <= 1_000_000")
                .with_rule(&format!("allow write {knob} if new <= 1_000_000")),
            Self::Rewrite => PolicyText::of_literals(rules, "write", "")
                .with_rule(&format!("clamp write {knob} to 1..900")),
            Self::GlobMiss => PolicyText::of_globs(rules, "read write"),
            Self::GlobHit => PolicyText::of_globs(rules, "read write")
                .with_rule(&format!("allow read write {directory}/*{}", &leaf[1..])),
            Self::MissByHand => {
                let one = if knob == SHORT { "one_long" } else { "one_short" };
                let name = if rules == 1 { one } else { "many" };
                return programs::by_hand(name, rules, &literal(rules));
            }
            Self::HitByHand => {
                let one = if knob == SHORT { "one_short" } else { "one_long" };
                return programs::by_hand(if rules == 1 { one } else { "many" }, rules, knob);
            }
            Self::HitUncounted => return programs::by_hand("many_uncounted", rules, knob),
            Self::BoundByHand => return programs::by_hand("bound", rules, knob),
            Self::RewriteByHand => return programs::by_hand("rewrite", rules, knob),
            Self::BaseName => return programs::fetching(&[BPF_F_SYSCTL_BASE_NAME]),
            Self::BothNames => return programs::fetching(&[BPF_F_SYSCTL_BASE_NAME, FULL_NAME]),
            Self::Counter => return programs::counting(),
            Self::Table => return programs::reading_table(),
        };
        programs::of_policy(&policy)
    }
}

/// One line of a table.
#[derive(Debug)]
pub(crate) struct Row {
    /// What the policy says.
    pub(crate) case: Case,
    /// How many rules it has.
    pub(crate) rules: usize,
    /// How many times as long as under `return 1` the access takes.
    pub(crate) ratio: Spread,
    times: Times,
}

/// One access under all programs.
#[derive(Debug)]
pub(crate) struct Group {
    /// The access.
    pub(crate) access: Access,
    /// Nanoseconds under `return 1`.
    pub(crate) return_1: Spread,
    /// The others.
    pub(crate) rows: Vec<Row>,
}

impl Group {
    /// The line of a case with so many rules.
    pub(crate) fn row(&self, case: Case, rules: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.case == case && row.rules == rules)
    }

    /// How many times as long as `other` the case `one` takes, each with so many rules.
    pub(crate) fn ratio(&self, one: (Case, usize), other: (Case, usize)) -> Option<Spread> {
        Some(self.row(one.0, one.1)?.times.ratio_to(&self.row(other.0, other.1)?.times))
    }
}

/// What it costs that a program is attached at all: nanoseconds with none anywhere, and how many times as long it takes
/// with one on a cgroup of others, and with one that only returns 1.
#[derive(Debug)]
pub(crate) struct Floor {
    /// The access.
    pub(crate) access: Access,
    /// Nanoseconds with nothing attached anywhere.
    pub(crate) nothing: Spread,
    /// Ratio to that with a program attached elsewhere.
    pub(crate) elsewhere: Spread,
    /// Ratio to that with `return 1`.
    pub(crate) return_1: Spread,
}

const ACCESSES: [Access; 4] = [
    Access { knob: SHORT, new: None, is_denied: false },
    Access { knob: LONG, new: None, is_denied: false },
    Access { knob: SHORT, new: Some("1000\n"), is_denied: false },
    Access { knob: LONG, new: Some("1000\n"), is_denied: false },
];

/// Times the accesses with nothing attached, and with as little as possible.
///
/// # Errors
///
/// A program cannot be loaded or attached, or an access fails.
pub(crate) fn floor(stage: &Stage) -> Result<Vec<Floor>, Box<dyn Error>> {
    let return_1 = programs::return_1()?;
    ACCESSES
        .into_iter()
        .map(|access| {
            let programs = [
                Attached::Nowhere,
                Attached::Elsewhere(&return_1.program),
                Attached::Here(&return_1.program),
            ];
            let times = take_turns(stage, access, &programs)?;
            Ok(Floor {
                access,
                nothing: times[0].nanoseconds(),
                elsewhere: times[1].ratio_to(&times[0]),
                return_1: times[2].ratio_to(&times[0]),
            })
        })
        .collect()
}

/// Times the accesses under policies.
///
/// # Errors
///
/// A program cannot be compiled, loaded or attached, or an access fails.
pub(crate) fn groups(stage: &Stage) -> Result<Vec<Group>, Box<dyn Error>> {
    ACCESSES.into_iter().map(|access| group(stage, access)).collect()
}

fn group(stage: &Stage, access: Access) -> Result<Group, Box<dyn Error>> {
    let mut cases = Vec::new();
    let kinds: &[Case] = match access.new {
        None => &[
            Case::Miss,
            Case::MissApart,
            Case::MissByHand,
            Case::Namesake,
            Case::OtherKind,
            Case::Hit,
            Case::HitByHand,
            Case::HitUncounted,
        ],
        Some(_) => &[
            Case::Miss,
            Case::MissApart,
            Case::MissByHand,
            Case::Hit,
            Case::HitByHand,
            Case::Bound,
            Case::BoundByHand,
            Case::Rewrite,
            Case::RewriteByHand,
        ],
    };
    for &case in kinds {
        cases.extend(SIZES.map(|rules| (case, rules)));
    }
    for case in [Case::GlobMiss, Case::GlobHit] {
        cases.extend([10, 100, 1_000].map(|rules| (case, rules)));
    }
    cases.extend([Case::BaseName, Case::BothNames, Case::Counter, Case::Table].map(|case| (case, 0)));
    let loaded = cases
        .iter()
        .map(|&(case, rules)| case.program(rules, access))
        .collect::<Result<Vec<LoadedProgram>, _>>()?;
    let return_1 = programs::return_1()?;
    let programs: Vec<_> =
        std::iter::once(&return_1).chain(&loaded).map(|loaded| Attached::Here(&loaded.program)).collect();
    let mut times = take_turns(stage, access, &programs)?;
    let of_return_1 = times.remove(0);
    let rows = cases.into_iter().zip(times).map(|((case, rules), times)| Row {
        case,
        rules,
        ratio: times.ratio_to(&of_return_1),
        times,
    });
    Ok(Group { access, return_1: of_return_1.nanoseconds(), rows: rows.collect() })
}
