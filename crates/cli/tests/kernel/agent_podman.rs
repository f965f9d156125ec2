//! `knobgate agent` beside Podman, which has no daemon.

use std::process::Command;

use knobgate_kernel::Signal;
use knobgate_testing::{ENGINE_AND_CGROUP_NAMESPACES, Podman, Suite, Test, eventually, without_podman};
use libtest_mimic::Failed;

use crate::agent_machine::{AgentMachine, pins};
use crate::engines::{DENIED, Parent, WRITE, printed, run};

/// The tests, each on a machine of its own.
pub(crate) fn with_podman() -> Suite {
    Suite::new(TESTS).with_engine(without_podman).isolated(ENGINE_AND_CGROUP_NAMESPACES)
}

const TESTS: &[Test] =
    &[("podman_containers_have_their_policies_from_the_agent_each_time_that_they_start", restarted)];

const POLICY: &str =
    "policy t-web\napply if engine == podman and container starts with \"web\"\ndefault write deny\n";

fn restarted() -> Result<(), Failed> {
    let mut machine = AgentMachine::beside_an_engine(&[("web.knob", POLICY)])?;
    let (parent, podman) = (Parent::create()?, Podman::start("runc")?);
    machine.start()?;
    let id = podman.start_container("web-1", &parent.name, "exec sleep 1000")?;
    let other = podman.start_container("db", &parent.name, "exec sleep 1000")?;
    let cgroup = |id: &str| format!("{}/libpod-{id}", parent.cgroup.path().display());
    let execute = |name: &'static str| -> Command { podman.command(["exec", name, "sh", "-c", WRITE]) };
    for round in 0..3 {
        let links = || machine.on(&cgroup(&id)).len();
        eventually(&format!("it has its policy in round {round}\n{}", machine.log()), || links() == 1);
        assert_eq!(printed(&mut execute("web-1"))?.trim_end(), DENIED);
        assert_eq!(machine.on(&cgroup(&other)), []);
        // It runs again in another cgroup of the same name, while there is no agent.
        machine.end(Signal::KILL)?;
        run(&mut podman.command(["restart", "--time", "0", "web-1"]))?;
        machine.start()?;
    }
    eventually("it has its policy", || machine.on(&cgroup(&id)).len() == 1);
    machine.expect_whole();
    assert_eq!(printed(&mut execute("db"))?, "written\n200\n");
    run(&mut podman.command(["rm", "--force", "--time", "0", "web-1"]))?;
    eventually("no pin is left over", || !pins().iter().any(|(_, pin)| pin.starts_with("cgroup-")));
    Ok(())
}
