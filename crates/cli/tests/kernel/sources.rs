//! Who put a program on a cgroup, and whether it came late.

use std::fs;
use std::path::{Path, PathBuf};

use knobgate::policy::{CheckOptions, Source, parse};
use knobgate::{AttachmentError, Attachments, CgroupRef, PolicyLink, PolicyLinks, PolicyVersion};
use knobgate_kernel::{Cgroup, LinkOrigin, LinkSource};
use knobgate_testing::{Reaped, Suite, Test, scratch, shell};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::setting::{attach, expect, policy, stderr, stdout};

/// They look at all attachments of a bpffs, so each has one of its own.
pub(crate) fn with_their_own_bpffs() -> Suite {
    let tests: &[Test] = &[
        ("a_link_on_a_cgroup_with_processes_came_late", late),
        ("nobody_takes_away_the_links_of_others", own_links),
        ("an_attachment_of_the_former_layout_works_with_all_commands", former_layout),
        ("a_link_of_an_unknown_source_is_kept_and_replaced", unknown_source),
        ("two_links_on_one_cgroup_are_two_links", two_links),
        ("a_link_moves_to_another_version_of_its_policy", moved),
        ("a_move_that_was_interrupted_is_finished", interrupted),
        ("a_link_that_was_detached_is_not_taken_for_one_that_judges", detached),
        ("a_link_of_another_source_does_not_move", not_moved),
    ];
    Suite::new(tests).isolated(&["--mount"]).in_module("sources")
}

const PINS: &str = "/sys/fs/bpf/knobgate";
const DENY: &str = "policy t-web\ndefault write allow\ndeny write kernel.domainname\n";
const OTHER: &str = "policy t-web\ndefault write allow\ndeny write kernel.domainname, kernel.hostname\n";

/// A bpffs, and a `/run/knobgate`, of this test alone.
pub(crate) fn own_state() -> Result<(), Failed> {
    fs::create_dir_all("/run/knobgate")?;
    for [kind, options, point] in [["bpf", "mode=700", "/sys/fs/bpf"], ["tmpfs", "mode=700", "/run/knobgate"]]
    {
        let mounted =
            std::process::Command::new("mount").args(["-t", kind, "-o", options, kind, point]).status()?;
        assert!(mounted.success(), "{point}: {mounted}");
    }
    Ok(())
}

/// A version of a policy.
pub(crate) fn version(text: &str) -> Result<PolicyVersion, Failed> {
    Ok(PolicyVersion::new(parse(Source::new("web.knob", text), &CheckOptions::default())?))
}

/// Whether a process in the cgroup may write `kernel.domainname`, in a namespace of its own.
pub(crate) fn may_write(cgroup: &Cgroup) -> Result<bool, Failed> {
    Ok(shell(cgroup, "echo x 2>/dev/null >/proc/sys/kernel/domainname").status()?.success())
}

/// The names of the pinned links of an attachment, without the ids of the cgroups.
fn pins(name: &str) -> Result<Vec<String>, Failed> {
    let mut pins = Vec::new();
    for entry in fs::read_dir(Path::new(PINS).join(name))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(rest) = name.strip_prefix("cgroup-") {
            pins.push(rest.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned());
        }
    }
    pins.sort();
    Ok(pins)
}

fn pin(name: &str, cgroup: &Cgroup, suffix: &str) -> PathBuf {
    Path::new(PINS).join(name).join(format!("cgroup-{}{suffix}", cgroup.id()))
}

/// The only line of `list --json` for a cgroup.
fn listed(cgroup: &Cgroup) -> Result<Value, Failed> {
    let printed = stdout(&expect(0, ["list", "--json"]));
    let path = cgroup.path().display().to_string();
    let mut lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.find(|line| line["cgroup"] == path).ok_or_else(|| format!("{path}: {printed}").into())
}

