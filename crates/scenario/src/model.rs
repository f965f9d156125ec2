//! Playing on the model of the kernel.

use std::collections::BTreeMap;

use knobgate_backend::ModelBackend;
use knobgate_hook::{Errno, Hook, Knob, Knobs};

use crate::kernel_range::KernelVersion;
use crate::play::Play;
use crate::scenario::Scenario;

/// Why a scenario cannot be played on the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A map cannot be created.
    #[error("cannot create the map {name}: {error}")]
    Map {
        /// Its name.
        name: String,
        /// Why.
        error: knobgate_hook::MapError,
    },
    /// One knob's name is in the way of another's.
    #[error(transparent)]
    Knob(#[from] knobgate_hook::KnobError),
    /// On the kernel that the model stands for, the knob cannot have the value that it starts with.
    #[error("the knob {name} cannot start with its value on Linux {profile}: {why}")]
    Value {
        /// The knob.
        name: String,
        /// The kernel.
        profile: &'static str,
        /// Why.
        why: String,
    },
    /// A cgroup cannot be created.
    #[error("cannot create the cgroup {name}: {error}")]
    Cgroup {
        /// Its name.
        name: String,
        /// Why.
        error: Errno,
    },
}

impl Scenario {
    /// Plays it on the model: [`knobgate_hook::Hook`].
    ///
    /// # Errors
    ///
    /// A knob, map or cgroup of the scenario cannot exist.
    pub fn play_on_model(&self) -> Result<Play<'_>, ModelError> {
        let profile = self.profile.unwrap_or_default();
        let mut knobs = Knobs::new();
        for knob in &self.knobs {
            // It was checked for the kernel that the scenario asks for.
            let handler = knob.handler(&profile).map_err(|why| ModelError::Value {
                name: knob.name.clone(),
                profile: profile.name,
                why,
            })?;
            knobs.add(&knob.name, Knob { mode: knob.mode, owner: 0, group: 0, set: None, handler })?;
        }
        let mut hook = Hook::new(profile, knobs);
        hook.writes_strict = self.strict;

        let failed = |name: &str, error| ModelError::Cgroup { name: name.to_owned(), error };
        let mut backend = ModelBackend::new(hook, 1).map_err(|error| failed("/", error))?;
        let maps = self.maps.iter().map(|def| match (backend.add_map(def), &def.name) {
            (Ok(map), _) => Ok(Ok(map)),
            (Err(error), name) => {
                error.not_modelled().map(Err).ok_or(ModelError::Map { name: name.clone(), error })
            }
        });
        let maps = maps.collect::<Result<_, _>>()?;
        let cgroups = self.create_cgroups(|parent, name| {
            backend.add_cgroup(parent, name).map_err(|error| failed(name, error))
        })?;
        let mut play = Play::new(self, backend, KernelVersion::from(&profile), maps, cgroups);
        play.rejected = Some(BTreeMap::new());
        Ok(play)
    }
}
