//! What the kernel says of an open descriptor: `/proc/PID/fdinfo/FD`.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::{fs, io};

/// The fields of a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FdInfo {
    text: String,
}

impl FdInfo {
    /// Those of a descriptor of this process.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Self::read(Path::new(&format!("/proc/thread-self/fd/{}", fd.as_raw_fd())))
    }

    /// Those of any process's descriptor, by its link `/proc/PID/fd/FD`.
    ///
    /// # Errors
    ///
    /// It is closed, or is not for this process to see.
    pub fn read(link: &Path) -> io::Result<Self> {
        let process = link.parent().and_then(Path::parent).unwrap_or(Path::new(""));
        let file = process.join("fdinfo").join(link.file_name().unwrap_or_default());
        Ok(Self { text: fs::read_to_string(file)? })
    }

    /// The field `name`, if this kind of file has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }

    /// How many bytes of kernel memory a program or map has, without what the kernel needs to manage it (`memlock`).
    pub(crate) fn memory(&self) -> Option<u64> {
        self.get("memlock")?.parse().ok()
    }

    /// Whether it was opened for writing.
    pub fn is_writable(&self) -> bool {
        const ACCESS_MODE: u32 = 0o3;
        let flags = self.get("flags").and_then(|flags| u32::from_str_radix(flags, 8).ok());
        flags.is_some_and(|flags| flags & ACCESS_MODE != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_descriptor_is_for_writing_or_not() {
        let info = |file: &File| FdInfo::of(file.as_fd()).expect("fdinfo");
        let (read, write) = (File::open("/dev/null"), OpenOptions::new().write(true).open("/dev/null"));
        assert!(!info(&read.expect("it opens")).is_writable());
        let write = info(&write.expect("it opens"));
        assert!(write.is_writable() && write.get("pos") == Some("0") && write.get("po").is_none());
    }
}
