//! The page about it.

use std::fmt::Write;

use crate::accesses::{Case, Floor, Group};
use crate::events::Denials;
use crate::pairs::Access;
use crate::processes::Processes;
use crate::scale::Scale;
use crate::statistics::Spread;

/// `docs/performance.md`.
pub(crate) fn markdown(
    machine: &str,
    floor: &[Floor],
    groups: &[Group],
    scale: &Scale,
    processes: &Processes,
    denials: &[Denials],
) -> String {
    let mut page = Page::default();
    page.line(include_str!("performance-head.md").trim_end());
    page.line(&format!("\nMeasured on {machine}.\n"));
    page.line("## The cost of attaching anything\n");
    page.floor(floor);
    page.line("\n## What a policy adds\n");
    page.line(
        "Each figure is a ratio to a program that only returns 1, with the quartiles of all rounds.\n\
         The last four lines of each table are programs without a policy.\n\n\
         ![the same figures as a chart](performance.svg)\n",
    );
    for group in groups {
        page.group(group);
    }
    page.line("## Events\n");
    page.text.push_str(&events(denials));
    page.line("\n## Targets\n");
    page.targets(groups, scale, processes, denials);
    page.line(&format!("\n{}", include_str!("performance-limits.md").trim_end()));
    page.line("\n## Large policies\n");
    page.scale(scale);
    page.line("\n## The command\n");
    page.processes(processes);
    page.text
}

