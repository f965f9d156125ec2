//! One attachment on many cgroups.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use knobgate_bpf::{Insn, Program, Reg, Width};
use knobgate_kernel::{
    AttachMode, AttachPosition, Bpffs, Cgroup, Link, LoadOptions, LoadedProgram, PinDir, Transaction, load,
    prog_attach,
};
use knobgate_testing::{Test, eventually, scratch, shell};
use libtest_mimic::Failed;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use serde_json::{Value, json};

use crate::lacking::without_bpf;
use crate::setting::{DetachOnDrop, KNOBGATE, expect, policy, stderr, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("many_cgroups_share_one_program_and_its_counters", shared),
    ("duplicate_cgroups_are_ignored", named_twice),
    ("attaching_to_the_same_cgroups_replaces_the_policy_on_all", replaced),
    ("the_same_policy_on_another_cgroup_shares_the_program", extended),
    ("the_same_object_on_another_cgroup_keeps_its_tail_calls", extended_object),
    ("a_different_policy_for_other_cgroups_is_rejected", rejected),
    ("a_different_policy_for_more_cgroups_is_attached_to_all", grown),
    ("removed_cgroups_do_not_count", some_removed),
    ("a_failed_attach_leaves_nothing", half_attached),
    ("a_failed_replace_restores_the_old_policy", half_replaced),
    ("a_failed_attach_to_more_cgroups_keeps_the_others", half_extended),
    ("detaching_from_the_last_cgroup_removes_the_attachment", detached),
    ("a_failed_detach_reports_how_far_it_got_and_can_be_continued", half_detached),
    ("a_detach_whose_last_step_fails_can_be_finished", not_removed),
    ("a_link_that_can_only_be_unpinned_is_reported", held_elsewhere),
    ("the_remains_of_a_killed_attach_are_removed", killed),
    ("a_killed_replace_is_shown_and_can_be_repaired", mixed),
    ("a_thousand_cgroups_need_few_descriptors", thousand),
];

const DENY: &str = "policy t-many\ndefault write allow\ndeny write net.ipv4.ip_forward\n";
const OTHER: &str = "policy t-many\ndefault write allow\ndeny write net.ipv4.ip_default_ttl\n";

/// Which policy applies to a process in the cgroup: `deny`, `other`, both or none.
fn in_force(cgroup: &Cgroup) -> Vec<&'static str> {
    let denied = |knob: &str| {
        let script = format!("echo 1 2>/dev/null >/proc/sys/net/ipv4/{knob}");
        !shell(cgroup, &script).stderr(Stdio::null()).status().expect("a shell").success()
    };
    let knobs = [("ip_forward", "deny"), ("ip_default_ttl", "other")];
    knobs.into_iter().filter(|(knob, _)| denied(knob)).map(|(_, policy)| policy).collect()
}

fn run_attach(text: &str, cgroups: &[&Cgroup], name: &str) -> Output {
    let file = policy(text);
    let mut command = Command::new(KNOBGATE);
    command.args(["attach", "--name", name, "--policy"]).arg(file.path());
    for cgroup in cgroups {
        command.arg("--cgroup").arg(cgroup.path());
    }
    command.output().expect("knobgate")
}

/// What `knobgate attach` to these cgroups prints.
fn attach(text: &str, cgroups: &[&Cgroup], name: &str) -> String {
    let output = run_attach(text, cgroups, name);
    assert!(output.status.success(), "{output:?}");
    stdout(&output)
}

/// The errors of the same.
fn cannot_attach(status: i32, text: &str, cgroups: &[&Cgroup], name: &str) -> String {
    let output = run_attach(text, cgroups, name);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    stderr(&output)
}

fn children<const N: usize>(parent: &Cgroup) -> [Cgroup; N] {
    std::array::from_fn(|number| parent.create(number.to_string()).expect("a cgroup"))
}

/// The programs of a cgroup itself.
fn programs(cgroup: &Cgroup) -> Vec<u32> {
    cgroup.attached().expect("its programs").program_ids
}

fn shown(name: &str) -> Value {
    serde_json::from_slice(&expect(0, ["show", "--json", name]).stdout).expect("JSON")
}

