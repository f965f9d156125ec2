use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::channel;
use std::thread;

use knobgate_bpf::Features;
use knobgate_kernel::{
    Capability, Machine, MachineLock, ProbeOutcome, Probes, ProcessId, probe, probe_cached,
};
use knobgate_testing::root;
use libtest_mimic::Failed;

pub(crate) const TESTS: &[super::Test] = &[
    ("every_probe_has_an_outcome", outcomes),
    ("probes_run_concurrently_and_leave_nothing", beside),
    ("outcomes_are_cached_until_the_next_boot", cached),
    ("the_machine_is_described", described),
    ("a_lock_of_the_machine_is_waited_for", lock),
];

/// A kernel on which every outcome is yes.
const KNOWN: &str = "6.18.44";

fn outcomes() -> Result<(), Failed> {
    let probes = probe();
    for (name, outcome) in probes.iter() {
        assert!(!matches!(outcome, ProbeOutcome::Unknown(_)), "{name} is {outcome}");
        if Machine::read().kernel_release.starts_with(KNOWN) {
            assert_eq!(outcome, &ProbeOutcome::Yes, "{name}");
        }
    }
    if Machine::read().kernel_release.starts_with(KNOWN) {
        let features = probes.features();
        assert!(features.knob_owner.is_some());
        assert_eq!(Features { knob_owner: None, ..features }, Features::ALL);
    }
    Ok(())
}

fn beside() -> Result<(), Failed> {
    let domain = fs::read_to_string("/proc/sys/kernel/domainname")?;
    let all: Vec<Probes> = thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(probe)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/domainname")?, domain);
    // Other tests probe too.
    knobgate_testing::eventually("no scratch cgroup is left", || {
        root().descendants().is_ok_and(|found| {
            !found.iter().any(|(_, path)| path.to_string_lossy().contains("knobgate-probe-"))
        })
    });
    Ok(())
}

fn cached() -> Result<(), Failed> {
    let fresh = probe_cached();
    assert_eq!(fresh, probe());
    let file = "/run/knobgate/probes";
    for (path, mode) in [("/run/knobgate", 0o700), (file, 0o600)] {
        assert_eq!(fs::metadata(path)?.permissions().mode() & 0o777, mode, "{path}");
    }
    let text = fs::read_to_string(file)?;
    let set = |text: &str| fs::write(file, text);
    set(&text.replace("set_new_value yes", "set_new_value no"))?;
    assert_eq!(probe_cached().set_new_value, ProbeOutcome::No, "the file is used");
    set("format 0\n")?;
    assert_eq!(probe_cached(), fresh, "a file of another format is not used");
    assert_eq!(fs::read_to_string(file)?, text, "and replaced");
    set(&text.replace("set_new_value yes", "set_new_value no"))?;
    fs::set_permissions(file, PermissionsExt::from_mode(0o644))?;
    assert_eq!(probe_cached(), fresh, "a file that others can read is not used");
    Ok(())
}

fn described() -> Result<(), Failed> {
    let machine = Machine::read();
    assert!(machine.boot_id.is_some_and(|id| id.len() == 36));
    assert!(machine.capabilities.is_some_and(|found| found.has(Capability::SysAdmin)));
    assert!(machine.sysctl_writes_strict.is_some());
    Ok(())
}

fn lock() -> Result<(), Failed> {
    let name = format!("knobgate-test-{}.lock", std::process::id());
    let first = MachineLock::acquire(&name, |_| panic!("nobody has it"))?;
    let (send, receive) = channel();
    let waiting = {
        let name = name.clone();
        thread::spawn(move || {
            MachineLock::acquire(&name, |holder| {
                send.send(holder.map(|holder| holder.process)).expect("it is received");
            })
        })
    };
    assert_eq!(receive.recv()?, Some(ProcessId::this()));
    drop(first);
    waiting.join().expect("it ends")?;
    fs::remove_file(format!("/run/knobgate/{name}"))?;
    Ok(())
}
