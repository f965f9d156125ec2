use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, PoisonError};

use knobgate_bpf::{Imm64, Insn, MapDef, MapKind, MapReference, Program, Reg, Relocation, TailCall};
use knobgate_kernel::{
    Attachment, AttachmentName, BpffsError, Cgroup, Lateness, Link, LinkError, LinkOrigin, LinkSource,
    LoadedProgram, PinDir, ProgramFd, Transaction,
};
use knobgate_testing::{eventually, scratch};
use libtest_mimic::Failed;

use crate::fixtures::{allow, attach, can_write, deny_writes, id, loaded, pins};

pub(crate) const TESTS: &[super::Test] = &[
    ("a_pinned_link_holds_on", pin),
    ("an_attachment_with_a_pinned_program_needs_no_cgroup", pinned_program),
    ("one_program_holds_on_many_cgroups", many),
    ("of_several_processes_one_gets_a_name", same_name),
    ("an_unpublished_attachment_is_detached_at_once", dropped),
    ("attachments_that_a_killed_process_began_are_removed_and_no_others", abandoned),
    ("nobody_sees_an_attachment_that_is_removed_in_part", removed_in_part),
    ("the_link_of_a_removed_cgroup_is_unpinned", dead),
    ("a_transaction_replaces_every_program", replaced),
    ("a_rollback_restores_the_old_program", undone),
    ("a_rollback_detaches_the_new_program", taken_off),
    ("maps_are_pinned_as_long_as_their_program", maps),
    ("programs_are_the_same_if_their_code_and_its_input_are", identity),
];

/// An attachment of `program` on these cgroups.
fn publish(
    pins: &PinDir,
    name: &AttachmentName,
    program: &ProgramFd,
    cgroups: &[&Cgroup],
) -> Result<(), BpffsError> {
    let new = pins.begin()?;
    let mut transaction = Transaction::begin(&new, program)?;
    cgroups
        .iter()
        .try_for_each(|cgroup| transaction.attach(cgroup, LinkSource::Hand, Lateness::Known(false)))?;
    transaction.commit();
    new.publish(name)
}

fn unpin(attachment: &Attachment, cgroup_id: u64) -> Result<(), BpffsError> {
    attachment.links_on(cgroup_id)?.iter().try_for_each(|link| attachment.unpin(link))
}

fn pin() -> Result<(), Failed> {
    let cgroup = scratch();
    let (pins, name) = pins("pinned");
    let (program, link) = attach(&deny_writes(libc::EPERM), &cgroup);
    let new = pins.begin()?;
    new.pin(cgroup.id(), LinkOrigin::HAND, &link)?;
    let again = new.pin(cgroup.id(), LinkOrigin::HAND, &link).expect_err("the path is taken");
    assert!(again.to_string().contains("already"), "{again}");
    assert!(!pins.names()?.contains(&name));
    new.publish(&name)?;
    let info = link.info()?;
    drop((program, link));
    assert!(!can_write(&cgroup));
    assert!(pins.names()?.contains(&name));

    let attachment = pins.attachment(&name)?;
    for directory in [pins.path(), attachment.path()] {
        assert_eq!(directory.metadata()?.permissions().mode() & 0o777, 0o700, "{}", directory.display());
    }
    assert!(attachment.path().join(format!("cgroup-{}", cgroup.id())).exists());
    assert_eq!(attachment.links()?.iter().map(|link| link.info).collect::<Vec<_>>(), [info]);
    assert_eq!(attachment.link(cgroup.id())?.info()?, info);
    assert_eq!(Link::by_id(info.id)?.info()?, info);
    let error = pins.begin()?.publish(&name).expect_err("the name is taken");
    assert!(matches!(&error, BpffsError::Exists { .. }), "{error}");

    pins.remove(&name)?;
    eventually("the program goes with its pin", || can_write(&cgroup));
    assert!(!pins.names()?.contains(&name));
    for error in [pins.attachment(&name).map(drop), pins.remove(&name)] {
        assert!(matches!(error, Err(BpffsError::NotFound { .. })), "{error:?}");
    }
    Ok(())
}

