//! What large policies and many cgroups take.

use std::error::Error;
use std::time::{Duration, Instant};

use knobgate_bench::PolicyText;
use knobgate_kernel::{Cgroup, Link, LoadOptions};

use crate::memory;
use crate::programs;
use crate::stage::Stage;
use crate::statistics::Spread;

const ROUNDS: usize = 11;
const CGROUPS: usize = 1_000;

/// A policy on its way to the kernel.
#[derive(Debug)]
pub(crate) struct Size {
    /// Its rules, in words.
    pub(crate) what: &'static str,
    /// How many.
    pub(crate) rules: usize,
    /// Milliseconds of the compiler.
    pub(crate) compile: Spread,
    /// Milliseconds of the kernel, maps included.
    pub(crate) load: Spread,
    /// Milliseconds of both.
    pub(crate) both: Spread,
    /// MiB of a process that reads and compiles it, at most.
    pub(crate) memory: f64,
    /// Instructions of the program.
    pub(crate) insns: usize,
    /// Instructions that the verifier went through.
    pub(crate) verified: u32,
}

/// A program on many cgroups.
#[derive(Debug)]
pub(crate) struct Many {
    /// How many cgroups.
    pub(crate) cgroups: usize,
    /// Microseconds to attach it, for one cgroup.
    pub(crate) attach: f64,
    /// Microseconds to replace it by another.
    pub(crate) update: f64,
}

/// Both.
#[derive(Debug)]
pub(crate) struct Scale {
    /// MiB of a process that compiles a policy without rules, at most.
    pub(crate) memory_at_least: f64,
    /// Policies of several kinds and sizes.
    pub(crate) sizes: Vec<Size>,
    /// One program for all.
    pub(crate) many: Many,
}

/// Compiles and loads policies of all sizes; attaches one to many cgroups.
///
/// # Errors
///
/// A policy cannot be compiled or loaded, a cgroup not be made, a program not be attached.
pub(crate) fn measure(stage: &Stage) -> Result<Scale, Box<dyn Error>> {
    let mut sizes = Vec::new();
    for rules in [100, 1_000, 10_000] {
        sizes.push(size("literals", rules, &PolicyText::of_literals(rules, "read write", ""))?);
    }
    for rules in [100, 1_000, 10_000] {
        let policy = PolicyText::of_literals(rules, "write", " if 1 <= new <= 1_000_000");
        sizes.push(size("literals with a condition", rules, &policy)?);
    }
    for rules in [100, 1_000, 5_000] {
        sizes.push(size("globs", rules, &PolicyText::of_globs(rules, "read write"))?);
    }
    let both =
        PolicyText::of_literals(10_000, "read write", "").and(PolicyText::of_globs(1_000, "read write"));
    sizes.push(size("10,000 literals and 1,000 globs", 11_000, &both)?);
    let memory_at_least = memory::peak(&PolicyText::of_literals(0, "read", ""))?;
    Ok(Scale { memory_at_least, sizes, many: many(stage)? })
}

fn size(what: &'static str, rules: usize, policy: &PolicyText) -> Result<Size, Box<dyn Error>> {
    let (file, features) = (policy.parsed(), programs::features());
    let (mut compile, mut loading, mut both) = (Vec::new(), Vec::new(), Vec::new());
    let (mut insns, mut verified) = (0, 0);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let compiled = knobgate_compiler::compile(&file, &features)?;
        let compiled_in = begin.elapsed();
        let loaded = knobgate_kernel::load(compiled.program(), &LoadOptions::default())?;
        let all = begin.elapsed();
        compile.push(milliseconds(compiled_in));
        loading.push(milliseconds(all - compiled_in));
        both.push(milliseconds(all));
        insns = compiled.program().insns.len();
        verified = loaded.program.info()?.verified_insns;
    }
    let [compile, load, both] = [compile, loading, both].map(Spread::of);
    Ok(Size { what, rules, compile, load, both, memory: memory::peak(policy)?, insns, verified })
}

fn many(stage: &Stage) -> Result<Many, Box<dyn Error>> {
    let one = programs::of_policy(&PolicyText::of_literals(10, "read write", ""))?;
    let other = programs::of_policy(&PolicyText::of_literals(11, "read write", ""))?;
    let cgroups = (0..CGROUPS)
        .map(|number| stage.elsewhere.create(number.to_string()))
        .collect::<Result<Vec<Cgroup>, _>>()?;

    let begin = Instant::now();
    let links =
        cgroups.iter().map(|cgroup| Link::create(&one.program, cgroup)).collect::<Result<Vec<_>, _>>()?;
    let attach = begin.elapsed();
    let begin = Instant::now();
    for link in &links {
        link.update(&one.program, &other.program)?;
    }
    let update = begin.elapsed();

    drop(links);
    for cgroup in &cgroups {
        cgroup.remove()?;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / CGROUPS as f64;
    Ok(Many { cgroups: CGROUPS, attach: each(attach), update: each(update) })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
