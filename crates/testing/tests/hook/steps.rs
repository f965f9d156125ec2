//! Steps that fail, and steps after them: the same on both.

use knobgate_backend::{
    ACCESS_MAX, Backend, CgroupId, FileId, LinkId, MapId, Placement, Request, StepError, StepResult, Task,
};
use knobgate_bpf::uapi::BPF_F_NO_PREALLOC;
use knobgate_bpf::{Insn, MapDef, MapKind, Program, Reg, Width};
use knobgate_hook::{AccessMode, AttachMode, Errno, Knobs};
use knobgate_testing::{Both, profile};

const SCRATCH: CgroupId = CgroupId::SCRATCH;
const DOMAIN: &str = "kernel/domainname";
const READ: Request<'_> = Request::Read { count: 64, fill: 0 };

type Steps<T> = fn(&mut dyn Backend) -> StepResult<T>;

/// Steps of which the last one fails, and its errno.
const FAILING: &[(&str, Errno, Steps<()>)] = &[
    ("a cgroup in none", Errno::EBADF, |backend| created(backend, no(), "child")),
    ("a cgroup without a name", Errno::EINVAL, |backend| created(backend, SCRATCH, "")),
    ("a cgroup with the name .", Errno::EINVAL, |backend| created(backend, SCRATCH, ".")),
    ("a cgroup with the name ..", Errno::EINVAL, |backend| created(backend, SCRATCH, "..")),
    ("a cgroup of two components", Errno::EINVAL, |backend| created(backend, SCRATCH, "a/b")),
    ("a NUL in a cgroup's name", Errno::EINVAL, |backend| created(backend, SCRATCH, "a\0b")),
    ("a newline in a cgroup's name", Errno::EINVAL, |backend| created(backend, SCRATCH, "a\nb")),
    ("a cgroup with a long name", Errno::ENAMETOOLONG, |backend| {
        created(backend, SCRATCH, &"a".repeat(4096))
    }),
    ("a cgroup that exists", Errno::EEXIST, |backend| {
        created(backend, SCRATCH, "child")?;
        created(backend, SCRATCH, "child")
    }),
    ("removing no cgroup", Errno::EBADF, |backend| backend.remove_cgroup(no())),
    ("removing the scratch cgroup", Errno::EBUSY, |backend| backend.remove_cgroup(SCRATCH)),
    ("removing a parent", Errno::EBUSY, |backend| {
        let parent = backend.create_cgroup(SCRATCH, "parent")?;
        created(backend, parent, "child")?;
        backend.remove_cgroup(parent)
    }),
    ("a cgroup in one that was removed", Errno::EBADF, |backend| {
        let removed = removed(backend)?;
        created(backend, removed, "child")
    }),
    ("a task of no cgroup", Errno::EBADF, |backend| backend.set_task(no(), &Task::default())),
    ("no user", Errno::EINVAL, |backend| {
        backend.set_task(SCRATCH, &Task { uid: u32::MAX, ..Task::default() })
    }),
    ("no group", Errno::EINVAL, |backend| {
        backend.set_task(SCRATCH, &Task { gid: u32::MAX, ..Task::default() })
    }),
    ("a task with a long name", Errno::EINVAL, |backend| {
        backend.set_task(SCRATCH, &Task { comm: vec![b'a'; 16], ..Task::default() })
    }),
    ("a NUL in a task's name", Errno::EINVAL, |backend| {
        backend.set_task(SCRATCH, &Task { comm: b"a\0b".to_vec(), ..Task::default() })
    }),
    ("a hash table without keys", Errno::EINVAL, |backend| {
        backend.create_map(&MapDef { key_size: 0, ..map(MapKind::Hash, 4) }).map(drop)
    }),
    ("no program's maps", Errno::EBADF, |backend| backend.maps(no()).map(drop)),
    ("a program without a result", Errno::EACCES, |backend| backend.load(&rejected(), None).map(drop)),
    ("too few maps", Errno::EINVAL, |backend| loaded_with(backend, &[])),
    ("too many maps", Errno::EINVAL, |backend| {
        loaded_with(backend, &[map(MapKind::Array, 8), map(MapKind::Array, 8)])
    }),
    ("a map of another size", Errno::EINVAL, |backend| loaded_with(backend, &[map(MapKind::Array, 100)])),
    ("a map of another kind", Errno::EINVAL, |backend| loaded_with(backend, &[map(MapKind::Hash, 8)])),
    ("no map", Errno::EBADF, |backend| backend.load(&with_map(), Some(&[no()])).map(drop)),
    ("unloading no program", Errno::EBADF, |backend| backend.unload(no())),
    ("unloading a program that is attached", Errno::EBUSY, |backend| {
        let program = backend.load(&returning(1), None)?;
        backend.attach(SCRATCH, program, AttachMode::Multi, &Placement::default())?;
        backend.unload(program)
    }),
    ("unloading a program that is linked", Errno::EBUSY, |backend| {
        let program = backend.load(&returning(1), None)?;
        let child = backend.create_cgroup(SCRATCH, "child")?;
        backend.link(child, program, &Placement::default())?;
        backend.unload(program)
    }),
    ("attaching no program", Errno::EBADF, |backend| {
        backend.attach(SCRATCH, no(), AttachMode::Multi, &Placement::default())
    }),
    ("detaching a program that is not attached", Errno::ENOENT, |backend| {
        let program = backend.load(&returning(1), None)?;
        backend.detach(SCRATCH, program)
    }),
    ("a link that replaces a program", Errno::EINVAL, |backend| {
        let program = backend.load(&returning(1), None)?;
        let replacing = Placement { replaced: Some(program), ..Placement::default() };
        backend.link(SCRATCH, program, &replacing).map(drop)
    }),
    ("closing no link", Errno::EBADF, |backend| backend.close_link(LinkId::from(99))),
    ("the programs of no cgroup", Errno::EBADF, |backend| backend.attached(no()).map(drop)),
    ("opening for no cgroup", Errno::EBADF, |backend| backend.open(DOMAIN, AccessMode::Read, no()).map(drop)),
    ("opening for a cgroup that was removed", Errno::EBADF, |backend| {
        let removed = removed(backend)?;
        backend.open(DOMAIN, AccessMode::Read, removed).map(drop)
    }),
    ("a knob without a name", Errno::EINVAL, |backend| opened(backend, "", AccessMode::Read)),
    ("a file that is no knob", Errno::EINVAL, |backend| opened(backend, "../cmdline", AccessMode::Read)),
    ("a knob after all", Errno::EINVAL, |backend| {
        opened(backend, "net/../kernel/domainname", AccessMode::Read)
    }),
    ("an absolute path", Errno::EINVAL, |backend| opened(backend, "/kernel/domainname", AccessMode::Read)),
    ("a NUL in a knob's name", Errno::EINVAL, |backend| {
        opened(backend, "kernel/domain\0name", AccessMode::Read)
    }),
    ("a knob with a long name", Errno::ENOENT, |backend| {
        opened(backend, &format!("kernel/{}", "a".repeat(256)), AccessMode::Read)
    }),
    ("a knob with a long path", Errno::ENAMETOOLONG, |backend| {
        opened(backend, &["a"; 2048].join("/"), AccessMode::Read)
    }),
    ("a knob that does not exist", Errno::ENOENT, |backend| opened(backend, "kernel/none", AccessMode::Read)),
    ("a directory", Errno::EISDIR, |backend| opened(backend, "kernel", AccessMode::Read)),
    ("a directory to write to", Errno::EISDIR, |backend| opened(backend, "kernel", AccessMode::Write)),
    ("a knob below a knob", Errno::ENOTDIR, |backend| {
        opened(backend, "kernel/domainname/a", AccessMode::Read)
    }),
    ("a knob that nobody may write", Errno::EACCES, |backend| {
        opened(backend, "kernel/ostype", AccessMode::Write)
    }),
    ("setting no knob", Errno::ENOENT, |backend| backend.set_value("kernel/none", b"1").map(drop)),
    ("setting a file that is no knob", Errno::EINVAL, |backend| {
        backend.set_value("../cmdline", b"1").map(drop)
    }),
    ("a position before the start", Errno::EINVAL, |backend| {
        let file = backend.open(DOMAIN, AccessMode::Read, SCRATCH)?;
        backend.seek(file, -1)
    }),
    ("a position of no file", Errno::EBADF, |backend| backend.seek(FileId::from(99), 0)),
    ("an access to no file", Errno::EBADF, |backend| {
        backend.access(FileId::from(99), SCRATCH, READ, None).map(drop)
    }),
    ("an access by nobody", Errno::EBADF, |backend| {
        let file = backend.open(DOMAIN, AccessMode::Read, SCRATCH)?;
        backend.access(file, no(), READ, None).map(drop)
    }),
    ("a read of more than is possible", Errno::E2BIG, |backend| {
        let read = Request::Read { count: ACCESS_MAX + 1, fill: 0 };
        backend.access_knob(SCRATCH, DOMAIN, read, 0, false).map(drop)
    }),
    ("a write of more than is possible", Errno::E2BIG, |backend| {
        let bytes = vec![b'a'; ACCESS_MAX + 1];
        backend.access_knob(SCRATCH, DOMAIN, Request::Write(&bytes), 0, false).map(drop)
    }),
    ("the entries of no map", Errno::EBADF, |backend| backend.entries(no()).map(drop)),
    ("more entries than are listed", Errno::E2BIG, |backend| {
        let map = backend.create_map(&MapDef { max_entries: 65_537, ..map(MapKind::Array, 1) })?;
        backend.entries(map).map(drop)
    }),
    ("an entry of no map", Errno::EBADF, |backend| backend.update_map(no(), &[0; 4], &[0; 8])),
    ("a third entry of two", Errno::E2BIG, |backend| filled(backend, MapKind::Hash, 4)),
    ("an index after the last", Errno::E2BIG, |backend| filled(backend, MapKind::Array, 4)),
    ("a third prefix of two", Errno::ENOSPC, |backend| {
        let trie = backend.create_map(&trie())?;
        (0..3).try_for_each(|byte| backend.update_map(trie, &[32, 0, 0, 0, byte, 0, 0, 0], &[0; 8]))
    }),
    ("a prefix that is longer than the key", Errno::EINVAL, |backend| {
        let trie = backend.create_map(&trie())?;
        backend.update_map(trie, &[33, 0, 0, 0, 1, 0, 0, 0], &[0; 8])
    }),
    ("a short key", Errno::EINVAL, |backend| stored(backend, MapKind::Hash, &[0], &[0; 8])),
    ("a long value", Errno::EINVAL, |backend| stored(backend, MapKind::Array, &[0; 4], &[0; 9])),
    ("a value of one CPU", Errno::EINVAL, |backend| {
        let map = backend.create_map(&map(MapKind::PercpuArray, 4))?;
        backend.update_map(map, &[0; 4], &[0; 4])
    }),
    ("a value of a queue", Errno::EINVAL, |backend| {
        let map = backend.create_map(&MapDef { key_size: 0, ..map(MapKind::Queue, 8) })?;
        backend.update_map(map, &[], &[0; 8])
    }),
    ("an entry of a frozen map", Errno::EPERM, |backend| {
        let map = backend.create_map(&MapDef { frozen: true, ..map(MapKind::Array, 8) })?;
        backend.update_map(map, &[0; 4], &[0; 8])
    }),
    ("flags that a type of map does not have", Errno::EINVAL, |backend| {
        // All that the kernel accepts for a type are accepted by both, and no others: the first error is the result.
        let mut result = Ok(());
        for kind in
            [MapKind::Hash, MapKind::Array, MapKind::PercpuHash, MapKind::PercpuArray, MapKind::LruHash]
        {
            for bit in (0..32).filter(|bit| ![6, 8, 16].contains(bit)) {
                let def = MapDef { flags: 1 << bit, ..map(kind, 8) };
                let made = backend.create_map(&def).map(drop);
                if made.is_ok() != (kind.invalid_flags(1 << bit) == 0) {
                    return Ok(());
                }
                result = result.and(made);
            }
        }
        result
    }),
    ("a map in an array without maps", Errno::EINVAL, |backend| {
        let map = backend.create_map(&map(MapKind::Array, 4))?;
        backend.put_map(map, &[0; 4], map)
    }),
    ("a map in a map of others", Errno::EINVAL, |backend| put(backend, MapKind::ArrayOfMaps, 1, &trie())),
    ("a longer array in a map of arrays", Errno::EINVAL, |backend| {
        put(backend, MapKind::HashOfMaps, 1, &MapDef { max_entries: 3, ..map(MapKind::Array, 8) })
    }),
    ("a third map in an array of two", Errno::E2BIG, |backend| {
        put(backend, MapKind::ArrayOfMaps, 3, &map(MapKind::Array, 8))
    }),
    ("a third map in a hash of two", Errno::E2BIG, |backend| {
        put(backend, MapKind::HashOfMaps, 3, &map(MapKind::Array, 8))
    }),
    ("bytes in an array of maps", Errno::EINVAL, |backend| {
        let outer = backend.create_map(&of_maps(MapKind::ArrayOfMaps))?;
        backend.update_map(outer, &[0; 4], &[0; 4])
    }),
];