fn pins() -> PinDir {
    PinDir::create(&Bpffs::find().expect("a bpffs")).expect("a directory for pins")
}

/// The pins of an attachment; none if it does not exist.
fn pinned(name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(pins().path().join(name)).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("a pin").file_name().display().to_string()).collect();
    names.sort();
    names
}

/// The names of the pins for these cgroups.
fn links_of(cgroups: &[&Cgroup]) -> Vec<String> {
    let mut names: Vec<_> = cgroups.iter().map(|cgroup| format!("cgroup-{}", cgroup.id())).collect();
    names.sort();
    names
}

/// A program that allows everything.
fn allow() -> LoadedProgram {
    let program = Program {
        name: "allow".to_owned(),
        insns: vec![Insn::mov(Width::W64, Reg::R0, 1), Insn::exit()],
        ..Program::default()
    };
    load(&program, &LoadOptions::default()).expect("it loads")
}

/// Attaches as many programs to a cgroup as the kernel allows.
fn fill(cgroup: &Cgroup) -> Vec<Link> {
    let program = allow().program;
    (0..64).map(|_| Link::create(&program, cgroup).expect("a link")).collect()
}

fn shared() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-shared");
    let parent = scratch();
    let [one, two, three] = children(&parent);
    let all = [&one, &two, &three];
    let message = attach(DENY, &all, "t-shared");
    assert!(message.starts_with("t-shared: attached the policy \"t-many\" to 3 cgroups; "), "{message}");
    let shown = shown("t-shared");
    for cgroup in all {
        assert_eq!(json!(programs(cgroup)), json!([shown["program"]]));
        assert_eq!(in_force(cgroup), ["deny"]);
    }
    assert_eq!(pinned("t-shared"), links_of(&all));

    let shown = self::shown("t-shared");
    assert_eq!(shown["rules"][0]["decided"], 3, "one of each cgroup: {shown}");
    let on = |cgroup: &Cgroup| {
        let path = cgroup.path().display().to_string();
        let on = shown["cgroups"].as_array().and_then(|all| all.iter().find(|on| on["cgroup"] == path));
        on.map(|on| (on["cgroup_id"] == cgroup.id(), on["program"] == shown["program"]))
    };
    assert_eq!(all.map(on), [Some((true, true)); 3], "{shown}");
    let printed = stdout(&expect(0, ["show", "t-shared"]));
    assert!(printed.starts_with("t-shared on 3 cgroups\n"), "{printed}");
    for cgroup in all {
        assert!(printed.contains(&format!("  {}\n", cgroup.path().display())), "{printed}");
    }
    let list = stdout(&expect(0, ["list", "--json"]));
    assert_eq!(list.lines().filter(|line| line.contains("\"attachment\":\"t-shared\"")).count(), 3, "{list}");
    Ok(())
}

fn named_twice() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-twice");
    let cgroup = scratch();
    let message = attach(DENY, &[&cgroup, &cgroup], "t-twice");
    let place = cgroup.path().display();
    assert!(
        message.starts_with(&format!("t-twice: attached the policy \"t-many\" to {place}; ")),
        "{message}"
    );
    assert_eq!(programs(&cgroup).len(), 1);
    Ok(())
}

fn replaced() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-all");
    let parent = scratch();
    let [one, two] = children(&parent);
    attach(DENY, &[&one, &two], "t-all");
    let old = shown("t-all")["program"].clone();
    let message = attach(OTHER, &[&two, &one], "t-all");
    assert!(message.starts_with(&format!("t-all: replaced program {old} on 2 cgroups by ")), "{message}");
    assert_ne!(shown("t-all")["program"], old);
    assert_eq!([&one, &two].map(in_force), [["other"], ["other"]]);
    assert_eq!([programs(&one).len(), programs(&two).len()], [1, 1]);
    Ok(())
}

