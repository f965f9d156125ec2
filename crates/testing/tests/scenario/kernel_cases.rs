//! The scenarios of the kernel's own tests, on the running kernel.

use knobgate_hook::ModelKernel;
use knobgate_kernel::RunningKernel;
use knobgate_scenario::Scenario;
use knobgate_testing::{kernel_cases, play_all, profile, scratch};
use libtest_mimic::Failed;

pub(crate) fn pass() -> Result<(), Failed> {
    let parent = scratch();
    let mut failed = Vec::new();
    let on_model = kernel_cases(&ModelKernel::new(profile()));
    let on_kernel = kernel_cases(&RunningKernel::default());
    for ((name, modelled), (_, scenario)) in on_model.into_iter().zip(on_kernel) {
        let modelled = modelled.with_profile(profile());
        let model = play_all(&mut modelled.play_on_model().expect("it can be played"));
        let lock = Scenario::lock_machine(|_| {}).expect("a lock");
        let mut play =
            scenario.play_on_kernel(&parent, &lock).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kernel = play_all(&mut play);
        play.finish().expect("all is as it was");
        failed.extend(kernel.failures.into_iter().map(|failure| format!("{name}: {failure}")));
        let without = kernel.without_expectation.iter();
        failed.extend(without.map(|step| format!("{name}: step {step}: nothing is expected on this kernel")));
        let [kernel, model] = [kernel.lines, model.lines].map(comparable);
        if kernel.len() != model.len() {
            failed.push(format!(
                "{name}: {} lines on the kernel, {} on the model",
                kernel.len(),
                model.len()
            ));
        }
        let differ = kernel.iter().zip(&model).filter(|(kernel, model)| kernel != model);
        failed.extend(differ.map(|(kernel, model)| format!("{name}:\n  kernel {kernel}\n  model  {model}")));
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// The lines, without the verifier's words where they are not those of 6.18, which the model has.
fn comparable(mut lines: Vec<String>) -> Vec<String> {
    if profile().version != (6, 18) {
        for line in &mut lines {
            let mut members: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(line).expect("an object");
            members.remove("log");
            *line = serde_json::Value::from(members).to_string();
        }
    }
    lines
}
