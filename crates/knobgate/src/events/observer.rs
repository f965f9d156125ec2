//! A program that reports what no policy does.

use std::io;

use knobgate_compiler::{CompileError, EVENT_ACTIVE_MAP, EVENT_LOST_MAP, EVENT_READERS_MAP, EVENT_STATE_MAP};
use knobgate_kernel::{
    AttachPosition, BpfObjectError, Cgroup, Link, LoadError, LoadOptions, LoadedProgram, link_create, load,
};
use knobgate_policy::{CheckOptions, ParseError, Source, parse};

use super::memory::prepare;
use super::readers::EventReaders;
use crate::compiled_policy::CompiledPolicy;

/// A program that allows everything, changes nothing, and reports every access in a cgroup and below it. It is detached when this is
/// dropped, or when the process ends.
///
/// It runs after the programs of the cgroups below, and knows what they have come to.
#[derive(Debug)]
pub struct Observer {
    loaded: LoadedProgram,
    _link: Link,
}

/// Which accesses an [`Observer`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Writes.
    Writes,
    /// Writes and reads.
    All,
}

/// Why a cgroup cannot be observed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserverError {
    /// The kernel's programs cannot send events.
    #[error("this kernel's programs cannot send events")]
    NoEvents,
    /// The program cannot be compiled.
    #[error("cannot compile the observer")]
    Compile(#[from] CompileError),
    /// Its policy is wrong.
    #[error("cannot parse the policy of the observer")]
    Parse(#[from] ParseError),
    /// The program cannot be loaded.
    #[error("cannot load the observer")]
    Load(#[from] LoadError),
    /// Its maps cannot be used.
    #[error("cannot use the maps of the observer")]
    Maps(#[from] BpfObjectError),
    /// It cannot be attached.
    #[error("cannot attach the observer")]
    Attach(#[source] io::Error),
}

/// The places of its readers, which other readers do not look for: its events are for whoever attached it.
const OWN_NAMES: [(&str, &str); 3] = [
    (EVENT_READERS_MAP, "observer_rings"),
    (EVENT_LOST_MAP, "observer_lost"),
    (EVENT_ACTIVE_MAP, "observer_active"),
];

impl Observer {
    /// Starts to observe a cgroup and all below it.
    ///
    /// # Errors
    ///
    /// See [`ObserverError`].
    pub fn attach(cgroup: &Cgroup, observed: Observed) -> Result<Self, ObserverError> {
        let reads = match observed {
            Observed::Writes => "",
            Observed::All => " log(all)",
        };
        let text = format!("policy observer\n\ndefault read allow{reads}\ndefault write allow log(all)\n");
        let policy = parse(Source::new("observer", text), &CheckOptions::default())?;
        let mut program = CompiledPolicy::observer(&policy)?.program().clone();
        if !program.maps.iter().any(|map| map.name == EVENT_STATE_MAP) {
            return Err(ObserverError::NoEvents);
        }
        for (name, own) in OWN_NAMES {
            program.maps.iter_mut().filter(|map| map.name == name).for_each(|map| map.name = own.to_owned());
        }
        let loaded = load(&program, &LoadOptions::default())?;
        prepare(&loaded, [(cgroup.id(), cgroup.path())])?;
        let link = link_create(&loaded.program, cgroup, &AttachPosition::default())
            .map_err(ObserverError::Attach)?;
        Ok(Self { loaded, _link: link })
    }

    /// The places for its readers.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn readers(&self) -> Result<Option<EventReaders>, BpfObjectError> {
        let own = |name: &str| OWN_NAMES.iter().find(|(map, _)| *map == name).map_or("", |(_, own)| own);
        EventReaders::from_maps(|name| {
            self.loaded.map(own(name)).map(knobgate_kernel::Map::try_clone).transpose()
        })
    }

    /// What its events have as [`origin`](knobgate_events::Event::origin).
    pub fn origin(&self) -> u64 {
        self.loaded.map(EVENT_STATE_MAP).map_or(0, |state| state.info().id.into())
    }
}