fn extended() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-one-by-one");
    let parent = scratch();
    let [one, two, three] = children(&parent);
    attach(DENY, &[&one], "t-one-by-one");
    let program = programs(&one);
    // Counters make no difference.
    assert_eq!(in_force(&one), ["deny"]);
    let message = attach(DENY, &[&two], "t-one-by-one");
    assert!(message.contains(&format!("too; program {} is now on 2 cgroups", program[0])), "{message}");
    let message = attach(DENY, &[&one, &three, &two], "t-one-by-one");
    assert!(message.contains(&format!("to {} too; ", three.path().display())), "{message}");
    assert_eq!([&one, &two, &three].map(programs), [program.clone(), program.clone(), program.clone()]);
    assert_eq!([&two, &three].map(in_force), [["deny"], ["deny"]]);
    assert_eq!(shown("t-one-by-one")["rules"][0]["decided"], 3);
    let message = attach(DENY, &[&two], "t-one-by-one");
    assert!(message.contains(&format!("is already on {}", two.path().display())), "{message}");
    assert_eq!(programs(&two), program);
    Ok(())
}

fn extended_object() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-object");
    let parent = scratch();
    let [one, two] = children(&parent);
    let object = format!("{}/../../examples/objects/several.bpf.o", env!("CARGO_MANIFEST_DIR"));
    let attach = |status: i32, program: &str, cgroup: &Cgroup| {
        let place = cgroup.path().to_str().expect("a path");
        let what =
            ["attach", "--object", &object, "--program", program, "--cgroup", place, "--name", "t-object"];
        expect(status, what)
    };
    attach(0, "hand_on", &one);
    attach(0, "hand_on", &two);
    assert_eq!(programs(&one), programs(&two));
    assert_eq!(pinned("t-object").len(), 3, "two links and one program array");
    attach(2, "read_only", &one);
    for cgroup in [&one, &two] {
        let write = |value: &str| {
            let script = format!("echo {value} 2>/dev/null >/proc/sys/kernel/domainname");
            shell(cgroup, &script).stderr(Stdio::null()).status().expect("a shell").success()
        };
        assert_eq!(["example", "xample"].map(write), [true, false]);
    }
    Ok(())
}

fn rejected() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-rejected-set");
    let parent = scratch();
    let [one, two, three] = children(&parent);
    attach(DENY, &[&one, &two], "t-rejected-set");
    let program = programs(&one);
    for named in [&[&three][..], &[&one], &[&one, &three]] {
        let message = cannot_attach(2, OTHER, named, "t-rejected-set");
        for cgroup in [&one, &two] {
            assert!(message.contains(&cgroup.path().display().to_string()), "{message}");
        }
        assert!(
            message.contains("--name") && message.contains("knobgate detach t-rejected-set"),
            "{message}"
        );
    }
    assert_eq!([&one, &two, &three].map(programs), [program.clone(), program, vec![]]);
    // A comment makes a difference, because `show` shows it.
    cannot_attach(2, &format!("# new\n{DENY}"), &[&three], "t-rejected-set");
    Ok(())
}

fn grown() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-grown");
    let parent = scratch();
    let [one, two, three] = children(&parent);
    attach(DENY, &[&one, &two], "t-grown");
    let message = attach(OTHER, &[&one, &two, &three], "t-grown");
    let place = three.path().display();
    assert!(
        message.contains("on 2 cgroups by ") && message.contains(&format!("attached it to {place}")),
        "{message}"
    );
    assert_eq!([&one, &two, &three].map(in_force), [["other"], ["other"], ["other"]]);
    assert_eq!([programs(&two), programs(&three)], [programs(&one), programs(&one)]);
    Ok(())
}

fn some_removed() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-gone");
    let parent = scratch();
    let [one, two] = children(&parent);
    attach(DENY, &[&one, &two], "t-gone");
    two.remove()?;
    // Without waiting for the link to release it.
    let message = attach(OTHER, &[&one], "t-gone");
    assert!(message.contains("replaced program"), "{message}");
    assert_eq!(in_force(&one), ["other"]);
    assert_eq!(pinned("t-gone"), links_of(&[&one]));
    Ok(())
}

