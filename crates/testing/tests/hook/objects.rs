//! Programs by clang: the same verdicts and the same map contents on the kernel and on the model.

use std::fs::{File, OpenOptions};
use std::process::{Command, ExitCode};

use knobgate_bpf::{Insn, MapKind, Object, helper_ids};
use knobgate_hook::{LoadedProgram, Profile};
use knobgate_kernel::{
    Link, LoadOptions, LoadedProgram as InKernel, Namespaces, load, start_inside, with_private_namespaces,
};
use knobgate_testing::object_cases::{Access, CASES, Case, difference, padded, play_on_model};
use knobgate_testing::{Suite, profile, scratch};
use libtest_mimic::Failed;

/// The argument that makes the test binary run a case, whose number comes next.
pub(crate) const ARGUMENT: &str = "--be-the-user";

/// Adds a test for each case.
pub(crate) fn tests(suite: Suite) -> Suite {
    CASES.iter().enumerate().fold(suite, |suite, (number, case)| {
        let name = format!("an_object_does_the_same_on_both_{}_{}", number + 1, case.object);
        suite.test(name, move |profile| lacks(case, profile), move || object(number, case))
    })
}

/// Why this kernel cannot run the program of a case, if it lacks something.
fn lacks(case: &Case, profile: &Profile) -> Option<String> {
    let program = Object::read(case.bytes).and_then(|object| object.program(case.program)).ok()?;
    let rewrites = program.insns.contains(&Insn::call_helper(helper_ids::SYSCTL_SET_NEW_VALUE));
    if rewrites && !profile.rewrites_are_applied {
        return Some(format!("{profile} drops the values that it sets"));
    }
    let rejection = LoadedProgram::load(&program, profile, &Default::default()).err()?;
    // Only if the kernel rejects it as well; otherwise the test shows the error of the model.
    load(&program, &LoadOptions::default()).err().map(|_| format!("{profile}: {rejection}"))
}

fn object(number: usize, case: &Case) -> Result<(), Failed> {
    compare(&in_kernel(number, case)?, &play_on_model(case, &profile()))
}

/// Runs a case with the program on a cgroup.
fn in_kernel(number: usize, case: &Case) -> Result<InKernel, Failed> {
    let program = Object::read(case.bytes)?.program(case.program)?;
    let loaded = load(&program, &LoadOptions::default())?;
    for (map, key, value) in case.entries {
        let map = loaded.map(map).ok_or("no such map")?;
        map.update(&padded(key, map.info().key_size), &padded(value, map.info().value_size))?;
    }
    let cgroup = scratch();
    let _link = Link::create(&loaded.program, &cgroup)?;
    let mut user = Command::new(std::env::current_exe()?);
    user.args([ARGUMENT, &number.to_string()]);
    start_inside(&mut user, &cgroup)?;
    if !case.only_reads() {
        with_private_namespaces(&mut user, Namespaces { net: true, uts: true, ipc: true, mount: false });
    }
    let output = user.output()?;
    if !output.status.success() {
        let printed =
            [output.stdout, output.stderr].map(|printed| String::from_utf8_lossy(&printed).into_owned());
        return Err(printed.concat().into());
    }
    Ok(loaded)
}

/// Runs a case, inside the cgroup and in private namespaces.
pub(crate) fn use_knobs(number: usize) -> ExitCode {
    let mut differences = 0;
    for (access, expected) in CASES[number].accesses {
        let (returned, data) = perform(*access);
        if let Some(difference) = difference(*expected, returned, &data) {
            println!("{access:?}: {difference}");
            differences += 1;
        }
    }
    if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn perform(access: Access) -> (i64, Vec<u8>) {
    let opened = |file: std::io::Result<File>| file.expect("it can be opened");
    let mut data = vec![0; 4096];
    let result = match access {
        Access::Read(knob) => {
            let file = opened(File::open(format!("/proc/sys/{knob}")));
            rustix::io::pread(&file, &mut data[..], 0)
        }
        Access::Write(knob, bytes, position) => {
            let file = opened(OpenOptions::new().write(true).open(format!("/proc/sys/{knob}")));
            data.clear();
            rustix::io::pwrite(&file, bytes, position as u64)
        }
    };
    data.truncate(result.unwrap_or(0));
    (result.map_or_else(|errno| -i64::from(errno.raw_os_error()), |length| length as i64), data)
}

/// Of the maps that can be looked into.
fn compare(in_kernel: &InKernel, model: &LoadedProgram) -> Result<(), Failed> {
    for (map, of_model) in in_kernel.maps.iter().zip(model.maps()) {
        let (map_name, map) = map;
        let sums = match of_model.def().kind {
            MapKind::Array | MapKind::Hash | MapKind::LpmTrie => false,
            MapKind::PercpuArray | MapKind::PercpuHash => true,
            _ => continue,
        };
        let mut entries: Vec<_> = map.entries()?.into_iter().map(|entry| (entry.key, entry.value)).collect();
        let mut expected = of_model.entries();
        if sums {
            // It does not matter which processor counted.
            for (_, value) in entries.iter_mut().chain(&mut expected) {
                let words = value.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
                *value = words.sum::<u64>().to_le_bytes().to_vec();
            }
        }
        entries.sort();
        expected.sort();
        if entries != expected {
            let both = format!("kernel {entries:?}\nmodel  {expected:?}");
            return Err(format!("the map {map_name} differs:\n{both}").into());
        }
    }
    Ok(())
}
