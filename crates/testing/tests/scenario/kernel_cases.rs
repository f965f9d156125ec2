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
        let (model, _) = play_all(&mut modelled.play_on_model().expect("it can be played"));
        let lock = Scenario::lock_machine(|_| {}).expect("a lock");
        let mut play =
            scenario.play_on_kernel(&parent, &lock).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (kernel, failures) = play_all(&mut play);
        play.finish().expect("all is as it was");
        failed.extend(failures.into_iter().map(|failure| format!("{name}: {failure}")));
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