fn half_attached() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-half");
    let parent = scratch();
    let [one, full, three] = children(&parent);
    let held = fill(&full);
    let message = cannot_attach(3, DENY, &[&one, &full, &three], "t-half");
    assert!(
        message.contains(&full.path().display().to_string()) && message.contains("64 programs"),
        "{message}"
    );
    assert_eq!([&one, &three].map(programs), [[0; 0]; 2]);
    expect(2, ["show", "t-half"]);
    assert_eq!(pins().names()?.iter().filter(|name| name.as_str() == "t-half").count(), 0);

    drop(held);
    eventually("there is room", || programs(&full).is_empty());
    prog_attach(&allow().program, &full, AttachMode::Single, &AttachPosition::default())?;
    let message = cannot_attach(3, DENY, &[&one, &full], "t-half");
    assert!(
        message.contains(&full.path().display().to_string()) && message.contains("single mode"),
        "{message}"
    );
    assert!(programs(&one).is_empty());
    Ok(())
}

fn half_replaced() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-back");
    let parent = scratch();
    let [one, two, full] = children(&parent);
    let _full = fill(&full);
    attach(DENY, &[&one, &two], "t-back");
    let program = programs(&one);
    let message = cannot_attach(3, OTHER, &[&one, &two, &full], "t-back");
    assert!(message.contains(&full.path().display().to_string()), "{message}");
    assert!(message.contains("the other cgroups are unchanged"), "{message}");
    assert_eq!([&one, &two].map(programs), [program.clone(), program]);
    assert_eq!([&one, &two].map(in_force), [["deny"], ["deny"]]);
    assert_eq!(pinned("t-back"), links_of(&[&one, &two]));
    Ok(())
}

fn half_extended() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-stay");
    let parent = scratch();
    let [one, two, full] = children(&parent);
    let _full = fill(&full);
    attach(DENY, &[&one], "t-stay");
    let message = cannot_attach(3, DENY, &[&two, &full], "t-stay");
    assert!(message.contains(&full.path().display().to_string()), "{message}");
    assert_eq!(in_force(&one), ["deny"]);
    assert!(programs(&two).is_empty());
    assert_eq!(pinned("t-stay"), links_of(&[&one]));
    Ok(())
}

fn detached() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-off");
    let parent = scratch();
    let [one, two, three, stranger] = children(&parent);
    let place = |cgroup: &Cgroup| cgroup.path().display().to_string();
    attach(DENY, &[&one, &two, &three], "t-off");
    let message =
        stderr(&expect(2, ["detach", "t-off", "--cgroup", &place(&one), "--cgroup", &place(&stranger)]));
    assert!(message.contains(&format!("is not on {}", place(&stranger))), "{message}");
    assert_eq!(in_force(&one), ["deny"], "nothing was done");

    let message = stdout(&expect(0, ["detach", "t-off", "--cgroup", &place(&one)]));
    assert_eq!(message, format!("t-off: detached from {}; it is still on 2 cgroups\n", place(&one)));
    assert!(programs(&one).is_empty());
    assert_eq!([&two, &three].map(in_force), [["deny"], ["deny"]]);
    let message =
        stdout(&expect(0, ["detach", "t-off", "--cgroup", &place(&three), "--cgroup", &place(&two)]));
    assert_eq!(message, "t-off: detached from 2 cgroups\n");
    expect(2, ["show", "t-off"]);

    attach(DENY, &[&one, &two], "t-off");
    assert_eq!(stdout(&expect(0, ["detach", "t-off"])), "t-off: detached from 2 cgroups\n");
    assert_eq!([&one, &two, &three].map(programs), [[0; 0]; 3]);
    assert!(pinned("t-off").is_empty());
    Ok(())
}

/// A bind mount of something on itself. It cannot be removed before it is unmounted.
struct Busy(PathBuf);

impl Busy {
    fn new(path: PathBuf) -> Self {
        mount_bind(&path, &path).expect("it can be mounted");
        Self(path)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let unmounted = unmount(&self.0, UnmountFlags::DETACH);
        assert!(unmounted.is_ok() || std::thread::panicking(), "{unmounted:?}");
    }
}

