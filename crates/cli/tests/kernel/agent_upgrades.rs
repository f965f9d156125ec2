//! `knobgate agent` takes over what an agent of another version of knobgate has left.
//!
//! Another version names the attachment of the same policy differently, since the hash is over its version too, and its programs can
//! have other maps. Of the layouts that there were, only the first has other pins: without a source, and with nothing about lateness.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use knobgate_bpf::{Insn, Program, Reg, Width};
use knobgate_kernel::{Bpffs, Link, LoadOptions, PinDir, Signal, load};
use knobgate_testing::{Suite, Test, eventually, shell};
use libtest_mimic::Failed;

use crate::agent_machine::{AgentMachine, attachments, suite};
use crate::setting::{expect, stdout};

pub(crate) fn with_agents() -> Suite {
    let tests: &[Test] = &[
        ("an_agent_takes_over_from_one_of_another_version", taken_over),
        ("a_policy_of_the_former_layout_stays_in_force", former_layout),
        ("a_program_with_other_maps_is_replaced", other_maps),
    ];
    suite(tests)
}

/// The name that another version would have for the attachment.
const OTHER: &str = "web@0123456789ab";

fn directory(attachment: &str) -> PathBuf {
    PathBuf::from("/sys/fs/bpf/knobgate").join(attachment)
}

/// Names what the agent has left as another version does. Returns the name that it had.
fn rename() -> Result<String, Failed> {
    let name = attachments().into_iter().next().ok_or("an attachment")?;
    fs::rename(directory(&name), directory(OTHER))?;
    Ok(name)
}

/// Does this while a process in a cgroup writes all the time, and fails if one write passes.
fn judged_throughout(
    machine: &mut AgentMachine,
    cgroup: &str,
    during: impl FnOnce(&mut AgentMachine) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let (is_over, denied) = (AtomicBool::new(false), AtomicUsize::new(0));
    let place = machine.open(cgroup);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let script = "i=0; while [ $i -lt 50 ]; do i=$((i + 1)); echo x 2>/dev/null >/proc/sys/kernel/domainname && exit 1; done; exit 0";
                let passed = shell(&place, script).status().expect("a shell").success();
                if !passed {
                    return false;
                }
                denied.fetch_add(50, Ordering::Relaxed);
            }
            true
        });
        let done = during(machine);
        // Some more, now that it is done.
        let enough = denied.load(Ordering::Relaxed) + 100;
        eventually("it goes on", || denied.load(Ordering::Relaxed) >= enough || writer.is_finished());
        is_over.store(true, Ordering::Relaxed);
        assert!(writer.join().expect("a writer"), "a write has passed: {}", machine.log());
        done
    })
}

fn taken_over() -> Result<(), Failed> {
    let mut machine = AgentMachine::with_a_policy()?;
    machine.make("g2");
    machine.expect_on("g2", &["web:agent"]);
    judged_throughout(&mut machine, "g1", |machine| {
        machine.end(Signal::KILL)?;
        let name = rename()?;
        fs::remove_dir(machine.at("g2"))?;
        machine.make("g3");
        machine.start()?;
        machine.expect_on("g1", &["web:agent"]);
        machine.expect_on("g3", &["web:agent"]);
        eventually("the older version is gone", || attachments() == [name.clone()]);
        machine.expect_whole();
        Ok(())
    })
}

fn former_layout() -> Result<(), Failed> {
    let mut machine = AgentMachine::with_a_policy()?;
    judged_throughout(&mut machine, "g1", |machine| {
        machine.end(Signal::KILL)?;
        let pin = fs::read_dir(directory(&attachments()[0]))?.flatten().map(|entry| entry.path());
        let pin = pin.into_iter().find(|path| path.to_string_lossy().contains("/cgroup-")).ok_or("a link")?;
        let id = pin.to_string_lossy().rsplit_once(':').ok_or("an origin")?.0.to_owned();
        fs::rename(&pin, id)?;
        rename()?;
        machine.start()?;
        // Nothing says that an agent has put it there. So it is not the agent's, which leaves it alone.
        machine.expect_said("outdated: 1 cgroup has an older version of the policy \"web\"");
        machine.expect_on("g1", &["web"]);
        machine.make("g2");
        machine.expect_on("g2", &["web:agent"]);
        let listed = stdout(&expect(0, ["list"]));
        assert!(listed.contains(OTHER), "{listed}");
        machine.expect_whole();
        Ok(())
    })?;
    // Whoever takes it away gets the one of the file.
    let place = machine.at("g1").display().to_string();
    expect(0, ["detach", OTHER, "--cgroup", &place]);
    machine.expect_on("g1", &["web:agent"]);
    Ok(())
}

fn other_maps() -> Result<(), Failed> {
    let mut machine = AgentMachine::with_a_policy()?;
    machine.end(Signal::KILL)?;
    let name = rename()?;
    // Denies everything, and has no maps: neither the text of its policy, nor a memory.
    let program = Program {
        name: "former".to_owned(),
        insns: vec![Insn::mov(Width::W64, Reg::R0, 0), Insn::exit()],
        ..Program::default()
    };
    let former = load(&program, &LoadOptions::default())?.program;
    let pins: Vec<PathBuf> = fs::read_dir(directory(OTHER))?.flatten().map(|entry| entry.path()).collect();
    for pin in &pins {
        if pin.ends_with("program") {
            fs::remove_file(pin)?;
        } else if pin.to_string_lossy().contains("/cgroup-") {
            let link = Link::from_pin(pin)?;
            link.update(&link.program()?, &former)?;
        }
    }
    PinDir::open(&Bpffs::find()?)?.ok_or("attachments")?.attachment(&OTHER.parse()?)?.pin_program(&former)?;
    drop(former);
    judged_throughout(&mut machine, "g1", |machine| {
        machine.start()?;
        machine.expect_on("g1", &["web:agent"]);
        eventually("the older version is gone", || attachments() == [name.clone()]);
        expect(0, ["status"]);
        let shown = stdout(&expect(0, ["show", "web"]));
        assert!(shown.contains("default write deny"), "{shown}");
        machine.expect_whole();
        Ok(())
    })
}
