//! Maps as user space sees them: kernel/bpf/arraymap.c, hashtab.c, lpm_trie.c, queue_stack_maps.c, ringbuf.c.

use knobgate_bpf::{AluOp, Assembler, MapDef, MapKind, Reg, Size, helper_ids};
use knobgate_hook::maps::{ANY, EXIST, LOCK, Map, MapError, MapMemory, NOEXIST};
use knobgate_hook::{LoadOptions, LoadedProgram, Profile};

use super::{allow, map, on_write, program};

fn new(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> Map {
    Map::new(&map("map", kind, key_size, value_size, max_entries)).expect("a map")
}

#[test]
fn updates_respect_their_flags() {
    use MapError::{Exists, Invalid, NoEntry, TooBig};
    let array = new(MapKind::Array, 4, 1, 2);
    for (key, flags, expected) in [
        (0u32, ANY, Ok(())),
        (1, EXIST, Ok(())),
        (0, NOEXIST, Err(Exists)),
        (2, ANY, Err(TooBig)),
        (2, NOEXIST, Err(TooBig)),
        (0, 3, Err(Invalid)),
        (0, LOCK, Err(Invalid)),
        (2, LOCK, Err(TooBig)),
        (2, 8, Err(Invalid)),
    ] {
        assert_eq!(array.update(&key.to_le_bytes(), b"x", flags), expected, "{key} {flags}");
    }
    assert_eq!(array.delete(&[0; 4]), Err(Invalid));
    let hash = new(MapKind::Hash, 1, 1, 2);
    for (key, flags, expected) in [
        (b"a", EXIST, Err(NoEntry)),
        (b"a", NOEXIST, Ok(())),
        (b"a", NOEXIST, Err(Exists)),
        (b"b", ANY, Ok(())),
        (b"c", ANY, Err(TooBig)),
        (b"b", EXIST, Ok(())),
        (b"b", 3, Err(Invalid)),
    ] {
        assert_eq!(hash.update(key, b"x", flags), expected, "{key:?} {flags}");
    }
    assert_eq!((hash.delete(b"a"), hash.delete(b"a")), (Ok(()), Err(NoEntry)));
}

#[test]
fn an_lru_map_evicts_the_least_recently_used_entry() {
    let lru = new(MapKind::LruHash, 1, 1, 2);
    for key in [b"a", b"b", b"a", b"c"] {
        lru.update(key, b"x", ANY).expect("always room");
    }
    let keys: Vec<_> = lru.entries().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"a", b"c"]);
}

#[test]
fn tries_find_the_longest_prefix() {
    let trie = new(MapKind::LpmTrie, 8, 1, 3);
    let key = |bits: u32, address: [u8; 4]| [bits.to_le_bytes(), address].concat();
    trie.update(&key(8, [10, 0, 0, 0]), b"a", ANY).expect("room");
    trie.update(&key(20, [10, 1, 16, 0]), b"b", ANY).expect("room");
    trie.update(&key(0, [0; 4]), b"z", ANY).expect("room");
    assert_eq!(trie.update(&key(32, [1; 4]), b"x", ANY), Err(MapError::NoSpace));
    assert_eq!(trie.update(&key(33, [1; 4]), b"x", ANY), Err(MapError::Invalid));
    for (bits, address, found) in [
        (32, [10, 1, 31, 9], Some(b"b")),
        (32, [10, 1, 32, 9], Some(b"a")),
        (16, [10, 1, 16, 0], Some(b"a")),
        (32, [11, 0, 0, 0], Some(b"z")),
        (33, [10, 0, 0, 0], None),
    ] {
        assert_eq!(trie.lookup(&key(bits, address)).as_deref(), found.map(|value| &value[..]), "{address:?}");
    }
}

#[test]
fn the_bits_after_a_prefix_are_those_of_the_last_update() {
    let trie = new(MapKind::LpmTrie, 8, 1, 1);
    let key = |address: [u8; 4]| [8u32.to_le_bytes(), address].concat();
    trie.update(&key([10, 1, 2, 3]), b"a", ANY).expect("room");
    trie.update(&key([10, 9, 9, 9]), b"b", ANY).expect("the same prefix");
    assert_eq!(trie.entries(), [(key([10, 9, 9, 9]), b"b".to_vec())]);
}

#[test]
fn maps_of_invalid_sizes_are_rejected() {
    for (kind, key, value, entries) in [
        (MapKind::Array, 8, 8, 1),
        (MapKind::Array, 4, 8, 0),
        (MapKind::Queue, 4, 8, 1),
        (MapKind::Ringbuf, 0, 0, 1000),
        (MapKind::LpmTrie, 4, 1, 1),
    ] {
        assert!(Map::new(&map("map", kind, key, value, entries)).is_err(), "{kind:?}");
    }
}

#[test]
fn attributes_that_contradict_each_other_are_rejected() {
    const BPF_F_NO_COMMON_LRU: u32 = 1 << 1;
    const BPF_F_NUMA_NODE: u32 = 1 << 2;
    let with = |flags, map_extra| {
        let def = map("map", MapKind::LruHash, 4, 8, 8);
        Map::new(&MapDef { flags, map_extra, ..def }).map(drop)
    };
    let both = BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE;
    assert_eq!(with(BPF_F_NO_COMMON_LRU, 0), Ok(()));
    assert_eq!(with(BPF_F_NUMA_NODE, 0), Ok(()));
    assert_eq!(with(both, 0), Err(MapError::Flags { flags: both }));
    // Only Bloom filters and arenas have one.
    assert_eq!(with(0, 1), Err(MapError::Invalid));
}