/// Steps that succeed, some after one that fails.
const OTHERS: &[(&str, Steps<String>)] = &[
    ("a cgroup that is not removed is as before", |backend| {
        let parent = backend.create_cgroup(SCRATCH, "parent")?;
        let child = backend.create_cgroup(parent, "child")?;
        let denying = backend.load(&returning(0), None)?;
        backend.link(parent, denying, &Placement::default())?;
        let failed = errno(backend.remove_cgroup(parent))?;
        let denied = backend.access_knob(parent, DOMAIN, READ, 0, false)?;
        let attached = backend.attached(parent)?;
        backend.remove_cgroup(child)?;
        backend.remove_cgroup(parent)?;
        Ok(format!("{failed:?} {denied:?} {attached:?}"))
    }),
    ("nothing is left of a program that is rejected", |backend| {
        let mut program = with_map();
        program.insns.clone_from(&rejected().insns);
        for _ in 0..3 {
            errno(backend.load(&program, None).map(drop))?;
        }
        let loaded = backend.load(&with_map(), None)?;
        let next = errno(backend.entries(MapId::from(1)).map(drop))?;
        Ok(format!("{loaded:?} {:?} {next:?}", backend.maps(loaded)?))
    }),
    ("a program that was not unloaded still denies", |backend| {
        let denying = backend.load(&returning(0), None)?;
        backend.attach(SCRATCH, denying, AttachMode::Multi, &Placement::default())?;
        let failed = errno(backend.unload(denying))?;
        let denied = backend.access_knob(SCRATCH, DOMAIN, READ, 0, false)?;
        backend.detach(SCRATCH, denying)?;
        backend.unload(denying)?;
        let passes = backend.access_knob(SCRATCH, DOMAIN, READ, 0, false)?.returned > 0;
        Ok(format!("{failed:?} {denied:?} {passes}"))
    }),
    ("a task stays the same after one that cannot be", |backend| {
        let long = Task { comm: vec![b'a'; 16], ..Task::default() };
        let failed = errno(backend.set_task(SCRATCH, &long))?;
        Ok(format!("{failed:?} {}", backend.access_knob(SCRATCH, DOMAIN, READ, 0, false)?.returned > 0))
    }),
    ("a cgroup has a name of any length that a path can have", |backend| {
        for length in [255, 256, 4095] {
            let cgroup = backend.create_cgroup(SCRATCH, &"a".repeat(length))?;
            backend.access_knob(cgroup, DOMAIN, READ, 0, false)?;
            backend.remove_cgroup(cgroup)?;
        }
        Ok(String::new())
    }),
    ("nothing is left in the end", |backend| {
        let program = backend.load(&with_map(), None)?;
        let file = backend.open(DOMAIN, AccessMode::Read, SCRATCH)?;
        backend.finish().map_err(StepError::Backend)?;
        let failed = [
            backend.create_cgroup(SCRATCH, "child").map(drop),
            backend.link(SCRATCH, program, &Placement::default()).map(drop),
            backend.open(DOMAIN, AccessMode::Read, SCRATCH).map(drop),
            backend.seek(file, 0),
            backend.maps(program).map(drop),
            backend.entries(MapId::from(0)).map(drop),
        ];
        let failed = failed.into_iter().map(errno).collect::<StepResult<Vec<_>>>()?;
        backend.finish().map_err(StepError::Backend)?;
        Ok(format!("{failed:?}"))
    }),
    ("maps without values of bytes", |backend| {
        let kinds = [MapKind::ProgArray, MapKind::PerfEventArray, MapKind::CgroupArray];
        let listed = kinds.map(|kind| {
            let map = backend.create_map(&map(kind, 4))?;
            let failed = errno(backend.update_map(map, &[0; 4], &[0xff; 4]))?;
            Ok((failed, errno(backend.entries(map).map(drop))?))
        });
        Ok(format!("{:?}", listed.into_iter().collect::<StepResult<Vec<_>>>()?))
    }),
    ("no value can be read of what is no knob", |backend| {
        Ok(format!("{:?}", ["../cmdline", "kernel", "kernel/none", ""].map(|name| backend.value(name).ok())))
    }),
];