fn pinned_program() -> Result<(), Failed> {
    let cgroup = scratch();
    let (pins, name) = pins("pinned-program");
    let program = loaded(&deny_writes(libc::EPERM)).program;
    let new = pins.begin()?;
    assert!(new.program()?.is_none());
    new.pin_program(&program)?;
    new.publish(&name)?;
    let program_id = id(&program);
    drop(program);

    let attachment = pins.attachment(&name)?;
    let opened = attachment.program()?.ok_or("a program")?;
    assert_eq!((id(&opened), attachment.links()?.len()), (program_id, 0));
    assert_eq!(attachment.program_ids()?, [program_id].into());
    let mut transaction = Transaction::begin(&attachment, &opened)?;
    transaction.attach(&cgroup, LinkSource::Hand, Lateness::Known(false))?;
    transaction.commit();
    assert!(!can_write(&cgroup));
    unpin(&attachment, cgroup.id())?;
    eventually("the link goes with its pin", || can_write(&cgroup));
    drop(opened);
    assert!(attachment.program()?.is_some());
    pins.remove(&name)?;
    assert!(!pins.names()?.contains(&name));
    eventually("the program goes with its pin", || ProgramFd::by_id(program_id).is_err());
    Ok(())
}

fn many() -> Result<(), Failed> {
    let (one, other) = (scratch(), scratch());
    let (pins, name) = pins("many");
    let program = loaded(&deny_writes(libc::EPERM)).program;
    publish(&pins, &name, &program, &[&one, &other])?;
    assert!(!can_write(&one) && !can_write(&other));
    let attachment = pins.attachment(&name)?;
    let mut expected = [one.id(), other.id()];
    expected.sort_unstable();
    let links = attachment.links()?;
    assert_eq!(links.iter().map(|link| link.cgroup_id).collect::<Vec<_>>(), expected);
    assert!(links.iter().all(|link| link.info.program_id == id(&program) && !link.is_dead()));

    attachment.link(one.id())?.detach()?;
    unpin(&attachment, one.id())?;
    assert!(can_write(&one) && !can_write(&other));
    pins.remove(&name)?;
    Ok(())
}

