//! `knobgate agent` without memory for programs, maps and pins. A bpffs has no size: it is full when there is no memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use knobgate_hook::Profile;
use knobgate_kernel::Signal;
use knobgate_testing::{Suite, Test, eventually};
use libtest_mimic::Failed;

use crate::agent_machine::{AgentMachine, pins, policy_for, suite};
use crate::lacking::{locked_memory, without_bpf};

pub(crate) fn with_agents() -> Suite {
    let pins: &[Test] = &[("a_link_that_cannot_be_pinned_is_not_there_and_is_tried_again", unpinned)];
    let with_cgroups: &[Test] = &[("a_memory_cgroup_without_room_is_said_and_waited_for", no_room)];
    let locked: &[Test] = &[("a_low_limit_of_locked_memory_is_said_and_waited_for", locked_low)];
    let limited = Suite::default().requiring(charged, with_cgroups).requiring(locked_memory, locked);
    suite(pins).and(limited.isolated(crate::agent_machine::NAMESPACES).in_module("agent"))
}

/// The mount point of the memory controller of cgroup v1, where it is one of those.
const MEMORY_OF_V1: &str = "/sys/fs/cgroup/memory";

/// What tests of memory cgroups require.
fn charged(profile: &Profile) -> Option<String> {
    // memcg accounting of BPF: bpf_map_save_memcg() in kernel/bpf/syscall.c.
    if profile.version < (5, 11) {
        return Some(format!("{profile} does not count programs and maps as memory of cgroups"));
    }
    let has_v1 = Path::new(MEMORY_OF_V1).join("memory.limit_in_bytes").exists();
    let has_v2 = || {
        let enabled = fs::read_to_string(knobgate_testing::root().path().join("cgroup.subtree_control"));
        enabled.is_ok_and(|enabled| enabled.split_whitespace().any(|one| one == "memory"))
    };
    (!has_v1 && !has_v2()).then(|| "needs the memory controller on cgroups below the root".to_owned())
}

/// The memory cgroup of an agent.
struct MemoryCgroup {
    path: PathBuf,
    /// Of v1, where it is a cgroup of its own.
    is_v1: bool,
}

impl MemoryCgroup {
    /// Puts the agent into one, which has no limit.
    fn of(machine: &AgentMachine) -> Result<Self, Failed> {
        if !Path::new(MEMORY_OF_V1).join("memory.limit_in_bytes").exists() {
            return Ok(Self { path: machine.at(""), is_v1: false });
        }
        let path = Path::new(MEMORY_OF_V1).join(format!("knobgate-test-memory-{}", machine.pid()));
        fs::create_dir(&path)?;
        let memory = Self { path, is_v1: true };
        fs::write(memory.path.join("cgroup.procs"), machine.pid().to_string())?;
        Ok(memory)
    }

    fn file(&self, v1: &str, v2: &str) -> PathBuf {
        self.path.join(if self.is_v1 { v1 } else { v2 })
    }

    /// Leaves no room for a program and its maps, and a bit for everything else.
    fn fill(&self) -> Result<(), Failed> {
        let used: u64 =
            fs::read_to_string(self.file("memory.usage_in_bytes", "memory.current"))?.trim().parse()?;
        let limit = self.file("memory.limit_in_bytes", "memory.max");
        Ok(fs::write(limit, (used + (128 << 10)).to_string())?)
    }

