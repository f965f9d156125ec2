//! Link updates and cgroup storage on different kernels: `__cgroup_bpf_replace` in kernel/bpf/cgroup.c.

use knobgate_bpf::{AluOp, Assembler, MapKind, Program, Reg, Size, TailCall, helper_ids};
use knobgate_hook::attach::Options;
use knobgate_hook::machine::Reason;
use knobgate_hook::{
    AttachMode, CgroupId, Errno, Fault, Hook, Knobs, LinkId, LoadOptions, LoadedProgram, Map, Process,
    Profile, ProgramFault, ProgramId, Rejection,
};

use super::{allow, map, program};

/// A kernel with the cgroup `a`, and the storage maps of the programs.
struct World {
    hook: Hook,
    a: CgroupId,
}

fn storage(kind: MapKind, value_size: u32) -> Map {
    Map::new(&map("storage", kind, 8, value_size, 0)).expect("a map")
}

impl World {
    fn new(profile: Profile) -> Self {
        let mut hook = Hook::new(profile, Knobs::defaults());
        let a = hook.create_cgroup(hook.root(), "a").expect("a new name");
        Self { hook, a }
    }

    /// A program that adds 1 to the first number of its storage.
    fn counting(&mut self, map: Option<&Map>) -> ProgramId {
        let mut asm = Assembler::new();
        if map.is_some() {
            asm.load_map(Reg::R1, 0);
            asm.mov(Reg::R2, 0);
            asm.call_helper(helper_ids::GET_LOCAL_STORAGE);
            asm.load(Size::U64, Reg::R1, Reg::R0, 0);
            asm.alu(AluOp::Add, Reg::R1, 1);
            asm.store(Size::U64, Reg::R0, 0, Reg::R1);
        }
        allow(&mut asm);
        let defs = map.iter().map(|map| map.def().clone()).collect();
        let maps = map.into_iter().cloned().collect();
        let loaded = LoadedProgram::load_with_maps(
            &program(asm, defs),
            maps,
            self.hook.profile(),
            &LoadOptions::default(),
        );
        self.hook.load(loaded.expect("it loads"))
    }

    fn link(&mut self, program: ProgramId) -> LinkId {
        self.hook.link(self.a, program, Options::default()).expect("nothing is in the way")
    }

    fn read(&mut self) -> Result<(), ProgramFault> {
        let process = self.hook.spawn(self.a, Process::default()).expect("it is there");
        self.hook.read_knob(process, "kernel/ostype").map(drop)
    }

    fn crash(&mut self) -> Reason {
        let error = self.read().expect_err("it crashes");
        let fault = error.source.downcast_ref::<Fault>().expect("a fault").clone();
        assert!(fault.reason.is_crash() && fault.to_string().contains("this kernel would crash"), "{fault}");
        fault.reason
    }
}

/// The first numbers in a map.
fn counts(map: &Map) -> Vec<u8> {
    map.entries().iter().map(|(_, value)| value[0]).collect()
}

/// The profiles with links.
fn profiles() -> impl Iterator<Item = Profile> {
    Profile::ALL.into_iter().filter(|profile| profile.links)
}

#[test]
fn fixed_kernels_update_only_between_programs_with_the_same_storage() {
    let [one, other] = [8, 8].map(|size| storage(MapKind::CgroupStorage, size));
    let per_cpu = storage(MapKind::PercpuCgroupStorage, 8);
    for profile in profiles() {
        for (what, old, new, same) in [
            ("neither has any", None, None, true),
            ("the new one alone", None, Some(&one), false),
            ("the new one alone, per CPU", None, Some(&per_cpu), false),
            ("the old one alone", Some(&one), None, false),
            ("other maps", Some(&one), Some(&other), false),
            ("other types", Some(&one), Some(&per_cpu), false),
            ("the same map", Some(&one), Some(&one), true),
        ] {
            let mut world = World::new(profile);
            let (old, new) = (world.counting(old), world.counting(new));
            let link = world.link(old);
            let updated = world.hook.update_link(link, new, None);
            let fails = profile.updates_compare_storage && !same;
            assert_eq!(updated, if fails { Err(Errno::EINVAL) } else { Ok(()) }, "{profile}: {what}");
            let runs = if fails { old } else { new };
            assert_eq!(world.hook.effective(world.a), Ok(vec![runs]), "{profile}: {what}");
        }
    }
}

#[test]
fn other_kernels_crash_if_the_attachment_has_no_such_storage() {
    let shared = storage(MapKind::CgroupStorage, 8);
    let per_cpu = storage(MapKind::PercpuCgroupStorage, 8);
    for profile in profiles().filter(|profile| !profile.updates_compare_storage) {
        for (old, new) in [(None, &shared), (None, &per_cpu), (Some(&shared), &per_cpu)] {
            let mut world = World::new(profile);
            let (old, new) = (world.counting(old), world.counting(Some(new)));
            let link = world.link(old);
            world.read().expect("all is well before");
            world.hook.update_link(link, new, None).expect("this kernel does not look");
            assert!(matches!(world.crash(), Reason::NoStorage { .. }), "{profile}");
        }
    }
}

