//! `knobgate agent`: policies on cgroups that are there, and that come.

use std::fs;
use std::path::Path;
use std::process::Command;

use knobgate::{Attachments, CgroupRef, ContainerPolicies};
use knobgate_kernel::{LinkSource, Signal};
use knobgate_testing::{Reaped, Suite, Test, eventually, shell};
use libtest_mimic::Failed;
use serde_json::json;

use crate::agent_machine::{AgentMachine, attachments, policy_for, suite};
use crate::setting::{KNOBGATE, expect, stderr, stdout};

pub(crate) fn with_agents() -> Suite {
    let tests: &[Test] = &[
        ("the_agent_adopts_the_cgroups_that_are_there", adopted),
        ("a_new_cgroup_gets_its_policies", new_cgroups),
        ("a_policy_is_on_the_topmost_cgroup_of_a_unit", units),
        ("a_container_gets_its_policy_when_its_engine_has_written_its_name", container_names),
        (
            "a_container_in_a_plain_cgroup_gets_its_policy_when_its_runtime_has_written_where_it_is",
            plain_cgroup,
        ),
        ("a_container_without_a_name_is_undecided", undecided),
        ("a_link_of_the_hook_stays", hook_and_agent),
        ("a_second_agent_is_told_about_the_first", two_agents),
        ("policies_stay_in_force_without_the_agent", without_agent),
        ("an_agent_with_wrong_policies_does_not_start", wrong_policies),
        ("a_policy_is_never_on_the_topmost_cgroup", topmost),
    ];
    suite(tests)
}

fn adopted() -> Result<(), Failed> {
    let web = policy_for("web", "g");
    let mut machine = AgentMachine::new(&[("web.knob", &web)])?;
    machine.make("g-empty");
    machine.make("g-full/below");
    machine.make("other");
    let process = Reaped(shell(&machine.open("g-full/below"), "exec sleep 1000").spawn()?);
    machine.start()?;
    machine.expect_on("g-empty", &["web:agent"]);
    machine.expect_on("g-full", &["web:agent+late"]);
    // The one above it has the policy already.
    machine.expect_on("g-full/below", &[]);
    machine.expect_on("other", &[]);
    machine.expect_said("2 links, 1 late");
    let listed = stdout(&expect(0, ["list"]));
    assert!(listed.contains("by the agent"), "{listed}");
    drop(process);
    machine.expect_whole();
    Ok(())
}

fn new_cgroups() -> Result<(), Failed> {
    let (web, all) = (policy_for("web", "g"), policy_for("all", "g/"));
    let mut machine = AgentMachine::new(&[("web.knob", &web), ("all.knob", &all)])?;
    machine.start()?;
    machine.make("g1");
    machine.make("deep/g/g/g");
    machine.make("g/one/two/three");
    machine.expect_on("g1", &["web:agent"]);
    machine.expect_on("g", &["web:agent"]);
    machine.expect_on("g/one", &["all:agent"]);
    machine.expect_on("g/one/two", &[]);
    let script = "echo x >/proc/sys/kernel/domainname";
    let output = shell(&machine.open("g1"), script).output()?;
    assert!(!output.status.success(), "{output:?}");
    let output = shell(&machine.open("deep/g/g/g"), script).output()?;
    assert!(output.status.success(), "{output:?}");
    // What is gone has no pins.
    fs::remove_dir(machine.at("g1"))?;
    eventually("its pin is gone", || {
        !crate::agent_machine::pins().iter().any(|(_, pin)| is_dead(&machine, pin))
    });
    machine.expect_whole();
    Ok(())
}

/// Whether a pin is that of a cgroup that is not there.
fn is_dead(machine: &AgentMachine, pin: &str) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let there = ["g", "g/one"].map(|name| fs::metadata(machine.at(name)).expect("a cgroup").ino());
    pin.starts_with("cgroup-") && !there.iter().any(|id| pin.starts_with(&format!("cgroup-{id}:")))
}

