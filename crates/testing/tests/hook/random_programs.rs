//! Random programs on nested cgroups, and accesses from these, in the kernel and in the model.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use knobgate_bpf::{Program, helper_ids};
use knobgate_hook::attach::Options;
use knobgate_hook::{CgroupId, Hook, Process, ProcessId, Task};
use knobgate_kernel::{Cgroup, Link, RingBuffer, ScratchCgroup};
use knobgate_testing::Random;

use crate::access::{self, Access, any, in_model, path, start_alike, value_in_kernel, value_in_model};
use crate::batches;
use crate::inputs::Kind;
use crate::programs;
use crate::without_programs::{KNOBS, knobs};
use crate::worker::{COMM, Worker};

/// The argument that makes the test binary run random programs.
pub(crate) const ARGUMENT: &str = "--random-programs";

/// The argument that makes it run batches.
pub(crate) const BATCHES: &str = "--batches";

/// How deep the cgroups are nested.
const LEVELS: usize = 3;

/// The number of possible processors, which is that of per-CPU maps.
pub(crate) fn processors() -> u32 {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").expect("it can be read");
    let last = possible.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<u32>().ok());
    last.expect("a list of processors") + 1
}

/// Both hooks, with the same cgroups, each with a process.
struct Stage {
    hook: Hook,
    outside: ProcessId,
    levels: Vec<Level>,
    cpus: u32,
    /// Removed at the end.
    _scratch: ScratchCgroup,
}

struct Level {
    cgroup: Cgroup,
    worker: Worker,
    model: CgroupId,
    process: ProcessId,
}

/// A program that is loaded in both.
struct Loaded {
    program: Program,
    real: knobgate_kernel::LoadedProgram,
    model: knobgate_hook::LoadedProgram,
}

impl Stage {
    fn new() -> Self {
        let scratch = knobgate_testing::scratch();
        let mut hook = Hook::new(knobgate_testing::profile(), knobs());
        let outside = hook.spawn(hook.root(), Process::default()).expect("the root is there");
        let mut levels: Vec<Level> = Vec::new();
        for number in 0..LEVELS {
            let name = format!("level-{number}");
            let above = levels.last();
            let cgroup = above.map_or(&*scratch, |level| &level.cgroup).create(&name).expect("a new name");
            let parent = above.map_or(hook.root(), |level| level.model);
            let model = hook.create_cgroup(parent, &name).expect("a new name");
            let task = Task { comm: COMM.into(), ..Task::default() };
            let process = hook.spawn(model, Process { task, ..Process::default() }).expect("it is there");
            levels.push(Level { worker: Worker::start(&cgroup), cgroup, model, process });
        }
        Self { hook, outside, levels, cpus: processors(), _scratch: scratch }
    }

    fn load(&self, program: Program) -> Result<Loaded, String> {
        let real = knobgate_kernel::load(&program, &knobgate_kernel::LoadOptions::default());
        let real = real.map_err(|error| {
            let log = error.log().map_or("", |log| log.text());
            format!("{error}\n{}\n{}", program.listing(), &log[log.len().saturating_sub(3000)..])
        })?;
        let options = knobgate_hook::LoadOptions { cpus: self.cpus, ..Default::default() };
        let model = knobgate_hook::LoadedProgram::load(&program, self.hook.profile(), &options)
            .map_err(|rejection| format!("the model rejects: {rejection}\n{}", program.listing()))?;
        Ok(Loaded { program, real, model })
    }
}

impl Loaded {
    /// The first difference between its maps, if user space can read them.
    fn difference(&self, all: bool) -> Option<String> {
        if all && let Some(difference) = self.difference_of_records() {
            return Some(difference);
        }
        for (index, (name, map)) in self.real.maps.iter().enumerate() {
            let readable = !matches!(&**name, "queue" | "stack" | "ringbuf" | "cgroup_storage");
            if !readable || index != programs::RESULTS && !all {
                continue;
            }
            let entries = map.entries().expect("the map can be read");
            let mut real: Vec<(Vec<u8>, Vec<u8>)> =
                entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
            real.sort();
            let mut model = self.model.maps()[index].entries();
            model.sort();
            if real == model {
                continue;
            }
            let mut words = format!("the map {name} is different:");
            let differ = real.iter().zip(&model).filter_map(|(real, model)| {
                let at = real.1.iter().zip(&model.1).position(|(one, other)| one != other)?;
                Some((at, real, model))
            });
            for (at, (key, value), (other_key, other)) in differ.take(3) {
                let start = at / 8 * 8;
                let end = (start + 32).min(value.len());
                let _ = write!(
                    words,
                    "\n  at byte {at} of {key:02x?} and {other_key:02x?}\n    kernel {:02x?}\n    model  {:02x?}",
                    &value[start..end],
                    &other[start..end]
                );
            }
            if real.len() != model.len() {
                let keys = |entries: &[(Vec<u8>, Vec<u8>)]| -> Vec<Vec<u8>> {
                    entries.iter().map(|(key, _)| key.clone()).collect()
                };
                let _ = write!(words, "\n  kernel {:02x?}\n  model  {:02x?}", keys(&real), keys(&model));
            }
            return Some(words);
        }
        None
    }
}

