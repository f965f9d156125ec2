use knobgate_bpf::Features;
use knobgate_hook::Profile;
use knobgate_kernel::{Machine, host_netns, probe};
use knobgate_snapshot::running_profile;
use knobgate_testing::Test;
use libtest_mimic::Failed;

pub(crate) const TESTS: &[Test] = &[("the_profile_of_this_kernel_has_what_was_probed", profile)];

/// Builds, as in `/proc/version`, with the profile that describes everything that is probed there.
const DESCRIBED: &[(&str, &str)] = &[
    ("Linux version 6.18.44", "6.18"),
    ("Debian 6.1.170-", "6.1.170"),
    ("Debian 6.1.192-", "6.1.192"),
    ("Debian 6.12.94-", "6.12.94"),
    ("Debian 6.12.117-", "6.12.117"),
    ("Debian 7.2.13-", "7.2"),
    ("Debian 7.3.4-", "7.3"),
];

/// The profile has the features that are probed, and that of a known build equals its description.
fn profile() -> Result<(), Failed> {
    let (profile, probes) = (running_profile(), probe());
    println!("{profile:#?}");
    // Where the model has what leads to the owner of a knob is its own affair.
    let same_for_both = |features: Features| Features { knob_owner: None, ..features };
    assert_eq!(same_for_both(profile.features()), same_for_both(probes.features()));
    if host_netns().is_ok() {
        assert_eq!(profile.features().knob_owner.is_some(), probes.features().knob_owner.is_some());
    }
    assert_eq!(profile.name, Machine::read().kernel_release);
    let version = std::fs::read_to_string("/proc/version")?;
    if let Some((_, name)) = DESCRIBED.iter().find(|(build, _)| version.contains(build)) {
        let described: Profile = name.parse()?;
        let mut probed = profile;
        probed.name = described.name;
        // Builds of 6.18.44 differ in this.
        probed.odd_retvals_deny = described.odd_retvals_deny;
        assert_eq!(probed, described);
    } else {
        println!("no profile describes this build");
    }
    Ok(())
}