fn units() -> Result<(), Failed> {
    let policy = "policy nginx\napply if unit == \"nginx.service\"\ndefault write deny\n";
    let mut machine = AgentMachine::new(&[("nginx.knob", policy)])?;
    machine.start()?;
    machine.make("system.slice/nginx.service/worker");
    machine.make("system.slice/other.service/nginx.service");
    machine.make("user.slice/user-7.slice/user@7.service/app.slice/nginx.service");
    machine.expect_on("system.slice/nginx.service", &["nginx:agent"]);
    machine.make("system.slice/last.service");
    machine.expect_on("system.slice/nginx.service/worker", &[]);
    // What is below a unit is its own, and a user can call a unit as they like.
    machine.expect_on("system.slice/other.service/nginx.service", &[]);
    machine.expect_on("user.slice/user-7.slice/user@7.service/app.slice/nginx.service", &[]);
    Ok(())
}

const ID: &str = "f31f384749f9115acf01fcf82f5a966b59dcc0a4cbd7c9740888c0bf32aa2bbb";

fn container_names() -> Result<(), Failed> {
    let policy = "policy shop\napply if container starts with \"shop-\"\ndefault write deny\n";
    let mut machine = AgentMachine::new(&[("shop.knob", policy)])?;
    machine.start()?;
    let cgroup = format!("docker/{ID}");
    machine.make(&cgroup);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(machine.on(&cgroup).is_empty());
    write_name(ID)?;
    machine.expect_on(&cgroup, &["shop:agent"]);
    machine.expect_said("docker/shop-web");
    Ok(())
}

/// Has the engine name a container, as Docker does.
fn write_name(id: &str) -> std::io::Result<()> {
    let state = format!("/var/lib/docker/containers/{id}");
    fs::create_dir_all(&state)?;
    fs::write(format!("{state}/config.v2.json"), "{\"Name\":\"/shop-web\",\"Config\":{\"Image\":\"nginx\"}}")
}

fn plain_cgroup() -> Result<(), Failed> {
    let policies =
        [("first", "engine == runc"), ("web", "container == \"web\""), ("other", "engine == podman")];
    let policies = policies.map(|(name, of)| format!("policy {name}\napply if {of}\ndefault write deny\n"));
    let [first, web, other] = &policies;
    let mut machine = AgentMachine::new(&[("first.knob", first), ("web.knob", web), ("other.knob", other)])?;
    machine.start()?;
    machine.make("first");
    machine.make("second");
    assert!(machine.on("first").is_empty());
    let directory = Path::new("/run/runc/web");
    fs::create_dir_all(directory)?;
    let state = json!({ "id": "web", "config": {}, "cgroup_paths": { "": "/sys/fs/cgroup/first" } });
    fs::write(directory.join("state.json"), state.to_string())?;
    machine.expect_on("first", &["first:agent", "web:agent"]);
    machine.expect_on("second", &[]);
    Ok(())
}

fn undecided() -> Result<(), Failed> {
    let policy = "policy shop\napply if container starts with \"shop-\"\ndefault write deny\n";
    let mut machine = AgentMachine::new(&[("shop.knob", policy)])?;
    machine.start()?;
    machine.make(&format!("docker/{ID}"));
    machine.make("plain");
    machine.expect_said(
        "cannot tell whether the policy \"shop\" applies to docker/f31f384749f9: it looks at container",
    );
    // What shows no sign of an engine is no container.
    assert_eq!(machine.log().matches("undecided:").count(), 1, "{}", machine.log());
    let status = stdout(&expect(0, ["status"]));
    assert!(status.contains("UNDECIDED"), "{status}");
    // The check looks again.
    write_name(ID)?;
    machine.expect_on(&format!("docker/{ID}"), &["shop:agent"]);
    let status = stdout(&expect(0, ["status"]));
    assert!(!status.contains("UNDECIDED"), "{status}");
    Ok(())
}

fn hook_and_agent() -> Result<(), Failed> {
    let web = policy_for("web", "g");
    let mut machine = AgentMachine::new(&[("web.knob", &web)])?;
    let path = machine.make("g1");
    let config = machine.path("agent.toml");
    let policies = ContainerPolicies::read(&machine.policies(), Some(&config))?;
    let version = policies.policies()[0].version();
    Attachments::create()?.link(&[version], &CgroupRef::at(&path)?, LinkSource::Hook)?;
    machine.start()?;
    machine.make("g2");
    machine.expect_on("g2", &["web:agent"]);
    machine.expect_on("g1", &["web:hook"]);
    // Nobody takes away another's: a new version is on the agent's alone.
    let before = machine.on("g1");
    machine.write("web.knob", &web.replace("deny", "allow"));
    machine.expect_said("1 moved to a new version");
    assert_eq!(machine.on("g1"), before);
    assert_ne!(machine.on("g2")[0].0, before[0].0);
    fs::remove_file(machine.policies().join("web.knob"))?;
    machine.expect_on("g2", &[]);
    machine.expect_on("g1", &["web:hook"]);
    Ok(())
}