impl Loaded {
    /// The difference between the ring buffers, if there is one.
    fn difference_of_records(&self) -> Option<String> {
        let (real, model) = (self.real.map("ringbuf")?, self.model.map("ringbuf")?);
        let real = RingBuffer::open(real).expect("it can be read").drain();
        let model = model.drain_records();
        (real != model)
            .then(|| format!("the records are different:\n  kernel {real:02x?}\n  model  {model:02x?}"))
    }
}

/// One program on the innermost cgroup, and one access to each knob.
fn play_batch(stage: &mut Stage, program: Program, knobs: &[(&str, Kind)]) -> Result<(), String> {
    let loaded = stage.load(program)?;
    let level = &stage.levels[LEVELS - 1];
    let link = Link::create(&loaded.real.program, &level.cgroup).map_err(|error| error.to_string())?;
    let id = stage.hook.load_shared(Arc::new(loaded.model.clone()));
    let model = stage.hook.link(level.model, id, Options::default()).map_err(|errno| errno.to_string())?;
    let access = Access::Read { count: 64, position: 0, moves: false };
    let loaded = [loaded];
    for (name, _) in knobs {
        start_alike(&mut stage.hook, stage.outside, name);
        if let Some(difference) = compare(stage, LEVELS - 1, name, &access, &loaded, true) {
            return Err(format!("{name}: {difference}"));
        }
    }
    link.detach().map_err(|error| error.to_string())?;
    stage.hook.close_link(model);
    Ok(())
}

/// Fetches names into buffers of every size, and parses at least this many numbers.
pub(crate) fn run_batches(seed: u64, numbers: u64) -> ExitCode {
    let mut stage = Stage::new();
    let mut random = Random(seed);
    let here = match knobs_here(&mut stage) {
        Ok(here) => here,
        Err(difference) => {
            println!("{difference}");
            return ExitCode::FAILURE;
        }
    };
    let mut programs = vec![batches::names(0), batches::names(1)];
    let parsers = [helper_ids::STRTOL, helper_ids::STRTOUL];
    let runs = numbers.div_ceil(batches::TEXTS as u64);
    programs.extend(
        (0..runs).map(|run| {
            batches::numbers(&mut random, &knobgate_testing::profile(), parsers[run as usize % 2])
        }),
    );
    for program in programs {
        let knobs = if program.name == "names" { &here[..] } else { &here[..1] };
        if let Err(difference) = play_batch(&mut stage, program, knobs) {
            println!("{difference}");
            return ExitCode::FAILURE;
        }
    }
    println!(
        "{} names and {} numbers, no difference",
        2 * here.len() * batches::NAME_SIZES.len(),
        runs * batches::TEXTS as u64
    );
    ExitCode::SUCCESS
}

/// The knobs that exist here.
///
/// Kernels without `CONFIG_FORTIFY_SOURCE` in `strscpy` copy names eight bytes at a time, padded with zeros, but byte by
/// byte at the end of a page. The test cannot know where pages end, so it leaves out knobs whose names cross the end of
/// one.
fn knobs_here(stage: &mut Stage) -> Result<Vec<(&'static str, Kind)>, String> {
    /// The maximum of such names.
    const FEW: usize = 2;
    let mut here = Vec::new();
    let mut left_out = Vec::new();
    for &(name, kind) in KNOBS {
        if !std::fs::exists(path(name)).unwrap_or(false) {
            continue;
        }
        if !stage.hook.profile().fortified && is_across_pages(stage, name)? {
            left_out.push(name);
        } else {
            here.push((name, kind));
        }
    }
    if !left_out.is_empty() {
        println!("their names cross the end of a page: {left_out:?}");
    }
    if left_out.len() > FEW { Err("too many names cross the end of a page".to_owned()) } else { Ok(here) }
}

