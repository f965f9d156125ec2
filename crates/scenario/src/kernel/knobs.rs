//! The knobs of the machine: checks them, sets them, and restores them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use knobgate_backend::VALUE_READ_MAX;
use knobgate_hook::{Errno, Profile};
use knobgate_policy::Text;

use crate::knob::Knob;
use crate::scenario::Scenario;

/// Why a knob of a scenario cannot be set or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnobError {
    /// There is no such knob.
    #[error("this machine has no knob {name}")]
    Missing {
        /// Its path below `/proc/sys`.
        name: String,
    },
    /// Its mode is not that of the scenario.
    #[error("the knob {name} has the mode {real:04o} on this machine, and {given:04o} in the scenario")]
    Mode {
        /// Its path below `/proc/sys`.
        name: String,
        /// In the scenario.
        given: u16,
        /// On this machine.
        real: u32,
    },
    /// It belongs to somebody else than root, which the model cannot know.
    #[error("the knob {name} belongs to user {uid} and group {gid}, and not to root")]
    Owner {
        /// Its path below `/proc/sys`.
        name: String,
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// It can be read, unlike in the scenario.
    #[error("the knob {name} is {shown} on this machine, and cannot be read in the scenario")]
    Readable {
        /// Its path below `/proc/sys`.
        name: String,
        /// What was read.
        shown: Text,
    },
    /// Reading it fails with another error than in the scenario.
    #[error("reading the knob {name} fails on this machine, and should fail with {expected}")]
    ReadError {
        /// Its path below `/proc/sys`.
        name: String,
        /// The error in the scenario.
        expected: Errno,
        /// The error on this machine.
        source: io::Error,
    },
    /// It cannot be read, so its value could not be restored. In a network namespace other than the machine's that does
    /// not matter.
    #[error(
        "the knob {name} cannot be read, so its value could not be restored{}",
        if name.starts_with("net/") { "; that does not matter in a network namespace of its own (unshare --net)" } else { "" }
    )]
    Unreadable {
        /// Its path below `/proc/sys`.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It rejects the value.
    #[error("the knob {name} cannot be set to {value}")]
    Rejects {
        /// Its path below `/proc/sys`.
        name: String,
        /// What was written.
        value: Text,
        /// Why.
        source: io::Error,
    },
    /// It does not show its value as its handler in the scenario would.
    #[error(
        "the knob {name} was given {value} and shows {shown}, while the handler that the scenario gives it would show \
         {expected}"
    )]
    Differs {
        /// Its path below `/proc/sys`.
        name: String,
        /// What was written.
        value: Text,
        /// What was read then.
        shown: Text,
        /// What would be read with the scenario's handler.
        expected: Text,
    },
    /// The values of knobs could not be restored.
    #[error("CHANGED KNOBS ARE LEFT BEHIND: {}", left.join("; "))]
    LeftBehind {
        /// Each with the value that it should have.
        left: Vec<String>,
    },
}

const STRICT: &str = "kernel/sysctl_writes_strict";

/// The knobs of a scenario, with the values that they had.
#[derive(Debug)]
pub(crate) struct MachineKnobs {
    /// In the order of the scenario, and then [`STRICT`].
    knobs: Vec<MachineKnob>,
    /// Whether they may have other values now.
    touched: bool,
}

#[derive(Debug)]
struct MachineKnob {
    name: String,
    path: PathBuf,
    /// The original value; `None` if it cannot be read. Then it is not restored.
    value: Option<Vec<u8>>,
}

/// All of what is read from a knob.
fn value_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut value = vec![0; VALUE_READ_MAX];
    // A second read of a number would return nothing.
    let length = File::open(path)?.read(&mut value)?;
    value.truncate(length);
    Ok(value)
}

/// Writes all of `value` at once.
fn give(path: &Path, value: &[u8]) -> io::Result<()> {
    let written = OpenOptions::new().write(true).open(path)?.write(value)?;
    if written == value.len() {
        Ok(())
    } else {
        Err(io::Error::other(format!("only {written} bytes of {} were written", value.len())))
    }
}