fn half_detached() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-half-off");
    let parent = scratch();
    let mut all: [Cgroup; 3] = children(&parent);
    // In the order in which they are detached.
    all.sort_by_key(Cgroup::id);
    let [one, two, three] = &all;
    attach(DENY, &[one, two, three], "t-half-off");
    let place = pins().path().join("t-half-off");
    {
        let _busy = Busy::new(place.join(format!("cgroup-{}", two.id())));
        let message = stderr(&expect(3, ["detach", "t-half-off"]));
        assert!(message.contains("cannot detach the attachment \"t-half-off\""), "{message}");
        assert!(message.contains("it was detached from 2 cgroups, but then: cannot remove "), "{message}");
        assert!(message.contains(&format!("cgroup-{}: Device or resource busy", two.id())), "{message}");
        assert_eq!([one, two, three].map(in_force), [&[][..], &[], &["deny"]]);
        assert_eq!(pinned("t-half-off"), links_of(&[two, three]));
        // `show` and the next `detach` report the remaining cgroups.
        let on = &shown("t-half-off")["cgroups"];
        assert_eq!(on.as_array().map(Vec::len), Some(1), "{on}");
        assert_eq!(on[0]["cgroup"], three.path().display().to_string());
        let message = stderr(&expect(3, ["detach", "t-half-off"]));
        assert!(message.contains("cannot remove ") && !message.contains("it was detached"), "{message}");
        assert_eq!(in_force(three), ["deny"]);
    }
    let message = stdout(&expect(0, ["detach", "t-half-off"]));
    assert_eq!(message, format!("t-half-off: detached from {}\n", three.path().display()));
    assert_eq!([one, two, three].map(programs), [[0; 0]; 3]);
    assert!(!place.exists());
    Ok(())
}

fn not_removed() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-last-step");
    let parent = scratch();
    let [one, two] = children(&parent);
    attach(DENY, &[&one, &two], "t-last-step");
    let place = pins().path().join("t-last-step");
    {
        let _busy = Busy::new(place.clone());
        let message = stderr(&expect(3, ["detach", "t-last-step"]));
        assert!(message.contains("it was detached from 2 cgroups, but then: cannot remove "), "{message}");
        assert!(message.contains("t-last-step: Device or resource busy"), "{message}");
        assert_eq!([&one, &two].map(programs), [[0; 0]; 2]);
        assert!(place.exists() && pinned("t-last-step").is_empty());
    }
    let message = stdout(&expect(0, ["detach", "t-last-step"]));
    assert_eq!(message, "t-last-step: removed; its cgroups were already gone\n");
    assert!(!place.exists());
    Ok(())
}

fn held_elsewhere() -> Result<(), Failed> {
    const LINK_DETACH: u32 = 34;
    let _detached = DetachOnDrop("t-held");
    let parent = scratch();
    let [one, two] = children(&parent);
    attach(DENY, &[&one, &two], "t-held");
    let held = pins().attachment(&"t-held".parse()?)?.link(two.id())?;
    let mut filtered = without_bpf(LINK_DETACH, libc::EPERM)?;
    let output = filtered.arg(KNOBGATE).args(["detach", "t-held"]).output()?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let message = stderr(&output);
    assert!(
        message.contains("warning: cannot detach link ") && message.contains("its program runs"),
        "{message}"
    );
    eventually("a link that nobody holds goes with its pin", || programs(&one).is_empty());
    assert_eq!(in_force(&two), ["deny"]);
    drop(held);
    eventually("so does the other one", || programs(&two).is_empty());
    Ok(())
}

fn killed() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-after");
    let parent = scratch();
    let [one, two] = children(&parent);
    let place = pins().path().join("+1-1");
    let leave = || -> Result<(), Failed> {
        std::fs::create_dir(&place)?;
        Ok(Link::create(&allow().program, &one)?.pin(place.join(format!("cgroup-{}", one.id())))?)
    };
    leave()?;
    assert_eq!(programs(&one).len(), 1);
    attach(DENY, &[&two], "t-after");
    assert!(programs(&one).is_empty() && !place.exists());
    leave()?;
    expect(0, ["detach", "t-after"]);
    assert!(programs(&one).is_empty() && !place.exists());
    Ok(())
}

