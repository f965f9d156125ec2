//! Maps of objects: their types, maps in maps, pins, and what only the kernel has.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::chown;
use std::path::PathBuf;

use knobgate_bpf::uapi::BPF_F_LOCK;
use knobgate_bpf::{
    AluOp, Cond, Imm64, Insn, MapBtf, MapDef, MapKind, MapReference, MapSupport, Object, Program, Reg,
    Relocation, Size, StructLayouts, Width, helper_ids,
};
use knobgate_hook::Profile;
use knobgate_kernel::{
    BpfObjectError, Bpffs, Cgroup, Link, LoadError, LoadOptions, LoadedProgram, Map, create_map, load,
};
use knobgate_testing::scratch;
use libtest_mimic::Failed;

use crate::fixtures::can_write;

pub(crate) const TESTS: &[super::Test] = &[
    ("a_locked_update_leaves_the_lock_alone", locked_update),
    ("types_that_the_kernel_does_not_accept_are_left_out", types_left_out),
    ("the_model_finds_locks_where_the_kernel_does", lock_places),
    ("maps_in_a_map_are_exchanged_while_a_program_runs", inner_maps),
    ("special_fields_need_types_that_the_kernel_accepts", special_fields),
    ("a_map_that_is_pinned_by_name_is_shared", pinned),
    ("a_map_of_maps_is_not_pinned_before_they_are_in_it", pinned_when_filled),
    ("another_map_or_link_under_the_name_of_a_pin_is_not_used", other_pin),
];

pub(crate) const TASK_STORAGE: &[super::Test] = &[("task_storage_is_kept_for_each_task", task_storage)];
pub(crate) const CGRP_STORAGE: &[super::Test] =
    &[("cgroup_storage_that_is_found_by_pointer_is_kept_for_each_cgroup", cgrp_storage)];
pub(crate) const TIMER: &[super::Test] = &[("a_timer_calls_back", timer)];
pub(crate) const BLOOM_FILTER: &[super::Test] = &[("a_bloom_filter_remembers", bloom_filter)];

macro_rules! object {
    ($name:literal) => {
        include_bytes!(concat!("../../../../examples/objects/", $name, ".bpf.o"))
    };
}

/// Why this kernel has no maps of this kind for this hook, if so.
fn lacks(kind: MapKind, profile: &Profile) -> Option<String> {
    let (MapSupport::Modelled { since } | MapSupport::KernelOnly { since }) = kind.support() else {
        return Some(format!("nothing has maps of type {}", kind.name()));
    };
    (profile.version < since).then(|| format!("{profile} has no maps of type {}", kind.name()))
}

pub(crate) fn no_task_storage(profile: &Profile) -> Option<String> {
    lacks(MapKind::TaskStorage, profile)
}

pub(crate) fn no_cgrp_storage(profile: &Profile) -> Option<String> {
    lacks(MapKind::CgrpStorage, profile)
}

pub(crate) fn no_bloom_filter(profile: &Profile) -> Option<String> {
    lacks(MapKind::BloomFilter, profile)
}

pub(crate) fn no_timers(profile: &Profile) -> Option<String> {
    (profile.version < (5, 15)).then(|| format!("{profile} has no timers in maps"))
}

fn program(object: &[u8], name: Option<&str>) -> Program {
    Object::read(object).and_then(|object| object.program(name)).expect("a program")
}

fn map<'l>(loaded: &'l LoadedProgram, name: &str) -> &'l Map {
    loaded.map(name).expect("a map of this name")
}

fn number(map: &Map, key: u32) -> u64 {
    let value = map.lookup(&key.to_ne_bytes()).expect("a lookup").expect("an entry");
    u64::from_ne_bytes(*value.first_chunk().expect("eight bytes"))
}

fn locked_update() -> Result<(), Failed> {
    let loaded = load(&program(object!("locks"), None), &LoadOptions::default())?;
    let key = 0u32.to_ne_bytes();
    let mut expected = [7; 24];
    expected[8..12].fill(0);
    map(&loaded, "counters").update_with(&key, &[7; 24], BPF_F_LOCK)?;
    assert_eq!(map(&loaded, "counters").lookup(&key)?.as_deref(), Some(&expected[..]));
    // Values without a lock cannot be updated like that.
    let error = map(&loaded, "without_lock").update_with(&key, &[7; 8], BPF_F_LOCK);
    assert!(matches!(error, Err(BpfObjectError::WrongSize { .. })), "{error:?}");
    Ok(())
}

