use std::os::unix::fs::PermissionsExt;

use knobgate_bpf::Features;
use knobgate_hook::Profile;
use knobgate_kernel::{Capability, Machine, Outcome, Probes, probe, probe_cached, running_profile};
use knobgate_testing::root;
use libtest_mimic::Failed;

pub(crate) const TESTS: &[super::Test] = &[
    ("every_probe_finds_out", outcomes),
    ("a_probe_works_beside_other_threads_and_leaves_nothing", beside),
    ("what_was_probed_is_remembered_for_the_boot", remembered),
    ("the_machine_is_described", described),
    ("the_profile_of_this_kernel_has_what_was_probed", profile),
];

/// The builds that a profile describes in all that is probed, as `/proc/version` has them.
const DESCRIBED: &[(&str, &str)] = &[
    ("Linux version 6.18.44", "6.18"),
    ("Debian 6.1.170-", "6.1.170"),
    ("Debian 6.1.192-", "6.1.192"),
    ("Debian 6.12.94-", "6.12.94"),
    ("Debian 6.12.117-", "6.12.117"),
    ("Debian 7.2.13-", "7.2"),
    ("Debian 7.3.4-", "7.3"),
];

/// Where every answer is known to be yes.
const KNOWN: &str = "6.18.44";

fn outcomes() -> Result<(), Failed> {
    let probes = probe();
    for (name, outcome) in probes.iter() {
        assert!(!matches!(outcome, Outcome::Unknown(_)), "{name} is {outcome}");
        if Machine::read().kernel_release.starts_with(KNOWN) {
            assert_eq!(outcome, &Outcome::Yes, "{name}");
        }
    }
    if Machine::read().kernel_release.starts_with(KNOWN) {
        assert_eq!(probes.features(), Features::ALL);
    }
    Ok(())
}

/// What a program may use is the same, whether it is probed or follows from the profile; and the profile of a kernel that is
/// described is that description.
fn profile() -> Result<(), Failed> {
    let (profile, probes) = (running_profile(), probe());
    println!("{profile:#?}");
    assert_eq!(profile.features(), probes.features());
    assert_eq!(profile.name, Machine::read().kernel_release);
    let version = std::fs::read_to_string("/proc/version")?;
    if let Some((_, name)) = DESCRIBED.iter().find(|(build, _)| version.contains(build)) {
        let described: Profile = name.parse()?;
        // Not all builds of 6.18.44 agree in that.
        let odd_retvals_deny = described.odd_retvals_deny;
        assert_eq!(Profile { name: described.name, odd_retvals_deny, ..profile }, described);
    } else {
        println!("no profile describes this build");
    }
    Ok(())
}

fn beside() -> Result<(), Failed> {
    let domain = std::fs::read_to_string("/proc/sys/kernel/domainname")?;
    let all: Vec<Probes> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(probe)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/domainname")?, domain);
    // Other tests probe too.
    knobgate_testing::eventually("no scratch cgroup is left", || {
        root().descendants().is_ok_and(|found| {
            !found.iter().any(|(_, path)| path.to_string_lossy().contains("knobgate-probe-"))
        })
    });
    Ok(())
}

fn remembered() -> Result<(), Failed> {
    let fresh = probe_cached();
    assert_eq!(fresh, probe());
    let file = "/run/knobgate/probes";
    for (path, mode) in [("/run/knobgate", 0o700), (file, 0o600)] {
        assert_eq!(std::fs::metadata(path)?.permissions().mode() & 0o777, mode, "{path}");
    }
    let text = std::fs::read_to_string(file)?;
    let set = |text: &str| std::fs::write(file, text);
    set(&text.replace("set_new_value yes", "set_new_value no"))?;
    assert_eq!(probe_cached().set_new_value, Outcome::No, "the file is used");
    set("format 0\n")?;
    assert_eq!(probe_cached(), fresh, "a file of another format is not used");
    assert_eq!(std::fs::read_to_string(file)?, text, "and replaced");
    set(&text.replace("set_new_value yes", "set_new_value no"))?;
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o644))?;
    assert_eq!(probe_cached(), fresh, "a file that others might know is not used");
    Ok(())
}

fn described() -> Result<(), Failed> {
    let machine = Machine::read();
    assert!(machine.boot_id.is_some_and(|id| id.len() == 36));
    assert!(machine.capabilities.is_some_and(|found| found.has(Capability::SysAdmin)));
    assert!(machine.sysctl_writes_strict.is_some());
    Ok(())
}