/// The result of the kernel in both, for accesses of every size and at the ends of the range of positions.
fn accesses(backend: &mut dyn Backend) -> StepResult<String> {
    let bytes = vec![b'\n'; ACCESS_MAX];
    let mut results = Vec::new();
    for mode in [AccessMode::Read, AccessMode::ReadWrite] {
        for count in [0, 1 << 16, (4 << 20) - 1, 4 << 20, ACCESS_MAX] {
            for (at, position) in [(0, None), (i64::MAX, None), (0, Some(-1)), (0, Some(i64::MAX))] {
                for request in [Request::Read { count, fill: 0 }, Request::Write(&bytes[..count])] {
                    let file = backend.open(DOMAIN, mode, SCRATCH)?;
                    backend.seek(file, at)?;
                    let result = backend.access(file, SCRATCH, request, position)?;
                    backend.close(file)?;
                    results.push((result.returned, result.position));
                }
            }
        }
    }
    Ok(format!("{results:?}"))
}

/// Performs all steps on both.
///
/// # Errors
///
/// Which steps differ.
pub(crate) fn compare() -> Result<String, String> {
    let both = || Both::new(Knobs::defaults_for(&profile()));
    let mut differences = Vec::new();
    for &(name, expected, steps) in FAILING {
        let result = both().step(|backend| errno(steps(backend)));
        if result != Ok(Ok(Some(expected.number() as i32))) {
            differences.push(format!("{name}: {expected} is expected, got\n{result:?}"));
        }
    }
    for &(name, steps) in OTHERS.iter().chain([&("accesses", accesses as Steps<String>)]) {
        let mut both = both();
        both.align(DOMAIN);
        if let Err(difference) = both.must(steps) {
            differences.push(format!("{name}:\n{difference}"));
        }
    }
    if differences.is_empty() {
        Ok(format!("{} sequences of steps, no difference", FAILING.len() + OTHERS.len() + 1))
    } else {
        Err(differences.join("\n"))
    }
}