fn types_left_out() -> Result<(), Failed> {
    let program = program(object!("locks"), None);
    // The key is not as large as its type.
    let wrong = |name: &str| {
        let def = program.maps.iter().find(|map| map.name == name).expect("a map").clone();
        let btf = def.btf.as_ref().expect("types");
        let btf = MapBtf { key_type_id: btf.value_type_id, ..btf.clone() };
        MapDef { btf: Some(btf), ..def }
    };
    create_map("wrong", &wrong("without_lock"))?;
    // As with libbpf, it has no lock then.
    let error = create_map("wrong", &wrong("counters"))?.update_with(&[0; 4], &[0; 24], BPF_F_LOCK);
    assert!(matches!(error, Err(BpfObjectError::WrongSize { .. })), "{error:?}");
    let model = knobgate_hook::Map::new(&wrong("counters"))?.update(&[0; 4], &[0; 24], BPF_F_LOCK);
    assert_eq!(model, Err(knobgate_hook::MapError::Invalid));
    // A hash without a key type. It is a size that its keys can have.
    let def = program.maps.iter().find(|map| map.name == "by_kind").ok_or("no map")?;
    let btf = MapBtf { key_type_id: 0, ..def.btf.clone().ok_or("no types")? };
    let def = MapDef { btf: Some(btf), ..def.clone() };
    let error = create_map("wrong", &def)?.update_with(&[0; 4], &[0; 24], BPF_F_LOCK);
    assert!(matches!(error, Err(BpfObjectError::WrongSize { .. })), "{error:?}");
    let model = knobgate_hook::Map::new(&def)?.update(&[0; 4], &[0; 24], BPF_F_LOCK);
    assert_eq!(model, Err(knobgate_hook::MapError::Invalid));
    Ok(())
}

