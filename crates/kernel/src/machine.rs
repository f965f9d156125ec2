//! Facts about this machine that matter to a policy.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::capabilities::Capabilities;
use crate::cgroup::Cgroup;
use crate::cgroup_error::CgroupError;
use crate::cgroup_error::gone;
use crate::hierarchy::Hierarchy;
use crate::link::{Link, LinkInfo};
use crate::link_error::LinkError;
use crate::object::BpfObjectError;
use crate::query::Attached;

/// Facts about the machine. Those that cannot be read are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Machine {
    /// The kernel's release, as `uname -r` prints it.
    pub kernel_release: String,
    /// The boot id, which changes with every boot.
    pub boot_id: Option<String>,
    /// The capabilities of this process.
    pub capabilities: Option<Capabilities>,
    /// `kernel.unprivileged_bpf_disabled`: with 0, every user may call bpf(2).
    pub unprivileged_bpf_disabled: Option<i32>,
    /// `kernel.sysctl_writes_strict`: with 1, a write at a position other than 0 is ignored by numeric knobs and
    /// appended to text; with 0 (which logs a warning) and -1, it replaces the value.
    pub sysctl_writes_strict: Option<i32>,
    /// `net.core.bpf_jit_enable`
    pub bpf_jit_enable: Option<i32>,
    /// `kernel.bpf_stats_enabled`: with 1, runs of programs are counted and timed.
    pub bpf_stats_enabled: Option<i32>,
    /// `none`, `integrity` or `confidentiality`, if the kernel supports lockdown.
    pub lockdown: Option<String>,
}

impl Machine {
    /// Reads all of them.
    pub fn read() -> Self {
        Self {
            kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
            boot_id: boot_id().ok(),
            capabilities: Capabilities::of_this_process().ok(),
            unprivileged_bpf_disabled: number("kernel/unprivileged_bpf_disabled"),
            sysctl_writes_strict: number("kernel/sysctl_writes_strict"),
            bpf_jit_enable: number("net/core/bpf_jit_enable"),
            bpf_stats_enabled: number("kernel/bpf_stats_enabled"),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
                .ok()
                .and_then(|text| chosen(&text).map(str::to_owned)),
        }
    }
}

/// The version of the running kernel: `(6, 12, 94)`.
pub fn kernel_version() -> (u16, u16, u16) {
    let uname = rustix::system::uname();
    version_in(&uname.release().to_string_lossy(), &uname.version().to_string_lossy())
}

/// The version in the output of `uname -r` and `uname -v`. Releases of older Debian kernels end in 0, like
/// `6.1.0-49-amd64`; the real number is in the other string: `#1 SMP Debian 6.1.192-1 (…)`.
fn version_in(release: &str, version: &str) -> (u16, u16, u16) {
    let (major, minor, patch) = numbers(release);
    let same_series = |word: &&str| {
        let found = numbers(word);
        (found.0, found.1) == (major, minor)
    };
    let more = version.split([' ', '~', '(']).find(same_series);
    (major, minor, if patch == 0 { more.map_or(0, |word| numbers(word).2) } else { patch })
}

/// The numbers at the beginning of `text`. Missing ones are 0.
fn numbers(text: &str) -> (u16, u16, u16) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

/// The boot id.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(Path::new(PROC_SYS).join("kernel/random/boot_id"))?.trim().to_owned())
}

/// Where the knobs are.
pub const PROC_SYS: &str = "/proc/sys";

fn number(knob: &str) -> Option<i32> {
    fs::read_to_string(Path::new(PROC_SYS).join(knob)).ok()?.trim().parse().ok()
}

/// The word in brackets, as in `none [integrity] confidentiality`.
fn chosen(text: &str) -> Option<&str> {
    Some(text.split_once('[')?.1.split_once(']')?.0)
}

/// The names of all knobs that this process sees (the `net` ones are those of its network namespace), with slashes and
/// sorted: `net/ipv4/tcp_mem`.
///
/// Reads only directories, not knobs. Skips other file systems below `/proc/sys` (`fs/binfmt_misc`), where the hook
/// does not run. Returns at most 100,000 names.
///
/// # Errors
///
/// `/proc/sys` itself cannot be listed.
pub fn knob_names() -> io::Result<Vec<String>> {
    knob_names_below(Path::new(PROC_SYS))
}

