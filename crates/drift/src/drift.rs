//! The configured knobs, each with the value that it has.

use std::collections::HashMap;

use knobgate_events::secrets::is_secret;
use knobgate_events::{Event, Namespace, Namespaces, StreamItem};
use knobgate_policy::{AccessKind, KnobName, KnobPattern, Normalisation, known_normalisation};

use crate::{Writes, is_same_value};

/// What a file sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredKnob {
    /// The knob.
    pub knob: KnobName,
    /// The value, without the newline with which it is written.
    pub value: String,
    /// The name of the file.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The glob, if the line has one.
    pub glob: Option<String>,
    /// Whether the line begins with `-`: that the value cannot be written is no error.
    pub ignores_errors: bool,
}

/// The value that a knob has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Running {
    /// This, as the knob prints it.
    Value(Vec<u8>),
    /// There is no such knob on this machine.
    NoSuchKnob,
    /// Nobody can read it, such as `vm.drop_caches`.
    WriteOnly,
    /// It cannot be read, for this reason.
    Unreadable(String),
}

/// How a knob compares with its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The running value is what the file sets.
    Same,
    /// It is not.
    Differs,
    /// There is no such knob on this machine.
    NoSuchKnob,
    /// Nobody can read it.
    WriteOnly,
    /// It cannot be read.
    Unreadable,
    /// Its values are secret, and were neither read nor compared.
    Secret,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Same, Self::Differs, Self::NoSuchKnob, Self::WriteOnly, Self::Unreadable, Self::Secret];
}

/// Where the knobs were read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Here {
    /// Which boot of the machine: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Option<String>,
    /// The namespaces of the process that read them.
    pub namespaces: Namespaces,
}

/// A configured knob with the value that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComparedKnob {
    configured: ConfiguredKnob,
    /// `None` for one whose values are secret.
    running: Option<Running>,
    state: State,
    /// The namespace in which it was read.
    namespace: Option<u32>,
    writes: Writes,
}

/// The configured knobs, with what differs.
#[derive(Debug, Clone)]
pub struct Drift {
    knobs: Vec<ComparedKnob>,
    /// By path, those that differ.
    differing: HashMap<Vec<u8>, usize>,
    here: Here,
    of_other_boots: u64,
}

impl Drift {
    /// Compares each knob with what `running` says of it, which is not asked about knobs whose values are secret.
    pub fn new(
        configured: impl IntoIterator<Item = ConfiguredKnob>,
        mut running: impl FnMut(&KnobName) -> Running,
        here: Here,
    ) -> Self {
        let compared = |configured: ConfiguredKnob| {
            let running = (!is_secret(configured.knob.as_bytes())).then(|| running(&configured.knob));
            ComparedKnob::new(configured, running, &here.namespaces)
        };
        let knobs: Vec<ComparedKnob> = configured.into_iter().map(compared).collect();
        let differing = knobs.iter().enumerate().filter(|(_, knob)| knob.state == State::Differs);
        let differing =
            differing.map(|(index, knob)| (knob.configured.knob.as_bytes().to_vec(), index)).collect();
        Self { knobs, differing, here, of_other_boots: 0 }
    }

    /// The knobs, in the order in which they were given.
    pub fn knobs(&self) -> &[ComparedKnob] {
        &self.knobs
    }

    /// How many are in this state.
    pub fn count(&self, state: State) -> usize {
        self.knobs.iter().filter(|knob| knob.state == state).count()
    }

    /// Notes an event if it is a write of a knob that differs. Events may come in any order, and more than once.
    ///
    /// What was written in another namespace than [`Here`] or before the last boot does not count.
    pub fn add(&mut self, item: &StreamItem) {
        let Some(event) = item.event().filter(|event| event.event.kind == AccessKind::Write) else { return };
        let access = &event.event;
        let Some(&index) = self.differing.get(&access.knob.bytes).filter(|_| access.knob.cut_from.is_none())
        else {
            return;
        };
        if let (Some(theirs), Some(ours)) = (&item.boot_id, &self.here.boot_id)
            && theirs != ours
        {
            self.of_other_boots += 1;
            return;
        }
        if self.knobs[index].is_accessed_by(access) == Some(false) {
            return;
        }
        let ComparedKnob { configured, running, writes, .. } = &mut self.knobs[index];
        let Some(Running::Value(running)) = running else { return };
        let knob = &configured.knob;
        writes.add(
            item,
            event,
            |written| is_same_value(knob, written, running),
            |written| is_same_value(knob, written, configured.value.as_bytes()),
        );
    }

    /// How many writes of knobs that differ were left out, because the machine was booted since.
    pub fn of_other_boots(&self) -> u64 {
        self.of_other_boots
    }
}

impl ComparedKnob {
    fn new(configured: ConfiguredKnob, running: Option<Running>, here: &Namespaces) -> Self {
        let state = match &running {
            None => State::Secret,
            Some(Running::NoSuchKnob) => State::NoSuchKnob,
            Some(Running::WriteOnly) => State::WriteOnly,
            Some(Running::Unreadable(_)) => State::Unreadable,
            Some(Running::Value(value)) => {
                match is_same_value(&configured.knob, configured.value.as_bytes(), value) {
                    true => State::Same,
                    false => State::Differs,
                }
            }
        };
        let namespace = Namespace::of(&configured.knob).and_then(|namespace| here.of(namespace));
        Self { configured, running, state, namespace, writes: Writes::default() }
    }

    /// What the file sets.
    pub fn configured(&self) -> &ConfiguredKnob {
        &self.configured
    }

    /// The value that it should have, which may be shown: `None` if it is secret.
    pub fn configured_value(&self) -> Option<&str> {
        (self.state != State::Secret).then_some(&*self.configured.value)
    }

    /// The value that it has; `None` if that is secret.
    pub fn running(&self) -> Option<&Running> {
        self.running.as_ref()
    }

    /// How they compare.
    pub fn state(&self) -> State {
        self.state
    }

    /// The kind of namespaces that have their own of this knob.
    pub fn namespace(&self) -> Option<Namespace> {
        Namespace::of(&self.configured.knob)
    }

    /// Whether an access to a knob of this name was to this one, and not to that of another namespace; `None` if that is not known.
    pub fn is_accessed_by(&self, event: &Event) -> Option<bool> {
        let Some(namespace) = self.namespace() else { return Some(true) };
        let theirs = event.namespaces.as_ref().and_then(|namespaces| namespaces.of(namespace))?;
        match theirs == self.namespace? {
            // Before Linux 6.14, pid namespaces share it.
            false if self.configured.knob.as_bytes() == b"kernel/pid_max" => None,
            is_here => Some(is_here),
        }
    }

    /// Whether the knob stores some numbers as others in a way that the comparison does not know.
    pub fn may_store_another_number(&self) -> bool {
        let pattern = KnobPattern::parse(self.configured.knob.to_string()).ok();
        let normalisation = pattern.and_then(|pattern| known_normalisation(&pattern));
        matches!(
            normalisation,
            Some(Normalisation::Milliseconds | Normalisation::UserTicks | Normalisation::Own(_))
        )
    }

    /// Who wrote it, as far as events say; nothing unless it differs.
    pub fn writes(&self) -> &Writes {
        &self.writes
    }
}
