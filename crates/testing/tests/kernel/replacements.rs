//! A link replaces only programs without cgroup storage, and it replaces the right one.
//!
//! No program here calls `bpf_get_local_storage`. They only refer to the map, for which the kernel allocates storage
//! when it attaches them, so nothing dereferences the null pointer of a wrong update. Without the check, these tests
//! fail but the machine does not crash. The cgroups have no processes, either.

use knobgate_bpf::{Imm64, Insn, MapDef, MapKind, MapReference, Program, Reg, Relocation, TailCall};
use knobgate_kernel::{
    AttachMode, AttachPosition, BpffsError, Lateness, Link, LinkError, LinkSource, LoadError, LoadOptions,
    Map, ProgramFd, Transaction, create_map, link_update, load_with_maps, prog_attach,
};
use knobgate_testing::{profile, scratch};
use libtest_mimic::Failed;

use crate::fixtures::{allow, id, pins};

pub(crate) const TESTS: &[super::Test] = &[
    ("a_link_replaces_only_programs_without_cgroup_storage", update),
    ("a_transaction_replaces_its_own_program_next_to_one_with_preorder", preordered),
    ("a_transaction_rejects_cgroup_storage_and_rolls_back", rollback),
    ("a_program_array_rejects_a_program_with_storage_that_its_caller_lacks", tail_call),
    ("a_program_attached_without_a_link_can_be_replaced_by_one_with_cgroup_storage", replace_attached),
];

fn storage(name: &str, kind: MapKind) -> MapDef {
    MapDef {
        name: name.to_owned(),
        kind,
        key_size: 8,
        value_size: 8,
        max_entries: 0,
        flags: 0,
        contents: Vec::new(),
        frozen: false,
        ..MapDef::default()
    }
}

fn map(name: &str, kind: MapKind) -> Map {
    create_map("the test", &storage(name, kind)).expect("a map")
}

/// A program that allows everything. It has these maps, and refers to them or not.
fn with(maps: &[&Map], refers: bool) -> ProgramFd {
    let defs: Vec<MapDef> = maps
        .iter()
        .map(|map| storage("storage", MapKind::from_number(map.info().kind).expect("a kind")))
        .collect();
    let used = if refers { defs.len() } else { 0 };
    let relocations = (0..used).map(|map| Relocation { insn: 2 * map, map, target: MapReference::Map });
    let loads = (0..used).flat_map(|_| Insn::load_imm64(Reg::R1, Imm64::Map { fd: 0 }));
    let program = Program {
        maps: defs,
        relocations: relocations.collect(),
        ..crate::fixtures::program("storage", loads.chain(allow().insns))
    };
    let maps = maps.iter().map(|map| map.try_clone().expect("another descriptor"));
    load_with_maps(&program, maps.collect(), &LoadOptions::default()).expect("it loads").program
}

fn update() -> Result<(), Failed> {
    let (one, other) = (map("one", MapKind::CgroupStorage), map("other", MapKind::CgroupStorage));
    let per_cpu = map("per_cpu", MapKind::PercpuCgroupStorage);
    let none = with(&[], true);
    let cases = [
        ("none, and none again", &none, with(&[], true), true),
        ("none, and a map", &none, with(&[&one], true), false),
        ("none, and a map per CPU", &none, with(&[&per_cpu], true), false),
        ("a map, and none", &with(&[&one], true), with(&[], true), false),
        ("two maps of one kind", &with(&[&one], true), with(&[&other], true), false),
        ("one map more", &with(&[&one], true), with(&[&one, &per_cpu], true), false),
        ("the same map", &with(&[&one], true), with(&[&one], true), false),
        // Both list the map, but one has no storage. Comparing the lists would not notice that.
        ("the same map, which one does not use", &with(&[&one], false), with(&[&one], true), false),
    ];
    for (what, old, new, allowed) in cases {
        let cgroup = scratch();
        let link = Link::create(old, &cgroup)?;
        let before = cgroup.attached()?;
        assert_eq!(old.check_replaced_by(&new).is_ok(), allowed, "{what}");
        if allowed {
            link.update(old, &new)?;
            link_update(&link, old)?;
            assert_eq!(link.info()?.program_id, id(old), "{what}");
            continue;
        }
        let error = link.update(old, &new).expect_err(what);
        assert!(matches!(error, LinkError::CgroupStorage { .. }), "{what}: {error}");
        assert!(error.to_string().contains("crash the machine"), "{what}: {error}");
        let same = link_update(&link, &new).expect_err(what);
        assert_eq!((same.to_string(), same.raw_os_error()), (error.to_string(), None), "{what}");
        // An update would change the revision.
        assert_eq!(cgroup.attached()?, before, "{what}");
    }
    Ok(())
}

