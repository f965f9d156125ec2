//! Scenarios on the running kernel and on the model of it: the lines of both are the same.
//!
//! Each test plays its scenarios in network, UTS and IPC namespaces of its own.

mod accesses;
mod attachments;
mod errors;
mod failing_reads;
mod kernel_cases;
mod loads;
mod maps;
mod objects;
mod processes;
mod programs;

use std::process::ExitCode;

use knobgate_kernel::RunningKernel;
use knobgate_scenario::{Document, LinkFor, Play, Scenario, StepDocument};
use knobgate_testing::{PRIVATE_KNOBS, Played, Suite, Test, play_all, profile, scratch};
use libtest_mimic::Failed;

/// A name, the setting, and the steps as JSON.
type Case = (&'static str, Document, String);

const TESTS: &[Test] = &[
    ("reads_and_writes_are_the_same_line_for_line", || compare(accesses::cases())),
    ("knobs_whose_reads_fail_are_the_same_line_for_line", || compare(failing_reads::cases())),
    ("processes_are_the_same_line_for_line", || compare(processes::cases())),
    ("attachments_are_the_same_line_for_line", || compare(attachments::cases())),
    ("loads_are_the_same_line_for_line", || compare(loads::cases())),
    ("maps_are_the_same_line_for_line", || compare(maps::cases())),
    ("programs_of_objects_are_the_same_line_for_line", || compare(objects::cases())),
    ("the_kernels_own_cases_pass_and_are_the_same_line_for_line", kernel_cases::pass),
    ("the_examples_are_the_same_line_for_line", || compare(examples())),
    ("a_knob_that_cannot_be_what_it_should_is_an_error_before_anything_runs", errors::wrong_knobs),
    ("a_scenario_that_is_linked_for_the_model_is_an_error", errors::linked_for_the_model),
    ("programs_of_others_are_reported_and_not_shown", errors::programs_of_others),
];

fn main() -> ExitCode {
    knobgate_testing::in_private_mount_namespace()
        .unwrap_or_else(|| Suite::new(TESTS).isolated(PRIVATE_KNOBS).run())
}

/// Plays scenarios on both, and prints all differences.
fn compare(cases: Vec<Case>) -> Result<(), Failed> {
    let parent = scratch();
    let mut differences = 0;
    for (name, mut document, steps) in cases {
        if !steps.is_empty() {
            document.steps = serde_json::from_str::<Vec<StepDocument>>(&format!("[{steps}]"))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/");
        let mut read = |file: &str| std::fs::read(format!("{directory}{file}"));
        let scenario = Scenario::check(&document, &mut read);
        let modelled =
            scenario.unwrap_or_else(|errors| panic!("{name}: {errors:#?}")).with_profile(profile());
        let scenario = Scenario::check_for(&document, &mut read, LinkFor::Kernel(&RunningKernel::default()));
        let scenario = scenario.unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));

        let mut on_model = modelled.play_on_model().expect("it can be played");
        let model = play_as_expected(name, &mut on_model);
        let lock = Scenario::lock_machine(|_| {}).expect("a lock");
        let mut on_kernel = match scenario.play_on_kernel(&parent, &lock) {
            Ok(play) => play,
            Err(error) => panic!("{name}: {error}"),
        };
        let kernel = play_as_expected(name, &mut on_kernel);
        let remarks = on_kernel.take_remarks();
        on_kernel.finish().expect("all is as it was");

        assert_eq!(model.len(), document.steps.len(), "{name}");
        for (step, (model, kernel)) in model.iter().zip(&kernel).enumerate() {
            if model != kernel {
                differences += 1;
                let step = serde_json::to_string(&document.steps[step]).expect("a step");
                println!("{name}: {step}\n  model  {model}\n  kernel {kernel}");
            }
        }
        if model != kernel {
            for remark in remarks {
                println!("  {remark}");
            }
        }
    }
    if differences == 0 { Ok(()) } else { Err(format!("{differences} lines differ").into()) }
}

/// Plays all steps, which have to be as they expect. Returns the lines.
fn play_as_expected(name: &str, play: &mut Play<'_>) -> Vec<String> {
    let Played { lines, failures, .. } = play_all(play);
    assert!(failures.is_empty(), "{name}: {failures:#?}");
    lines
}

fn examples() -> Vec<Case> {
    let scenario = include_str!("../../../../examples/scenario.json");
    let third_write = include_str!("../../../../examples/third-write.json");
    let limit_test = include_str!("../../../../examples/limit-test.json");
    [("scenario", scenario), ("third-write", third_write), ("limit-test", limit_test)]
        .map(|(name, text)| (name, Document::parse(text).expect("a scenario"), String::new()))
        .into()
}
