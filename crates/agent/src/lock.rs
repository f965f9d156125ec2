//! One agent at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::agent_error::AgentError;

/// The directory of the agent's lock and socket.
pub const RUN_DIRECTORY: &str = "/run/knobgate";

/// How long an agent waits for the lock. One that was killed can have left a child that probes the kernel, and has the lock, too, until it
/// sees that it is alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lock, until it is dropped, also by the end of the process.
#[derive(Debug)]
pub(crate) struct AgentLock {
    _file: File,
}

impl AgentLock {
    pub(crate) fn take() -> Result<Self, AgentError> {
        Self::take_in(Path::new(RUN_DIRECTORY))
    }

    fn take_in(directory: &Path) -> Result<Self, AgentError> {
        let path = directory.join("agent.lock");
        let failed = |source: io::Error| AgentError::Lock { path: path.clone(), source };
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        // Whoever can change it can listen instead of the agent, and say what is off.
        let found = fs::symlink_metadata(directory).map_err(failed)?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0
        {
            return Err(AgentError::OpenToOthers { path: directory.to_owned() });
        }
        // It stays: removing it would let two agents have a lock each.
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let mut file = options.custom_flags(no_follow).open(&path).map_err(failed)?;
        let began = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if began.elapsed() < PATIENCE => sleep(PATIENCE / 20),
                Err(Errno::WOULDBLOCK) => return Err(AgentError::Running { pid: written(&mut file) }),
                Err(error) => return Err(failed(error.into())),
            }
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The process that has written itself down.
fn written(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_agent_is_told_about_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("run");
        let first = AgentLock::take_in(&directory).unwrap();
        let error = AgentLock::take_in(&directory).unwrap_err().to_string();
        assert_eq!(error, format!("an agent runs already: process {}; stop it first", std::process::id()));
        drop(first);
        AgentLock::take_in(&directory).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_change_is_not_used() {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("run");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        let error = AgentLock::take_in(&directory).unwrap_err().to_string();
        let remedy = format!("give it to root: chown root {0} && chmod 700 {0}", directory.display());
        assert!(error.ends_with(&remedy), "{error}");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        AgentLock::take_in(&directory).unwrap();
    }
}