/// The errno with which a step has failed, also if that was with a log.
fn errno(result: StepResult<()>) -> StepResult<Option<i32>> {
    match result {
        Ok(()) => Ok(None),
        Err(StepError::Errno(errno) | StepError::Rejected { errno: Some(errno), .. }) => Ok(Some(errno)),
        Err(other) => Err(other),
    }
}

/// An id that stands for nothing.
fn no<Id: From<usize>>() -> Id {
    Id::from(99)
}

fn created(backend: &mut dyn Backend, parent: CgroupId, name: &str) -> StepResult<()> {
    backend.create_cgroup(parent, name).map(drop)
}

/// The id of a cgroup that was removed.
fn removed(backend: &mut dyn Backend) -> StepResult<CgroupId> {
    let cgroup = backend.create_cgroup(SCRATCH, "removed")?;
    backend.remove_cgroup(cgroup)?;
    Ok(cgroup)
}

fn opened(backend: &mut dyn Backend, name: &str, mode: AccessMode) -> StepResult<()> {
    backend.open(name, mode, SCRATCH).map(drop)
}

/// Loads a program that defines an array, with these maps instead.
fn loaded_with(backend: &mut dyn Backend, maps: &[MapDef]) -> StepResult<()> {
    let maps = maps.iter().map(|def| backend.create_map(def)).collect::<StepResult<Vec<_>>>()?;
    backend.load(&with_map(), Some(&maps)).map(drop)
}

