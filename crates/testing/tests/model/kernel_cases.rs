//! The scenarios of the kernel's own tests, on every kernel that there is a profile of.

use knobgate_hook::{ModelKernel, Profile};
use knobgate_testing::{Played, kernel_cases, play_all};

#[test]
fn every_profile_passes_the_kernels_cases() {
    for profile in Profile::ALL {
        let cases = kernel_cases(&ModelKernel::new(profile));
        assert_eq!(cases.len(), 5, "a file for each topic");
        for (name, scenario) in cases {
            let scenario = scenario.with_profile(profile);
            let mut play = scenario.play_on_model().expect("it can be played");
            let Played { failures, without_expectation, .. } = play_all(&mut play);
            assert!(failures.is_empty(), "{name} on {profile}: {failures:#?}");
            assert!(without_expectation.is_empty(), "{name} on {profile}: {without_expectation:?}");
        }
    }
}
