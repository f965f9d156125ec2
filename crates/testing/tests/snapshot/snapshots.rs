use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use knobgate_hook::{AccessMode, Hook, Process, VALUE_BYTES};
use knobgate_kernel::knob_names;
use knobgate_snapshot::{Inferred, Snapshot, snapshot};
use knobgate_testing::Test;
use libtest_mimic::Failed;

pub(crate) const TESTS: &[Test] = &[
    ("a_snapshot_reads_like_the_machine", reads_alike),
    ("a_snapshot_says_how_every_handler_was_inferred", says),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}

/// The sizes and positions of reads.
const READS: [(usize, u64); 6] = [(VALUE_BYTES, 0), (3, 0), (1, 0), (VALUE_BYTES, 1), (2, 2), (1, 100_000)];

/// The results of [`READS`] on the machine.
fn on_the_machine(name: &str) -> Option<Vec<Vec<u8>>> {
    let file = File::open(path(name)).ok()?;
    let read = |&(count, position): &(usize, u64)| {
        let mut bytes = vec![0; count];
        let length = file.read_at(&mut bytes, position).ok()?;
        bytes.truncate(length);
        Some(bytes)
    };
    READS.iter().map(read).collect()
}

/// A knob that reads the same before and after a snapshot must read the same on the model. A value that others change
/// back and forth, like `fs/file-nr`, differs in one of several snapshots; a wrong handler differs in all.
fn reads_alike() -> Result<(), Failed> {
    const SNAPSHOTS: u32 = 4;
    let mut different = differences()?;
    for _ in 1..SNAPSHOTS {
        if different.is_empty() {
            break;
        }
        let again = differences()?;
        different.retain(|name, _| again.contains_key(name));
    }
    assert!(different.is_empty(), "{different:#?}");
    Ok(())
}

/// The knobs that read differently on the model, and how.
fn differences() -> Result<BTreeMap<String, String>, Failed> {
    let acts = |inferred: &Inferred| matches!(inferred, Inferred::SideEffect(_));
    let read_all = |snapshot: &Snapshot| -> BTreeMap<String, Vec<Vec<u8>>> {
        let readable = snapshot.inferred.iter().filter(|(_, inferred)| !acts(inferred));
        readable.filter_map(|(name, _)| Some((name.clone(), on_the_machine(name)?))).collect()
    };
    let before = read_all(&snapshot()?);
    let taken = snapshot()?;
    let after = read_all(&taken);

    let mut hook = Hook::new(knobgate_testing::profile(), taken.knobs);
    hook.writes_strict = taken.writes_strict;
    let process = hook.spawn(hook.root(), Process::default()).map_err(|errno| errno.to_string())?;
    let (mut compared, mut different) = (0, BTreeMap::new());
    for (name, machine) in after.iter().filter(|(name, values)| before.get(*name) == Some(values)) {
        let file = hook.open(process, name, AccessMode::Read).map_err(|errno| format!("{name}: {errno}"))?;
        for (&(count, position), expected) in READS.iter().zip(machine) {
            let outcome = hook.pread(process, &file, count, position as i64)?;
            if outcome.data != *expected {
                let inferred = taken.inferred[name];
                let how = format!(
                    "{inferred}: {count} bytes at {position} are {:?} and not {:?}",
                    String::from_utf8_lossy(&outcome.data),
                    String::from_utf8_lossy(expected),
                );
                different.insert(name.clone(), how);
            }
        }
        compared += 1;
    }
    println!("{compared} knobs of {} compared", after.len());
    assert!(compared * 10 >= after.len() * 9, "of {} knobs only {compared} are stable", after.len());
    Ok(different)
}

fn says() -> Result<(), Failed> {
    let Snapshot { mut knobs, inferred, .. } = snapshot()?;
    for name in knob_names()? {
        // Interfaces and processors come and go.
        let (Some(knob), Some(found)) = (knobs.remove(&name), inferred.get(&name)) else { continue };
        let Ok(metadata) = fs::metadata(path(&name)) else { continue };
        assert_eq!(u32::from(knob.mode), metadata.permissions().mode() & 0o777, "{name}");
        assert_eq!(*found == Inferred::WriteOnly, knob.mode & 0o444 == 0, "{name}: {found}");
    }
    assert_eq!(knobs.names().next(), None, "a knob that the machine does not have");
    let known = [
        ("kernel/ostype", Inferred::ByName),
        ("net/core/somaxconn", Inferred::ByName),
        ("kernel/osrelease", Inferred::Text),
        ("vm/overcommit_ratio", Inferred::Integers(1)),
        ("kernel/sem", Inferred::Integers(4)),
        ("vm/drop_caches", Inferred::WriteOnly),
    ];
    for (name, expected) in known {
        assert_eq!(inferred.get(name), Some(&expected), "{name}");
    }
    for name in ["vm/stat_refresh", "kernel/random/uuid"] {
        assert!(matches!(inferred.get(name), Some(Inferred::SideEffect(_))), "{name}");
    }
    let unknown: Vec<_> = inferred
        .iter()
        .filter(|(_, found)| matches!(found, Inferred::Unknown | Inferred::Unreadable(_)))
        .collect();
    println!("{} knobs, of which little is known of {}: {unknown:?}", inferred.len(), unknown.len());
    Ok(())
}
