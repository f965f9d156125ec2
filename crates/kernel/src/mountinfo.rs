//! Mounts: `/proc/PID/mountinfo`, see proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::{fs, io};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::fdinfo::FdInfo;

/// A mount: the fields of a line of `mountinfo` that we need.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mount {
    /// The mount id.
    pub id: u32,
    /// The mounted directory of the file system. For a cgroup hierarchy, it is relative to the root of the reader's
    /// cgroup namespace.
    pub root: PathBuf,
    /// The mount point.
    pub point: PathBuf,
    /// The type of the file system.
    pub fs_type: String,
    /// The mount or its file system is read-only.
    pub read_only: bool,
    /// The options of the file system, separated by commas.
    pub super_options: String,
}

/// The mounts of this process, of the file system types in `fs_types`, in the kernel's order.
pub(crate) fn mounts(fs_types: &[&str]) -> io::Result<Vec<Mount>> {
    let text = fs::read("/proc/self/mountinfo")?;
    Ok(parse(&text).filter(|mount| fs_types.contains(&mount.fs_type.as_str())).collect())
}

/// The mounts of the process `pid`, in the kernel's order.
///
/// # Errors
///
/// There is no such process, or `/proc` hides it.
pub fn mounts_of(pid: u32) -> io::Result<Vec<Mount>> {
    Ok(parse(&fs::read(format!("/proc/{pid}/mountinfo"))?).collect())
}

impl Mount {
    /// Whether this process finds it at its [`point`](Self::point): no other mount covers it.
    pub(crate) fn is_visible(&self) -> io::Result<bool> {
        let directory = match open(&self.point, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let info = FdInfo::of(directory.as_fd())?;
        Ok(info.get("mnt_id").is_some_and(|id| id.parse() == Ok(self.id)))
    }
}

/// Parses a `mountinfo`. Skips malformed lines.
pub(crate) fn parse(text: &[u8]) -> impl Iterator<Item = Mount> + '_ {
    text.split(|&byte| byte == b'\n').filter_map(parse_line)
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let root = fields.nth(2)?;
    let point = fields.next()?;
    let options = fields.next()?;
    // A "-" ends the optional fields.
    fields.find(|field| *field == b"-")?;
    let fs_type = fields.next()?;
    let super_options = fields.nth(1).unwrap_or_default();
    let read_only = |options: &[u8]| options.split(|&byte| byte == b',').any(|option| option == b"ro");
    Some(Mount {
        id,
        read_only: read_only(options) || read_only(super_options),
        super_options: String::from_utf8_lossy(super_options).into_owned(),
        root: unescape(root),
        point: unescape(point),
        fs_type: String::from_utf8(fs_type.to_vec()).ok()?,
    })
}

/// Undoes the kernel's escapes: a backslash and three octal digits for space, tab, newline, backslash and `#`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match digits {
            Some(digits) if first == b'\\' => {
                bytes.push(
                    digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')),
                );
                rest = &after[3..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> (String, String, String) {
        let mounts: Vec<Mount> = parse(line.as_bytes()).collect();
        let [mount] = mounts.as_slice() else { panic!("{line:?} gave {mounts:?}") };
        (mount.root.display().to_string(), mount.point.display().to_string(), mount.fs_type.clone())
    }

    #[test]
    fn a_line_gives_root_point_and_type() {
        let cases = [
            // systemd, unified
            (
                "29 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot",
                ("/", "/sys/fs/cgroup", "cgroup2"),
            ),
            // hybrid
            (
                "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
                ("/", "/sys/fs/cgroup/unified", "cgroup2"),
            ),
            (
                "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:10 master:3 - cgroup cgroup rw,cpu",
                ("/", "/sys/fs/cgroup/cpu", "cgroup"),
            ),
            // a container without a cgroup namespace of its own
            (
                "612 611 0:26 /system.slice/docker-0123.scope /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw",
                ("/system.slice/docker-0123.scope", "/sys/fs/cgroup", "cgroup2"),
            ),
            // escapes, in both paths
            (
                r"70 22 0:26 /a\040b /mnt/tab\011new\012back\134hash\043 rw - cgroup2 none rw",
                ("/a b", "/mnt/tab\tnew\nback\\hash#", "cgroup2"),
            ),
            // no escape: a backslash without three octal digits
            (r"70 22 0:26 / /mnt/\08\9 rw - bpf none rw", ("/", r"/mnt/\08\9", "bpf")),
        ];
        for (line, (root, point, fs_type)) in cases {
            assert_eq!(parsed(line), (root.into(), point.into(), fs_type.into()), "{line}");
        }
    }

    #[test]
    fn a_mount_or_its_file_system_is_read_only() {
        for (line, expected) in [
            ("29 22 0:26 / /c rw,nosuid - cgroup2 c rw,nsdelegate", false),
            ("29 22 0:26 / /c ro,nosuid - cgroup2 c rw", true),
            ("29 22 0:26 / /c rw shared:1 - cgroup2 c ro", true),
            ("29 22 0:26 / /c rw,errors=ro - cgroup2 c rw", false),
        ] {
            let mounts: Vec<Mount> = parse(line.as_bytes()).collect();
            assert_eq!(
                mounts.iter().map(|mount| (mount.id, mount.read_only)).collect::<Vec<_>>(),
                [(29, expected)],
                "{line}"
            );
        }
    }

    #[test]
    fn malformed_lines_are_skipped() {
        let text = b"\ngarbage\n1 2 3\n1 2 0:3 / /p rw shared:1\n29 22 0:26 / /c rw - cgroup2 c rw\n";
        let mounts: Vec<Mount> = parse(text).collect();
        assert_eq!(mounts.len(), 1);
    }
}
