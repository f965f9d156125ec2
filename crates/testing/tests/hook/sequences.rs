//! Random attaching, replacing, updating, detaching and removing on a small tree of cgroups: the same errno, the same lists
//! and the same effective order.

use std::io;
use std::process::ExitCode;

use knobgate_bpf::{Assembler, Program, Reg};
use knobgate_hook::attach::{Options, Position, Relative};
use knobgate_hook::{CgroupId, Errno, Hook, Knobs, LinkId, Mode, ProgramId};
use knobgate_kernel::{
    AttachMode, AttachPosition, Cgroup, Link, ProgramFd, RelativeTo, ScratchCgroup, link_create, link_detach,
    link_update, prog_attach, prog_detach,
};
use knobgate_testing::Random;

/// The argument that makes the test binary run this.
pub(crate) const ARGUMENT: &str = "--be-the-attacher";

/// The tree: the parent of each cgroup, by its index in this list; the first ones are children of the scratch cgroup.
const PARENTS: [Option<usize>; 5] = [None, Some(0), Some(1), Some(0), None];

const PROGRAMS: usize = 5;

/// How many steps are made before everything is created again.
const STEPS: u64 = 60;

/// Both hooks, with the same cgroups and programs.
struct Stage {
    hook: Hook,
    cgroups: Vec<(Cgroup, CgroupId)>,
    programs: Vec<(ProgramFd, ProgramId)>,
    links: Vec<(Link, LinkId)>,
    /// Without links, single and override mode occur as well.
    with_links: bool,
    scratch: ScratchCgroup,
}

/// Performs this many steps, and compares.
pub(crate) fn attach_and_detach(seed: u64, count: u64) -> ExitCode {
    let mut random = Random(seed);
    for sequence in 0..count.div_ceil(STEPS) {
        let mut stage = Stage::new(random.one_in(2));
        let mut log = Vec::new();
        for _ in 0..STEPS {
            let (step, real, model) = stage.step(&mut random);
            log.push(format!("{step}: {real:?}"));
            let difference =
                if real == model { stage.difference() } else { Some(format!("the model says {model:?}")) };
            if let Some(difference) = difference {
                println!("sequence {sequence}: {difference}\n{}", log.join("\n"));
                return ExitCode::FAILURE;
            }
        }
    }
    if let Some(difference) = fill() {
        println!("a full cgroup: {difference}");
        return ExitCode::FAILURE;
    }
    println!("{} steps, no difference", count.div_ceil(STEPS) * STEPS);
    ExitCode::SUCCESS
}

/// Attaches more programs to a cgroup than there may be, and replaces one of as many as there may be.
fn fill() -> Option<String> {
    let mut stage = Stage::new(true);
    for number in 0..70 {
        let (real, model) = &stage.cgroups[0];
        let (program, id) = &stage.programs[number % PROGRAMS];
        let result = link_create(program, real, &AttachPosition::default());
        let modelled = stage.hook.link(*model, *id, Options::default());
        match (result, modelled) {
            (Ok(real), Ok(model)) => stage.links.push((real, model)),
            (Err(real), Err(model)) if real.raw_os_error() == Some(model.number() as i32) => {}
            (real, model) => return Some(format!("link {number}: {real:?} and {model:?}")),
        }
    }
    stage.difference()
}

/// The errno; 0 on success.
fn number(result: io::Result<()>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().expect("it is the kernel's"), |()| 0)
}

fn number_of_model(result: Result<(), Errno>) -> i32 {
    result.map_or_else(|errno| errno.number() as i32, |()| 0)
}