fn late() -> Result<(), Failed> {
    own_state()?;
    let (empty, busy, above) = (scratch(), scratch(), scratch());
    let below = above.create("below")?;
    let _processes =
        [&*busy, &below].map(|cgroup| Reaped(shell(cgroup, "exec sleep 1000").spawn().expect("a process")));
    let file = policy(DENY);
    for (cgroup, name, suffix) in
        [(&*empty, "t-in-time", ""), (&busy, "t-late", "+late"), (&above, "t-late-below", "+late")]
    {
        attach(file.path(), cgroup, name);
        assert_eq!(pins(name)?, [suffix], "{name}");
        let is_late = !suffix.is_empty();
        let (listed, shown) = (listed(cgroup)?, stdout(&expect(0, ["show", name, "--json"])));
        let shown: Value = serde_json::from_str(&shown)?;
        for json in [&listed, &shown["cgroups"][0]] {
            assert_eq!((&json["source"], &json["late"]), (&"hand".into(), &is_late.into()), "{json}");
        }
        let link = format!("link {}{}", listed["link"], if is_late { ", late" } else { ", loaded" });
        for text in [stdout(&expect(0, ["list"])), stdout(&expect(0, ["show", name]))] {
            assert!(text.contains(&link), "{link}: {text}");
        }
        // A replaced program does not make it late.
        attach(policy(OTHER).path(), cgroup, name);
        assert_eq!(pins(name)?, [suffix], "{name}");
    }
    Ok(())
}

fn own_links() -> Result<(), Failed> {
    own_state()?;
    let cgroups = [scratch(), scratch(), scratch()];
    let web = version(DENY)?;
    let (name, attachments) = (web.name().to_string(), Attachments::create()?);
    let sources = [LinkSource::Agent, LinkSource::Hook, LinkSource::Nri];
    for (cgroup, source) in cgroups.iter().zip(sources) {
        let linked = attachments.link(&[&web], &CgroupRef::from(&**cgroup), source)?;
        assert!(linked.versions[0].is_new && linked.off.is_empty());
        // Whoever was first stays.
        let again = attachments.link(&[&web], &CgroupRef::from(&**cgroup), LinkSource::Agent)?;
        assert!(!again.versions[0].is_new);
        assert_eq!(listed(cgroup)?["source"], source.as_str());
    }
    assert_eq!(pins(&name)?, [":agent", ":hook", ":nri"]);
    let message = stderr(&expect(2, ["detach", "t-web"]));
    for expected in
        ["by the agent on 1 cgroup", "by a hook on 1", "by the NRI plugin on 1", "not by hand", "off t-web"]
    {
        assert!(message.contains(expected), "{message}");
    }
    let [one, two, _] = &cgroups;
    let place = two.path().to_str().ok_or("a path")?;
    let message = stderr(&expect(2, ["detach", "t-web", "--cgroup", place, "--source", "agent"]));
    assert!(message.contains("by a hook on 1 cgroup, not by the agent"), "{message}");
    // The library does the same for one cgroup.
    let unlink = |cgroup: &Cgroup, source| attachments.unlink(web.name(), cgroup.id(), source);
    assert!(!unlink(one, LinkSource::Hook)? && unlink(one, LinkSource::Agent)?);
    assert!(!unlink(one, LinkSource::Agent)?);
    assert_eq!(pins(&name)?, [":hook", ":nri"]);
    assert!(may_write(one)? && !may_write(two)?);

    let message = stdout(&expect(0, ["detach", "t-web", "--source", "hook"]));
    assert!(message.ends_with("it is still on 1 cgroup, by the NRI plugin\n"), "{message}");
    expect(0, ["detach", "t-web", "--source", "any"]);
    assert!(!Path::new(PINS).join(&name).exists());
    assert!(!unlink(one, LinkSource::Agent)?, "there is no such attachment any more");
    Ok(())
}

fn former_layout() -> Result<(), Failed> {
    own_state()?;
    let (one, two) = (scratch(), scratch());
    let _process = Reaped(shell(&one, "exec sleep 1000").spawn()?);
    let file = policy(DENY);
    attach(file.path(), &one, "t-former");
    fs::rename(pin("t-former", &one, "+late"), pin("t-former", &one, ""))?;
    let listed = listed(&one)?;
    assert_eq!((&listed["attachment"], &listed["source"]), (&"t-former".into(), &"hand".into()), "{listed}");
    assert_eq!(listed["late"], false);
    let place = one.path().to_str().ok_or("a path")?;
    assert!(stdout(&expect(0, ["show", "t-former"])).contains(place));
    attach(policy(OTHER).path(), &one, "t-former");
    assert_eq!(pins("t-former")?, [""]);
    // With more cgroups, it has both layouts.
    let both =
        ["attach", "--policy", file.path().to_str().ok_or("a path")?, "--name", "t-former", "--cgroup"];
    let both = both.into_iter().chain([place, "--cgroup", two.path().to_str().ok_or("a path")?]);
    expect(0, both);
    expect(0, ["detach", "t-former", "--cgroup", place]);
    assert!(may_write(&one)? && !may_write(&two)?);
    expect(0, ["off", "t-former"]);
    assert!(may_write(&two)? && !Path::new(PINS).join("t-former").exists());
    Ok(())
}