/// The table of denials.
pub(crate) fn events(denials: &[Denials]) -> String {
    let mut page = Page::default();
    page.line(
        "Denials that a policy reports (`log(all)`), relative to those that it does not report (`nolog`), and denials beyond the limit \
         of their rule.\n",
    );
    page.header(["denied", "not reported", "reported, no reader", "one reader", "suppressed"]);
    for Denials { access: of, unlogged, unread, read, suppressed } in denials {
        page.row([
            access(*of),
            format!("{:.0} ns", unlogged.median),
            times(*unread),
            times(*read),
            times(*suppressed),
        ]);
    }
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.line(&format!("| {} |", cells.join(" | ")));
    }

    fn header<const N: usize>(&mut self, cells: [&str; N]) {
        self.row(cells.map(str::to_owned));
        self.line(&format!("|{}", " --- |".repeat(N)));
    }

    fn targets(&mut self, groups: &[Group], scale: &Scale, processes: &Processes, denials: &[Denials]) {
        self.header(["what", "at most", "measured", ""]);
        for group in groups {
            let (name, long) = (access(group.access), group.access.knob.len() > 20);
            let mut target = |what: &str, most: f64, found: Option<Spread>| {
                if let Some(found) = found {
                    let median = format!("{:.3} ×", found.median);
                    self.row([
                        format!("{name}: {what}"),
                        format!("{most:.2} ×"),
                        median,
                        verdict(found, most),
                    ]);
                }
            };
            let ratio = |case, rules| group.row(case, rules).map(|row| row.ratio);
            target("a miss on 1,000 rules", 1.03, ratio(Case::Miss, 1_000));
            target("a hit among 1,000 rules", if long { 1.25 } else { 1.12 }, ratio(Case::Hit, 1_000));
            let apart = group.ratio((Case::Hit, 10_000), (Case::Hit, 1_000));
            target("a hit among 10,000 rules, relative to 1,000", 1.03, apart);
            let bound = group.ratio((Case::Bound, 1_000), (Case::Hit, 1_000));
            target("a bound on an integer, relative to a hit without it", 1.10, bound);
            target("1,000 rules about writes", 1.01, ratio(Case::OtherKind, 1_000));
            for (ours, by_hand, what) in [
                (Case::Miss, Case::MissByHand, "a miss"),
                (Case::Hit, Case::HitByHand, "a hit"),
                (Case::Bound, Case::BoundByHand, "a bound on an integer"),
                (Case::Rewrite, Case::RewriteByHand, "a rewrite"),
            ] {
                for rules in [1, 1_000] {
                    let what = format!("{what}, {}, relative to the same in C", plural(rules));
                    target(&what, 1.0, group.ratio((ours, rules), (by_hand, rules)));
                }
            }
        }
        for denial in denials {
            for (what, most, found) in [
                (
                    "a denial that is reported and not read, relative to one that is not reported",
                    1.5,
                    denial.unread,
                ),
                ("a denial that is reported and read", 2.0, denial.read),
            ] {
                let median = format!("{:.3} ×", found.median);
                let what = format!("{}: {what}", access(denial.access));
                self.row([what, format!("{most:.2} ×"), median, verdict(found, most)]);
            }
        }
        let mut time = |what: &str, most: f64, found: Spread| {
            let median = format!("{:.1} ms", found.median);
            self.row([what.to_owned(), format!("{most} ms"), median, verdict(found, most)]);
        };
        for size in &scale.sizes {
            let most = match size.rules {
                1_000 => 50.0,
                10_000 => 1_000.0,
                _ => continue,
            };
            time(&format!("compile and load: {} {}", thousands(size.rules), size.what), most, size.both);
        }
        time("`knobgate check` on 10,000 rules", 100.0, processes.check);
        time("`knobgate run -- true`, on top of `true`", 30.0, processes.run);
    }

    fn floor(&mut self, floor: &[Floor]) {
        self.header(["access", "nothing attached", "attached elsewhere", "`return 1`"]);
        for Floor { access: of, nothing, elsewhere, return_1 } in floor {
            self.row([access(*of), format!("{:.0} ns", nothing.median), times(*elsewhere), times(*return_1)]);
        }
    }

    fn group(&mut self, group: &Group) {
        self.line(&format!(
            "### {}\n\n{:.0} ns under `return 1`.\n",
            access(group.access),
            group.return_1.median
        ));
        self.header(["the policy", "rules", "relative to `return 1`"]);
        for row in &group.rows {
            let rules = if row.case.is_a_policy() { thousands(row.rules) } else { String::new() };
            self.row([row.case.name().to_owned(), rules, times(row.ratio)]);
        }
        self.line("");
    }

    fn scale(&mut self, scale: &Scale) {
        self.header(["rules", "", "compile", "memory", "load", "instructions", "verified"]);
        for size in &scale.sizes {
            self.row([
                thousands(size.rules),
                size.what.to_owned(),
                format!("{:.1} ms", size.compile.median),
                format!("{:.1} MiB", size.memory),
                format!("{:.1} ms", size.load.median),
                thousands(size.insns),
                thousands(size.verified as usize),
            ]);
        }
        self.line(&format!(
            "\nMemory is the peak of a process that reads and compiles the policy. For a policy without rules, that is {:.1} MiB.",
            scale.memory_at_least
        ));
        let many = &scale.many;
        self.line(&format!(
            "\nWith one program on {} cgroups, it takes {:.0} µs per cgroup to attach it, and {:.0} µs to replace it.",
            thousands(many.cgroups),
            many.attach,
            many.update
        ));
    }

    fn processes(&mut self, processes: &Processes) {
        self.header(["process", "time"]);
        self.row(["`knobgate check`, 10,000 rules".to_owned(), milliseconds(processes.check)]);
        self.row(["`true`".to_owned(), milliseconds(processes.command)]);
        self.row(["what `knobgate run -- true` adds to it".to_owned(), milliseconds(processes.run)]);
        let attaching = &processes.attaching;
        let cgroups = thousands(attaching.cgroups);
        self.row(["`knobgate attach` to one cgroup".to_owned(), milliseconds(attaching.one)]);
        self.row([format!("`knobgate attach` to {cgroups} cgroups"), milliseconds(attaching.all)]);
        self.row(["the same again, to replace the policy".to_owned(), milliseconds(attaching.replaced)]);
        self.line(&format!(
            "\nAfter the first cgroup, that is {:.0} µs per cgroup to attach a policy, and {:.0} µs to replace it.",
            attaching.for_each(attaching.all),
            attaching.for_each(attaching.replaced),
        ));
    }
}

fn access(access: Access) -> String {
    let kind = if access.new.is_some() { "write" } else { "read" };
    format!("{kind} `{}`", access.knob)
}

fn times(Spread { low, median, high, .. }: Spread) -> String {
    format!("{median:.3} ({low:.3}–{high:.3})")
}

fn milliseconds(Spread { low, median, high, .. }: Spread) -> String {
    format!("{median:.1} ms ({low:.1}–{high:.1})")
}

fn verdict(found: Spread, most: f64) -> String {
    match found.is_at_most(most) {
        Some(true) => "met",
        Some(false) => "**missed**",
        None => "too close to tell",
    }
    .to_owned()
}

fn plural(rules: usize) -> String {
    format!("{} rule{}", thousands(rules), if rules == 1 { "" } else { "s" })
}

/// With a comma between thousands.
fn thousands(number: usize) -> String {
    let mut text = String::new();
    let digits = number.to_string();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        let _ = write!(text, "{digit}");
    }
    text
}
