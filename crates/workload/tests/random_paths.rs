//! No path makes the parser panic, or a name that it does not contain.

use knobgate_workload::{Piece, Workload};
use proptest::prelude::*;

const ID: &str = "4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a7c4d8b6f1e3a5c9d0b2f7e8a6c4d1b3f";

/// Something between two slashes.
fn component() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "docker",
        "lxc",
        "default",
        "libpod_parent",
        "kubepods",
        "burstable",
        "kubepods.slice",
        "system.slice",
        "user-1000.slice",
        "user@1000.service",
        "nginx.service",
        "lxc.payload.web",
        "runc-a.scope",
        "..",
        "a b",
        "kubepods-burstable-pod0a_5e.slice",
        "pod0a-5e",
        r"machine-a\x2db.scope",
        "systemd-nspawn@web.service",
    ]);
    let prefix = prop::sample::select(vec![
        "",
        "docker-",
        "libpod-",
        "libpod-conmon-",
        "crio-",
        "cri-containerd-",
        "nerdctl-",
        "machine-libpod_pod_",
        "x.slice:docker:",
    ]);
    let suffix = prop::sample::select(vec!["", ".scope", ".slice", ".service"]);
    prop_oneof![
        known.prop_map(|text| text.as_bytes().to_vec()),
        (prefix, suffix).prop_map(|(prefix, suffix)| format!("{prefix}{ID}{suffix}").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..20),
    ]
}

/// All levels, from the innermost out.
fn levels(workload: &Workload) -> Vec<&Workload> {
    std::iter::successors(Some(workload), |level| level.outer.as_deref()).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_a_path(path in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!Workload::of_path(&path).label().is_empty());
    }

    #[test]
    fn pieces_are_parts_of_the_path(components in prop::collection::vec(component(), 0..8)) {
        let path: Vec<u8> = components.iter().flat_map(|text| [b"/", &text[..]].concat()).collect();
        let workload = Workload::of_path(&path);
        let mut inside = path.len().max(1);
        for level in levels(&workload) {
            let pieces = [&level.container_id, &level.namespace, &level.unit, &level.slice];
            for piece in pieces.into_iter().flatten().map(Piece::bytes) {
                prop_assert!(level.path.windows(piece.len()).any(|part| part == piece), "{level:?}");
            }
            prop_assert!(path.starts_with(&level.path) || level.path == b"/");
            prop_assert!(level.path.len() <= inside, "an outer level ends after an inner one: {workload:?}");
            inside = level.path.len();
            // Names come from the state alone, or are in the path.
            prop_assert!(level.pod_name.is_none() && level.image.is_none());
        }
    }
}
