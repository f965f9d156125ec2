//! Random attaching, replacing, updating, detaching and removing on a small tree of cgroups: the same errno, the same lists
//! and the same effective order.

use std::fmt::Debug;

use knobgate_backend::{Backend, CgroupId, LinkId, Placement, ProgramId, RelativeTo, StepResult};
use knobgate_bpf::{Insn, Program, Reg, Width};
use knobgate_hook::{AttachMode, Knobs};
use knobgate_testing::{Both, Random};

/// The tree: the parent of each cgroup, by its index in this list; the first ones are children of the scratch cgroup.
const PARENTS: [Option<usize>; 5] = [None, Some(0), Some(1), Some(0), None];

const PROGRAMS: usize = 5;

/// How many steps are made before everything is created again.
const STEPS: u64 = 60;

/// Both hooks, with the same cgroups and programs.
struct Sequence {
    both: Both,
    cgroups: Vec<CgroupId>,
    programs: Vec<ProgramId>,
    links: Vec<LinkId>,
    /// Without links, single and override mode occur as well.
    with_links: bool,
    /// The steps until now, with their results.
    log: Vec<String>,
}

/// Performs this many steps, and compares.
pub(crate) fn attach_and_detach(seed: u64, count: u64) -> Result<String, String> {
    let mut random = Random(seed);
    for number in 0..count.div_ceil(STEPS) {
        let mut sequence = Sequence::new(random.one_in(2));
        for _ in 0..STEPS {
            sequence.step(&mut random).map_err(|difference| {
                format!("sequence {number}: {difference}\n{}", sequence.log.join("\n"))
            })?;
        }
    }
    fill().map_err(|difference| format!("a full cgroup: {difference}"))?;
    Ok(format!("{} steps, no difference", count.div_ceil(STEPS) * STEPS))
}

/// Attaches more programs to a cgroup than there may be, with links and without, and then replaces one of those.
fn fill() -> Result<(), String> {
    let mut sequence = Sequence::new(true);
    let cgroup = sequence.cgroups[0];
    for number in 0..70 {
        let program = sequence.programs[number % PROGRAMS];
        // From the 65th on this fails.
        let _ = sequence.both.step(|backend| backend.link(cgroup, program, &Placement::default()))?;
    }
    sequence.compare()?;

    let cgroup = sequence.cgroups[1];
    let mut programs = Vec::new();
    for _ in 0..70 {
        let program = sequence.both.must(|backend| backend.load(&allowing("filling"), None))?;
        let _ = sequence
            .both
            .step(|backend| backend.attach(cgroup, program, AttachMode::Multi, &Placement::default()))?;
        programs.push(program);
    }
    let replacing = Placement { replaced: Some(programs[0]), ..Placement::default() };
    let last = programs[69];
    // This fails as well, because the kernel counts before it looks for what is replaced.
    let _ = sequence.both.step(|backend| backend.attach(cgroup, last, AttachMode::Multi, &replacing))?;
    sequence.compare()?;
    sequence.both.must(|backend| backend.detach(cgroup, programs[1]))?;
    sequence.both.must(|backend| backend.attach(cgroup, last, AttachMode::Multi, &replacing))?;
    sequence.compare()
}

/// Allows everything.
fn allowing(name: &str) -> Program {
    let insns = vec![Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()];
    Program { name: name.to_owned(), insns, ..Program::default() }
}

impl Sequence {
    fn new(with_links: bool) -> Self {
        let mut both = Both::new(Knobs::new());
        let mut cgroups = Vec::new();
        for (number, parent) in PARENTS.into_iter().enumerate() {
            let parent = parent.map_or(CgroupId::SCRATCH, |parent| cgroups[parent]);
            let created = both.must(|backend| backend.create_cgroup(parent, &format!("cgroup-{number}")));
            cgroups.push(created.expect("a new name"));
        }
        let programs = (0..PROGRAMS).map(|number| {
            let program = allowing(&format!("program{number}"));
            both.must(|backend| backend.load(&program, None)).expect("it loads")
        });
        let programs = programs.collect();
        Self { both, cgroups, programs, links: Vec::new(), with_links, log: Vec::new() }
    }

