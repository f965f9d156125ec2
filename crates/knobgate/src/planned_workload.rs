//! Who a container will be that does not exist yet.

use std::path::{Path, PathBuf};

use knobgate_workload::{EngineState, OciContainer, Workload};

use crate::container_error::ContainerError;
use crate::oci_state::{OciBundle, bytes};

/// The container that a runtime would start from a bundle under this id. It has no cgroup yet: what its bundle asks for counts as its
/// cgroup. [`StartingContainer`](crate::StartingContainer) finds out the same when it has one.
///
/// # Errors
///
/// [`ContainerError::Bundle`].
pub fn planned_workload(id: &str, directory: &Path) -> Result<Workload, ContainerError> {
    let bundle = OciBundle::read(directory)?;
    let path = planned_cgroup(id, bundle.cgroups_path.as_deref());
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let container = OciContainer {
        id,
        bundle: bytes(&absolute),
        annotations: &bundle.annotations,
        cgroups_path: bundle.cgroups_path.as_deref(),
    };
    let mut workload = Workload::of_oci(path.as_bytes(), &container);
    EngineState::below("/").add_names(&mut workload, Some(&absolute));
    Ok(workload)
}

/// The cgroup that `linux.cgroupsPath` asks for. With systemd, it is `SLICE:PREFIX:NAME` (runc's `getUnitName()` and `ExpandSlice()`,
/// libcontainer/cgroups/systemd/common.go). Without one, runc makes a cgroup of the id's name.
fn planned_cgroup(id: &str, asked_for: Option<&str>) -> String {
    let Some(asked_for) = asked_for else { return format!("/{id}") };
    let parts: Vec<&str> = asked_for.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        return format!("/{}", asked_for.trim_start_matches('/'));
    };
    let unit = match (prefix, name) {
        (_, slice) if slice.ends_with(".slice") => slice.to_owned(),
        ("", name) => format!("{name}.scope"),
        (prefix, name) => format!("{prefix}-{name}.scope"),
    };
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let mut path = PathBuf::from("/");
    let whole = slice.strip_suffix(".slice").unwrap_or(slice);
    for (end, _) in whole.match_indices('-').filter(|(end, _)| *end > 0) {
        path.push(format!("{}.slice", &whole[..end]));
    }
    path.push(format!("{whole}.slice"));
    path.push(unit);
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::planned_cgroup;

    #[test]
    fn the_cgroup_is_the_one_that_the_bundle_asks_for() {
        for (asked_for, path) in [
            (None, "/web"),
            (Some("/x/c1"), "/x/c1"),
            (Some("x/c1"), "/x/c1"),
            (Some("system.slice:docker:web"), "/system.slice/docker-web.scope"),
            (Some("a-b-c.slice::web"), "/a.slice/a-b.slice/a-b-c.slice/web.scope"),
            (Some(":docker:web"), "/system.slice/docker-web.scope"),
            (Some("a.slice:x:b.slice"), "/a.slice/b.slice"),
        ] {
            assert_eq!(planned_cgroup("web", asked_for), path, "{asked_for:?}");
        }
    }
}
