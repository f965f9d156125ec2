//! containerd.

use std::fs;

use knobgate_cri_client::messages::ContainerState;
use knobgate_testing::{Containerd, Test, eventually};
use libtest_mimic::Failed;

pub(crate) const TESTS: &[Test] = &[
    ("a_container_runs_in_its_cgroup_and_its_exit_status_is_known", container),
    ("a_container_may_write_the_knobs_of_the_test", writable),
    ("containers_survive_a_restart", restarted),
    ("nothing_is_left_of_a_containerd", removed),
];

fn container() -> Result<(), Failed> {
    let containerd = Containerd::start()?;
    let pod = containerd.pod("web", &[("tier", "front")])?;
    let id = pod.create("nginx", "echo hello; exit 3", &[])?;
    assert_eq!(containerd.cri().container_status(&id)?.state(), ContainerState::Created);
    containerd.cri().start_container(&id)?;
    eventually("it has ended", || {
        containerd.cri().container_status(&id).is_ok_and(|status| status.state() == ContainerState::Exited)
    });
    assert_eq!(containerd.cri().container_status(&id)?.exit_code, 3);
    assert!(pod.output("nginx").ends_with(" stdout F hello\n"), "{}", pod.output("nginx"));
    let id = pod.start("sleeper", "sleep 1000")?;
    assert!(!fs::read(containerd.cgroup_of(&id).join("cgroup.procs"))?.is_empty());
    assert!(containerd.oci_config(&id)?.contains("\"io.kubernetes.cri.container-name\":\"sleeper\""));
    containerd.cri().stop_container(&id, 0)?;
    containerd.cri().remove_container(&id)?;
    containerd.cri().stop_pod_sandbox(&pod.id)?;
    containerd.cri().remove_pod_sandbox(&pod.id)?;
    assert!(!containerd.cgroup_of(&id).exists());
    Ok(())
}

fn writable() -> Result<(), Failed> {
    let containerd = Containerd::start()?;
    let pod = containerd.pod("web", &[])?;
    pod.start("writer", "echo 99 >/proc/sys/net/ipv4/ip_default_ttl")?;
    eventually("the knob is written", || {
        fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").is_ok_and(|value| value == "99\n")
    });
    Ok(())
}

fn restarted() -> Result<(), Failed> {
    let containerd = Containerd::start()?;
    let id = containerd.pod("web", &[])?.start("sleeper", "sleep 1000")?;
    containerd.restart()?;
    assert_eq!(containerd.cri().container_status(&id)?.state(), ContainerState::Running);
    Ok(())
}

fn removed() -> Result<(), Failed> {
    let containerd = Containerd::start()?;
    let id = containerd.pod("web", &[])?.start("sleeper", "sleep 1000")?;
    let processes = fs::read_to_string(containerd.cgroup_of(&id).join("cgroup.procs"))?;
    let cgroup = containerd.cgroup_of(&id);
    let cgroup = cgroup.ancestors().nth(2).ok_or("its scratch cgroup")?;
    let files = containerd.nri_socket();
    drop(containerd);
    assert!(!cgroup.exists() && !files.parent().ok_or("a directory")?.exists());
    for process in processes.lines() {
        assert!(!knobgate_testing::is_running(process.parse()?), "{process} runs");
    }
    for hierarchy in fs::read_dir("/sys/fs/cgroup")? {
        let same = hierarchy?.path().join(cgroup.file_name().ok_or("a name")?);
        assert!(!same.exists(), "{}", same.display());
    }
    Ok(())
}
