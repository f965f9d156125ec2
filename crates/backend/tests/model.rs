//! The rules of all backends, on the model.

use std::error::Error;

use knobgate_backend::{
    Attached, Backend, CgroupId, MapId, ModelBackend, Placement, RelativeTo, Request, StepError, Task,
};
use knobgate_bpf::{Assembler, MapDef, MapKind, Program, Reg, Size, helper_ids};
use knobgate_hook::{AccessMode, AttachMode, Errno, Hook};

fn model(cpus: u32) -> ModelBackend {
    ModelBackend::new(Hook::default(), cpus).expect("a new hook")
}

fn map(kind: MapKind, value_size: u32, contents: &[u8]) -> MapDef {
    MapDef {
        name: "map".to_owned(),
        kind,
        key_size: 4,
        value_size,
        max_entries: 1,
        flags: 0,
        contents: vec![(vec![0; 4], contents.to_vec())],
        frozen: false,
        ..MapDef::default()
    }
}

/// Returns this verdict.
fn returning(verdict: i32) -> Program {
    let mut asm = Assembler::new();
    asm.mov(Reg::R0, verdict);
    asm.exit();
    Program { name: "verdict".to_owned(), ..Program::from(asm.finish(true).expect("it assembles")) }
}

/// Keeps the user, the group and the name of the task in a map.
fn who() -> Program {
    let mut asm = Assembler::new();
    asm.call_helper(helper_ids::GET_CURRENT_UID_GID);
    asm.load_map_value(Reg::R6, 0, 0);
    asm.store(Size::U64, Reg::R6, 0, Reg::R0);
    asm.load_map_value(Reg::R1, 0, 8);
    asm.mov(Reg::R2, 16);
    asm.call_helper(helper_ids::GET_CURRENT_COMM);
    asm.mov(Reg::R0, 1);
    asm.exit();
    let maps = vec![map(MapKind::Array, 24, &[0; 24])];
    Program { name: "who".to_owned(), maps, ..Program::from(asm.finish(true).expect("it assembles")) }
}

#[track_caller]
fn fails<T>(result: Result<T, StepError>, errno: Errno) {
    match result {
        Err(StepError::Errno(number)) => assert_eq!(number, errno.number() as i32),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it does not fail"),
    }
}

#[test]
fn ids_are_not_reused_and_become_invalid() -> Result<(), StepError> {
    let mut model = model(1);
    let program = model.load(&returning(1), None)?;
    let first = model.link(CgroupId::SCRATCH, program, &Placement::default())?;
    model.close_link(first)?;
    let second = model.link(CgroupId::SCRATCH, program, &Placement::default())?;
    assert_ne!(first, second);
    fails(model.update_link(first, program), Errno::EBADF);
    let file = model.open("net/core/somaxconn", AccessMode::Read, CgroupId::SCRATCH)?;
    model.close(file)?;
    fails(model.seek(file, 0), Errno::EBADF);
    let child = model.create_cgroup(CgroupId::SCRATCH, "child")?;
    model.remove_cgroup(child)?;
    fails(model.effective(child), Errno::EBADF);
    Ok(())
}

#[test]
fn attached_programs_are_listed_in_order() -> Result<(), StepError> {
    let mut model = model(1);
    let [one, two] = [model.load(&returning(1), None)?, model.load(&returning(1), None)?];
    let child = model.create_cgroup(CgroupId::SCRATCH, "child")?;
    model.attach(child, one, AttachMode::Multi, &Placement::default())?;
    let relative_to = Some(RelativeTo::Program(one));
    let before = Placement { before: true, relative_to, ..Placement::default() };
    model.attach(child, two, AttachMode::Multi, &before)?;
    let attached = Attached { mode: Some(AttachMode::Multi), programs: vec![two, one], revision: Some(3) };
    assert_eq!(model.attached(child)?, attached);
    assert_eq!(model.effective(child)?, [two, one]);
    fails(
        model.attach(
            child,
            one,
            AttachMode::Single,
            &Placement { replaced: Some(two), ..Placement::default() },
        ),
        Errno::EINVAL,
    );
    Ok(())
}

#[test]
fn a_program_sees_the_task_of_the_cgroup() -> Result<(), StepError> {
    let mut model = model(1);
    let program = model.load(&who(), None)?;
    model.link(CgroupId::SCRATCH, program, &Placement::default())?;
    model.set_task(CgroupId::SCRATCH, &Task { uid: 7, gid: 9, comm: b"seven".to_vec() })?;
    let read = Request::Read { count: 64, fill: 0 };
    model.access_knob(CgroupId::SCRATCH, "kernel/domainname", read, 0, false)?;
    let seen = &model.entries(model.maps(program)?[0])?[0].1;
    assert_eq!(seen[..8], [7, 0, 0, 0, 9, 0, 0, 0]);
    assert_eq!(&seen[8..16], b"seven\0\0\0");
    Ok(())
}

#[test]
fn an_access_at_a_position_does_not_move_the_descriptor() -> Result<(), StepError> {
    let mut model = model(1);
    let file = model.open("kernel/domainname", AccessMode::ReadWrite, CgroupId::SCRATCH)?;
    let at = model.access(file, CgroupId::SCRATCH, Request::Write(b"abc\n"), Some(0))?;
    assert_eq!((at.returned, at.position), (4, 0));
    let moving = model.access(file, CgroupId::SCRATCH, Request::Read { count: 64, fill: 0 }, None)?;
    assert_eq!((moving.returned, moving.position, &moving.data[..]), (4, 4, &b"abc\n"[..]));
    assert_eq!(model.value("kernel/domainname")?.as_deref(), Some(&b"abc\n"[..]));
    Ok(())
}

