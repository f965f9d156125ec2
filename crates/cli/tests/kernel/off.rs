//! Policies that are off.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use knobgate::{AttachmentError, Attachments, CgroupRef, Off, OffBy, PolicyLinks};
use knobgate_kernel::{Cgroup, LinkSource, ProgramFd, attach_until_removed};
use knobgate_testing::{Suite, Test, scratch};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::setting::{KNOBGATE, attach, expect, policy, stderr, stdout};
use crate::sources::{may_write, own_state, version};

/// They put everything off, so each has a bpffs and a `/run/knobgate` of its own.
pub(crate) fn with_their_own_bpffs() -> Suite {
    let tests: &[Test] = &[
        ("off_takes_everything_off_and_keeps_it_off", everything),
        ("what_systemd_has_attached_is_taken_off_and_named", of_systemd),
        ("what_cannot_be_taken_off_does_not_keep_the_rest_in_force", the_rest),
        ("one_policy_is_off_with_all_of_its_versions", one_policy),
        ("what_is_off_can_be_a_policy_that_is_on_no_cgroup", on_no_cgroup),
        ("a_name_that_is_nothing_is_an_error", unknown_name),
        ("without_a_bpffs_it_is_noted_all_the_same", no_bpffs),
        ("a_machine_can_be_started_with_everything_off", boot_word),
        ("proc_sys_stays_read_only_in_containers_whose_policy_is_off", read_only),
        ("what_is_attached_meanwhile_does_not_stay", meanwhile),
    ];
    Suite::new(tests).isolated(&["--mount"]).in_module("off")
}

const DENY: &str = "policy t-web\ndefault write allow\ndeny write kernel.domainname\n";

fn mount(arguments: &[&str]) -> Result<(), Failed> {
    let mounted = Command::new("mount").args(arguments).status()?;
    assert!(mounted.success(), "{arguments:?}: {mounted}");
    Ok(())
}

fn everything() -> Result<(), Failed> {
    own_state()?;
    let cgroups = [scratch(), scratch(), scratch()];
    let [by_hand, by_agent, by_hook] = &cgroups;
    let file = policy(DENY);
    attach(file.path(), by_hand, "shop");
    let (web, attachments) = (version(DENY)?, Attachments::create()?);
    let link = |cgroup: &Cgroup, source| attachments.link(&[&web], &CgroupRef::from(cgroup), source);
    link(by_agent, LinkSource::Agent)?;
    link(by_hook, LinkSource::Hook)?;
    let printed = stdout(&expect(0, ["off", "--reason", "the shop\x1b[2J is down"]));
    let expected = format!(
        "all policies are off, until `knobgate on` or a restart of the machine\n\
         shop: detached; it was attached by hand on 1 cgroup; attach it again when it is on\n\
         {}: detached; it was attached by the agent on 1 cgroup, by a hook on 1 cgroup\n",
        web.name()
    );
    assert_eq!(printed, expected);
    for cgroup in &cgroups {
        assert!(may_write(cgroup)?);
    }
    // The version stays, with what it remembers; nothing comes back.
    let shown = stdout(&expect(0, ["show", "t-web"]));
    assert!(shown.contains("on no cgroup now") && shown.contains("all policies are off since "), "{shown}");
    let linked = link(by_agent, LinkSource::Agent)?;
    assert!(linked.versions.is_empty(), "{linked:?}");
    assert!(matches!(&linked.off[..], [(name, OffBy::All(_))] if name == web.name()), "{linked:?}");
    let moved = PolicyLinks::new(Attachments::create()?).move_to(&web, web.name(), by_hook, LinkSource::Hook);
    assert!(matches!(moved, Err(AttachmentError::Off { .. })), "{moved:?}");
    let (file, place) = (file.path().to_str().ok_or("a path")?, by_hand.path().to_str().ok_or("a path")?);
    for refused in
        [&["attach", "--policy", file, "--cgroup", place][..], &["run", "--policy", file, "--", "true"]]
    {
        let message = stderr(&expect(3, refused));
        assert!(
            message.contains("all policies are off since ") && message.contains("knobgate on\n"),
            "{message}"
        );
    }
    assert!(may_write(by_hand)?);

    let listed = stdout(&expect(0, ["list"]));
    assert!(listed.contains(" (the shop\\x1b[2J is down); to end that: knobgate on\n"), "{listed}");
    let status = stdout(&expect(3, ["status"]));
    let off =
        status.lines().find(|line| line.starts_with("off: all policies are off since 2")).unwrap_or(&status);
    assert!(off.ends_with(", by uid 0 (the shop\\x1b[2J is down)"), "{status}");
    let listed = stdout(&expect(0, ["list", "--json"]));
    let lines: Vec<Value> = listed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let off = lines.iter().find(|line| line["off"].is_object()).ok_or("a line")?;
    assert_eq!((&off["attachment"], &off["off"]["by"]), (&Value::Null, &"all".into()), "{off}");
    let shown: Value = serde_json::from_str(&stdout(&expect(0, ["show", "t-web", "--json"])))?;
    assert_eq!(shown["off"], off["off"], "{shown}");
    let doctor = stdout(&expect(3, ["doctor"]));
    assert!(doctor.contains("no    off                 all policies are off since "), "{doctor}");

    let again = stdout(&expect(0, ["off"]));
    assert_eq!(again, "all policies are off already, until `knobgate on` or a restart of the machine\n");
    let printed = stdout(&expect(0, ["on"]));
    assert!(printed.starts_with("all policies are on again; they were off since "), "{printed}");
    assert_eq!(stderr(&expect(0, ["on"])), "note: nothing was off\n");
    assert!(link(by_agent, LinkSource::Agent)?.versions[0].is_new);
    expect(0, ["attach", "--policy", file, "--cgroup", place]);
    assert!(!may_write(by_hand)? && !may_write(by_agent)?);
    Ok(())
}