fn unknown_source() -> Result<(), Failed> {
    own_state()?;
    let (one, removed) = (scratch(), scratch());
    let file = policy(DENY);
    attach(file.path(), &one, "t-newer");
    fs::rename(pin("t-newer", &one, ""), pin("t-newer", &one, ":timer+late"))?;
    let listed = listed(&one)?;
    assert_eq!(
        (&listed["attachment"], &listed["source"]),
        (&"t-newer".into(), &"unknown".into()),
        "{listed}"
    );
    assert!(stdout(&expect(0, ["list"])).contains("by a newer version of knobgate, late"));
    // It is on this cgroup, so nobody attaches it a second time.
    attach(file.path(), &one, "t-newer");
    attach(policy(OTHER).path(), &one, "t-newer");
    assert_eq!(pins("t-newer")?, [":timer+late"]);
    for source in ["hand", "agent", "hook", "nri"] {
        let message = stderr(&expect(2, ["detach", "t-newer", "--source", source]));
        assert!(
            message.contains("by a newer version of knobgate") && message.contains("--source any"),
            "{message}"
        );
    }
    expect(0, ["detach", "t-newer", "--source", "any"]);
    assert!(may_write(&one)?);
    // A dead one is unpinned, like all others.
    attach(file.path(), &removed, "t-newer");
    fs::rename(pin("t-newer", &removed, ""), pin("t-newer", &removed, ":timer"))?;
    drop(removed);
    attach(file.path(), &one, "t-newer");
    assert_eq!(pins("t-newer")?, [""]);
    Ok(())
}

/// That is how it looks if an older version of knobgate, which does not know the names of all links, attaches it again.
fn two_links() -> Result<(), Failed> {
    own_state()?;
    let one = scratch();
    let file = policy(DENY);
    attach(file.path(), &one, "t-two");
    let attachments = Attachments::open()?.ok_or("attachments")?;
    fs::rename(pin("t-two", &one, ""), pin("t-two", &one, ":agent"))?;
    let program =
        knobgate_kernel::ProgramFd::by_id(attachments.links(&"t-two".parse()?)?[0].info.program_id)?;
    knobgate_kernel::Link::create(&program, &one)?.pin(pin("t-two", &one, ""))?;
    drop(program);
    assert_eq!(attachments.read(&"t-two".parse()?)?.cgroups.len(), 2);
    // Both programs are replaced, and each link goes on its own.
    attach(policy("policy t-web\ndefault write allow\n").path(), &one, "t-two");
    assert!(may_write(&one)?);
    attach(file.path(), &one, "t-two");
    expect(0, ["detach", "t-two"]);
    assert!(!may_write(&one)?);
    assert_eq!(pins("t-two")?, [":agent"]);
    expect(0, ["detach", "t-two", "--source", "agent"]);
    assert!(may_write(&one)?);
    Ok(())
}

/// Where the links of two versions on a cgroup come from, the first of which is the newer one.
fn origins(
    attachments: &Attachments,
    versions: [&PolicyVersion; 2],
    cgroup: &Cgroup,
) -> Result<[Vec<LinkOrigin>; 2], Failed> {
    let of = |version: &PolicyVersion| -> Result<Vec<LinkOrigin>, Failed> {
        // A version that is on no cgroup may be gone.
        let links = attachments.links(version.name()).unwrap_or_default();
        Ok(links.iter().filter(|link| link.cgroup_id == cgroup.id()).map(|link| link.origin).collect())
    };
    Ok([of(versions[0])?, of(versions[1])?])
}

/// Puts the newer version on a cgroup, as the agent does.
fn move_to(
    new: &PolicyVersion,
    old: &PolicyVersion,
    cgroup: &Cgroup,
) -> Result<Option<LinkOrigin>, AttachmentError> {
    PolicyLinks::new(Attachments::create()?).move_to(new, old.name(), cgroup, LinkSource::Agent)
}