/// The same for another directory like `/proc/sys`: that of a process in other namespaces, `/proc/PID/root/proc/sys`.
///
/// # Errors
///
/// The directory itself cannot be listed.
pub fn knob_names_below(directory: &Path) -> io::Result<Vec<String>> {
    const DEPTH: usize = 16;
    const NAMES_MAX: usize = 100_000;
    let device = rustix::fs::stat(directory)?.st_dev;
    let mut names = Vec::new();
    let mut pending = vec![(directory.to_owned(), 0)];
    'walk: while let Some((listed, depth)) = pending.pop() {
        let entries = match fs::read_dir(&listed) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            // Removed, like those of a removed interface, or not permitted.
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_dir() && depth < DEPTH {
                if rustix::fs::lstat(&path).is_ok_and(|stat| stat.st_dev == device) {
                    pending.push((path, depth + 1));
                }
            } else if kind.is_file()
                && let Some(name) = path.strip_prefix(directory).ok().and_then(Path::to_str)
            {
                names.push(name.to_owned());
                if names.len() == NAMES_MAX {
                    break 'walk;
                }
            }
        }
    }
    names.sort();
    Ok(names)
}

/// All programs and links of the hook on this machine.
#[derive(Debug)]
#[non_exhaustive]
pub struct MachineAttachments {
    /// The programs of each cgroup that has any, by path. Only for the mounted part of the hierarchy.
    pub cgroups: BTreeMap<PathBuf, Attached>,
    /// All links, including dead ones and those of cgroups outside that part.
    pub links: Vec<LinkInfo>,
}

/// Why the attached programs cannot be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// The hierarchy cannot be read.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A cgroup cannot be queried.
    #[error(transparent)]
    Object(#[from] BpfObjectError),
    /// The links cannot be listed.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl MachineAttachments {
    /// Queries all cgroups and all links. Skips cgroups that are removed in the meantime.
    ///
    /// # Errors
    ///
    /// [`SurveyError`]: it takes `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`, and a cgroup v2 hierarchy.
    pub fn find() -> Result<Self, SurveyError> {
        let root = Hierarchy::find()?.root()?;
        let mut cgroups = BTreeMap::new();
        let below = root.descendants()?;
        for path in below.into_iter().map(|(_, path)| path).chain([root.path().to_owned()]) {
            let cgroup = match Cgroup::open(&path) {
                Ok(cgroup) => cgroup,
                Err(CgroupError::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let attached = match cgroup.attached() {
                Ok(attached) => attached,
                // Removed after it was opened.
                Err(BpfObjectError::Failed { error, .. }) if gone(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            if attached.mode.is_some() {
                cgroups.insert(path, attached);
            }
        }
        Ok(Self { cgroups, links: Link::all()? })
    }

    /// Whether nothing is attached, so that accesses on this machine do not pay for the hook yet.
    pub fn is_empty(&self) -> bool {
        self.cgroups.is_empty() && self.links.iter().all(|link| link.cgroup_id.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lockdown_mode_is_in_brackets() {
        let cases = [
            ("none [integrity] confidentiality\n", Some("integrity")),
            ("[none] integrity confidentiality\n", Some("none")),
            ("none\n", None),
        ];
        for (text, expected) in cases {
            assert_eq!(chosen(text), expected, "{text}");
        }
    }

    #[test]
    fn a_kernel_version_has_three_numbers() {
        let cases = [
            ("6.12.94+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.94-1 (2026-07-01)", (6, 12, 94)),
            ("6.1.0-49-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-11-01)", (6, 1, 192)),
            ("5.10.0-32-amd64", "#1 SMP Debian 5.10.223-1 (2024-08-10)", (5, 10, 223)),
            ("5.15.0-25-generic", "#25-Ubuntu SMP Wed Mar 30 15:54:22 UTC 2022", (5, 15, 0)),
            ("7.3-rc1", "#1 SMP", (7, 3, 0)),
            ("6.18.44", "", (6, 18, 44)),
            ("", "", (0, 0, 0)),
        ];
        for (release, version, expected) in cases {
            assert_eq!(version_in(release, version), expected, "{release}, {version}");
        }
    }

    #[test]
    fn knob_names_are_sorted_paths_below_proc_sys() {
        let names = knob_names().expect("/proc/sys");
        assert!(names.is_sorted());
        assert!(names.iter().any(|name| name == "kernel/ostype"), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("fs/binfmt_misc/") || name.starts_with('/')));
    }
}