impl Stage {
    fn new(with_links: bool) -> Self {
        let scratch = knobgate_testing::scratch();
        let mut hook = Hook::new(knobgate_testing::profile(), Knobs::new());
        let mut cgroups: Vec<(Cgroup, CgroupId)> = Vec::new();
        for (number, parent) in PARENTS.into_iter().enumerate() {
            let name = format!("cgroup-{number}");
            let above = parent.map(|parent| &cgroups[parent]);
            let real = above.map_or(&*scratch, |(real, _)| real).create(&name).expect("a new name");
            let parent = above.map_or(hook.root(), |(_, model)| *model);
            let model = hook.create_cgroup(parent, &name).expect("a new name");
            cgroups.push((real, model));
        }
        let programs = (0..PROGRAMS).map(|number| {
            let mut asm = Assembler::new();
            asm.mov(Reg::R0, 1);
            asm.exit();
            let code = asm.finish(true).expect("it assembles");
            let program = Program { name: format!("program{number}"), ..Program::from(code) };
            let real =
                knobgate_kernel::load(&program, &knobgate_kernel::LoadOptions::default()).expect("it loads");
            (real.program, hook.load(|_: &mut knobgate_hook::Invocation<'_>| 1))
        });
        let programs = programs.collect();
        Self { hook, cgroups, programs, links: Vec::new(), with_links, scratch }
    }

    /// Performs a random step. Returns a description and both results.
    fn step(&mut self, random: &mut Random) -> (String, i32, i32) {
        let (at, which) = (random.below(5) as usize, random.below(PROGRAMS as u64) as usize);
        let other = random.below(PROGRAMS as u64) as usize;
        let index = random.below(self.links.len().max(1) as u64) as usize;
        match random.below(12) {
            0..=3 => self.attach(random, at, which, other),
            4..=6 if self.with_links => self.link(random, at, which, index),
            7 if !self.links.is_empty() => {
                let (real, model) = &self.links[index];
                let result = number(link_update(real, &self.programs[which].0));
                let modelled = self.hook.update_link(*model, self.programs[which].1, None);
                (format!("update link {index} to {which}"), result, number_of_model(modelled))
            }
            8 if !self.links.is_empty() => {
                let (real, model) = &self.links[index];
                let result = number(link_detach(real));
                let modelled = self.hook.detach_link(*model);
                (format!("detach link {index}"), result, number_of_model(modelled))
            }
            9 if !self.links.is_empty() => {
                let (real, model) = self.links.remove(index);
                drop(real);
                self.hook.close_link(model);
                (format!("close link {index}"), 0, 0)
            }
            10 if !PARENTS.contains(&Some(at)) => self.remove(at),
            _ => {
                let (real, model) = &self.cgroups[at];
                let result = number(prog_detach(&self.programs[which].0, real));
                let modelled = self.hook.detach(*model, Some(self.programs[which].1), None);
                (format!("detach {which} from {at}"), result, number_of_model(modelled))
            }
        }
    }

    fn attach(&mut self, random: &mut Random, at: usize, which: usize, other: usize) -> (String, i32, i32) {
        let (real_mode, mode) = random.pick(&[
            (AttachMode::Single, Mode::Single),
            (AttachMode::Override, Mode::Override),
            (AttachMode::Multi, Mode::Multi),
            (AttachMode::Multi, Mode::Multi),
            (AttachMode::Multi, Mode::Multi),
        ]);
        let (real, model) = &self.cgroups[at];
        let (program, id) = &self.programs[which];
        let replaces = random.one_in(5);
        let beside_link = self.links.first().filter(|_| random.one_in(8));
        let (mut position, mut options) = (AttachPosition::default(), Options::default());
        if random.one_in(3) {
            let real_relative = match beside_link {
                Some((link, _)) => RelativeTo::Link(link),
                None => RelativeTo::Program(&self.programs[other].0),
            };
            let relative = match beside_link {
                Some((_, link)) => Relative::Link(*link),
                None => Relative::Program(self.programs[other].1),
            };
            set_position(random, real_relative, relative, &mut position, &mut options);
        }
        let described = format!(
            "attach {which} to {at} in mode {mode:?}, {options:?}, replacing {:?}",
            replaces.then_some(other)
        );
        position.replaced = replaces.then_some(&self.programs[other].0);
        let result = number(prog_attach(program, real, real_mode, &position));
        // The model's types only allow BPF_F_REPLACE in multi mode.
        let modelled = match (replaces, mode) {
            (false, _) => self.hook.attach(*model, *id, mode, options),
            (true, Mode::Multi) => self.hook.replace(*model, self.programs[other].1, *id, options),
            (true, _) => Err(Errno::EINVAL),
        };
        (described, result, number_of_model(modelled))
    }

    fn link(&mut self, random: &mut Random, at: usize, which: usize, index: usize) -> (String, i32, i32) {
        let (real, model) = &self.cgroups[at];
        let (program, id) = &self.programs[which];
        let (mut position, mut options) = (AttachPosition::default(), Options::default());
        if random.one_in(2) {
            match self.links.get(index) {
                Some((real, model)) if !random.one_in(8) => {
                    set_position(
                        random,
                        RelativeTo::Link(real),
                        Relative::Link(*model),
                        &mut position,
                        &mut options,
                    );
                }
                _ => set_position(
                    random,
                    RelativeTo::Program(program),
                    Relative::Program(*id),
                    &mut position,
                    &mut options,
                ),
            }
        }
        let described = format!("link {which} to {at}, {options:?}");
        let result = link_create(program, real, &position);
        let modelled = self.hook.link(*model, *id, options);
        let errnos = (
            result.as_ref().map_or_else(|error| error.raw_os_error().expect("it is the kernel's"), |_| 0),
            modelled.map_or_else(|errno| errno.number() as i32, |_| 0),
        );
        if let (Ok(real), Ok(model)) = (result, modelled) {
            self.links.push((real, model));
        }
        (described, errnos.0, errnos.1)
    }

    /// Removes a cgroup, and makes another one of its name.
    fn remove(&mut self, at: usize) -> (String, i32, i32) {
        let (real, model) = &self.cgroups[at];
        real.remove().expect("nothing is in it");
        let led_there = |(_, link): &&(Link, LinkId)| self.hook.cgroup_of_link(*link) == Some(*model);
        for (link, _) in self.links.iter().filter(led_there) {
            // The kernel does this asynchronously.
            knobgate_testing::eventually("the link leads nowhere", || {
                link.info().is_ok_and(|info| info.cgroup_id.is_none())
            });
        }
        self.hook.remove_cgroup(*model).expect("nothing is in it");
        let above = PARENTS[at].map(|parent| &self.cgroups[parent]);
        let name = format!("cgroup-{at}");
        let real = above.map_or(&*self.scratch, |(real, _)| real).create(&name).expect("it was removed");
        let parent = above.map_or(self.hook.root(), |(_, model)| *model);
        let model = self.hook.create_cgroup(parent, &name).expect("it was removed");
        self.cgroups[at] = (real, model);
        (format!("remove {at}"), 0, 0)
    }

    /// The first difference in attached and effective programs.
    fn difference(&self) -> Option<String> {
        for (number, (real, model)) in self.cgroups.iter().enumerate() {
            let index = |id: &u32| {
                self.programs.iter().position(|(program, _)| program.info().is_ok_and(|info| info.id == *id))
            };
            let index_of_model = |id: &ProgramId| self.programs.iter().position(|(_, program)| program == id);
            let attached = real.attached().expect("it can be queried");
            let effective: Vec<_> = real.effective().expect("it can be queried").iter().map(index).collect();
            let mode = attached.mode.map(|mode| match mode {
                AttachMode::Single => Mode::Single,
                AttachMode::Override => Mode::Override,
                AttachMode::Multi => Mode::Multi,
            });
            let real: (_, Vec<_>, _, _) =
                (mode, attached.program_ids.iter().map(index).collect(), attached.revision, effective);
            let attached = self.hook.attached(*model).expect("it is there");
            let effective: Vec<_> =
                self.hook.effective(*model).expect("it is there").iter().map(index_of_model).collect();
            let programs: Vec<_> = attached.programs.iter().map(index_of_model).collect();
            // Kernels with attach positions count revisions.
            let revision = self.hook.profile().attach_positions.then_some(attached.revision);
            let model = (attached.mode, programs, revision, effective);
            if real != model {
                return Some(format!(
                    "cgroup {number} is different (mode, programs, revision, what runs)\n  kernel {real:?}\n  model  {model:?}"
                ));
            }
        }
        None
    }
}

/// A random attach position, for both.
fn set_position<'a>(
    random: &mut Random,
    real: RelativeTo<'a>,
    model: Relative,
    position: &mut AttachPosition<'a>,
    options: &mut Options,
) {
    position.preorder = random.one_in(2);
    options.preorder = position.preorder;
    let has_relative = random.one_in(2);
    (position.before, position.after) =
        random.pick(&[(false, false), (true, false), (false, true), (true, true)]);
    position.relative_to = has_relative.then_some(real);
    options.position = match (position.before, position.after, has_relative) {
        (false, false, false) => Position::Unspecified,
        (true, false, false) => Position::First,
        (false, true, false) => Position::Last,
        (true, false, true) => Position::Before(model),
        (false, true, true) => Position::After(model),
        (true, true, relative) => Position::BothSides { relative },
        (false, false, true) => Position::NoSide(model),
    };
}
