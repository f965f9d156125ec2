//! What a process sees of the cgroup hierarchy: by its mounts, and by what it holds open.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use knobgate_kernel::{Hierarchy, Mount, mounts_of};

use super::sight::open_files;

/// A part of the hierarchy that a process sees.
pub(super) struct View {
    /// The directory as we see it.
    pub(super) top: PathBuf,
    /// Where the process sees it.
    pub(super) at: PathBuf,
    pub(super) writable: bool,
}

impl View {
    /// Whether the cgroup at `path` is in it.
    pub(super) fn shows(&self, path: &Path) -> bool {
        path.starts_with(&self.top)
    }
}

/// All that a process sees.
pub(super) struct Views {
    pub(super) views: Vec<View>,
    /// `cgroup.procs` and `cgroup.threads`, open for writing.
    pub(super) members: Vec<PathBuf>,
}

impl Views {
    pub(super) fn of(pid: u32, hierarchy: &Hierarchy) -> Result<Self, Box<dyn std::error::Error>> {
        let mut views = Self { views: mounted(pid, hierarchy)?, members: Vec::new() };
        add_open_files(&mut views, pid, hierarchy)?;
        Ok(views)
    }
}

/// The parts of the hierarchy that are mounted where the process sees them.
fn mounted(pid: u32, hierarchy: &Hierarchy) -> Result<Vec<View>, Box<dyn std::error::Error>> {
    let mounts = mounts_of(pid)?.into_iter().filter(|mount| mount.fs_type == "cgroup2");
    let view = |Mount { root, point, read_only, .. }: Mount| {
        let top = hierarchy.directory(&root).ok_or_else(|| {
            format!("the cgroup {} that it sees at {} is out of our sight", root.display(), point.display())
        })?;
        Ok(View { top, at: point, writable: !read_only })
    };
    mounts.map(view).collect()
}

/// Adds what the process holds open.
fn add_open_files(
    views: &mut Views,
    pid: u32,
    hierarchy: &Hierarchy,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut paths: Option<HashMap<u64, PathBuf>> = None;
    let directory = PathBuf::from(format!("/proc/{pid}"));
    for link in open_files(&directory)? {
        // What is closed meanwhile is not there.
        let Ok(metadata) = fs::metadata(&link) else { continue };
        if !hierarchy.holds(&metadata) {
            continue;
        }
        if !metadata.is_dir() {
            let path = fs::read_link(&link).unwrap_or_default();
            let lists_members = path.ends_with("cgroup.procs") || path.ends_with("cgroup.threads");
            if lists_members && is_writable(&directory, &link) {
                views.members.push(path);
            }
            continue;
        }
        let paths = match &mut paths {
            Some(paths) => paths,
            None => paths.insert(hierarchy.paths_by_id()?),
        };
        if let Some(top) = paths.get(&metadata.ino()) {
            views.views.push(View { top: top.clone(), at: link, writable: false });
        }
    }
    Ok(())
}

/// Whether a descriptor of the process in this directory is for writing.
fn is_writable(process: &Path, link: &Path) -> bool {
    const ACCESS_MODE: u32 = 0o3;
    let info = fs::read_to_string(process.join("fdinfo").join(link.file_name().unwrap_or_default()));
    let info = info.unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & ACCESS_MODE != 0)
}