fn mixed() -> Result<(), Failed> {
    let _detached = DetachOnDrop("t-mixed");
    let parent = scratch();
    let [one, two, three] = children(&parent);
    attach(DENY, &[&one, &two], "t-mixed");
    let attachment = pins().attachment(&"t-mixed".parse()?)?;
    let program = allow().program;
    let mut transaction = Transaction::begin(&attachment, &program)?;
    transaction.replace(&two)?;
    transaction.commit();

    let shown = shown("t-mixed");
    let mut both: Vec<_> = [&one, &two].map(programs).concat();
    both.sort_unstable();
    let mut found: Vec<_> =
        shown["cgroups"].as_array().ok_or("no array")?.iter().map(|on| on["program"].as_u64()).collect();
    found.sort_unstable();
    assert_eq!(found, both.iter().map(|&id| Some(id.into())).collect::<Vec<_>>());
    let printed = stdout(&expect(0, ["show", "t-mixed"]));
    assert!(printed.contains("a previous replace was interrupted"), "{printed}");
    cannot_attach(2, DENY, &[&three], "t-mixed");

    let message = attach(DENY, &[&one, &two], "t-mixed");
    assert!(
        message.contains(&format!("replaced programs {} and {} on 2 cgroups", both[0], both[1])),
        "{message}"
    );
    assert_eq!(programs(&one), programs(&two));
    assert_eq!([&one, &two].map(in_force), [["deny"], ["deny"]]);
    Ok(())
}

fn thousand() -> Result<(), Failed> {
    const CGROUPS: usize = 1_000;
    let _detached = DetachOnDrop("t-thousand");
    let parent = scratch();
    let paths = (0..CGROUPS)
        .map(|number| Ok(parent.create(number.to_string())?.path().to_owned()))
        .collect::<Result<Vec<PathBuf>, Failed>>()?;
    let run = |arguments: &[&str], paths: &[PathBuf]| -> Result<String, Failed> {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", KNOBGATE]).args(arguments);
        for path in paths {
            command.arg("--cgroup").arg(path);
        }
        let output = command.output()?;
        assert!(output.status.success(), "{output:?}");
        Ok(stdout(&output))
    };
    let everywhere = |program: &Value| -> Result<bool, Failed> {
        let on_it = |path: &PathBuf| Ok(json!(programs(&Cgroup::open(path)?)) == json!([program]));
        paths.iter().map(on_it).collect::<Result<Vec<bool>, Failed>>().map(|all| all.iter().all(|on| *on))
    };
    let [deny, other] = [DENY, OTHER].map(policy);
    let [deny, other] = [&deny, &other].map(|file| file.path().to_str().expect("a path"));

    let message = run(&["attach", "--policy", deny, "--name", "t-thousand"], &paths)?;
    assert!(message.contains("to 1000 cgroups; "), "{message}");
    let first = shown("t-thousand")["program"].clone();
    assert!(everywhere(&first)?);
    let message = run(&["attach", "--policy", other, "--name", "t-thousand"], &paths)?;
    assert!(message.contains("on 1000 cgroups by "), "{message}");
    let second = shown("t-thousand")["program"].clone();
    assert!(first != second && everywhere(&second)?);

    let more = parent.create("more")?;
    let message = run(&["attach", "--policy", other, "--name", "t-thousand"], &[more.path().to_owned()])?;
    assert!(message.contains("is now on 1001 cgroups"), "{message}");
    let list = run(&["list", "--json"], &[])?;
    assert_eq!(
        list.lines().filter(|line| line.contains("\"attachment\":\"t-thousand\"")).count(),
        CGROUPS + 1
    );
    assert_eq!(shown("t-thousand")["cgroups"].as_array().map(Vec::len), Some(CGROUPS + 1));
    run(&["doctor"], &[])?;
    let message = run(&["detach", "t-thousand"], &[])?;
    assert_eq!(message, "t-thousand: detached from 1001 cgroups\n");
    assert!(programs(&more).is_empty());
    Ok(())
}
