//! `knobgate agent` reads its policies again.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use knobgate_kernel::Signal;
use knobgate_testing::{Suite, Test, eventually};
use libtest_mimic::Failed;

use crate::agent_machine::{AgentMachine, attachments, policy_for, suite};

pub(crate) fn with_agents() -> Suite {
    let tests: &[Test] = &[
        ("an_edited_policy_replaces_the_older_version", edited),
        ("a_policy_with_an_error_changes_nothing", wrong),
        ("a_removed_policy_is_taken_away", removed),
        ("without_the_directory_policies_stay", without_directory),
        ("what_a_policy_includes_is_read_again", included),
        ("the_configuration_is_read_again", configured),
        ("the_whole_directory_can_be_replaced", replaced),
        ("a_policy_follows_its_selectors", selectors),
        ("a_directory_that_changes_all_the_time_is_read", busy),
        ("an_interrupted_reload_is_finished_by_the_next_agent", interrupted),
    ];
    suite(tests)
}

fn edited() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    let before = machine.on("g1");
    machine.write("web.knob", &format!("{}allow write vm.swappiness\n", policy_for("web", "g")));
    eventually("another version is on it", || machine.on("g1").iter().all(|link| !before.contains(link)));
    machine.expect_on("g1", &["web:agent"]);
    machine.expect_said("1 link, 1 moved to a new version");
    eventually("the older version is gone", || attachments().len() == 1);
    // Nothing has changed: the same version stays.
    let links = machine.on("g1");
    machine.signal(Signal::HUP);
    eventually("it has read them again", || machine.log().matches("reloaded: ").count() == 2);
    assert_eq!(machine.on("g1"), links);
    machine.expect_whole();
    Ok(())
}

fn wrong() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    machine.make("h1");
    let before = machine.on("g1");
    machine.write("other.knob", &policy_for("other", "h"));
    machine.write("web.knob", "policy web\napply if cgroup starts with \"/g\"\nallow\n");
    machine.expect_said("reload-rejected: ");
    assert!(machine.log().contains("policies.d/web.knob:3:6: "), "{}", machine.log());
    // What was read before is still in force, for new cgroups as well.
    machine.make("g2");
    machine.expect_on("g2", &["web:agent"]);
    assert_eq!((machine.on("g1"), machine.on("h1")), (before, Vec::new()));
    machine.write("web.knob", &policy_for("web", "g"));
    machine.expect_on("h1", &["other:agent"]);
    Ok(())
}

fn removed() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    fs::remove_file(machine.policies().join("web.knob"))?;
    machine.expect_on("g1", &[]);
    machine.expect_said("read 0 policies");
    machine.make("g2");
    machine.write("web.knob", &policy_for("web", "g"));
    machine.expect_on("g1", &["web:agent"]);
    machine.expect_on("g2", &["web:agent"]);
    Ok(())
}

fn without_directory() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    fs::rename(machine.policies(), machine.path("away"))?;
    machine.expect_said("reload-rejected: ");
    assert!(machine.log().contains("cannot read "), "{}", machine.log());
    machine.make("g2");
    machine.expect_on("g2", &["web:agent"]);
    machine.expect_on("g1", &["web:agent"]);
    fs::rename(machine.path("away"), machine.policies())?;
    machine.expect_said("reloaded: read 1 policy");
    Ok(())
}

fn included() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    let parts = machine.path("parts");
    fs::create_dir(&parts)?;
    let text = format!("{}include \"../parts/net.knob\"\n", policy_for("web", "g"));
    machine.write("web.knob", &text);
    machine.expect_said("reload-rejected: ");
    fs::write(parts.join("net.knob"), "allow write net.core.somaxconn\n")?;
    machine.expect_said("1 moved to a new version");
    let before = machine.on("g1");
    fs::write(parts.join("net.knob"), "allow write net.core.somaxconn if new <= 10\n")?;
    eventually("another version is on it", || machine.on("g1") != before);
    machine.expect_on("g1", &["web:agent"]);
    Ok(())
}

