//! No input makes the machine, or the reader of objects, panic or run for ever.
//!
//! Each test runs the inputs of `corpus/` and inputs that are made from the examples, and then random mutations of them.
//! `KNOBGATE_FUZZ_TRIES` is their number, and `KNOBGATE_SEED` selects them. Each input is written to a file first, so that
//! it survives if the process is killed or hangs. An input that panics is kept, to be added to `corpus/`.
#![allow(missing_docs)]

mod input;
mod mutation;

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use knobgate_bpf::{Object, Program};
use knobgate_compiler::compile;
use knobgate_hook::{Invocation, LoadOptions, LoadedProgram, ModelKernel, Profile, RunOptions, Task};
use knobgate_policy::{CheckOptions, Source, parse};
use knobgate_testing::Random;

use input::Input;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The default number of mutated inputs, for some seconds.
const TRIES: u64 = 5_000;

/// More instructions than code without loops has, but few enough to end infinite loops soon.
const BUDGET: u64 = 5_000;

#[test]
fn no_program_panics_the_machine() {
    let mut seeds = corpus("programs");
    for path in files(&Path::new(ROOT).join("../../examples"), "knob") {
        let source = Source::new("x", fs::read_to_string(&path).expect("a policy"));
        let file = parse(source, &CheckOptions::default()).expect("a policy without errors");
        for profile in ["5.10", "6.18"] {
            let profile: Profile = profile.parse().expect("a profile");
            let compiled = compile(&file, &profile.features()).expect("a program");
            seeds.push(Input::of(compiled.program(), &profile).to_bytes());
        }
    }
    for bytes in objects() {
        let object = Object::read(&bytes).expect("an object");
        for program in object.programs() {
            let is_modelled = |program: &Program| program.maps.iter().all(|map| map.kind.is_modelled());
            let kernel = ModelKernel::new(Profile::default());
            let taken = object.program_for(Some(&program.name), &kernel).ok().filter(is_modelled);
            seeds.extend(taken.map(|program| Input::of(&program, &Profile::default()).to_bytes()));
        }
    }
    let mut loaded = 0;
    fuzz("programs", &seeds, mutation::of_program, |bytes| {
        let input = Input::from_bytes(bytes);
        loaded += u64::from(run(&input));
    });
    println!("{loaded} programs were loaded");
    assert!(loaded * 100 >= tries(), "too many programs are rejected to show anything");
}

#[test]
fn no_object_panics_its_reader() {
    let mut seeds = corpus("objects");
    seeds.extend(objects());
    let mut loaded = 0;
    let kernel = ModelKernel::new(Profile::default()).option("CONFIG_HZ", "250");
    fuzz("objects", &seeds, mutation::of_bytes, |bytes| {
        let Ok(mut object) = Object::read(bytes) else { return };
        for variable in object.variables().to_vec().iter().take(16) {
            let _ = object.set(&variable.name, "1");
        }
        for program in object.programs() {
            let Ok(program) = object.program_for(Some(&program.name), &kernel) else { continue };
            let mut input = Input::of(&program, &Profile::default());
            input.program = program;
            loaded += u64::from(run(&input));
        }
    });
    println!("{loaded} programs were loaded");
    assert!(loaded * 100 >= tries(), "too many objects are rejected to show anything");
}

/// Loads the program, and runs it on some accesses. Returns whether it was accepted.
fn run(input: &Input) -> bool {
    let options = LoadOptions { expected_attach_type: input.expected_attach_type, ..LoadOptions::default() };
    let Ok(program) = LoadedProgram::load(&input.program, &input.profile, &options) else { return false };
    let task = Task { pid: 7, uid: 1000, comm: b"fuzz".to_vec(), cgroups: vec![1, 2], ..Task::default() };
    let (name, current) = ("net/core/somaxconn", b"4096\n");
    for new in [None, Some(&b"9999999\n"[..]), Some(b""), Some(b"-1 0x7 x\0\xff")] {
        let mut invocation = match new {
            Some(new) => Invocation::write(name, current, new, &task, &input.profile),
            None => Invocation::read(name, current, &task, &input.profile),
        };
        let mut options = RunOptions { budget: Some(BUDGET), ..RunOptions::default() };
        let _ = program.run(&mut invocation, &mut options);
    }
    for map in program.maps() {
        map.drain_records();
        map.drain_events();
        if map.def().max_entries < 10_000 {
            map.entries();
        }
    }
    true
}

/// Runs `seeds`, and mutations of them.
fn fuzz(
    name: &str,
    seeds: &[Vec<u8>],
    change: fn(&mut Vec<u8>, &[Vec<u8>], &mut Random),
    mut target: impl FnMut(&[u8]),
) {
    assert!(!seeds.is_empty());
    let fresh = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    let (seed, tries) = (number("KNOBGATE_SEED", fresh), tries());
    println!("KNOBGATE_SEED={seed} KNOBGATE_FUZZ_TRIES={tries}");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = directory.join(format!("fuzz-{name}-current-{}", std::process::id()));
    let mut current = File::create(&path).expect("inputs can be written");
    let mut random = Random(seed);
    let changed = (0..tries).map(|_| {
        let mut bytes = seeds[random.below(seeds.len() as u64) as usize].clone();
        for _ in 0..=random.below(6) {
            change(&mut bytes, seeds, &mut random);
        }
        bytes
    });
    for (index, bytes) in seeds.iter().cloned().chain(changed).enumerate() {
        write(&mut current, &bytes).expect("the input can be written");
        if catch_unwind(AssertUnwindSafe(|| target(&bytes))).is_err() {
            let kept = directory.join(format!("fuzz-{name}-{seed}-{index}"));
            fs::rename(&path, &kept).expect("the input can be kept");
            panic!("with KNOBGATE_SEED={seed} input {index} panics: {}", kept.display());
        }
    }
    fs::remove_file(&path).expect("the input can be removed");
}

/// Replaces the contents of the file with `bytes`.
fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.set_len(bytes.len() as u64)?;
    file.rewind()?;
    file.write_all(bytes)
}

/// The number of mutated inputs.
fn tries() -> u64 {
    number("KNOBGATE_FUZZ_TRIES", TRIES)
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(ROOT).join("tests/fuzz/corpus").join(name);
    files(&directory, "bin").iter().map(|path| fs::read(path).expect("an input")).collect()
}

fn objects() -> Vec<Vec<u8>> {
    let directory = Path::new(ROOT).join("../../examples/objects");
    files(&directory, "o").iter().map(|path| fs::read(path).expect("an object")).collect()
}

/// The files with this extension, by name.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths
}