impl MachineKnobs {
    /// Checks all knobs, and then sets their values.
    pub(super) fn set(scenario: &Scenario) -> Result<Self, KnobError> {
        let mut machine = Self { knobs: Vec::new(), touched: false };
        // Once: it loads and attaches programs.
        static KERNEL: OnceLock<Profile> = OnceLock::new();
        let profile = *KERNEL.get_or_init(knobgate_snapshot::running_profile);
        let mut values = Vec::new();
        for (index, knob) in scenario.knobs.iter().enumerate() {
            // It was checked, for a kernel that this one may not be.
            let expected = knob.shown(&profile).unwrap_or(Ok(Vec::new()));
            machine.knobs.push(examine(knob, &expected, scenario.writes(index))?);
            values.push(knob.value.clone().map(|value| (value, expected.unwrap_or_default())));
        }
        let path = Path::new("/proc/sys").join(STRICT);
        let strict =
            value_of(&path).map_err(|source| KnobError::Unreadable { name: STRICT.to_owned(), source })?;
        machine.knobs.push(MachineKnob { name: STRICT.to_owned(), path, value: Some(strict) });

        let strict = format!("{}\n", scenario.strict.value()).into_bytes();
        values.push(Some((strict.clone(), strict)));
        machine.touched = true;
        // The last one comes first, because the others may depend on it.
        for (index, value) in values.iter().enumerate().rev() {
            if let Some((value, expected)) = value {
                machine.knobs[index].become_value(value, expected)?;
            }
        }
        Ok(machine)
    }

    /// Restores the values of all knobs.
    pub(crate) fn restore(&mut self) -> Result<(), KnobError> {
        if !std::mem::take(&mut self.touched) {
            return Ok(());
        }
        let left: Vec<String> = self.knobs.iter().filter_map(|knob| knob.restore().err()).collect();
        if left.is_empty() { Ok(()) } else { Err(KnobError::LeftBehind { left }) }
    }
}

impl Drop for MachineKnobs {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            // There is no caller to return the error to.
            eprintln!("{error}");
        }
    }
}

/// Checks that a knob is what the scenario says, apart from its value. `expected` is what a read returns with the initial
/// value, `is_written` whether a step writes it.
fn examine(
    knob: &Knob,
    expected: &Result<Vec<u8>, Errno>,
    is_written: bool,
) -> Result<MachineKnob, KnobError> {
    let name = || knob.name.clone();
    let path = Path::new("/proc/sys").join(&knob.name);
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata,
        _ => return Err(KnobError::Missing { name: name() }),
    };
    let real = metadata.mode() & 0o777;
    if real != u32::from(knob.mode) {
        return Err(KnobError::Mode { name: name(), given: knob.mode, real });
    }
    let (uid, gid) = (metadata.uid(), metadata.gid());
    if (uid, gid) != (0, 0) {
        return Err(KnobError::Owner { name: name(), uid, gid });
    }
    // What has no permission to read cannot be read by root either.
    let read =
        if knob.mode & 0o400 == 0 { Err(io::ErrorKind::PermissionDenied.into()) } else { value_of(&path) };
    let value = match (read, expected) {
        (Ok(value), Ok(_)) => Some(value),
        (Ok(shown), Err(_)) => return Err(KnobError::Readable { name: name(), shown: shown[..].into() }),
        (Err(source), Err(errno))
            if knob.mode & 0o400 != 0 && source.raw_os_error() != Some(errno.number() as i32) =>
        {
            return Err(KnobError::ReadError { name: name(), expected: *errno, source });
        }
        (Err(source), expected) => {
            let is_changed = is_written || expected.is_ok();
            if is_changed && !(knob.name.starts_with("net/") && has_own_network()) {
                return Err(KnobError::Unreadable { name: name(), source });
            }
            None
        }
    };
    Ok(MachineKnob { name: name(), path, value })
}

/// Whether this process is in another network namespace than the machine's first one, which alone has this knob
/// (`net_core_table` in net/core/sysctl_net_core.c). Other namespaces have `somaxconn`.
fn has_own_network() -> bool {
    let exists = |knob: &str| fs::exists(format!("/proc/sys/net/core/{knob}"));
    matches!((exists("netdev_budget"), exists("somaxconn")), (Ok(false), Ok(true)))
}

impl MachineKnob {
    /// Sets a value, which must then read as `expected`.
    fn become_value(&self, value: &[u8], expected: &[u8]) -> Result<(), KnobError> {
        let name = || self.name.clone();
        if self.value.as_deref() == Some(expected) {
            return Ok(());
        }
        let rejects = |source| KnobError::Rejects { name: name(), value: value.into(), source };
        give(&self.path, value).map_err(rejects)?;
        let shown = value_of(&self.path).map_err(rejects)?;
        if shown == expected {
            return Ok(());
        }
        Err(KnobError::Differs {
            name: name(),
            value: value.into(),
            shown: shown[..].into(),
            expected: expected.into(),
        })
    }

    /// Restores its value. Returns a description of the error if that fails.
    fn restore(&self) -> Result<(), String> {
        let Some(original) = &self.value else { return Ok(()) };
        let is_back = || value_of(&self.path).is_ok_and(|value| value == *original);
        if is_back() {
            return Ok(());
        }
        let given = give(&self.path, original);
        if is_back() {
            return Ok(());
        }
        let why = given.err().map(|error| format!(" ({error})")).unwrap_or_default();
        Err(format!("{} must be {} again{why}", self.path.display(), Text::from(&original[..])))
    }
}
