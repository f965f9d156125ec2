//! What is mounted where: `/proc/PID/mountinfo`, of which proc_pid_mountinfo(5) tells the format.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::{fs, io};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::fdinfo::FdInfo;

/// One line of `mountinfo`, as far as we need it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mount {
    /// What tells it from other mounts in the same place.
    pub id: u32,
    /// The directory of the file system that is mounted; for a cgroup hierarchy relative to the root of the reader's
    /// cgroup namespace.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The type of the file system.
    pub fs_type: String,
    /// Nothing can be written by way of it: the mount or the file system is read-only.
    pub read_only: bool,
    /// The options of the file system, with commas between them.
    pub super_options: String,
}

/// The mounts that this process sees, of the file system types in `fs_types`, in the kernel's order.
pub(crate) fn mounts(fs_types: &[&str]) -> io::Result<Vec<Mount>> {
    let text = fs::read("/proc/self/mountinfo")?;
    Ok(parse(&text).filter(|mount| fs_types.contains(&mount.fs_type.as_str())).collect())
}

/// The mounts that the process `pid` sees, in the kernel's order.
///
/// # Errors
///
/// When there is no such process, or it is not for us to see.
pub fn mounts_of(pid: u32) -> io::Result<Vec<Mount>> {
    Ok(parse(&fs::read(format!("/proc/{pid}/mountinfo"))?).collect())
}

impl Mount {
    /// Whether it is what this process finds at its [`point`](Self::point): no other mount lies over that.
    pub(crate) fn is_uppermost(&self) -> io::Result<bool> {
        let directory = match open(&self.point, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let info = FdInfo::of(directory.as_fd())?;
        Ok(info.get("mnt_id").is_some_and(|id| id.parse() == Ok(self.id)))
    }
}

/// The mounts in the text of a `mountinfo`. A line that is not of its format is passed over.
pub(crate) fn parse(text: &[u8]) -> impl Iterator<Item = Mount> + '_ {
    text.split(|&byte| byte == b'\n').filter_map(parse_line)
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let root = fields.nth(2)?;
    let point = fields.next()?;
    let options = fields.next()?;
    // Any number of optional fields lies between the mount's options and a lone "-".
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

/// Undoes the kernel's escapes: a backslash and three octal digits for each of space, tab, newline, backslash (and `#`).
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
            // no escape: a backslash without three octal digits behind it
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
    fn what_is_no_mount_is_passed_over() {
        let text = b"\ngarbage\n1 2 3\n1 2 0:3 / /p rw shared:1\n29 22 0:26 / /c rw - cgroup2 c rw\n";
        let mounts: Vec<Mount> = parse(text).collect();
        assert_eq!(mounts.len(), 1);
    }
}