/// Stores an entry in a map with values of 8 bytes.
fn stored(backend: &mut dyn Backend, kind: MapKind, key: &[u8], value: &[u8]) -> StepResult<()> {
    let map = backend.create_map(&map(kind, 8))?;
    backend.update_map(map, key, value)
}

/// Stores three entries in a map for two.
fn filled(backend: &mut dyn Backend, kind: MapKind, value_size: u32) -> StepResult<()> {
    let map = backend.create_map(&map(kind, value_size))?;
    let value = vec![0; value_size as usize];
    (0u32..3).try_for_each(|key| backend.update_map(map, &key.to_ne_bytes(), &value))
}

/// Puts this map under several keys into a map for two arrays.
fn put(backend: &mut dyn Backend, kind: MapKind, keys: u32, inner: &MapDef) -> StepResult<()> {
    let outer = backend.create_map(&of_maps(kind))?;
    let inner = backend.create_map(inner)?;
    (0..keys).try_for_each(|key| backend.put_map(outer, &key.to_ne_bytes(), inner))
}

fn of_maps(kind: MapKind) -> MapDef {
    MapDef { inner: Some(Box::new(map(MapKind::Array, 8))), ..map(kind, 4) }
}

fn map(kind: MapKind, value_size: u32) -> MapDef {
    MapDef {
        name: "map".to_owned(),
        kind,
        key_size: 4,
        value_size,
        max_entries: 2,
        flags: 0,
        contents: Vec::new(),
        frozen: false,
        ..MapDef::default()
    }
}

fn trie() -> MapDef {
    MapDef { key_size: 8, flags: BPF_F_NO_PREALLOC, ..map(MapKind::LpmTrie, 8) }
}

fn returning(verdict: i32) -> Program {
    let insns = vec![Insn::mov(Width::W64, Reg::R0, verdict), Insn::exit()];
    Program { name: "returning".to_owned(), insns, ..Program::default() }
}

/// Returns what it has not set.
fn rejected() -> Program {
    Program { insns: vec![Insn::exit()], ..returning(1) }
}

fn with_map() -> Program {
    Program { maps: vec![map(MapKind::Array, 8)], ..returning(1) }
}