    fn make_room(&self) -> Result<(), Failed> {
        let none = if self.is_v1 { "-1" } else { "max" };
        Ok(fs::write(self.file("memory.limit_in_bytes", "memory.max"), none)?)
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.is_v1 && fs::remove_dir(&self.path).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn no_room() -> Result<(), Failed> {
    // Dropped after the agent, which is in it.
    let memory;
    let mut machine = AgentMachine::with_a_policy()?;
    memory = MemoryCgroup::of(&machine)?;
    // Made before, so that it is charged: what the agent needs in any case.
    machine.write("first.knob", &policy_for("first", "first"));
    machine.expect_said("read 2 policies");
    memory.fill()?;
    machine.write("more.knob", &policy_for("more", "m"));
    machine.expect_said(
        "reload-rejected: the policies cannot be put in force now, so nothing is done; this is tried again: ",
    );
    machine.expect_said("there is not enough memory");
    let before = machine.on("g1");
    assert_eq!(before.len(), 1);
    eventually("nothing is half", || pins().iter().all(|(attachment, _)| !attachment.starts_with('+')));
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(
        (machine.on("g1"), machine.log().matches("reload-rejected").count()),
        (before, 1),
        "{}",
        machine.log()
    );
    memory.make_room()?;
    machine.expect_said("read 3 policies");
    machine.make("m1");
    machine.expect_on("m1", &["more:agent"]);
    machine.expect_on("g1", &["web:agent"]);
    machine.expect_whole();
    machine.end(Signal::TERM)?;
    Ok(())
}

fn locked_low() -> Result<(), Failed> {
    let mut machine = AgentMachine::new(&[("web.knob", &policy_for("web", "g"))])?;
    // It could raise the limit.
    let without = ["prlimit", "--memlock=unlimited", "setpriv", "--bounding-set", "-sys_resource"];
    let command = machine.command_through(&without.map(AsRef::as_ref));
    machine.start_command(command)?;
    machine.make("g1");
    machine.expect_on("g1", &["web:agent"]);
    let limit = |limit: &str| {
        let pid = machine.pid().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--memlock={limit}")]).status();
        assert!(set.is_ok_and(|set| set.success()), "{limit}");
    };
    limit("4096:4096");
    machine.write("more.knob", &policy_for("more", "m"));
    machine.expect_said(
        "reload-rejected: the policies cannot be put in force now, so nothing is done; this is tried again: ",
    );
    machine.expect_said("programs and maps count as locked memory");
    // What needs no new program goes on.
    machine.make("g2");
    machine.expect_on("g2", &["web:agent"]);
    limit("unlimited:unlimited");
    machine.expect_said("read 2 policies");
    machine.make("m1");
    machine.expect_on("m1", &["more:agent"]);
    machine.expect_whole();
    Ok(())
}

/// BPF_OBJ_PIN
const PIN: u32 = 6;

fn unpinned() -> Result<(), Failed> {
    for errno in [libc::ENOSPC, libc::ENOMEM] {
        let mut machine = AgentMachine::with_a_policy()?;
        machine.end(Signal::TERM)?;
        let without = without_bpf(PIN, errno)?;
        let through: Vec<_> = std::iter::once(without.get_program()).chain(without.get_args()).collect();
        let command = machine.command_through(&through);
        machine.start_command(command)?;
        machine.make("g2");
        machine.expect_said("attach-failed: cannot put ");
        machine.expect_said("there is not enough memory, in the kernel or in the cgroup of this process (");
        machine.make("g3");
        machine.expect_count("attach-failed: ", 2);
        std::thread::sleep(Duration::from_millis(2500));
        assert_eq!(machine.log().matches("attach-failed: ").count(), 2, "{}", machine.log());
        // Nothing is half: what is not pinned is not there.
        for cgroup in ["g2", "g3"] {
            machine.expect_on(cgroup, &[]);
            eventually("no program is left", || {
                machine.open(cgroup).attached().is_ok_and(|attached| attached.program_ids.is_empty())
            });
        }
        machine.expect_on("g1", &["web:agent"]);
        assert!(pins().iter().all(|(attachment, _)| !attachment.starts_with('+')), "{:?}", pins());
        machine.end(Signal::TERM)?;
        machine.start()?;
        for cgroup in ["g1", "g2", "g3"] {
            machine.expect_on(cgroup, &["web:agent"]);
        }
        machine.expect_whole();
        machine.end(Signal::TERM)?;
        // No program of a new policy can be pinned: the agent does not start, and leaves the others in force.
        machine.write("more.knob", &policy_for("more", "m"));
        let through: Vec<_> = std::iter::once(without.get_program()).chain(without.get_args()).collect();
        let output = machine.command_through(&through).output()?;
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let said = crate::setting::stderr(&output);
        assert!(said.contains("\"more@") && said.contains("there is not enough memory"), "{said}");
        machine.expect_on("g1", &["web:agent"]);
        assert!(pins().iter().all(|(attachment, _)| attachment.starts_with("web@")), "{:?}", pins());
    }
    Ok(())
}
