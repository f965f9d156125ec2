//! Accesses as tests make them: by the names of sysctl(8), with the outcome as one value.

use std::iter::successors;

use crate::{AccessMode, Errno, Error, Hook, Outcome, ProcessId, VALUE_BYTES};

/// Accesses by name. [`Hook::open`] and the methods for open files are closer to the system calls.
impl Hook {
    /// Opens the knob `name`, and reads a page.
    ///
    /// The name has slashes or dots, as in sysctl(8): in `net/ipv4/conf/eth0.100/rp_filter` the first separator is a slash,
    /// so the dot is one; in `net.ipv4.conf.eth0/100.rp_filter`, the same knob, dots and slashes are exchanged.
    ///
    /// # Errors
    ///
    /// [`Error::NoKnob`]: there is no knob of this name. [`Error::Stopped`]: a program did something that the kernel's
    /// verifier would have rejected. [`Error::Errno`] with `ESRCH`: the process has ended.
    pub fn read_sysctl(&mut self, process: ProcessId, name: &str) -> Result<Outcome, Error> {
        let path = self.path_of(name)?;
        match self.open(process, &path, AccessMode::Read) {
            Ok(mut file) => Ok(Outcome::of_read(self.read(process, &mut file, VALUE_BYTES)?)),
            Err(Errno::ESRCH) => Err(Errno::ESRCH.into()),
            Err(errno) => Ok(Outcome::Failed(errno)),
        }
    }

    /// Opens the knob `name`, which is as in [`read_sysctl`](Self::read_sysctl), and writes to it. Shells also write a
    /// newline; here, nothing is added.
    ///
    /// # Errors
    ///
    /// As [`read_sysctl`](Self::read_sysctl).
    pub fn write_sysctl(
        &mut self,
        process: ProcessId,
        name: &str,
        value: impl AsRef<[u8]>,
    ) -> Result<Outcome, Error> {
        self.write_sysctl_at(process, name, value, 0)
    }

    /// The same at a file position (`ctx->file_pos`), in bytes.
    ///
    /// # Errors
    ///
    /// As [`read_sysctl`](Self::read_sysctl).
    pub fn write_sysctl_at(
        &mut self,
        process: ProcessId,
        name: &str,
        value: impl AsRef<[u8]>,
        position: i64,
    ) -> Result<Outcome, Error> {
        let path = self.path_of(name)?;
        match self.open(process, &path, AccessMode::Write) {
            Ok(file) => Ok(Outcome::of_write(self.pwrite(process, &file, value.as_ref(), position)?)),
            Err(Errno::ESRCH) => Err(Errno::ESRCH.into()),
            Err(errno) => Ok(Outcome::Failed(errno)),
        }
    }

    /// The path below `/proc/sys` of the knob of this name.
    fn path_of(&self, name: &str) -> Result<String, Error> {
        let path = path(name);
        if self.knobs.get(&path).is_some() {
            return Ok(path);
        }
        let below = |directory: &str| -> Vec<String> {
            let is_below =
                |name: &&str| name.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
            self.knobs.names().filter(is_below).map(str::to_owned).collect()
        };
        let directories = successors(Some(path.as_str()), |path| Some(path.rsplit_once('/')?.0));
        let known = directories.map(below).find(|names| !names.is_empty());
        let known = known.unwrap_or_else(|| self.knobs.names().map(str::to_owned).collect());
        Err(Error::NoKnob { path, known })
    }
}

/// The path of a name of sysctl(8).
fn path(name: &str) -> String {
    let exchange = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    match name.find(['.', '/']) {
        Some(first) if name[first..].starts_with('.') => name.chars().map(exchange).collect(),
        _ => name.to_owned(),
    }
}
