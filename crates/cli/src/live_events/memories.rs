//! The memories of the policies in the kernel: whose events these are, and how many were suppressed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use knobgate::EventMemory;
use knobgate_compiler::{
    EVENT_CGROUPS_MAP, EVENT_COUNTERS_MAP, EVENT_OTHERS_MAP, EVENT_STATE_MAP, EVENTS_FIRST_MAP,
    EventCounters, MemoryState, cgroup_path_in_value,
};
use knobgate_events::record::decode;
use knobgate_events::{Event, Suppressed};
use knobgate_kernel::{AttachmentName, BpfObjectError, Map, PinDir, ProgramFd};

/// How often it is looked what was suppressed, and how often for an origin that no attachment has, such as that of `knobgate run`.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The same for an origin that has just been seen for the first time.
const NAMING: Duration = Duration::from_millis(20);

/// How long an origin without events is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How many looks it takes, each at least [`PAUSE`] after the one before, until all that was suppressed with an event is known.
const LOOKS: u8 = 2;

/// The memories of all programs of policies: those of attachments, and others, such as those of `knobgate run`.
#[derive(Debug)]
pub(super) struct Memories {
    /// The attachments, if there is a bpffs.
    pins: Option<PinDir>,
    /// By their origin.
    memories: HashMap<u64, Memory>,
    /// The programs that were looked at, with their origin if they have a memory.
    programs: HashMap<u32, Option<u64>>,
    /// Origins that no attachment has.
    strangers: HashMap<u64, Stranger>,
}

/// A memory.
#[derive(Debug)]
struct Memory {
    /// The attachment, if it is that of one.
    name: Option<AttachmentName>,
    state: Map,
    counters: Map,
    first: Option<Map>,
    cgroups: Option<Map>,
    /// By program: one that replaces another one takes over everything but these.
    others: HashMap<u32, Map>,
    /// What has been said of each key of `counters`.
    said: HashMap<Vec<u8>, u64>,
    /// The same of each rule of the programs in `others`.
    said_of_others: HashMap<(u32, usize), u64>,
    /// How many events found no place in the memory, as far as that has been said.
    said_unrecorded: u64,
    /// How many more looks it takes until all that was suppressed is known: after an event that was sent, others can be suppressed for
    /// a second, which a look may be in the middle of.
    looks: u8,
}

/// What was not sent since the last look.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    /// With the origin, and whether the program only observes.
    pub(super) suppressed: Vec<(u64, bool, Suppressed)>,
    /// How many events found no place in the memory, with the origin.
    pub(super) unrecorded: Vec<(u64, u64)>,
}

/// When it was found out that no attachment has an origin: first, and last.
#[derive(Debug)]
struct Stranger {
    first: Instant,
    last: Instant,
}

impl Stranger {
    /// Whether it need not be found out again. A program runs shortly before its attachment has a name.
    fn stands(&self) -> bool {
        let pause = if self.first.elapsed() < PAUSE { NAMING } else { PAUSE };
        self.last.elapsed() < pause
    }
}

impl Memories {
    /// Finds the programs. What their memories have suppressed so far is not reported.
    pub(super) fn find(pins: Option<PinDir>) -> Self {
        let mut memories =
            Self { pins, memories: HashMap::new(), programs: HashMap::new(), strangers: HashMap::new() };
        memories.scan();
        // A look from now on, of which nobody hears.
        memories.unsent(Look::AtAll, 0);
        memories
    }

    /// The attachment with this origin.
    pub(super) fn name(&mut self, origin: u64) -> Option<&AttachmentName> {
        if !self.is_named(origin) && !self.strangers.get(&origin).is_some_and(Stranger::stands) {
            self.scan();
            let now = Instant::now();
            self.strangers.retain(|_, stranger| stranger.last.elapsed() < REMEMBERED);
            if !self.is_named(origin) {
                self.strangers.entry(origin).or_insert(Stranger { first: now, last: now }).last = now;
            }
        }
        self.memories.get(&origin)?.name.as_ref()
    }

    /// The origin of the memory of a program; `None` if it has none.
    pub(super) fn origin(&mut self, program: u32) -> Option<u64> {
        if !self.programs.contains_key(&program) {
            self.scan();
        }
        self.programs.get(&program).copied().flatten()
    }