fn configured() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    let before = machine.on("g1");
    machine.make("h1");
    machine.configure("[[policy]]\nname = \"web\"\nmode = \"audit\"\n");
    eventually("another version is on it", || machine.on("g1").iter().all(|link| !before.contains(link)));
    machine.configure("[[policy]]\nname = \"web\"\napply-if = ['cgroup starts with \"/h\"']\n");
    machine.expect_on("h1", &["web:agent"]);
    machine.expect_on("g1", &[]);
    Ok(())
}

fn replaced() -> Result<(), Failed> {
    let mut machine = AgentMachine::new(&[])?;
    let directory = |name: &str, start: &str| -> Result<(), Failed> {
        fs::create_dir(machine.path(name))?;
        Ok(fs::write(machine.path(name).join("web.knob"), policy_for("web", start))?)
    };
    for (name, start) in [("one", "a"), ("two", "b"), ("three", "c")] {
        directory(name, start)?;
    }
    fs::remove_dir(machine.policies())?;
    symlink("one", machine.policies())?;
    machine.start()?;
    for name in ["a", "b", "c"] {
        machine.make(name);
    }
    machine.expect_on("a", &["web:agent"]);
    symlink("two", machine.path("new"))?;
    fs::rename(machine.path("new"), machine.policies())?;
    machine.expect_on("b", &["web:agent"]);
    machine.expect_on("a", &[]);
    fs::rename(machine.path("two"), machine.path("old"))?;
    fs::rename(machine.path("three"), machine.path("two"))?;
    machine.expect_on("c", &["web:agent"]);
    machine.expect_on("b", &[]);
    Ok(())
}

fn selectors() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    machine.make("h1");
    // The program is the same, and so is the version.
    machine.write("web.knob", &policy_for("web", "h"));
    machine.expect_on("h1", &["web:agent"]);
    machine.expect_on("g1", &[]);
    assert_eq!(attachments().len(), 1);
    Ok(())
}

fn busy() -> Result<(), Failed> {
    let machine = AgentMachine::with_a_policy()?;
    machine.make("h1");
    for round in 0..100 {
        let start = if round % 2 == 0 { "g" } else { "h" };
        machine.write("web.knob", &policy_for("web", start));
        machine.write(&format!("x{}.knob", round % 7), &policy_for(&format!("x{}", round % 7), "none"));
        std::thread::sleep(Duration::from_millis(30));
    }
    machine.expect_on("h1", &["web:agent"]);
    machine.expect_on("g1", &[]);
    assert!(!machine.log().contains("rejected"), "{}", machine.log());
    // They are not read for each change.
    assert!(machine.log().matches("reloaded: ").count() < 20, "{}", machine.log());
    Ok(())
}

fn interrupted() -> Result<(), Failed> {
    const CGROUPS: usize = 200;
    let mut machine = AgentMachine::with_a_policy()?;
    for cgroup in 2..=CGROUPS {
        machine.make(&format!("g{cgroup}"));
    }
    machine.expect_on(&format!("g{CGROUPS}"), &["web:agent"]);
    let mut random = knobgate_testing::Random(knobgate_testing::seed()?);
    for round in 0..5 {
        let text = format!("{}allow write vm.round_{round}\n", policy_for("web", "g"));
        machine.write("web.knob", &text);
        machine.signal(Signal::HUP);
        std::thread::sleep(Duration::from_millis(random.below(150)));
        machine.end(Signal::KILL)?;
        machine.start()?;
        let first = machine.on("g1");
        assert_eq!(first.len(), 1, "{first:?}");
        for cgroup in 2..=CGROUPS {
            assert_eq!(machine.on(&format!("g{cgroup}")), first, "g{cgroup} in round {round}");
        }
        machine.expect_whole();
        eventually("the older versions are gone", || attachments().len() == 1);
    }
    Ok(())
}