fn the_rest() -> Result<(), Failed> {
    own_state()?;
    let (one, two) = (scratch(), scratch());
    let file = policy(DENY);
    attach(file.path(), &one, "a-damaged");
    attach(file.path(), &two, "b-whole");
    // Before the link, and no pin of a link.
    let damaged = Path::new("/sys/fs/bpf/knobgate/a-damaged/cgroup-1");
    fs::create_dir(damaged)?;
    let failed = expect(3, ["off"]);
    assert!(stderr(&failed).contains("cannot detach the attachment \"a-damaged\""), "{failed:?}");
    assert!(stderr(&failed).contains("cgroup-1"), "{failed:?}");
    for name in ["a-damaged", "b-whole"] {
        assert!(stdout(&failed).contains(&format!("{name}: detached; ")), "{failed:?}");
    }
    assert!(may_write(&one)? && may_write(&two)?);
    fs::remove_dir(damaged)?;
    expect(0, ["off"]);
    assert!(!Path::new("/sys/fs/bpf/knobgate/a-damaged").exists());
    Ok(())
}

fn of_systemd() -> Result<(), Failed> {
    own_state()?;
    let [old, new] = [scratch(), scratch()];
    let pin_and_attach = |text: &str, cgroup: &Cgroup| -> Result<(), Failed> {
        let file = policy(text);
        expect(0, [OsStr::new("systemd-dropin"), "--policy".as_ref(), file.path().as_ref()]);
        let pinned = Attachments::create()?.read(&"t-web".parse()?)?.program;
        attach_until_removed(&ProgramFd::by_id(pinned.id)?, cgroup)?;
        assert!(!may_write(cgroup)?);
        Ok(())
    };
    pin_and_attach(DENY, &old)?;
    pin_and_attach(&format!("{DENY}allow write kernel.hostname\n"), &new)?;
    let output = expect(0, ["off", "t-web"]);
    assert!(may_write(&new)?);
    let (said, warned) = (stdout(&output), stderr(&output));
    assert!(said.contains("t-web: detached; systemd had attached it to 1 cgroup (BPFProgram=); "), "{said}");
    assert!(!said.contains("by hand"), "{said}");
    let left = format!("still runs on {}, without a link or a pin", old.path().display());
    assert!(warned.contains(&left), "{warned}");
    Ok(())
}