fn same_name() -> Result<(), Failed> {
    let cgroup = scratch();
    let (pins, name) = pins("contended");
    let links: Vec<Link> = (0..8).map(|_| attach(&allow(), &cgroup).1).collect();
    let publish = |link: &Link| {
        let new = pins.begin()?;
        new.pin(cgroup.id(), LinkOrigin::HAND, link)?;
        new.publish(&name)
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = links.iter().map(|link| scope.spawn(|| publish(link))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    for outcome in &outcomes {
        assert!(matches!(outcome, Ok(()) | Err(BpffsError::Exists { .. })), "{outcome:?}");
    }
    let won = outcomes.iter().position(Result::is_ok).map(|index| links[index].id());
    assert_eq!(Some(pins.attachment(&name)?.link(cgroup.id())?.id()), won);
    pins.remove(&name)?;
    Ok(())
}

fn dropped() -> Result<(), Failed> {
    let cgroup = scratch();
    let (pins, _) = pins("dropped");
    let program = loaded(&deny_writes(libc::EPERM)).program;
    let new = pins.begin()?;
    let mut transaction = Transaction::begin(&new, &program)?;
    transaction.attach(&cgroup, LinkSource::Hand, Lateness::Known(false))?;
    transaction.commit();
    assert!(!can_write(&cgroup));
    let path = new.path().to_owned();
    drop(new);
    assert_eq!(cgroup.attached()?.mode, None);
    assert!(!path.exists());
    Ok(())
}

/// Held while a test has something that nobody works on, which others would remove.
static ABANDONED: Mutex<()> = Mutex::new(());

fn abandoned() -> Result<(), Failed> {
    let _alone = ABANDONED.lock().unwrap_or_else(PoisonError::into_inner);
    let cgroup = scratch();
    let (pins, _) = pins("abandoned");
    // This is what a killed process leaves.
    let left = pins.path().join("+1-0");
    std::fs::create_dir(&left)?;
    let (program, link) = attach(&deny_writes(libc::EPERM), &cgroup);
    link.pin(left.join(format!("cgroup-{}", cgroup.id())))?;
    drop((program, link));
    assert!(!can_write(&cgroup));

    let begun = pins.begin()?;
    pins.remove_abandoned()?;
    assert_eq!(cgroup.attached()?.mode, None);
    assert!(!left.exists() && begun.path().exists());
    Ok(())
}

fn removed_in_part() -> Result<(), Failed> {
    let _alone = ABANDONED.lock().unwrap_or_else(PoisonError::into_inner);
    let (pins, name) = pins("removed-in-part");
    let new = pins.begin()?;
    new.pin_program(&loaded(&allow()).program)?;
    new.publish(&name)?;
    // This cannot be removed with it.
    std::fs::create_dir(pins.attachment(&name)?.path().join("obstacle"))?;
    pins.remove(&name).expect_err("it is not empty");
    assert!(!pins.names()?.contains(&name));
    let entries = std::fs::read_dir(pins.path())?.collect::<Result<Vec<_>, _>>()?;
    let left: Vec<_> = entries.iter().map(|entry| entry.path().join("obstacle")).collect();
    let left = left.iter().find(|obstacle| obstacle.exists()).ok_or("what is left")?;
    std::fs::remove_dir(left)?;
    pins.remove_abandoned()?;
    assert!(!left.parent().ok_or("a directory")?.exists());
    Ok(())
}

fn dead() -> Result<(), Failed> {
    let cgroup = scratch();
    let doomed = cgroup.create("doomed")?;
    let (pins, name) = pins("dead");
    publish(&pins, &name, &loaded(&allow()).program, &[&cgroup, &doomed])?;
    let attachment = pins.attachment(&name)?;
    doomed.remove()?;
    eventually("the link is dead", || {
        attachment.link(doomed.id()).unwrap().info().unwrap().cgroup_id.is_none()
    });
    assert_eq!(attachment.links()?.iter().filter(|link| link.is_dead()).count(), 1);
    let alive = attachment.unpin_dead()?;
    assert_eq!(alive.iter().map(|link| link.cgroup_id).collect::<Vec<_>>(), [cgroup.id()]);
    assert_eq!(attachment.links()?, alive);
    pins.remove(&name)?;
    Ok(())
}

fn replaced() -> Result<(), Failed> {
    let (one, other) = (scratch(), scratch());
    let (pins, name) = pins("replaced");
    let (deny, allow) = (loaded(&deny_writes(libc::EPERM)).program, loaded(&allow()).program);
    publish(&pins, &name, &deny, &[&one, &other])?;
    let attachment = pins.attachment(&name)?;
    let mut transaction = Transaction::begin(&attachment, &allow)?;
    transaction.replace(&one)?;
    transaction.replace(&other)?;
    assert_eq!(transaction.replaced_programs().into_iter().collect::<Vec<_>>(), [id(&deny)]);
    transaction.commit();
    assert!(can_write(&one) && can_write(&other));
    assert_eq!(
        [&one, &other].map(|cgroup| cgroup.attached().unwrap().program_ids),
        [[id(&allow)], [id(&allow)]]
    );
    pins.remove(&name)?;
    Ok(())
}

fn undone() -> Result<(), Failed> {
    let (one, other) = (scratch(), scratch());
    let doomed = other.create("doomed")?;
    let (pins, name) = pins("undone");
    let (deny, allow) = (loaded(&deny_writes(libc::EPERM)).program, loaded(&allow()).program);
    publish(&pins, &name, &deny, &[&one, &other, &doomed])?;
    let attachment = pins.attachment(&name)?;
    attachment.link(doomed.id())?.detach()?;

    let mut transaction = Transaction::begin(&attachment, &allow)?;
    transaction.replace(&one)?;
    transaction.replace(&other)?;
    assert!(can_write(&one) && can_write(&other));
    let error = transaction.replace(&doomed).expect_err("it holds nothing");
    assert!(matches!(error, BpffsError::Link(LinkError::Detached { .. })), "{error}");
    transaction.rollback()?;
    assert!(!can_write(&one) && !can_write(&other));
    assert_eq!(
        [&one, &other].map(|cgroup| cgroup.attached().unwrap().program_ids),
        [[id(&deny)], [id(&deny)]]
    );
    pins.remove(&name)?;
    Ok(())
}

fn taken_off() -> Result<(), Failed> {
    let (one, full) = (scratch(), scratch());
    let (pins, _) = pins("taken-off");
    let (deny, allow) = (loaded(&deny_writes(libc::EPERM)).program, loaded(&allow()).program);
    let _full: Vec<Link> = (0..64).map(|_| Link::create(&allow, &full)).collect::<Result<_, _>>()?;
    let new = pins.begin()?;
    let mut transaction = Transaction::begin(&new, &deny)?;
    transaction.attach(&one, LinkSource::Hand, Lateness::Known(false))?;
    let error =
        transaction.attach(&full, LinkSource::Hand, Lateness::Known(false)).expect_err("there is no room");
    assert!(error.to_string().contains(&full.path().display().to_string()), "{error}");
    assert!(!can_write(&one));
    // Dropping a transaction rolls it back.
    drop(transaction);
    assert_eq!(one.attached()?.mode, None);
    assert_eq!(new.links()?, []);
    Ok(())
}

/// A program that refers to these maps.
fn with_maps(maps: Vec<MapDef>) -> Program {
    let relocations: Vec<Relocation> =
        (0..maps.len()).map(|map| Relocation { insn: 2 * map, map, target: MapReference::Map }).collect();
    let loads = maps.iter().flat_map(|_| Insn::load_imm64(Reg::R1, Imm64::Map { fd: 0 }));
    let insns: Vec<Insn> = loads.chain(allow().insns).collect();
    Program { maps, relocations, ..crate::fixtures::program("maps", insns) }
}

fn array(kind: MapKind, max_entries: u32, contents: &[(u32, u32)]) -> MapDef {
    let bytes = |number: u32| number.to_ne_bytes().to_vec();
    MapDef {
        name: "array".to_owned(),
        kind,
        key_size: 4,
        value_size: 4,
        max_entries,
        flags: 0,
        contents: contents.iter().map(|&(key, value)| (bytes(key), bytes(value))).collect(),
        frozen: false,
        ..MapDef::default()
    }
}

/// A program with a program array that contains `callee`.
fn calling(callee: Program) -> Program {
    let callee = Program { maps: Vec::new(), relocations: Vec::new(), ..callee };
    let tail_calls = vec![TailCall { map: 0, index: 1, program: callee }];
    Program { tail_calls, ..with_maps(vec![array(MapKind::ProgArray, 2, &[])]) }
}

fn maps() -> Result<(), Failed> {
    let cgroup = scratch();
    let (pins, name) = pins("maps");
    let [first, second, third] =
        [calling(allow()), calling(deny_writes(1)), allow()].map(|program| loaded(&program));
    let new = pins.begin()?;
    let pin = |transaction: &mut Transaction<'_>, program: &LoadedProgram| {
        let maps: Vec<_> = program.maps.iter().map(|(_, map)| map).collect();
        transaction.pin_maps(&maps)
    };
    let mut transaction = Transaction::begin(&new, &first.program)?;
    pin(&mut transaction, &first)?;
    transaction.attach(&cgroup, LinkSource::Hand, Lateness::Known(false))?;
    transaction.commit();
    new.publish(&name)?;

    let attachment = pins.attachment(&name)?;
    let pinned = || -> Result<Vec<String>, Failed> {
        let names = std::fs::read_dir(attachment.path())?.map(|entry| Ok(entry?.file_name().into_string()));
        let names = names.collect::<std::io::Result<Result<Vec<_>, _>>>()?.map_err(|_| "a name")?;
        Ok(names.into_iter().filter(|name| !name.starts_with("cgroup-")).collect())
    };
    let pin_of = |program: &LoadedProgram| format!("map-{}", program.maps[0].1.info().id);
    assert_eq!(pinned()?, [pin_of(&first)]);
    for (program, commits, expected) in [
        (&second, false, vec![pin_of(&first)]),
        (&second, true, vec![pin_of(&second)]),
        (&third, true, vec![]),
    ] {
        let mut transaction = Transaction::begin(&attachment, &program.program)?;
        pin(&mut transaction, program)?;
        transaction.replace(&cgroup)?;
        if commits {
            transaction.commit();
        } else {
            transaction.rollback()?;
        }
        assert_eq!(pinned()?, expected);
    }
    pins.remove(&name)?;
    Ok(())
}

fn identity() -> Result<(), Failed> {
    use MapKind::{Array, Hash};
    let frozen = |kind, contents: &[(u32, u32)]| MapDef { frozen: true, ..array(kind, 4, contents) };
    let cases = [
        ("nothing differs", allow(), allow(), true),
        ("the code", allow(), deny_writes(1), false),
        ("a number in the code", deny_writes(1), deny_writes(2), false),
        ("the name of a program alone", allow(), Program { name: "other".to_owned(), ..allow() }, true),
        ("no map", with_maps(vec![array(Array, 1, &[])]), allow(), false),
        (
            "the size of a map",
            with_maps(vec![array(Array, 1, &[])]),
            with_maps(vec![array(Array, 2, &[])]),
            false,
        ),
        (
            "the kind of a map",
            with_maps(vec![array(Array, 4, &[])]),
            with_maps(vec![array(Hash, 4, &[])]),
            false,
        ),
        (
            "the content of a frozen map",
            with_maps(vec![frozen(Array, &[(1, 1)])]),
            with_maps(vec![frozen(Array, &[(1, 2)])]),
            false,
        ),
        (
            "a frozen zero",
            with_maps(vec![frozen(Array, &[])]),
            with_maps(vec![frozen(Array, &[(1, 2)])]),
            false,
        ),
        (
            "the order in a hash table",
            with_maps(vec![frozen(Hash, &[(1, 1), (2, 2), (3, 3)])]),
            with_maps(vec![frozen(Hash, &[(3, 3), (2, 2), (1, 1)])]),
            true,
        ),
        (
            "variables",
            with_maps(vec![array(Array, 1, &[(0, 1)])]),
            with_maps(vec![array(Array, 1, &[(0, 2)])]),
            false,
        ),
        (
            "variables that started as zeroes",
            with_maps(vec![array(Array, 1, &[])]),
            with_maps(vec![array(Array, 1, &[(0, 2)])]),
            true,
        ),
        (
            "collected data",
            with_maps(vec![array(Hash, 4, &[])]),
            with_maps(vec![array(Hash, 4, &[(7, 7)])]),
            true,
        ),
        ("the same tail calls", calling(deny_writes(1)), calling(deny_writes(1)), true),
        ("other tail calls", calling(deny_writes(1)), calling(deny_writes(2)), false),
    ];
    for (what, fresh, other, same) in cases {
        let (fresh, other) = (loaded(&fresh), loaded(&other));
        assert_eq!(fresh.program.is_same_as(&other.program)?, same, "{what}");
    }
    Ok(())
}