#[test]
fn maps_share_a_memory_limit() {
    const MOST: u64 = 1 << 20;
    let memory = MapMemory::new(MOST);
    let within = |kind, key_size, value_size, max_entries| {
        Map::within(&map("map", kind, key_size, value_size, max_entries), &Profile::default(), 4, &memory)
    };
    let full = MapError::Together { most: MOST };
    assert_eq!(full.to_string(), "the maps take more than 1 MiB together");
    let array = within(MapKind::PercpuArray, 4, 1024, 128).expect("half of it");
    assert_eq!(memory.taken(), MOST / 2);
    assert_eq!(within(MapKind::PercpuArray, 4, 1024, 129).expect_err("too much"), full);

    // What they take besides comes with each entry, of whichever map.
    let hash = within(MapKind::Hash, 4, 956, 10_000).expect("an empty one");
    let trie = within(MapKind::LpmTrie, 8, 952, 10_000).expect("an empty one");
    let queue = within(MapKind::Queue, 0, 960, 10_000).expect("an empty one");
    let add = |number: u32| {
        let key = number.to_le_bytes();
        let prefix = [32u32.to_le_bytes(), number.to_be_bytes()].concat();
        [hash.update(&key, &[1; 956], ANY), trie.update(&prefix, &[1; 952], ANY)]
    };
    let added = (0..1000).flat_map(add).take_while(Result::is_ok).count();
    // An entry of each is 1024 bytes, and the hash map has a spare one.
    assert_eq!(added as u64, MOST / 2 / 1024 - 1);
    assert_eq!(memory.taken(), MOST);
    assert_eq!(add(5000), [Err(full), Err(full)]);
    // What is there can be changed, and removed for another.
    assert_eq!(add(0), [Ok(()), Ok(())]);
    assert_eq!((hash.delete(&[0; 4]), hash.update(&[0xff; 4], &[1; 956], ANY)), (Ok(()), Ok(())));
    assert_eq!(hash.update(&[0xfe; 4], &[1; 956], ANY), Err(full));
    assert_eq!(within(MapKind::Array, 4, 1, 1).expect_err("nothing is left"), full);

    drop(array);
    assert_eq!(memory.taken(), MOST / 2);
    drop((hash, trie, queue));
    assert_eq!(memory.taken(), 0);
}

#[test]
fn a_program_that_exceeds_the_memory_limit_is_stopped() {
    const MOST: u64 = 1 << 20;
    // Each run adds 400 bytes, and memory is given back to what takes them out.
    for kind in [MapKind::PerfEventArray, MapKind::Ringbuf, MapKind::Queue] {
        let def = match kind {
            MapKind::Ringbuf => map("out", kind, 0, 0, 1 << 24),
            MapKind::Queue => map("out", kind, 0, 400, 100_000),
            _ => map("out", kind, 4, 4, 1),
        };
        let memory = MapMemory::new(MOST);
        let out = Map::within(&def, &Profile::default(), 1, &memory).expect("an empty one");
        let mut asm = Assembler::new();
        asm.mov(Reg::R6, Reg::R1);
        for offset in (-400..0).step_by(8) {
            asm.store_imm(Size::U64, Reg::R10, offset, 0);
        }
        let data = if kind == MapKind::PerfEventArray { Reg::R4 } else { Reg::R2 };
        asm.mov(data, Reg::R10);
        asm.alu(AluOp::Add, data, -400);
        match kind {
            MapKind::PerfEventArray => {
                asm.mov(Reg::R1, Reg::R6);
                asm.load_map(Reg::R2, 0);
                asm.mov(Reg::R3, 0);
                asm.mov(Reg::R5, 400);
                asm.call_helper(helper_ids::PERF_EVENT_OUTPUT);
            }
            MapKind::Ringbuf => {
                asm.load_map(Reg::R1, 0);
                asm.mov(Reg::R3, 400);
                asm.mov(Reg::R4, 0);
                asm.call_helper(helper_ids::RINGBUF_OUTPUT);
            }
            _ => {
                asm.load_map(Reg::R1, 0);
                asm.mov(Reg::R3, 0);
                asm.call_helper(helper_ids::MAP_PUSH_ELEM);
            }
        }
        allow(&mut asm);
        let program = program(asm, vec![def]);
        let profile = Profile::LINUX_6_18;
        let program =
            LoadedProgram::load_with_maps(&program, vec![out.clone()], &profile, &LoadOptions::default())
                .unwrap_or_else(|rejection| panic!("{rejection}"));
        let runs = || (0..10_000).map(|_| on_write(&program, b"1\n", b"2\n")).find_map(Result::err);
        let fault = runs().expect("10,000 times 400 bytes are more").to_string();
        assert!(fault.contains("the maps take more than 1 MiB together"), "{kind:?}: {fault}");
        assert!(memory.taken() > MOST * 9 / 10 && memory.taken() <= MOST, "{kind:?}");
        let taken_out = match kind {
            MapKind::PerfEventArray => out.drain_events().len(),
            MapKind::Ringbuf => out.drain_records().len(),
            _ => continue,
        };
        assert!(taken_out > 2000, "{kind:?}: {taken_out}");
        assert_eq!(memory.taken(), 0, "{kind:?}");
        on_write(&program, b"1\n", b"2\n").unwrap_or_else(|fault| panic!("{kind:?}: {fault}"));
    }
}