fn one_policy() -> Result<(), Failed> {
    own_state()?;
    let cgroups = [scratch(), scratch(), scratch(), scratch()];
    let [one, two, named, other] = &cgroups;
    let attachments = Attachments::create()?;
    let (first, second) = (version(DENY)?, version(&format!("{DENY}deny write kernel.hostname\n"))?);
    for (version, cgroup) in [(&first, one), (&second, two)] {
        attachments.link(&[version], &CgroupRef::from(&**cgroup), LinkSource::Hook)?;
    }
    let file = policy(DENY);
    attach(file.path(), named, "t-web");
    attach(file.path(), other, "webs");
    let printed = stdout(&expect(0, ["off", "t-web"]));
    assert_eq!(printed.matches(": detached; ").count(), 3, "{printed}");
    assert_eq!([one, two, named, other].map(|cgroup| may_write(cgroup).unwrap()), [true, true, true, false]);
    let linked = attachments.link(&[&second], &CgroupRef::from(&**one), LinkSource::Agent)?;
    assert!(linked.versions.is_empty() && linked.off.len() == 1, "{linked:?}");
    let doctor = stdout(&Command::new(KNOBGATE).arg("doctor").output()?);
    assert!(doctor.contains("less  off                 \"t-web\" is off since "), "{doctor}");
    // It stays off if all others are, too, and then on again.
    expect(0, ["off"]);
    assert!(stderr(&expect(3, ["on", "t-web"])).contains("\"t-web\" stays off: all policies are off since "));
    assert!(Off::read()?.reasons().len() == 1);
    assert!(stderr(&expect(3, ["on", "webs"])).contains("\"webs\" stays off"));
    expect(0, ["on"]);
    assert_eq!(stderr(&expect(0, ["on", "t-web"])), "note: \"t-web\" was not off\n");
    assert!(attachments.link(&[&second], &CgroupRef::from(&**one), LinkSource::Agent)?.versions[0].is_new);
    Ok(())
}

fn on_no_cgroup() -> Result<(), Failed> {
    own_state()?;
    mount(&["-t", "tmpfs", "tmpfs", "/etc"])?;
    fs::create_dir_all("/etc/knobgate/policies.d")?;
    let text = DENY.replace("policy t-web", "policy a.web\napply if cgroup starts with \"/\"");
    fs::write("/etc/knobgate/policies.d/web.knob", &text)?;
    let cgroup = scratch();
    expect(0, ["off", "a.web"]);
    let (web, attachments) = (version(&text)?, Attachments::create()?);
    let link = || attachments.link(&[&web], &CgroupRef::from(&*cgroup), LinkSource::Agent);
    assert!(link()?.versions.is_empty() && may_write(&cgroup)?);
    let file = policy(&text);
    let run = ["run", "--policy", file.path().to_str().ok_or("a path")?, "--", "true"];
    assert!(stderr(&expect(3, run)).contains("\"a_web\" is off since "));
    assert!(stderr(&expect(2, ["show", "a.web"])).contains("knobgate on a_web"));
    expect(0, ["on", "a.web"]);
    expect(0, ["on", "a.web"]);
    assert!(link()?.versions[0].is_new && !may_write(&cgroup)?);

    // With an error in the directory, it is not known which policies there are; all can be off.
    fs::write("/etc/knobgate/policies.d/wrong.knob", "policy wrong\nalow write kernel.panic\n")?;
    let message = stderr(&expect(1, ["off", "other"]));
    assert!(
        message.contains("wrong.knob:2:1") && message.contains("`knobgate off` takes off all"),
        "{message}"
    );
    expect(0, ["off", "a.web"]);
    expect(0, ["off"]);
    Ok(())
}

fn unknown_name() -> Result<(), Failed> {
    own_state()?;
    let cgroup = scratch();
    attach(policy(DENY).path(), &cgroup, "shop");
    for command in ["off", "on"] {
        let message = stderr(&expect(2, [command, "shpo"]));
        assert!(message.contains("no attachment and no policy \"shpo\" (there is: shop)"), "{message}");
        expect(2, [command, "../shop"]);
        expect(2, [command, "@all"]);
    }
    assert!(!Path::new(Off::DIRECTORY).exists() && !may_write(&cgroup)?);
    let long = "x".repeat(Off::REASON_MAX + 1);
    assert!(stderr(&expect(2, ["off", "--reason", &long])).contains("4097 bytes"));
    assert!(!may_write(&cgroup)?);
    Ok(())
}

fn no_bpffs() -> Result<(), Failed> {
    own_state()?;
    let unmounted = Command::new("umount").args(["-a", "-t", "bpf"]).status()?;
    assert!(unmounted.success());
    assert!(stderr(&expect(2, ["off", "t-web"])).contains("(there is: none)"));
    expect(0, ["off", "--reason", "early"]);
    assert!(matches!(Off::read()?.all(), Some(OffBy::All(note)) if note.reason.as_deref() == Some("early")));
    expect(0, ["on"]);
    Ok(())
}

