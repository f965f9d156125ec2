//! The knobs of the machine: what they must be, the values that they get, and those that they get back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use knobgate_hook::Profile;
use knobgate_policy::Text;

use crate::knob::{Knob, VALUE_BYTES};
use crate::scenario::Scenario;

/// What is in the way of a scenario's knobs, or of giving them back their values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnobTrouble {
    /// There is no such knob.
    #[error("this machine has no knob {name}")]
    Missing {
        /// Its path below `/proc/sys`.
        name: String,
    },
    /// Its mode is not that of the scenario.
    #[error("the knob {name} has the mode {real:04o} on this machine, and in the scenario {given:04o}")]
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
    /// It cannot be read, so that it could not get back its value.
    #[error("the knob {name} cannot be read, and so could not be given back its value")]
    Unreadable {
        /// Its path below `/proc/sys`.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It does not take its value.
    #[error("the knob {name} cannot be given the value {value}")]
    Refuses {
        /// Its path below `/proc/sys`.
        name: String,
        /// What was written.
        value: Text,
        /// Why.
        source: io::Error,
    },
    /// It shows its value otherwise than its handler in the scenario would.
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
    /// Knobs did not get back their values.
    #[error("CHANGED KNOBS ARE LEFT BEHIND: {}", left.join("; "))]
    LeftBehind {
        /// Each with the value that it should have.
        left: Vec<String>,
    },
}

const STRICT: &str = "kernel/sysctl_writes_strict";

/// The knobs of a scenario, with the values that they had.
#[derive(Debug)]
pub(super) struct MachineKnobs {
    /// In the order of the scenario, and then [`STRICT`].
    knobs: Vec<MachineKnob>,
    /// Whether they may have other values now.
    touched: bool,
}

#[derive(Debug)]
struct MachineKnob {
    name: String,
    path: PathBuf,
    /// As it was read.
    value: Vec<u8>,
}

/// All of what is read from a knob.
pub(super) fn value_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut value = vec![0; VALUE_BYTES];
    // A second read would find nothing behind the start of a number.
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
        Err(io::Error::other(format!("it took only {written} bytes of {}", value.len())))
    }
}

impl MachineKnobs {
    /// Looks at all knobs, and then gives each its value.
    pub(super) fn set(scenario: &Scenario) -> Result<Self, KnobTrouble> {
        let mut machine = Self { knobs: Vec::new(), touched: false };
        for knob in &scenario.knobs {
            machine.knobs.push(examine(knob)?);
        }
        let path = Path::new("/proc/sys").join(STRICT);
        let strict =
            value_of(&path).map_err(|source| KnobTrouble::Unreadable { name: STRICT.to_owned(), source })?;
        machine.knobs.push(MachineKnob { name: STRICT.to_owned(), path, value: strict });

        let strict = format!("{}\n", scenario.strict.value()).into_bytes();
        // Once: it loads and attaches programs.
        static KERNEL: OnceLock<Profile> = OnceLock::new();
        let profile = *KERNEL.get_or_init(knobgate_snapshot::running_profile);
        let expected =
            scenario.knobs.iter().map(|knob| (knob.value.clone(), knob.shown(&profile).unwrap_or_default()));
        // First of all, since the others may depend on it.
        let values: Vec<_> = expected.chain([(strict.clone(), strict)]).collect();
        machine.touched = true;
        for (index, (value, expected)) in values.iter().enumerate().rev() {
            machine.knobs[index].become_value(value, expected)?;
        }
        Ok(machine)
    }

    pub(super) fn path(&self, knob: usize) -> &Path {
        &self.knobs[knob].path
    }

    /// Gives all knobs back their values.
    pub(super) fn restore(&mut self) -> Result<(), KnobTrouble> {
        if !std::mem::take(&mut self.touched) {
            return Ok(());
        }
        let left: Vec<String> = self.knobs.iter().filter_map(|knob| knob.restore().err()).collect();
        if left.is_empty() { Ok(()) } else { Err(KnobTrouble::LeftBehind { left }) }
    }
}

impl Drop for MachineKnobs {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            // Nobody is left to whom it could be returned.
            eprintln!("{error}");
        }
    }
}

fn examine(knob: &Knob) -> Result<MachineKnob, KnobTrouble> {
    let name = || knob.name.clone();
    let path = Path::new("/proc/sys").join(&knob.name);
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata,
        _ => return Err(KnobTrouble::Missing { name: name() }),
    };
    let real = metadata.mode() & 0o777;
    if real != u32::from(knob.mode) {
        return Err(KnobTrouble::Mode { name: name(), given: knob.mode, real });
    }
    let (uid, gid) = (metadata.uid(), metadata.gid());
    if (uid, gid) != (0, 0) {
        return Err(KnobTrouble::Owner { name: name(), uid, gid });
    }
    let value = value_of(&path).map_err(|source| KnobTrouble::Unreadable { name: name(), source })?;
    Ok(MachineKnob { name: name(), path, value })
}

impl MachineKnob {
    /// Gives it a value, of which `expected` is read then.
    fn become_value(&self, value: &[u8], expected: &[u8]) -> Result<(), KnobTrouble> {
        let name = || self.name.clone();
        if self.value == expected {
            return Ok(());
        }
        let refuses = |source| KnobTrouble::Refuses { name: name(), value: value.into(), source };
        give(&self.path, value).map_err(refuses)?;
        let shown = value_of(&self.path).map_err(refuses)?;
        if shown == expected {
            return Ok(());
        }
        Err(KnobTrouble::Differs {
            name: name(),
            value: value.into(),
            shown: shown[..].into(),
            expected: expected.into(),
        })
    }

    /// Gives it back its value; what is wrong if that fails.
    fn restore(&self) -> Result<(), String> {
        let is_back = || value_of(&self.path).is_ok_and(|value| value == self.value);
        if is_back() {
            return Ok(());
        }
        let given = give(&self.path, &self.value);
        if is_back() {
            return Ok(());
        }
        let why = given.err().map(|error| format!(" ({error})")).unwrap_or_default();
        Err(format!("{} must be {} again{why}", self.path.display(), Text::from(&self.value[..])))
    }
}
