//! The name of a process's v2 cgroup: `/proc/PID/cgroup`.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The name of the process's cgroup in its own cgroup namespace; `None` if that is ours.
///
/// # Errors
///
/// The process is gone or in no v2 cgroup, or its namespace cannot be entered.
pub fn name_in_its_namespace(pid: u32) -> io::Result<Option<PathBuf>> {
    let namespace = PathBuf::from(format!("/proc/{pid}/ns/cgroup"));
    if fs::read_link(&namespace)? == fs::read_link("/proc/self/ns/cgroup")? {
        return Ok(None);
    }
    let namespace = fs::File::open(namespace)?;
    let look = move || {
        // This thread alone changes its namespace, and ends.
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ControlGroup))?;
        name_in(Path::new(&format!("/proc/{pid}/cgroup")))
    };
    let looked = std::thread::Builder::new().spawn(look)?.join();
    looked.unwrap_or_else(|_| Err(io::Error::other("the thread in its namespace panicked"))).map(Some)
}

/// The name of the v2 cgroup in a `/proc/PID/cgroup`.
pub(crate) fn name_in(file: &Path) -> io::Result<PathBuf> {
    unified_name(&fs::read(file)?).ok_or_else(|| io::Error::other("it is in no cgroup v2"))
}

/// The name after `0::`.
pub(crate) fn unified_name(text: &[u8]) -> Option<PathBuf> {
    let name = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(PathBuf::from(OsString::from_vec(name.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_name_is_after_two_colons() {
        let cases: [(&[u8], Option<&str>); 5] = [
            (b"0::/\n", Some("/")),
            (b"9:name=systemd:/x\n4:memory:/y\n0::/a b:c\n", Some("/a b:c")),
            // Either the cgroup was removed, or this is its name.
            (b"0::/gone (deleted)\n", Some("/gone (deleted)")),
            (b"4:memory:/y\n", None),
            (b"", None),
        ];
        for (text, expected) in cases {
            assert_eq!(unified_name(text).as_deref(), expected.map(Path::new), "{text:?}");
        }
    }
}
