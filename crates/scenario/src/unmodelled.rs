//! What a play on the model does not know after a program that is not modelled.

use std::collections::BTreeMap;

use crate::scenario::{Actor, Cgroup, MapRef, Request, Scenario, Source, Step};

/// What depends on programs that are not modelled: the kernel may have attached them, and let them run.
#[derive(Debug, Default)]
pub(crate) struct Unmodelled {
    /// Each with the program that it depends on first.
    unknown: BTreeMap<Unknown, usize>,
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

    /// The program that is not modelled and that this step depends on.
    pub(crate) fn behind(&self, step: &Step, situation: &Situation<'_>) -> Option<usize> {
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
    fn of_cgroup(&self, cgroup: usize, scenario: &Scenario) -> Option<usize> {
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
            self.add(Unknown::Attachment(attachment), program);
            self.add(Unknown::Cgroup(situation.scenario.attachments[attachment].cgroup), program);
            self.add_maps(program, program, situation);
        }
    }

    /// This step was not played because of `program`.
    pub(crate) fn skipped(&mut self, step: &Step, program: usize, situation: &Situation<'_>) {
        match step {
            &Step::Attach { attachment } => {
                let attached = &situation.scenario.attachments[attachment];
                self.add(Unknown::Attachment(attachment), program);
                self.add(Unknown::Cgroup(attached.cgroup), program);
                self.add_maps(attached.program, program, situation);
            }
            &Step::Update { attachment, program: new } => {
                self.add(Unknown::Cgroup(situation.scenario.attachments[attachment].cgroup), program);
                self.add_maps(new, program, situation);
            }
            &Step::Detach { attachment } => {
                self.add(Unknown::Cgroup(situation.scenario.attachments[attachment].cgroup), program);
            }
            Step::Access { file, request, .. } => {
                self.add(Unknown::File(*file), program);
                if matches!(request, Request::Write(_)) {
                    self.add(Unknown::Knob(situation.scenario.files[*file].knob), program);
                }
                for &running in situation.running {
                    self.add_maps(running, program, situation);
                }
            }
            Step::Load { .. } | Step::Effective { .. } | Step::Map { .. } | Step::Move { .. } => {}
        }
    }

    fn add_maps(&mut self, of: usize, program: usize, situation: &Situation<'_>) {
        situation.maps_of(of).into_iter().for_each(|map| self.add(Unknown::Map(map), program));
    }

    fn add(&mut self, unknown: Unknown, program: usize) {
        self.unknown.entry(unknown).or_insert(program);
    }
}