    /// Performs a random step. Returns the difference, if there is one, in its result or in what is attached then.
    fn step(&mut self, random: &mut Random) -> Result<(), String> {
        let (at, which) = (random.below(5) as usize, random.below(PROGRAMS as u64) as usize);
        let other = random.below(PROGRAMS as u64) as usize;
        let index = random.below(self.links.len().max(1) as u64) as usize;
        let (cgroup, program) = (self.cgroups[at], self.programs[which]);
        match random.below(12) {
            0..=3 => self.attach(random, cgroup, program, self.programs[other])?,
            4..=6 if self.with_links => self.link(random, cgroup, program, index)?,
            7 if !self.links.is_empty() => {
                let link = self.links[index];
                self.both(format!("update {link:?} to {program:?}"), |backend| {
                    backend.update_link(link, program)
                })?;
            }
            8 if !self.links.is_empty() => {
                let link = self.links[index];
                self.both(format!("detach {link:?}"), |backend| backend.detach_link(link))?;
            }
            9 if !self.links.is_empty() => {
                let link = self.links.remove(index);
                self.both(format!("close {link:?}"), |backend| backend.close_link(link))?;
            }
            // Removes a cgroup, and makes another one of its name.
            10 if !PARENTS.contains(&Some(at)) => {
                let parent = PARENTS[at].map_or(CgroupId::SCRATCH, |parent| self.cgroups[parent]);
                let created = self.both(format!("remove {cgroup:?}"), |backend| {
                    backend.remove_cgroup(cgroup)?;
                    backend.create_cgroup(parent, &format!("cgroup-{at}"))
                })?;
                self.cgroups[at] = created.expect("nothing is in it");
            }
            _ => {
                self.both(format!("detach {program:?} from {cgroup:?}"), |backend| {
                    backend.detach(cgroup, program)
                })?;
            }
        }
        self.compare()
    }

    /// Performs a step on both. Returns its result, unless that is an errno.
    fn both<T: PartialEq + Debug>(
        &mut self,
        described: String,
        step: impl Fn(&mut dyn Backend) -> StepResult<T>,
    ) -> Result<Option<T>, String> {
        let result = self.both.step(step);
        self.log.push(format!("{described}: {result:?}"));
        Ok(result?.ok())
    }

    fn attach(
        &mut self,
        random: &mut Random,
        cgroup: CgroupId,
        program: ProgramId,
        other: ProgramId,
    ) -> Result<(), String> {
        let mode = random.pick(&[
            AttachMode::Single,
            AttachMode::Override,
            AttachMode::Multi,
            AttachMode::Multi,
            AttachMode::Multi,
        ]);
        let replaces = random.one_in(5);
        let beside_link = self.links.first().filter(|_| random.one_in(8));
        let mut placement = Placement::default();
        if random.one_in(3) {
            placement = any_placement(
                random,
                beside_link.map_or(RelativeTo::Program(other), |link| RelativeTo::Link(*link)),
            );
        }
        placement.replaced = replaces.then_some(other);
        let described = format!("attach {program:?} to {cgroup:?} in mode {mode:?}, {placement:?}");
        self.both(described, |backend| backend.attach(cgroup, program, mode, &placement)).map(drop)
    }

    fn link(
        &mut self,
        random: &mut Random,
        cgroup: CgroupId,
        program: ProgramId,
        index: usize,
    ) -> Result<(), String> {
        let mut placement = Placement::default();
        if random.one_in(2) {
            let relative_to = match self.links.get(index) {
                Some(link) if !random.one_in(8) => RelativeTo::Link(*link),
                _ => RelativeTo::Program(program),
            };
            placement = any_placement(random, relative_to);
        }
        let described = format!("link {program:?} to {cgroup:?}, {placement:?}");
        let link = self.both(described, |backend| backend.link(cgroup, program, &placement))?;
        self.links.extend(link);
        Ok(())
    }

    /// Compares what is attached, and what runs.
    fn compare(&mut self) -> Result<(), String> {
        for &cgroup in &self.cgroups {
            self.both.must(|backend| Ok((backend.attached(cgroup)?, backend.effective(cgroup)?))).map_err(
                |difference| format!("{cgroup:?} is different (attached, effective)\n{difference}"),
            )?;
        }
        Ok(())
    }
}

/// A random placement.
fn any_placement(random: &mut Random, relative_to: RelativeTo) -> Placement {
    let preorder = random.one_in(2);
    let has_relative = random.one_in(2);
    let (before, after) = random.pick(&[(false, false), (true, false), (false, true), (true, true)]);
    let relative_to = has_relative.then_some(relative_to);
    Placement { preorder, before, after, relative_to, ..Placement::default() }
}
