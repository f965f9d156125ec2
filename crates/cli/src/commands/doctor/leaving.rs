//! Whether a process could leave the cgroup with its policy.
//!
//! A process can write to the `cgroup.procs` of another cgroup, or start a child there (clone3(2) with
//! `CLONE_INTO_CGROUP`), which takes a descriptor of the directory but no writable mount. In both cases, the kernel
//! checks write permission for the `cgroup.procs` of that cgroup and of the nearest common ancestor
//! (`cgroup_attach_permissions()`, kernel/cgroup/cgroup.c).

use std::fs;
use std::path::{Path, PathBuf};

use knobgate_kernel::{Capability, Cgroup, CgroupError, CgroupType, Hierarchy};

use super::finding::Finding;
use super::process_mounts::ProcessMounts;
use super::visible_cgroups::{View, VisibleCgroups};
use super::workload::Workload;

const WHAT: &str = "leaving its cgroup";

/// How many cgroups are examined. With more, leaving counts as possible.
const CGROUPS_MAX: usize = 20_000;

/// Examines a process in `cgroup`.
pub(super) fn examine(workload: &Workload, mounts: &ProcessMounts, cgroup: &Cgroup) -> Finding {
    if workload.can(Capability::SysAdmin) {
        return Finding::less(
            WHAT,
            "possible: CAP_SYS_ADMIN can mount the hierarchy",
            "it can move itself out of the policy; drop CAP_SYS_ADMIN",
        );
    }
    match Search::new(workload, mounts, cgroup).and_then(|search| search.find()) {
        Ok(WayOut::Nothing { views: 0 }) => Finding::ok(WHAT, "it sees no cgroups"),
        Ok(WayOut::Nothing { .. }) => {
            Finding::ok(WHAT, "it sees no cgroup outside of the policy that it may go to")
        }
        Ok(WayOut::ByHandle) => Finding::less(
            WHAT,
            "possible: CAP_DAC_READ_SEARCH opens any cgroup by its handle",
            "it can start a child outside of the policy, in any cgroup; drop CAP_DAC_READ_SEARCH, or mount no cgroup2",
        ),
        Ok(WayOut::Cgroup { path, view, writable }) => {
            let how = if writable {
                "it can write to its cgroup.procs"
            } else {
                "it can start a child there with clone3(2)"
            };
            Finding::less(
                WHAT,
                format!("possible: {} shows the cgroup {}, and {how}", view.display(), path.display()),
                "it can get out of the policy; give it a cgroup namespace, and mounts of cgroup2 that show no other cgroup",
            )
        }
        Ok(WayOut::NewCgroup { path, view }) => Finding::less(
            WHAT,
            format!(
                "possible: {} shows the cgroup {}, in which it can make another",
                view.display(),
                path.display()
            ),
            "it can get out of the policy; give it a cgroup namespace, and mounts of cgroup2 that show no other cgroup",
        ),
        Ok(WayOut::OpenFile { path }) => Finding::less(
            WHAT,
            format!("possible: it holds {} open for writing", path.display()),
            "it can move itself out of the policy with this descriptor; start it without it",
        ),
        Ok(WayOut::Unknown) => Finding::less(
            WHAT,
            "unknown: it has capabilities in a user namespace of its own",
            "it may be allowed to move; give it a cgroup namespace that begins at the cgroup with the policy, or below",
        ),
        Ok(WayOut::TooMany) => Finding::less(
            WHAT,
            format!("unknown: it sees more than {CGROUPS_MAX} cgroups"),
            "it may be able to go to some of them; give it a cgroup namespace, and mounts of cgroup2 that show no other cgroup",
        ),
        Err(error) => Finding::less(WHAT, "unknown", error.to_string()),
    }
}

enum WayOut {
    /// None; it sees this number of parts of the hierarchy.
    Nothing {
        views: usize,
    },
    /// It can open any cgroup by handle.
    ByHandle,
    /// It can go to this cgroup, which is visible in `view`.
    Cgroup {
        path: PathBuf,
        view: PathBuf,
        writable: bool,
    },
    /// It can create a cgroup in this one, which is visible in `view`.
    NewCgroup {
        path: PathBuf,
        view: PathBuf,
    },
    /// It has `cgroup.procs` or `cgroup.threads` of another cgroup open.
    OpenFile {
        path: PathBuf,
    },
    /// It has capabilities in another user namespace.
    Unknown,
    TooMany,
}

struct Search<'a> {
    workload: &'a Workload,
    views: Vec<View>,
    /// The cgroup with the policy.
    held: Cgroup,
    /// The root of its cgroup namespace, if that is not ours.
    namespace: Option<PathBuf>,
    /// It can only move below that root (`nsdelegate`).
    delegated: bool,
    /// The `cgroup.procs` and `cgroup.threads` that it has open for writing.
    open: Vec<PathBuf>,
}

