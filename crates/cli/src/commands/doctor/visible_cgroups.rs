//! The parts of the cgroup hierarchy that a process can reach: through its mounts, and through what it holds open.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use knobgate_kernel::{FdInfo, Hierarchy, Mount};

use super::process_mounts::{ProcessMounts, open_files};

/// A part of the hierarchy that a process can reach.
pub(super) struct View {
    /// Its topmost cgroup, by our path.
    pub(super) top: PathBuf,
    /// The same, by the path of the process.
    pub(super) at: PathBuf,
    pub(super) writable: bool,
}

impl View {
    /// Whether the cgroup at `path` is in it.
    pub(super) fn shows(&self, path: &Path) -> bool {
        path.starts_with(&self.top)
    }
}

/// All parts that a process can reach.
pub(super) struct VisibleCgroups {
    pub(super) views: Vec<View>,
    /// The `cgroup.procs` and `cgroup.threads` that it holds open for writing.
    pub(super) members: Vec<PathBuf>,
}

impl VisibleCgroups {
    pub(super) fn of(
        mounts: &ProcessMounts,
        hierarchy: &Hierarchy,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut visible = Self { views: mounted(mounts, hierarchy)?, members: Vec::new() };
        visible.add_open_files(mounts.pid(), hierarchy)?;
        Ok(visible)
    }

    fn add_open_files(&mut self, pid: u32, hierarchy: &Hierarchy) -> Result<(), Box<dyn std::error::Error>> {
        let mut paths: Option<HashMap<u64, PathBuf>> = None;
        for link in open_files(pid)? {
            // It may have been closed in the meantime.
            let Ok(metadata) = fs::metadata(&link) else { continue };
            if !hierarchy.holds(&metadata) {
                continue;
            }
            if !metadata.is_dir() {
                let path = fs::read_link(&link).unwrap_or_default();
                let lists_members = path.ends_with("cgroup.procs") || path.ends_with("cgroup.threads");
                if lists_members && FdInfo::read(&link).is_ok_and(|info| info.is_writable()) {
                    self.members.push(path);
                }
                continue;
            }
            let paths = match &mut paths {
                Some(paths) => paths,
                None => paths.insert(hierarchy.paths_by_id()?),
            };
            if let Some(top) = paths.get(&metadata.ino()) {
                self.views.push(View { top: top.clone(), at: link, writable: false });
            }
        }
        Ok(())
    }
}

/// The parts of the hierarchy that the process finds mounted.
fn mounted(mounts: &ProcessMounts, hierarchy: &Hierarchy) -> Result<Vec<View>, Box<dyn std::error::Error>> {
    let view = |Mount { root, point, read_only, .. }: &Mount| {
        let top = hierarchy.directory(root).ok_or_else(|| {
            format!("the cgroup {} that it sees at {} is not visible here", root.display(), point.display())
        })?;
        Ok(View { top, at: point.clone(), writable: !read_only })
    };
    mounts.of_type("cgroup2").map(view).collect()
}
