//! Random policies and accesses, on every kernel that has links and in every form of program: knobgate never contradicts itself.
#![allow(missing_docs)]

use knobgate_compiler::compile_inlining;
use knobgate_policy::{CheckOptions, Source, arbitrary, parse, print};
use knobgate_trial::{Profile, Trial, TrialError, Undecided};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

const POLICIES: usize = 45;
const ACCESSES: usize = 40;

#[test]
fn no_policy_contradicts_itself_on_any_kernel() {
    let mut runner = TestRunner::default();
    let kernels: Vec<Profile> = Profile::ALL.into_iter().filter(|profile| profile.links).collect();
    let mut decided = 0;
    for index in 0..POLICIES {
        let policy = arbitrary::policy().new_tree(&mut runner).expect("a policy").current();
        let text = print(&policy);
        let file = parse(Source::new("random.knob", text.as_str()), &CheckOptions::default()).expect("valid");
        let profile = kernels[index % kernels.len()];
        let as_code = match Trial::new(&file, &profile) {
            Ok(trial) => trial,
            Err(TrialError::Compile { .. }) => continue,
            Err(error) => panic!("{error}\n{text}"),
        };
        let features = profile.features();
        let as_table = features.bpf_loop.then(|| {
            let compiled = compile_inlining(&file, &features, index % 3).expect("compiles as code does");
            Trial::of(&file, compiled, profile).unwrap_or_else(|error| panic!("{error}\n{text}"))
        });
        let mut trials: Vec<Trial<'_>> = std::iter::once(as_code).chain(as_table).collect();
        for _ in 0..ACCESSES {
            let access = arbitrary::access(&policy).new_tree(&mut runner).expect("an access").current();
            for trial in &mut trials {
                match trial.decide(&access) {
                    Ok(_) => decided += 1,
                    Err(Undecided::Contradiction(found)) => panic!("{found}\n{access}\n{text}"),
                    Err(_) => {}
                }
            }
        }
    }
    println!("{decided} accesses were decided");
    assert!(decided > POLICIES * ACCESSES / 3, "too few accesses are decided to show anything");
}