impl<'a> Search<'a> {
    fn new(
        workload: &'a Workload,
        mounts: &ProcessMounts,
        cgroup: &Cgroup,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let hierarchy = Hierarchy::find()?;
        let VisibleCgroups { views, members } = VisibleCgroups::of(mounts, &hierarchy)?;
        let delegated = hierarchy.delegates_to_namespaces();
        let namespace = namespace_root(mounts.pid(), cgroup);
        Ok(Self { workload, views, held: held(cgroup)?, namespace, delegated, open: members })
    }

    fn find(&self) -> Result<WayOut, Box<dyn std::error::Error>> {
        // Whether its whole cgroup namespace is under the policy.
        let inside = self.namespace.as_ref().is_some_and(|root| root.starts_with(self.held.path()));
        let sees_any = !self.views.is_empty() || !self.open.is_empty();
        if sees_any && !(self.delegated && inside) && self.workload.can(Capability::DacReadSearch) {
            return Ok(WayOut::ByHandle);
        }
        if let Some(path) = self.open.iter().find(|path| !path.starts_with(self.held.path())) {
            return Ok(WayOut::OpenFile { path: path.clone() });
        }
        if self.workload.has_capabilities_elsewhere() && !inside {
            return Ok(WayOut::Unknown);
        }
        let mut seen = 0;
        let mut below = self.held.path().to_owned();
        let mut above = self.held.parent()?;
        while let Some(common) = above {
            if self.may_write(common.path()) {
                let mut candidates = vec![common.path().to_owned()];
                candidates.extend(common.descendants()?.into_iter().map(|(_, path)| path));
                for path in candidates.into_iter().filter(|path| !path.starts_with(&below)) {
                    seen += 1;
                    if seen > CGROUPS_MAX {
                        return Ok(WayOut::TooMany);
                    }
                    if let Some(view) = self.way_to(&path)? {
                        return Ok(WayOut::Cgroup { path, view: view.at.clone(), writable: view.writable });
                    }
                    if let Some(view) = self.way_to_make_one(&path) {
                        return Ok(WayOut::NewCgroup { path, view: view.at.clone() });
                    }
                }
            }
            below = common.path().to_owned();
            above = common.parent()?;
        }
        Ok(WayOut::Nothing { views: self.views.len() })
    }

    /// The view with the cgroup at `path`, if the process can go there.
    fn way_to(&self, path: &Path) -> Result<Option<&View>, CgroupError> {
        let Some(view) = self.view_of(path).filter(|_| self.may_write(path)) else { return Ok(None) };
        match Cgroup::open(path).and_then(|cgroup| Ok((cgroup.kind()?, cgroup.takes_processes()?))) {
            Ok((CgroupType::Root, _) | (CgroupType::Domain, true)) => Ok(Some(view)),
            // clone3(2) cannot start a child there.
            Ok((CgroupType::DomainThreaded, true)) => Ok(Some(view).filter(|view| view.writable)),
            Ok(_) | Err(CgroupError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The view with the cgroup at `path`, if the process can create a child cgroup there, or make it accept processes
    /// again.
    fn way_to_make_one(&self, path: &Path) -> Option<&View> {
        let may_write = |path: &Path| fs::metadata(path).is_ok_and(|file| self.workload.may_write(&file));
        let view = self.view_of(path).filter(|view| view.writable)?;
        (may_write(path) || may_write(&path.join("cgroup.subtree_control")) && self.may_write(path))
            .then_some(view)
    }

    /// The view with the cgroup at `path`, preferably a writable one, if the process may move there.
    fn view_of(&self, path: &Path) -> Option<&View> {
        let outside = self.delegated && self.namespace.as_ref().is_some_and(|root| !path.starts_with(root));
        let views = || self.views.iter().filter(|view| view.shows(path));
        views().find(|view| view.writable).or_else(|| views().next()).filter(|_| !outside)
    }

    fn may_write(&self, cgroup: &Path) -> bool {
        fs::metadata(cgroup.join("cgroup.procs")).is_ok_and(|file| self.workload.may_write(&file))
    }
}

/// The nearest cgroup with programs, from `cgroup` upwards; `cgroup` if there is none.
pub(super) fn held(cgroup: &Cgroup) -> Result<Cgroup, Box<dyn std::error::Error>> {
    let own = Cgroup::open(cgroup.path())?;
    let mut above = Some(Cgroup::open(cgroup.path())?);
    while let Some(candidate) = above {
        if !candidate.attached()?.program_ids.is_empty() {
            return Ok(candidate);
        }
        above = candidate.parent()?;
    }
    Ok(own)
}

/// The root of the process's cgroup namespace, if that is not ours and is above the process.
fn namespace_root(pid: u32, cgroup: &Cgroup) -> Option<PathBuf> {
    let name = knobgate_kernel::name_in_its_namespace(pid).ok()??;
    let name = name.strip_prefix("/").ok()?.to_owned();
    if !cgroup.path().ends_with(&name) {
        return None;
    }
    Some(cgroup.path().ancestors().nth(name.components().count())?.to_owned())
}
