//! The scenarios in examples/kernel-cases: what the kernel's own tests of this hook check
//! (tools/testing/selftests/bpf/prog_tests/test_sysctl.c), with programs of our own.

use std::path::PathBuf;

use knobgate_bpf::TargetKernel;
use knobgate_scenario::{LinkFor, Outcome, Play, Scenario};

/// All of them, by file name, with programs that are linked for this kernel.
pub fn kernel_cases(kernel: &dyn TargetKernel) -> Vec<(String, Scenario)> {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/kernel-cases"));
    let entries = std::fs::read_dir(&directory).expect("the directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("it can be read");
            let mut read = |file: &str| std::fs::read(directory.join(file));
            let scenario = Scenario::parse_for(&text, &mut read, LinkFor::Kernel(kernel));
            let scenario = scenario.unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
            (name, scenario)
        })
        .collect();
    cases.sort_by(|one, other| one.0.cmp(&other.0));
    cases
}

/// What came of all steps of a scenario.
#[derive(Debug, Default)]
pub struct Played {
    /// A line of JSON for each.
    pub lines: Vec<String>,
    /// A description of each that is not as it expects.
    pub failures: Vec<String>,
    /// Those that expect something, but nothing of this kernel.
    pub without_expectation: Vec<usize>,
}

/// Plays all steps.
pub fn play_all(play: &mut Play<'_>) -> Played {
    let mut played = Played::default();
    while let Some(line) = play.next() {
        let line = line.expect("it goes on");
        match play.outcome(&line) {
            Outcome::Failed(mismatches) => {
                played.failures.push(format!("step {}: {mismatches:?}", line.step));
            }
            Outcome::NotModelled(why) => played.failures.push(format!("step {}: {why}", line.step)),
            Outcome::OtherKernel => played.without_expectation.push(line.step),
            _ => {}
        }
        played.lines.push(line.to_json());
    }
    played
}
