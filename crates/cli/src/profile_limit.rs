//! What the kernel of a profile cannot do in a policy.

use knobgate::{KernelLimit, TargetKernel};
use knobgate_compiler::Degradation;
use knobgate_hook::Profile;
use knobgate_policy::PolicyFile;

/// The limit of the kernel that causes a degradation.
pub(crate) fn profile_limit(degradation: Degradation, file: &PolicyFile, profile: &Profile) -> KernelLimit {
    KernelLimit::new(degradation, &file.into(), &TargetKernel::Other(&profile.to_string()))
}
