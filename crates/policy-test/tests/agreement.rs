//! Programs do what policies mean: random policies and accesses, on every kernel with links and in every form of program.
#![allow(missing_docs)]

use knobgate_compiler::compile_inlining;
use knobgate_policy::{CheckOptions, Source, parse, print};
use knobgate_policy_test::{DecideError, PolicyTest, PolicyTestError, Profile};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

const POLICIES: usize = 45;
const ACCESSES: usize = 40;

#[test]
fn programs_do_what_policies_mean_on_every_kernel() {
    let mut runner = TestRunner::default();
    let kernels: Vec<Profile> = Profile::ALL.into_iter().filter(|profile| profile.links).collect();
    let mut decided = 0;
    for index in 0..POLICIES {
        let policy = knobgate_arbitrary::policy().new_tree(&mut runner).expect("a policy").current();
        let text = print(&policy);
        let file = parse(Source::new("random.knob", text.as_str()), &CheckOptions::default()).expect("valid");
        let profile = kernels[index % kernels.len()];
        let as_code = match PolicyTest::new(&file, &profile) {
            Ok(test) => test,
            Err(PolicyTestError::Compile { .. }) => continue,
            Err(error) => panic!("{error}\n{text}"),
        };
        let features = profile.features();
        let as_table = features.bpf_loop.then(|| {
            let compiled =
                compile_inlining(&file, &features, index % 3).expect("compiles as with inlined conditions");
            PolicyTest::of(&file, compiled, profile).unwrap_or_else(|error| panic!("{error}\n{text}"))
        });
        let mut tests: Vec<PolicyTest<'_>> = std::iter::once(as_code).chain(as_table).collect();
        for _ in 0..ACCESSES {
            let access =
                knobgate_arbitrary::access(&policy).new_tree(&mut runner).expect("an access").current();
            for test in &mut tests {
                match test.decide(&access) {
                    Ok(_) => decided += 1,
                    Err(DecideError::Mismatch(found)) => panic!("{found}\n{access}\n{text}"),
                    Err(_) => {}
                }
            }
        }
    }
    println!("{decided} accesses were decided");
    assert!(decided > POLICIES * ACCESSES / 3, "too few accesses are decided to show anything");
}
