//! The attachments of this machine, and what their policies remember.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use knobgate::{AttachedPolicy, EventMemory, MemoryEntry};
use knobgate_events::record::TEXT_MAX;
use knobgate_kernel::{AttachmentName, Bpffs, PinDir, PinnedLink, ProgramFd};
use knobgate_policy::PolicyFile;

use super::earlier::{Earlier, EarlierRule};
use super::shown::ATTACHMENTS_MAX;
use super::tallies::Attached;
use crate::attachment_names::WantedNames;
use crate::failure::Failure;
use crate::live_events::LiveEvents;
use crate::stream::memory_items::MemoryItems;

/// How many attachments are looked at in a second, beyond those that are new.
const LOOKS: usize = 4;
/// Of how many attachments the memory is read.
const MEMORIES_MAX: usize = 256;

/// The attachments of this machine, looked at a few at a time.
#[derive(Debug)]
pub(super) struct AttachmentWatch {
    /// `None` if there is no bpffs.
    pins: Option<PinDir>,
    wanted: WantedNames,
    /// What was found out. By name, so that all of them have their turn.
    known: BTreeMap<AttachmentName, Attached>,
    /// The last one that had its turn.
    last: Option<AttachmentName>,
}

impl AttachmentWatch {
    pub(super) fn new(wanted: &WantedNames) -> Self {
        let pins = Bpffs::find().and_then(|bpffs| PinDir::open(&bpffs));
        Self { pins: pins.ok().flatten(), wanted: wanted.clone(), known: BTreeMap::new(), last: None }
    }

    /// The attachments that there are now. What they are is found out when they are new, and again in turn.
    pub(super) fn look(&mut self) -> Vec<Attached> {
        let names: BTreeSet<AttachmentName> = self.names().into_iter().collect();
        self.known.retain(|name, _| names.contains(name));
        let mut looks =
            names.iter().filter(|name| !self.known.contains_key(name)).cloned().collect::<Vec<_>>();
        looks.truncate(ATTACHMENTS_MAX);
        let after = |name: &&AttachmentName| self.last.as_ref().is_none_or(|last| *name > last);
        let turn = names.iter().filter(after).chain(&names).take(LOOKS).cloned().collect::<Vec<_>>();
        self.last = turn.last().cloned();
        looks.extend(turn);
        for name in looks {
            if let Some((found, _)) = self.read(&name) {
                self.known.insert(name, found);
            }
        }
        // What was not read is attached all the same.
        let unknown = |name: &AttachmentName| Attached {
            name: name.to_string(),
            policy: None,
            mode: None,
            cgroups: None,
            long_rules: Rc::default(),
        };
        names.iter().map(|name| self.known.get(name).cloned().unwrap_or_else(|| unknown(name))).collect()
    }

    fn names(&self) -> Vec<AttachmentName> {
        let names = self.pins.as_ref().and_then(|pins| pins.names().ok()).unwrap_or_default();
        names.into_iter().filter(|name| self.wanted.contains(name)).collect()
    }

    fn newest_first(&self, mut names: Vec<AttachmentName>) -> Vec<AttachmentName> {
        // A program that was loaded later has a higher id.
        names.sort_by_cached_key(|name| {
            let attachment = self.pins.as_ref().and_then(|pins| pins.attachment(name).ok());
            Reverse(attachment.and_then(|attachment| attachment.program_ids().ok()?.last().copied()))
        });
        names
    }

    fn read(&self, name: &AttachmentName) -> Option<(Attached, ProgramFd)> {
        let attachment = self.pins.as_ref()?.attachment(name).ok()?;
        let (dead, alive): (Vec<PinnedLink>, Vec<PinnedLink>) =
            attachment.links().ok()?.into_iter().partition(PinnedLink::is_dead);
        let program = match attachment.program().ok()? {
            Some(program) => program,
            None => ProgramFd::by_id(alive.first().or(dead.first())?.info.program_id).ok()?,
        };
        let policy = AttachedPolicy::read(&program).ok().flatten();
        let file = policy.as_ref().and_then(AttachedPolicy::file);
        let found = Attached {
            name: name.to_string(),
            policy: file.map(|file| file.policy().name().to_owned()),
            mode: file.map(|file| file.policy().mode()),
            cgroups: Some(alive.len()),
            long_rules: Rc::new(file.map(long_rules).unwrap_or_default()),
        };
        Some((found, program))
    }

    /// What the policies remember. From then on, `events` are what comes after that.
    ///
    /// # Errors
    /// [`Failure::Machine`]: a memory cannot be read.
    pub(super) fn earlier(&self, events: &mut LiveEvents) -> Result<Earlier, Failure> {
        let mut earlier = Earlier::default();
        let names = self.names();
        earlier.attachments_left_out = names.len().saturating_sub(MEMORIES_MAX);
        // Versions of a policy share a memory, to which the newest gives its name.
        let mut seen = BTreeSet::new();
        for name in self.newest_first(names).iter().take(MEMORIES_MAX) {
            // It may have been detached in the meantime.
            let Some((_, program)) = self.read(name) else { continue };
            let memory = program.maps().and_then(|maps| EventMemory::read(&maps));
            let memory = memory.map_err(|error| {
                Failure::machine(format!("cannot read what the attachment \"{name}\" remembers"))
                    .because(error)
            })?;
            if let Some(memory) = memory.filter(|memory| seen.insert(memory.state.origin)) {
                if let Ok(info) = program.info() {
                    events.said(info.id, &memory);
                }
                add(&mut earlier, MemoryItems::new(name.as_str(), &memory));
                earlier.shorten();
            }
        }
        Ok(earlier)
    }
}

fn long_rules(file: &PolicyFile) -> BTreeMap<u32, String> {
    let texts = (0..).map_while(|rule| Some((rule, file.rule_text(rule as usize)?)));
    texts.filter(|(_, text)| text.len() > TEXT_MAX).map(|(rule, text)| (rule, text.to_owned())).collect()
}

fn add(earlier: &mut Earlier, mut items: MemoryItems<'_>) {
    let memory = items.memory();
    for MemoryEntry { cgroup_id, counters, first, last, .. } in &memory.entries {
        let example = last.as_ref().or(first.as_ref());
        let example = example.map(|event| items.item(event.clone()));
        let context = match &example {
            Some(item) => item.context.clone(),
            None => items.context(*cgroup_id),
        };
        earlier.rules.push(EarlierRule {
            example,
            context,
            cgroup_id: *cgroup_id,
            sent: counters.sent,
            events: counters.sent + counters.suppressed,
            last: counters.last,
        });
    }
    earlier.events.extend(items.all());
    let past = memory.past.iter().map(|past| &past.counters);
    let unknown = memory.others.iter().chain(past).map(|counters| counters.sent + counters.suppressed);
    earlier.unknown += unknown.sum::<u64>();
    earlier.undecodable += memory.left_out;
}