fn two_agents() -> Result<(), Failed> {
    let web = policy_for("web", "g");
    let mut machine = AgentMachine::new(&[("web.knob", &web)])?;
    machine.start()?;
    let second = machine.command().output()?;
    let pid = machine.pid();
    let expected =
        format!("error: the agent cannot run: an agent runs already: process {pid}; stop it first\n");
    assert_eq!((stderr(&second), second.status.code()), (expected, Some(3)));
    machine.make("g1");
    machine.expect_on("g1", &["web:agent"]);
    Ok(())
}

fn without_agent() -> Result<(), Failed> {
    let web = policy_for("web", "g");
    let mut machine = AgentMachine::new(&[("web.knob", &web)])?;
    machine.start()?;
    machine.make("g1");
    machine.expect_on("g1", &["web:agent"]);
    let judged = |machine: &AgentMachine| {
        let output = shell(&machine.open("g1"), "echo x >/proc/sys/kernel/domainname").output();
        output.is_ok_and(|output| !output.status.success())
    };
    let before = machine.on("g1");
    assert_eq!(machine.end(Signal::KILL)?.code(), None);
    assert!(judged(&machine), "after SIGKILL");
    machine.make("g2");
    fs::remove_dir(machine.at("g1"))?;
    machine.make("g3");
    machine.start()?;
    machine.expect_on("g2", &["web:agent"]);
    machine.expect_on("g3", &["web:agent"]);
    machine.expect_whole();
    assert_eq!(machine.on("g2")[0].0, before[0].0);
    let links = machine.on("g2");
    assert_eq!(machine.end(Signal::TERM)?.code(), Some(0), "{}", machine.log());
    assert!(
        machine.log().contains("stopped: the agent ends; the policies stay in force\n"),
        "{}",
        machine.log()
    );
    assert_eq!(machine.on("g2"), links);
    // The next one finds everything.
    machine.start()?;
    machine.expect_said("2 links");
    assert!(!machine.log().contains("attached: "), "{}", machine.log());
    Ok(())
}

fn wrong_policies() -> Result<(), Failed> {
    let machine = AgentMachine::new(&[("web.knob", "policy web\napply if unit == \"x.service\"\nallow\n")])?;
    let refused = |expected: &str, status: i32| {
        let output = machine.command().output().expect("it ends");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
    };
    refused("policies.d/web.knob:3:6: ", 1);
    machine.write("web.knob", "policy web\n");
    refused("nothing says to which containers the policy \"web\" applies", 1);
    machine.write("web.knob", &policy_for("web", "g"));
    machine.configure("repiar = true\n");
    refused("agent.toml:2: unknown field `repiar`", 1);
    machine.configure("[[policy]]\nname = \"wep\"\n");
    refused("agent.toml:3: there is no policy \"wep\"", 1);
    machine.configure("");
    fs::rename(machine.policies(), machine.path("away"))?;
    refused("cannot read ", 1);
    fs::rename(machine.path("away"), machine.policies())?;
    let output = Command::new(KNOBGATE).args(["agent", "--polices", "/x"]).output()?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    Command::new("umount").args(["-l", "/sys/fs/bpf"]).status()?;
    Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/sys/fs/bpf"]).status()?;
    refused("bpf", 3);
    Ok(())
}

fn topmost() -> Result<(), Failed> {
    let all = "policy all\napply if cgroup starts with \"/\"\ndefault write deny\n";
    let mut machine = AgentMachine::new(&[("all.knob", all)])?;
    machine.start()?;
    machine.make("x/y");
    machine.expect_on("x", &["all:agent"]);
    machine.expect_on("x/y", &[]);
    machine.expect_on("", &[]);
    assert_eq!(attachments().len(), 1);
    Ok(())
}
