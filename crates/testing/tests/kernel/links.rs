use knobgate_kernel::{
    AttachMode, AttachPosition, Cgroup, Link, LinkError, MachineAttachments, ScratchCgroup, prog_attach,
};
use knobgate_testing::{eventually, number, profile, root, scratch, shell};
use libtest_mimic::Failed;

use crate::fixtures::{allow, attach, can_write, deny_writes, id, loaded, pins, program};

pub(crate) const TESTS: &[super::Test] = &[
    ("a_link_judges_processes_inside_and_below_and_no_others", judges),
    ("the_program_chooses_the_errno", errno),
    ("an_update_replaces_only_the_expected_program", update),
    ("a_detached_link_holds_nothing", detach),
    ("a_dropped_link_holds_nothing", dropped),
    ("a_pin_of_something_else_is_rejected", other_pin),
    ("programs_are_listed_in_the_order_in_which_they_run", order),
    ("more_programs_than_a_buffer_holds_are_all_listed", many),
    ("the_65th_program_is_rejected", full),
    ("a_program_in_single_mode_conflicts", single),
    ("a_program_in_override_mode_conflicts_on_its_own_cgroup", overridable),
    ("a_program_in_multi_mode_does_not_conflict", multi),
    ("a_link_outlives_its_cgroup_without_a_program", dying),
    ("all_links_are_found_with_their_cgroups", all),
    ("links_that_are_being_created_are_skipped", being_created),
];

fn judges() -> Result<(), Failed> {
    let (cgroup, other) = (scratch(), scratch());
    let below = cgroup.create("below")?;
    let (_program, _link) = attach(&deny_writes(libc::EPERM), &cgroup);
    assert_eq!([&*cgroup, &below, &*other].map(can_write), [false, false, true]);
    Ok(())
}

fn errno() -> Result<(), Failed> {
    let cgroup = scratch();
    let (_program, _link) = attach(&deny_writes(libc::EROFS), &cgroup);
    let script = "echo test | tee /proc/sys/kernel/domainname";
    let output = shell(&cgroup, script).env("LC_ALL", "C").output()?;
    let message = String::from_utf8_lossy(&output.stderr);
    let chosen = if profile().retval_helpers { "Read-only file system" } else { "Operation not permitted" };
    assert!(!output.status.success() && message.contains(chosen), "{message}");
    Ok(())
}

fn update() -> Result<(), Failed> {
    let cgroup = scratch();
    let (deny, link) = attach(&deny_writes(libc::EPERM), &cgroup);
    let allow = loaded(&allow()).program;
    let error = link.update(&allow, &allow).expect_err("that is not the one");
    assert!(matches!(error, LinkError::ProgramChanged { found, .. } if found == id(&deny)), "{error}");
    assert!(!can_write(&cgroup));
    link.update(&deny, &allow)?;
    assert!(can_write(&cgroup));
    assert_eq!(link.info()?.program_id, id(&allow));
    assert_eq!(cgroup.attached()?.program_ids, [id(&allow)]);
    Ok(())
}

fn detach() -> Result<(), Failed> {
    let cgroup = scratch();
    let (deny, link) = attach(&deny_writes(libc::EPERM), &cgroup);
    assert_eq!(link.info()?.cgroup_id, Some(cgroup.id()));
    link.detach()?;
    link.detach()?;
    assert!(can_write(&cgroup));
    assert_eq!(link.info()?.cgroup_id, None);
    assert_eq!(cgroup.attached()?.mode, None);
    let error = link.update(&deny, &deny).expect_err("detached");
    assert!(matches!(error, LinkError::Detached { .. }), "{error}");
    Ok(())
}

fn dropped() -> Result<(), Failed> {
    let cgroup = scratch();
    let (_deny, link) = attach(&deny_writes(libc::EPERM), &cgroup);
    drop(link);
    eventually("the program is detached", || cgroup.attached().is_ok_and(|attached| attached.mode.is_none()));
    Ok(())
}

fn other_pin() -> Result<(), Failed> {
    let (pins, _) = pins("foreign");
    let error = Link::from_pin(pins.path().join("nothing")).expect_err("nothing is there");
    assert!(error.to_string().ends_with("nothing is pinned there"), "{error}");
    let error = Link::from_pin("/proc/self/exe").expect_err("not a pin");
    assert!(matches!(error, LinkError::Pin { .. }), "{error}");
    let cgroup = scratch();
    let (_program, link) = attach(&allow(), &cgroup);
    let error = link.pin("/run/not-a-bpffs").expect_err("not on a bpffs");
    assert!(error.to_string().contains("bpffs"), "{error}");
    Ok(())
}

fn order() -> Result<(), Failed> {
    let outer = scratch();
    let inner = outer.create("inner")?;
    let (a, _link_a) = attach(&allow(), &outer);
    let (b, _link_b) = attach(&allow(), &inner);
    let (c, _link_c) = attach(&allow(), &inner);
    let [a, b, c] = [&a, &b, &c].map(id);
    let attached = inner.attached()?;
    assert_eq!((attached.mode, attached.program_ids.as_slice()), (Some(AttachMode::Multi), &[b, c][..]));
    assert!(attached.revision.is_none_or(|revision| revision == 3), "{attached:?}");
    assert_eq!(outer.attached()?.program_ids, [a]);
    // Programs on cgroups above come last.
    assert_eq!(inner.effective()?[..3], [b, c, a]);
    assert_eq!(outer.effective()?[..1], [a]);
    Ok(())
}

