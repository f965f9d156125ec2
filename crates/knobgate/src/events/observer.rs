//! A program that reports what no policy does.

use knobgate_compiler::{CompileError, EVENT_STATE_MAP};
use knobgate_kernel::{BpfObjectError, Cgroup, Link, LinkError, LoadError, LoadedProgram};
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
    Attach(#[from] LinkError),
}

/// Loads the program of an observer, with places for readers of its own. It reports writes, and with `reads` also reads.
pub(crate) fn load_observer(reads: bool) -> Result<LoadedProgram, ObserverError> {
    let read = if reads { "allow log(all)" } else { "allow" };
    let text = format!("policy observer\n\ndefault read {read}\ndefault write allow log(all)\n");
    let policy = parse(Source::new("observer", text), &CheckOptions::default())?;
    let compiled = CompiledPolicy::observer(&policy)?;
    if !compiled.program().maps.iter().any(|map| map.name == EVENT_STATE_MAP) {
        return Err(ObserverError::NoEvents);
    }
    Ok(compiled.load_sharing(Some(&EventReaders::private()?), &[])?)
}

impl Observer {
    /// Starts to observe the writes in a cgroup and all below it, and with `reads` also the reads.
    ///
    /// # Errors
    ///
    /// See [`ObserverError`].
    pub fn attach(cgroup: &Cgroup, reads: bool) -> Result<Self, ObserverError> {
        let loaded = load_observer(reads)?;
        prepare(&loaded, [(cgroup.id(), cgroup.path())])?;
        let link = Link::create(&loaded.program, cgroup)?;
        Ok(Self { loaded, _link: link })
    }

    /// The places for its readers.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::Failed`].
    pub fn readers(&self) -> Result<Option<EventReaders>, BpfObjectError> {
        EventReaders::of(&self.loaded)
    }

    /// What its events have as [`origin`](knobgate_events::Event::origin).
    pub fn origin(&self) -> u64 {
        self.loaded.map(EVENT_STATE_MAP).map_or(0, |state| state.info().id.into())
    }
}