fn lock_places() -> Result<(), Failed> {
    let profile = knobgate_testing::profile();
    let mut wrong = Vec::new();
    for def in program(object!("lock_places"), None).maps {
        let kernel = create_map("the test", &def)?;
        let value = kernel.lookup(&[0; 4])?.ok_or("no entry")?;
        let kernel = kernel.update_with(&[0; 4], &value, BPF_F_LOCK).is_ok();
        let model = knobgate_hook::Map::for_kernel(&def, &profile, 1)?;
        let value = model.lookup(&[0; 4]).ok_or("no entry")?;
        let model = model.update(&[0; 4], &value, BPF_F_LOCK).is_ok();
        if kernel != model {
            wrong.push(format!("{}: a lock in the kernel {kernel}, in the model {model}", def.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for object in [&object!("lock_twice")[..], object!("lock_not_aligned"), object!("lock_bit_field")] {
        let def = &program(object, None).maps[0];
        let kernel = create_map("the test", def).err().and_then(|error| error.os_error()?.raw_os_error());
        let model = knobgate_hook::Map::for_kernel(def, &profile, 1).err();
        let model = model.map(|error| error.errno().number() as i32);
        assert_eq!(kernel, model, "{}", def.name);
    }
    Ok(())
}

fn special_fields() -> Result<(), Failed> {
    let program = program(object!("locks"), None);
    let damaged = |name: &str| {
        let def = program.maps.iter().find(|map| map.name == name).expect("a map").clone();
        let btf = MapBtf { types: [0; 24].into(), ..def.btf.clone().expect("types") };
        MapDef { btf: Some(btf), ..def }
    };
    create_map("damaged", &damaged("without_lock"))?;
    let error = create_map("damaged", &damaged("counters")).expect_err("it would have no lock");
    assert!(matches!(error, LoadError::MapTypes { .. }), "{error}");
    assert!(error.to_string().ends_with("(BPF_BTF_LOAD): Invalid argument (os error 22)"), "{error}");
    Ok(())
}

fn pinned_when_filled() -> Result<(), Failed> {
    let pins = Pins::new("pinned-when-filled");
    let mut program = program(object!("nested"), None);
    let outer = program.maps.iter().position(|def| def.name == "by_kind").ok_or("no map")?;
    program.maps[outer].pinned_by_name = true;
    let inside = program.inner_maps.iter().position(|inner| inner.outer == outer).ok_or("it is empty")?;
    let mut wrong = program.clone();
    wrong.inner_maps[inside].key = u32::MAX;
    let error = load(&wrong, &pins.options()).expect_err("there is no such element");
    assert!(matches!(error, LoadError::MapContents { .. }), "{error}");
    assert_eq!(fs::read_dir(&pins.0)?.count(), 0);

    let loaded = load(&program, &pins.options())?;
    let key = program.inner_maps[inside].key.to_ne_bytes();
    // A lookup gives the id of the map.
    let shared = map(&loaded, "by_kind").lookup(&key)?;
    assert!(shared.is_some() && pins.0.join("by_kind").exists());
    // What was pinned before keeps its maps.
    let again = load(&program, &pins.options())?;
    assert_eq!(map(&again, "by_kind").lookup(&key)?, shared);
    Ok(())
}

fn inner_maps() -> Result<(), Failed> {
    let program = program(object!("nested"), None);
    let loaded = load(&program, &LoadOptions::default())?;
    let cgroup = scratch();
    let _link = Link::create(&loaded.program, &cgroup)?;
    assert!(can_write(&cgroup));
    let writes = map(&loaded, "writes");
    let before = number(writes, 1);
    assert!(before > 0);

    let def = program.maps.iter().find(|map| map.name == "writes").ok_or("no definition")?;
    let other = create_map("the test", def)?;
    map(&loaded, "by_kind").put_map(&1u32.to_ne_bytes(), &other)?;
    assert!(can_write(&cgroup));
    assert_eq!((number(writes, 1), number(&other, 1) > 0), (before, true));

    let names = map(&loaded, "names");
    let error = map(&loaded, "by_kind").put_map(&1u32.to_ne_bytes(), names);
    assert!(matches!(error, Err(BpfObjectError::WrongSize { .. })), "{error:?}");
    Ok(())
}

/// The directory of a bpffs for one test, which is removed with all pins in it.
struct Pins(PathBuf);

impl Pins {
    fn new(test: &str) -> Self {
        let path = Bpffs::find().expect("a bpffs").path().join(format!("knobgate-test-{test}"));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn options(&self) -> LoadOptions {
        LoadOptions { pins: Some(Bpffs::at(&self.0).expect("a bpffs")), ..LoadOptions::default() }
    }

    fn pin(&self) -> PathBuf {
        self.0.join("knobgate_test")
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pinned() -> Result<(), Failed> {
    let pins = Pins::new("pinned");
    let program = program(object!("pinned"), None);
    let first = load(&program, &pins.options())?;
    let shared = map(&first, "knobgate_test").info().id;
    assert!(pins.pin().exists());
    let cgroup = scratch();
    let link = Link::create(&first.program, &cgroup)?;
    assert!(can_write(&cgroup));
    let count = number(map(&first, "knobgate_test"), 1);
    assert!(count > 0);
    drop((link, first));

    // It is there still, with what it holds.
    let second = load(&program, &pins.options())?;
    assert_eq!(map(&second, "knobgate_test").info().id, shared);
    assert_eq!(number(map(&second, "knobgate_test"), 1), count);

    // Asking the verifier neither pins nor opens it.
    fs::remove_file(pins.pin())?;
    knobgate_kernel::verify(&program, &pins.options(), None)?;
    assert!(!pins.pin().exists());
    Ok(())
}

fn other_pin() -> Result<(), Failed> {
    let pins = Pins::new("other-pin");
    let program = program(object!("pinned"), None);
    let _first = load(&program, &pins.options())?;
    let refused = |program: &Program| load(program, &pins.options()).expect_err("it is not used").to_string();

    let mut larger = program.clone();
    for def in larger.maps.iter_mut().filter(|def| def.pinned_by_name) {
        (def.value_size, def.max_entries, def.btf) = (16, 3, None);
    }
    let path = pins.pin();
    let place = path.display();
    let prefix = format!("cannot use the map pinned at {place} as the map \"knobgate_test\": ");
    let suffix = format!("; remove it if no other program needs it: rm {place}");
    assert_eq!(
        refused(&larger),
        format!("{prefix}its value_size is 8, not 16, its max_entries is 2, not 3{suffix}")
    );

    chown(&path, Some(1000), None)?;
    let error = load(&program, &pins.options()).expect_err("it is not root's");
    assert!(matches!(&error, LoadError::PinnedMap { .. }), "{error}");
    let source = std::error::Error::source(&error).ok_or("no cause")?.to_string();
    assert!(source.contains("belongs to user 1000"), "{source}");

    fs::remove_file(&path)?;
    let cgroup = scratch();
    crate::fixtures::attach(&crate::fixtures::allow(), &cgroup).1.pin(&path)?;
    assert_eq!(refused(&program), format!("{prefix}it is not a map{suffix}"));
    Ok(())
}

/// The results of writes by one process, one after another: whether each is allowed.
fn writes(name: &str, count: usize) -> Result<(LoadedProgram, Vec<bool>), Failed> {
    let loaded = load(&program(object!("kernel_only"), Some(name)), &LoadOptions::default())?;
    let cgroup = scratch();
    let _link = Link::create(&loaded.program, &cgroup)?;
    let write = "echo test > /proc/sys/kernel/domainname && echo 1 || echo 0;";
    let output = knobgate_testing::shell(&cgroup, &write.repeat(count)).output()?;
    Ok((loaded, output.stdout.iter().filter(|byte| **byte != b'\n').map(|byte| *byte == b'1').collect()))
}

fn task_storage() -> Result<(), Failed> {
    for _ in 0..2 {
        assert_eq!(writes("task_storage", 4)?.1, [true, true, false, false]);
    }
    Ok(())
}

fn timer() -> Result<(), Failed> {
    let (loaded, allowed) = writes("timer", 2)?;
    assert_eq!(allowed, [true, true]);
    let rings = || {
        let value = map(&loaded, "timers").lookup(&[0; 4]).expect("a lookup").expect("a value");
        u64::from_ne_bytes(*value.last_chunk().expect("eight bytes"))
    };
    knobgate_testing::eventually("the timer rings", || rings() > 0);
    Ok(())
}

fn bloom_filter() -> Result<(), Failed> {
    assert_eq!(writes("bloom_filter", 3)?.1, [false, true, true]);
    Ok(())
}

/// Counts accesses in the storage of the task's cgroup: `task->cgroups->dfl_cgrp`.
fn cgrp_storage() -> Result<(), Failed> {
    let btf = fs::read("/sys/kernel/btf/vmlinux")?;
    let layouts = StructLayouts::read(&btf)?;
    let offset = |member| layouts.offset(member).map(|offset| offset as i16);
    let tasks = program(object!("kernel_only"), Some("task_storage")).maps[0].clone();
    let map = MapDef { name: "cgroups".to_owned(), kind: MapKind::CgrpStorage, ..tasks };
    let [first, second] = Insn::load_imm64(Reg::R1, Imm64::Value(0));
    let program = Program {
        maps: vec![map],
        relocations: vec![Relocation { insn: 3, map: 0, target: MapReference::Map }],
        ..crate::fixtures::program(
            "cgrp_storage",
            [
                Insn::call_helper(helper_ids::GET_CURRENT_TASK_BTF),
                Insn::load(Size::U64, Reg::R2, Reg::R0, offset("task_struct.cgroups")?),
                Insn::load(Size::U64, Reg::R2, Reg::R2, offset("css_set.dfl_cgrp")?),
                first,
                second,
                Insn::mov(Width::W64, Reg::R3, 0),
                // BPF_LOCAL_STORAGE_GET_F_CREATE
                Insn::mov(Width::W64, Reg::R4, 1),
                Insn::call_helper(helper_ids::CGRP_STORAGE_GET),
                Insn::jump_if(Width::W64, Cond::Eq, Reg::R0, 0, 3),
                Insn::load(Size::U64, Reg::R1, Reg::R0, 0),
                Insn::alu(Width::W64, AluOp::Add, Reg::R1, 1),
                Insn::store(Size::U64, Reg::R0, 0, Reg::R1),
                Insn::mov(Width::W64, Reg::R0, 1),
                Insn::exit(),
            ],
        )
    };
    let loaded = load(&program, &LoadOptions::default())?;
    let [used, unused] = [scratch(), scratch()];
    let _link = Link::create(&loaded.program, &used)?;
    assert!(can_write(&used));
    let of = |cgroup: &Cgroup| {
        let key = cgroup.as_fd().as_raw_fd().to_ne_bytes();
        loaded.maps[0].1.lookup(&key).expect("a lookup")
    };
    assert!(of(&used).is_some_and(|value| value != [0; 8]));
    assert_eq!(of(&unused), None);
    Ok(())
}
