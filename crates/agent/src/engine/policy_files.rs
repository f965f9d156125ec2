//! The policies and the configuration, as their files have them.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use knobgate::{AgentConfig, ContainerError, ContainerPolicies, KeptKnob, OpenToOthers};
use rustix::io::Errno;

use crate::agent::AgentOptions;
use crate::file_watch::{FileStates, FileWatch, is_policy};

/// What the files say.
#[derive(Debug)]
pub(super) struct PolicySet {
    pub(super) policies: ContainerPolicies,
    pub(super) check_interval: Duration,
    pub(super) repair: bool,
    pub(super) knobs: Vec<KeptKnob>,
}

/// The files, and watches on them.
#[derive(Debug)]
pub(super) struct PolicyFiles {
    options: AgentOptions,
    watch: FileWatch,
    files: BTreeSet<PathBuf>,
    states: FileStates,
    unwatched: Option<Errno>,
}

impl PolicyFiles {
    pub(super) fn new(options: AgentOptions) -> Result<Self, Errno> {
        let watch = FileWatch::new(is_policy)?;
        let (files, states) = (BTreeSet::new(), FileStates::default());
        Ok(Self { options, watch, files, states, unwatched: None })
    }

    /// The directory of the policies.
    pub(super) fn directory(&self) -> &Path {
        &self.options.policies
    }

    /// Reads everything, and watches what was read, also if that fails.
    pub(super) fn read(&mut self) -> Result<PolicySet, ContainerError> {
        // What changes before it is watched is seen by reading once more.
        const TRIES: u32 = 3;
        for _ in 1..TRIES {
            let (read, files) = self.read_once();
            let are_known = files == self.files;
            self.files = files;
            if !self.watch() && are_known {
                return read;
            }
        }
        self.read_once().0
    }

    fn read_once(&self) -> (Result<PolicySet, ContainerError>, BTreeSet<PathBuf>) {
        let config = self.options.config.as_deref().unwrap_or(Path::new(AgentConfig::PATH));
        let mut files = BTreeSet::from([config.to_owned(), self.options.policies.clone()]);
        // Without it there are no policies to hooks. Here, all would be taken away while it is replaced.
        if let Err(source) = self.options.policies.metadata() {
            let path = self.options.policies.clone();
            let source = match source.kind() {
                ErrorKind::NotFound => io::Error::new(
                    ErrorKind::NotFound,
                    "there is no such directory; make it (an empty one means that there are no policies)",
                ),
                _ => source,
            };
            return (Err(ContainerError::Read { path, source }), files);
        }
        let read = AgentConfig::read_or_default(self.options.config.as_deref()).and_then(|config| {
            let (check_interval, repair, knobs) =
                (config.check_interval, config.repair, config.knobs.clone());
            let policies = ContainerPolicies::read_with(&self.options.policies, config, &mut files)?;
            Ok(PolicySet { policies, check_interval, repair, knobs })
        });
        (read, files)
    }

    /// Returns whether something is watched that was not before, such as another directory in the same place.
    fn watch(&mut self) -> bool {
        let files = || self.files.iter().map(PathBuf::as_path);
        let watched = self.watch.watch(Some(&self.options.policies), files());
        self.states = FileStates::of(files());
        self.unwatched = watched.err();
        watched.unwrap_or(false)
    }

    /// Why not all of them are watched, if that is so.
    pub(super) fn unwatched(&self) -> Option<Errno> {
        self.unwatched
    }

    /// What others than root can change of them.
    pub(super) fn open_to_others(&self) -> Vec<OpenToOthers> {
        OpenToOthers::among(self.files.iter().map(PathBuf::as_path))
    }

    /// Reads all events. Returns whether something has changed.
    pub(super) fn read_events(&mut self) -> Result<bool, Errno> {
        self.watch.read()
    }

    /// Whether something has changed that no event has reported: on a file system that reports none, or under another mount.
    pub(super) fn have_changed(&self) -> bool {
        self.states.changed().is_some()
    }
}

impl AsFd for PolicyFiles {
    /// Readable while there are events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}
