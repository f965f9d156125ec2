//! What a play on the model does not know after a step that is not modelled.

use std::collections::BTreeMap;

use crate::scenario::{Actor, Cgroup, MapRef, Request, Scenario, Source, Step};

/// What depends on what is not modelled: the kernel may have attached programs that are not, and let them run.
#[derive(Debug, Default)]
pub(crate) struct Unmodelled {
    /// Each with what it depends on first.
    unknown: BTreeMap<Unknown, Cause>,
}

/// What is not modelled.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause {
    /// A program, by its index in the scenario.
    Program(usize),
    /// An access, by the number of its step: a program went on with what the model does not have.
    Access(usize),
}

/// Something that is not known, by its index in the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unknown {
    /// What is attached to the cgroup, and what runs for it and those below.
    Cgroup(usize),
    /// Whether it is attached.
    Attachment(usize),
    /// Its value.
    Knob(usize),
    /// Its position.
    File(usize),
    /// Its contents.
    Map(MapRef),
}

/// What a step refers to as the play has it.
pub(crate) struct Situation<'a> {
    pub(crate) scenario: &'a Scenario,
    /// The cgroups of the processes.
    pub(crate) cgroups_of: &'a [usize],
    /// The programs that run for the cgroup of an access on the model, and whose maps they can change.
    pub(crate) running: &'a [usize],
}

impl Situation<'_> {
    pub(crate) fn cgroup_of(&self, actor: Actor) -> usize {
        match actor {
            Actor::InCgroup(cgroup) => cgroup,
            Actor::Process(process) => self.cgroups_of[process],
        }
    }

    fn maps_of(&self, program: usize) -> Vec<MapRef> {
        match &self.scenario.programs[program].source {
            Source::Program { shared, .. } => shared.iter().map(|&map| MapRef::Shared(map)).collect(),
            // Policies are modelled, and nobody else has their maps; only an access that is skipped makes them unknown.
            Source::Policy(_) => {
                let own = |map| MapRef::Own { program, map };
                self.scenario.own_maps.range(own(0)..=own(usize::MAX)).map(|(&map, _)| map).collect()
            }
        }
    }
}

impl Unmodelled {
    pub(crate) fn is_empty(&self) -> bool {
        self.unknown.is_empty()
    }

    /// What is not modelled and what this step depends on.
    pub(crate) fn behind(&self, step: &Step, situation: &Situation<'_>) -> Option<Cause> {
        let of = |unknown| self.unknown.get(&unknown).copied();
        let scenario = situation.scenario;
        match step {
            Step::Load { .. } | Step::Move { .. } => None,
            &Step::Attach { attachment } => {
                let attached = &scenario.attachments[attachment];
                self.of_cgroup(attached.cgroup, scenario)
                    .or_else(|| of(Unknown::Attachment(attached.relative_to?)))
            }
            &Step::Update { attachment, .. } | &Step::Detach { attachment } => {
                of(Unknown::Attachment(attachment))
                    .or_else(|| self.of_cgroup(scenario.attachments[attachment].cgroup, scenario))
            }
            &Step::Effective { cgroup } => self.of_cgroup(cgroup, scenario),
            &Step::Access { file, by, .. } => self
                .of_cgroup(situation.cgroup_of(by), scenario)
                .or_else(|| of(Unknown::Knob(scenario.files[file].knob)))
                .or_else(|| of(Unknown::File(file)))
                .or_else(|| {
                    let mut maps = situation.running.iter().flat_map(|&program| situation.maps_of(program));
                    maps.find_map(|map| of(Unknown::Map(map)))
                }),
            &Step::Map { map } => of(Unknown::Map(map)),
        }
    }

    /// The cgroup's own, or that of one above it.
    fn of_cgroup(&self, cgroup: usize, scenario: &Scenario) -> Option<Cause> {
        let parent = |&cgroup: &usize| {
            let Cgroup { parent, .. } = &scenario.cgroups[cgroup];
            *parent
        };
        let mut upwards = std::iter::successors(Some(cgroup), parent);
        upwards.find_map(|cgroup| self.unknown.get(&Unknown::Cgroup(cgroup)).copied())
    }

    /// This step loads `program`, which is not modelled.
    pub(crate) fn not_modelled(&mut self, step: &Step, program: usize, situation: &Situation<'_>) {
        if let &Step::Attach { attachment } | &Step::Update { attachment, .. } = step {
            let cause = Cause::Program(program);
            self.add(Unknown::Attachment(attachment), cause);
            self.add(Unknown::Cgroup(situation.scenario.attachments[attachment].cgroup), cause);
            self.add_maps(program, cause, situation);
        }
    }

    /// This step was not played, or not to its end, because of `cause`.
    pub(crate) fn skipped(&mut self, step: &Step, cause: Cause, situation: &Situation<'_>) {
        match step {
            &Step::Attach { attachment } => {
                let attached = &situation.scenario.attachments[attachment];
                self.add(Unknown::Attachment(attachment), cause);
                self.add(Unknown::Cgroup(attached.cgroup), cause);
                self.add_maps(attached.program, cause, situation);
            }
            &Step::Update { attachment, program: new } => {
                self.add(Unknown::Cgroup(situation.scenario.attachments[attachment].cgroup), cause);
                self.add_maps(new, cause, situation);
            }
            &Step::Detach { attachment } => {
                self.add(Unknown::Cgroup(situation.scenario.attachments[attachment].cgroup), cause);
            }
            Step::Access { file, request, .. } => {
                self.add(Unknown::File(*file), cause);
                if matches!(request, Request::Write(_)) {
                    self.add(Unknown::Knob(situation.scenario.files[*file].knob), cause);
                }
                for &running in situation.running {
                    self.add_maps(running, cause, situation);
                }
            }
            Step::Load { .. } | Step::Effective { .. } | Step::Map { .. } | Step::Move { .. } => {}
        }
    }

    fn add_maps(&mut self, of: usize, cause: Cause, situation: &Situation<'_>) {
        situation.maps_of(of).into_iter().for_each(|map| self.add(Unknown::Map(map), cause));
    }

    fn add(&mut self, unknown: Unknown, cause: Cause) {
        self.unknown.entry(unknown).or_insert(cause);
    }
}
