//! The verifier follows paths as the kernel's does. tests/hook/verifier.rs gives it and the kernel's the same programs.

use knobgate_bpf::Program;
use knobgate_hook::{LoadOptions, LoadedProgram, Profile};
use knobgate_testing::return_values::cases;

#[test]
fn paths_are_followed_one_by_one() {
    for profile in [Profile::LINUX_6_18, "7.3".parse().expect("it is described")] {
        for (what, is_taken, insns) in cases(&profile) {
            // What some builds take, the model does.
            let is_taken = is_taken.unwrap_or(true);
            let program = Program { insns, ..Program::default() };
            let loaded = LoadedProgram::load(&program, &profile, &LoadOptions::default());
            assert_eq!(loaded.is_ok(), is_taken, "{profile}: {what}");
        }
    }
}
