//! Containers of runc.

use knobgate::WorkloadResolver;
use knobgate::kernel::{Cgroup, Hierarchy};
use knobgate::workload::{EngineState, Origin, Piece};
use knobgate_testing::{Container, RemoveOnDrop, Test};
use libtest_mimic::Failed;

pub(crate) const TESTS: &[Test] = &[("a_container_of_runc_is_found_in_any_cgroup", found)];

fn found() -> Result<(), Failed> {
    let root = tempfile::tempdir()?;
    let name = format!("/knobgate-test-runc-{}", std::process::id());
    let directory = Hierarchy::find()?.path().join(&name[1..]);
    let _remove = RemoveOnDrop(directory.clone());
    let state = root.path().join("run/runc");
    let container = Container::start("web-1", name.as_ref(), "sleep 1000", root.path(), &state)?;

    let mut resolver = WorkloadResolver::with_state(EngineState::below(root.path()))?;
    let cgroup = Cgroup::open(&directory)?.id();
    let workload = resolver.resolve(cgroup).expect("it exists");
    drop(container);
    assert_eq!(workload.label().escape_ascii().to_string(), "runc/web-1");
    assert_eq!(workload.container_id.as_ref().map(Piece::origin), Some(Origin::State));
    assert_eq!(resolver.resolve(cgroup), Some(workload), "it keeps its name");
    Ok(())
}
