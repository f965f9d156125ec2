//! The scenarios of the kernel's own tests, on the running kernel.

use knobgate_scenario::Scenario;
use knobgate_testing::{kernel_cases, play_all, profile, scratch};
use libtest_mimic::Failed;

pub(crate) fn pass() -> Result<(), Failed> {
    let parent = scratch();
    let mut failed = Vec::new();
    for (name, scenario) in kernel_cases() {
        let scenario = scenario.with_profile(profile());
        let (model, _) = play_all(&mut scenario.play_on_model().expect("it can be played"));
        let lock = Scenario::lock_machine(|_| {}).expect("a lock");
        let mut play =
            scenario.play_on_kernel(&parent, &lock).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (kernel, failures) = play_all(&mut play);
        play.finish().expect("all is as it was");
        failed.extend(failures.into_iter().map(|failure| format!("{name}: {failure}")));
        let differ = kernel.iter().zip(&model).filter(|(kernel, model)| kernel != model);
        failed.extend(differ.map(|(kernel, model)| format!("{name}:\n  kernel {kernel}\n  model  {model}")));
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}
