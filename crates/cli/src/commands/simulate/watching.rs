//! Playing again whenever a file changes.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use knobgate_agent::{FileStates, FileWatch};
use knobgate_hook::KernelBtf;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Simulate;
use super::scenario_file::ScenarioFile;
use crate::failure::{Failure, USAGE};
use crate::output::Output;
use crate::plural;

/// How long no file may change before the scenarios are played: editors and compilers write in several steps.
const PAUSE: Duration = Duration::from_millis(100);

/// Plays now, and whenever a file changes. Ends by a signal.
pub(super) fn play_again_and_again(simulate: &Simulate, output: &Output) -> Result<ExitCode, Failure> {
    let btf = simulate.btf()?;
    let mut watched = Watched {
        watch: FileWatch::new(|_| false).map_err(cannot_watch)?,
        files: simulate.scenarios.iter().cloned().collect(),
        warned: None,
    };
    let mut has_played = false;
    loop {
        let (files, states) = watched.read(simulate, btf.as_ref(), output);
        let status = match simulate.play(&files, output) {
            // The directory of the result may be built anew as well.
            Err(failure @ Failure::Usage { .. }) if has_played => {
                output.failure(&failure);
                USAGE
            }
            played => played?,
        };
        has_played = true;
        if status > 128 {
            return Ok(ExitCode::from(status));
        }
        output.note(format_args!(
            "exit status {status}; watching {}; Ctrl-C ends",
            plural::count(watched.files.len(), "file")
        ));
        let changed = watched.wait(&states, output).map_err(cannot_watch)?;
        output.note(format_args!("{} has changed", changed.display()));
    }
}

fn cannot_watch(error: Errno) -> Failure {
    Failure::machine("cannot watch the files").because(std::io::Error::from(error))
}

/// The scenarios and the files that they name.
#[derive(Debug)]
struct Watched {
    watch: FileWatch,
    files: BTreeSet<PathBuf>,
    /// The last warning about what cannot be watched.
    warned: Option<Errno>,
}

impl Watched {
    /// Reads the scenarios. Every file is watched before it is read, so that no change is missed: if a scenario names others
    /// than before, all are read once more.
    fn read(
        &mut self,
        simulate: &Simulate,
        btf: Option<&KernelBtf>,
        output: &Output,
    ) -> (Vec<ScenarioFile>, FileStates) {
        loop {
            self.watch(output);
            let states = FileStates::of(self.paths());
            let scenarios = simulate.read(btf);
            let files = scenarios.iter().flat_map(|scenario| scenario.files.iter().cloned()).collect();
            if files == self.files {
                return (scenarios, states);
            }
            self.files = files;
        }
    }

    /// Watches all that leads to the files.
    fn watch(&mut self, output: &Output) {
        let files = self.files.iter().map(PathBuf::as_path);
        let failed = self.watch.watch(None, files).err();
        if let Some(error) = failed.filter(|error| self.warned.replace(*error) != Some(*error)) {
            output.warning(format_args!("not all files can be watched: {}", std::io::Error::from(error)));
        }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// Waits until a file is not as it was, and nothing has happened to any for a moment. Returns that file.
    fn wait(&mut self, states: &FileStates, output: &Output) -> Result<PathBuf, Errno> {
        let mut until: Option<Instant> = None;
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                until = None;
                // Directories may have come into being.
                self.watch(output);
                if let Some(changed) = states.changed() {
                    return Ok(changed.to_owned());
                }
                continue;
            }
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::from_borrowed_fd(self.watch.as_fd(), PollFlags::IN)], left.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) if self.watch.read()? => until = Some(Instant::now() + PAUSE),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