/// Detaches the link of a version, which stays pinned.
fn detach_link(version: &PolicyVersion, cgroup: &Cgroup, suffix: &str) -> Result<(), Failed> {
    let link = knobgate_kernel::Link::from_pin(pin(version.name().as_str(), cgroup, suffix))?;
    Ok(link.detach()?)
}

fn detached() -> Result<(), Failed> {
    own_state()?;
    let (one, two, both) = (scratch(), scratch(), scratch());
    let (old, new, attachments) = (version(DENY)?, version(OTHER)?, Attachments::create()?);
    let mut links = PolicyLinks::new(Attachments::create()?);
    // It is put there again, whether that was this version or another one.
    for (cgroup, was, suffix) in [(&one, &new, ":agent"), (&two, &old, ":hook")] {
        let source = if suffix == ":agent" { LinkSource::Agent } else { LinkSource::Hook };
        attachments.link(&[was], &CgroupRef::from(&**cgroup), source)?;
        detach_link(was, cgroup, suffix)?;
        assert!(may_write(cgroup)?);
        let linked = links.link(&[&new], cgroup, LinkSource::Agent)?;
        assert!(matches!(linked[..], [Ok(PolicyLink::New { .. })]), "{linked:?}");
        assert!(!may_write(cgroup)?);
    }
    // Of an interrupted move, the new one was detached: the old one is the only one that judges.
    for version in [&old, &new] {
        attachments.link(&[version], &CgroupRef::from(&*both), LinkSource::Agent)?;
    }
    detach_link(&new, &both, ":agent")?;
    let origin = LinkOrigin { source: LinkSource::Agent, late: false };
    assert_eq!(move_to(&new, &old, &both)?, Some(origin));
    assert!(!may_write(&both)?);
    assert_eq!(origins(&attachments, [&new, &old], &both)?, [vec![origin], vec![]]);
    Ok(())
}

fn moved() -> Result<(), Failed> {
    own_state()?;
    let (early, late) = (scratch(), scratch());
    let _process = Reaped(shell(&late, "exec sleep 1000").spawn()?);
    let (old, new, attachments) = (version(DENY)?, version(OTHER)?, Attachments::create()?);
    for (cgroup, is_late) in [(&*early, false), (&late, true)] {
        let place = CgroupRef::from(cgroup);
        let origin = LinkOrigin { source: LinkSource::Agent, late: is_late };
        attachments.link(&[&old], &place, LinkSource::Agent)?;
        assert_eq!(origins(&attachments, [&new, &old], cgroup)?, [vec![], vec![origin]]);
        // There are processes by now, but they were judged all the time.
        let _process = Reaped(shell(cgroup, "exec sleep 1000").spawn()?);
        assert_eq!(move_to(&new, &old, cgroup)?, Some(origin));
        assert_eq!(origins(&attachments, [&new, &old], cgroup)?, [vec![origin], vec![]]);
        // A second time, there is nothing to do.
        assert_eq!(move_to(&new, &old, cgroup)?, None);
        assert_eq!(origins(&attachments, [&new, &old], cgroup)?, [vec![origin], vec![]]);
        assert!(!may_write(cgroup)?);
    }
    Ok(())
}

fn interrupted() -> Result<(), Failed> {
    own_state()?;
    let cgroup = scratch();
    let place = CgroupRef::from(&*cgroup);
    let (old, new, attachments) = (version(DENY)?, version(OTHER)?, Attachments::create()?);
    // What is there after the first step.
    for version in [&old, &new] {
        attachments.link(&[version], &place, LinkSource::Agent)?;
    }
    let origin = LinkOrigin { source: LinkSource::Agent, late: false };
    assert_eq!(move_to(&new, &old, &cgroup)?, Some(origin));
    assert_eq!(origins(&attachments, [&new, &old], &cgroup)?, [vec![origin], vec![]]);
    Ok(())
}

fn not_moved() -> Result<(), Failed> {
    own_state()?;
    let cgroup = scratch();
    let place = CgroupRef::from(&*cgroup);
    let (old, new, attachments) = (version(DENY)?, version(OTHER)?, Attachments::create()?);
    attachments.link(&[&old], &place, LinkSource::Hook)?;
    assert_eq!(move_to(&new, &old, &cgroup)?, None);
    let origin = LinkOrigin { source: LinkSource::Hook, late: false };
    assert_eq!(origins(&attachments, [&new, &old], &cgroup)?, [vec![], vec![origin]]);
    Ok(())
}
