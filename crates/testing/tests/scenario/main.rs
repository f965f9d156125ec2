//! Scenarios on the running kernel and on the model of it: the lines of both are the same.
//!
//! What is played is played in network, UTS and IPC namespaces of its own: a test starts this binary once more there, as
//! the *player* of one of the sets of scenarios.

mod accesses;
mod attachments;
mod errors;
mod loads;
mod maps;
mod objects;
mod programs;

use std::process::{Command, ExitCode};

use knobgate_kernel::{Namespaces, with_private_namespaces};
use knobgate_scenario::{Document, Scenario, StepDocument};
use knobgate_testing::{Test, profile, scratch};
use libtest_mimic::Failed;

/// The argument that makes this binary the player.
const ARGUMENT: &str = "--be-the-player";

/// A name, the setting, and the steps as JSON.
type Case = (&'static str, Document, String);

type Cases = fn() -> Vec<Case>;

/// The sets of scenarios, by name.
const SETS: &[(&str, Cases)] = &[
    ("accesses", accesses::cases),
    ("attachments", attachments::cases),
    ("loads", loads::cases),
    ("maps", maps::cases),
    ("objects", objects::cases),
    ("examples", examples),
];

const TESTS: &[Test] = &[
    ("reads_and_writes_are_the_same_line_for_line", || played("accesses")),
    ("attachments_are_the_same_line_for_line", || played("attachments")),
    ("loads_are_the_same_line_for_line", || played("loads")),
    ("maps_are_the_same_line_for_line", || played("maps")),
    ("programs_of_objects_are_the_same_line_for_line", || played("objects")),
    ("the_examples_are_the_same_line_for_line", || played("examples")),
    ("a_knob_that_cannot_be_what_it_should_is_an_error_before_anything_runs", || played("errors")),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [argument, set] = &arguments[..]
        && argument == ARGUMENT
    {
        return if set == "errors" { errors::play() } else { play(set) };
    }
    match knobgate_testing::in_private_mount_namespace() {
        Some(ended) => ended,
        None => knobgate_testing::run(TESTS),
    }
}

/// Has a set played in namespaces of its own.
fn played(set: &str) -> Result<(), Failed> {
    let mut player = Command::new(std::env::current_exe()?);
    player.args([ARGUMENT, set]);
    with_private_namespaces(&mut player, Namespaces { net: true, uts: true, ipc: true, mount: false });
    let output = player.output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{stdout}{}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Plays a set on both, and tells all differences.
fn play(set: &str) -> ExitCode {
    let (_, cases) = SETS.iter().find(|(name, _)| *name == set).expect("a set");
    let parent = scratch();
    let mut differences = 0;
    for (name, mut document, steps) in cases() {
        if !steps.is_empty() {
            document.steps = serde_json::from_str::<Vec<StepDocument>>(&format!("[{steps}]"))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/");
        let scenario = Scenario::check(&document, &mut |file| std::fs::read(format!("{directory}{file}")));
        let scenario = scenario.unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
        let scenario = scenario.with_profile(profile());

        let mut on_model = scenario.play_on_model().expect("it can be played");
        let model: Vec<String> = on_model.by_ref().map(|line| line.expect("it goes on").to_json()).collect();
        let mut on_kernel = match scenario.play_on_kernel(&parent) {
            Ok(play) => play,
            Err(error) => panic!("{name}: {error}"),
        };
        let kernel: Vec<String> =
            on_kernel.by_ref().map(|line| line.expect("it goes on").to_json()).collect();
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
    if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn examples() -> Vec<Case> {
    let scenario = include_str!("../../../../examples/scenario.json");
    let third_write = include_str!("../../../../examples/third-write.json");
    [("scenario", scenario), ("third-write", third_write)]
        .map(|(name, text)| (name, Document::parse(text).expect("a scenario"), String::new()))
        .into()
}
