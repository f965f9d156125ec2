//! Random programs on nested cgroups, and accesses from these, in the kernel and in the model.

use std::fmt::Write as _;

use knobgate_backend::{Backend, CgroupId, LinkId, Placement, ProgramId, Task};
use knobgate_bpf::{Program, helper_ids};
use knobgate_testing::{Both, Random, profile};

use crate::access::{self, Access, Request, any, is_here};
use crate::batches;
use crate::inputs::Kind;
use crate::programs;
use crate::without_programs::{KNOBS, knobs};

/// How deep the cgroups are nested.
const LEVELS: usize = 3;

/// Both hooks, with nested cgroups.
struct Nested {
    both: Both,
    levels: Vec<CgroupId>,
}

/// A program that is attached in both.
struct Attached {
    program: Program,
    id: ProgramId,
    link: LinkId,
}

impl Nested {
    fn new() -> Result<Self, String> {
        let mut both = Both::new(knobs());
        let mut levels = vec![CgroupId::SCRATCH];
        for level in 0..LEVELS {
            let name = format!("level-{level}");
            levels.push(both.must(|backend| backend.create_cgroup(levels[level], &name))?);
        }
        levels.remove(0);
        Ok(Self { both, levels })
    }

    fn attach(&mut self, program: Program, level: usize) -> Result<Attached, String> {
        let cgroup = self.levels[level];
        let attached = self.both.must(|backend| {
            let id = backend.load(&program, None)?;
            Ok((id, backend.link(cgroup, id, &Placement::default())?))
        });
        let (id, link) = attached.map_err(|error| format!("{}\n{error}", program.listing()))?;
        Ok(Attached { program, id, link })
    }

    fn remove(&mut self, Attached { id, link, .. }: Attached) -> Result<(), String> {
        self.both.must(|backend| {
            backend.close_link(link)?;
            backend.unload(id)
        })
    }