/// Whether the name crosses the end of a page: the kernel does not pad it with zeros where the model does.
fn is_across_pages(stage: &mut Stage, name: &str) -> Result<bool, String> {
    let loaded = stage.load(batches::names(0))?;
    let level = &mut stage.levels[LEVELS - 1];
    let link = Link::create(&loaded.real.program, &level.cgroup).map_err(|error| error.to_string())?;
    let id = stage.hook.load_shared(Arc::new(loaded.model.clone()));
    let model = stage.hook.link(level.model, id, Options::default()).map_err(|errno| errno.to_string())?;
    let access = Access::Read { count: 64, position: 0, moves: false };
    level.worker.perform(name, &access);
    in_model(&mut stage.hook, level.process, name, &access).map_err(|fault| fault.to_string())?;
    link.detach().map_err(|error| error.to_string())?;
    stage.hook.detach_link(model).map_err(|errno| errno.to_string())?;
    stage.hook.close_link(model);

    let real = loaded.real.maps[programs::RESULTS].1.lookup(&[0; 4]).ok().flatten().ok_or("no results")?;
    let model = loaded.model.maps()[programs::RESULTS].lookup(&[0; 4]).ok_or("no results")?;
    let untouched = |(real, model): (&u8, &u8)| *real == batches::UNTOUCHED && *model == 0;
    Ok(real != model && real.iter().zip(&model).all(|pair| pair.0 == pair.1 || untouched(pair)))
}

/// Runs this many scenes of this many accesses each.
pub(crate) fn run(seed: u64, scenes: u64, accesses: u64) -> ExitCode {
    let mut stage = Stage::new();
    let mut random = Random(seed);
    let here = match knobs_here(&mut stage) {
        Ok(here) => here,
        Err(difference) => {
            println!("{difference}");
            return ExitCode::FAILURE;
        }
    };
    let mut made = 0;
    for scene in 0..scenes {
        if let Err(difference) = play(&mut stage, &mut random, &here, accesses) {
            println!("scene {scene}: {difference}");
            return ExitCode::FAILURE;
        }
        made += accesses;
    }
    println!("{made} accesses in {scenes} scenes, no difference");
    ExitCode::SUCCESS
}

fn play(stage: &mut Stage, random: &mut Random, here: &[(&str, Kind)], accesses: u64) -> Result<(), String> {
    let (_, kind) = random.pick(here);
    let of_kind: Vec<&str> = here.iter().filter(|(_, other)| *other == kind).map(|(name, _)| *name).collect();
    for name in &of_kind {
        start_alike(&mut stage.hook, stage.outside, name);
    }
    let mut loaded = Vec::new();
    let mut links = Vec::new();
    for number in 0..1 + random.below(3) {
        let program = stage.load(programs::any(
            random,
            &knobgate_testing::profile(),
            kind,
            format!("program{number}"),
        ))?;
        let level = &stage.levels[random.below(LEVELS as u64) as usize];
        let link = Link::create(&program.real.program, &level.cgroup).map_err(|error| error.to_string())?;
        let id = stage.hook.load_shared(Arc::new(program.model.clone()));
        let model =
            stage.hook.link(level.model, id, Options::default()).map_err(|errno| errno.to_string())?;
        links.push((link, model));
        loaded.push(program);
    }
    for number in 0..accesses {
        let name = random.pick(&of_kind);
        let level = random.below(LEVELS as u64) as usize;
        let access = any(random, kind);
        let difference = compare(stage, level, name, &access, &loaded, number + 1 == accesses);
        if let Some(difference) = difference {
            let shown = format!("{access:?}");
            let mut words =
                format!("{name} from level {level}: {}\n{difference}\n", &shown[..shown.len().min(500)]);
            for loaded in &loaded {
                let _ = writeln!(words, "{}", loaded.program.listing());
            }
            return Err(words);
        }
    }
    for (link, model) in links {
        link.detach().map_err(|error| error.to_string())?;
        stage.hook.detach_link(model).map_err(|errno| errno.to_string())?;
        stage.hook.close_link(model);
    }
    Ok(())
}

fn compare(
    stage: &mut Stage,
    level: usize,
    name: &str,
    access: &Access,
    loaded: &[Loaded],
    last: bool,
) -> Option<String> {
    let level = &mut stage.levels[level];
    let real = (level.worker.perform(name, access), value_in_kernel(name));
    let returned: access::Result = match in_model(&mut stage.hook, level.process, name, access) {
        Ok(returned) => returned,
        Err(fault) => return Some(format!("{fault}: {}", fault.source)),
    };
    let model = (returned, value_in_model(&mut stage.hook, stage.outside, name));
    if real != model {
        let [real, model] = [real, model].map(|result| {
            let mut shown = format!("{result:?}");
            shown.truncate(600);
            shown
        });
        return Some(format!("  kernel {real}\n  model  {model}"));
    }
    loaded
        .iter()
        .find_map(|loaded| loaded.difference(last).map(|words| format!("{}: {words}", loaded.program.name)))
}