fn rollback() -> Result<(), Failed> {
    let (plain, storage) = (scratch(), scratch());
    let (pins, name) = pins("storage");
    let (none, new) = (with(&[], true), with(&[], true));
    let stored = with(&[&map("one", MapKind::CgroupStorage)], true);
    let begun = pins.begin()?;
    let mut first = Transaction::begin(&begun, &none)?;
    first.attach(&plain, LinkSource::Hand, Lateness::Known(false))?;
    first.commit();
    let mut second = Transaction::begin(&begun, &stored)?;
    second.attach(&storage, LinkSource::Hand, Lateness::Known(false))?;
    second.commit();
    begun.publish(&name)?;

    let attachment = pins.attachment(&name)?;
    let mut transaction = Transaction::begin(&attachment, &new)?;
    transaction.replace(&plain)?;
    let error = transaction.replace(&storage).expect_err("it has storage");
    assert!(matches!(error, BpffsError::Link(LinkError::CgroupStorage { .. })), "{error}");
    transaction.rollback()?;
    let programs = [&plain, &storage].map(|cgroup| cgroup.attached().expect("a query").program_ids);
    assert_eq!(programs, [[id(&none)], [id(&stored)]]);
    pins.remove(&name)?;
    Ok(())
}

/// Some kernels replace the other program here, and then keep running a program without a reference.
fn preordered() -> Result<(), Failed> {
    for is_above in [false, true] {
        let above = scratch();
        let cgroup = above.create("replaced")?;
        let below = cgroup.create("below")?;
        let (pins, name) = pins(if is_above { "preordered-above" } else { "preordered" });
        let (old, new, other) = (with(&[], true), with(&[], true), with(&[], true));
        let begun = pins.begin()?;
        let mut first = Transaction::begin(&begun, &old)?;
        first.attach(&cgroup, LinkSource::Hand, Lateness::Known(false))?;
        first.commit();
        begun.publish(&name)?;
        let preorder = AttachPosition { preorder: profile().preorder, ..AttachPosition::default() };
        prog_attach(&other, if is_above { &above } else { &cgroup }, AttachMode::Multi, &preorder)?;
        let assert_effective = |program: &ProgramFd| {
            let expected =
                if preorder.preorder { [id(&other), id(program)] } else { [id(program), id(&other)] };
            for cgroup in [&cgroup, &below] {
                let effective = cgroup.effective().expect("a query");
                assert_eq!(effective[..2], expected, "{}", cgroup.path().display());
            }
            let attached = cgroup.attached().expect("a query").program_ids;
            assert_eq!(attached.len(), if is_above { 1 } else { 2 }, "temporary programs are detached");
        };
        assert_effective(&old);

        let attachment = pins.attachment(&name)?;
        let mut transaction = Transaction::begin(&attachment, &new)?;
        transaction.replace(&cgroup)?;
        assert_effective(&new);
        transaction.rollback()?;
        assert_effective(&old);
        let mut transaction = Transaction::begin(&attachment, &new)?;
        transaction.replace(&cgroup)?;
        transaction.commit();
        assert_effective(&new);
        pins.remove(&name)?;
        below.remove()?;
        cgroup.remove()?;
    }
    Ok(())
}

fn tail_call() -> Result<(), Failed> {
    let refers = |insn, map| Relocation { insn, map, target: MapReference::Map };
    let array = MapDef { key_size: 4, value_size: 4, max_entries: 1, ..storage("calls", MapKind::ProgArray) };
    let load = || Insn::load_imm64(Reg::R1, Imm64::Map { fd: 0 });
    let callee = Program {
        relocations: vec![refers(0, 1)],
        ..crate::fixtures::program("callee", load().into_iter().chain(allow().insns))
    };
    for (what, relocations, taken) in [
        ("the caller uses it", vec![refers(0, 0), refers(2, 1)], true),
        ("the caller does not use it", vec![refers(0, 0), refers(2, 0)], false),
    ] {
        let program = Program {
            maps: vec![array.clone(), storage("storage", MapKind::CgroupStorage)],
            relocations,
            tail_calls: vec![TailCall { map: 0, index: 0, program: callee.clone() }],
            ..crate::fixtures::program("caller", load().into_iter().chain(load()).chain(allow().insns))
        };
        match knobgate_kernel::load(&program, &LoadOptions::default()) {
            Ok(_) => assert!(taken, "{what}"),
            Err(LoadError::StorageMismatch { callee, map, .. }) => {
                assert_eq!((taken, callee.as_str(), map.as_str()), (false, "callee", "storage"), "{what}");
            }
            Err(error) => return Err(format!("{what}: {error}").into()),
        }
    }
    Ok(())
}

fn replace_attached() -> Result<(), Failed> {
    let cgroup = scratch();
    let (none, stored) = (with(&[], true), with(&[&map("one", MapKind::CgroupStorage)], true));
    prog_attach(&none, &cgroup, AttachMode::Multi, &AttachPosition::default())?;
    prog_attach(
        &stored,
        &cgroup,
        AttachMode::Multi,
        &AttachPosition { replaced: Some(&none), ..AttachPosition::default() },
    )?;
    assert_eq!(cgroup.attached()?.program_ids, [id(&stored)]);
    Ok(())
}