/// Two nested cgroups, each with 40 links.
fn nested(outer: &ScratchCgroup) -> Result<(Cgroup, Vec<Link>, Vec<u32>), Failed> {
    let inner = outer.create("inner")?;
    let program = loaded(&allow()).program;
    let mut links = Vec::new();
    for cgroup in [&**outer, &inner] {
        for _ in 0..40 {
            links.push(Link::create(&program, cgroup)?);
        }
    }
    let ids = vec![id(&program); 80];
    Ok((inner, links, ids))
}

fn many() -> Result<(), Failed> {
    let outer = scratch();
    let (inner, _links, ids) = nested(&outer)?;
    assert_eq!(inner.effective()?[..80], ids);
    Ok(())
}

fn full() -> Result<(), Failed> {
    let cgroup = scratch();
    let program = loaded(&allow()).program;
    let links: Result<Vec<_>, _> = (0..64).map(|_| Link::create(&program, &cgroup)).collect();
    assert_eq!(links?.len(), 64);
    let links: Result<Vec<_>, _> = (0..65).map(|_| Link::create(&program, &cgroup)).collect();
    assert!(matches!(links, Err(LinkError::Full { .. })), "{links:?}");
    Ok(())
}

fn single() -> Result<(), Failed> {
    let cgroup = scratch();
    let below = cgroup.create("below")?;
    let foreign = loaded(&program("foreign", allow().insns)).program;
    prog_attach(&foreign, &cgroup, AttachMode::Single, &AttachPosition::default())?;
    let ours = loaded(&allow()).program;
    for target in [&*cgroup, &below] {
        let error = Link::create(&ours, target).expect_err("a conflict");
        let message = error.to_string();
        assert!(message.contains("single mode") && message.contains("\"foreign\""), "{message}");
        let LinkError::Conflict { cgroup: at, holder, mode, program_id, .. } = error else {
            return Err(message.into());
        };
        assert_eq!((at.as_path(), holder.as_path()), (target.path(), cgroup.path()));
        assert_eq!((mode, program_id), (AttachMode::Single, id(&foreign)));
    }
    assert_eq!(cgroup.attached()?.mode, Some(AttachMode::Single));
    Ok(())
}

fn overridable() -> Result<(), Failed> {
    let cgroup = scratch();
    let below = cgroup.create("below")?;
    let foreign = loaded(&allow()).program;
    prog_attach(&foreign, &cgroup, AttachMode::Override, &AttachPosition::default())?;
    let ours = loaded(&allow()).program;
    let error = Link::create(&ours, &cgroup).expect_err("a conflict");
    assert!(error.to_string().contains("override mode"), "{error}");
    let _link = Link::create(&ours, &below)?;
    Ok(())
}

fn multi() -> Result<(), Failed> {
    let cgroup = scratch();
    let foreign = loaded(&allow()).program;
    prog_attach(&foreign, &cgroup, AttachMode::Multi, &AttachPosition::default())?;
    let (ours, _link) = attach(&allow(), &cgroup);
    assert_eq!(cgroup.attached()?.program_ids, [id(&foreign), id(&ours)]);
    Ok(())
}

fn dying() -> Result<(), Failed> {
    let cgroup = scratch();
    let doomed = cgroup.create("doomed")?;
    let (program, link) = attach(&deny_writes(libc::EPERM), &doomed);
    doomed.remove()?;
    eventually("the link is dead", || link.info().is_ok_and(|info| info.cgroup_id.is_none()));
    let error = link.update(&program, &program).expect_err("no cgroup");
    assert!(matches!(error, LinkError::Detached { .. }), "{error}");
    let error = Link::create(&program, &doomed).expect_err("no cgroup");
    assert!(matches!(error, LinkError::Removed { .. }), "{error}");
    Ok(())
}

fn all() -> Result<(), Failed> {
    let cgroup = scratch();
    let (program, link) = attach(&allow(), &cgroup);
    let found = MachineAttachments::find()?;
    assert!(!found.is_empty());
    let info = found.links.iter().find(|info| info.id == link.id());
    assert_eq!(info, Some(&link.info()?));
    assert_eq!(found.cgroups.get(cgroup.path()).map(|found| &found.program_ids), Some(&vec![id(&program)]));
    assert!(!found.cgroups.contains_key(root().path()));
    Ok(())
}

fn being_created() -> Result<(), Failed> {
    let links = number("KNOBGATE_LINKS", 20_000)?;
    let cgroup = scratch();
    let program = loaded(&allow()).program;
    std::thread::scope(|threads| {
        let maker = threads.spawn(|| (0..links).try_for_each(|_| Link::create(&program, &cgroup).map(drop)));
        while !maker.is_finished() {
            Link::all()?;
        }
        Ok(maker.join().expect("no panic")?)
    })
}