#[test]
fn other_kernels_let_the_new_program_use_the_storage_of_the_old_one() {
    for profile in profiles().filter(|profile| !profile.updates_compare_storage) {
        let [one, other] = [8, 8].map(|size| storage(MapKind::CgroupStorage, size));
        let mut world = World::new(profile);
        let (old, new, none) =
            (world.counting(Some(&one)), world.counting(Some(&other)), world.counting(None));
        let link = world.link(old);
        world.read().expect("runs");
        world.hook.update_link(link, new, None).expect("this kernel does not look");
        world.read().expect("runs");
        assert_eq!((counts(&one), counts(&other)), (vec![2], vec![]), "{profile}");
        world.hook.update_link(link, none, None).expect("this kernel does not look");
        world.read().expect("it needs none");

        let longer = world.counting(Some(&storage(MapKind::CgroupStorage, 64)));
        world.hook.update_link(link, longer, None).expect("this kernel does not look");
        assert!(matches!(world.crash(), Reason::ShortStorage { found: 8, size: 64, .. }), "{profile}");
    }
}

#[test]
fn attaching_again_and_replacing_without_a_link_allocate_storage() {
    for profile in profiles() {
        let map = storage(MapKind::CgroupStorage, 8);
        let mut world = World::new(profile);
        let (none, new) = (world.counting(None), world.counting(Some(&map)));
        let link = world.link(none);
        world.hook.attach(world.a, none, AttachMode::Multi, Options::default()).expect("multi mode both");
        world.hook.replace(world.a, none, new, Options::default()).expect("it is there");
        world.read().expect("runs");
        let _added = world.link(new);
        world.hook.detach_link(link).expect("it is there");
        world.read().expect("runs");
        assert_eq!(counts(&map), [3], "{profile}: they share what is of the cgroup");
    }
}

#[test]
fn a_tail_called_program_has_its_storage_in_the_maps_of_its_caller() {
    for profile in profiles() {
        for uses_it in [true, false] {
            let mut asm = Assembler::new();
            asm.mov(Reg::R6, Reg::R1);
            if uses_it {
                asm.load_map(Reg::R1, 1);
            }
            asm.mov(Reg::R1, Reg::R6);
            asm.load_map(Reg::R2, 0);
            asm.mov(Reg::R3, 0);
            asm.call_helper(helper_ids::TAIL_CALL);
            allow(&mut asm);
            let mut callee = Assembler::new();
            callee.load_map(Reg::R1, 1);
            callee.mov(Reg::R2, 0);
            callee.call_helper(helper_ids::GET_LOCAL_STORAGE);
            allow(&mut callee);
            let maps =
                [map("calls", MapKind::ProgArray, 4, 4, 1), map("storage", MapKind::CgroupStorage, 8, 8, 0)];
            let tail_calls = vec![TailCall { map: 0, index: 0, program: program(callee, Vec::new()) }];
            let caller = Program { tail_calls, ..program(asm, maps.to_vec()) };

            let mut world = World::new(profile);
            let caller = match LoadedProgram::load(&caller, &profile, &LoadOptions::default()) {
                Ok(caller) => world.hook.load(caller),
                Err(Rejection::ForeignStorage { .. }) => {
                    assert!(profile.tail_calls_compare_storage && !uses_it, "{profile}");
                    continue;
                }
                Err(error) => panic!("{profile}: {error}"),
            };
            assert!(uses_it || !profile.tail_calls_compare_storage, "{profile}: it is taken");
            world.link(caller);
            if uses_it {
                world.read().expect("it runs");
            } else {
                assert!(matches!(world.crash(), Reason::NoStorage { .. }), "{profile}");
            }
        }
    }
}

#[test]
fn a_program_has_one_storage_of_each_type() {
    use MapKind::{CgroupStorage, PercpuCgroupStorage};
    let load = |kinds: &[MapKind]| {
        let mut asm = Assembler::new();
        for map in 0..kinds.len() {
            asm.load_map(Reg::R1, map);
        }
        allow(&mut asm);
        let defs = kinds.iter().map(|kind| map("storage", *kind, 8, 8, 0)).collect();
        LoadedProgram::load(&program(asm, defs), &Profile::default(), &LoadOptions::default())
    };
    assert!(load(&[CgroupStorage, PercpuCgroupStorage]).is_ok());
    for kinds in [[CgroupStorage; 2], [PercpuCgroupStorage; 2]] {
        let rejection = load(&kinds).expect_err("two of one type");
        assert_eq!(rejection, Rejection::SeveralStorages);
        assert_eq!(rejection.errno(), Errno::EBUSY);
    }
}
