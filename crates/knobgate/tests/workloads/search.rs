//! From the name of a workload to its cgroup.

use std::fs;
use std::path::Path;
use std::process::Command;

use knobgate::kernel::{Cgroup, Hierarchy};
use knobgate::workload::{EngineState, WorkloadName};
use knobgate::{FoundWorkload, WorkloadResolver, WorkloadSearchError};
use knobgate_testing::{Container, Test, scratch};
use libtest_mimic::Failed;

pub(crate) const TESTS: &[Test] = &[
    ("a_name_leads_to_the_topmost_cgroup_of_the_outermost_workload", found),
    ("a_name_that_was_made_up_below_a_cgroup_without_a_pattern_is_not_found", made_up),
];

pub(crate) const WITH_RUNC: &[Test] = &[("a_name_leads_to_a_container_of_runc_in_any_cgroup", found_of_runc)];

/// The argument that makes this binary search in a hierarchy whose root is the cgroup of the test.
pub(crate) const SEARCH: &str = "--search";

const A: &str = "aa1f384749f9115acf01fcf82f5a966b59dcc0a4cbd7c9740888c0bf32aa2bbb";
const B: &str = "aa21384749f9115acf01fcf82f5a966b59dcc0a4cbd7c9740888c0bf32aa2bbb";
const C: &str = "cc21384749f9115acf01fcf82f5a966b59dcc0a4cbd7c9740888c0bf32aa2bbb";
const D: &str = "dd21384749f9115acf01fcf82f5a966b59dcc0a4cbd7c9740888c0bf32aa2bbb";
const POD: &str = "kubepods/burstable/pod2f1a3b4c";
const TWIN: &str = "kubepods/burstable/pod99993b4c";

/// Runs [`search`] in a cgroup namespace, where names of cgroups are like those of a whole machine.
fn found() -> Result<(), Failed> {
    const INSIDE: &str = r#"echo $$ >"$1/cgroup.procs"
        exec unshare --cgroup --mount sh -c 'umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$0" "$1"' "$0" "$2""#;
    let parent = scratch();
    let mut command = Command::new("sh");
    command.args(["-c", INSIDE]).arg(std::env::current_exe()?).arg(parent.path()).arg(SEARCH);
    let output = command.output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
    }
}

