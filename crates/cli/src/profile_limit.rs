//! What a kernel that is described by its profile cannot do of a policy.

use knobgate::{Kernel, KernelLimit};
use knobgate_compiler::Degradation;
use knobgate_hook::Profile;
use knobgate_policy::PolicyFile;

/// The limit of that kernel for which the program of this policy has a degradation.
pub(crate) fn profile_limit(degradation: Degradation, file: &PolicyFile, profile: &Profile) -> KernelLimit {
    KernelLimit::new(degradation, file, &Kernel::Other(&profile.to_string()))
}