#[test]
fn per_cpu_values_are_those_of_all_cpus_or_of_the_one_that_accesses_are_made_on() -> Result<(), StepError> {
    let mut model = model(2);
    let map = model.create_map(&map(MapKind::PercpuArray, 2, &[1, 2]))?;
    let padded = [1, 2, 0, 0, 0, 0, 0, 0];
    assert_eq!(model.entries(map)?, [(vec![0; 4], [padded, padded].concat())]);
    assert_eq!(model.entries_of_cpu(map)?, [(vec![0; 4], vec![1, 2])]);
    Ok(())
}

#[test]
fn unloading_a_program_removes_its_own_maps() -> Result<(), StepError> {
    let mut model = model(1);
    let shared = model.create_map(&map(MapKind::Array, 24, &[0; 24]))?;
    let [own, sharing] = [model.load(&who(), None)?, model.load(&who(), Some(&[shared]))?];
    let maps = model.maps(own)?.to_vec();
    model.unload(own)?;
    model.unload(sharing)?;
    fails(model.entries(maps[0]), Errno::EBADF);
    assert!(model.entries(shared).is_ok());
    Ok(())
}

#[test]
fn a_program_that_is_rejected_leaves_no_memory_taken() -> Result<(), StepError> {
    let mut model = model(1);
    let large = MapDef { max_entries: 100, ..map(MapKind::Array, 1 << 20, &[0; 1 << 20]) };
    let larger = MapDef { max_entries: 200, ..large.clone() };
    let without_result = Program { insns: returning(1).insns[1..].to_vec(), ..returning(1) };
    for maps in [vec![large.clone(), larger], vec![large.clone()]] {
        for _ in 0..3 {
            let rejected = model.load(&Program { maps: maps.clone(), ..without_result.clone() }, None);
            let Err(StepError::Rejected { errno, .. }) = rejected else { panic!("{rejected:?}") };
            let expected = if maps.len() == 2 { Errno::ENOMEM } else { Errno::EACCES };
            assert_eq!(errno, Some(expected.number() as i32));
        }
    }
    let loaded = model.load(&Program { maps: vec![large], ..returning(1) }, None)?;
    assert_eq!(model.maps(loaded)?, [MapId::from(0)]);
    Ok(())
}

#[test]
fn a_program_that_is_attached_is_not_unloaded() -> Result<(), StepError> {
    let mut model = model(1);
    let denying = model.load(&returning(0), None)?;
    let link = model.link(CgroupId::SCRATCH, denying, &Placement::default())?;
    fails(model.unload(denying), Errno::EBUSY);
    let read = Request::Read { count: 64, fill: 0 };
    assert_eq!(model.access_knob(CgroupId::SCRATCH, "kernel/domainname", read, 0, false)?.returned, -1);
    model.close_link(link)?;
    model.unload(denying)?;
    fails(model.unload(denying), Errno::EBADF);
    Ok(())
}

#[test]
fn a_cgroup_with_a_child_stays_and_so_does_its_task() -> Result<(), StepError> {
    let mut model = model(1);
    let parent = model.create_cgroup(CgroupId::SCRATCH, "parent")?;
    let child = model.create_cgroup(parent, "child")?;
    let program = model.load(&who(), None)?;
    model.link(parent, program, &Placement::default())?;
    model.set_task(parent, &Task { uid: 7, ..Task::default() })?;
    fails(model.remove_cgroup(parent), Errno::EBUSY);
    let read = Request::Read { count: 64, fill: 0 };
    model.access_knob(parent, "kernel/domainname", read, 0, false)?;
    assert_eq!(model.entries(model.maps(program)?[0])?[0].1[0], 7);
    model.remove_cgroup(child)?;
    model.remove_cgroup(parent)
}

#[test]
fn after_the_end_every_id_is_invalid() -> Result<(), StepError> {
    let mut model = model(1);
    let program = model.load(&who(), None)?;
    let map = model.maps(program)?[0];
    model.finish().map_err(StepError::Backend)?;
    fails(model.create_cgroup(CgroupId::SCRATCH, "child"), Errno::EBADF);
    fails(model.unload(program), Errno::EBADF);
    fails(model.entries(map), Errno::EBADF);
    Ok(())
}

#[test]
fn a_backend_that_has_failed_names_the_reason_as_the_source() {
    let error = StepError::Backend("no memory".into());
    assert_eq!(error.to_string(), "the backend has failed");
    assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("no memory"));
}

#[test]
fn a_pinned_map_that_differs_from_the_definition_is_the_reason() {
    let mut backend = ModelBackend::new(Hook::default(), 2).expect("a new hook");
    let pinned = |max_entries| MapDef {
        name: "shared".to_owned(),
        key_size: 4,
        value_size: 8,
        max_entries,
        pinned_by_name: true,
        ..MapDef::default()
    };
    let map = backend.create_map(&pinned(2)).expect("a map");
    let insns =
        knobgate_bpf::decode(&[0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]).expect("a program");
    let with = |max_entries| Program {
        name: "other".to_owned(),
        insns: insns.clone(),
        maps: vec![pinned(max_entries)],
        ..Program::default()
    };
    backend.load(&with(2), Some(&[map])).expect("the same map");
    match backend.load(&with(3), Some(&[map])) {
        Err(StepError::Rejected { errno, log }) => {
            assert_eq!(errno, Some(Errno::EINVAL.number() as i32));
            assert_eq!(log.reason, "the map pinned as shared cannot be used: its max_entries is 2, not 3");
        }
        other => panic!("{other:?}"),
    }
}