fn boot_word() -> Result<(), Failed> {
    own_state()?;
    let cgroup = scratch();
    attach(policy(DENY).path(), &cgroup, "shop");
    let mut line = fs::read_to_string("/proc/cmdline")?;
    line.truncate(line.trim_end().len());
    let written = policy(&format!("{line} knobgate=off\n"));
    mount(&["--bind", written.path().to_str().ok_or("a path")?, "/proc/cmdline"])?;
    for text in [stdout(&expect(0, ["list"])), stdout(&expect(3, ["doctor"]))] {
        assert!(text.contains("because the machine was started with knobgate=off"), "{text}");
    }
    let file = policy(DENY);
    let attach = ["attach", "--policy", file.path().to_str().ok_or("a path")?, "--cgroup"];
    let attach = attach.into_iter().chain([cgroup.path().to_str().ok_or("a path")?]);
    assert!(stderr(&expect(3, attach)).contains("start the machine without knobgate=off"));
    assert!(stderr(&expect(3, ["on"])).contains("start the machine without knobgate=off"));
    assert!(!may_write(&cgroup)?, "it takes nothing away");
    expect(0, ["off"]);
    assert!(may_write(&cgroup)?);
    Ok(())
}

fn read_only() -> Result<(), Failed> {
    own_state()?;
    let files = tempfile::tempdir()?;
    let text = DENY.replace(
        "policy t-web\ndefault write allow",
        "policy t-web\napply if container == \"c1\"\ndefault write deny",
    );
    fs::write(files.path().join("web.knob"), text)?;
    let config = files.path().join("config.json");
    let directory = files.path().to_str().ok_or("a path")?;
    let runtime = ["runtime", "--runtime", "true", "--writable-proc-sys", "--policies", directory, "--"];
    let runtime: Vec<&str> = runtime.into_iter().chain(["create", "--bundle", directory, "c1"]).collect();
    let attachments = Attachments::create()?;
    for (command, is_writable) in [
        (&["on"][..], true),
        (&["off"], false),
        (&["on"], true),
        (&["off", "t-web"], false),
        (&["on", "t-web"], true),
    ] {
        // A policy that is attached nowhere is known by its attachment only.
        attachments.link(&[&version(DENY)?], &CgroupRef::from(&*scratch()), LinkSource::Hook)?;
        expect(0, command);
        let bundle = r#"{"ociVersion": "1.0.2", "linux": {"readonlyPaths": ["/proc/sys", "/proc/bus"]}}"#;
        fs::write(&config, bundle)?;
        expect(0, &runtime);
        let changed: Value = serde_json::from_str(&fs::read_to_string(&config)?)?;
        let paths = changed["linux"]["readonlyPaths"].to_string();
        assert_eq!(!paths.contains("\"/proc/sys\""), is_writable, "{command:?}: {changed}");
        // The hook says that it starts without its policy.
        assert!(changed["hooks"]["createRuntime"].is_array(), "{changed}");
    }
    // Others may have put something off: a container starts only if none of its policies lets /proc/sys be writable.
    fs::set_permissions(Off::DIRECTORY, fs::Permissions::from_mode(0o777))?;
    let bundle = fs::read_to_string(&config)?;
    assert!(stderr(&expect(1, &runtime)).contains("others than root can change it"));
    assert_eq!(fs::read_to_string(&config)?, bundle);
    fs::remove_file(files.path().join("web.knob"))?;
    expect(0, &runtime);
    Ok(())
}

/// Whoever puts a policy on a cgroup while it is being put off.
fn meanwhile() -> Result<(), Failed> {
    own_state()?;
    let cgroup = scratch();
    let (web, attachments) = (version(DENY)?, Attachments::create()?);
    let place = CgroupRef::from(&*cgroup);
    attachments.link(&[&web], &place, LinkSource::Hook)?;
    let ended = AtomicBool::new(false);
    let linked = std::thread::scope(|scope| {
        let linking = scope.spawn(|| {
            let (mut new, mut off) = (0, 0);
            while !ended.load(Ordering::Relaxed) {
                let linked = attachments.link(&[&web], &place, LinkSource::Hook).expect("it is linked");
                new += linked.versions.iter().filter(|one| one.is_new).count();
                off += linked.off.len();
            }
            (new, off)
        });
        for _ in 0..20 {
            expect(0, ["off"]);
            // It may not have been there at all.
            let links = attachments.links(web.name()).unwrap_or_default();
            assert!(links.is_empty(), "{links:?}");
            // The next time, its attachment may be made just when all are listed.
            let _ = Command::new(KNOBGATE).args(["detach", "t-web", "--source", "any"]).output();
            expect(0, ["on"]);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        ended.store(true, Ordering::Relaxed);
        linking.join().expect("it does not panic")
    });
    assert!(linked.0 > 0 && linked.1 > 0, "{linked:?}");
    Ok(())
}
