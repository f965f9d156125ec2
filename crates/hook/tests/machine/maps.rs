//! Maps as user space sees them: kernel/bpf/arraymap.c, hashtab.c, lpm_trie.c, queue_stack_maps.c, ringbuf.c.

use knobgate_bpf::MapKind;
use knobgate_hook::maps::{ANY, EXIST, Map, MapError, NOEXIST};

use super::map;

fn new(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> Map {
    Map::new(&map("map", kind, key_size, value_size, max_entries)).expect("a map")
}

#[test]
fn updates_heed_their_flags() {
    use MapError::{Exists, Invalid, NoEntry, TooBig};
    let array = new(MapKind::Array, 4, 1, 2);
    for (key, flags, expected) in [
        (0u32, ANY, Ok(())),
        (1, EXIST, Ok(())),
        (0, NOEXIST, Err(Exists)),
        (2, ANY, Err(TooBig)),
        (2, NOEXIST, Err(TooBig)),
        (0, 3, Err(Invalid)),
        (2, 4, Err(Invalid)),
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
fn a_map_that_evicts_forgets_what_was_not_used() {
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
fn what_is_behind_a_prefix_is_that_of_the_last_update() {
    let trie = new(MapKind::LpmTrie, 8, 1, 1);
    let key = |address: [u8; 4]| [8u32.to_le_bytes(), address].concat();
    trie.update(&key([10, 1, 2, 3]), b"a", ANY).expect("room");
    trie.update(&key([10, 9, 9, 9]), b"b", ANY).expect("the same prefix");
    assert_eq!(trie.entries(), [(key([10, 9, 9, 9]), b"b".to_vec())]);
}

#[test]
fn maps_of_impossible_sizes_are_not_made() {
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