    /// Takes what the memory of a program had when it was read for said.
    pub(super) fn said(&mut self, program: u32, read: &EventMemory) {
        let origin = read.state.origin;
        if !self.memories.contains_key(&origin) {
            self.scan();
        }
        if let Some(memory) = self.memories.get_mut(&origin) {
            memory.said_unrecorded = read.state.not_recorded;
            let suppressed = read.entries.iter().map(|entry| (entry.key.clone(), entry.counters.suppressed));
            memory.said = suppressed.collect();
            let others = read.others.iter().enumerate();
            memory.said_of_others.extend(others.map(|(rule, one)| ((program, rule), one.suppressed)));
        }
    }

    /// Which of these have no program any more.
    pub(super) fn gone(&mut self, origins: impl Iterator<Item = u64>) -> HashSet<u64> {
        let mut gone: HashSet<u64> = origins.collect();
        let Ok(ids) = ProgramFd::all_ids() else { return HashSet::new() };
        let remove_present = |gone: &mut HashSet<u64>, programs: &HashMap<u32, Option<u64>>| {
            let present: HashSet<u64> = ids.iter().filter_map(|id| programs.get(id).copied()?).collect();
            gone.retain(|origin| !present.contains(origin));
        };
        remove_present(&mut gone, &self.programs);
        if !gone.is_empty() {
            // Their programs may be new.
            self.scan();
            remove_present(&mut gone, &self.programs);
        }
        gone
    }

    fn is_named(&self, origin: u64) -> bool {
        self.memories.get(&origin).is_some_and(|memory| memory.name.is_some())
    }

    /// Notes that there was an event, so that there can be suppressed ones.
    pub(super) fn saw_event(&mut self, origin: u64) {
        if let Some(memory) = self.memories.get_mut(&origin) {
            memory.looks = LOOKS;
        }
    }

    /// Whether something may have been suppressed since the last look.
    pub(super) fn are_active(&self) -> bool {
        self.memories.values().any(|memory| memory.looks > 0)
    }

    /// The path that a cgroup had when the attachment was made.
    pub(super) fn cgroup_path(&self, origin: u64, cgroup_id: u64) -> Option<PathBuf> {
        self.memories.get(&origin)?.cgroup_path(cgroup_id)
    }

    /// What was not sent since the last look. A suppressed event comes in the same second as one that was sent, so it is enough
    /// to look at memories that have sent some, and a second later once more.
    pub(super) fn unsent(&mut self, look: Look, boot_time: u64) -> Unsent {
        let mut unsent = Unsent::default();
        for (&origin, memory) in &mut self.memories {
            if look == Look::AtAll || memory.looks > 0 {
                memory.looks = memory.looks.saturating_sub(1);
                // The memory stays readable for as long as its maps are open here.
                let _ = memory.add_unsent(origin, boot_time, &mut unsent);
            }
        }
        unsent.suppressed.sort_by_key(|(origin, ..)| *origin);
        unsent
    }

    /// Looks for programs that are not known yet, and forgets those that are gone. What cannot be read has no name.
    fn scan(&mut self) {
        let mut names = HashMap::new();
        if let Some(pins) = &self.pins {
            for name in pins.names().unwrap_or_default() {
                let programs = pins.attachment(&name).and_then(|attachment| attachment.program_ids());
                names.extend(programs.into_iter().flatten().map(|program| (program, name.clone())));
            }
        }
        // Of the versions of a policy, which share a memory, the newest gives it its name: it has the highest id.
        let ids: BTreeSet<u32> = ProgramFd::all_ids().unwrap_or_default().into_iter().collect();
        self.programs.retain(|id, _| ids.contains(id));
        for &id in &ids {
            if !self.programs.contains_key(&id)
                && let Some(maps) = memory_maps(id)
                && let Some(origin) = self.add(id, maps)
            {
                self.programs.insert(id, origin);
            }
            if let (Some(Some(origin)), Some(name)) = (self.programs.get(&id), names.remove(&id)) {
                self.memories.entry(*origin).and_modify(|memory| memory.name = Some(name));
            }
        }
        let present: HashSet<u64> = self.programs.values().copied().flatten().collect();
        self.memories.retain(|origin, memory| {
            memory.others.retain(|program, _| ids.contains(program));
            // One that has sent events is looked at once more.
            memory.looks > 0 || present.contains(origin)
        });
    }

