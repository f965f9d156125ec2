//! The running kernel and the model of it, on which the same steps are performed.

use std::fmt::Debug;

use knobgate_backend::{Backend, KernelBackend, ModelBackend, StepError, StepResult};
use knobgate_hook::{Hook, Knobs, Profile};
use knobgate_kernel::possible_cpus;

use crate::fixtures::{PREFIX, profile, root};

/// The running kernel, below a cgroup for one test, and the model of it.
pub struct Both {
    /// The kernel.
    pub kernel: KernelBackend,
    /// The model.
    pub model: ModelBackend,
}

impl Both {
    /// Both, with these knobs in the model.
    ///
    /// # Panics
    ///
    /// There can be no cgroup for the test.
    pub fn new(knobs: Knobs) -> Self {
        Self::with_profile(profile(), knobs)
    }

    /// The same with this profile in the model.
    ///
    /// # Panics
    ///
    /// There can be no cgroup for the test.
    pub fn with_profile(profile: Profile, knobs: Knobs) -> Self {
        let kernel = KernelBackend::new(&root(), PREFIX).expect("a scratch cgroup");
        let cpus = possible_cpus().expect("a list of CPUs") as u32;
        let model = ModelBackend::new(Hook::new(profile, knobs), cpus).expect("a new hook");
        Self { kernel, model }
    }

    /// Performs a step on both. Returns what it returns on both, or the errno with which it fails on both.
    ///
    /// # Errors
    ///
    /// What differs; or how it fails without an errno.
    pub fn step<T: PartialEq + Debug>(
        &mut self,
        step: impl Fn(&mut dyn Backend) -> StepResult<T>,
    ) -> Result<Result<T, i32>, String> {
        let [kernel, model] = [step(&mut self.kernel), step(&mut self.model)];
        let errno = |result: StepResult<T>, which| match result {
            Ok(value) => Ok(Ok(value)),
            Err(StepError::Errno(errno)) => Ok(Err(errno)),
            Err(StepError::Backend(source)) => Err(format!("{which} has failed: {source}")),
            Err(error) => Err(format!("{which}: {error}")),
        };
        let (kernel, model) = (errno(kernel, "the kernel")?, errno(model, "the model")?);
        if kernel == model {
            return Ok(kernel);
        }
        let [kernel, model] = [kernel, model].map(|result| {
            let mut shown = format!("{result:?}");
            shown.truncate(600);
            shown
        });
        Err(format!("  kernel {kernel}\n  model  {model}"))
    }

    /// The same for a step that succeeds.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step); or the errno.
    pub fn must<T: PartialEq + Debug>(
        &mut self,
        step: impl Fn(&mut dyn Backend) -> StepResult<T>,
    ) -> Result<T, String> {
        self.step(step)?.map_err(|errno| StepError::Errno(errno).to_string())
    }

    /// Sets a knob of the model to the kernel's value, if that can be read.
    ///
    /// # Panics
    ///
    /// The model's knob does not take it.
    pub fn align(&mut self, knob: &str) {
        let value = |backend: &mut dyn Backend| backend.value(knob).expect("no program runs");
        if let Some(kernel) = value(&mut self.kernel)
            && value(&mut self.model).as_ref() != Some(&kernel)
        {
            let written = self.model.set_value(knob, &kernel).expect("no program runs");
            assert_eq!(written, kernel.len() as i64, "{knob} takes its own value");
        }
    }
}