    /// Makes an access to both, and compares all that comes of it; the maps of all programs only after the `last` one.
    fn compare(
        &mut self,
        level: usize,
        name: &str,
        access: &Access,
        attached: &[Attached],
        last: bool,
    ) -> Result<(), String> {
        access::compare(&mut self.both, self.levels[level], name, access)?;
        for Attached { program, id, .. } in attached {
            for (index, def) in program.maps.iter().enumerate() {
                if def.name != "cgroup_storage" && (last || index == programs::RESULTS) {
                    let [kernel, model] = self.entries(*id, index)?;
                    if kernel != model {
                        let difference = difference(&kernel, &model);
                        return Err(format!(
                            "{}: the map {} is different:{difference}",
                            program.name, def.name
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// The entries of a map of a program, in the kernel and in the model.
    fn entries(&mut self, program: ProgramId, map: usize) -> Result<[Entries; 2], String> {
        let entries = |backend: &mut dyn Backend| {
            let map = backend.maps(program)?[map];
            backend.entries(map)
        };
        let (kernel, model) = (entries(&mut self.both.kernel), entries(&mut self.both.model));
        Ok([kernel.map_err(|error| format!("{error:?}"))?, model.map_err(|error| format!("{error:?}"))?])
    }
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// The first values that differ, and the keys if there are not as many.
fn difference(kernel: &Entries, model: &Entries) -> String {
    let mut words = String::new();
    let differ = kernel.iter().zip(model).filter_map(|(kernel, model)| {
        let at = kernel.1.iter().zip(&model.1).position(|(one, other)| one != other)?;
        Some((at, kernel, model))
    });
    for (at, (key, value), (other_key, other)) in differ.take(3) {
        let start = at / 8 * 8;
        let end = (start + 32).min(value.len()).min(other.len());
        let _ = write!(
            words,
            "\n  at byte {at} of {key:02x?} and {other_key:02x?}\n    kernel {:02x?}\n    model  {:02x?}",
            &value[start..end],
            &other[start..end]
        );
    }
    if words.is_empty() || kernel.len() != model.len() {
        let _ = write!(words, "\n  kernel {kernel:02x?}\n  model  {model:02x?}");
    }
    words
}

/// One program on the innermost cgroup, and one access to each knob.
fn play_batch(nested: &mut Nested, program: Program, knobs: &[(&str, Kind)]) -> Result<(), String> {
    let attached = [nested.attach(program, LEVELS - 1)?];
    for (name, _) in knobs {
        nested.both.align(name);
        nested
            .compare(LEVELS - 1, name, &READ, &attached, true)
            .map_err(|difference| format!("{name}: {difference}"))?;
    }
    attached.into_iter().try_for_each(|attached| nested.remove(attached))
}

/// A read that changes nothing.
const READ: Access = Access { request: Request::Read(64), position: 0, moves: false };

/// Fetches names into buffers of every size, and parses at least this many numbers.
pub(crate) fn run_batches(seed: u64, numbers: u64) -> Result<String, String> {
    let mut nested = Nested::new()?;
    let mut random = Random(seed);
    let here = knobs_here(&mut nested)?;
    let mut programs = vec![batches::names(0), batches::names(1)];
    let parsers = [helper_ids::STRTOL, helper_ids::STRTOUL];
    let runs = numbers.div_ceil(batches::TEXTS as u64);
    programs
        .extend((0..runs).map(|run| batches::numbers(&mut random, &profile(), parsers[run as usize % 2])));
    for program in programs {
        let knobs = if program.name == "names" { &here[..] } else { &here[..1] };
        play_batch(&mut nested, program, knobs)?;
    }
    Ok(format!(
        "{} names and {} numbers, no difference",
        2 * here.len() * batches::NAME_SIZES.len(),
        runs * batches::TEXTS as u64
    ))
}

/// The knobs that exist here.
///
/// Kernels without `CONFIG_FORTIFY_SOURCE` in `strscpy` copy names eight bytes at a time, padded with zeros, but byte by
/// byte at the end of a page. The test cannot know where pages end, so it leaves out knobs whose names cross the end of
/// one.
fn knobs_here(nested: &mut Nested) -> Result<Vec<(&'static str, Kind)>, String> {
    /// The maximum of such names.
    const FEW: usize = 2;
    let mut here = Vec::new();
    let mut left_out = Vec::new();
    for &(name, kind) in KNOBS {
        if !is_here(name) {
            continue;
        }
        if !profile().fortified && is_across_pages(nested, name)? {
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
fn is_across_pages(nested: &mut Nested, name: &str) -> Result<bool, String> {
    let attached = nested.attach(batches::names(0), LEVELS - 1)?;
    nested.both.align(name);
    access::compare(&mut nested.both, nested.levels[LEVELS - 1], name, &READ)?;
    let [kernel, model] = nested.entries(attached.id, programs::RESULTS)?;
    nested.remove(attached)?;
    let ([(_, kernel)], [(_, model)]) = (&kernel[..], &model[..]) else {
        return Err("no results".to_owned());
    };
    let untouched = |(kernel, model): (&u8, &u8)| *kernel == batches::UNTOUCHED && *model == 0;
    Ok(kernel != model && kernel.iter().zip(model).all(|pair| pair.0 == pair.1 || untouched(pair)))
}

/// Runs this many scenes of this many accesses each.
pub(crate) fn run(seed: u64, scenes: u64, accesses: u64) -> Result<String, String> {
    let mut nested = Nested::new()?;
    let mut random = Random(seed);
    let here = knobs_here(&mut nested)?;
    for scene in 0..scenes {
        play(&mut nested, &mut random, &here, accesses)
            .map_err(|difference| format!("scene {scene}: {difference}"))?;
    }
    Ok(format!("{} accesses in {scenes} scenes, no difference", scenes * accesses))
}

/// What programs see of a process; -1 is no id.
fn task(random: &mut Random) -> Task {
    let [uid, gid] = [(); 2].map(|()| random.below(u32::MAX.into()) as u32);
    Task { uid, gid, comm: (0..random.below(16)).map(|_| 1 + random.below(255) as u8).collect() }
}

fn play(
    nested: &mut Nested,
    random: &mut Random,
    here: &[(&str, Kind)],
    accesses: u64,
) -> Result<(), String> {
    let (_, kind) = random.pick(here);
    let of_kind: Vec<&str> = here.iter().filter(|(_, other)| *other == kind).map(|(name, _)| *name).collect();
    for name in &of_kind {
        nested.both.align(name);
    }
    for level in nested.levels.clone() {
        let task = task(random);
        nested.both.must(|backend| backend.set_task(level, &task))?;
    }
    let mut attached = Vec::new();
    for number in 0..1 + random.below(3) {
        let program = programs::any(random, &profile(), kind, format!("program{number}"));
        attached.push(nested.attach(program, random.below(LEVELS as u64) as usize)?);
    }
    for number in 0..accesses {
        let name = random.pick(&of_kind);
        let level = random.below(LEVELS as u64) as usize;
        let access = any(random, kind);
        nested.compare(level, name, &access, &attached, number + 1 == accesses).map_err(|difference| {
            let shown = format!("{access:?}");
            let mut words =
                format!("{name} from level {level}: {}\n{difference}\n", &shown[..shown.len().min(500)]);
            for attached in &attached {
                let _ = writeln!(words, "{}", attached.program.listing());
            }
            words
        })?;
    }
    attached.into_iter().try_for_each(|attached| nested.remove(attached))
}
