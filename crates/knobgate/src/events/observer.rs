//! A program that reports what no policy does.

use knobgate_compiler::{CompileError, EVENT_STATE_MAP};
use knobgate_kernel::{BpfObjectError, Cgroup, Link, LinkError, LoadError, LoadedProgram, ProgramFd};
use knobgate_policy::{CheckOptions, KnobName, ParseError, Source, parse};

use super::memory::prepare;
use super::readers::EventReaders;
use crate::compiled_policy::CompiledPolicy;

/// A program that allows everything, changes nothing, and reports every access in a cgroup and below it. It is detached when this is
/// dropped, or when the process ends.
///
/// It runs after the programs of the cgroups below, and knows what they have come to. It does not know what those decide that
/// [run after it](Self::programs_after).
#[derive(Debug)]
pub struct Observer {
    loaded: LoadedProgram,
    _link: Link,
    cgroup: Cgroup,
    reads: bool,
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
    load_observing(format!("policy observer\n\ndefault read {read}\ndefault write allow log(all)\n"))
}

/// Loads the program of a policy that allows everything.
fn load_observing(text: String) -> Result<LoadedProgram, ObserverError> {
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
    pub fn attach(cgroup: Cgroup, reads: bool) -> Result<Self, ObserverError> {
        Self::attach_program(load_observer(reads)?, cgroup, reads)
    }

    /// Starts to observe the writes to these knobs alone.
    ///
    /// # Errors
    ///
    /// See [`ObserverError`].
    pub fn attach_to_writes_of<'a>(
        cgroup: Cgroup,
        knobs: impl IntoIterator<Item = &'a KnobName>,
    ) -> Result<Self, ObserverError> {
        let mut text = "policy observer\n\ndefault read allow\ndefault write allow\n\n".to_owned();
        for knob in knobs {
            text.push_str(&format!("allow write {knob} log(all)\n"));
        }
        Self::attach_program(load_observing(text)?, cgroup, false)
    }

    fn attach_program(loaded: LoadedProgram, cgroup: Cgroup, reads: bool) -> Result<Self, ObserverError> {
        prepare(&loaded, [(cgroup.id(), cgroup.path())])?;
        let link = Link::create(&loaded.program, &cgroup)?;
        Ok(Self { loaded, _link: link, cgroup, reads })
    }

    /// The cgroup that it is attached to.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Whether it reports reads.
    pub fn reads(&self) -> bool {
        self.reads
    }

    /// The programs that run after it at this moment, and may decide something: those that were attached to its cgroup later, and
    /// those of the cgroups above. Other observers like this one are not among them.
    ///
    /// # Errors
    ///
    /// [`BpfObjectError::NotPermitted`], [`Failed`](BpfObjectError::Failed).
    pub fn programs_after(&self) -> Result<Vec<u32>, BpfObjectError> {
        let own = self.loaded.program.info()?;
        let mut after = self.cgroup.effective()?;
        let through_own = after.iter().position(|&id| id == own.id).map_or(0, |position| position + 1);
        after.drain(..through_own);
        // The same code, whatever its maps.
        let is_alike = |id| {
            ProgramFd::by_id(id).and_then(|program| program.info()).is_ok_and(|info| info.tag == own.tag)
        };
        after.retain(|&id| !is_alike(id));
        Ok(after)
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