/// What engines keep of the containers.
fn write_state(root: &Path) -> std::io::Result<()> {
    let docker = |id: &str, name: &str, labels: &str| {
        let directory = root.join("var/lib/docker/containers").join(id);
        fs::create_dir_all(&directory)?;
        let config = format!(r#"{{"Name":"/{name}","Config":{{"Image":"nginx","Labels":{{{labels}}}}}}}"#);
        fs::write(directory.join("config.v2.json"), config)
    };
    docker(A, "web", "")?;
    docker(B, "b", "")?;
    let pod = r#""io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"prod","io.kubernetes.container.name":"nginx""#;
    docker(C, "c", pod)?;
    docker(D, "d", &pod.replace("web-0", "twin"))
}

/// What [`found`] checks.
pub(crate) fn search() -> Result<(), Failed> {
    let root = tempfile::tempdir()?;
    write_state(root.path())?;
    let hierarchy = Hierarchy::find()?.root()?;
    let cgroups = [
        format!("docker/{A}/docker/{B}"),
        format!("docker/{A}/system.slice/nginx.service"),
        format!("docker/{B}"),
        format!("{POD}/{C}"),
        format!("{TWIN}/{D}"),
        format!("kubepods/burstable/pod11113b4c/{}", D.replace("dd", "ee")),
        format!("machine.slice/libpod-{}.scope/container", A.replace("aa", "ff")),
        format!("machine.slice/libpod-conmon-{}.scope", A.replace("aa", "ff")),
        "lxc.payload.web".to_owned(),
        "system.slice/nginx.service/worker".to_owned(),
        "system.slice/shop.service/docker/web.service".to_owned(),
        format!("system.slice/shop.service/docker-{}.scope", A.replace("aa", "bb")),
        "user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service".to_owned(),
    ];
    for cgroup in &cgroups {
        fs::create_dir_all(hierarchy.path().join(cgroup))?;
    }
    let mut resolver = WorkloadResolver::with_state(EngineState::below(root.path()))?;
    let mut place = |name: &WorkloadName| {
        let found = resolver.find(name)?;
        let path = found.cgroup.path().strip_prefix(hierarchy.path()).expect("a path in the hierarchy");
        Ok::<_, WorkloadSearchError>(path.display().to_string())
    };
    let container = |name: &str| WorkloadName::Container(name.to_owned());
    for (name, expected) in [
        (container("docker/web"), format!("docker/{A}")),
        (container(A), format!("docker/{A}")),
        (container("aa1"), format!("docker/{A}")),
        (container("lxc/web"), "lxc.payload.web".to_owned()),
        // The name, and not the id that begins with it.
        (container("b"), format!("docker/{B}")),
        (container("ff"), format!("machine.slice/libpod-{}.scope", A.replace("aa", "ff"))),
        (container("nginx"), String::new()),
        (WorkloadName::unit("nginx"), "system.slice/nginx.service".to_owned()),
        (WorkloadName::unit("system.slice"), "system.slice".to_owned()),
        (WorkloadName::pod("prod/web-0").expect("a pod"), POD.to_owned()),
    ] {
        match place(&name) {
            Ok(path) => assert_eq!(path, expected, "{name}"),
            // Both pods have a container of this name.
            Err(WorkloadSearchError::Several(found)) if expected.is_empty() => assert_eq!(found.len(), 2),
            Err(error) => return Err(format!("{name}: {error:?}").into()),
        }
    }
    // Docker's and LXC's; and the beginning of two ids.
    for name in ["web", "aa"] {
        let labels = match place(&container(name)) {
            Err(WorkloadSearchError::Several(found)) => labels(&found),
            other => return Err(format!("{name}: {other:?}").into()),
        };
        let expected = if name == "web" { ["docker/web", "lxc/web"] } else { ["docker/web", "docker/b"] };
        assert_eq!(labels, expected, "{name}");
    }
    for (name, claimed) in [
        (container("wbe"), &[][..]),
        (container("bb1f384749f9"), &["docker/bb1f384749f9"]),
        (WorkloadName::unit("web"), &[]),
        (WorkloadName::unit("app.slice"), &["user 1000 unit app.slice"]),
        (WorkloadName::unit(&format!("libpod-conmon-{}.scope", A.replace("aa", "ff"))), &[]),
        (WorkloadName::pod("prod/web-1").expect("a pod"), &[]),
    ] {
        match place(&name) {
            Err(WorkloadSearchError::NotFound { claimed: found, existing }) => {
                assert_eq!(labels(&found), claimed, "{name}");
                assert!(labels(&existing).contains(&"docker/web".to_owned()), "{existing:?}");
            }
            other => return Err(format!("{name}: {other:?}").into()),
        }
    }
    fs::create_dir_all(hierarchy.path().join("docker").join(C))?;
    match place(&WorkloadName::pod("prod/web-0").expect("a pod")) {
        // There, Docker's labels of pods do not count.
        Ok(path) => assert_eq!(path, POD),
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}

fn labels(found: &[FoundWorkload]) -> Vec<String> {
    found.iter().map(|found| found.workload.label().escape_ascii().to_string()).collect()
}

fn made_up() -> Result<(), Failed> {
    /// The other tests see this cgroup.
    const ID: &str = "e11f384749f9115acf01fcf82f5a966b59dcc0a4cbd7c9740888c0bf32aa2bbb";
    let (parent, root) = (scratch(), tempfile::tempdir()?);
    let above = parent.create("docker")?;
    let cgroup = above.create(ID)?;
    let mut resolver = WorkloadResolver::with_state(EngineState::below(root.path()))?;
    let name = WorkloadName::Container(ID.to_owned());
    match resolver.find(&name) {
        Err(WorkloadSearchError::NotFound { claimed, .. }) => {
            assert_eq!(labels(&claimed), ["docker/e11f384749f9"]);
        }
        other => return Err(format!("{other:?}").into()),
    }
    // Docker itself says that the container is there, as with `--cgroup-parent`.
    let path = Hierarchy::find()?.name(cgroup.path()).ok_or("a name")?;
    let state = root.path().join("run/docker/runtime-runc/moby").join(ID);
    fs::create_dir_all(&state)?;
    let contents =
        format!(r#"{{"id":"{ID}","cgroup_paths":{{"":"/sys/fs/cgroup{}"}},"config":{{}}}}"#, path.display());
    fs::write(state.join("state.json"), contents)?;
    let found = resolver.find(&name).map_err(|error| format!("{error:?}"))?;
    assert_eq!(found.cgroup.id(), cgroup.id());
    cgroup.remove()?;
    above.remove()?;
    Ok(())
}

fn found_of_runc() -> Result<(), Failed> {
    let (parent, root) = (scratch(), tempfile::tempdir()?);
    let name = Hierarchy::find()?.name(parent.path()).ok_or("a name")?.join("any/cgroup");
    let state = root.path().join("run/runc");
    let _container = Container::start("t-search", &name, "sleep 1000", root.path(), &state)?;
    let inside = Cgroup::open(parent.path().join("any/cgroup"))?.create("inside")?;
    let mut resolver = WorkloadResolver::with_state(EngineState::below(root.path()))?;
    let found = resolver.find(&WorkloadName::Container("t-search".to_owned()));
    let found = found.map_err(|error| format!("{error:?}"))?;
    assert_eq!(found.cgroup.path(), parent.path().join("any/cgroup"));
    inside.remove()?;
    Ok(())
}
