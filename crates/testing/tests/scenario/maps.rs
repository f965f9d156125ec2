//! What programs leave in maps.

use knobgate_scenario::{Document, Hex};

use crate::Case;
use crate::programs::{map, setting};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (program, maps) in [
        ("count", &["array"][..]),
        ("count per processor", &["percpu"]),
        ("hash names", &["hash"]),
        ("queue positions", &["queue"]),
        ("stack positions", &["stack"]),
        ("report names", &["ring", "ring"]),
    ] {
        let accesses = r#"
            {"read": {"knob": "kernel/domainname", "cgroup": "a/b"}},
            {"write": {"knob": "net/core/somaxconn", "cgroup": "a", "data": "7\n"}},
            {"read": {"knob": "net/ipv4/tcp_rmem", "cgroup": "a/b/c", "pos": 3}},
            {"read": {"knob": "kernel/ostype", "cgroup": "d"}},
            {"read": {"knob": "kernel/ostype", "cgroup": "a", "pos": 2}}"#;
        let looks: String = maps.iter().map(|map| format!(r#", {{"map": "{map}"}}"#)).collect();
        let attach = format!(r#"{{"attach": {{"program": "{program}", "cgroup": "a", "mode": "link"}}}}"#);
        cases.push((program, setting(), format!("{attach}, {accesses}{looks}, {accesses}{looks}")));
    }
    let hex = |bytes: &[u8]| Hex(bytes.to_vec());
    let mut filled = Document {
        maps: vec![
            map("array", "array", 4, 2, 2),
            map("frozen", "array", 4, 2, 1),
            map("percpu", "percpu_hash", 2, 3, 4),
            map("hash", "hash", 1, 1, 4),
            map("trie", "lpm_trie", 8, 1, 4),
            map("empty", "lru_hash", 4, 4, 4),
        ],
        ..Document::default()
    };
    filled.maps[0].entries = vec![(hex(&[1, 0, 0, 0]), hex(&[7, 8]))];
    filled.maps[1].entries = vec![(hex(&[0; 4]), hex(&[1, 2]))];
    filled.maps[1].frozen = true;
    filled.maps[2].entries = vec![(hex(b"zz"), hex(b"123")), (hex(b"aa"), hex(b"456"))];
    filled.maps[3].entries = (0..4_u8).map(|key| (hex(&[!key]), hex(&[key]))).collect();
    filled.maps[4].entries = vec![
        (hex(&[24, 0, 0, 0, 10, 0, 1, 0]), hex(&[24])),
        (hex(&[8, 0, 0, 0, 10, 0, 0, 0]), hex(&[8])),
        (hex(&[32, 0, 0, 0, 9, 0, 0, 1]), hex(&[32])),
    ];
    let looks: Vec<String> = filled.maps.iter().map(|map| format!(r#"{{"map": "{}"}}"#, map.name)).collect();
    cases.push(("filled maps", filled, looks.join(", ")));
    cases
}