    /// Adds the memory with these maps, unless it is known, and returns its origin: `Some(None)` if this is no memory, `None` if
    /// it has none yet, since its program has only just been loaded.
    fn add(&mut self, program: u32, maps: Vec<Map>) -> Option<Option<u64>> {
        let mut maps: HashMap<String, Map> = maps.into_iter().map(|map| (map.info().name, map)).collect();
        let (Some(state), Some(counters)) = (maps.remove(EVENT_STATE_MAP), maps.remove(EVENT_COUNTERS_MAP))
        else {
            return Some(None);
        };
        let origin = read_state(&state).ok().filter(|state| state.origin != 0)?.origin;
        let memory = self.memories.entry(origin).or_insert_with(|| Memory {
            name: None,
            state,
            counters,
            first: maps.remove(EVENTS_FIRST_MAP),
            cgroups: maps.remove(EVENT_CGROUPS_MAP),
            others: HashMap::new(),
            said: HashMap::new(),
            said_of_others: HashMap::new(),
            said_unrecorded: 0,
            looks: LOOKS,
        });
        memory.others.extend(maps.remove(EVENT_OTHERS_MAP).map(|others| (program, others)));
        Some(Some(origin))
    }
}

/// The maps of a program; none if it is not on this hook. `None` if it cannot be read now.
fn memory_maps(program: u32) -> Option<Vec<Map>> {
    let program = ProgramFd::by_id(program).ok()?;
    if program.info().ok()?.is_for_sysctl() { program.maps().ok() } else { Some(Vec::new()) }
}

/// Which memories to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Those that have sent events since the last look or the one before.
    AtActive,
    /// All.
    AtAll,
}

impl Memory {
    fn cgroup_path(&self, cgroup_id: u64) -> Option<PathBuf> {
        let value = self.cgroups.as_ref()?.lookup(&cgroup_id.to_le_bytes()).ok()??;
        Some(PathBuf::from(OsStr::from_bytes(cgroup_path_in_value(&value)?)))
    }

    fn add_unsent(&mut self, origin: u64, boot_time: u64, unsent: &mut Unsent) -> Result<(), BpfObjectError> {
        let unrecorded = read_state(&self.state)?.not_recorded;
        let said = std::mem::replace(&mut self.said_unrecorded, unrecorded);
        unsent.unrecorded.push((origin, unrecorded.saturating_sub(said)));

        let entries = self.counters.entries()?;
        // What made room for others starts again at 0 if it comes back.
        let keys: HashSet<&[u8]> = entries.iter().map(|entry| &*entry.key).collect();
        self.said.retain(|key, _| keys.contains(&**key));
        for entry in &entries {
            let Some(counters) = EventCounters::in_value(&entry.value).first().copied() else { continue };
            let said = self.said.entry(entry.key.clone()).or_default();
            let count = counters.suppressed.saturating_sub(std::mem::replace(said, counters.suppressed));
            if count == 0 {
                continue;
            }
            let example = self.first.as_ref().and_then(|first| first_event(first, &entry.key));
            let cgroup_id = entry.key.first_chunk().map(|id| u64::from_le_bytes(*id));
            unsent.add(origin, example, cgroup_id, boot_time, count);
        }
        for (&program, others) in &self.others {
            let value = others.lookup(&0u32.to_ne_bytes())?.unwrap_or_default();
            for (rule, counters) in EventCounters::in_value(&value).iter().enumerate() {
                let said = self.said_of_others.entry((program, rule)).or_default();
                let count = counters.suppressed.saturating_sub(std::mem::replace(said, counters.suppressed));
                if count > 0 {
                    unsent.add(origin, None, None, boot_time, count);
                }
            }
        }
        Ok(())
    }
}

impl Unsent {
    /// `example` is an event of the same rule and cgroup.
    fn add(
        &mut self,
        origin: u64,
        example: Option<Event>,
        cgroup_id: Option<u64>,
        boot_time: u64,
        count: u64,
    ) {
        let observes = example.as_ref().is_some_and(|event| event.observer);
        let (policy, rule) = example.map(|event| (event.policy, event.rule)).unzip();
        let suppressed = Suppressed { boot_time, policy, rule, cgroup_id, origin: Some(origin), count };
        self.suppressed.push((origin, observes, suppressed));
    }
}

fn read_state(state: &Map) -> Result<MemoryState, BpfObjectError> {
    let value = state.lookup(&0u32.to_ne_bytes())?.unwrap_or_default();
    Ok(MemoryState::in_value(&value).unwrap_or_default())
}

/// The first event of a rule and a cgroup, unless it cannot be decoded.
fn first_event(first: &Map, key: &[u8]) -> Option<Event> {
    decode(&first.lookup(key).ok()??).ok()
}
