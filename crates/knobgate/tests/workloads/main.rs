//! Names of workloads in cgroups of the running kernel.

mod runc;
mod search;

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Duration;

use knobgate::WorkloadResolver;
use knobgate::kernel::Cgroup;
use knobgate::workload::{Engine, EngineState};
use knobgate_testing::{Suite, Test, scratch, without_runc};
use libtest_mimic::Failed;

const TESTS: &[Test] = &[
    ("a_workload_is_found_by_the_id_of_its_cgroup", found_by_id),
    ("a_removed_cgroup_keeps_its_name", keeps_its_name),
    ("a_container_gets_its_name_when_its_engine_has_written_it", named_later),
    ("without_handles_the_hierarchy_is_walked_at_most_four_times_a_second", walked),
];

const ID: &str = "f31f384749f9115acf01fcf82f5a966b59dcc0a4cbd7c9740888c0bf32aa2bbb";

/// The argument that makes this binary check what happens without `CAP_DAC_READ_SEARCH`.
const WITHOUT_HANDLES: &str = "--without-handles";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let checked = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [WITHOUT_HANDLES, parent] => Some(walks(parent)),
        [search::SEARCH] => Some(search::search()),
        _ => None,
    };
    match checked {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("{}", error.message().unwrap_or("failed"));
            return ExitCode::FAILURE;
        }
        None => {}
    }
    match knobgate_testing::in_private_mount_namespace() {
        Some(ended) => ended,
        None => Suite::new(&[TESTS, search::TESTS].concat())
            .and(Suite::new(&[runc::TESTS, search::WITH_RUNC].concat()).with_engine(without_runc))
            .run(),
    }
}

/// A resolver for engines that have no state.
fn resolver() -> Result<(WorkloadResolver, tempfile::TempDir), Failed> {
    let root = tempfile::tempdir()?;
    Ok((WorkloadResolver::with_state(EngineState::below(root.path()))?, root))
}

fn label(resolver: &mut WorkloadResolver, id: u64) -> Option<String> {
    resolver.resolve(id).map(|workload| workload.label().escape_ascii().to_string())
}

fn found_by_id() -> Result<(), Failed> {
    let (parent, (mut resolver, _root)) = (scratch(), resolver()?);
    let container = parent.create(format!("docker-{ID}.scope"))?;
    let inside = container.create("init.scope")?;
    assert_eq!(label(&mut resolver, container.id()).as_deref(), Some("docker/f31f384749f9"));
    assert_eq!(label(&mut resolver, inside.id()).as_deref(), Some("unit init.scope in docker/f31f384749f9"));
    let name = parent.path().file_name().expect("a name").to_string_lossy().into_owned();
    assert_eq!(label(&mut resolver, parent.id()), Some(format!("cgroup /{name}")));
    assert_eq!(label(&mut resolver, u64::MAX), None);
    inside.remove()?;
    container.remove()?;
    Ok(())
}

fn keeps_its_name() -> Result<(), Failed> {
    let (parent, (mut resolver, _root)) = (scratch(), resolver()?);
    let (seen, unseen) = (parent.create("nginx.service")?, parent.create("other.service")?);
    let (seen_id, unseen_id) = (seen.id(), unseen.id());
    assert_eq!(label(&mut resolver, seen_id).as_deref(), Some("unit nginx.service"));
    seen.remove()?;
    unseen.remove()?;
    assert_eq!(label(&mut resolver, seen_id).as_deref(), Some("unit nginx.service"));
    assert_eq!(label(&mut resolver, unseen_id), None);
    Ok(())
}

fn named_later() -> Result<(), Failed> {
    let (parent, (mut resolver, root)) = (scratch(), resolver()?);
    let container = parent.create(format!("docker-{ID}.scope"))?;
    assert_eq!(label(&mut resolver, container.id()).as_deref(), Some("docker/f31f384749f9"));
    let directory = root.path().join("var/lib/docker/containers").join(ID);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("config.v2.json"), r#"{"Name":"/web","Config":{"Image":"nginx"}}"#)?;
    knobgate_testing::eventually("the container has its name", || {
        label(&mut resolver, container.id()).as_deref() == Some("docker/web")
    });
    let workload = resolver.resolve(container.id()).expect("it is known");
    assert_eq!(workload.engine, Engine::Docker);
    container.remove()?;
    Ok(())
}

fn walked() -> Result<(), Failed> {
    let parent = scratch();
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-dac_read_search", "--bounding-set=-dac_read_search"]);
    command.arg(std::env::current_exe()?).arg(WITHOUT_HANDLES).arg(parent.path());
    let output = command.output()?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{messages}{}", output.status).into()) }
}

/// What [`walked`] checks, in a process that cannot use handles.
fn walks(parent: &str) -> Result<(), Failed> {
    let parent = Cgroup::open(parent)?;
    let hierarchy = knobgate::kernel::Hierarchy::find()?;
    assert!(hierarchy.path_by_handle(parent.id()).is_err(), "the capability is still there");
    let (mut resolver, _root) = resolver()?;

    let (seen, walked) = (parent.create("a.service")?, parent.create("b.service")?);
    assert_eq!(label(&mut resolver, seen.id()).as_deref(), Some("unit a.service"));
    let walked_id = walked.id();
    walked.remove()?;
    // The walk has seen it.
    assert_eq!(label(&mut resolver, walked_id).as_deref(), Some("unit b.service"));

    let new = parent.create("c.service")?;
    assert_eq!(label(&mut resolver, new.id()), None, "this took a second walk at once");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(label(&mut resolver, new.id()).as_deref(), Some("unit c.service"));
    assert_eq!(label(&mut resolver, walked_id).as_deref(), Some("unit b.service"));
    seen.remove()?;
    new.remove()?;
    Ok(())
}
