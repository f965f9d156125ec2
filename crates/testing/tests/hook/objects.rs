//! Programs by clang: the same verdicts and the same map contents on the kernel and on the model.

use knobgate_backend::Backend;
use knobgate_bpf::{Insn, MapKind, Program, helper_ids};
use knobgate_hook::{LoadedProgram, Profile};
use knobgate_kernel::{LoadOptions, load};
use knobgate_testing::object_cases::{CASES, Case, knobs};
use knobgate_testing::{Both, Suite};

/// A test for each case.
pub(crate) fn tests() -> Suite {
    CASES.iter().enumerate().fold(Suite::default(), |suite, (number, case)| {
        let name = format!("an_object_does_the_same_on_both_{}_{}", number + 1, case.object);
        let test = Suite::default().test(name, |profile| lacks(case, profile), || Ok(check(case)?));
        // Those that only read read knobs that no other network namespace has, such as net.ipv4.tcp_mem.
        suite.and(if case.only_reads() { test } else { test.with_private_knobs() })
    })
}

/// Why this kernel cannot run the program of a case, if it lacks something.
fn lacks(case: &Case, profile: &Profile) -> Option<String> {
    lacks_for(&case.read().ok()?, profile)
}

/// Why this kernel cannot run a program, if it lacks something.
pub(crate) fn lacks_for(program: &Program, profile: &Profile) -> Option<String> {
    let rewrites = program.insns.contains(&Insn::call_helper(helper_ids::SYSCTL_SET_NEW_VALUE));
    if rewrites && !profile.rewrites_are_applied {
        return Some(format!("{profile} drops the values that it sets"));
    }
    let rejection = LoadedProgram::load(program, profile, &Default::default()).err()?;
    // Only if the kernel rejects it as well; otherwise the test shows the error of the model.
    load(program, &LoadOptions::default()).err().map(|_| format!("{profile}: {rejection}"))
}

/// Plays a case on both, and compares the maps that can be looked into.
fn check(case: &Case) -> Result<(), String> {
    let mut both = Both::new(knobs(&knobgate_testing::profile()));
    let maps = case.play(&mut both.kernel).map_err(|error| format!("the kernel: {error:?}"))?;
    let of_model = case.play(&mut both.model).map_err(|error| format!("the model: {error:?}"))?;
    assert_eq!(maps, of_model);
    for &map in &maps {
        let def = both.kernel.map_def(map).map_err(|error| format!("{error:?}"))?.clone();
        if matches!(
            def.kind,
            MapKind::Array
                | MapKind::Hash
                | MapKind::LpmTrie
                | MapKind::PercpuArray
                | MapKind::PercpuHash
                | MapKind::Ringbuf
        ) {
            both.must(|backend| backend.entries(map))
                .map_err(|difference| format!("the map {} differs:\n{difference}", def.name))?;
        }
    }
    Ok(())
}
