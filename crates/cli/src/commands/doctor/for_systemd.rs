//! The programs that are pinned for systemd.

use std::collections::BTreeMap;

use knobgate::Survey;
use knobgate_kernel::AttachmentName;

use super::finding::Finding;
use crate::commands::systemd_dropin::at_boot;
use crate::plural::count;

/// A finding for each program.
pub(super) fn examine() -> Vec<Finding> {
    // Why there is no survey is a finding of its own.
    let Ok(survey) = Survey::take() else { return Vec::new() };
    let mut programs: BTreeMap<&AttachmentName, usize> = survey.unused.iter().map(|name| (name, 0)).collect();
    for order in &survey.cgroups {
        // Not those of the cgroups above.
        let own = order.programs.iter().filter(|program| program.attached_to.as_ref() == Some(&order.cgroup));
        for name in own.filter_map(|program| program.pinned_as.as_ref()) {
            *programs.entry(name).or_default() += 1;
        }
    }
    programs.into_iter().map(|(name, cgroups)| finding(name, cgroups)).collect()
}

fn finding(name: &AttachmentName, cgroups: usize) -> Finding {
    let found = format!("{name}, on {}", count(cgroups, "cgroup"));
    let policy = at_boot(name);
    if policy.exists() {
        return Finding::ok("pinned for systemd", found).so(format!(
            "after a reboot, units that ask for knobgate-program@{name}.service get it from {}",
            policy.display()
        ));
    }
    Finding::less(
        "pinned for systemd",
        found,
        format!("nothing pins it after a reboot: have its policy in {}", policy.display()),
    )
}
