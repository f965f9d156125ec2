//! The names in docs/workloads.md are the ones that paths have.

use knobgate_workload::Workload;

const DOCUMENT: &str = include_str!("../../../docs/workloads.md");

#[test]
fn the_document_has_the_name_of_each_path() {
    const ID: &str = "4f6b1e3a9c0d2b7f8e5a6c1d3b9f0e2a7c4d8b6f1e3a5c9d0b2f7e8a6c4d1b3f";
    const UID: &str = "2f1a3b4c-5d6e-7f80-91a2-b3c4d5e6f708";
    let rows = DOCUMENT.lines().filter_map(|line| {
        let (path, name) = line.strip_prefix("| `/")?.strip_suffix("` |")?.split_once("` | `")?;
        Some((format!("/{path}"), name))
    });
    let mut count = 0;
    for (row, name) in rows {
        // In slices, `-` is `_`.
        let uid = if row.contains("UID.slice") { UID.replace('-', "_") } else { UID.to_owned() };
        let above = "kubepods-burstable.slice";
        // `UID` contains `ID`.
        let path = row.replace("UID", "\0").replace("ID", ID).replace('\0', &uid).replace('…', above);
        assert_eq!(Workload::of_path(path.as_bytes()).label(), name.as_bytes(), "{row}");
        count += 1;
    }
    assert_eq!(count, 27);
}
